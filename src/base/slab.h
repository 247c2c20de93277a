/*
 * slab.h - a cache of objects of one size, for what is made and dropped with
 * every request. Taking one costs a pointer swap. At most `max_free` objects
 * are kept, so that a burst gives its memory back. Belongs to one thread.
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
	uint32_t free_count;
	uint32_t max_free;
	uint32_t used; /* objects out, for tests and assertions */
};

void slab_init(struct slab *s, size_t object_size, uint32_t max_free);
/* Frees the cached objects; those still out are their owners' to free by slab_put() before. */
void slab_fini(struct slab *s);
/* An object with undefined content. */
void *slab_get(struct slab *s);
void slab_put(struct slab *s, void *object);

#endif
