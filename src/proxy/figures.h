/*
 * figures.h - what a worker has and how busy it is, for the metrics pages. None
 * of it is kept up to date for its own sake: whoever shows it asks the workers,
 * who write down what they have, and shows what they have answered to the
 * question before. Nobody waits.
 *
 * From the first question on a worker with plugins also measures the turns of
 * its loop, by one look at the clock for each. What arrives in a turn leaves at
 * its end, so the time that a turn takes is what the proxy adds to each request
 * that is read in it, and to each answer that leaves with it.
 */
#ifndef PROXY_FIGURES_H
#define PROXY_FIGURES_H

#include <stdatomic.h>

#include "base/loop.h"
#include "proxy/settings.h"

struct worker;

/* Bounds of the turns' histograms. */
#define FIGURES_BOUNDS 14

/* What is kept for reuse: X(name, label), sorted by label. */
#define FIGURES_OBJECTS(X)                                                                                             \
	X(MIRRORED, "mirrored_requests")                                                                               \
	X(PARTS, "output_parts")                                                                                       \
	X(REQUESTS, "requests")

enum figures_object {
#define X(name, label) FIGURES_##name,
	FIGURES_OBJECTS(X)
#undef X
};
#define FIGURES_OBJECT_COUNT 3

/* Written by the worker alone, read by main as those of metrics.h. */
struct figures {
	_Atomic bool is_asked; /* a question is on its way */
	uint64_t pools[CLUSTER_COUNT];
	uint64_t pool_connections[CLUSTER_COUNT];
	uint64_t pool_waiting[CLUSTER_COUNT]; /* requests that wait for a connection */
	uint64_t chunks_used, chunks_free;
	uint64_t chunk_free_bytes;
	uint64_t objects_used[FIGURES_OBJECT_COUNT], objects_free[FIGURES_OBJECT_COUNT];
	uint64_t objects_free_bytes;
	uint64_t is_measuring;
	uint64_t turns;
	uint64_t busy_ns;
	/* How long the turns took in which statements were read, and those in which they were answered: a value for each
	 * statement. */
	uint64_t arrivals[FIGURES_BOUNDS + 1], arrivals_ns;
	uint64_t answers[FIGURES_BOUNDS + 1], answers_ns;
	/* The worker's own: how many statements had come and were under way when the turn before ended. */
	uint64_t arrived;
	uint32_t under_way;
};

/* In nanoseconds. */
extern const uint64_t figures_bounds[FIGURES_BOUNDS];

/* From the main thread. */
void figures_ask(struct worker *worker);

#endif
