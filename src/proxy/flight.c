/* flight.c - see flight.h */
#include "proxy/flight.h"

#include <stdlib.h>

#include "base/loop.h"

struct flight {
	struct list node;
	struct list notes; /* to be posted when it lands */
	struct flight_key key;
};

struct note {
	struct loop_message message;
	struct list node;
	struct flight_watcher watcher;
	struct flight_key key;
	bool is_prepared;
};

void flights_init(struct flights *f)
{
	pthread_mutex_init(&f->lock, NULL);
	list_init(&f->list);
}

void flights_fini(struct flights *f)
{
	Assert(list_is_empty(&f->list));
	pthread_mutex_destroy(&f->lock);
}

bool flight_key_equal(const struct flight_key *a, const struct flight_key *b)
{
	return a->cluster == b->cluster && a->id.len == b->id.len && memcmp(a->id.bytes, b->id.bytes, a->id.len) == 0 &&
	       net_equal(&a->host, &b->host);
}

static struct flight *find_locked(struct flights *f, const struct flight_key *key)
{
	list_for_each_safe(node, tmp, &f->list) {
		struct flight *flight = list_entry(node, struct flight, node);

		if (flight_key_equal(&flight->key, key))
			return flight;
	}
	return NULL;
}

static void deliver_note(struct loop_message *message)
{
	struct note *n = container_of(message, struct note, message);

	n->watcher.on_landed(n->watcher.arg, &n->key, n->is_prepared);
	free(n);
}

bool flight_take_off(struct flights *f, const struct flight_key *key, const struct flight_watcher *watcher)
{
	struct flight *flight;
	bool is_first;

	pthread_mutex_lock(&f->lock);
	flight = find_locked(f, key);
	is_first = !flight;
	if (is_first) {
		flight = xcalloc(1, sizeof(*flight));
		flight->key = *key;
		list_init(&flight->node);
		list_init(&flight->notes);
		list_append(&f->list, &flight->node);
	} else if (watcher) {
		struct note *n = xcalloc(1, sizeof(*n));

		n->message.run = deliver_note;
		n->watcher = *watcher;
		n->key = *key;
		list_init(&n->node);
		list_append(&flight->notes, &n->node);
	}
	pthread_mutex_unlock(&f->lock);
	return is_first;
}

void flight_land(struct flights *f, const struct flight_key *key, bool is_prepared)
{
	struct flight *flight;
	struct list *node;

	pthread_mutex_lock(&f->lock);
	flight = find_locked(f, key);
	Assert(flight);
	list_remove(&flight->node);
	pthread_mutex_unlock(&f->lock);
	while ((node = list_pop(&flight->notes))) {
		struct note *n = list_entry(node, struct note, node);

		n->is_prepared = is_prepared;
		loop_post(n->watcher.loop, &n->message);
	}
	free(flight);
}
