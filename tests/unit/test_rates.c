/* test_rates.c - token buckets by key, shared by threads, in bounded memory. */
#include "policy/rates.h"

#include <pthread.h>
#include <stdio.h>

#include "vectors.h"

#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)
/* Any time on a monotonic clock. */
#define NOW (1000 * S)

static struct rates *r;

static void begin(void)
{
	r = rates_new();
}

static void end(void)
{
	rates_free(r);
}

/* How many of `asked` are let through. */
static unsigned take(const char *key, double per_second, uint64_t now_ns, unsigned asked)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < asked; i++)
		taken += rates_take(r, sv_from(key), per_second, now_ns);
	return taken;
}

START_TEST(a_second_s_worth_at_once_then_as_time_passes)
{
	ck_assert_uint_eq(take("a", 10, NOW, 100), 10);
	ck_assert_uint_eq(take("a", 10, NOW + 99 * MS, 5), 0);
	ck_assert_uint_eq(take("a", 10, NOW + 100 * MS, 5), 1);
	ck_assert_uint_eq(take("a", 10, NOW + 450 * MS, 5), 3);
	ck_assert_uint_eq(take("a", 10, NOW + 500 * MS, 5), 1);
	/* What is not used for long does not add up. */
	ck_assert_uint_eq(take("a", 10, NOW + 3600 * S, 100), 10);
}
END_TEST

START_TEST(keys_do_not_share)
{
	ck_assert_uint_eq(take("a", 5, NOW, 100), 5);
	ck_assert_uint_eq(take("b", 5, NOW, 100), 5);
	ck_assert_uint_eq(take("", 5, NOW, 100), 5);
	ck_assert_uint_eq(take("a", 5, NOW, 100), 0);
}
END_TEST

START_TEST(less_than_one_in_a_second)
{
	ck_assert_uint_eq(take("a", 0.1, NOW, 5), 1);
	ck_assert_uint_eq(take("a", 0.1, NOW + 9 * S, 5), 0);
	ck_assert_uint_eq(take("a", 0.1, NOW + 10 * S, 5), 1);
	/* Looking often takes nothing away. */
	for (unsigned i = 1; i < 1000; i++)
		ck_assert_uint_eq(take("a", 0.1, NOW + 10 * S + i * 10 * MS, 1), 0);
	ck_assert_uint_eq(take("a", 0.1, NOW + 20 * S, 5), 1);
}
END_TEST

START_TEST(none_and_very_many)
{
	ck_assert_uint_eq(take("a", 0, NOW, 5), 0);
	ck_assert_uint_eq(take("b", 1e9, NOW, 100000), 100000);
}
END_TEST

START_TEST(the_rate_may_change)
{
	ck_assert_uint_eq(take("a", 100, NOW, 1), 1);
	/* There were 99 left; only a second's worth of the new rate is. */
	ck_assert_uint_eq(take("a", 5, NOW, 100), 5);
	ck_assert_uint_eq(take("a", 100, NOW + 100 * MS, 100), 10);
}
END_TEST

START_TEST(a_clock_that_is_behind_gives_nothing)
{
	ck_assert_uint_eq(take("a", 10, NOW, 100), 10);
	ck_assert_uint_eq(take("a", 10, NOW - 5 * S, 100), 0);
	/* And the time between is not counted twice. */
	ck_assert_uint_eq(take("a", 10, NOW + 100 * MS, 100), 1);
}
END_TEST

START_TEST(many_keys_in_bounded_memory)
{
	char key[32];
	unsigned kept = 0;

	for (unsigned i = 0; i < 4 * RATES_KEYS; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		ck_assert_uint_eq(take(key, 1, NOW + i, 1), 1);
	}
	/* The last ones are remembered, as far as there is room. */
	for (unsigned i = 4 * RATES_KEYS - RATES_KEYS / 4; i < 4 * RATES_KEYS; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		kept += take(key, 1, NOW + 4 * RATES_KEYS, 1) == 0;
	}
	ck_assert_uint_ge(kept, RATES_KEYS / 4 * 95 / 100);
}
END_TEST

START_TEST(a_bucket_that_is_full_anyway_makes_room_first)
{
	char key[32];

	/* Asked long ago, and slow to fill. */
	ck_assert_uint_eq(take("quota", 0.001, NOW, 1), 1);
	/* These are full again after a microsecond. */
	for (unsigned i = 0; i < 4 * RATES_KEYS; i++) {
		snprintf(key, sizeof(key), "key %u", i);
		ck_assert_uint_eq(take(key, 1e6, NOW + S + i * 1000, 1), 1);
	}
	ck_assert_uint_eq(take("quota", 0.001, NOW + 2 * S, 1), 0);
}
END_TEST

#define THREADS 4
#define ROUNDS 20000

static void *run(void *arg)
{
	unsigned *taken = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		*taken += rates_take(r, SV("shared"), 1000, NOW + i % 3);
		(void)!rates_take(r, (struct strview){ (const char *)&i, sizeof(i) }, 5, NOW);
	}
	return NULL;
}

START_TEST(threads_share_a_bucket)
{
	pthread_t threads[THREADS];
	unsigned taken[THREADS] = { 0 }, sum = 0;

	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run, &taken[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += taken[i];
	}
	ck_assert_uint_eq(sum, 1000);
}
END_TEST

START_TEST(the_process_has_one)
{
	ck_assert_ptr_eq(rates_shared(), rates_shared());
	rates_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rates");
	TCase *t = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_second_s_worth_at_once_then_as_time_passes);
	tcase_add_test(t, keys_do_not_share);
	tcase_add_test(t, less_than_one_in_a_second);
	tcase_add_test(t, none_and_very_many);
	tcase_add_test(t, the_rate_may_change);
	tcase_add_test(t, a_clock_that_is_behind_gives_nothing);
	tcase_add_test(t, many_keys_in_bounded_memory);
	tcase_add_test(t, a_bucket_that_is_full_anyway_makes_room_first);
	tcase_add_test(t, threads_share_a_bucket);
	tcase_add_test(t, the_process_has_one);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
