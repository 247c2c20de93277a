/* test_select.c - the parser of the SELECTs that the proxy answers itself. */
#include "cql/select.h"

#include "statements.h"

static bool parse(const char *text, struct select_query *q, char *why, size_t why_size)
{
	size_t len = strlen(text);
	char *exact = (char *)exact_copy(text, len);
	bool ok;

	memset(why, 'x', why_size);
	ok = select_parse((struct strview){ exact, len }, q, why, why_size);
	free(exact);
	if (!ok)
		ck_assert_ptr_nonnull(memchr(why, '\0', why_size));
	return ok;
}

static void must_parse(const char *text, struct select_query *q)
{
	char why[200];

	ck_assert_msg(parse(text, q, why, sizeof(why)), "%s: %s", text, why);
}

static bool is_name(const struct statement_name *name, const char *expected)
{
	return sv_equal(statement_name_view(name), sv_from(expected));
}

static unsigned asked;

static void check_case(const struct statement_case *c)
{
	struct select_query q;
	char why[200];
	bool ok;

	if (strcmp(c->answered, "-") == 0)
		return;
	asked++;
	ok = select_parse((struct strview){ c->text, c->text_len }, &q, why, sizeof(why));
	ck_assert_msg(ok == (strcmp(c->answered, "yes") == 0), "line %u: %s", c->line, ok ? "parsed" : why);
	if (!ok) {
		ck_assert_msg(strlen(why) > 20, "line %u: %s", c->line, why);
		return;
	}
	ck_assert_msg(is_name(&q.keyspace, c->keyspace), "line %u", c->line);
	ck_assert_msg(is_name(&q.table, c->table), "line %u", c->line);
	ck_assert(q.is_star == (q.item_count == 0));
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
	char why[200];

	for (size_t n = 0; n < c->text_len; n++) {
		char *cut = (char *)exact_copy(c->text, n);

		/* cut within SELECT it cannot be a SELECT; later a part may well be one */
		if (select_parse((struct strview){ cut, n }, &q, why, sizeof(why)))
			ck_assert_uint_ge(n, strlen("SELECT*FROM t"));
		free(cut);
	}
}

START_TEST(statements_cut)
{
	ck_assert_uint_gt(statements_each(check_cut), 150);
}
END_TEST

START_TEST(items)
{
	struct select_query q;

	must_parse(
		"SELECT peer, rpc_address AS Addr, rpc_address, \"Rack\" AS \"The Rack\", COUNT(*), count(1) AS n, count FROM "
		"system.peers",
		&q);
	ck_assert(!q.is_star);
	ck_assert_uint_eq(q.item_count, 7);
	ck_assert(q.items[0].kind == SELECT_COLUMN && is_name(&q.items[0].column, "peer"));
	ck_assert_uint_eq(q.items[0].alias.len, 0);
	ck_assert(is_name(&q.items[1].column, "rpc_address") && is_name(&q.items[1].alias, "addr"));
	ck_assert(is_name(&q.items[2].column, "rpc_address") && is_name(&q.items[2].alias, ""));
	ck_assert(is_name(&q.items[3].column, "Rack") && is_name(&q.items[3].alias, "The Rack"));
	ck_assert(q.items[4].kind == SELECT_COUNT && is_name(&q.items[4].alias, "") && is_name(&q.items[4].column, ""));
	ck_assert(q.items[5].kind == SELECT_COUNT && is_name(&q.items[5].alias, "n"));
	ck_assert(q.items[6].kind == SELECT_COLUMN && is_name(&q.items[6].column, "count"));
	ck_assert_uint_eq(q.relation_count, 0);
	ck_assert(!q.has_limit);
	must_parse("SELECT * FROM local", &q);
	ck_assert(q.is_star);
	ck_assert_uint_eq(q.item_count, 0);
	ck_assert(is_name(&q.keyspace, "") && is_name(&q.table, "local"));
}
END_TEST

START_TEST(relations_and_markers)
{
	struct select_query q;

	must_parse(
		"SELECT * FROM system.peers WHERE peer = :Address AND peer_port=? AND rack = 'r''1' AND graph = true LIMIT ?",
		&q);
	ck_assert_uint_eq(q.relation_count, 4);
	ck_assert_uint_eq(q.marker_count, 3);
	ck_assert(q.relations[0].is_marker && is_name(&q.relations[0].marker, "address"));
	ck_assert_uint_eq(q.relations[0].marker_index, 0);
	ck_assert(q.relations[1].is_marker && is_name(&q.relations[1].marker, ""));
	ck_assert_uint_eq(q.relations[1].marker_index, 1);
	ck_assert(is_name(&q.relations[1].column, "peer_port"));
	ck_assert(!q.relations[2].is_marker && q.relations[2].is_string);
	ck_assert_str_eq(q.relations[2].literal, "r'1");
	ck_assert(!q.relations[3].is_string);
	ck_assert_str_eq(q.relations[3].literal, "true");
	ck_assert(q.has_limit && q.limit_is_marker && is_name(&q.limit_marker, ""));
	ck_assert_uint_eq(q.limit_marker_index, 2);
	must_parse("SELECT * FROM t LIMIT :Page", &q);
	ck_assert(q.limit_is_marker && is_name(&q.limit_marker, "page"));
	must_parse(
		"SELECT * FROM t WHERE a = -7 AND b = $$x'y$$ AND c = a1b2c3d4-0000-1000-8000-00805f9b34fb LIMIT 2147483647",
		&q);
	ck_assert_str_eq(q.relations[0].literal, "-7");
	ck_assert_str_eq(q.relations[1].literal, "x'y");
	ck_assert_str_eq(q.relations[2].literal, "a1b2c3d4-0000-1000-8000-00805f9b34fb");
	ck_assert(!q.relations[2].is_string);
	ck_assert(q.has_limit && !q.limit_is_marker);
	ck_assert_uint_eq(q.limit, 2147483647);
}
END_TEST

