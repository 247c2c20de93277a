/* test_lua_request.c - what a hook sees of a request: each method, in the right place and in wrong ones. */
#include "engine_helper.h"

static int64_t token;
static bool has_token;

static bool token_of(void *arg, int64_t *out)
{
	ck_assert_ptr_eq(arg, &token);
	*out = token;
	return has_token;
}

static void begin(void)
{
	settings_begin();
}

static void end(void)
{
	settings_end();
}

/* A hook that denies with what this expression, or list of them, gives, in words. */
static void load_saying(const char *options, const char *expressions)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "local function say(...)\n"
		 "  local out = {}\n"
		 "  for i = 1, select('#', ...) do\n"
		 "    local v = select(i, ...)\n"
		 "    out[i] = type(v) == 'string' and '<' .. v .. '>' or tostring(v)\n"
		 "  end\n"
		 "  return table.concat(out, ' ')\n"
		 "end\n"
		 "proxy.on_request('x', { %s }, function(req) return req:deny('invalid', '%%s', say(%s)) end)",
		 options, expressions);
	load(text);
}

static const char *said(void)
{
	const char *p = explain();

	return strncmp(p, "x: denied (invalid): ", 21) == 0 ? p + 21 : p;
}

/* ---- the statement ---- */

START_TEST(kinds_and_verbs)
{
	static const struct {
		enum policy_kind kind;
		enum statement_kind verb;
		const char *text;
	} cases[] = {
		{ POLICY_READ, STATEMENT_SELECT, "<read> <select>" },
		{ POLICY_READ, STATEMENT_LIST, "<read> <list>" },
		{ POLICY_WRITE, STATEMENT_BATCH, "<write> <batch>" },
		{ POLICY_WRITE, STATEMENT_TRUNCATE, "<write> <truncate>" },
		{ POLICY_SCHEMA, STATEMENT_SCHEMA, "<schema> <schema>" },
		{ POLICY_SCHEMA, STATEMENT_ROLE, "<schema> <role>" },
		{ POLICY_USE, STATEMENT_USE, "<use> <use>" },
		{ POLICY_UNKNOWN, STATEMENT_UNKNOWN, "<unknown> <unknown>" },
	};

	load_saying("", "req:kind(), req:verb()");
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		ask_about(cases[i].kind, cases[i].verb, "ks.t", NULL);
		ck_assert_str_eq(said(), cases[i].text);
	}
}
END_TEST

START_TEST(the_only_table)
{
	load_saying("", "req:keyspace(), req:table()");
	ask_about(POLICY_READ, STATEMENT_SELECT, "Billing.my table", NULL);
	ck_assert_str_eq(said(), "<Billing> <my table>");
	ask_about(POLICY_READ, STATEMENT_SELECT, ".t", NULL);
	ck_assert_str_eq(said(), "nil <t>");
	ask_about(POLICY_USE, STATEMENT_USE, "ks.", NULL);
	ck_assert_str_eq(said(), "<ks> nil");
	ask_about(POLICY_READ, STATEMENT_LIST, NULL, NULL);
	ck_assert_str_eq(said(), "nil nil");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "ks.a", "ks.b");
	ck_assert_str_eq(said(), "<ks> nil");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "ks.a", "other.b");
	ck_assert_str_eq(said(), "nil nil");
	ask_about(POLICY_UNKNOWN, STATEMENT_BATCH, "ks.a", NULL);
	tables.is_incomplete = true;
	ck_assert_str_eq(said(), "nil nil");
}
END_TEST

