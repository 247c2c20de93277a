/* test_idempotence.c - which writes may be executed twice: a table of texts, and what is made of them by one change. */
#include "cql/idempotence.h"

#include <stdio.h>

#include "statements.h"

#define P IDEMPOTENT_PROVEN
#define T IDEMPOTENT_HAS_TIMESTAMP
#define BT IDEMPOTENT_BINDS_TIMESTAMP
#define BC IDEMPOTENT_BINDS_COLUMN
#define BJ IDEMPOTENT_BINDS_JSON

static uint8_t scan(const char *text, size_t len)
{
	char *copy = (char *)exact_copy(text, len);
	const uint8_t bits = idempotence_scan((struct strview){ copy, len });

	free(copy);
	return bits;
}

static const struct {
	const char *text;
	uint8_t bits;
} proven[] = {
	{ "INSERT INTO t (k) VALUES (1)", P },
	{ "insert into ks.t(k,v)values(1,'x');", P },
	{ "/* a */ INSERT INTO \"Ks\".\"T\" (\"K\", v) VALUES (?, ?) -- end", P | BC },
	{ "INSERT INTO t (k, v) VALUES (:k, :\"V\")", P | BC },
	{ "INSERT INTO t (a, b, c, d, e) VALUES (true, FALSE, null, NaN, -Infinity)", P },
	{ "INSERT INTO t (a, b, c) VALUES (-1, 1.5e-10, -0.5)", P },
	{ "INSERT INTO t (a, b) VALUES (0xCAFE, 0x)", P },
	{ "INSERT INTO t (a) VALUES (f81d4fae-7dec-11d0-a765-00a0c91e6bf6)", P },
	{ "INSERT INTO t (a, b) VALUES ('it''s', $$ it's $$)", P },
	{ "INSERT INTO t (a, b) VALUES ('nowhere', 'now()')", P },
	{ "INSERT INTO t (a) VALUES (1h30m)", P },
	{ "INSERT INTO t (a, b) VALUES ({}, {1, 2})", P },
	{ "INSERT INTO t (a, b) VALUES ({'a': 1, 'b': -2}, {?: ?, :a: :b, :c::d})", P },
	{ "INSERT INTO t (a) VALUES ({street: 'x', zip: {1, 2}, \"Where\": null, open:true})", P },
	{ "INSERT INTO t (a) VALUES ({true:false})", P },
	{ "INSERT INTO t (a, b) VALUES ((1, 'a', ?), ((1, 2), 3))", P },
	{ "INSERT INTO t (a, b) VALUES ((1, [2, 3]), {1: [1, 2]})", P },
	{ "INSERT INTO t (a) VALUES ([])", P },
	{ "INSERT INTO t (a, b) VALUES ((int)3, (text) 'x')", P },
	{ "INSERT INTO t (a, b) VALUES ((bigint)?, (ks.my_type){a: 1})", P | BC },
	{ "INSERT INTO t (a) VALUES ((map<text, frozen<set<int>>>){'a': {1}})", P },
	{ "INSERT INTO t (a) VALUES ((int)(bigint)3)", P },
	{ "INSERT INTO t (a) VALUES ((timeuuid)f81d4fae-7dec-11d0-a765-00a0c91e6bf6)", P },
	{ "INSERT INTO t (a) VALUES (toTimestamp((timeuuid)f81d4fae-7dec-11d0-a765-00a0c91e6bf6))", P },
	{ "INSERT INTO t (a, b) VALUES (todate((timestamp)5), to_unix_timestamp((date)'2020-01-01'))", P },
	{ "INSERT INTO t (a) VALUES (dateOf((timeuuid)?))", P },
	{ "INSERT INTO t (k) VALUES (1) USING TTL 5", P },
	{ "INSERT INTO t (k) VALUES (1) USING TTL ?", P },
	{ "INSERT INTO t (k) VALUES (1) USING TIMESTAMP -5", P | T },
	{ "INSERT INTO t (k) VALUES (1) USING TTL :ttl AND TIMESTAMP :\"Ts\"", P | T | BT },
	{ "INSERT INTO t JSON '{\"k\": 1}'", P },
	{ "INSERT INTO t JSON '{\"k\": \"know how\"}' DEFAULT UNSET USING TIMESTAMP 3", P | T },
	{ "INSERT INTO t JSON $${\"k\": \"a\\nb\"}$$ DEFAULT NULL", P },
	{ "INSERT INTO t JSON ?", P | BJ },
	{ "INSERT INTO t JSON :json USING TIMESTAMP ?", P | BJ | T | BT },
	{ "INSERT INTO json (k) VALUES (1)", P },
	{ "UPDATE t SET v = 1 WHERE k = 2", P },
	{ "UPDATE ks.t USING TIMESTAMP 4 AND TTL 5 SET a = 1, b = ?, c = {1} WHERE k = 2 AND c = 'x'", P | T | BC },
	{ "UPDATE t SET u.name = 'x', \"U\".\"N\" = null WHERE k = ?", P },
	{ "UPDATE t SET v = -1 WHERE k IN (1, ?, 3)", P },
	{ "UPDATE t SET v = 1 WHERE k IN ? AND c IN ()", P },
	{ "UPDATE t SET v = 1 WHERE k = [1, 2] AND (a, b) = (1, 2)", P },
	{ "UPDATE t SET v = 1 WHERE (a, b) IN ((1, 2), (?, ?), :x)", P },
	{ "DELETE FROM t WHERE k = 1", P },
	{ "DELETE a, \"B\", u.f FROM ks.t USING TIMESTAMP ? WHERE k = ? AND c > 1 AND c <= 5", P | T | BT },
	{ "DELETE FROM t WHERE k = 1 AND (a, b) >= (?, 2) AND (a) < (3)", P },
	{ "BEGIN BATCH APPLY BATCH", P | T },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1); UPDATE t SET v = ? WHERE k = 1; DELETE FROM t WHERE k = 3; "
	  "APPLY BATCH;",
	  P | BC },
	{ "BEGIN UNLOGGED BATCH USING TIMESTAMP 5 DELETE FROM t WHERE k = 1 UPDATE t SET v = 1 WHERE k = 2 APPLY BATCH",
	  P | T },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) USING TIMESTAMP 1 INSERT INTO t (k) VALUES (2) APPLY BATCH", P },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1); INSERT INTO t (k) VALUES (2) USING TIMESTAMP 1 APPLY BATCH", P },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) USING TIMESTAMP 1; DELETE FROM t USING TIMESTAMP ? WHERE k = 2; "
	  "APPLY BATCH",
	  P | T | BT },
};

