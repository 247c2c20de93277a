/* test_routing_key.c - partition keys out of answers to PREPARE, and the tokens of what EXECUTEs bind to them. */
#include "cql/routing_key.h"

#include "cql/murmur3.h"
#include "cql/writer.h"
#include "vectors.h"

/* A RESULT/PREPARED: text variables with these names, and the key's positions among them. */
struct shape {
	const char *names[6]; /* up to NULL */
	uint16_t pk[40];
	unsigned pk_count;
	uint8_t version; /* 0: 4 */
	bool has_own_tables;
};

static uint8_t *body;
static uint32_t body_len;
static struct prepared_message message;

static void parse(const struct shape *s)
{
	const uint8_t version = s->version ? s->version : 4;
	const char *why = "";
	struct writer w;
	uint32_t count = 0;

	while (s->names[count])
		count++;
	writer_init(&w);
	write_int(&w, RESULT_PREPARED);
	write_short_bytes(&w, "id", 2);
	if (version == 5)
		write_short_bytes(&w, "result id", 9);
	write_int(&w, s->has_own_tables || count == 0 ? 0 : ROWS_GLOBAL_TABLES_SPEC);
	write_int(&w, count);
	if (version >= 4) {
		write_int(&w, s->pk_count);
		for (unsigned i = 0; i < s->pk_count; i++)
			write_short(&w, s->pk[i]);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || s->has_own_tables) {
			write_cstring(&w, "ks");
			write_cstring(&w, "t");
		}
		write_cstring(&w, s->names[i]);
		write_short(&w, TYPE_VARCHAR);
	}
	write_int(&w, ROWS_NO_METADATA);
	write_int(&w, 0);
	body = exact_copy(w.data, w.len);
	body_len = w.len;
	writer_free(&w);
	ck_assert_msg(message_parse_prepared(body, body_len, 0, version, &message, &why), "%s", why);
}

static struct routing_key *key_of(const struct shape *s)
{
	struct routing_key *key;

	parse(s);
	key = routing_key_new(body, body_len, &message);
	free(body);
	return key;
}

/* Values as a request has them: "name" (when not NULL), then its bytes; text NULL: null. */
struct value {
	const char *name;
	const char *text;
};

static bool token_of(const struct routing_key *key, const struct value *values, unsigned count, int64_t *token)
{
	struct bound_values v = { .offset = 3, .count = (uint16_t)count };
	struct writer w;
	uint8_t *exact;
	bool ok;

	writer_init(&w);
	write_raw(&w, "???", 3);
	for (unsigned i = 0; i < count; i++) {
		if (values[i].name) {
			v.is_by_name = true;
			write_cstring(&w, values[i].name);
		}
		write_bytes(&w, values[i].text, values[i].text ? (uint32_t)strlen(values[i].text) : 0);
	}
	exact = exact_copy(w.data, w.len);
	v.body = exact;
	v.len = w.len;
	ok = routing_key_token(key, &v, token);
	free(exact);
	writer_free(&w);
	return ok;
}

static void expect_token(const struct routing_key *key, const struct value *values, unsigned count, const char *bytes,
			 size_t len)
{
	int64_t token;

	ck_assert(token_of(key, values, count, &token));
	ck_assert_int_eq(token, murmur3_token((const uint8_t *)bytes, len));
}

static void expect_none(const struct routing_key *key, const struct value *values, unsigned count)
{
	int64_t token;

	ck_assert(!token_of(key, values, count, &token));
}

static const struct shape one = { .names = { "v", "k" }, .pk = { 1 }, .pk_count = 1 };
static const struct shape two = { .names = { "b", "v", "a" }, .pk = { 2, 0 }, .pk_count = 2 };

START_TEST(single)
{
	struct routing_key *key = key_of(&one);

	ck_assert_ptr_nonnull(key);
	expect_token(key, (struct value[]){ { NULL, "value" }, { NULL, "key" } }, 2, "key", 3);
	expect_token(key, (struct value[]){ { NULL, NULL }, { NULL, "key" }, { NULL, "more" } }, 3, "key", 3);
	expect_none(key, (struct value[]){ { NULL, "value" }, { NULL, NULL } }, 2);
	expect_none(key, (struct value[]){ { NULL, "value" }, { NULL, "" } }, 2);
	expect_none(key, (struct value[]){ { NULL, "value" } }, 1);
	expect_none(key, NULL, 0);
	free(key);
}
END_TEST

START_TEST(single_by_name)
{
	struct routing_key *key = key_of(&one);

	expect_token(key, (struct value[]){ { "k", "key" }, { "v", "value" } }, 2, "key", 3);
	expect_token(key, (struct value[]){ { "v", "value" }, { "k", "key" }, { "k", "other" } }, 3, "key", 3);
	expect_none(key, (struct value[]){ { "v", "value" }, { "K", "key" } }, 2);
	expect_none(key, (struct value[]){ { "k", NULL } }, 1);
	free(key);
}
END_TEST

/* In the order of the key's columns, whatever that of the variables is. */
START_TEST(composite)
{
	static const char expected[] = "\0\5first\0\0\6second";
	struct routing_key *key = key_of(&two);

	expect_token(key, (struct value[]){ { NULL, "second" }, { NULL, NULL }, { NULL, "first" } }, 3, expected,
		     sizeof(expected));
	expect_token(key, (struct value[]){ { "b", "second" }, { "a", "first" } }, 2, expected, sizeof(expected));
	/* A part may be empty, but not missing. */
	expect_token(key, (struct value[]){ { NULL, "" }, { NULL, "v" }, { NULL, "f" } }, 3, "\0\1f\0\0\0", 7);
	expect_none(key, (struct value[]){ { NULL, NULL }, { NULL, "v" }, { NULL, "first" } }, 3);
	expect_none(key, (struct value[]){ { NULL, "second" }, { NULL, "v" } }, 2);
	free(key);
}
END_TEST

