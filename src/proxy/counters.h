/*
 * counters.h - counters, gauges and histograms that scripts and plugins make, by
 * a family and labels, for the metrics page. One registry per process; what is
 * in it stays until the process ends, so a number can be kept anywhere. Each
 * worker counts in an array of its own, so that no cache line is written by two;
 * threads of plugins share one.
 */
#ifndef PROXY_COUNTERS_H
#define PROXY_COUNTERS_H

#include "base/common.h"

/* Beyond these counters_register() fails. */
#define COUNTERS_MAX 4096
/* Numbers are from 1 up to this: a histogram takes several. 0 stands for none. */
#define COUNTERS_CELLS 16384
/* Bounds of a histogram. */
#define COUNTERS_BOUNDS_MAX 32

struct counters;

enum counter_kind {
	COUNTER_PLAIN,
	COUNTER_GAUGE,
	COUNTER_SECONDS, /* a counter of nanoseconds, which is shown in seconds */
	COUNTER_HISTOGRAM,
};

/* In nanoseconds, growing. */
struct counter_bounds {
	unsigned count;
	uint64_t ns[COUNTERS_BOUNDS_MAX];
};

/* `workers` + 2 arrays: behind the workers' that of the main thread, and the one that all other threads share. */
struct counters *counters_new(unsigned workers);
void counters_free(struct counters *c);

/*
 * The number of the counter with this family (a metric name without the prefix,
 * "policy_calls_total") and labels (without braces, values escaped by
 * counters_label(): `hook="canary"`; "" for none); made when there is none.
 * `help` is of the family, taken from the first. From any thread; takes a lock.
 * 0 when there are too many, or the family is of another kind: counter_add()
 * with it counts nothing that is shown.
 */
unsigned counters_register(struct counters *c, const char *family, const char *help, const char *labels,
			   enum counter_kind kind);
/* The same for histograms. One that is there keeps its bounds. */
unsigned counters_register_histogram(struct counters *c, const char *family, const char *help, const char *labels,
				     const struct counter_bounds *bounds);

/* Appends name="value" to `out`, behind a comma where something stands there; escaped as the text format wants it. */
void counters_label(char *out, size_t size, const char *name, const char *value);

/* What the main thread gives as `worker` below, and what threads give that are neither main nor a worker. */
unsigned counters_main(const struct counters *c);
unsigned counters_others(const struct counters *c);
/* On the worker's own thread, by its index. Any number up to COUNTERS_CELLS is harmless. */
void counters_add(struct counters *c, unsigned worker, unsigned number, int64_t n);
/* A gauge: the worker's share of it. */
void counters_set(struct counters *c, unsigned worker, unsigned number, int64_t value);
/* A histogram; nothing for numbers that are none's. */
void counters_observe(struct counters *c, unsigned worker, unsigned number, uint64_t ns);

/* One of them; the texts and bounds live as long as the registry. */
struct counter_series {
	const char *family;
	const char *help; /* escaped as the text format wants it */
	const char *labels;
	enum counter_kind kind;
	unsigned number;
	const struct counter_bounds *bounds; /* of a histogram */
};

/* All of them, families sorted by name and their series by labels; *out is to be freed. From any thread; takes a lock. */
unsigned counters_list(struct counters *c, struct counter_series **out);
/* The sum over all threads. From any thread. */
int64_t counters_value(const struct counters *c, unsigned number);
/* The same for a histogram: how many in each bucket alone, the last above every bound; returns the sum of what was seen. */
uint64_t counters_buckets(const struct counters *c, const struct counter_series *histogram,
			  uint64_t out[COUNTERS_BOUNDS_MAX + 1]);

/*
 * counters_list() calls this first: for values that are counted elsewhere, which
 * it sets as the share of the main thread. One for the process; NULL for none.
 * Then counters_list() is for the main thread alone.
 */
void counters_on_list(struct counters *c, void (*refresh)(void *arg), void *arg);

#endif