static const char *const refused[] = {
	"",
	";",
	"SELECT * FROM t",
	"TRUNCATE t",
	"CREATE TABLE t (k int PRIMARY KEY)",
	"USE ks",
	"BEGIN TRANSACTION INSERT INTO t (k) VALUES (1); COMMIT TRANSACTION",
	/* conditions */
	"INSERT INTO t (k) VALUES (1) IF NOT EXISTS",
	"INSERT INTO t (k) VALUES (1) IF NOT EXISTS USING TIMESTAMP 5",
	"INSERT INTO t JSON '{}' IF NOT EXISTS",
	"UPDATE t SET v = 1 WHERE k = 1 IF EXISTS",
	"UPDATE t SET v = 1 WHERE k=1IF v = 2",
	"UPDATE t SET v = 1 WHERE k=1IF",
	"UPDATE t SET v = {if: 1} WHERE k = 1", /* a reserved word; such a field would be in quotes */
	"UPDATE t SET v = 1 WHERE k = 1 IF v = 2 AND w IN (1)",
	"DELETE FROM t WHERE k = 1 IF EXISTS",
	"BEGIN BATCH INSERT INTO t (k) VALUES (1) IF NOT EXISTS APPLY BATCH",
	/* counters, and what adds to collections */
	"UPDATE t SET c = c + 1 WHERE k = 1",
	"UPDATE t SET c=c-1 WHERE k=1",
	"UPDATE t SET c += 1 WHERE k = 1",
	"UPDATE t SET c -= ? WHERE k = 1",
	"UPDATE t SET v = 1, c = c + ? WHERE k = 1",
	"UPDATE t SET l = [1] + l WHERE k = 1",
	"UPDATE t SET l = ? + l WHERE k = 1",
	"UPDATE t SET s = s + {1} WHERE k = 1",
	"UPDATE t SET v = 1 + 1 WHERE k = 1",
	"UPDATE t SET v = 3-1 WHERE k = 1",
	"UPDATE t SET l[0] = 1 WHERE k = 1",
	"UPDATE t SET m['a'] = 1 WHERE k = 1",
	"DELETE l[0] FROM t WHERE k = 1",
	"DELETE m['a'] FROM t WHERE k = 1",
	"DELETE a, m[?] FROM t WHERE k = 1",
	"BEGIN COUNTER BATCH UPDATE t SET v = 1 WHERE k = 1 APPLY BATCH",
	"BEGIN BATCH UPDATE t SET v = 1 WHERE k = 1; UPDATE t SET c = c + 1 WHERE k = 1; APPLY BATCH",
	/* lists */
	"INSERT INTO t (k, l) VALUES (1, [1, 2])",
	"INSERT INTO t (k, l) VALUES (1, (list<int>)[1])",
	"UPDATE t SET l = [?] WHERE k = 1",
	"INSERT INTO t JSON '{\"k\": 1, \"l\": [1]}'",
	"INSERT INTO t JSON '{\"k\": 1, \"l\": \"\\u005b1]\"}'",
	/* clocks and functions */
	"INSERT INTO t (k, ts) VALUES (1, 'now')",
	"INSERT INTO t (k, ts) VALUES (1, $$NOW$$)",
	"INSERT INTO t (k, ts) VALUES (1, (timestamp)'Now')",
	"INSERT INTO t (k, ts) VALUES (1, {'now': 'x'})",
	"UPDATE t SET v = 1 WHERE k = 'now'",
	"DELETE FROM t WHERE k IN (1, 'now')",
	"INSERT INTO t JSON '{\"k\": 1, \"ts\": \"now\"}'",
	"INSERT INTO t JSON '{\"ts\": \"{\\\"a\\\": \\\"NOW\\\"}\"}'",
	"INSERT INTO t JSON toJson(1)",
	"INSERT INTO t (k) VALUES (now())",
	"INSERT INTO t (k) VALUES (uuid())",
	"INSERT INTO t (k) VALUES (f(1))",
	"INSERT INTO t (k) VALUES (ks.f(1))",
	"INSERT INTO t (k) VALUES (\"f\"(1))",
	"INSERT INTO t (k) VALUES (fromJson('[1]'))",
	"INSERT INTO t (k) VALUES ((int)f(1))",
	"INSERT INTO t (k) VALUES ((f(1), 2))",
	"INSERT INTO t (k) VALUES ({f(1): 2})",
	"INSERT INTO t (k) VALUES ({a: now()})",
	"INSERT INTO t (k) VALUES (toTimestamp(now()))",
	"INSERT INTO t (k) VALUES (toTimestamp(?))",
	"INSERT INTO t (k) VALUES (toTimestamp((text)'x'))",
	"INSERT INTO t (k) VALUES (toTimestamp((timeuuid)now()))",
	"INSERT INTO t (k) VALUES (ks.toTimestamp((timeuuid)?))",
	"INSERT INTO t (k) VALUES (dateOf((date)?))",
	"INSERT INTO t (k) VALUES (\"totimestamp\"((timeuuid)?))",
	"UPDATE t SET v = 1 WHERE k = f(1)",
	"UPDATE t SET v = 1 WHERE token(k) > 5",
	"INSERT INTO t (k) VALUES (1) USING TIMESTAMP f(1)",
	"INSERT INTO t (k) VALUES (1) USING TTL",
	"INSERT INTO t (k) VALUES (1) USING TIMEOUT 5s",
	/* what is not understood */
	"INSERT INTO t (k) VALUES (.5)",
	"UPDATE t SET v=-1WHERE k=2", /* a number with letters at its end */
	"UPDATE t SET v = w WHERE k = 1",
	"UPDATE t SET v = 1",
	"UPDATE t SET v = 1 WHERE",
	"UPDATE t SET v = 1 WHERE k CONTAINS 1",
	"UPDATE t SET v = 1 WHERE k != 1",
	"UPDATE t SET v = 1 WHERE k = 1 OR k = 2",
	"UPDATE t SET v = 1 WHERE k = 1 EXPECT 2",
	"UPDATE t SET v = 1 WHERE k = 1; UPDATE t SET v = 2 WHERE k = 1",
	"UPDATE t SET v = 1 WHERE k = 1;;",
	"UPDATE t SET v = 'open WHERE k = 1",
	"UPDATE t SET v = 1 /* WHERE k = 1",
	"UPDATE t SET v = (1 WHERE k = 1",
	"UPDATE t SET v = {1: 2 WHERE k = 1",
	"UPDATE t SET v = {1: 2: 3} WHERE k = 1",
	"UPDATE t SET v = {a} WHERE k = 1",
	"UPDATE t SET v = () WHERE k = 1",
	"UPDATE t SET v = (int) WHERE k = 1",
	"UPDATE t SET v = (list<int)3 WHERE k = 1",
	"INSERT INTO t VALUES (1)",
	"INSERT INTO t () VALUES ()",
	"INSERT INTO t (k) VALUES (1) USING TTL 5 AND TIMESTAMP 5 AND TTL 5",
	"INSERT INTO t (k) VALUES (1) USING TTL 5 USING TIMESTAMP 5",
	"INSERT INTO t (k) VALUES (1),(2)",
	"DELETE FROM t",
	"DELETE * FROM t WHERE k = 1",
	"DELETE a b FROM t WHERE k = 1",
	"BEGIN BATCH",
	"BEGIN BATCH INSERT INTO t (k) VALUES (1);",
	"BEGIN BATCH INSERT INTO t (k) VALUES (1); APPLY",
	"BEGIN BATCH SELECT * FROM t; APPLY BATCH",
	"BEGIN BATCH BEGIN BATCH APPLY BATCH; APPLY BATCH",
	"BEGIN LOGGED BATCH INSERT INTO t (k) VALUES (1); APPLY BATCH",
};

