/* test_murmur3.c - tokens of keys of all lengths, as Cassandra and its Python driver have them. */
#include "cql/murmur3.h"

#include "vectors.h"

static const struct {
	unsigned first; /* of bytes that go up by `step` */
	unsigned step;
	size_t len;
	int64_t token;
} counted[] = {
	{ 0, 1, 0, 0 },
	{ 'a', 0, 1, -8839064797231613815 },
	{ 0, 1, 8, 5163343703268274120 },
	{ 0, 1, 15, 5125964547706398185 },
	{ 0, 1, 16, 4920504430128807728 },
	{ 0, 1, 17, 6662781046685680142 },
	{ 0, 1, 31, 377690909827715220 },
	/* bytes above 127 in the tail: where Cassandra differs from the published algorithm */
	{ 0xff, 0, 9, 8434364767658694854 },
	{ 200, 1, 40, -1860465978298901019 },
};

START_TEST(keys)
{
	uint8_t key[64];

	for (unsigned i = 0; i < counted[_i].len; i++)
		key[i] = (uint8_t)(counted[_i].first + i * counted[_i].step);
	ck_assert_int_eq(murmur3_token(key, counted[_i].len), counted[_i].token);
}
END_TEST

START_TEST(texts)
{
	ck_assert_int_eq(murmur3_token((const uint8_t *)"local", 5), -7564491331177403445);
	ck_assert_int_eq(murmur3_token((const uint8_t *)"rack1", 5), 1300344161335472490);
}
END_TEST

/* A key in two parts, cut anywhere, and in single bytes. */
START_TEST(parts)
{
	uint8_t key[50];
	struct murmur3 m;

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 37);
	for (size_t len = 0; len <= sizeof(key); len++) {
		for (size_t cut = 0; cut <= len; cut++) {
			murmur3_start(&m);
			murmur3_add(&m, key, cut);
			murmur3_add(&m, key + cut, len - cut);
			ck_assert_int_eq(murmur3_end(&m), murmur3_token(key, len));
		}
		murmur3_start(&m);
		for (size_t i = 0; i < len; i++)
			murmur3_add(&m, key + i, 1);
		ck_assert_int_eq(murmur3_end(&m), murmur3_token(key, len));
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("murmur3");

	tcase_add_loop_test(tcase, keys, 0, ARRAY_LEN(counted));
	tcase_add_test(tcase, texts);
	tcase_add_test(tcase, parts);
	return run_tcase("murmur3", tcase);
}
