/* test_statement.c - the scanner: tokens, and what kind of statement a text is. */
#include "cql/statement.h"

#include "statements.h"

static void expect_name(const struct statement_case *c, const struct statement_name *name, const char *expected)
{
	ck_assert_msg(sv_equal(statement_name_view(name), sv_from(expected)), "line %u: got %.*s, expected %s", c->line,
		      SV_ARG(statement_name_view(name)), expected);
}

static void expect_flag(const struct statement_case *c, bool value, char flag)
{
	ck_assert_msg(value == (strchr(c->flags, flag) != NULL), "line %u: flag %c is %d", c->line, flag, value);
}

static void check_case(const struct statement_case *c)
{
	struct statement_facts facts;

	memset(&facts, 0xee, sizeof(facts));
	statement_scan((struct strview){ c->text, c->text_len }, &facts);
	ck_assert_msg(strcmp(statement_kind_name(facts.kind), c->kind) == 0, "line %u: %s", c->line,
		      statement_kind_name(facts.kind));
	expect_name(c, &facts.keyspace, c->keyspace);
	expect_name(c, &facts.table, c->table);
	expect_flag(c, facts.is_qualified, 'q');
	expect_flag(c, facts.is_conditional, 'c');
	expect_flag(c, facts.is_counter_batch, 'C');
	expect_flag(c, facts.is_unlogged_batch, 'U');
	if (facts.kind == STATEMENT_SELECT && facts.table.len > 0) {
		ck_assert_uint_gt(facts.from_offset, strlen("SELECT*FROM") - 1);
		ck_assert_uint_lt(facts.from_offset, c->text_len);
	}
}

START_TEST(statements)
{
	ck_assert_uint_gt(statements_each(check_case), 150);
}
END_TEST

/* However a text is cut, the scanner stays inside it (the address sanitizer watches) and never changes its mind about
 * the first keyword once that is complete. */
static void scan_cut(const struct statement_case *c)
{
	struct statement_facts facts;

	for (size_t n = 0; n < c->text_len; n++) {
		char *cut = (char *)exact_copy(c->text, n);

		statement_scan((struct strview){ cut, n }, &facts);
		if (n == 0)
			ck_assert_int_eq(facts.kind, STATEMENT_UNKNOWN);
		else if (strcmp(c->kind, "select") == 0 && n > 6 && strncasecmp(c->text, "select", 6) == 0)
			ck_assert_msg(facts.kind == STATEMENT_SELECT, "line %u cut at %zu", c->line, n);
		free(cut);
	}
}

START_TEST(statements_cut)
{
	ck_assert_uint_gt(statements_each(scan_cut), 150);
}
END_TEST

static struct statement_facts scan(const char *text)
{
	struct statement_facts facts;

	statement_scan(sv_from(text), &facts);
	return facts;
}

START_TEST(lines_end_with_either)
{
	ck_assert_int_eq(scan("-- x\nSELECT a FROM t").kind, STATEMENT_SELECT);
	ck_assert_int_eq(scan("-- x\rSELECT a FROM t").kind, STATEMENT_SELECT);
	ck_assert_int_eq(scan("// x\r\n-- y\r\n\tSELECT a FROM t").kind, STATEMENT_SELECT);
	/* what the cluster takes for an INSERT must not look like a read to us */
	ck_assert_int_eq(scan("-- \rINSERT INTO t (a) VALUES (1) --\nSELECT a FROM t").kind, STATEMENT_INSERT);
	ck_assert_int_eq(scan("/* /* */ INSERT INTO t (a) VALUES (1) /* */").kind, STATEMENT_INSERT);
	/* a form feed is no white space in CQL */
	ck_assert_int_eq(scan("\fSELECT a FROM t").kind, STATEMENT_UNKNOWN);
}
END_TEST

START_TEST(from_offset)
{
	ck_assert_uint_eq(scan("SELECT a FROM t").from_offset, 14);
	ck_assert_uint_eq(scan("SELECT a FROM /* c */ ks.t").from_offset, 22);
	ck_assert_uint_eq(scan("SELECT a FROM").from_offset, 0);
	ck_assert_uint_eq(scan("SELECT a").from_offset, 0);
	ck_assert_uint_eq(scan("DELETE FROM t").from_offset, 0);
}
END_TEST