START_TEST(texts_that_are_proven)
{
	const uint8_t bits = scan(proven[_i].text, strlen(proven[_i].text));

	ck_assert_msg(bits == proven[_i].bits, "0x%02x: %s", bits, proven[_i].text);
}
END_TEST

START_TEST(texts_that_are_refused)
{
	ck_assert_msg(scan(refused[_i], strlen(refused[_i])) == 0, "%s", refused[_i]);
}
END_TEST

/* Cut anywhere, the scan stays inside the text; and a beginning is proven only where it is a statement of its own. */
START_TEST(texts_cut)
{
	for (size_t n = 0; n < strlen(proven[_i].text); n++)
		(void)scan(proven[_i].text, n);
}
END_TEST

/* ---- one change makes it a write that must not be executed twice ---- */

/* The text with [from, to) replaced. */
static uint8_t scan_changed(const char *text, size_t from, size_t to, const char *with, char changed[1024])
{
	snprintf(changed, 1024, "%.*s%s%s", (int)from, text, with, text + to);
	return scan(changed, strlen(changed));
}

static void refuses(const char *text, size_t from, size_t to, const char *with)
{
	char changed[1024];

	ck_assert_msg(scan_changed(text, from, to, with, changed) == 0, "%s", changed);
}

static void change_token(const char *text, const struct token *t)
{
	static const char *const instead[] = { "f(1)", "now()", "c + 1", "'now'", "(timestamp)'NOW'", "ks.f(?)" };
	const size_t end = t->offset + t->text.len;

	if (t->kind == TOKEN_NUMBER || t->kind == TOKEN_STRING || t->kind == TOKEN_MARKER) {
		for (size_t i = 0; i < ARRAY_LEN(instead); i++)
			refuses(text, t->offset, end, instead[i]);
	}
	if (token_is_symbol(t, '=')) {
		refuses(text, t->offset, t->offset, "[0]");
		refuses(text, t->offset, t->offset, "+");
		refuses(text, t->offset, t->offset, "-");
		refuses(text, end, end, " c + ");
		refuses(text, end, end, " f( ");
	}
	refuses(text, end, end, " IF EXISTS ");
	refuses(text, end, end, " + 1 ");
	if (!token_is_symbol(t, '(') && !token_is_symbol(t, '{')) /* there a list is an element */
		refuses(text, end, end, " [0] ");
	refuses(text, end, end, " f(1) ");
}

