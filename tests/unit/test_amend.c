/* test_amend.c - what the settings change in requests: timestamps, the rate of request ids, what statements allow. */
#include "proxy/amend.h"

#include <pthread.h>
#include <time.h>

#include "proxy/timestamps.h"
#include "vectors.h"

/* ---- timestamps ---- */

START_TEST(timestamps_rise)
{
	struct timestamps t = { 0 };

	ck_assert_int_eq(timestamps_raise(&t, 1000), 1000);
	ck_assert_int_eq(timestamps_raise(&t, 1000), 1001);
	ck_assert_int_eq(timestamps_raise(&t, 1001), 1002);
	ck_assert_int_eq(timestamps_raise(&t, 5000), 5000);
}
END_TEST

START_TEST(a_clock_that_steps_back)
{
	struct timestamps t = { 0 };

	ck_assert_int_eq(timestamps_raise(&t, 9000000), 9000000);
	for (int i = 1; i <= 100; i++)
		ck_assert_int_eq(timestamps_raise(&t, 1000 * i), 9000000 + i);
	ck_assert_int_eq(timestamps_raise(&t, -5), 9000101);
	ck_assert_int_eq(timestamps_raise(&t, 9000200), 9000200); /* it has caught up */
}
END_TEST

START_TEST(they_are_of_now)
{
	struct timestamps t = { 0 };
	struct timespec before, after;
	int64_t stamp;

	clock_gettime(CLOCK_REALTIME, &before);
	stamp = timestamps_next(&t);
	clock_gettime(CLOCK_REALTIME, &after);
	ck_assert_int_ge(stamp, (int64_t)before.tv_sec * 1000000 + before.tv_nsec / 1000);
	ck_assert_int_le(stamp, (int64_t)after.tv_sec * 1000000 + after.tv_nsec / 1000);
	atomic_store(&t.last, stamp + 3600000000); /* as if the clock had been an hour ahead */
	ck_assert_int_eq(timestamps_next(&t), stamp + 3600000001);
}
END_TEST

#define THREADS 4
#define EACH 100000

static struct timestamps shared;

static void *take_many(void *arg)
{
	int64_t *out = arg;

	for (unsigned i = 0; i < EACH; i++)
		out[i] = timestamps_raise(&shared, 1);
	return NULL;
}

/* Each is given once, and each thread sees its own rise: so the whole range is used up. */
START_TEST(they_are_unique_among_threads)
{
	static int64_t stamps[THREADS][EACH];
	static bool seen[THREADS * EACH + 1];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_many, stamps[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		for (unsigned j = 0; j < EACH; j++) {
			ck_assert(j == 0 || stamps[i][j] > stamps[i][j - 1]);
			ck_assert_int_ge(stamps[i][j], 1);
			ck_assert_int_le(stamps[i][j], THREADS * EACH);
			ck_assert(!seen[stamps[i][j]]);
			seen[stamps[i][j]] = true;
		}
	}
}
END_TEST

/* ---- the rate of request ids ---- */

#define S 1000000000ull

static unsigned taken_of(struct request_ids *ids, unsigned tries, uint64_t now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < tries; i++)
		n += request_ids_take(ids, now);
	return n;
}

START_TEST(a_bucket_of_ids)
{
	struct request_ids ids;

	request_ids_init(&ids, 5);
	ck_assert_uint_eq(taken_of(&ids, 15, 100 * S), 5); /* full at first */
	ck_assert_uint_eq(taken_of(&ids, 15, 100 * S + S / 5 - 1), 0);
	ck_assert_uint_eq(taken_of(&ids, 15, 100 * S + S / 5), 1);
	ck_assert_uint_eq(taken_of(&ids, 15, 100 * S + S / 2), 1);
	ck_assert_uint_eq(taken_of(&ids, 15, 102 * S), 5); /* and never more than full */
	ck_assert_uint_eq(taken_of(&ids, 15, 500 * S), 5);
}
END_TEST

START_TEST(rates)
{
	struct request_ids ids;

	request_ids_init(&ids, 1);
	ck_assert_uint_eq(taken_of(&ids, 10, 7 * S), 1);
	ck_assert_uint_eq(taken_of(&ids, 10, 8 * S), 1);
	request_ids_init(&ids, 1000);
	ck_assert_uint_eq(taken_of(&ids, 5000, 7 * S), 1000);
	request_ids_init(&ids, 0);
	ck_assert_uint_eq(taken_of(&ids, 100000, 7 * S), 100000);
	request_ids_init(&ids, UINT32_MAX); /* below a nanosecond each: no limit */
	ck_assert_uint_eq(taken_of(&ids, 100000, 7 * S), 100000);
}
END_TEST

