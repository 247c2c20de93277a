/* test_counters.c - counters of scripts: one for each family and labels, escaped labels, sums, families together. */
#include "proxy/counters.h"

#include <pthread.h>
#include <stdio.h>

#include "vectors.h"

#define WORKERS 3

static struct counters *counters;

static void setup(void)
{
	counters = counters_new(WORKERS);
}

static void teardown(void)
{
	counters_free(counters);
}

static unsigned add(const char *family, const char *labels)
{
	return counters_register(counters, family, "help", labels, COUNTER_PLAIN);
}

START_TEST(the_same_one_again)
{
	const unsigned a = add("calls_total", "hook=\"a\""), b = add("calls_total", "hook=\"b\"");
	/* what stands behind each other is the same text */
	const unsigned x = add("calls", "_total"), y = add("calls_", "total");

	ck_assert_uint_ne(a, 0);
	ck_assert_uint_ne(a, b);
	ck_assert_uint_ne(x, y);
	ck_assert_uint_eq(add("calls_total", "hook=\"a\""), a);
	ck_assert_uint_eq(add("calls_total", "hook=\"b\""), b);
	ck_assert_uint_eq(add("calls", "_total"), x);
	ck_assert_uint_ne(add("calls_total", ""), a);
}
END_TEST

START_TEST(workers_are_summed)
{
	const unsigned n = add("calls_total", "");
	const unsigned gauge = counters_register(counters, "off", "help", "", COUNTER_GAUGE);

	counters_add(counters, 0, n, 1);
	counters_add(counters, 0, n, 2);
	counters_add(counters, WORKERS, n, 40);
	counters_set(counters, 1, gauge, 7);
	counters_set(counters, 1, gauge, 1);
	counters_set(counters, 2, gauge, 1);
	ck_assert_int_eq(counters_value(counters, n), 43);
	ck_assert_int_eq(counters_value(counters, gauge), 2);
}
END_TEST

/* Scripts may add what they like: it begins anew, as counters do. */
START_TEST(more_than_fits)
{
	const unsigned n = add("f_total", "");

	for (unsigned i = 0; i < 3; i++) {
		counters_add(counters, 0, n, INT64_MAX);
		counters_add(counters, 1, n, INT64_MAX);
	}
	ck_assert_int_eq(counters_value(counters, n), -6);
	/* What has no number is not counted. */
	counters_add(counters, 0, 0, 7);
	ck_assert_int_eq(counters_value(counters, 0), 0);
}
END_TEST

START_TEST(too_many)
{
	char labels[32];
	unsigned last = 0;

	for (unsigned i = 0; i < COUNTERS_MAX; i++) {
		snprintf(labels, sizeof(labels), "n=\"%u\"", i);
		last = add("calls_total", labels);
		ck_assert_uint_eq(last, i + 1);
	}
	ck_assert_uint_eq(add("calls_total", "n=\"more\""), 0);
	ck_assert_uint_eq(add("other_total", ""), 0);
	ck_assert_uint_eq(add("calls_total", labels), last);
	/* counts nothing that anybody sees */
	counters_add(counters, 0, 0, 5);
	ck_assert_int_eq(counters_value(counters, last), 0);
}
END_TEST

/* What belongs to a histogram is one: its numbers are not given to others, and there is an end of them, too. */
START_TEST(too_many_histograms)
{
	struct counter_bounds bounds = { .count = COUNTERS_BOUNDS_MAX };
	const unsigned cells = COUNTERS_BOUNDS_MAX + 2;
	char labels[32];
	unsigned made = 0;

	for (unsigned i = 0; i < COUNTERS_BOUNDS_MAX; i++)
		bounds.ns[i] = i + 1;
	for (;; made++) {
		snprintf(labels, sizeof(labels), "n=\"%u\"", made);
		if (counters_register_histogram(counters, "h", "help", labels, &bounds) == 0)
			break;
	}
	ck_assert_uint_eq(made, COUNTERS_CELLS / cells);
	for (unsigned i = 0; i < COUNTERS_CELLS % cells; i++) {
		snprintf(labels, sizeof(labels), "n=\"%u\"", i);
		ck_assert_uint_eq(add("small_total", labels), made * cells + i + 1);
	}
	ck_assert_uint_eq(add("small_total", "n=\"more\""), 0);
}
END_TEST

