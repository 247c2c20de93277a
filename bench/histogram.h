/*
 * histogram.h - how long requests took, in nanoseconds: log-linear buckets in the manner of HdrHistogram. Each power of
 * two is cut into 64 buckets of equal width, so a value is known to 1/64 of itself (1.6 %); below 64 ns exactly.
 *
 * As text, in one line:
 *
 *   1 COUNT SUM MIN MAX INDEX:COUNT INDEX:COUNT ...
 *
 * The leading 1 is the version. Buckets that are empty are left out; an index is one of histogram_index(). Two histograms
 * are merged by adding COUNT, SUM and the counts of equal indexes, and taking the smaller MIN and the larger MAX.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include "base/common.h"

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_MAX_BITS 40
/* The largest value that is told from larger ones: 18 minutes. */
#define HISTOGRAM_MAX_NS ((1ull << HISTOGRAM_MAX_BITS) - 1)
#define HISTOGRAM_BUCKETS ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t min; /* 0 when nothing was added */
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value: its 7 leading bits, behind those of all smaller powers of two. */
static inline unsigned histogram_index(uint64_t ns)
{
	const uint64_t v = MIN(ns, HISTOGRAM_MAX_NS);
	const unsigned top = 63 - (unsigned)__builtin_clzll(v | 1);
	const unsigned shift = top > HISTOGRAM_SUB_BITS ? top - HISTOGRAM_SUB_BITS : 0;

	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(v >> shift);
}

/* The smallest value of a bucket. */
static inline uint64_t histogram_lowest(unsigned index)
{
	const unsigned shift = index >> HISTOGRAM_SUB_BITS > 1 ? (index >> HISTOGRAM_SUB_BITS) - 1 : 0;

	return (uint64_t)(index - (shift << HISTOGRAM_SUB_BITS)) << shift;
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	h->buckets[histogram_index(ns)]++;
	if (h->count++ == 0 || ns < h->min)
		h->min = ns;
	h->max = MAX(h->max, ns);
	h->sum += ns;
}

/*
 * The value that the share q (0 to 1) of all values does not exceed: the middle of its bucket, and never outside of what
 * was added. 0 when nothing was.
 */
uint64_t histogram_quantile(const struct histogram *h, double q);
double histogram_mean(const struct histogram *h);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The text above; the caller frees it. */
char *histogram_text(const struct histogram *h);
/* Reads that text. False when it is something else; then *h is not to be used. */
MUSTCHECK bool histogram_parse(struct histogram *h, const char *text);

#endif
