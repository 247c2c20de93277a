/*
 * warm.h - the things of one loop that keep what they need while they are busy,
 * and give it back when they have been idle: the buffers of TLS sessions.
 *
 * Something is busy with the WARM_AFTERth use since it became cold. A log-in has
 * fewer, and then a client may be idle for hours: else the last that came would
 * have the places, and with thousands those whose heartbeat was the last. To use
 * a warm one is to set a flag; once in WARM_MS all that are warm are looked at,
 * and those that were not used since the last look are cooled. While none is
 * warm nothing is looked at. At most WARM_MAX are warm at a time, which bounds
 * the memory; the others stay cold, and none is cooled for another one: with
 * more busy ones than places they would only take turns.
 *
 * Belongs to its loop's thread.
 */
#ifndef BASE_WARM_H
#define BASE_WARM_H

#include "base/loop.h"

#define WARM_MAX 256
#define WARM_MS 1000
#define WARM_AFTER 16

struct warm_item;

struct warm_set {
	struct loop *loop;
	struct timeout_queue looks;
	struct timeout_item look; /* on `looks` as long as something is warm */
	unsigned count;
	struct warm_item *items[WARM_MAX];
};

struct warm_item {
	struct warm_set *set; /* NULL: always cold */
	/* It was not used for a while and is not in the set any more. */
	void (*cool)(struct warm_item *item);
	uint16_t at;   /* in set->items */
	uint16_t uses; /* while it is cold, below WARM_AFTER */
	bool is_warm;
	bool was_used;
};

/* For as long as the loop; freed by it. */
struct warm_set *warm_set_new(struct loop *loop);
void warm_set_free(struct warm_set *set);

/* `set` may be NULL. */
void warm_item_init(struct warm_item *item, struct warm_set *set, void (*cool)(struct warm_item *item));
/* A use of a cold one: true when it is warm from now on, which ends with cool() or warm_leave(). */
bool warm_enter(struct warm_item *item);
/* Without a call of cool(); harmless for a cold one. */
void warm_leave(struct warm_item *item);

/* True when it has become warm by this use. */
static inline bool warm_use(struct warm_item *item)
{
	item->was_used = true;
	return unlikely(!item->is_warm) && warm_enter(item);
}

/* What is done every WARM_MS: cools those that were not used since the last look. */
void warm_look(struct warm_set *set);

#endif