/* ---- lists ---- */

static char *listed(void)
{
	static char text[1024];
	struct counter_series *all;
	const unsigned count = counters_list(counters, &all);
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s|%s|%s|%d|%d", n ? "; " : "", all[i].family,
				      all[i].help, all[i].labels, (int)all[i].kind,
				      (int)counters_value(counters, all[i].number));
	free(all);
	return text;
}

START_TEST(families_come_together)
{
	unsigned b;

	b = counters_register(counters, "b", "one\\two\nthree", "", COUNTER_GAUGE);
	add("a", "x=\"2\"");
	/* what a family is was said by its first */
	ck_assert_uint_eq(counters_register(counters, "a", "help", "x=\"1\"", COUNTER_GAUGE), 0);
	ck_assert_uint_eq(counters_register(counters, "a", "help", "x=\"2\"", COUNTER_GAUGE), 0);
	counters_register(counters, "a", "other help", "x=\"1\"", COUNTER_PLAIN);
	counters_register(counters, "b", "other help", "y=\"1\"", COUNTER_GAUGE);
	counters_set(counters, 0, b, -3);
	ck_assert_str_eq(listed(), "a|help|x=\"1\"|0|0; a|help|x=\"2\"|0|0; b|one\\\\two\\nthree||1|-3; "
				   "b|one\\\\two\\nthree|y=\"1\"|1|0");
}
END_TEST

START_TEST(nothing_to_list)
{
	ck_assert_str_eq(listed(), "");
}
END_TEST

static void set_elsewhere(void *arg)
{
	counters_set(counters, WORKERS, *(unsigned *)arg, 17);
}

START_TEST(counted_elsewhere)
{
	unsigned n = add("a", "");

	counters_on_list(counters, set_elsewhere, &n);
	ck_assert_str_eq(listed(), "a|help||0|17");
	counters_on_list(counters, NULL, NULL);
}
END_TEST

START_TEST(histogram)
{
	static const struct counter_bounds bounds = { .count = 2, .ns = { 10, 20 } };
	static const struct counter_bounds others = { .count = 1, .ns = { 5 } };
	const unsigned plain = add("before_total", "");
	const unsigned h = counters_register_histogram(counters, "h", "help", "", &bounds);
	const unsigned after = add("x_total", "");
	struct counter_series *all;
	uint64_t buckets[COUNTERS_BOUNDS_MAX + 1];

	ck_assert_uint_eq(counters_register_histogram(counters, "h", "help", "", &others), h);
	ck_assert_uint_eq(counters_register_histogram(counters, "x_total", "help", "", &others), 0);
	ck_assert_uint_eq(add("h", ""), 0);
	counters_observe(counters, 0, h, 0);
	counters_observe(counters, 0, h, 10);
	counters_observe(counters, 1, h, 11);
	counters_observe(counters, WORKERS, h, 20);
	counters_observe(counters, counters_others(counters), h, 21);
	/* These are no histograms. */
	counters_observe(counters, 0, plain, 1);
	counters_observe(counters, 0, h + 1, 1);
	counters_observe(counters, 0, COUNTERS_CELLS, 1);
	ck_assert_uint_eq(counters_list(counters, &all), 3);
	ck_assert_str_eq(all[1].family, "h");
	ck_assert_uint_eq(all[1].bounds->count, 2);
	ck_assert_uint_eq(counters_buckets(counters, &all[1], buckets), 62);
	ck_assert_uint_eq(buckets[0], 2);
	ck_assert_uint_eq(buckets[1], 2);
	ck_assert_uint_eq(buckets[2], 1);
	ck_assert_int_eq(counters_value(counters, plain), 0);
	ck_assert_int_eq(counters_value(counters, after), 0);
	free(all);
}
END_TEST

/* ---- labels ---- */

