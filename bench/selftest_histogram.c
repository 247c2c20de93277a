/* selftest_histogram.c - histograms of values that are known. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"
#include "peer.h"
#include "selftest.h"

/* Half of a bucket's width, and some for rounding. */
#define ERROR_SHARE (1.0 / 128 + 0.0001)

static const double quantiles[] = { 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };

static struct histogram h;

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Against the values themselves, sorted. */
static void require_quantiles(uint64_t *values, size_t count)
{
	memset(&h, 0, sizeof(h));
	for (size_t i = 0; i < count; i++)
		histogram_add(&h, values[i]);
	qsort(values, count, sizeof(*values), compare);
	REQUIRE(h.count == count && h.min == values[0] && h.max == values[count - 1]);
	for (unsigned i = 0; i < ARRAY_LEN(quantiles); i++) {
		const double exact = (double)values[(size_t)ceil(quantiles[i] * (double)count) - 1];
		const double told = (double)histogram_quantile(&h, quantiles[i]);

		REQUIRE(fabs(told - exact) <= exact * ERROR_SHARE + 0.5);
	}
}

/* Always the same numbers, from 0 to 1. */
static double chance(void)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (double)(state >> 11) / 9007199254740992.0;
}

static void check_distributions(const struct selftest *self)
{
	enum {
		COUNT = 100000
	};
	uint64_t *values = xcalloc(COUNT, sizeof(*values));

	(void)self;
	for (size_t i = 0; i < COUNT; i++)
		values[i] = 1000 + i * 17;
	require_quantiles(values, COUNT);
	for (size_t i = 0; i < COUNT; i++)
		values[i] = (uint64_t)(-200000 * log(1 - chance()));
	require_quantiles(values, COUNT);
	/* Two ways with a factor of a thousand in between, as with a stall now and then. */
	for (size_t i = 0; i < COUNT; i++)
		values[i] = i % 97 ? 70000 + (uint64_t)(chance() * 5000) : 70000000;
	require_quantiles(values, COUNT);
	for (size_t i = 0; i < COUNT; i++)
		values[i] = 1ull << (i % 40);
	require_quantiles(values, COUNT);
	free(values);
}

static void check_small_values(const struct selftest *self)
{
	(void)self;
	for (uint64_t v = 0; v < 128; v++) {
		memset(&h, 0, sizeof(h));
		histogram_add(&h, v);
		REQUIRE(histogram_quantile(&h, 0.5) == v && h.min == v && h.max == v);
		REQUIRE(histogram_lowest(histogram_index(v)) == v);
	}
}

/* Every bucket begins where the one before ends, and none is wider than a 64th of its values. */
static void check_buckets(const struct selftest *self)
{
	(void)self;
	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		const uint64_t low = histogram_lowest(i);
		const uint64_t next = histogram_lowest(i + 1);

		REQUIRE(next > low && (next - low == 1 || (next - low) * 64 <= low));
		REQUIRE(histogram_index(low) == i && histogram_index(next - 1) == i && histogram_index(next) == i + 1);
	}
	REQUIRE(histogram_index(HISTOGRAM_MAX_NS) == HISTOGRAM_BUCKETS - 1);
	REQUIRE(histogram_index(UINT64_MAX) == HISTOGRAM_BUCKETS - 1);
}

static void check_nothing(const struct selftest *self)
{
	(void)self;
	memset(&h, 0, sizeof(h));
	REQUIRE(histogram_quantile(&h, 0.99) == 0 && histogram_mean(&h) == 0);
}

static void check_merge_and_text(const struct selftest *self)
{
	struct histogram all = { 0 };
	struct histogram parts[3] = { 0 };
	struct histogram merged = { 0 };
	char *text;

	(void)self;
	for (unsigned i = 0; i < 10000; i++) {
		const uint64_t v = (uint64_t)(chance() * chance() * 1e8);

		histogram_add(&all, v);
		histogram_add(&parts[i % 3], v);
	}
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
		text = histogram_text(&parts[i]);
		REQUIRE(histogram_parse(&h, text) && memcmp(&h, &parts[i], sizeof(h)) == 0);
		histogram_merge(&merged, &h);
		free(text);
	}
	REQUIRE(memcmp(&merged, &all, sizeof(all)) == 0);
	memset(&h, 0, sizeof(h));
	text = histogram_text(&h);
	REQUIRE(histogram_parse(&merged, text) && memcmp(&merged, &h, sizeof(h)) == 0);
	free(text);
	REQUIRE(!histogram_parse(&h, "") && !histogram_parse(&h, "2 0 0 0 0") && !histogram_parse(&h, "1 2 3 1 2 1:1"));
	REQUIRE(!histogram_parse(&h, "1 1 1 1 1 9999:1") && !histogram_parse(&h, "1 1 1 1 1 1:1 x"));
}

const struct selftest selftest_histogram[] = {
	{ .name = "quantiles of known distributions", .run = check_distributions },
	{ .name = "small values are exact", .run = check_small_values },
	{ .name = "buckets have no gaps", .run = check_buckets },
	{ .name = "an empty histogram", .run = check_nothing },
	{ .name = "merging and text", .run = check_merge_and_text },
	{ .name = NULL },
};
