/*
 * buckets.h - the bounds of histograms, and which of them a duration falls
 * below: found by the place of its highest bit, with a step or two from there.
 */
#ifndef PROMETHEUS_BUCKETS_H
#define PROMETHEUS_BUCKETS_H

#include <stddef.h>
#include <stdint.h>

#define BUCKETS_MAX 32

struct buckets {
	uint64_t bounds[BUCKETS_MAX + 1]; /* nanoseconds, growing; behind the last one UINT64_MAX */
	uint8_t first[64];                /* by the place of the highest bit: the first that may fit */
	unsigned count;                   /* without the last one */
	char texts[BUCKETS_MAX + 1][24];  /* as the label le: "0.005", "1.0", "+Inf" */
};

struct histogram {
	uint64_t counts[BUCKETS_MAX + 1];
	uint64_t sum_ns;
};

/* From "0.001 0.01 1", seconds. Returns NULL, or what is wrong. */
const char *buckets_read(struct buckets *b, const char *text);

static inline unsigned buckets_find(const struct buckets *b, uint64_t ns)
{
	unsigned i = b->first[63 - __builtin_clzll(ns | 1)];

	while (ns > b->bounds[i])
		i++;
	return i;
}

/* Adds what another thread counts. */
void histogram_add(struct histogram *to, const struct histogram *from, unsigned count);

#endif