START_TEST(all_tables)
{
	load("proxy.on_request('x', {}, function(req)\n"
	     "  local out = {}\n"
	     "  for name, keyspace, table in req:tables() do\n"
	     "    out[#out + 1] = name .. '(' .. tostring(keyspace) .. ',' .. tostring(table) .. ')'\n"
	     "  end\n"
	     "  return req:deny('invalid', '%s', table.concat(out, ' '))\n"
	     "end)");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "ks.a", "ks.b");
	ck_assert_str_eq(said(), "ks.a(ks,a) ks.b(ks,b)");
	ask_about(POLICY_READ, STATEMENT_SELECT, ".t", NULL);
	ck_assert_str_eq(said(), "t(nil,t)");
	ask_about(POLICY_SCHEMA, STATEMENT_SCHEMA, "ks.", NULL);
	ck_assert_str_eq(said(), "ks.*(ks,nil)");
	ask_about(POLICY_READ, STATEMENT_LIST, NULL, NULL);
	ck_assert_str_eq(said(), "");
}
END_TEST

START_TEST(names_as_long_as_they_get)
{
	char name[2 * STATEMENT_NAME_MAX + 2], expected[160];

	memset(name, 'k', sizeof(name));
	name[STATEMENT_NAME_MAX] = '.';
	name[sizeof(name) - 1] = 0;
	load_saying("", "(req:tables()())");
	ask_about(POLICY_READ, STATEMENT_SELECT, name, NULL);
	snprintf(expected, sizeof(expected), "<%s>", name);
	ck_assert_str_eq(said(), expected);
}
END_TEST

/* What is left of a longer one is not taken for another table's name. */
START_TEST(names_that_do_not_fit)
{
	load_saying("", "req:keyspace(), req:table(), (req:tables()())");
	ask_about(POLICY_WRITE, STATEMENT_INSERT, "ks.long", NULL);
	tables.items[0].table.is_cut = true;
	ck_assert_str_eq(said(), "<ks> nil <ks.*>");
}
END_TEST

START_TEST(loops_over_tables_may_be_nested)
{
	load("proxy.on_request('x', {}, function(req)\n"
	     "  local n = 0\n"
	     "  for a in req:tables() do for b in req:tables() do n = n + 1 end end\n"
	     "  return req:deny('invalid', '%d', n)\n"
	     "end)");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "ks.a", "ks.b");
	ck_assert_str_eq(said(), "4");
}
END_TEST

START_TEST(system_tables)
{
	load_saying("", "req:is_system()");
	ask_read();
	ck_assert_str_eq(said(), "false");
	question.is_system = true;
	ck_assert_str_eq(said(), "true");
}
END_TEST

/* ---- the request ---- */

START_TEST(the_request)
{
	load_saying("", "req:opcode(), req:consistency(), req:is_prepared(), req:size()");
	ask_read();
	ck_assert_str_eq(said(), "<QUERY> <LOCAL_QUORUM> false 100");
	question.opcode = OP_EXECUTE;
	question.is_prepared = true;
	question.consistency = CL_ONE;
	question.size = UINT32_MAX;
	ck_assert_str_eq(said(), "<EXECUTE> <ONE> true 4294967295");
	question.opcode = OP_BATCH;
	question.consistency = CL_ANY;
	ck_assert_str_eq(said(), "<BATCH> <ANY> true 4294967295");
	/* No level that the protocol knows. */
	question.consistency = CL_LOCAL_ONE + 1;
	ck_assert_str_eq(said(), "<BATCH> nil true 4294967295");
	question.consistency = 0xFFFF;
	ck_assert_str_eq(said(), "<BATCH> nil true 4294967295");
}
END_TEST

START_TEST(the_client)
{
	load_saying("", "req:user(), req:client_addr(), req:client_driver(), req:client_driver_version()");
	ask_read();
	ck_assert_str_eq(said(), "<ann> <10.0.0.1> <a driver> <4.2>");
	client = (struct policy_client){ .address = SV("::1") };
	ck_assert_str_eq(said(), "nil <::1> nil nil");
	question.client = NULL;
	ck_assert_str_eq(said(), "nil nil nil nil");
}
END_TEST

/* ---- buckets ---- */