START_TEST(long_names)
{
	char text[400];
	struct statement_facts facts;

	/* a name of exactly the room there is, and one byte more */
	for (int n = 63; n <= 66; n++) {
		snprintf(text, sizeof(text), "SELECT a FROM \"%.*s\".%.*s", n,
			 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", n,
			 "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT");
		facts = scan(text);
		ck_assert_int_eq(facts.keyspace.is_cut, n > STATEMENT_NAME_MAX);
		ck_assert_int_eq(facts.table.is_cut, n > STATEMENT_NAME_MAX);
		ck_assert_uint_eq(facts.keyspace.len, MIN(n, STATEMENT_NAME_MAX));
		ck_assert_uint_eq(facts.table.len, MIN(n, STATEMENT_NAME_MAX));
		ck_assert_int_eq(facts.table.text[62], 't');
	}
}
END_TEST

START_TEST(bytes_above_127)
{
	struct statement_facts facts = scan("SELECT gr\xc3\xb6\xc3\x9f"
					    "e, '\xe2\x82\xac' FROM ks.\"\xc3\x84\"");

	ck_assert_int_eq(facts.kind, STATEMENT_SELECT);
	ck_assert(sv_equal(statement_name_view(&facts.table), SV("\xc3\x84")));
	ck_assert_int_eq(scan("\xff\xfe").kind, STATEMENT_UNKNOWN);
	/* no part of another word */
	ck_assert_int_eq(scan("UPDATE t SET a = 1 WHERE \xc3\xa4if = 2").is_conditional, false);
}
END_TEST

START_TEST(null_and_nul)
{
	struct statement_facts facts;

	statement_scan((struct strview){ NULL, 0 }, &facts);
	ck_assert_int_eq(facts.kind, STATEMENT_UNKNOWN);
	statement_scan((struct strview){ "SELECT\0a FROM t", 15 }, &facts);
	ck_assert_int_eq(facts.kind, STATEMENT_SELECT);
	ck_assert(sv_equal(statement_name_view(&facts.table), SV("t")));
}
END_TEST

START_TEST(system_keyspaces)
{
	static const char *const system[] = { "system",         "system_schema",
					      "system_auth",    "system_distributed",
					      "system_traces",  "system_views",
					      "system_metrics", "system_virtual_schema",
					      "dse_system",     "system_cluster_metadata",
					      "dse_perf" };
	static const char *const others[] = { "",           "syste",   "systems", "System",
					      "system_foo", "dse_foo", "dsefs",   "solr_admin" };

	for (size_t i = 0; i < ARRAY_LEN(system); i++)
		ck_assert_msg(statement_keyspace_is_system(sv_from(system[i])), "%s", system[i]);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		ck_assert_msg(!statement_keyspace_is_system(sv_from(others[i])), "%s", others[i]);
}
END_TEST

/* ---- tokens ---- */

/* One letter per kind: word, quoted, string, number, marker, symbol, bad. */
static void expect_tokens(const char *text, const char *kinds, const char *joined)
{
	static const char letters[] = {
		[TOKEN_WORD] = 'w',   [TOKEN_QUOTED] = 'q', [TOKEN_STRING] = 's', [TOKEN_NUMBER] = 'n',
		[TOKEN_MARKER] = 'm', [TOKEN_SYMBOL] = 'y', [TOKEN_BAD] = 'b'
	};
	struct scanner s;
	char got[100] = "";
	char got_joined[400] = "";

	scanner_init(&s, sv_from(text));
	for (;;) {
		struct token t = scanner_next(&s);

		if (t.kind == TOKEN_END)
			break;
		ck_assert_uint_lt(strlen(got), sizeof(got) - 1);
		got[strlen(got)] = letters[t.kind];
		ck_assert_ptr_eq(t.text.p, text + t.offset);
		ck_assert_uint_gt(t.text.len, 0);
		snprintf(got_joined + strlen(got_joined), sizeof(got_joined) - strlen(got_joined), "%s%.*s",
			 *got_joined ? "|" : "", SV_ARG(t.text));
	}
	ck_assert_str_eq(got, kinds);
	ck_assert_str_eq(got_joined, joined);
	ck_assert_int_eq(scanner_next(&s).kind, TOKEN_END);
}