/* Whatever literal or marker becomes a call, wherever an operator or a condition is put in: not proven any more. */
START_TEST(changed_texts)
{
	const char *text = proven[_i].text;
	struct scanner s;
	struct token t;

	scanner_init(&s, sv_from(text));
	while ((t = scanner_next(&s)).kind != TOKEN_END)
		change_token(text, &t);
}
END_TEST

/* Every term in every place. */
START_TEST(terms_in_their_places)
{
	static const char *const column[] = {
		"INSERT INTO t (k, v) VALUES (1, %s)",
		"UPDATE t SET a = 1, v = %s WHERE k = 1",
		"BEGIN BATCH INSERT INTO t (v, k) VALUES (%s, 1); APPLY BATCH",
	};
	static const char *const inside[] = {
		"UPDATE t SET v = 1 WHERE k = %s",
		"DELETE FROM t WHERE k IN (2, %s)",
		"DELETE FROM t WHERE (a, b) > (%s, 1)",
		"INSERT INTO t (k, v) VALUES (1, {%s})",
		"INSERT INTO t (k, v) VALUES (1, {1: %s})",
		"INSERT INTO t (k, v) VALUES (1, {%s: 1})",
		"INSERT INTO t (k, v) VALUES (1, {f: {g: %s}})",
		"INSERT INTO t (k, v) VALUES (1, (%s, 2))",
	};
	static const struct {
		const char *term;
		bool in_column;
		bool inside;
	} terms[] = {
		{ "1", true, true },        { "-1.5", true, true },       { "'x'", true, true },
		{ "true", true, true },     { "{1, 2}", true, true },     { "{a: 1}", true, true },
		{ "(1, 2)", true, true },   { "(int)1", true, true },     { "[]", true, true },
		{ "[1]", false, true },     { "[[1], []]", false, true }, { "(list<int>)[1]", false, true },
		{ "[f(1)]", false, false }, { "f(1)", false, false },     { "c + 1", false, false },
		{ "'now'", false, false },  { "now()", false, false },    { "{f(1)}", false, false },
		{ "1 + 1", false, false },  { "-c", false, false },       { "(f(1))", false, false },
		{ "(int)c", false, false }, { "?", true, true },          { "(int)?", true, true },
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_LEN(terms); i++) {
		for (size_t k = 0; k < ARRAY_LEN(column); k++) {
			snprintf(text, sizeof(text), column[k], terms[i].term);
			ck_assert_msg((scan(text, strlen(text)) != 0) == terms[i].in_column, "%s", text);
		}
		for (size_t k = 0; k < ARRAY_LEN(inside); k++) {
			snprintf(text, sizeof(text), inside[k], terms[i].term);
			ck_assert_msg((scan(text, strlen(text)) != 0) == terms[i].inside, "%s", text);
		}
	}
}
END_TEST