START_TEST(buckets_of_keys)
{
	char first[128];

	load_saying("", "req:key_bucket(1000), req:key_bucket(1), req:key_bucket(1000000000)");
	ask_read();
	ck_assert_str_eq(said(), "nil nil nil");
	question.token = token_of;
	question.arg = &token;
	ck_assert_str_eq(said(), "nil nil nil");
	has_token = true;
	token = 0;
	ck_assert_str_eq(said(), "0 0 0");
	/* Scripts, and copies of rows made by them, rely on these: they never change. */
	token = 1;
	ck_assert_str_eq(said(), "604 0 227106604");
	token = -1;
	snprintf(first, sizeof(first), "%.120s", said());
	token = INT64_MAX;
	ck_assert_str_ne(said(), first);
	token = -1;
	ck_assert_str_eq(said(), first);
}
END_TEST

/* Tokens of which all end alike, or that are close together: a share of the buckets is a share of them all the same. */
START_TEST(buckets_are_even)
{
	static const struct {
		int64_t first, step;
	} rows[] = { { 0, 1 }, { 0, 1000 }, { INT64_MIN, INT64_C(1) << 40 }, { -5000, 7 }, { 12345, 1 << 20 } };

	load("proxy.on_request('x', {}, function(req) if req:key_bucket(100) < 10 then return 'target' end end)");
	ask_read();
	question.token = token_of;
	question.arg = &token;
	has_token = true;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned hits = 0;

		for (int64_t n = 0; n < 10000; n++) {
			token = rows[i].first + n * rows[i].step;
			hits += strcmp(decide(), "target") == 0;
		}
		/* 1000, with a deviation of 30. */
		ck_assert_uint_ge(hits, 880);
		ck_assert_uint_le(hits, 1120);
	}
}
END_TEST

START_TEST(buckets_of_clients)
{
	char first[128];

	load_saying("", "req:client_bucket(1000000), req:client_bucket(1)");
	ask_read();
	snprintf(first, sizeof(first), "%.120s", said());
	ck_assert_str_eq(said(), first);
	client.user = SV("bob");
	ck_assert_str_ne(said(), first);
	client.user = SV("ann");
	ck_assert_str_eq(said(), first);
	client.address = SV("10.0.0.2");
	ck_assert_str_ne(said(), first);
	/* Nothing is known: one bucket for all of those. */
	question.client = NULL;
	snprintf(first, sizeof(first), "%.120s", said());
	ck_assert_str_eq(said(), first);
}
END_TEST

START_TEST(wrong_numbers_of_buckets)
{
	static const char *const wrong[] = { "", "0", "-1", "1.5", "1e10", "0/0", "'10'", "nil", "{}" };
	char call[64], expected[128];

	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(call, sizeof(call), "req:key_bucket(%s)", wrong[i]);
		load_saying("", call);
		ask_read();
		snprintf(expected, sizeof(expected), "req:key_bucket(n): n is a whole number from 1 to 1000000000");
		ck_assert_msg(strstr(said(), expected) != NULL, "%s: %s", wrong[i], said());
		snprintf(call, sizeof(call), "req:client_bucket(%s)", wrong[i]);
		load_saying("", call);
		ck_assert_msg(strstr(said(), "req:client_bucket(n): n is a whole number") != NULL, "%s: %s", wrong[i],
			      said());
	}
}
END_TEST

/* ---- denials ---- */

static const char *denied_by(const char *arguments)
{
	char text[256];

	snprintf(text, sizeof(text), "proxy.on_request('x', {}, function(req) return req:deny(%s) end)", arguments);
	load(text);
	ask_read();
	return decide();
}

