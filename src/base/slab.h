/*
 * slab.h - a cache of objects of one size, for what is made and dropped with
 * every request. Taking one costs a pointer swap. At most `max_free` objects
 * are kept. What a burst has left of these is given back when a whole period
 * has done without it: slab_give_back() puts everything that is free aside,
 * and what still lies there at its next call is freed. So nobody counts how
 * many are needed. Belongs to one thread.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include "base/common.h"

struct slab_object {
	struct slab_object *next;
};

struct slab {
	struct slab_object *free;
	size_t object_size;
	uint32_t free_count; /* of those that are kept, spare ones included */
	uint32_t max_free;
	uint32_t used;             /* objects out, for tests and assertions */
	struct slab_object *spare; /* free, and not needed since the last slab_give_back() */
};

void slab_init(struct slab *s, size_t object_size, uint32_t max_free);
/* Frees the cached objects; those still out are their owners' to free by slab_put() before. */
void slab_fini(struct slab *s);
/* An object with undefined content. */
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *object);

/* So many of `max_free` are never given back: a few requests now and then are no reason to start over. */
#define SLAB_KEPT_SHARE 64

static inline bool slab_has_spare(const struct slab *s)
{
	return s->free_count > s->max_free / SLAB_KEPT_SHARE;
}

/* Frees what was not needed since the last call. True while a later call may find more. */
bool slab_give_back(struct slab *s);

#endif
