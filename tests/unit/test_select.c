/* test_select.c - the parser of the SELECTs that the proxy answers itself. */
#include "cql/select.h"

#include "statements.h"

static bool parse(const char *text, struct select_query *q, enum cql_error_code *code, char *why, size_t why_size)
{
	size_t len = strlen(text);
	char *exact = (char *)exact_copy(text, len);
	bool ok;

	memset(why, 'x', why_size);
	ok = select_parse((struct strview){ exact, len }, q, code, why, why_size);
	free(exact); /* the query has a text of its own */
	if (!ok)
		ck_assert_ptr_nonnull(memchr(why, '\0', why_size));
	return ok;
}

/* Freed by select_free(). */
static void must_parse(const char *text, struct select_query *q)
{
	enum cql_error_code code;
	char why[200];

	ck_assert_msg(parse(text, q, &code, why, sizeof(why)), "%s: %s", text, why);
}

static bool is_name(struct strview name, const char *expected)
{
	return sv_equal(name, sv_from(expected));
}

static unsigned asked;

static void check_case(const struct statement_case *c)
{
	struct select_query q;
	enum cql_error_code code;
	char why[200];
	bool ok;

	if (strcmp(c->answered, "-") == 0)
		return;
	asked++;
	ok = select_parse((struct strview){ c->text, c->text_len }, &q, &code, why, sizeof(why));
	ck_assert_msg(ok == (strcmp(c->answered, "yes") == 0), "line %u: %s", c->line, ok ? "parsed" : why);
	if (!ok) {
		ck_assert_msg(strlen(why) > 20, "line %u: %s", c->line, why);
		return;
	}
	ck_assert_msg(is_name(q.keyspace, c->keyspace), "line %u", c->line);
	ck_assert_msg(is_name(q.table, c->table), "line %u", c->line);
	ck_assert(q.is_star == (q.item_count == 0));
	select_free(&q);
}

START_TEST(statements)
{
	asked = 0;
	ck_assert_uint_gt(statements_each(check_case), 150);
	ck_assert_uint_gt(asked, 50);
}
END_TEST

static void check_cut(const struct statement_case *c)
{
	struct select_query q;
	enum cql_error_code code;
	char why[200];

	for (size_t n = 0; n < c->text_len; n++) {
		char *cut = (char *)exact_copy(c->text, n);

		/* cut within SELECT it cannot be a SELECT; later a part may well be one */
		if (select_parse((struct strview){ cut, n }, &q, &code, why, sizeof(why))) {
			ck_assert_uint_ge(n, strlen("SELECT*FROM t"));
			select_free(&q);
		}
		free(cut);
	}
}

START_TEST(statements_cut)
{
	ck_assert_uint_gt(statements_each(check_cut), 150);
}
END_TEST

static const struct select_expr *item(const struct select_query *q, unsigned i)
{
	return &q->exprs[q->items[i].expr];
}

static const struct select_expr *first_of(const struct select_query *q, const struct select_expr *e)
{
	ck_assert_uint_ne(e->first, 0);
	return &q->exprs[e->first];
}

START_TEST(items)
{
	struct select_query q;

	must_parse(
		"SELECT peer, rpc_address AS Addr, rpc_address, \"Rack\" AS \"The \"\"Rack\", COUNT(*), count(1) AS n, "
		"count, json, distinct FROM system.peers",
		&q);
	ck_assert(!q.is_star && !q.is_json && !q.is_distinct);
	ck_assert_uint_eq(q.item_count, 9);
	ck_assert(item(&q, 0)->kind == SELECT_COLUMN && is_name(item(&q, 0)->name, "peer"));
	ck_assert_uint_eq(q.items[0].alias.len, 0);
	ck_assert(is_name(item(&q, 1)->name, "rpc_address") && is_name(q.items[1].alias, "addr"));
	ck_assert(is_name(item(&q, 2)->name, "rpc_address") && is_name(q.items[2].alias, ""));
	ck_assert(is_name(item(&q, 3)->name, "Rack") && is_name(q.items[3].alias, "The \"Rack"));
	ck_assert(item(&q, 4)->kind == SELECT_CALL && item(&q, 4)->is_star && is_name(item(&q, 4)->name, "count"));
	ck_assert(item(&q, 5)->kind == SELECT_CALL && !item(&q, 5)->is_star && is_name(q.items[5].alias, "n"));
	ck_assert(first_of(&q, item(&q, 5))->literal == LITERAL_INTEGER);
	ck_assert(item(&q, 6)->kind == SELECT_COLUMN && is_name(item(&q, 6)->name, "count"));
	ck_assert_uint_eq(q.relation_count, 0);
	ck_assert(!q.limit && !q.allows_filtering);
	select_free(&q);
	must_parse("SELECT * FROM local", &q);
	ck_assert(q.is_star);
	ck_assert_uint_eq(q.item_count, 0);
	ck_assert(is_name(q.keyspace, "") && is_name(q.table, "local"));
	select_free(&q);
}
END_TEST

