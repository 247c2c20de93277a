/*
 * vault.c - see vault.h
 *
 * Blocks are cut one behind the other from chunks of pages; one that is larger
 * than a chunk gets one of its own.
 */
#include "vault.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_SIZE ((size_t)16 * 1024)
#define ALIGNMENT ((size_t)16)

struct chunk {
	struct chunk *next;
	size_t size, used; /* with this head */
};

/* The first block of its first chunk. */
struct vault {
	struct chunk *chunks; /* the newest one, which is cut from, first */
};

static atomic_bool lock_failed;

static _Noreturn void out_of_memory(void)
{
	fputs("auth_map: no memory\n", stderr);
	abort();
}

static size_t align(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct chunk *chunk_new(size_t size)
{
	struct chunk *c = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (c == MAP_FAILED)
		out_of_memory();
	madvise(c, size, MADV_DONTDUMP);
	if (mlock(c, size) < 0)
		lock_failed = true;
	c->size = size;
	c->used = align(sizeof(*c));
	return c;
}

struct vault *vault_new(void)
{
	struct vault first = { .chunks = chunk_new(CHUNK_SIZE) };
	struct vault *v = vault_alloc(&first, sizeof(*v));

	*v = first;
	return v;
}

void vault_free(struct vault *v)
{
	struct chunk *next;

	for (struct chunk *c = v ? v->chunks : NULL; c; c = next) {
		const size_t size = c->size;

		next = c->next;
		explicit_bzero(c, size);
		munmap(c, size);
	}
}

void *vault_alloc(struct vault *v, size_t size)
{
	struct chunk *c = v->chunks;
	void *p;

	if (size > SIZE_MAX / 2)
		out_of_memory();
	size = align(size ? size : 1);
	if (c->size - c->used < size) {
		const size_t wanted = size + align(sizeof(*c));

		c = chunk_new(wanted > CHUNK_SIZE ? (wanted + 4095) / 4096 * 4096 : CHUNK_SIZE);
		c->next = v->chunks;
		v->chunks = c;
	}
	p = (char *)c + c->used;
	c->used += size;
	return p;
}

char *vault_copy(struct vault *v, const char *text, size_t length)
{
	char *p = vault_alloc(v, length + 1);

	if (length > 0)
		memcpy(p, text, length);
	return p;
}

bool vault_lock_failed(void)
{
	return lock_failed;
}

void *memory_new(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size);

	if (!p)
		out_of_memory();
	return p;
}

void *memory_grow(void *old, size_t count, size_t size)
{
	void *p = reallocarray(old, count ? count : 1, size);

	if (!p)
		out_of_memory();
	return p;
}