/* ---- what is on, what is allowed ---- */

START_TEST(what_is_on)
{
	struct settings s = { .profile = PROFILE_NATIVE };

	ck_assert_uint_eq(amends_of(&s), 0);
	s.profile = PROFILE_ZDM;
	ck_assert_uint_eq(amends_of(&s), AMEND_IDS_STRIP);
	s.tracing_enabled = true;
	ck_assert_uint_eq(amends_of(&s), AMEND_IDS);
	s.timestamps = TIMESTAMPS_ADD;
	s.cluster[CLUSTER_TARGET].read_consistency.is_set = true;
	ck_assert_uint_eq(amends_of(&s), AMEND_IDS | AMEND_TIMESTAMPS | AMEND_LEVELS);
}
END_TEST

static uint8_t allows(const char *text, const char *keyspace, enum bound_counter bound)
{
	struct statement_facts facts;

	statement_scan(sv_from(text), &facts);
	return amend_allows(sv_from(text), &facts, sv_from(keyspace), bound, AMEND_TIMESTAMPS);
}

START_TEST(what_statements_allow)
{
	const uint8_t both = ALLOWS_WRITE_LEVEL | ALLOWS_TIMESTAMP;
	struct statement_facts facts;

	ck_assert_uint_eq(allows("SELECT a FROM t", "ks", BOUND_UNKNOWN), ALLOWS_READ_LEVEL);
	ck_assert_uint_eq(allows("SELECT a FROM t", "", BOUND_UNKNOWN), ALLOWS_READ_LEVEL);
	ck_assert_uint_eq(allows("SELECT a FROM t", "system_traces", BOUND_UNKNOWN), 0);
	ck_assert_uint_eq(allows("SELECT a FROM ks.t", "system_traces", BOUND_UNKNOWN), ALLOWS_READ_LEVEL);
	ck_assert_uint_eq(allows("SELECT a FROM system_auth.t", "ks", BOUND_UNKNOWN), 0);
	ck_assert_uint_eq(allows("LIST ROLES", "", BOUND_UNKNOWN), 0);
	ck_assert_uint_eq(allows("TRUNCATE t", "ks", BOUND_UNKNOWN), 0);
	ck_assert_uint_eq(allows("what?", "ks", BOUND_UNKNOWN), 0);
	ck_assert_uint_eq(allows("INSERT INTO t (k) VALUES (1)", "ks", BOUND_UNKNOWN), both);
	ck_assert_uint_eq(allows("INSERT INTO t (k) VALUES (1) USING TIMESTAMP 1", "ks", BOUND_NONE),
			  ALLOWS_WRITE_LEVEL);
	ck_assert_uint_eq(allows("UPDATE t SET c = c + ?", "ks", BOUND_UNKNOWN), ALLOWS_WRITE_LEVEL);
	ck_assert_uint_eq(allows("UPDATE t SET c = c + ?", "ks", BOUND_COUNTER), ALLOWS_WRITE_LEVEL);
	ck_assert_uint_eq(allows("UPDATE t SET c = c + ?", "ks", BOUND_NONE), both);
	ck_assert_uint_eq(allows("UPDATE t SET c = c + 1", "ks", BOUND_NONE), ALLOWS_WRITE_LEVEL);
	/* the text is not looked at for what nobody wants to know */
	statement_scan(SV("DELETE FROM t WHERE k = 1"), &facts);
	ck_assert_uint_eq(amend_allows(SV(""), &facts, SV(""), BOUND_UNKNOWN, AMEND_LEVELS), ALLOWS_WRITE_LEVEL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("amend");

	tcase_add_test(tc, timestamps_rise);
	tcase_add_test(tc, a_clock_that_steps_back);
	tcase_add_test(tc, they_are_of_now);
	tcase_add_test(tc, they_are_unique_among_threads);
	tcase_add_test(tc, a_bucket_of_ids);
	tcase_add_test(tc, rates);
	tcase_add_test(tc, what_is_on);
	tcase_add_test(tc, what_statements_allow);
	return run_tcase("amend", tc);
}
