/*
 * route_extras.h - what a route wants beside the clusters (struct policy_route):
 *
 *   consistency   in place of the request's level, for every cluster, copies of reads, repeats
 *   timeout_ms    in place of request_timeout, for the request; not for the copy of a read
 *   tag           a counter
 *
 * All of it is taken over when the request is started, since the route belongs
 * to an engine that a reload may free.
 */
#ifndef PROXY_ROUTE_EXTRAS_H
#define PROXY_ROUTE_EXTRAS_H

#include "base/loop.h"

struct request;

/* Durations that requests of one worker may wait by at the same time, beside request_timeout. */
#define ROUTE_TIMEOUTS_MAX 16

/* A queue is first in, first out, so each duration needs one; an empty one may take another duration. */
struct route_timeouts {
	struct timeout_queue queues[ROUTE_TIMEOUTS_MAX];
	unsigned count; /* of these, initialized */
};

/*
 * The queue of this duration. When all are in use by others, that of the next
 * longer one; NULL when there is none.
 */
struct timeout_queue *route_timeouts_get(struct route_timeouts *t, struct loop *loop, uint32_t ms,
					 void (*on_timeout)(struct timeout_item *));

/* The longest duration that some request waits by now; 0: none does. */
uint64_t route_timeouts_longest_ns(const struct route_timeouts *t);

/* request_start() for a request whose verdict has a route; `consistency_offset` is where its body has the level. */
void route_extras_start(struct request *rq, uint32_t consistency_offset);
/* The queue on which a started request waits, to start its time anew. */
struct timeout_queue *route_extras_queue(const struct request *rq);

#endif
