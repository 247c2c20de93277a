/* test_chunk.c - refcounted blocks: size classes, what is kept for reuse and how much of it, references. */
#include "base/chunk.h"

#include "vectors.h"

static struct chunk_pool pool;

static void setup(void)
{
	chunk_pool_init(&pool);
}

static void teardown(void)
{
	ck_assert_uint_eq(pool.used, 0);
	chunk_pool_fini(&pool);
}

static const struct {
	uint32_t size, cap;
} sizes[] = {
	{ 0, 512 },       { 1, 512 },       { 512, 512 },       { 513, 4096 },
	{ 4096, 4096 },   { 4097, 16384 },  { 16384, 16384 },   { 16385, 65536 },
	{ 65536, 65536 }, { 65537, 65537 }, { 131083, 131083 }, { 1 << 24, 1 << 24 },
};

START_TEST(capacity)
{
	struct chunk *c = chunk_new(&pool, sizes[_i].size);

	ck_assert_uint_eq(c->cap, sizes[_i].cap);
	ck_assert_uint_eq(c->refs, 1);
	memset(c->data, 0x5a, c->cap); /* all of it is there: the sanitizer would tell */
	ck_assert_uint_eq(pool.used, 1);
	chunk_unref(c);
}
END_TEST

START_TEST(small_ones_are_used_again)
{
	struct chunk *c = chunk_new(&pool, sizes[_i].size);
	const bool from_class = sizes[_i].size <= 65536;
	unsigned kept = 0;

	chunk_unref(c);
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		kept += pool.free_count[i];
	ck_assert_uint_eq(kept, from_class);
	if (from_class) {
		struct chunk *again = chunk_new(&pool, sizes[_i].size);

		ck_assert_ptr_eq(again, c);
		ck_assert_uint_eq(again->refs, 1);
		chunk_unref(again);
	}
}
END_TEST

START_TEST(large_ones_are_counted)
{
	struct chunk *c = chunk_new(&pool, sizes[_i].size);
	const uint64_t counted = sizes[_i].size > CHUNK_LARGE ? sizes[_i].size : 0;
	struct chunk *other;

	ck_assert_uint_eq(chunk_large_bytes(), counted);
	other = chunk_new(&pool, CHUNK_LARGE + 1);
	chunk_ref(c);
	chunk_unref(c);
	ck_assert_uint_eq(chunk_large_bytes(), counted + CHUNK_LARGE + 1);
	chunk_unref(c);
	ck_assert_uint_eq(chunk_large_bytes(), CHUNK_LARGE + 1);
	chunk_unref(other);
	ck_assert_uint_eq(chunk_large_bytes(), 0);
}
END_TEST

START_TEST(the_last_reference_counts)
{
	struct chunk *c = chunk_new(&pool, 100);

	ck_assert_ptr_eq(chunk_ref(c), c);
	chunk_ref(c);
	ck_assert_uint_eq(c->refs, 3);
	chunk_unref(c);
	chunk_unref(c);
	ck_assert_uint_eq(pool.used, 1);
	ck_assert_uint_eq(pool.free_count[0], 0);
	chunk_unref(c);
	ck_assert_uint_eq(pool.used, 0);
	ck_assert_uint_eq(pool.free_count[0], 1);
}
END_TEST

/* A burst gives its memory back: what stays is bounded per class, and to 5.5 MiB in all. */
START_TEST(what_is_kept_is_bounded)
{
	static const uint32_t classes[CHUNK_CLASSES] = { 512, 4096, 16384, 65536 };
	static const uint32_t counts[CHUNK_CLASSES] = { 10000, 2000, 1000, 100 };
	struct chunk **all = malloc(counts[0] * sizeof(*all));
	size_t bytes = 0;

	for (unsigned k = 0; k < CHUNK_CLASSES; k++) {
		for (unsigned i = 0; i < counts[k]; i++)
			all[i] = chunk_new(&pool, classes[k]);
		ck_assert_uint_eq(pool.used, counts[k]);
		for (unsigned i = 0; i < counts[k]; i++)
			chunk_unref(all[i]);
		ck_assert_uint_gt(pool.free_count[k], 0);
		ck_assert_uint_lt(pool.free_count[k], counts[k]);
		bytes += (size_t)pool.free_count[k] * classes[k];
	}
	ck_assert_uint_le(bytes, 11 << 19);
	free(all);
}
END_TEST

/* Of each class what a while has done without is freed, but for a few; a chunk that was needed is kept a while longer. */
START_TEST(what_was_not_needed_is_given_back)
{
	static const uint32_t classes[CHUNK_CLASSES] = { 512, 4096, 16384, 65536 };
	static const uint32_t counts[CHUNK_CLASSES] = { 4096, 512, 64, 8 };
	struct chunk **all = malloc(counts[0] * sizeof(*all));
	uint32_t kept = 0;

	ck_assert(!chunk_pool_has_spare(&pool));
	for (unsigned k = 0; k < CHUNK_CLASSES; k++) {
		for (unsigned i = 0; i < counts[k]; i++)
			all[i] = chunk_new(&pool, classes[k]);
		for (unsigned i = 0; i < counts[k]; i++)
			chunk_unref(all[i]);
		kept += counts[k];
	}
	ck_assert(chunk_pool_has_spare(&pool));
	ck_assert(chunk_pool_give_back(&pool));
	ck_assert_uint_eq(chunk_pool_free_count(&pool), kept);
	for (unsigned i = 0; i < 100; i++)
		all[i] = chunk_new(&pool, 512);
	ck_assert_uint_eq(chunk_pool_free_count(&pool), kept - 100);
	for (unsigned i = 0; i < 100; i++)
		chunk_unref(all[i]);
	ck_assert(chunk_pool_give_back(&pool));
	ck_assert_uint_eq(pool.free_count[0], 100);
	ck_assert(!chunk_pool_give_back(&pool));
	ck_assert(!chunk_pool_has_spare(&pool));
	ck_assert_uint_le(chunk_pool_free_bytes(&pool), 128 * 1024);
	ck_assert_uint_gt(pool.free_count[0], 0);
	free(all);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("chunk");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, capacity, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(tcase, large_ones_are_counted, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(tcase, small_ones_are_used_again, 0, ARRAY_LEN(sizes));
	tcase_add_test(tcase, the_last_reference_counts);
	tcase_add_test(tcase, what_is_kept_is_bounded);
	tcase_add_test(tcase, what_was_not_needed_is_given_back);
	return run_tcase("chunk", tcase);
}
