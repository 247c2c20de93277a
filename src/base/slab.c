/* slab.c - see slab.h */
#include "base/slab.h"

#include <stdlib.h>

void slab_init(struct slab *s, size_t object_size, uint32_t max_free)
{
	*s = (struct slab){ .object_size = MAX(object_size, sizeof(struct slab_object)), .max_free = max_free };
}

static void free_all(struct slab_object *o)
{
	while (o) {
		struct slab_object *next = o->next;

		free(o);
		o = next;
	}
}

void slab_fini(struct slab *s)
{
	free_all(s->free);
	free_all(s->spare);
	s->free = s->spare = NULL;
	s->free_count = 0;
}

static __attribute__((noinline)) void *get_more(struct slab *s)
{
	struct slab_object *o = s->spare;

	if (!o)
		/* Objects that are made of whole cache lines begin at one. */
		return s->object_size % CACHE_LINE == 0 ? xcalloc_apart(1, s->object_size) : xmalloc(s->object_size);
	s->spare = o->next;
	s->free_count--;
	return o;
}

void *slab_get(struct slab *s)
{
	struct slab_object *o = s->free;

	s->used++;
	if (unlikely(!o))
		return get_more(s);
	s->free = o->next;
	s->free_count--;
	__builtin_prefetch(s->free); /* its first bytes are read when it is taken */
	return o;
}

void slab_put(struct slab *s, void *object)
{
	struct slab_object *o = object;

	Assert(s->used > 0);
	s->used--;
	if (unlikely(s->free_count >= s->max_free)) {
		free(o);
		return;
	}
	o->next = s->free;
	s->free = o;
	s->free_count++;
}

bool slab_give_back(struct slab *s)
{
	while (s->spare && slab_has_spare(s)) {
		struct slab_object *o = s->spare;

		s->spare = o->next;
		s->free_count--;
		free(o);
	}
	if (!slab_has_spare(s))
		return false;
	s->spare = s->free;
	s->free = NULL;
	return true;
}