START_TEST(expressions)
{
	struct select_query q;
	const struct select_expr *e;

	must_parse(
		"SELECT JSON DISTINCT system.toJson(max(key)), CAST(CAST(a AS Text) AS blob), (int)-5, (Text)'it''s', "
		"token(key, \"K\"), $$a'b$$, 0xFF, 1.5e+3, a747c000-2c29-11ea-8080-808080808080, True, NULL, f() FROM t",
		&q);
	ck_assert(q.is_json && q.is_distinct);
	e = item(&q, 0);
	ck_assert(e->kind == SELECT_CALL && is_name(e->keyspace, "system") && is_name(e->name, "tojson"));
	e = first_of(&q, e);
	ck_assert(e->kind == SELECT_CALL && is_name(e->keyspace, "") && is_name(e->name, "max"));
	ck_assert(is_name(first_of(&q, e)->name, "key"));
	e = item(&q, 1);
	ck_assert(e->kind == SELECT_CAST && is_name(e->name, "blob"));
	e = first_of(&q, e);
	ck_assert(e->kind == SELECT_CAST && is_name(e->name, "text") && first_of(&q, e)->kind == SELECT_COLUMN);
	e = item(&q, 2);
	ck_assert(e->kind == SELECT_HINT && is_name(e->name, "int") && is_name(first_of(&q, e)->name, "-5"));
	ck_assert(is_name(first_of(&q, item(&q, 3))->name, "it's"));
	e = first_of(&q, item(&q, 4));
	ck_assert(is_name(e->name, "key") && is_name(q.exprs[e->next].name, "K"));
	ck_assert(item(&q, 5)->literal == LITERAL_STRING && is_name(item(&q, 5)->name, "a'b"));
	ck_assert(item(&q, 6)->literal == LITERAL_HEX);
	ck_assert(item(&q, 7)->literal == LITERAL_FLOAT);
	ck_assert(item(&q, 8)->literal == LITERAL_UUID);
	ck_assert(item(&q, 9)->literal == LITERAL_BOOLEAN && is_name(item(&q, 9)->name, "true"));
	ck_assert(item(&q, 10)->literal == LITERAL_NULL);
	ck_assert(item(&q, 11)->kind == SELECT_CALL && item(&q, 11)->first == 0);
	select_free(&q);
}
END_TEST

START_TEST(relations_and_markers)
{
	struct select_query q;
	const struct select_relation *r = q.relations;

	must_parse(
		"SELECT * FROM system.peers WHERE peer = :Address AND peer_port>=? AND rack = 'r''1' AND a IN (1, ?) AND "
		"b IN ? AND c CONTAINS ? AND d CONTAINS KEY 'x' AND token(e) < token('y') AND f != -7 AND g IS NOT NULL "
		"AND h LIKE 'x%' PER PARTITION LIMIT ? LIMIT :\"Page\" ALLOW FILTERING",
		&q);
	ck_assert_uint_eq(q.relation_count, 11);
	ck_assert_uint_eq(q.marker_count, 7);
	ck_assert(r[0].op == SELECT_OP_EQ && is_name(r[0].column, "peer"));
	ck_assert(q.exprs[r[0].values].kind == SELECT_MARKER && is_name(q.exprs[r[0].values].name, "address"));
	ck_assert(r[1].op == SELECT_OP_GE && is_name(q.exprs[r[1].values].name, "") &&
		  q.exprs[r[1].values].marker == 1);
	ck_assert(is_name(q.exprs[r[2].values].name, "r'1"));
	ck_assert(r[3].op == SELECT_OP_IN && !r[3].is_in_marker);
	ck_assert(q.exprs[q.exprs[r[3].values].next].kind == SELECT_MARKER);
	ck_assert(r[4].op == SELECT_OP_IN && r[4].is_in_marker);
	ck_assert(r[5].op == SELECT_OP_CONTAINS && r[6].op == SELECT_OP_CONTAINS_KEY);
	ck_assert(r[7].is_token && r[7].op == SELECT_OP_LT && r[7].columns == 1 && is_name(r[7].column, "e"));
	ck_assert(r[8].op == SELECT_OP_NE && r[9].op == SELECT_OP_NOT_NULL && r[10].op == SELECT_OP_LIKE);
	ck_assert(q.allows_filtering);
	ck_assert(q.exprs[q.per_partition_limit].marker == 5 && is_name(q.exprs[q.limit].name, "Page"));
	select_free(&q);
	must_parse(
		"SELECT * FROM t WHERE (a, b) = (?, (1)) AND c = 1 GROUP BY x, y ORDER BY a DESC, b ASC, c LIMIT 5;;",
		&q);
	ck_assert(r[0].is_tuple && r[0].columns == 2 && is_name(r[1].column, "c"));
	ck_assert(q.group_count == 2 && is_name(q.group[1], "y"));
	ck_assert(q.order_count == 3 && is_name(q.order[2], "c"));
	ck_assert(is_name(q.exprs[q.limit].name, "5"));
	select_free(&q);
}
END_TEST

