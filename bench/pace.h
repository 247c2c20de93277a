/*
 * pace.h - when cqlbench sends its requests. Three ways:
 *
 *   closed loop   each client has `depth` requests in flight, an answer is followed by the next request at once: shows
 *                 what the proxy can do at most
 *   open loop     so many requests per second over all connections, whether answers come or not. Latency counts from
 *                 when a request was due, so what has to wait for a slow answer is seen; what finds no free stream at
 *                 all is dropped and counted
 *   lock step     rounds: each client sends `depth` requests in one write; the nodes answer when all that the round
 *                 must bring has arrived at them; the next round begins when all is answered. How much the proxy reads
 *                 at once does then not depend on time, so that what it does can be counted (guards.py)
 *
 * All of them send only while load->offered is below load->limit.
 */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include "client.h"

struct pace {
	bool counts_from_due; /* a request belongs to the moment when it was due, not to that of its answer */
	/* A part of the run begins: nothing is in flight, or what is in flight goes on. */
	void (*begin)(struct load *l, uint64_t now);
	/* Once per turn of the loop. */
	void (*turn)(struct load *l, uint64_t now);
	/* The client has a free stream more, or has become ready. */
	void (*on_free)(struct load *l, struct client *c, uint64_t now);
	/* When turn() is to be called at the latest; UINT64_MAX: no matter. */
	uint64_t (*due_ns)(const struct load *l);
};

extern const struct pace pace_closed;
extern const struct pace pace_open;
extern const struct pace pace_lockstep;
/* Sends nothing. */
extern const struct pace pace_idle;

#endif