/* A type, a call and a cast may be nested as far as the stack bears. */
START_TEST(deep_texts)
{
	static const char *const open[] = { "{", "(", "[", "(int)", "f(", "(list<", "(int)-", "{a:" };
	char text[200000];

	for (size_t i = 0; i < ARRAY_LEN(open); i++) {
		size_t n = (size_t)snprintf(text, sizeof(text), "UPDATE t SET v = ");

		while (n + 10 < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", open[i]);
		ck_assert_uint_eq(scan(text, n), 0);
	}
	ck_assert_uint_eq(scan("UPDATE t SET v = ((((((((((1)))))))))) WHERE k = 1", 51 - 1), P);
}
END_TEST

/* What statement.c takes for something else than a write, or for a conditional one, is not proven. */
static unsigned accepted;

static void agrees_with_kind(const struct statement_case *c)
{
	static const char *const writes[] = { "insert", "update", "delete", "batch" };
	const uint8_t bits = scan(c->text, c->text_len);
	bool is_write = false;

	for (unsigned i = 0; i < ARRAY_LEN(writes); i++)
		is_write |= strcmp(c->kind, writes[i]) == 0;
	ck_assert_msg(bits == 0 || is_write, "line %u", c->line);
	ck_assert_msg(bits == 0 || !strpbrk(c->flags, "Cc"), "line %u", c->line);
	accepted += bits != 0;
}

START_TEST(statements)
{
	ck_assert_uint_gt(statements_each(agrees_with_kind), 150);
	ck_assert_uint_gt(accepted, 10);
}
END_TEST

/* ---- values ---- */

static bool may_be_list(const char *bytes, uint32_t len)
{
	uint8_t *copy = exact_copy(bytes, len);
	const bool may = idempotence_may_be_list((struct bytesview){ .p = copy, .len = len });

	free(copy);
	return may;
}

START_TEST(values_that_may_be_lists)
{
	ck_assert(!idempotence_may_be_list((struct bytesview){ .is_null = true }));
	ck_assert(!idempotence_may_be_list((struct bytesview){ .is_unset = true }));
	ck_assert(!may_be_list("", 0));
	ck_assert(!may_be_list("\0\0\0\0", 4));                          /* an empty one is a deletion */
	ck_assert(!may_be_list("\0\0\0\1", 4));                          /* the int 1 */
	ck_assert(!may_be_list("\0\0\0\0\0\0\0\1", 8));                  /* the bigint 1 */
	ck_assert(may_be_list("\0\0\0\1\0\0\0\0", 8));                   /* [''], or 2^32 */
	ck_assert(may_be_list("\0\0\0\1\0\0\0\1x", 9));                  /* ['x'] */
	ck_assert(!may_be_list("\0\0\0\1\0\0\0\1xy", 10));               /* something behind it */
	ck_assert(!may_be_list("\0\0\0\1\0\0\0\2x", 9));                 /* cut */
	ck_assert(!may_be_list("\0\0\0\2\0\0\0\1x", 9));                 /* one is missing */
	ck_assert(may_be_list("\0\0\0\2\0\0\0\1x\377\377\377\377", 13)); /* null in it */
	ck_assert(!may_be_list("\377\377\377\377\0\0\0\1x", 9));
	ck_assert(!may_be_list("a text of a column", 18));
	ck_assert(!may_be_list("\0\0\0\1\0\0\0\1k\0\0\0\1v", 14)); /* a map */
}
END_TEST

START_TEST(json)
{
	ck_assert(idempotence_json(SV("")));
	ck_assert(idempotence_json(SV("{\"a\": \"knows\", \"b\": {\"c\": \"x\\ty\"}, \"nowhere\": 1, \"k_now\": 2}")));
	ck_assert(!idempotence_json(SV("{\"a\": []}")));
	ck_assert(!idempotence_json(SV("{\"a\": \"nOw\"}")));
	ck_assert(!idempotence_json(SV("now")));
	ck_assert(!idempotence_json(SV("{\"a\": \"n\\u006fw\"}")));
	ck_assert(idempotence_json(SV("no")));
	ck_assert(idempotence_json(SV("\\")));
	ck_assert(!idempotence_json(SV("\\u")));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("idempotence");

	tcase_add_loop_test(tc, texts_that_are_proven, 0, ARRAY_LEN(proven));
	tcase_add_loop_test(tc, texts_that_are_refused, 0, ARRAY_LEN(refused));
	tcase_add_loop_test(tc, texts_cut, 0, ARRAY_LEN(proven));
	tcase_add_loop_test(tc, changed_texts, 0, ARRAY_LEN(proven));
	tcase_add_test(tc, terms_in_their_places);
	tcase_add_test(tc, deep_texts);
	tcase_add_test(tc, statements);
	tcase_add_test(tc, values_that_may_be_lists);
	tcase_add_test(tc, json);
	return run_tcase("idempotence", tc);
}