START_TEST(unset)
{
	static const uint8_t values[] = { 0, 0, 0, 1, 'v', 0xff, 0xff, 0xff, 0xfe };
	const struct bound_values v = { .body = values, .len = sizeof(values), .count = 2 };
	struct routing_key *key = key_of(&one);
	int64_t token;

	ck_assert(!routing_key_token(key, &v, &token));
	free(key);
}
END_TEST

/* The body ends inside of a value: never read beyond it. */
START_TEST(cut)
{
	static const uint8_t values[] = { 0, 0, 0, 1, 'v', 0, 0, 0, 3, 'k', 'e', 'y' };
	struct routing_key *key = key_of(&one);

	for (uint32_t len = 0; len <= sizeof(values); len++) {
		uint8_t *exact = exact_copy(values, len);
		const struct bound_values v = { .body = exact, .len = len, .count = 2 };
		int64_t token;

		ck_assert_int_eq(routing_key_token(key, &v, &token), len == sizeof(values));
		free(exact);
	}
	free(key);
}
END_TEST

static char *long_text(size_t len)
{
	char *text = malloc(len + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', len);
	text[len] = '\0';
	return text;
}

/* Cassandra takes no key of more than 65 535 bytes, the lengths of a composite one included. */
START_TEST(long_keys)
{
	struct routing_key *single_key = key_of(&one), *composite_key = key_of(&two);
	char *most = long_text(65535), *more = long_text(65536), *half = long_text(65535 - 6 - 1);

	expect_token(single_key, (struct value[]){ { NULL, "v" }, { NULL, most } }, 2, most, 65535);
	expect_none(single_key, (struct value[]){ { NULL, "v" }, { NULL, more } }, 2);
	{
		int64_t token;

		ck_assert(token_of(composite_key, (struct value[]){ { NULL, half }, { NULL, "v" }, { NULL, "a" } }, 3,
				   &token));
	}
	expect_none(composite_key, (struct value[]){ { NULL, half }, { NULL, "v" }, { NULL, "ab" } }, 3);
	expect_none(composite_key, (struct value[]){ { NULL, more }, { NULL, "v" }, { NULL, "a" } }, 3);
	free(single_key);
	free(composite_key);
	free(most);
	free(more);
	free(half);
}
END_TEST

static const struct shape without_key[] = {
	{ .names = { "v", "k" } },
	{ .names = { "v", "k" }, .pk = { 2 }, .pk_count = 1 },
	{ .names = { "v", "k" }, .pk = { 0, 7 }, .pk_count = 2 },
	{ .names = { "k" }, .pk = { 0 }, .pk_count = 33 },
	{ .names = { "v", "k" }, .version = 3 },
	{ .names = { NULL } },
};

START_TEST(no_key)
{
	ck_assert_ptr_null(key_of(&without_key[_i]));
}
END_TEST

/* Two columns of a key cannot be one variable; who says so gets no tokens. */
START_TEST(doubled_position)
{
	struct routing_key *key = key_of(&(struct shape){ .names = { "a" }, .pk = { 0, 0 }, .pk_count = 2 });

	if (key)
		expect_none(key, (struct value[]){ { NULL, "x" } }, 1);
	free(key);
}
END_TEST

START_TEST(most_columns)
{
	struct shape s = { .names = { "a" }, .pk_count = ROUTING_KEY_MAX };
	struct routing_key *key = key_of(&s);

	/* 32 columns at one position: read without overflow, and no token. */
	if (key)
		expect_none(key, (struct value[]){ { NULL, "x" } }, 1);
	free(key);
}
END_TEST

START_TEST(tables)
{
	struct shape s = one;
	struct strview keyspace, table;

	s.has_own_tables = _i == 1;
	s.version = _i == 2 ? 5 : _i == 3 ? 3 : 4;
	parse(&s);
	routing_key_table(body, body_len, &message, &keyspace, &table);
	ck_assert(sv_equal(keyspace, SV("ks")) && sv_equal(table, SV("t")));
	free(body);
}
END_TEST

START_TEST(no_table)
{
	struct strview keyspace, table;

	parse(&(struct shape){ .names = { NULL } });
	routing_key_table(body, body_len, &message, &keyspace, &table);
	ck_assert_uint_eq(keyspace.len + table.len, 0);
	free(body);
}
END_TEST

START_TEST(copies)
{
	struct routing_key *a = key_of(&one), *b = routing_key_copy(a), *c = key_of(&two);

	ck_assert(routing_key_equal(a, b) && !routing_key_equal(a, c) && !routing_key_equal(a, NULL));
	ck_assert(routing_key_equal(NULL, NULL));
	ck_assert_uint_eq(routing_key_size(a), routing_key_size(b));
	ck_assert_uint_eq(routing_key_size(NULL), 0);
	ck_assert_ptr_null(routing_key_copy(NULL));
	free(a);
	free(b);
	free(c);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("routing_key");

	tcase_add_test(tcase, single);
	tcase_add_test(tcase, single_by_name);
	tcase_add_test(tcase, composite);
	tcase_add_test(tcase, unset);
	tcase_add_test(tcase, cut);
	tcase_add_test(tcase, long_keys);
	tcase_add_loop_test(tcase, no_key, 0, ARRAY_LEN(without_key));
	tcase_add_test(tcase, doubled_position);
	tcase_add_test(tcase, most_columns);
	tcase_add_loop_test(tcase, tables, 0, 4);
	tcase_add_test(tcase, no_table);
	tcase_add_test(tcase, copies);
	return run_tcase("routing_key", tcase);
}
