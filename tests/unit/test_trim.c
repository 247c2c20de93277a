/* test_trim.c - what is free and resident is seen, and given back. Sanitizers have a malloc of their own: nothing to see. */
#include "base/trim.h"

#include <stdlib.h>

#include "vectors.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define HAS_ANOTHER_MALLOC 1
#else
#define HAS_ANOTHER_MALLOC 0
#endif

#define BLOCKS 4096
#define BLOCK_SIZE 4000

START_TEST(gives_back_what_lies_below_something_else)
{
	static void *blocks[BLOCKS];
	struct trim t = { .stuck = 0 };
	const uint64_t before = trim_idle_bytes();
	uint64_t idle;
	void *last;

	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = xmalloc(BLOCK_SIZE);
		memset(blocks[i], 1, BLOCK_SIZE);
	}
	last = xmalloc(BLOCK_SIZE); /* free(3) alone gives back what is at the end */
	for (unsigned i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	idle = trim_idle_bytes();
	if (!HAS_ANOTHER_MALLOC) {
		ck_assert_uint_ge(idle, before + BLOCKS * BLOCK_SIZE / 4 * 3);
		ck_assert(trim_look(&t, idle));
		ck_assert_uint_le(trim_idle_bytes(), before + BLOCKS * BLOCK_SIZE / 4);
		ck_assert(!trim_look(&t, trim_idle_bytes()));
	} else {
		trim_look(&t, idle);
		ck_assert_uint_le(trim_idle_bytes(), idle + BLOCKS * BLOCK_SIZE);
	}
	free(last);
}
END_TEST

START_TEST(what_is_in_use_is_not_idle)
{
	const size_t size = (size_t)32 << 20;
	const uint64_t before = trim_idle_bytes();
	uint8_t *block = xmalloc(size);

	memset(block, 1, size);
	if (!HAS_ANOTHER_MALLOC)
		ck_assert_uint_le(trim_idle_bytes(), before + size / 4);
	trim_look(&(struct trim){ .stuck = 0 }, UINT64_MAX);
	ck_assert_uint_eq(block[size - 1], 1);
	free(block);
}
END_TEST

/* Free blocks in pages that others keep in use: as much stays free after the first try, and there is no second one. */
START_TEST(what_is_stuck_is_not_tried_again)
{
	enum {
		SMALL = 500,
		COUNT = 40000
	};
	static void *blocks[COUNT];
	struct trim t = { .stuck = 0 };
	uint64_t idle;

	for (unsigned i = 0; i < COUNT; i++) {
		blocks[i] = xmalloc(SMALL);
		memset(blocks[i], 1, SMALL);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		if (i % 4 != 0)
			free(blocks[i]);
	}
	idle = trim_idle_bytes();
	if (!HAS_ANOTHER_MALLOC) {
		ck_assert_uint_ge(idle, COUNT * SMALL / 2);
		ck_assert(trim_look(&t, idle));
		ck_assert_uint_ge(t.stuck, COUNT * SMALL / 2);
		ck_assert(!trim_look(&t, trim_idle_bytes()));
	}
	for (unsigned i = 0; i < COUNT; i += 4)
		free(blocks[i]);
}
END_TEST

/* In numbers, whatever malloc does: what is stuck counts until it is used again. */
START_TEST(only_what_has_become_free_since_counts)
{
	const uint64_t mib = UINT64_C(1) << 20;
	struct trim t = { .stuck = 100 * mib };

	ck_assert(!trim_look(&t, 100 * mib));
	ck_assert(!trim_look(&t, 101 * mib - 1));
	ck_assert_uint_eq(t.stuck, 100 * mib);
	ck_assert(!trim_look(&t, 10 * mib));
	ck_assert_uint_eq(t.stuck, 10 * mib);
	ck_assert(!trim_look(&t, 11 * mib - 1));
	ck_assert(trim_look(&t, 11 * mib));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("trim");

	tcase_add_test(tcase, gives_back_what_lies_below_something_else);
	tcase_add_test(tcase, what_is_in_use_is_not_idle);
	tcase_add_test(tcase, what_is_stuck_is_not_tried_again);
	tcase_add_test(tcase, only_what_has_become_free_since_counts);
	return run_tcase("trim", tcase);
}
