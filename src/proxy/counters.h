/*
 * counters.h - counters and gauges that scripts and plugins make, by a family
 * and labels, for the metrics page. One registry per process; what is in it
 * stays until the process ends, so a number can be kept anywhere. Each worker
 * counts in an array of its own, so that no cache line is written by two; threads
 * of plugins share one.
 */
#ifndef PROXY_COUNTERS_H
#define PROXY_COUNTERS_H

#include "base/common.h"

/* Beyond these counter_register() fails. The first number is 1: 0 stands for none. */
#define COUNTERS_MAX 4096

struct counters;

/* `workers` + 2 arrays: behind the workers' that of the main thread, and the one that all other threads share. */
struct counters *counters_new(unsigned workers);
void counters_free(struct counters *c);

/*
 * The number of the counter with this family (a metric name without the prefix,
 * "policy_calls_total") and labels (without braces, values escaped by
 * counters_label(): `hook="canary"`; "" for none); made when there is none.
 * `help` is of the family, taken from the first. From any thread; takes a lock.
 * 0 when there are too many: counter_add() with it counts nothing.
 */
unsigned counters_register(struct counters *c, const char *family, const char *help, const char *labels, bool is_gauge);

/* Appends name="value" to `out`, behind a comma where something stands there; escaped as the text format wants it. */
void counters_label(char *out, size_t size, const char *name, const char *value);

/* What threads that are neither a worker's nor main give as `worker` below. */
unsigned counters_others(const struct counters *c);
/* On the worker's own thread (index `workers`: the main thread). */
void counters_add(struct counters *c, unsigned worker, unsigned number, int64_t n);
/* A gauge: the worker's share of it. */
void counters_set(struct counters *c, unsigned worker, unsigned number, int64_t value);

/* The sum over all workers. From any thread. */
int64_t counters_value(const struct counters *c, unsigned number);

/* All of them, families together, in the order they were made. On the main thread; do not register from inside. */
void counters_visit(struct counters *c,
		    void (*visit)(const char *family, const char *help, const char *labels, bool is_gauge,
				  int64_t value, void *arg),
		    void *arg);

#endif
