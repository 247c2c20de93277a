/* test_functions.c - the values in place of now() and its kin, as bytes and as text. */
#include "proxy/functions.h"

#include <time.h>

#include "cql/reader.h"
#include "vectors.h"

#define UUID_EPOCH 0x01b21dd213814000ull

static struct function_source source;

static uint64_t wall_100ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 10000000u + (uint64_t)now.tv_nsec / 100 + UUID_EPOCH;
}

static uint64_t time_of(const uint8_t v[16])
{
	return (uint64_t)get_u32(v) | (uint64_t)get_u16(v + 4) << 32 | (uint64_t)(get_u16(v + 6) & 0x0fff) << 48;
}

START_TEST(timeuuids)
{
	uint8_t before[16] = { 0 };
	uint8_t v[16];

	functions_init(&source, 0);
	for (unsigned i = 0; i < 50000; i++) {
		const uint64_t earliest = wall_100ns();

		ck_assert_uint_eq(functions_value(&source, REWRITE_TIMEUUID, v), 16);
		ck_assert_uint_eq(v[6] >> 4, 1); /* version */
		ck_assert_uint_eq(v[8] >> 6, 2); /* variant */
		ck_assert_uint_eq(v[10] & 1, 1); /* multicast */
		if (i > 0) {
			ck_assert(time_of(v) > time_of(before));
			ck_assert(memcmp(v + 8, before + 8, 2) != 0); /* clock sequence */
			ck_assert(memcmp(v + 10, before + 10, 6) == 0);
		}
		ck_assert(time_of(v) >= earliest && time_of(v) < wall_100ns() + 10000);
		memcpy(before, v, 16);
	}
}
END_TEST

START_TEST(a_clock_that_is_put_back)
{
	uint8_t first[16];
	uint8_t second[16];
	uint64_t ahead;

	functions_init(&source, 0);
	ahead = wall_100ns() + 36000000000ull; /* an hour */
	source.last_time = ahead;
	functions_value(&source, REWRITE_TIMEUUID, first);
	functions_value(&source, REWRITE_TIMEUUID, second);
	ck_assert(time_of(first) == ahead + 1);
	ck_assert(time_of(second) == ahead + 2);
}
END_TEST

START_TEST(workers_differ)
{
	static struct function_source others[40];

	for (unsigned i = 0; i < 40; i++) {
		functions_init(&others[i], i * 1600); /* beyond 2^15 as well */
		ck_assert_uint_eq(others[i].node[0] & 1, 1);
		for (unsigned j = 0; j < i; j++)
			ck_assert(memcmp(others[i].node, others[j].node, 6) != 0);
	}
}
END_TEST

START_TEST(uuids)
{
	uint8_t before[16] = { 0 };
	unsigned ones = 0;

	functions_init(&source, 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t v[16];

		ck_assert_uint_eq(functions_value(&source, REWRITE_UUID, v), 16);
		ck_assert_uint_eq(v[6] >> 4, 4);
		ck_assert_uint_eq(v[8] >> 6, 2);
		ck_assert(memcmp(v, before, 16) != 0);
		ones += (unsigned)__builtin_popcount(v[0]) + (unsigned)__builtin_popcount(v[15]);
		memcpy(before, v, 16);
	}
	ck_assert(ones > 7500 && ones < 8500); /* 16 000 bits of chance: 8 standard deviations */
}
END_TEST

START_TEST(times)
{
	uint8_t v[16];
	time_t now = time(NULL);
	uint64_t ms;
	uint64_t ns;

	functions_init(&source, 0);
	ck_assert_uint_eq(functions_value(&source, REWRITE_TIMESTAMP, v), 8);
	ms = get_u64(v);
	ck_assert(ms / 1000 >= (uint64_t)now && ms / 1000 <= (uint64_t)now + 5);
	ck_assert_uint_eq(functions_value(&source, REWRITE_DATE, v), 4);
	ck_assert_uint_le(get_u32(v) - 0x80000000u - (uint32_t)(now / 86400), 1);
	ck_assert_uint_eq(functions_value(&source, REWRITE_TIME, v), 8);
	ns = get_u64(v);
	ck_assert(ns < 86400000000000ull);
	ck_assert((ns / 1000000000u + 86400 - (uint64_t)(now % 86400)) % 86400 <= 5);
}
END_TEST

/* '9' stands for any digit, 'x' for any hexadecimal one. */
static void expect_form(enum rewrite_kind kind, bool cast, bool blank, const char *form)
{
	const struct rewrite_call call = { .kind = kind, .needs_cast = cast, .needs_blank = blank };
	char out[FUNCTION_LITERAL_MAX];

	ck_assert_uint_eq(functions_literal(&source, &call, out), strlen(out));
	ck_assert_uint_eq(strlen(out), strlen(form));
	for (size_t i = 0; form[i]; i++) {
		if (form[i] == '9')
			ck_assert_msg(out[i] >= '0' && out[i] <= '9', "%s", out);
		else if (form[i] == 'x')
			ck_assert_msg(hex_digit(out[i]) >= 0, "%s", out);
		else
			ck_assert_msg(out[i] == form[i], "%s, not %s", out, form);
	}
}

START_TEST(literals)
{
	functions_init(&source, 0);
	expect_form(REWRITE_TIMEUUID, false, false, "xxxxxxxx-xxxx-1xxx-xxxx-xxxxxxxxxxxx");
	expect_form(REWRITE_UUID, false, true, "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx ");
	expect_form(REWRITE_TIMEUUID, true, true, "(timeuuid)xxxxxxxx-xxxx-1xxx-xxxx-xxxxxxxxxxxx ");
	expect_form(REWRITE_TIMESTAMP, true, false, "(timestamp)9999999999999");
	expect_form(REWRITE_DATE, true, false, "(date)'9999-99-99'");
	expect_form(REWRITE_TIME, true, true, "(time)'99:99:99.999999999' ");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("functions");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, timeuuids);
	tcase_add_test(tcase, a_clock_that_is_put_back);
	tcase_add_test(tcase, workers_differ);
	tcase_add_test(tcase, uuids);
	tcase_add_test(tcase, times);
	tcase_add_test(tcase, literals);
	return run_tcase("functions", tcase);
}
