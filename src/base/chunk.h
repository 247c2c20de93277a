/*
 * chunk.h - refcounted blocks of bytes: outgoing buffers, tails of incoming
 * frames, kept bodies and answers, large frames shared by both legs.
 *
 * Chunks belong to one thread (their pool's); the count is not atomic. Small
 * sizes come from capped free lists, so the steady path does not call malloc;
 * what these have too much is given back as by a slab (slab.h).
 * Larger ones come straight from malloc and are counted for the whole process.
 */
#ifndef BASE_CHUNK_H
#define BASE_CHUNK_H

#include "base/common.h"

/* The largest outgoing buffer: one TLS record, and 64 frames of 256 bytes. */
#define CHUNK_BUFFER 16384
#define CHUNK_CLASSES 4
/* Chunks over this size are counted by chunk_large_bytes(). */
#define CHUNK_LARGE 65536

struct chunk_pool;

struct chunk {
	struct chunk *next; /* on a free list */
	struct chunk_pool *pool;
	uint32_t refs;
	uint32_t cap;
	uint16_t class_index; /* CHUNK_CLASSES: straight from malloc */
	bool has_secret;      /* set by who has put one in: overwritten before it is used again */
	uint8_t data[];
};

struct chunk_pool {
	struct chunk *free[CHUNK_CLASSES];
	uint32_t free_count[CHUNK_CLASSES]; /* spare ones included */
	uint32_t used;
	struct chunk *spare[CHUNK_CLASSES]; /* free, and not needed since the last chunk_pool_give_back() */
};

void chunk_pool_init(struct chunk_pool *p);
void chunk_pool_fini(struct chunk_pool *p);

/* How many chunks are kept for reuse, and the bytes in them. On the pool's thread. */
uint32_t chunk_pool_free_count(const struct chunk_pool *p);
uint64_t chunk_pool_free_bytes(const struct chunk_pool *p);

/* True when more is kept than there should be after a while without work. */
bool chunk_pool_has_spare(const struct chunk_pool *p);
/* Frees what was not needed since the last call. True while a later call may find more. */
bool chunk_pool_give_back(struct chunk_pool *p);

/* Bytes in large chunks, of all threads. Any thread may call. */
uint64_t chunk_large_bytes(void);

/* A chunk with room for `size` bytes and one reference; ends the process when memory is exhausted. */
struct chunk *chunk_new(struct chunk_pool *p, uint32_t size);
/* The same, NULL when memory is exhausted: for sizes that come from the network. */
struct chunk *chunk_try_new(struct chunk_pool *p, uint32_t size);

static inline struct chunk *chunk_ref(struct chunk *c)
{
	c->refs++;
	return c;
}

void chunk_release(struct chunk *c);

static inline void chunk_unref(struct chunk *c)
{
	Assert(c->refs > 0);
	if (--c->refs == 0)
		chunk_release(c);
}

#endif
