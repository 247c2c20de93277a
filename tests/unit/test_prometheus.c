/* test_prometheus.c - names and buckets of plugins/prometheus: who is shown, what other counts, what is wrong. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/prometheus/buckets.h"
#include "../../plugins/prometheus/names.h"

#define WORKERS 2
#define SECOND UINT64_C(1000000000)

static struct names *names;
static struct names_view views[WORKERS];
static uint64_t now;

/* The page: what is shown, and other. */
static struct {
	char keys[64][NAMES_KEY_MAX];
	uint64_t counts[64];
	unsigned count;
	uint64_t other;
} page;

static void start(unsigned shown)
{
	names = names_new(shown, 1, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		names_view_init(&views[i], names, i);
	now = 100 * SECOND;
}

static void teardown(void)
{
	names_free(names);
	names = NULL;
}

static uint32_t ref_of(unsigned worker, const char *name)
{
	const uint64_t len = strlen(name);
	char key[NAMES_KEY_MAX];

	return names_ref(&views[worker], key, names_key(key, &name, &len, 1));
}

static void add(unsigned worker, const char *name, uint64_t n)
{
	cell_add(names_cells(&views[worker], ref_of(worker, name)), n);
}

static void take(void *arg, const char *key, const uint64_t *counts)
{
	(void)arg;
	if (!key) {
		page.other = counts[0];
		return;
	}
	ck_assert_uint_lt(page.count, 64);
	snprintf(page.keys[page.count], NAMES_KEY_MAX, "%s", key);
	page.counts[page.count++] = counts[0];
}

static void scrape(void)
{
	const uint64_t other = page.other;

	page.count = 0;
	names_settle(names, now);
	names_visit(names, take, NULL);
	ck_assert_uint_ge(page.other, other);
}

static uint64_t shown(const char *name)
{
	for (unsigned i = 0; i < page.count; i++) {
		if (strcmp(page.keys[i], name) == 0)
			return page.counts[i];
	}
	return UINT64_MAX;
}

static uint64_t total(void)
{
	uint64_t sum = page.other;

	for (unsigned i = 0; i < page.count; i++)
		sum += page.counts[i];
	return sum;
}

static void setup(void)
{
	memset(&page, 0, sizeof(page));
}

START_TEST(few_names_are_all_shown)
{
	start(3);
	add(0, "a", 5);
	add(1, "a", 2);
	add(1, "b", 1);
	scrape();
	ck_assert_uint_eq(shown("a"), 7);
	ck_assert_uint_eq(shown("b"), 1);
	ck_assert_uint_eq(page.other, 0);
	ck_assert_uint_eq(ref_of(0, "a"), ref_of(1, "a"));
	ck_assert(names_is_current(&views[0], ref_of(0, "a")));
	ck_assert(!names_is_current(&views[0], 0));
}
END_TEST

START_TEST(nothing_is_shown)
{
	start(0);
	add(0, "a", 5);
	scrape();
	ck_assert_uint_eq(page.count, 0);
	ck_assert_uint_eq(page.other, 5);
	ck_assert_uint_eq(names_count(names), 0);
}
END_TEST

/* Somebody who has twice as many requests takes the place, and begins at 0: what he had was part of other. */
START_TEST(the_most_frequent_are_shown)
{
	start(1);
	add(0, "old", 10);
	scrape();
	add(0, "new", 15);
	scrape();
	ck_assert_uint_eq(shown("old"), 10);
	ck_assert_uint_eq(page.other, 15);
	now += 11 * SECOND;
	add(0, "new", 100);
	scrape();
	ck_assert_uint_eq(shown("old"), UINT64_MAX);
	ck_assert_uint_eq(shown("new"), 0);
	ck_assert_uint_eq(page.other, 125);
	add(1, "new", 4);
	add(0, "old", 1);
	scrape();
	ck_assert_uint_eq(shown("new"), 4);
	ck_assert_uint_eq(page.other, 126);
	ck_assert_uint_eq(total(), 130);
}
END_TEST

/* 10000 names: bounded numbers, all is counted, and a name that becomes frequent later gets its place. */
START_TEST(ten_thousand_names)
{
	uint64_t sent = 0;
	char name[32];

	start(4);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "name%u", i);
		add(i % WORKERS, name, 1);
		sent++;
	}
	scrape();
	ck_assert_uint_eq(page.count, 4);
	ck_assert_uint_eq(total(), sent);
	ck_assert_uint_le(names_count(names), 4 * 4 + 16);
	for (unsigned i = 0; i < 10; i++) {
		const uint32_t before = ref_of(0, "late");

		add(0, "late", 50);
		sent += 50;
		now += 11 * SECOND;
		scrape();
		ck_assert_uint_eq(total(), sent);
		ck_assert(i < 9 || names_is_current(&views[0], before));
	}
	ck_assert_uint_ge(shown("late"), 50);
	ck_assert_uint_ne(shown("late"), UINT64_MAX);
}
END_TEST

