/*
 * hold.h - what a plugin holds until it has made up its mind: a client that has
 * just come, a log-in, a request. A hold has a ticket, by which any thread can
 * end it, and a deadline.
 *
 *   hold_take() ... hook returns HOLD ... hold_bind() --hold_resume()--> on_end(HOLD_RESUMED)
 *        |                                    |  '--------deadline-----> on_end(HOLD_TIMED_OUT)
 *        '-- hook returns something else --> hold_drop() <-- what was held ends
 *
 * on_end() asks again at once: what the plugin has kept with the hold is there
 * meanwhile, and released afterwards.
 *
 * A ticket is the worker's number, a place in its table and the generation of
 * that place, so that one that has ended is known as such for ever.
 */
#ifndef PROXY_HOLD_H
#define PROXY_HOLD_H

#include <event2/event_struct.h>
#include <stdatomic.h>

#include "base/common.h"

struct hold_place;
struct proxy;
struct worker;

/* Of one worker at a time; beyond that hold_take() fails. */
#define HOLDS_MAX 16384

enum hold_end {
	HOLD_RESUMED,
	HOLD_TIMED_OUT,
};

/* In what is held. */
struct hold {
	uint64_t ticket; /* 0: it is not held */
	/* On the worker's thread; the ticket is 0 then. May hold it again. */
	void (*on_end)(struct hold *hold, enum hold_end end);
};

struct holds {
	void *resumed_data; /* in on_end(HOLD_RESUMED): what hold_keep() was given */
	struct hold_place **places;
	uint32_t count; /* of these, made so far */
	uint32_t free;  /* the first of a chain, by its number + 1; 0: none */
	uint64_t held;  /* gauge, by metric_add() */
	uint64_t late;  /* tickets that were resumed when they had ended */
	uint64_t timed_out;
};

void holds_init(struct holds *h);
/* When nothing is held any more. */
void holds_fini(struct holds *h);

/* On the worker's thread: a ticket with this deadline, 0 when too many are out. */
uint64_t hold_take(struct worker *w, uint32_t timeout_ms);
/*
 * What the plugin that holds needs when it is asked again: holds.resumed_data in on_end(). release(data), unless it
 * is NULL, is called once when the hold is over, however it ends, or when something else is kept. Nothing happens
 * when the ticket has ended.
 */
void hold_keep(struct worker *w, uint64_t ticket, void *data, void (*release)(void *data));
/* Now it is this that is held; hold->on_end is set. In the turn of the loop that the ticket was taken in. */
void hold_bind(struct worker *w, struct hold *hold, uint64_t ticket);
/* The ticket is good for nothing any more; harmless for 0 and for one that has ended. */
void hold_drop(struct worker *w, uint64_t ticket);
/* From any thread, before the workers end: on_end() is called on the ticket's worker. */
void hold_resume(struct proxy *proxy, uint64_t ticket);

#endif