START_TEST(tokens)
{
	expect_tokens("", "", "");
	expect_tokens(" \t\r\n", "", "");
	expect_tokens("a = 'it''s' AND b>=?", "wyswwym", "a|=|'it''s'|AND|b|>=|?");
	expect_tokens("a<=1 b!=2 c<>3 d==4", "wynwynwyynwyyn", "a|<=|1|b|!=|2|c|<|>|3|d|=|=|4");
	expect_tokens("\"a\"\"b\".c", "qyw", "\"a\"\"b\"|.|c");
	expect_tokens("$$a$b$$ $x", "syw", "$$a$b$$|$|x");
	expect_tokens(":name :\"Q\"\"n\" : x", "mmyw", ":name|:\"Q\"\"n\"|:|x");
	expect_tokens("{'a':1}", "ysyny", "{|'a'|:|1|}");
	expect_tokens("0xCAFE 1.5e-3 12 1h30m -4 1.x", "nnnnynnyw", "0xCAFE|1.5e-3|12|1h30m|-|4|1|.|x");
	expect_tokens("0xae-1", "nyn", "0xae|-|1");
	expect_tokens("a1b2c3d4-0000-1000-8000-00805f9b34fb", "n", "a1b2c3d4-0000-1000-8000-00805f9b34fb");
	expect_tokens("12345678-0000-1000-8000-00805F9B34FB)", "ny", "12345678-0000-1000-8000-00805F9B34FB|)");
	expect_tokens("a1b2c3d4-0000-1000-8000-00805f9b34fbx", "wynynynyn",
		      "a1b2c3d4|-|0000|-|1000|-|8000|-|00805f9b34fbx");
	expect_tokens("a--b\nc/*d*/e//f", "www", "a|c|e");
}
END_TEST

START_TEST(bad_tokens)
{
	expect_tokens("'abc", "b", "'abc");
	expect_tokens("a \"b\"\"", "wb", "a|\"b\"\"");
	expect_tokens("$$abc$", "b", "$$abc$");
	expect_tokens(":\"a", "b", ":\"a");
	expect_tokens("/* x *", "b", "/* x *");
	expect_tokens("/*/", "b", "/*/");
}
END_TEST

static struct token first_token(const char *text)
{
	struct scanner s;

	scanner_init(&s, sv_from(text));
	return scanner_next(&s);
}

START_TEST(token_helpers)
{
	struct statement_name name;
	char text[6];
	struct token t = first_token("SeLect x");

	ck_assert(token_is_keyword(&t, "SELECT"));
	ck_assert(!token_is_keyword(&t, "SELEC"));
	ck_assert(!token_is_keyword(&t, "SELECTS"));
	ck_assert(!token_is_symbol(&t, 'S'));
	ck_assert(token_name(&t, &name) && sv_equal(statement_name_view(&name), SV("select")));
	t = first_token("\"SELECT\"");
	ck_assert(!token_is_keyword(&t, "SELECT"));
	ck_assert(token_name(&t, &name) && sv_equal(statement_name_view(&name), SV("SELECT")));
	t = first_token("<=");
	ck_assert(!token_is_symbol(&t, '<'));
	ck_assert(!token_name(&t, &name));
	t = first_token("?");
	ck_assert(token_marker_name(&t, &name) && name.len == 0);
	t = first_token(":Port");
	ck_assert(token_marker_name(&t, &name) && sv_equal(statement_name_view(&name), SV("port")));
	t = first_token(":\"Po\"\"rt\"");
	ck_assert(token_marker_name(&t, &name) && sv_equal(statement_name_view(&name), SV("Po\"rt")));
	ck_assert(!token_string(&t, text, sizeof(text)));
	t = first_token("'a''b'");
	ck_assert(!token_marker_name(&t, &name));
	ck_assert(token_string(&t, text, sizeof(text)));
	ck_assert_str_eq(text, "a'b");
	t = first_token("'abcdefgh'");
	ck_assert(token_string(&t, text, sizeof(text)));
	ck_assert_str_eq(text, "abcde");
	t = first_token("$$a''$b$$");
	ck_assert(token_string(&t, text, sizeof(text)));
	ck_assert_str_eq(text, "a''$b");
	t = first_token("''");
	ck_assert(token_string(&t, text, sizeof(text)));
	ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("statement");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, statements);
	tcase_add_test(tcase, statements_cut);
	tcase_add_test(tcase, lines_end_with_either);
	tcase_add_test(tcase, from_offset);
	tcase_add_test(tcase, long_names);
	tcase_add_test(tcase, bytes_above_127);
	tcase_add_test(tcase, null_and_nul);
	tcase_add_test(tcase, system_keyspaces);
	tcase_add_test(tcase, tokens);
	tcase_add_test(tcase, bad_tokens);
	tcase_add_test(tcase, token_helpers);
	return run_tcase("statement", tcase);
}