/* New names all the time, each period, with one that is shown throughout: its counter never falls. */
START_TEST(names_come_and_go)
{
	uint64_t last = 0, sent = 0;
	char name[32];

	start(2);
	for (unsigned i = 0; i < 200; i++) {
		add(0, "steady", 100);
		sent += 100;
		for (unsigned k = 0; k < 40; k++) {
			snprintf(name, sizeof(name), "name%u", i * 40 + k);
			add(k % WORKERS, name, 1 + k % 3);
			sent += 1 + k % 3;
		}
		now += 11 * SECOND;
		scrape();
		ck_assert_uint_eq(total(), sent);
		ck_assert_uint_ge(shown("steady"), last);
		last = shown("steady");
	}
	ck_assert_uint_eq(last, 20000);
}
END_TEST

START_TEST(keys)
{
	static const char bad[] = { 'a', '\0', '\xC0', '\xAF', '\xE2', '\x82', '\xAC', '\xED', '\xA0', '\x80', 'z' };
	const char *parts[] = { bad, "x" };
	uint64_t lengths[] = { sizeof(bad), 1 };
	char longest[300], key[NAMES_KEY_MAX];

	ck_assert_uint_eq(names_key(key, parts, lengths, 2), 14);
	ck_assert_str_eq(key, "a???\xE2\x82\xAC???z");
	ck_assert_str_eq(key + 12, "x");
	/* Cut between characters. */
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + NAMES_PART_MAX - 1, "\xC3\xA4", 2);
	parts[0] = longest;
	lengths[0] = sizeof(longest);
	ck_assert_uint_eq(names_key(key, parts, lengths, 1), NAMES_PART_MAX);
	lengths[0] = 0;
	parts[0] = NULL;
	ck_assert_uint_eq(names_key(key, parts, lengths, 1), 1);
	ck_assert_str_eq(key, "");
}
END_TEST

START_TEST(called_other)
{
	start(3);
	add(0, "other", 5);
	add(0, "others", 2);
	scrape();
	ck_assert_uint_eq(page.count, 1);
	ck_assert_uint_eq(shown("others"), 2);
	ck_assert_uint_eq(page.other, 5);
}
END_TEST

START_TEST(bounds)
{
	static const char *const wrong[] = { "", "  ", "x", "0", "-1", "1 1", "2 1", "1x", "nan", "1e9", "0.1;0.2" };
	struct buckets b;
	char text[400] = "";

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(buckets_read(&b, wrong[i]) != NULL, "'%s' is taken", wrong[i]);
	for (unsigned i = 1; i <= BUCKETS_MAX + 1; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u ", i);
	ck_assert_ptr_nonnull(buckets_read(&b, text));
	ck_assert_ptr_null(buckets_read(&b, "0.00001, 0.0005 0.25\t1 10"));
	ck_assert_uint_eq(b.count, 5);
	ck_assert_str_eq(b.texts[0], "1e-05");
	ck_assert_str_eq(b.texts[1], "0.0005");
	ck_assert_str_eq(b.texts[3], "1.0");
	ck_assert_str_eq(b.texts[5], "+Inf");
	/* As a search from the beginning finds it. */
	for (uint64_t ns = 1; ns < 40 * SECOND; ns += ns / 7 + 1) {
		unsigned i = 0;

		while (ns > b.bounds[i])
			i++;
		ck_assert_uint_eq(buckets_find(&b, ns), i);
	}
	ck_assert_uint_eq(buckets_find(&b, 0), 0);
	ck_assert_uint_eq(buckets_find(&b, 10000), 0);
	ck_assert_uint_eq(buckets_find(&b, 10001), 1);
	ck_assert_uint_eq(buckets_find(&b, UINT64_MAX), 5);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("prometheus");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, few_names_are_all_shown);
	tcase_add_test(tc, nothing_is_shown);
	tcase_add_test(tc, the_most_frequent_are_shown);
	tcase_add_test(tc, ten_thousand_names);
	tcase_add_test(tc, names_come_and_go);
	tcase_add_test(tc, keys);
	tcase_add_test(tc, called_other);
	tcase_add_test(tc, bounds);
	suite_add_tcase(s, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
