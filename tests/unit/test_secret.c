/* test_secret.c - memory for passwords: blocks of any size, overwritten, used again, not in core dumps. */
#include "base/secret.h"

#include <pthread.h>

#include "vectors.h"

static const size_t sizes[] = { 1, 15, 16, 17, 100, 1000, 4080, 4081, 5000, 200000 };

START_TEST(all_sizes)
{
	uint8_t *blocks[ARRAY_LEN(sizes)];
	const size_t before = secret_used();

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		blocks[i] = secret_alloc(sizes[i]);
		ck_assert_uint_eq((uintptr_t)blocks[i] % 16, 0);
		memset(blocks[i], (int)i + 1, sizes[i]);
	}
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		for (size_t k = 0; k < sizes[i]; k++)
			ck_assert_uint_eq(blocks[i][k], i + 1);
	}
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		secret_free(blocks[i]);
	ck_assert_uint_eq(secret_used(), before);
	secret_free(NULL);
}
END_TEST

START_TEST(overwritten_and_used_again)
{
	char *p = secret_strdup("correct horse battery staple");
	char *q;

	ck_assert_str_eq(p, "correct horse battery staple");
	secret_free(p);
	q = secret_alloc(29);
	ck_assert_ptr_eq(q, p); /* the block that was freed last */
	for (unsigned i = 0; i < 29; i++)
		ck_assert_int_eq(q[i], 0);
	secret_free(q);
}
END_TEST

START_TEST(copies)
{
	char *p = secret_strndup("password", 4);
	char *q = secret_strndup("", 0);

	ck_assert_str_eq(p, "pass");
	ck_assert_str_eq(q, "");
	secret_free(p);
	secret_free(q);
}
END_TEST

/* The line VmFlags of the mapping that holds p. */
static void flags_of(const void *p, char *flags, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool is_inside = false;
	char line[512];

	ck_assert_ptr_nonnull(f);
	flags[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx", &from, &to) == 2)
			is_inside = from <= (uintptr_t)p && (uintptr_t)p < to;
		else if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(flags, size, "%s", line + 8);
	}
	fclose(f);
}

START_TEST(not_in_core_dumps)
{
	char *small = secret_strdup("secret");
	char *large = secret_alloc(100000);
	char flags[512]; /* a whole line of smaps */

	flags_of(small, flags, sizeof(flags));
	ck_assert_msg(strstr(flags, " dd") != NULL, "%s", flags);
	flags_of(large, flags, sizeof(flags));
	ck_assert_msg(strstr(flags, " dd") != NULL, "%s", flags);
	secret_free(small);
	secret_free(large);
}
END_TEST

static void *churn(void *arg)
{
	unsigned seed = *(unsigned *)arg;

	for (unsigned i = 0; i < 20000; i++) {
		const size_t n = 1 + (seed = seed * 1103515245 + 12345) % 300;
		uint8_t *p = secret_alloc(n);

		memset(p, (int)seed & 0xff, n);
		if (p[n / 2] != (seed & 0xff))
			return arg;
		secret_free(p);
	}
	return NULL;
}

START_TEST(many_threads)
{
	unsigned seeds[4] = { 1, 2, 3, 4 };
	const size_t before = secret_used();
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, &seeds[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	ck_assert_uint_eq(secret_used(), before);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("secret");

	tcase_add_test(tcase, all_sizes);
	tcase_add_test(tcase, overwritten_and_used_again);
	tcase_add_test(tcase, copies);
	tcase_add_test(tcase, not_in_core_dumps);
	tcase_add_test(tcase, many_threads);
	return run_tcase("secret", tcase);
}