static void expect_refused(const char *text, enum cql_error_code expected, const char *why_starts)
{
	struct select_query q;
	enum cql_error_code code;
	char why[200];

	ck_assert_msg(!parse(text, &q, &code, why, sizeof(why)), "%s", text);
	ck_assert_msg(sv_starts_with(sv_from(why), sv_from(why_starts)), "%s: %s", text, why);
	ck_assert_msg(code == expected, "%s: %#x", text, code);
	ck_assert_ptr_null(q.text);
	ck_assert_ptr_null(q.exprs);
}

START_TEST(syntax_errors)
{
	static const char *const texts[][2] = {
		{ "", "expected SELECT at the end of" },
		{ "SELECT count(* FROM local", "expected ')' at 'FROM'" },
		{ "SELECT a b FROM local", "expected FROM at 'b'" },
		{ "SELECT *, a FROM local", "expected FROM at ','" },
		{ "SELECT a AS FROM local", "expected a name behind AS at 'FROM'" },
		/* with a reserved word for a name the scanner would take another word for the table */
		{ "SELECT from, a FROM local", "expected a column name at 'from'" },
		{ "SELECT a FROM where", "expected a table name at 'where'" },
		{ "SELECT a AS 'x' FROM local", "expected a name behind AS at ''x''" },
		{ "SELECT CAST(a) FROM local", "expected AS at ')'" },
		{ "SELECT CAST(a AS 'x') FROM local", "expected a type at ''x''" },
		{ "SELECT f(a FROM local", "expected ')' at 'FROM'" },
		{ "SELECT f(*) FROM local", "expected a column name at '*'" },
		{ "SELECT a FROM local WHERE", "expected a column name at the end of" },
		{ "SELECT a FROM local WHERE a", "expected an operator at the end of" },
		{ "SELECT a FROM local WHERE a = b", "expected a literal or a bind marker" },
		{ "SELECT a FROM local WHERE a IN 5", "expected '(' or a bind marker at '5'" },
		{ "SELECT a FROM local WHERE a IN (5", "expected ')' at the end of" },
		{ "SELECT a FROM local WHERE a IS NULL", "expected NOT NULL at 'NULL'" },
		{ "SELECT a FROM local WHERE a = 1 OR b = 2", "not expected at 'OR'" },
		{ "SELECT a FROM local WHERE a = 1 LIMIT x", "expected a number behind LIMIT at 'x'" },
		{ "SELECT a FROM local WHERE a = 1 LIMIT 1.5", "expected a number behind LIMIT at '1.5'" },
		{ "SELECT a FROM local LIMIT 1 PER PARTITION LIMIT 1", "not expected at 'PER'" },
		{ "SELECT a FROM local PER LIMIT 1", "expected PARTITION LIMIT at 'LIMIT'" },
		{ "SELECT a FROM local GROUP a", "expected BY at 'a'" },
		{ "SELECT a FROM local ALLOW", "expected FILTERING at the end of" },
		{ "SELECT a FROM local; SELECT a FROM local", "not expected at 'SELECT'" },
		{ "SELECT a FROM local WHERE a = 'x", "expected a literal or a bind marker at ''x'" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(texts); i++)
		expect_refused(texts[i][0], CQL_ERR_SYNTAX_ERROR, texts[i][1]);
}
END_TEST

START_TEST(beyond_us)
{
	static const char *const texts[][2] = {
		{ "SELECT a + 1 FROM local", "operators are not supported at '+'" },
		{ "SELECT -a FROM local", "operators are not supported at '-'" },
		{ "SELECT - 5 FROM local", "operators are not supported at '-'" },
		{ "SELECT a['x'] FROM local", "elements and fields of values are not supported at '['" },
		{ "SELECT a.b FROM local", "fields of values are not supported" },
		{ "SELECT [a] FROM local", "literals of collections are not supported at '['" },
		{ "SELECT {'a': 1} FROM local", "literals of collections are not supported at '{'" },
		{ "SELECT (a, b) FROM local", "tuples and groups are not supported" },
		{ "SELECT (a) FROM local", "groups are not supported" },
		{ "SELECT 5h FROM local", "this literal is not supported at '5h'" },
		{ "SELECT a FROM local WHERE a[1] = 2", "this kind of relation is not supported at '['" },
		{ "SELECT a FROM local WHERE a NOT IN (2)", "this kind of relation is not supported at 'NOT'" },
		{ "SELECT a FROM local WHERE a BETWEEN 1 AND 2",
		  "this kind of relation is not supported at 'BETWEEN'" },
		{ "SELECT a FROM local GROUP BY f(a)", "functions are not supported here at '('" },
		{ "SELECT ((((((((((((((((((1 FROM local", "tuples and groups" },
		{ "SELECT f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(f(1 FROM local", "expressions are nested too deep" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(texts); i++)
		expect_refused(texts[i][0], CQL_ERR_INVALID, texts[i][1]);
}
END_TEST

/* "SELECT <first><next><next>... <last>" with n of them is understood up to `max`. */
static void expect_room(const char *first, const char *next, const char *last, unsigned max)
{
	char *text = malloc(strlen(first) + (max + 2) * strlen(next) + strlen(last) + 1);
	struct select_query q;
	enum cql_error_code code;
	char why[200];

	for (unsigned n = max - 1; n <= max + 1; n++) {
		bool ok;

		strcpy(text, first);
		for (unsigned i = 1; i < n; i++)
			strcat(text, next);
		strcat(text, last);
		ok = parse(text, &q, &code, why, sizeof(why));
		ck_assert_msg(ok == (n <= max), "%u of %s: %s", n, next, ok ? "parsed" : why);
		if (ok)
			select_free(&q);
		else
			ck_assert(code == CQL_ERR_INVALID && strncmp(why, "too many ", 9) == 0);
	}
	free(text);
}

START_TEST(as_much_as_there_is_room_for)
{
	expect_room("SELECT a", ", a", " FROM local", SELECT_MAX_ITEMS);
	expect_room("SELECT a FROM t WHERE a = 1", " AND a = 1", "", SELECT_MAX_RELATIONS);
	expect_room("SELECT a FROM t GROUP BY a", ", a", "", SELECT_MAX_NAMES);
	expect_room("SELECT * FROM t WHERE a IN (?", ", ?", ")", SELECT_MAX_EXPRS - 1);
}
END_TEST

START_TEST(long_texts)
{
	struct select_query q;
	enum cql_error_code code;
	char why[200];
	char *text = malloc(SELECT_MAX_TEXT + 2);

	memset(text, ' ', SELECT_MAX_TEXT + 1);
	memcpy(text, "SELECT a FROM t", 15);
	text[SELECT_MAX_TEXT] = '\0';
	must_parse(text, &q);
	select_free(&q);
	text[SELECT_MAX_TEXT] = ' ';
	text[SELECT_MAX_TEXT + 1] = '\0';
	ck_assert(!parse(text, &q, &code, why, sizeof(why)));
	ck_assert_int_eq(code, CQL_ERR_INVALID);
	free(text);
}
END_TEST

/* A message quotes a part of a long token, and no half of a character: drivers decode it as UTF-8. */
START_TEST(reasons_stay_short_and_utf8)
{
	struct select_query q;
	enum cql_error_code code;
	char text[200] = "SELECT a FROM local x";
	char why[200];

	for (unsigned i = 0; i < 40; i++)
		strcat(text, "\xc3\xa4");
	ck_assert(!parse(text, &q, &code, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "\xc3\xa4' (byte 20)"));
	/* a small buffer is not overrun */
	ck_assert(!parse(text, &q, &code, why, 8));
	ck_assert_str_eq(why, "not exp");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("select");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, statements);
	tcase_add_test(tcase, statements_cut);
	tcase_add_test(tcase, items);
	tcase_add_test(tcase, expressions);
	tcase_add_test(tcase, relations_and_markers);
	tcase_add_test(tcase, syntax_errors);
	tcase_add_test(tcase, beyond_us);
	tcase_add_test(tcase, as_much_as_there_is_room_for);
	tcase_add_test(tcase, long_texts);
	tcase_add_test(tcase, reasons_stay_short_and_utf8);
	return run_tcase("select", tcase);
}