START_TEST(literals_are_cut)
{
	struct select_query q;
	char text[400];

	for (int n = 60; n < 70; n++) {
		snprintf(text, sizeof(text), "SELECT * FROM t WHERE a = '%0*d' AND b = %0*d", n, 1, n, 1);
		must_parse(text, &q);
		ck_assert_uint_eq(strlen(q.relations[0].literal), MIN(n, STATEMENT_NAME_MAX - 1));
		ck_assert_uint_eq(strlen(q.relations[1].literal), MIN(n, STATEMENT_NAME_MAX - 1));
	}
}
END_TEST

static void expect_refused(const char *text, const char *why_starts)
{
	struct select_query q;
	char why[200];

	ck_assert_msg(!parse(text, &q, why, sizeof(why)), "%s", text);
	ck_assert_msg(sv_starts_with(sv_from(why), sv_from(why_starts)), "%s: %s", text, why);
}

START_TEST(reasons)
{
	expect_refused("", "expected SELECT at the end of");
	expect_refused("SELECT JSON * FROM local", "JSON is not supported at 'JSON' (byte 7)");
	expect_refused("SELECT now() FROM local", "functions are not supported at '('");
	expect_refused("SELECT count(key) FROM local", "only COUNT(*) and COUNT(1) are supported");
	expect_refused("SELECT count(* FROM local", "expected ')' at 'FROM'");
	expect_refused("SELECT a b FROM local", "expected FROM at 'b'");
	expect_refused("SELECT a AS FROM local", "expected a name behind AS at 'FROM'");
	/* with a reserved word for a name the scanner would take another word for the table */
	expect_refused("SELECT from, a FROM local", "expected a column name at 'from'");
	expect_refused("SELECT a FROM where", "expected a table name at 'where'");
	expect_refused("SELECT a AS 'x' FROM local", "expected a name behind AS at ''x''");
	expect_refused("SELECT a FROM local WHERE a IN (1)", "only '=' is supported in WHERE at 'IN'");
	expect_refused("SELECT a FROM local WHERE a = -x", "expected a literal or a bind marker at 'x'");
	expect_refused("SELECT a FROM local WHERE a = [1]", "expected a literal or a bind marker at '['");
	expect_refused("SELECT a FROM local WHERE a = 1 LIMIT x", "expected a number behind LIMIT at 'x'");
	expect_refused("SELECT a FROM local WHERE a = 1 LIMIT 1.5", "expected a number behind LIMIT at '1.5'");
	expect_refused("SELECT a FROM local LIMIT 99999999999999999999999", "LIMIT must be from 1");
	expect_refused("SELECT a FROM local ALLOW", "expected FILTERING at the end of");
	expect_refused("SELECT a FROM local GROUP BY a", "not supported at 'GROUP'");
	expect_refused("SELECT a FROM local; SELECT a FROM local", "not supported at 'SELECT'");
	expect_refused("SELECT a FROM local WHERE a='1' AND b='1' AND c='1' AND d='1' AND e='1'", "too many relations");
}
END_TEST

START_TEST(as_many_columns_as_there_is_room)
{
	struct select_query q;
	char text[2000];
	char why[200];

	for (unsigned n = 63; n <= 66; n++) {
		int len = snprintf(text, sizeof(text), "SELECT a");

		for (unsigned i = 1; i < n; i++)
			len += snprintf(text + len, sizeof(text) - (size_t)len, ", c%u", i);
		snprintf(text + len, sizeof(text) - (size_t)len, " FROM local");
		ck_assert_int_eq(parse(text, &q, why, sizeof(why)), n <= SELECT_MAX_ITEMS);
		if (n > SELECT_MAX_ITEMS)
			ck_assert(sv_starts_with(sv_from(why), SV("too many columns")));
	}
}
END_TEST

/* A message quotes a part of a long token, and no half of a character: drivers decode it as UTF-8. */
START_TEST(reasons_stay_short_and_utf8)
{
	struct select_query q;
	char text[200] = "SELECT a FROM local x";
	char why[200];

	for (unsigned i = 0; i < 40; i++)
		strcat(text, "\xc3\xa4");
	ck_assert(!parse(text, &q, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "\xc3\xa4' (byte 20)"));
	/* a small buffer is not overrun */
	ck_assert(!parse(text, &q, why, 8));
	ck_assert_str_eq(why, "not sup");
}
END_TEST

START_TEST(names_that_do_not_fit)
{
	char text[200];

	snprintf(text, sizeof(text), "SELECT a FROM %070d", 0);
	memset(text + strlen("SELECT a FROM "), 'n', 70);
	expect_refused(text, "expected a table name at 'nnn");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("select");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, statements);
	tcase_add_test(tcase, statements_cut);
	tcase_add_test(tcase, items);
	tcase_add_test(tcase, relations_and_markers);
	tcase_add_test(tcase, literals_are_cut);
	tcase_add_test(tcase, reasons);
	tcase_add_test(tcase, as_many_columns_as_there_is_room);
	tcase_add_test(tcase, reasons_stay_short_and_utf8);
	tcase_add_test(tcase, names_that_do_not_fit);
	return run_tcase("select", tcase);
}
