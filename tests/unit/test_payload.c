/* test_payload.c - entries of a custom payload. */
#include "cql/payload.h"

#include "vectors.h"

/* { "a": "12", "id": "xyz", "n": null } */
static const uint8_t three[] = { 0, 3, 0, 1, 'a', 0,   0,   0, 2, '1', '2',  0,    2,    'i', 'd',
				 0, 0, 0, 3, 'x', 'y', 'z', 0, 1, 'n', 0xff, 0xff, 0xff, 0xff };

static void expect_without(const char *key, const uint8_t *expected, uint32_t len)
{
	struct writer w;

	writer_init(&w);
	write_byte(&w, 0xee); /* what stands in the writer already stays */
	payload_write_without(three, sizeof(three), sv_from(key), &w);
	ck_assert_uint_eq(w.len, len + 1);
	ck_assert_mem_eq(w.data + 1, expected, len);
	writer_free(&w);
}

START_TEST(found)
{
	struct payload_entry e;

	ck_assert(payload_find(three, sizeof(three), SV("id"), &e));
	ck_assert_uint_eq(e.count, 3);
	ck_assert_uint_eq(e.found, 1);
	ck_assert_uint_eq(e.value.len, 3);
	ck_assert_ptr_eq(e.value.p, three + e.value_offset);
	ck_assert_mem_eq(three + e.value_offset, "xyz", 3);

	ck_assert(payload_find(three, sizeof(three), SV("n"), &e));
	ck_assert_uint_eq(e.found, 1);
	ck_assert(e.value.is_null);
	ck_assert(payload_find(three, sizeof(three), SV("i"), &e));
	ck_assert_uint_eq(e.found, 0);
	ck_assert(payload_find(three, sizeof(three), SV(""), &e));
	ck_assert_uint_eq(e.found, 0);
}
END_TEST

START_TEST(the_last_of_several_counts)
{
	static const uint8_t twice[] = { 0, 2, 0, 1, 'a', 0, 0, 0, 1, '1', 0, 1, 'a', 0, 0, 0, 1, '2' };
	static const uint8_t none[] = { 0, 0 };
	struct payload_entry e;
	struct writer w;

	ck_assert(payload_find(twice, sizeof(twice), SV("a"), &e));
	ck_assert_uint_eq(e.found, 2);
	ck_assert_mem_eq(twice + e.value_offset, "2", 1);
	writer_init(&w);
	payload_write_without(twice, sizeof(twice), SV("a"), &w);
	ck_assert_uint_eq(w.len, sizeof(none));
	ck_assert_mem_eq(w.data, none, sizeof(none));
	writer_free(&w);
}
END_TEST

START_TEST(removed)
{
	static const uint8_t without_id[] = { 0, 2, 0, 1, 'a', 0, 0, 0, 2, '1', '2', 0, 1, 'n', 0xff, 0xff, 0xff, 0xff };

	expect_without("id", without_id, sizeof(without_id));
	expect_without("x", three, sizeof(three));
}
END_TEST

START_TEST(cut_anywhere)
{
	for (size_t n = 0; n < sizeof(three); n++) {
		uint8_t *copy = exact_copy(three, n);
		struct payload_entry e;

		ck_assert(!payload_find(copy, (uint32_t)n, SV("id"), &e));
		free(copy);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("payload");

	tcase_add_test(tc, found);
	tcase_add_test(tc, the_last_of_several_counts);
	tcase_add_test(tc, removed);
	tcase_add_test(tc, cut_anywhere);
	return run_tcase("payload", tc);
}
