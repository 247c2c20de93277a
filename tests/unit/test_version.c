/* test_version.c - which versions there are, what each has, and sets of them. */
#include "cql/version.h"

#include "vectors.h"

static const uint8_t spoken[] = { 2, 3, 4, 5, VERSION_DSE1, VERSION_DSE2 };

static bool is_spoken(unsigned version)
{
	return memchr(spoken, (int)version, sizeof(spoken)) != NULL;
}

START_TEST(what_is_served)
{
	for (unsigned v = 0; v < 256; v++) {
		ck_assert_int_eq(version_is_served((uint8_t)v), is_spoken(v & 0x7f));
		if (!is_spoken(v & 0x7f))
			ck_assert(!version_has((uint8_t)v, UINT32_MAX));
	}
}
END_TEST

/* One row per version: the traits that it has of those in the columns. */
static const struct {
	uint8_t version;
	bool short_head, batch_flags, timestamp, payload, int_flags, keyspace, metadata_id, segments, now, paging, next;
} rows[] = {
	{ 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 3, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 4, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0 },
	{ 5, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0 },
	{ VERSION_DSE1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0 },
	{ VERSION_DSE2, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1 },
};

START_TEST(traits)
{
	const uint8_t v = rows[_i].version;

	ck_assert_int_eq(version_has(v, VERSION_SHORT_HEAD), rows[_i].short_head);
	ck_assert_int_eq(version_has(v, VERSION_SHORT_COLLECTIONS), rows[_i].short_head);
	ck_assert_int_eq(version_has(v, VERSION_BATCH_FLAGS), rows[_i].batch_flags);
	ck_assert_int_eq(version_has(v, VERSION_TIMESTAMP), rows[_i].timestamp);
	ck_assert_int_eq(version_has(v, VERSION_VALUE_NAMES), rows[_i].timestamp);
	ck_assert_int_eq(version_has(v, VERSION_CUSTOM_PAYLOAD), rows[_i].payload);
	ck_assert_int_eq(version_has(v, VERSION_UNSET), rows[_i].payload);
	ck_assert_int_eq(version_has(v, VERSION_PK_INDEXES), rows[_i].payload);
	ck_assert_int_eq(version_has(v, VERSION_INT_FLAGS), rows[_i].int_flags);
	ck_assert_int_eq(version_has(v, VERSION_KEYSPACE), rows[_i].keyspace);
	ck_assert_int_eq(version_has(v, VERSION_METADATA_ID), rows[_i].metadata_id);
	ck_assert_int_eq(version_has(v, VERSION_SEGMENTS), rows[_i].segments);
	ck_assert_int_eq(version_has(v, VERSION_CONTENTIONS), rows[_i].segments);
	ck_assert_int_eq(version_has(v, VERSION_NOW_IN_SECONDS), rows[_i].now);
	ck_assert_int_eq(version_has(v, VERSION_CONTINUOUS_PAGING), rows[_i].paging);
	ck_assert_int_eq(version_has(v, VERSION_NEXT_PAGES), rows[_i].next);
	/* the direction bit does not matter */
	ck_assert_int_eq(version_has(v | 0x80, VERSION_INT_FLAGS), rows[_i].int_flags);
}
END_TEST

START_TEST(the_way_down)
{
	ck_assert_uint_eq(version_below(UINT8_MAX), VERSION_DSE2);
	ck_assert_uint_eq(version_below(VERSION_DSE2), VERSION_DSE1);
	ck_assert_uint_eq(version_below(VERSION_DSE1), 5);
	ck_assert_uint_eq(version_below(6), 5);
	ck_assert_uint_eq(version_below(5), 4);
	ck_assert_uint_eq(version_below(4), 3);
	ck_assert_uint_eq(version_below(3), 2);
	ck_assert_uint_eq(version_below(2), 0);
	ck_assert_uint_eq(version_below(0), 0);
}
END_TEST

START_TEST(sets)
{
	const uint32_t few = version_bit(2) | version_bit(4) | version_bit(VERSION_DSE1);
	uint32_t seen = 0;

	for (unsigned i = 0; i < ARRAY_LEN(spoken); i++) {
		ck_assert_uint_eq(seen & version_bit(spoken[i]), 0);
		seen |= version_bit(spoken[i]);
		ck_assert(version_in(VERSION_SET_ALL, spoken[i]));
		ck_assert(!version_in(0, spoken[i]));
	}
	ck_assert_uint_eq(seen, VERSION_SET_ALL);
	ck_assert(version_in(few, 4) && !version_in(few, 3) && !version_in(few, VERSION_DSE2));
	ck_assert(!version_in(UINT32_MAX, 1) && !version_in(UINT32_MAX, 6) && !version_in(UINT32_MAX, 0x43));
	ck_assert_uint_eq(version_set_highest(few), VERSION_DSE1);
	ck_assert_uint_eq(version_set_lowest(few), 2);
	ck_assert_uint_eq(version_set_highest(0), 0);
	ck_assert_uint_eq(version_set_lowest(0), 0);
	ck_assert_uint_eq(version_set_below(few, VERSION_DSE1), 4);
	ck_assert_uint_eq(version_set_below(few, 4), 2);
	ck_assert_uint_eq(version_set_below(few, 2), 0);
	ck_assert_uint_eq(version_set_up_to(few, 4), version_bit(2) | version_bit(4));
	ck_assert_uint_eq(version_set_up_to(VERSION_SET_ALL, VERSION_DSE2), VERSION_SET_ALL);
	ck_assert_uint_eq(version_set_up_to(VERSION_SET_ALL, 1), 0);
}
END_TEST

static const struct {
	const char *text;
	uint8_t version;
} offers[] = {
	{ "3/v3", 3 },
	{ "5/v5", 5 },
	{ "5/v5-beta", 0 },
	{ "6/v6-beta", 0 },
	{ "65/dse-v1", VERSION_DSE1 },
	{ "66/dse-v2", VERSION_DSE2 },
	{ "4", 4 },
	{ "1/v1", 0 },
	{ "67/dse-v3", 0 },
	{ "", 0 },
	{ "/v4", 0 },
	{ "v4", 0 },
	{ "4x", 0 },
	{ "260/v4", 0 },
	{ "99999999999/v9", 0 },
	{ "beta", 0 },
};

START_TEST(what_nodes_offer)
{
	ck_assert_uint_eq(version_from_offer(offers[_i].text, strlen(offers[_i].text)), offers[_i].version);
}
END_TEST

START_TEST(names)
{
	for (unsigned i = 0; i < ARRAY_LEN(spoken); i++) {
		const char *offer = version_offer(spoken[i]);

		ck_assert_uint_eq(version_from_offer(offer, strlen(offer)), spoken[i]);
	}
	ck_assert_str_eq(version_offer(VERSION_DSE2), "66/dse-v2");
	ck_assert_str_eq(version_offer(2), "2/v2");
	ck_assert_str_eq(version_offer(6), "");
	ck_assert_str_eq(version_name(5), "v5");
	ck_assert_str_eq(version_name(VERSION_DSE1), "DSE v1");
	ck_assert_str_eq(version_name(1), "v1");
	ck_assert_str_eq(version_name(200), "an unknown version");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("version");

	tcase_add_test(tcase, what_is_served);
	tcase_add_loop_test(tcase, traits, 0, ARRAY_LEN(rows));
	tcase_add_test(tcase, the_way_down);
	tcase_add_test(tcase, sets);
	tcase_add_loop_test(tcase, what_nodes_offer, 0, ARRAY_LEN(offers));
	tcase_add_test(tcase, names);
	return run_tcase("version", tcase);
}