static const struct {
	const char *value;
	const char *expected;
} labels[] = {
	{ "", "l=\"\"" },
	{ "canary", "l=\"canary\"" },
	{ "a\"b\\c\nd", "l=\"a\\\"b\\\\c\\nd\"" },
	{ "\xc3\xbc \xe2\x82\xac \xf0\x9f\x9a\x80", "l=\"\xc3\xbc \xe2\x82\xac \xf0\x9f\x9a\x80\"" },
	/* no UTF-8: alone, cut, too long a form, a surrogate, beyond the last */
	{ "a\xff\xbf", "l=\"a??\"" },
	{ "\xe2\x82", "l=\"??\"" },
	{ "\xc0\x80\xe0\x80\x80", "l=\"?????\"" },
	{ "\xed\xa0\x80", "l=\"???\"" },
	{ "\xf4\x90\x80\x80\xf5", "l=\"?????\"" },
};

START_TEST(label)
{
	char out[128] = "";

	counters_label(out, sizeof(out), "l", labels[_i].value);
	ck_assert_str_eq(out, labels[_i].expected);
}
END_TEST

START_TEST(several_labels)
{
	char out[128] = "";

	counters_label(out, sizeof(out), "hook", "a");
	counters_label(out, sizeof(out), "reason", "time");
	ck_assert_str_eq(out, "hook=\"a\",reason=\"time\"");
}
END_TEST

/* Whatever the room: whole, or cut between characters, or not there; never without its quotes. */
START_TEST(little_room)
{
	static const char *const value = "ab\"\xe2\x82\xac\n";

	for (size_t size = 1; size < 40; size++) {
		char *out = malloc(size);
		size_t n;

		out[0] = '\0';
		counters_label(out, size, "name", value);
		n = strlen(out);
		ck_assert_uint_lt(n, size);
		if (size < 9) {
			ck_assert_uint_eq(n, 0);
		} else {
			ck_assert_int_eq(out[n - 1], '"');
			ck_assert(strncmp(out, "name=\"", 6) == 0);
			ck_assert(n != 10 || out[8] == '\\'); /* an escape is not cut */
			ck_assert_int_eq((int)(n == 16), size >= 17);
		}
		free(out);
	}
}
END_TEST

/* ---- threads ---- */

static void *count(void *arg)
{
	const unsigned worker = *(unsigned *)arg;
	char text[32];

	for (unsigned i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "n=\"%u\"", i % 50);
		counters_add(counters, worker, add("calls_total", text), 1);
	}
	return NULL;
}

START_TEST(threads)
{
	static unsigned numbers[WORKERS] = { 0, 1, 2 };
	pthread_t all[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_create(&all[i], NULL, count, &numbers[i]), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(all[i], NULL);
	for (unsigned i = 1; i <= 50; i++)
		ck_assert_int_eq(counters_value(counters, i), 10 * WORKERS);
	ck_assert_int_eq(counters_value(counters, 51), 0);
}
END_TEST

/* Threads of plugins have one array: none of what they add is lost. */
static void *count_too(void *arg)
{
	const unsigned others = counters_others(counters);

	(void)arg;
	for (unsigned i = 0; i < 20000; i++)
		counters_add(counters, others, 1, 1);
	return NULL;
}

START_TEST(other_threads)
{
	pthread_t all[WORKERS];

	add("calls_total", "");
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_create(&all[i], NULL, count_too, NULL), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(all[i], NULL);
	ck_assert_int_eq(counters_value(counters, 1), 20000 * WORKERS);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("counters");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_same_one_again);
	tcase_add_test(tc, workers_are_summed);
	tcase_add_test(tc, more_than_fits);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, families_come_together);
	tcase_add_test(tc, nothing_to_list);
	tcase_add_test(tc, counted_elsewhere);
	tcase_add_test(tc, histogram);
	tcase_add_test(tc, too_many_histograms);
	tcase_add_loop_test(tc, label, 0, ARRAY_LEN(labels));
	tcase_add_test(tc, several_labels);
	tcase_add_test(tc, little_room);
	tcase_add_test(tc, threads);
	tcase_add_test(tc, other_threads);
	return run_tcase("counters", tc);
}
