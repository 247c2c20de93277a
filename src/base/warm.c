/* warm.c - see warm.h */
#include "base/warm.h"

#include <stdlib.h>

static void on_look(struct timeout_item *item)
{
	struct warm_set *set = container_of(item, struct warm_set, look);

	warm_look(set);
	if (set->count > 0)
		timeout_start(set->loop, &set->looks, &set->look);
}

struct warm_set *warm_set_new(struct loop *loop)
{
	struct warm_set *set = xcalloc(1, sizeof(*set));

	set->loop = loop;
	timeout_queue_init(loop, &set->looks, WARM_MS, on_look);
	timeout_item_init(&set->look);
	return set;
}

void warm_set_free(struct warm_set *set)
{
	if (!set)
		return;
	Assert(set->count == 0);
	timeout_stop(&set->look);
	list_remove(&set->looks.node);
	free(set);
}

void warm_item_init(struct warm_item *item, struct warm_set *set, void (*cool)(struct warm_item *item))
{
	*item = (struct warm_item){ .set = set, .cool = cool };
}

bool warm_enter(struct warm_item *item)
{
	struct warm_set *set = item->set;

	Assert(!item->is_warm);
	if (item->uses + 1 < WARM_AFTER) {
		item->uses++;
		return false;
	}
	if (!set || set->count == WARM_MAX)
		return false;
	item->uses = 0;
	/* A look that is due already stays where it is: it only finds that this one was used. */
	if (set->count == 0 && list_is_empty(&set->look.node))
		timeout_start(set->loop, &set->looks, &set->look);
	item->at = (uint16_t)set->count;
	set->items[set->count++] = item;
	item->is_warm = true;
	return true;
}

void warm_leave(struct warm_item *item)
{
	struct warm_set *set = item->set;
	struct warm_item *last;

	if (!item->is_warm)
		return;
	last = set->items[--set->count];
	set->items[item->at] = last;
	last->at = item->at;
	item->is_warm = false;
}

void warm_look(struct warm_set *set)
{
	/* From the end: the place of one that leaves is taken by one that was looked at already. */
	for (unsigned i = set->count; i-- > 0;) {
		struct warm_item *item = set->items[i];

		if (!item->was_used) {
			warm_leave(item);
			item->cool(item);
		}
		item->was_used = false;
	}
}
