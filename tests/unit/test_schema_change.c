/* test_schema_change.c - changes of the schema in the forms of all versions */
#include "cql/schema_change.h"

#include "vectors.h"

static struct writer body;

static void setup(void)
{
	writer_init(&body);
}

static void teardown(void)
{
	writer_free(&body);
}

/* A body of strings. */
static void strings(const char *const *s)
{
	body.len = 0;
	for (; *s; s++)
		write_cstring(&body, *s);
}

#define STRINGS(...) strings((const char *const[]){ __VA_ARGS__, NULL })

static bool read_change(uint8_t version, struct schema_change *out)
{
	struct reader r = reader_over(body.data, body.len);

	return schema_change_read(&r, version, out);
}

/* What the change that `body` holds in `from` looks like in an event of `to`. */
static void expect_event(uint8_t from, uint8_t to, const void *expected, size_t len)
{
	struct schema_change c;
	struct writer w;

	ck_assert(read_change(from, &c));
	writer_init(&w);
	schema_change_write_event(&c, to, &w);
	ck_assert_uint_eq(w.len, len);
	ck_assert_mem_eq(w.data, expected, len);
	writer_free(&w);
}

#define EVENT "\0\x0dSCHEMA_CHANGE"
#define EXPECT(from, to, bytes) expect_event(from, to, EVENT bytes, sizeof(EVENT bytes) - 1)

START_TEST(tables_and_keyspaces)
{
	static const uint8_t versions[] = { 3, 4, 5, 0x41, 0x42 };

	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		STRINGS("CREATED", "TABLE", "ks", "t");
		EXPECT(versions[i], versions[i], "\0\7CREATED\0\5TABLE\0\2ks\0\1t");
		EXPECT(versions[i], 2, "\0\7CREATED\0\2ks\0\1t");
		STRINGS("DROPPED", "KEYSPACE", "ks");
		EXPECT(versions[i], versions[i], "\0\7DROPPED\0\10KEYSPACE\0\2ks");
		EXPECT(versions[i], 2, "\0\7DROPPED\0\2ks\0\0");
	}
}
END_TEST

START_TEST(short_form)
{
	STRINGS("UPDATED", "ks", "t");
	EXPECT(2, 2, "\0\7UPDATED\0\2ks\0\1t");
	EXPECT(2, 4, "\0\7UPDATED\0\5TABLE\0\2ks\0\1t");
	STRINGS("UPDATED", "ks", "");
	EXPECT(2, 2, "\0\7UPDATED\0\2ks\0\0");
	EXPECT(2, 3, "\0\7UPDATED\0\10KEYSPACE\0\2ks");
}
END_TEST

START_TEST(types_are_unknown_to_v2)
{
	STRINGS("DROPPED", "TYPE", "ks", "address");
	EXPECT(4, 3, "\0\7DROPPED\0\4TYPE\0\2ks\0\7address");
	EXPECT(4, 2, "\0\7UPDATED\0\2ks\0\0");
}
END_TEST

START_TEST(functions_came_with_v4)
{
	STRINGS("CREATED", "FUNCTION", "ks", "f");
	write_short(&body, 2);
	write_cstring(&body, "int");
	write_cstring(&body, "text");
	EXPECT(5, 4, "\0\7CREATED\0\10FUNCTION\0\2ks\0\1f\0\2\0\3int\0\4text");
	EXPECT(4, 0x42, "\0\7CREATED\0\10FUNCTION\0\2ks\0\1f\0\2\0\3int\0\4text");
	EXPECT(4, 3, "\0\7UPDATED\0\10KEYSPACE\0\2ks");
	EXPECT(4, 2, "\0\7UPDATED\0\2ks\0\0");
	STRINGS("CREATED", "AGGREGATE", "ks", "f");
	write_short(&body, 0);
	EXPECT(4, 4, "\0\7CREATED\0\11AGGREGATE\0\2ks\0\1f\0\0");
	EXPECT(4, 3, "\0\7UPDATED\0\10KEYSPACE\0\2ks");
}
END_TEST

START_TEST(what_comes_behind)
{
	/* Cassandra's v3 says so when a function changed (an empty name that no driver reads). */
	STRINGS("UPDATED", "KEYSPACE", "ks", "");
	EXPECT(3, 3, "\0\7UPDATED\0\10KEYSPACE\0\2ks");
	STRINGS("UPDATED", "TABLE", "ks", "t", "news of a later version");
	EXPECT(4, 4, "\0\7UPDATED\0\5TABLE\0\2ks\0\1t");
	STRINGS("CREATED", "SYNONYM", "ks", "s");
	EXPECT(5, 5, "\0\7CREATED\0\7SYNONYM\0\2ks\0\1s");
	EXPECT(5, 3, "\0\7UPDATED\0\10KEYSPACE\0\2ks");
}
END_TEST

START_TEST(equality)
{
	struct schema_change a, b;
	struct writer kept;

	STRINGS("CREATED", "TABLE", "ks", "t");
	ck_assert(read_change(4, &a));
	kept = body;
	writer_init(&body);
	STRINGS("CREATED", "ks", "t");
	ck_assert(read_change(2, &b));
	ck_assert(schema_change_equal(&a, &b) && schema_change_same_object(&a, &b));
	STRINGS("DROPPED", "TABLE", "ks", "t");
	ck_assert(read_change(4, &b));
	ck_assert(!schema_change_equal(&a, &b) && schema_change_same_object(&a, &b));
	STRINGS("CREATED", "TYPE", "ks", "t");
	ck_assert(read_change(4, &b));
	ck_assert(!schema_change_same_object(&a, &b));
	STRINGS("CREATED", "TABLE", "ks", "u");
	ck_assert(read_change(4, &b));
	ck_assert(!schema_change_same_object(&a, &b));
	writer_free(&kept);
}
END_TEST

static void expect_bad(uint8_t version)
{
	const uint32_t len = body.len;
	struct schema_change c;

	for (body.len = 0; body.len < len; body.len++)
		ck_assert(!read_change(version, &c));
	ck_assert(read_change(version, &c));
}

START_TEST(cut_short)
{
	struct schema_change c;

	STRINGS("CREATED", "TABLE", "ks", "t");
	expect_bad(4);
	STRINGS("CREATED", "ks", "t");
	expect_bad(2);
	STRINGS("CREATED", "FUNCTION", "ks", "f");
	write_short(&body, 1);
	write_cstring(&body, "int");
	expect_bad(4);
	STRINGS("", "TABLE", "ks", "t");
	ck_assert(!read_change(4, &c));
	STRINGS("CREATED", "", "ks", "t");
	ck_assert(!read_change(4, &c));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("schema_change");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, tables_and_keyspaces);
	tcase_add_test(tcase, short_form);
	tcase_add_test(tcase, types_are_unknown_to_v2);
	tcase_add_test(tcase, functions_came_with_v4);
	tcase_add_test(tcase, what_comes_behind);
	tcase_add_test(tcase, equality);
	tcase_add_test(tcase, cut_short);
	return run_tcase("schema_change", tcase);
}
