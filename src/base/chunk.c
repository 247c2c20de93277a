/* chunk.c - see chunk.h */
#include "base/chunk.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_SHARE 64

/*
 * 512: bodies and answers of ordinary requests, and the output of a connection
 * without pipelining. 4096: rows. 16384: outgoing buffers. 65536: tails of
 * frames up to the size that gets an exact buffer. The caps let 64 connections
 * with 32 requests in flight each do without malloc, and bound what a worker
 * keeps to 5.5 MiB. One in KEPT_SHARE of them stays for good.
 */
static const struct {
	uint32_t size;
	uint32_t max_free;
} classes[CHUNK_CLASSES] = {
	{ 512, 4096 },
	{ 4096, 512 },
	{ CHUNK_BUFFER, 64 },
	{ CHUNK_LARGE, 8 },
};

/* The one count that all workers write on the way of requests, of those above 64 KiB. */
static struct {
	OWN_LINE _Atomic uint64_t bytes;
} large;

uint64_t chunk_large_bytes(void)
{
	return atomic_load_explicit(&large.bytes, memory_order_relaxed);
}

void chunk_pool_init(struct chunk_pool *p)
{
	*p = (struct chunk_pool){ 0 };
}

static void free_all(struct chunk *c)
{
	while (c) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
}

void chunk_pool_fini(struct chunk_pool *p)
{
	Assert(p->used == 0);
	for (unsigned i = 0; i < CHUNK_CLASSES; i++) {
		free_all(p->free[i]);
		free_all(p->spare[i]);
	}
}

uint32_t chunk_pool_free_count(const struct chunk_pool *p)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		count += p->free_count[i];
	return count;
}

uint64_t chunk_pool_free_bytes(const struct chunk_pool *p)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		bytes += (uint64_t)p->free_count[i] * (sizeof(struct chunk) + classes[i].size);
	return bytes;
}

static bool has_spare(const struct chunk_pool *p, unsigned i)
{
	return p->free_count[i] > classes[i].max_free / KEPT_SHARE;
}

bool chunk_pool_has_spare(const struct chunk_pool *p)
{
	for (unsigned i = 0; i < CHUNK_CLASSES; i++) {
		if (has_spare(p, i))
			return true;
	}
	return false;
}

static bool give_back(struct chunk_pool *p, unsigned i)
{
	while (p->spare[i] && has_spare(p, i)) {
		struct chunk *c = p->spare[i];

		p->spare[i] = c->next;
		p->free_count[i]--;
		free(c);
	}
	if (!has_spare(p, i))
		return false;
	p->spare[i] = p->free[i];
	p->free[i] = NULL;
	return true;
}

bool chunk_pool_give_back(struct chunk_pool *p)
{
	bool goes_on = false;

	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		goes_on |= give_back(p, i);
	return goes_on;
}

/* One of class i, or of `size` bytes when it is too large for any. NULL when memory is exhausted. */
static __attribute__((noinline)) struct chunk *get_more(struct chunk_pool *p, unsigned i, uint32_t size)
{
	const uint32_t cap = i < CHUNK_CLASSES ? classes[i].size : size;
	struct chunk *c;

	if (i < CHUNK_CLASSES && p->spare[i]) {
		c = p->spare[i];
		p->spare[i] = c->next;
		p->free_count[i]--;
		return c;
	}
	c = malloc(sizeof(*c) + cap);
	if (!c)
		return NULL;
	c->pool = p;
	c->cap = cap;
	c->class_index = (uint16_t)i;
	c->has_secret = false;
	if (unlikely(i == CHUNK_CLASSES))
		atomic_fetch_add_explicit(&large.bytes, cap, memory_order_relaxed);
	return c;
}

struct chunk *chunk_try_new(struct chunk_pool *p, uint32_t size)
{
	unsigned i = 0;
	struct chunk *c;

	while (i < CHUNK_CLASSES && classes[i].size < size)
		i++;
	if (i < CHUNK_CLASSES && p->free[i]) {
		c = p->free[i];
		p->free[i] = c->next;
		p->free_count[i]--;
	} else {
		c = get_more(p, i, size);
		if (!c)
			return NULL;
	}
	c->refs = 1;
	p->used++;
	return c;
}

struct chunk *chunk_new(struct chunk_pool *p, uint32_t size)
{
	struct chunk *c = chunk_try_new(p, size);

	if (unlikely(!c))
		abort();
	return c;
}

/* A function of its own, with nothing behind it: what every chunk goes through has no registers to save then. */
static __attribute__((noinline)) void release_secret(struct chunk *c)
{
	explicit_bzero(c->data, c->cap);
	c->has_secret = false;
	chunk_release(c);
}

void chunk_release(struct chunk *c)
{
	struct chunk_pool *p = c->pool;
	unsigned i = c->class_index;

	if (unlikely(c->has_secret)) {
		release_secret(c);
		return;
	}
	p->used--;
	if (i < CHUNK_CLASSES && p->free_count[i] < classes[i].max_free) {
		c->next = p->free[i];
		p->free[i] = c;
		p->free_count[i]++;
		return;
	}
	if (unlikely(i == CHUNK_CLASSES))
		atomic_fetch_sub_explicit(&large.bytes, c->cap, memory_order_relaxed);
	free(c);
}
