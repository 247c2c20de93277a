/* test_limits.c - places by key: taken, refused, given back; many keys, many threads. */
#include "proxy/limits.h"

#include "vectors.h"

static struct limits limits;

static void setup(void)
{
	limits_init(&limits);
}

static void teardown(void)
{
	limits_fini(&limits); /* asserts that nothing is left */
}

static struct limit_entry *take(const char *key, uint32_t max)
{
	return limit_take(&limits.users, key, strlen(key), max);
}

static uint32_t count(const char *key)
{
	return limit_count(&limits.users, key, strlen(key));
}

START_TEST(places)
{
	struct limit_entry *a = take("app", 2), *b = take("app", 2), *other = take("apple", 1);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_eq(a, b);
	ck_assert_ptr_nonnull(other);
	ck_assert_ptr_ne(other, a);
	ck_assert_uint_eq(count("app"), 2);
	ck_assert_ptr_null(take("app", 2));
	ck_assert_ptr_null(take("app", 1)); /* lowered by a reload: those that are open stay */
	ck_assert_uint_eq(count("app"), 2);
	limit_give(&limits.users, a);
	ck_assert_uint_eq(count("app"), 1);
	a = take("app", 2);
	ck_assert_ptr_nonnull(a);
	/* the other table does not know these */
	ck_assert_uint_eq(limit_count(&limits.addresses, "app", 3), 0);
	limit_give(&limits.users, a);
	limit_give(&limits.users, b);
	limit_give(&limits.users, other);
	limit_give(&limits.users, NULL);
	ck_assert_uint_eq(count("app"), 0);
}
END_TEST

START_TEST(no_limit_counts_too)
{
	struct limit_entry *a = take("", 0), *b = take("", 0);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_ptr_null(take("", 2)); /* raised from 0 by a reload */
	limit_give(&limits.users, a);
	limit_give(&limits.users, b);
}
END_TEST

START_TEST(many_keys)
{
	enum {
		KEYS = 20000
	};
	static struct limit_entry *entries[KEYS];

	for (uint32_t i = 0; i < KEYS; i++) {
		entries[i] = limit_take(&limits.addresses, &i, sizeof(i), 1);
		ck_assert_ptr_nonnull(entries[i]);
	}
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_ptr_null(limit_take(&limits.addresses, &i, sizeof(i), 1));
	for (uint32_t i = 0; i < KEYS; i += 2)
		limit_give(&limits.addresses, entries[i]);
	for (uint32_t i = 0; i < KEYS; i++)
		ck_assert_uint_eq(limit_count(&limits.addresses, &i, sizeof(i)), i % 2);
	for (uint32_t i = 1; i < KEYS; i += 2)
		limit_give(&limits.addresses, entries[i]);
}
END_TEST

static _Atomic uint32_t most;

static void *hammer(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20000; i++) {
		struct limit_entry *e = take(i % 3 ? "app" : "other", 3);
		const uint32_t now = count("app");

		if (now > atomic_load(&most))
			atomic_store(&most, now);
		limit_give(&limits.users, e);
	}
	return NULL;
}

START_TEST(threads)
{
	pthread_t thread[4];

	for (unsigned i = 0; i < ARRAY_LEN(thread); i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, hammer, NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_le(atomic_load(&most), 3);
	ck_assert_uint_eq(count("app"), 0);
	ck_assert_uint_eq(count("other"), 0);
}
END_TEST

START_TEST(labels_are_sorted)
{
	static const char *const labels[] = {
#define X(name, label) label,
		LIMIT_REFUSALS(X)
#undef X
	};

	for (unsigned i = 1; i < ARRAY_LEN(labels); i++)
		ck_assert_int_lt(strcmp(labels[i - 1], labels[i]), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("limits");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, places);
	tcase_add_test(tcase, no_limit_counts_too);
	tcase_add_test(tcase, many_keys);
	tcase_add_test(tcase, threads);
	tcase_add_test(tcase, labels_are_sorted);
	return run_tcase("limits", tcase);
}