START_TEST(denials)
{
	ck_assert_str_eq(denied_by("'unauthorized', 'no'"), "UNAUTHORIZED: no");
	ck_assert_str_eq(denied_by("'invalid', '%s has %d', 'it', 7"), "INVALID: it has 7");
	ck_assert_str_eq(denied_by("'overloaded', '100%%'"), "OVERLOADED: 100%");
	ck_assert_str_eq(denied_by("'server_error', ''"), "SERVER_ERROR: ");
	ck_assert_str_eq(denied_by("'config_error', 'c'"), "CONFIG_ERROR: c");
	ck_assert_str_eq(denied_by("'syntax_error', 's'"), "SYNTAX_ERROR: s");
	/* Cut, and no more than a text. */
	ck_assert_uint_eq(strlen(denied_by("'invalid', '%s', ('x'):rep(5000)")), 9 + LUA_DENIAL_TEXT_MAX - 1);
	ck_assert_str_eq(denied_by("'invalid', 'a\\0b'"), "INVALID: a");
	/* UTF-8, also where it is cut and where the script's text is not. */
	ck_assert_str_eq(denied_by("'invalid', '\303\244\342\202\254\360\237\231\202'"),
			 "INVALID: \303\244\342\202\254\360\237\231\202");
	ck_assert_str_eq(denied_by("'invalid', 'a\\255b\\195 \\237\\160\\128'"), "INVALID: a?b? ???");
	ck_assert_uint_eq(strlen(denied_by("'invalid', '%s', ('\303\244'):rep(5000)")), 9 + LUA_DENIAL_TEXT_MAX - 2);
}
END_TEST

START_TEST(wrong_denials)
{
	static const struct {
		const char *arguments, *reason;
	} cases[] = {
		{ "", "req:deny(code, ...): the code is one of unauthorized, invalid, overloaded, server_error, "
		      "config_error, syntax_error, not no value" },
		{ "'no'", "syntax_error, not no" },
		{ "7, 'x'", "syntax_error, not number" },
		{ "'invalid'", "req:deny(code, format, ...): the format is a string, not a no value" },
		{ "'invalid', 7", "the format is a string, not a number" },
		{ "'invalid', '%d', 'x'", "bad argument" },
		{ "'invalid', '%y'", "invalid" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_str_eq(denied_by(cases[i].arguments), "nothing");
		ck_assert_msg(strstr(explain(), cases[i].reason) != NULL, "%s: %s", cases[i].arguments, words);
	}
}
END_TEST

/* ---- when it may be used ---- */

static const char *const methods[] = {
	"kind",
	"verb",
	"keyspace",
	"table",
	"tables",
	"opcode",
	"consistency",
	"user",
	"client_addr",
	"client_driver",
	"client_driver_version",
	"is_prepared",
	"is_system",
	"size",
	"key_bucket",
	"client_bucket",
	"deny",
};

START_TEST(not_behind_the_hook)
{
	char text[512], expected[128];

	for (unsigned i = 0; i < ARRAY_LEN(methods); i++) {
		snprintf(text, sizeof(text),
			 "local kept\n"
			 "proxy.on_request('x', {}, function(req)\n"
			 "  kept = req\n"
			 "end)\n"
			 "proxy.on_tick(1, function() kept:%s('invalid', 'x') end)",
			 methods[i]);
		load(text);
		ask_read();
		ck_assert_str_eq(decide(), "nothing");
		snprintf(expected, sizeof(expected), "req:%s() was called when no hook runs", methods[i]);
		ck_assert_msg(strstr(tick_error(0), expected) != NULL, "%s", error);
	}
}
END_TEST

START_TEST(called_with_a_dot)
{
	char text[256], expected[128];

	for (unsigned i = 0; i < ARRAY_LEN(methods); i++) {
		for (unsigned n = 0; n < 2; n++) {
			snprintf(text, sizeof(text), "proxy.on_request('x', {}, function(req) req.%s(%s) end)",
				 methods[i], n ? "proxy.counter('c')" : "");
			load(text);
			ask_read();
			snprintf(expected, sizeof(expected), "req:%s() is called with a colon", methods[i]);
			ck_assert_msg(strstr(explain(), expected) != NULL, "%s", words);
		}
	}
}
END_TEST

START_TEST(iterators_end_with_their_hook)
{
	load("local kept\n"
	     "proxy.on_request('x', {}, function(req)\n"
	     "  if kept then return kept() end\n"
	     "  kept = req:tables()\n"
	     "end)");
	ask_read();
	ck_assert_str_eq(explain(), "x: no opinion");
	ck_assert_ptr_nonnull(strstr(explain(), "an iterator of req:tables() was called when its hook had returned"));
}
END_TEST

START_TEST(the_object_cannot_be_changed)
{
	static const struct {
		const char *body, *reason;
	} cases[] = {
		{ "req.kind = nil", "req cannot be changed" },
		{ "req.x = 1", "req cannot be changed" },
		{ "getmetatable(req).__index = nil", "attempt to index" },
		{ "setmetatable(req, {})", "bad argument" },
		{ "return req.x.y", "attempt to index" },
		{ "req:no_such()", "attempt to call method 'no_such'" },
	};
	char text[256];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "proxy.on_request('x', {}, function(req) %s end)", cases[i].body);
		load(text);
		ask_read();
		ck_assert_msg(strstr(explain(), cases[i].reason) != NULL, "%s: %s", cases[i].body, words);
	}
}
END_TEST

