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
	return counters_register(counters, family, "help", labels, false);
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
	const unsigned gauge = counters_register(counters, "off", "help", "", true);

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

/* ---- visits ---- */

static char seen[1024];

static void note(const char *family, const char *help, const char *labels, bool is_gauge, int64_t value, void *arg)
{
	size_t n = strlen(seen);

	ck_assert_ptr_eq(arg, seen);
	snprintf(seen + n, sizeof(seen) - n, "%s%s|%s|%s|%d|%d", n ? "; " : "", family, help, labels, is_gauge,
		 (int)value);
}

START_TEST(families_come_together)
{
	unsigned b;

	seen[0] = '\0';
	add("a", "x=\"1\"");
	b = counters_register(counters, "b", "one\\two\nthree", "", true);
	/* what a family is was said by its first */
	counters_register(counters, "a", "other help", "x=\"2\"", true);
	counters_register(counters, "b", "other help", "y=\"1\"", false);
	counters_set(counters, 0, b, -3);
	counters_visit(counters, note, seen);
	ck_assert_str_eq(seen, "a|help|x=\"1\"|0|0; a|help|x=\"2\"|0|0; b|one\\\\two\\nthree||1|-3; "
			       "b|one\\\\two\\nthree|y=\"1\"|1|0");
}
END_TEST

START_TEST(nothing_to_visit)
{
	seen[0] = '\0';
	counters_visit(counters, note, seen);
	ck_assert_str_eq(seen, "");
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

int main(void)
{
	TCase *tc = tcase_create("counters");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_same_one_again);
	tcase_add_test(tc, workers_are_summed);
	tcase_add_test(tc, more_than_fits);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, families_come_together);
	tcase_add_test(tc, nothing_to_visit);
	tcase_add_loop_test(tc, label, 0, ARRAY_LEN(labels));
	tcase_add_test(tc, several_labels);
	tcase_add_test(tc, little_room);
	tcase_add_test(tc, threads);
	return run_tcase("counters", tc);
}
