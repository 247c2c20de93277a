/*
 * secret.c - see secret.h
 *
 * Blocks have sizes of powers of two, each size its own list of free ones; they
 * are cut from regions, which are kept for ever. A block is preceded by its
 * size. Blocks that are larger than the largest class have pages of their own,
 * which go back to the system.
 */
#include "base/secret.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"

#define REGION_SIZE ((size_t)64 * 1024)
#define SMALLEST 32u
#define CLASSES 8 /* 32 bytes to 4 KiB */
#define LARGE_STEP ((size_t)4096)
/* Keeps what callers get aligned for any type. */
#define HEAD_SIZE ((size_t)16)

struct block {
	size_t size; /* the whole of it, with this head */
	struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *free_blocks[CLASSES];
static uint8_t *region; /* what is left of the newest one */
static size_t region_left;
static size_t used;
static bool has_warned;

static void *map_pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_DONTDUMP);
	if (mlock(p, size) < 0 && !has_warned) {
		has_warned = true;
		log_info("passwords in memory cannot be kept from swapping: more memory is in use for them than the "
			 "process may lock (LimitMEMLOCK= of its unit)");
	}
	return p;
}

static struct block *cut(size_t size)
{
	struct block *b;

	if (region_left < size) { /* what was left of the old one is lost: less than 4 KiB */
		region = map_pages(REGION_SIZE);
		region_left = region ? REGION_SIZE : 0;
	}
	if (!region)
		return NULL;
	b = (struct block *)(void *)region;
	region += size;
	region_left -= size;
	return b;
}

static unsigned class_of(size_t size)
{
	unsigned class = 0;

	while (class < CLASSES && ((size_t)SMALLEST << class) < size)
		class ++;
	return class;
}

static struct block *take(size_t wanted)
{
	const unsigned class = class_of(wanted);
	const size_t size =
		class < CLASSES ? (size_t)SMALLEST << class : (wanted + LARGE_STEP - 1) / LARGE_STEP * LARGE_STEP;
	struct block *b;

	pthread_mutex_lock(&lock);
	if (class == CLASSES) {
		b = map_pages(size);
	} else if (free_blocks[class]) {
		b = free_blocks[class];
		free_blocks[class] = b->next;
	} else {
		b = cut(size);
	}
	if (b) {
		b->size = size;
		used += size;
	}
	pthread_mutex_unlock(&lock);
	return b;
}

void *secret_alloc(size_t size)
{
	struct block *b = size < SIZE_MAX / 2 ? take(size + HEAD_SIZE) : NULL;

	if (!b)
		out_of_memory(size);
	return (uint8_t *)b + HEAD_SIZE;
}

void secret_free(void *p)
{
	struct block *b;
	unsigned class;

	if (!p)
		return;
	b = (struct block *)(void *)((uint8_t *)p - HEAD_SIZE);
	explicit_bzero(p, b->size - HEAD_SIZE);
	class = class_of(b->size);
	pthread_mutex_lock(&lock);
	used -= b->size;
	if (class == CLASSES) {
		munmap(b, b->size);
	} else {
		b->next = free_blocks[class];
		free_blocks[class] = b;
	}
	pthread_mutex_unlock(&lock);
}

char *secret_strndup(const char *s, size_t n)
{
	char *p = secret_alloc(n + 1);

	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *secret_strdup(const char *s)
{
	return secret_strndup(s, strlen(s));
}

size_t secret_used(void)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = used;
	pthread_mutex_unlock(&lock);
	return n;
}
