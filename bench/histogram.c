/* histogram.c - see histogram.h */
#include "histogram.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_VERSION 1
/* Two numbers of 64 bits, a colon and a space. */
#define PART_MAX 44

uint64_t histogram_quantile(const struct histogram *h, double q)
{
	const uint64_t rank = MAX((uint64_t)ceil(q * (double)h->count), 1);
	uint64_t seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t middle;

		seen += h->buckets[i];
		if (seen < rank)
			continue;
		middle = (histogram_lowest(i) + histogram_lowest(i + 1) - 1) / 2;
		return MAX(MIN(middle, h->max), h->min);
	}
	return h->max;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (from->count == 0)
		return;
	into->min = into->count ? MIN(into->min, from->min) : from->min;
	into->max = MAX(into->max, from->max);
	into->count += from->count;
	into->sum += from->sum;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

char *histogram_text(const struct histogram *h)
{
	const size_t size = (HISTOGRAM_BUCKETS + 3) * (size_t)PART_MAX;
	char *text = xmalloc(size);
	size_t len = (size_t)snprintf(text, size, "%d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, FORMAT_VERSION,
				      h->count, h->sum, h->min, h->max);

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (h->buckets[i])
			len += (size_t)snprintf(text + len, size - len, " %u:%" PRIu64, i, h->buckets[i]);
	}
	return text;
}

bool histogram_parse(struct histogram *h, const char *text)
{
	uint64_t total = 0;
	int version;
	int used;

	memset(h, 0, sizeof(*h));
	if (sscanf(text, "%d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 "%n", &version, &h->count, &h->sum, &h->min,
		   &h->max, &used) != 5 ||
	    version != FORMAT_VERSION)
		return false;
	for (text += used; *text; text += used) {
		unsigned index;
		uint64_t count;

		if (sscanf(text, " %u:%" SCNu64 "%n", &index, &count, &used) != 2 || index >= HISTOGRAM_BUCKETS)
			return false;
		h->buckets[index] += count;
		total += count;
	}
	return total == h->count;
}