/* ---- scopes ---- */

START_TEST(what_is_kept_depends_on_the_statement_only)
{
	static const struct {
		const char *call;
		bool is_of_statement;
	} cases[] = {
		{ "req:kind()", true },
		{ "req:verb()", true },
		{ "req:keyspace()", true },
		{ "req:table()", true },
		{ "req:tables()", true },
		{ "req:is_system()", true },
		{ "req:deny('invalid', 'x')", true },
		{ "req:opcode()", false },
		{ "req:consistency()", false },
		{ "req:user()", false },
		{ "req:client_addr()", false },
		{ "req:client_driver()", false },
		{ "req:client_driver_version()", false },
		{ "req:is_prepared()", false },
		{ "req:size()", false },
		{ "req:key_bucket(9)", false },
		{ "req:client_bucket(9)", false },
		{ "proxy.time()", false },
		{ "proxy.rate('x', 1)", false },
		{ "counter:add()", false },
		{ "counter:inc()", false },
	};
	char text[256], name[64], expected[256];

	for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		const char *scope = i % 2 ? "table" : "statement";

		snprintf(text, sizeof(text),
			 "local counter = proxy.counter('c')\n"
			 "proxy.on_request('x', { scope = '%s' }, function(req) %s; return 'both' end)",
			 scope, cases[i / 2].call);
		load(text);
		ask_read();
		if (cases[i / 2].is_of_statement) {
			ck_assert_str_eq(explain(), "x: both");
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(cases[i / 2].call, "("), cases[i / 2].call);
		snprintf(expected, sizeof(expected), "%s() cannot be used in the hook 'x', whose scope is \"%s\"", name,
			 scope);
		ck_assert_msg(strstr(explain(), expected) != NULL, "%s\n%s", expected, words);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lua_request");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	log_set_level(LOG_ERROR);
	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, kinds_and_verbs);
	tcase_add_test(t, the_only_table);
	tcase_add_test(t, all_tables);
	tcase_add_test(t, names_as_long_as_they_get);
	tcase_add_test(t, names_that_do_not_fit);
	tcase_add_test(t, loops_over_tables_may_be_nested);
	tcase_add_test(t, system_tables);
	tcase_add_test(t, the_request);
	tcase_add_test(t, the_client);
	tcase_add_test(t, buckets_of_keys);
	tcase_add_test(t, buckets_are_even);
	tcase_add_test(t, buckets_of_clients);
	tcase_add_test(t, wrong_numbers_of_buckets);
	tcase_add_test(t, denials);
	tcase_add_test(t, wrong_denials);
	tcase_add_test(t, not_behind_the_hook);
	tcase_add_test(t, called_with_a_dot);
	tcase_add_test(t, iterators_end_with_their_hook);
	tcase_add_test(t, the_object_cannot_be_changed);
	tcase_add_test(t, what_is_kept_depends_on_the_statement_only);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
