/* test_lua_engine.c - hooks of scripts: which are asked when, what counts, and what comes of errors. */
#include "engine_helper.h"

static void begin(void)
{
	settings_begin();
}

static void end(void)
{
	settings_end();
}

/* A script with a hook "x" of these options and this body. */
static const char *hook(const char *options, const char *body)
{
	static char text[2048];

	snprintf(text, sizeof(text), "proxy.on_request('x', { %s }, function(req) %s end)", options, body);
	return text;
}

/* ---- loading ---- */

START_TEST(no_scripts_no_engine)
{
	ck_assert(lua_engine_new(&proxy, &settings, 0, &engine, error, sizeof(error)));
	ck_assert_ptr_null(engine);
}
END_TEST

START_TEST(wrong_registrations_do_not_load)
{
#define SAYS(text) "SCRIPT:1: proxy.on_request" text
	static const struct {
		const char *script, *reason;
	} cases[] = {
		{ "proxy.on_request()", SAYS(": the first argument is the hook's name, a string, not a no value") },
		{ "proxy.on_request(7, {}, print)", SAYS(": the first argument is the hook's name") },
		{ "proxy.on_request('on_tick', type)", SAYS(": 'on_tick' is what ticks are counted as") },
		{ "proxy.on_request('', {}, type)", SAYS(": a hook's name has 1 to 64 characters, this one has 0") },
		{ "proxy.on_request(('n'):rep(65), {}, type)", SAYS(": a hook's name has 1 to 64 characters") },
		{ "proxy.on_request('a\\nb', {}, type)", SAYS(": a hook's name has printable ASCII characters") },
		{ "proxy.on_request('x', 'read', type)", SAYS(": the second argument is a table of options") },
		{ "proxy.on_request('x', {})", SAYS(": the last argument is the hook's function, not a no value") },
		{ "proxy.on_request('x', {}, 'f')", SAYS(": the last argument is the hook's function, not a string") },
		{ "proxy.on_request('x', {}, type, 1)", SAYS(" takes three arguments") },
		{ "proxy.on_request('x', { kind = 'read' }, type)",
		  SAYS(": there is no 'kind'; there are kinds, keyspaces, tables, users, opcodes, scope, on_error") },
		{ "proxy.on_request('x', { 'read' }, type)", SAYS(": a number as a key; keys are names") },
		{ "proxy.on_request('x', { kinds = 'reads' }, type)",
		  SAYS(": kinds: 'reads' is none of read, write, schema, use, unknown") },
		{ "proxy.on_request('x', { kinds = '' }, type)", SAYS(": kinds has an empty word") },
		{ "proxy.on_request('x', { kinds = 'read,,write' }, type)", SAYS(": kinds has an empty word") },
		{ "proxy.on_request('x', { kinds = {} }, type)", SAYS(": kinds is empty") },
		{ "proxy.on_request('x', { kinds = 3 }, type)",
		  SAYS(": kinds has to be a string or a list of strings, not a number") },
		{ "proxy.on_request('x', { kinds = { read = true } }, type)",
		  SAYS(": kinds has to be a list of strings, but it has a boolean under a string") },
		{ "proxy.on_request('x', { kinds = { 'read', 7 } }, type)",
		  SAYS(": kinds has to be a list of strings, but it has a number under a number") },
		{ "proxy.on_request('x', { kinds = { [1] = 'read', [9] = 'use' } }, type)",
		  SAYS(": kinds is no list: it has gaps") },
		{ "proxy.on_request('x', { opcodes = 'PREPARE' }, type)",
		  SAYS(": opcodes: 'PREPARE' is none of QUERY, EXECUTE, BATCH") },
		{ "proxy.on_request('x', { tables = 'invoices' }, type)",
		  SAYS(": tables: 'invoices' is not of the form keyspace.table") },
		{ "proxy.on_request('x', { tables = 'ks.' .. ('t'):rep(65) }, type)",
		  SAYS(": tables: 'ks.ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt' has a name of "
		       "more than 64 bytes") },
		{ "proxy.on_request('x', { keyspaces = ('k'):rep(65) }, type)",
		  SAYS(": keyspaces: 'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk' has a name of "
		       "more than 64 bytes") },
		{ "proxy.on_request('x', { scope = 'tables' }, type)",
		  SAYS(": scope: 'tables' is none of table, statement, request") },
		{ "proxy.on_request('x', { on_error = true }, type)",
		  SAYS(": on_error: boolean is none of pass, deny") },
		{ "proxy.on_request('x', { scope = 'table', users = 'ann' }, type)",
		  SAYS(": users: what a hook of scope \"table\" says") },
		{ "proxy.on_request('x', { scope = 'statement', opcodes = 'BATCH' }, type)",
		  SAYS(": opcodes: what a hook of scope \"statement\" says") },
		{ "local filter = setmetatable({}, { __index = function() proxy.on_request('y', type) end }) "
		  "proxy.on_request('x', filter, type)",
		  SAYS(": a table without a metatable is needed") },
		{ "proxy.on_request('x', type)\nproxy.on_request('x', type)",
		  "SCRIPT:2: proxy.on_request: there is a hook 'x' already, at SCRIPT:1" },
		{ "for i = 1, 65 do proxy.on_request('h' .. i, type) end",
		  SAYS(": there are 64 hooks already, and there cannot be more") },
		{ "pcall(proxy.on_request, 'x', { users = 'ann', kinds = 'no' }, type) error('end', 0)",
		  "SCRIPT: end" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		load_fails(cases[i].script, cases[i].reason);
}
END_TEST

START_TEST(a_failed_registration_leaves_nothing)
{
	load("local ok = pcall(proxy.on_request, 'x', { users = 'ann', kinds = 'no' }, type)\n"
	     "assert(not ok)\n"
	     "proxy.on_request('x', {}, function() return 'target' end)");
	ask_read();
	client.user = SV("bob");
	ck_assert_str_eq(decide(), "target");
	ck_assert_uint_eq(engine->hook_count, 1);
}
END_TEST

START_TEST(sixty_four_hooks_are_asked_in_order)
{
	load("for i = 1, 64 do\n"
	     "  proxy.on_request('h' .. i, { kinds = i == 64 and 'write' or 'read' }, function(req)\n"
	     "    if i == 63 then return 'target' elseif i == 64 then return 'origin' end\n"
	     "  end)\n"
	     "end");
	ck_assert_uint_eq(engine->hook_count, 64);
	ask_read();
	ck_assert_str_eq(decide(), "target");
	ck_assert_uint_eq(opinion.hook, 62);
	ask_about(POLICY_WRITE, STATEMENT_INSERT, "ks.t", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), UINT64_C(1) << 63);
}
END_TEST

/* ---- filters ---- */

START_TEST(kinds_and_keyspaces_and_tables)
{
	load("proxy.on_request('kinds', { kinds = { 'use', 'schema' } }, function() return 'origin' end)\n"
	     "proxy.on_request('keyspaces', { keyspaces = 'a, b' }, function() return 'target' end)\n"
	     "proxy.on_request('tables', { tables = 'c.t, c.u', kinds = 'read,write' }, function() return 'both' end)");
	ask_about(POLICY_USE, STATEMENT_USE, "x.", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 1);
	ask_about(POLICY_READ, STATEMENT_SELECT, "b.t", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 2);
	ask_about(POLICY_READ, STATEMENT_SELECT, "B.t", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	ask_about(POLICY_READ, STATEMENT_SELECT, ".t", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	ask_about(POLICY_READ, STATEMENT_SELECT, "c.u", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 4);
	ask_about(POLICY_READ, STATEMENT_SELECT, "c.v", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	/* Of a batch one table is enough. */
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "x.t", "a.t");
	ck_assert_uint_eq(plan(SCOPE_TABLE), 2);
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "c.u", "a.t");
	ck_assert_uint_eq(plan(SCOPE_TABLE), 6);
	ask_about(POLICY_READ, STATEMENT_LIST, NULL, NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
}
END_TEST

START_TEST(a_dropped_keyspace_is_about_its_tables)
{
	load(hook("tables = 'shop.orders'", "return 'target'"));
	ask_about(POLICY_SCHEMA, STATEMENT_SCHEMA, "shop.", NULL);
	ck_assert_str_eq(decide_among(plan(SCOPE_TABLE)), "target");
	ask_about(POLICY_SCHEMA, STATEMENT_SCHEMA, "shopping.", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	ask_about(POLICY_USE, STATEMENT_USE, "shop.", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
}
END_TEST

START_TEST(what_is_not_understood_passes_a_filter_that_denies)
{
	load("proxy.on_request('passes', { keyspaces = 'a' }, function() return 'target' end)\n"
	     "proxy.on_request('denies', { keyspaces = 'a', on_error = 'deny' }, function() return 'origin' end)\n"
	     "proxy.on_request('kinds', { kinds = 'write', on_error = 'deny' }, function() return 'origin' end)");
	ask_about(POLICY_UNKNOWN, STATEMENT_UNKNOWN, NULL, NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 2);
	ask_about(POLICY_UNKNOWN, STATEMENT_BATCH, "b.t", NULL);
	tables.is_incomplete = true;
	ck_assert_uint_eq(plan(SCOPE_TABLE), 2);
}
END_TEST

START_TEST(users_and_opcodes_are_looked_at_per_request)
{
	load("proxy.on_request('users', { users = { 'ann', 'bob' } }, function() return 'target' end)\n"
	     "proxy.on_request('opcodes', { opcodes = 'execute, BATCH' }, function() return 'origin' end)");
	ask_read();
	ck_assert_uint_eq(plan(SCOPE_REQUEST), 0);
	ck_assert_uint_eq(plan(SCOPE_STATEMENT), 3);
	ck_assert_str_eq(decide(), "target");
	client.user = SV("Ann");
	ck_assert_str_eq(decide(), "nothing");
	question.client = NULL;
	ck_assert_str_eq(decide(), "nothing");
	question.opcode = OP_EXECUTE;
	ck_assert_str_eq(decide(), "origin");
	question.opcode = OP_BATCH;
	ck_assert_str_eq(decide(), "origin");
	ck_assert_str_eq(decide_among(1), "nothing");
}
END_TEST

/* ---- plans ---- */

START_TEST(a_kept_opinion_behind_and_before_those_of_requests)
{
	load("asked = proxy.counter('asked')\n"
	     "proxy.on_request('request 1', function(req) if req:user() == 'ann' then return 'origin' end end)\n"
	     "proxy.on_request('table', { scope = 'table' }, function(req) return 'target' end)\n"
	     "proxy.on_request('request 2', function(req) return 'both' end)\n"
	     "proxy.on_request('statement', { scope = 'statement' }, function(req) return 'origin' end)");
	ask_read();
	/* Behind a kept opinion nobody is asked; before it, each request asks. */
	ck_assert_uint_eq(plan(SCOPE_TABLE), 1);
	ck_assert_str_eq(opinion_text(), "target");
	ck_assert_uint_eq(opinion.hook, 1);
	ck_assert_str_eq(decide_among(1), "origin");
	client.user = SV("bob");
	ck_assert_str_eq(decide_among(1), "nothing");
}
END_TEST

START_TEST(a_statement_is_asked_for_when_it_is_kept)
{
	load("proxy.on_request('request', function(req) end)\n"
	     "proxy.on_request('statement', { scope = 'statement' }, function(req) return 'target' end)\n"
	     "proxy.on_request('table', { scope = 'table' }, function(req) return 'origin' end)");
	ask_read();
	ck_assert_uint_eq(plan(SCOPE_TABLE), 3);
	ck_assert_str_eq(opinion_text(), "origin");
	ck_assert_uint_eq(engine->ops->plan(engine, &question, 3, SCOPE_STATEMENT, &opinion), 1);
	ck_assert_str_eq(opinion_text(), "target");
	/* What is not prepared asks for each request. */
	ck_assert_str_eq(decide_among(3), "target");
}
END_TEST

START_TEST(no_opinion_of_a_table_is_kept_too)
{
	load(hook("scope = 'table'", "if req:table() == 'u' then return 'target' end"));
	ask_read();
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	ck_assert_str_eq(opinion_text(), "nothing");
	ask_about(POLICY_READ, STATEMENT_SELECT, "ks.u", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	ck_assert_str_eq(opinion_text(), "target");
	ck_assert_int_eq(counter("policy_hook_calls_total", "hook=\"x\""), 2);
}
END_TEST

START_TEST(kept_denials_live_as_long_as_the_engine)
{
	const struct policy_denial *first;

	load(hook("scope = 'table'", "return req:deny('invalid', 'not %s', req:table())"));
	ask_read();
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	first = opinion.denial;
	ck_assert_str_eq(opinion_text(), "INVALID: not t");
	ask_about(POLICY_READ, STATEMENT_SELECT, "ks.u", NULL);
	ck_assert_uint_eq(plan(SCOPE_TABLE), 0);
	ck_assert_str_eq(opinion_text(), "INVALID: not u");
	ck_assert_str_eq(first->text, "not t");
	ask_read();
	(void)plan(SCOPE_TABLE);
	ck_assert_ptr_eq(opinion.denial, first);
}
END_TEST

START_TEST(too_many_kept_denials_are_asked_per_request)
{
	char name[32];
	unsigned kept = 0;

	load(hook("scope = 'table'", "return req:deny('invalid', 'not %s', req:table())"));
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "ks.t%u", i);
		ask_about(POLICY_READ, STATEMENT_SELECT, name, NULL);
		if (plan(SCOPE_TABLE) == 0) {
			ck_assert_ptr_nonnull(opinion.denial);
			kept++;
		} else {
			ck_assert_ptr_null(opinion.denial);
			ck_assert_ptr_nonnull(strstr(decide(), "INVALID: not t"));
		}
	}
	ck_assert_uint_eq(kept, 256);
}
END_TEST

START_TEST(errors_are_not_kept)
{
	load("local n = 0\n"
	     "proxy.on_request('x', { scope = 'table', on_error = 'deny' }, function(req)\n"
	     "  n = n + 1\n"
	     "  if n <= 2 then error('not yet') end\n"
	     "  return 'target'\n"
	     "end)\n"
	     "proxy.on_request('y', { scope = 'table' }, function(req) return 'origin' end)");
	ask_read();
	ck_assert_uint_eq(plan(SCOPE_TABLE), 1);
	ck_assert_str_eq(opinion_text(), "origin");
	ck_assert_str_eq(decide_among(1), "UNAUTHORIZED: denied: the hook 'x' failed");
	ck_assert_str_eq(decide_among(1), "target");
}
END_TEST

START_TEST(hooks_of_tables_are_asked_about_each_of_a_batch)
{
	load("local n = 0\n"
	     "proxy.on_request('x', { scope = 'table', kinds = 'write' }, function(req)\n"
	     "  n = n + 1\n"
	     "  if n == 1 then error('so that it is asked per request') end\n"
	     "  if req:table() == 'frozen' then return req:deny('unauthorized', '%s is frozen', req:table()) end\n"
	     "  if req:keyspace() == 'a' then return 'target' end\n"
	     "end)");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "a.t", "a.u");
	ck_assert_uint_eq(plan(SCOPE_TABLE), 1);
	ck_assert_str_eq(decide(), "target");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "b.t", "b.u");
	ck_assert_str_eq(decide(), "nothing");
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "a.t", "b.u");
	ck_assert_str_eq(decide(), "target"); /* of one of them; for the other one policy.c asks the rules */
	ck_assert_uint_eq(opinion.tables, 1);
	ask_about(POLICY_WRITE, STATEMENT_BATCH, "a.t", "b.frozen");
	ck_assert_str_eq(decide(), "UNAUTHORIZED: frozen is frozen");
}
END_TEST

/* ---- what hooks return ---- */

START_TEST(results)
{
	static const struct {
		const char *body, *says;
	} cases[] = {
		{ "", "x: no opinion" },
		{ "return nil", "x: no opinion" },
		{ "return 'origin'", "x: origin" },
		{ "return 'tar' .. 'get'", "x: target" },
		{ "return 'both'", "x: both" },
		{ "return 'mirror'", "x: mirror" },
		{ "return 'target', 'origin'", "x: target" },
		{ "return 'Target'", "x: error: it returned 'Target', which is no route: \"origin\"" },
		{ "req:deny('invalid', 'no')", "x: error: it called req:deny() and returned nothing" },
		{ "return false", "x: error: it returned a boolean: nil, a route, or what req:deny() returns" },
		{ "return 1", "x: error: it returned a number" },
		{ "return {}", "x: error: it returned a table" },
		{ "return req", "x: error: it returned a userdata" },
		{ "return proxy", "x: error: it returned a table" },
		{ "return req:deny('invalid', 'no')", "x: denied (invalid): no" },
		{ "req:deny('invalid', 'no') return 'target'", "x: target" },
		{ "error('oh')", "x: error: " },
		{ "error({})", "x: error: (the error is no text but a value of type table)" },
		{ "while true do end", "x: error: " },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		load(hook("", cases[i].body));
		ask_read();
		ck_assert_msg(strncmp(explain(), cases[i].says, strlen(cases[i].says)) == 0, "%s: %s", cases[i].body,
			      words);
	}
}
END_TEST

START_TEST(a_denial_of_an_earlier_request_is_an_error)
{
	load("local kept\n"
	     "proxy.on_request('x', {}, function(req)\n"
	     "  if not kept then kept = req:deny('invalid', 'first') return kept end\n"
	     "  return kept\n"
	     "end)");
	ask_read();
	ck_assert_str_eq(decide(), "INVALID: first");
	ck_assert_str_eq(explain(), "x: error: it returned what req:deny() had given for an earlier request");
}
END_TEST

START_TEST(only_reads_are_mirrored)
{
	load(hook("on_error = 'deny'", "return 'mirror'"));
	ck_assert(engine->may_mirror);
	ask_read();
	ck_assert_str_eq(decide(), "mirror");
	ck_assert(opinion.route->mirror);
	ck_assert_uint_eq(opinion.route->to, TO_ORIGIN);
	ask_about(POLICY_WRITE, STATEMENT_UPDATE, "ks.t", NULL);
	ck_assert_str_eq(decide(), "UNAUTHORIZED: denied: the hook 'x' failed");
	ck_assert_str_eq(explain(), "x: error: it returned the route 'mirror', but only reads can be mirrored, not "
				    "kind 'write'");
	load(hook("kinds = 'write'", ""));
	ck_assert(!engine->may_mirror);
}
END_TEST

START_TEST(words_follow_the_primary)
{
	settings.primary = CLUSTER_TARGET;
	load("local r = { 'mirror', 'both' }\n"
	     "proxy.on_request('x', {}, function(req) return req:table() == 't' and r[1] or r[2] end)");
	ask_read();
	ck_assert_str_eq(decide(), "mirror");
	ck_assert_uint_eq(opinion.route->to, TO_TARGET);
	ck_assert_uint_eq(opinion.route->answer_from, CLUSTER_TARGET);
	ask_about(POLICY_READ, STATEMENT_SELECT, "ks.u", NULL);
	ck_assert_str_eq(decide(), "both");
	ck_assert_uint_eq(opinion.route->answer_from, CLUSTER_TARGET);
}
END_TEST

/* ---- errors ---- */

START_TEST(errors_are_counted_by_reason)
{
	load("proxy.on_request('throws', { kinds = 'read' }, function() error('oh') end)\n"
	     "proxy.on_request('loops', { kinds = 'write' }, function() while true do end end)\n"
	     "proxy.on_request('hogs', { kinds = 'use' }, function()\n"
	     "  local t = {} for i = 1, 1e9 do t[i] = { i } end\n"
	     "end)");
	ask_read();
	ck_assert_str_eq(decide_among(1), "nothing");
	ck_assert_int_eq(counter("policy_hook_errors_total", "hook=\"throws\",reason=\"error\""), 1);
	(void)decide_among(2);
	ck_assert_int_eq(counter("policy_hook_errors_total", "hook=\"loops\",reason=\"time\""), 1);
	settings.lua.time_limit_us = 2000000;
	settings.lua.memory_limit = 1 << 20;
	load(hook("", "local t = {} for i = 1, 1e9 do t[i] = { i } end"));
	(void)decide();
	ck_assert_int_eq(counter("policy_hook_errors_total", "hook=\"x\",reason=\"memory\""), 1);
	ck_assert_int_eq(counter("policy_hook_errors_total", "hook=\"x\",reason=\"error\""), 0);
}
END_TEST

START_TEST(on_error_decides)
{
	load("proxy.on_request('passes', { on_error = 'pass' }, function() error('oh') end)\n"
	     "proxy.on_request('denies', { on_error = 'deny' }, function() error('oh') end)\n"
	     "proxy.on_request('last', {}, function() return 'target' end)");
	ask_read();
	ck_assert_str_eq(decide(), "UNAUTHORIZED: denied: the hook 'denies' failed");
	ck_assert_uint_eq(opinion.hook, 1);
	engine->ops->denied(engine, opinion.hook);
	ck_assert_int_eq(counter("policy_denials_total", "hook=\"denies\""), 1);
	ck_assert_str_eq(decide_among(5), "target");
	ck_assert_ptr_nonnull(strstr(explain(), "denies: error: "));
}
END_TEST

START_TEST(too_many_errors_switch_a_hook_off)
{
	settings.lua.fail_limit = 3;
	load("local n = 0\n"
	     "proxy.on_request('passes', {}, function()\n"
	     "  n = n + 1\n"
	     "  if n <= 3 then error('oh') end\n"
	     "  return 'target'\n"
	     "end)");
	ask_read();
	for (unsigned i = 0; i < 6; i++)
		ck_assert_str_eq(decide(), "nothing");
	ck_assert_int_eq(counter("policy_hook_calls_total", "hook=\"passes\""), 3);
	ck_assert_int_eq(counter("policy_hook_off", "hook=\"passes\""), 1);
}
END_TEST

START_TEST(a_hook_that_denies_denies_when_it_is_off)
{
	settings.lua.fail_limit = 2;
	load("local n = 0\n"
	     "proxy.on_request('denies', { on_error = 'deny', users = 'ann', scope = 'request' }, function()\n"
	     "  n = n + 1\n"
	     "  if n <= 2 then error('oh') end\n"
	     "  return 'target'\n"
	     "end)");
	ask_read();
	for (unsigned i = 0; i < 6; i++)
		ck_assert_str_eq(decide(), "UNAUTHORIZED: denied: the hook 'denies' failed");
	client.user = SV("bob");
	ck_assert_str_eq(decide(), "nothing");
	ck_assert_int_eq(counter("policy_hook_off", "hook=\"denies\""), 1);
	/* Plans that are made meanwhile know it. */
	ck_assert_uint_eq(plan(SCOPE_REQUEST), 1);
	/* New scripts, new luck. */
	load("proxy.on_request('denies', {}, function() return 'target' end)");
	engine->ops->start(engine, NULL);
	ck_assert_int_eq(counter("policy_hook_off", "hook=\"denies\""), 0);
	engine->ops->stop(engine);
}
END_TEST

START_TEST(an_error_now_and_then_is_no_reason)
{
	settings.lua.fail_limit = 0;
	load(hook("", "error('oh')"));
	ask_read();
	for (unsigned i = 0; i < 300; i++)
		ck_assert_str_eq(decide(), "nothing");
	ck_assert_int_eq(counter("policy_hook_calls_total", "hook=\"x\""), 300);
	ck_assert_int_eq(counter("policy_hook_off", "hook=\"x\""), 0);
}
END_TEST

/* ---- explain ---- */

START_TEST(explain_says_it_of_every_hook)
{
	static const char expected[] = "kinds: not asked: kinds = write, use\n"
				       "keyspaces: not asked: keyspaces = a, b\n"
				       "tables: not asked: tables = a.t\n"
				       "users: not asked: users = bob\n"
				       "opcodes: not asked: opcodes = EXECUTE, BATCH\n"
				       "nothing: no opinion\n"
				       "route: both (answer_from target, tag canary)\n"
				       "denies: denied (overloaded): later\n"
				       "throws: error: oh\n";

	load("local canary = proxy.route { to = 'both', answer_from = 'target', tag = 'canary' }\n"
	     "proxy.on_request('kinds', { kinds = 'write, use' }, function() end)\n"
	     "proxy.on_request('keyspaces', { keyspaces = 'a, b', tables = 'a.t' }, function() end)\n"
	     "proxy.on_request('tables', { tables = 'a.t' }, function() end)\n"
	     "proxy.on_request('users', { users = 'bob' }, function() end)\n"
	     "proxy.on_request('opcodes', { opcodes = 'BATCH,EXECUTE' }, function() end)\n"
	     "proxy.on_request('nothing', {}, function() end)\n"
	     "proxy.on_request('route', {}, function() return canary end)\n"
	     "proxy.on_request('denies', {}, function(req) return req:deny('overloaded', 'later') end)\n"
	     "proxy.on_request('throws', {}, function() error('oh', 0) end)\n"
	     "proxy.on_request('last', { scope = 'table' }, function() return 'target' end)");
	ask_read();
	(void)explain();
	ck_assert_msg(strncmp(words, expected, strlen(expected)) == 0, "%s", words);
	ck_assert_ptr_nonnull(strstr(words, "\nlast: target"));
	/* Nothing is counted as an error. */
	ck_assert_int_eq(counter("policy_hook_errors_total", "hook=\"throws\",reason=\"error\""), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lua_engine");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	log_set_level(LOG_ERROR);
	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, no_scripts_no_engine);
	tcase_add_test(t, wrong_registrations_do_not_load);
	tcase_add_test(t, a_failed_registration_leaves_nothing);
	tcase_add_test(t, sixty_four_hooks_are_asked_in_order);
	tcase_add_test(t, kinds_and_keyspaces_and_tables);
	tcase_add_test(t, a_dropped_keyspace_is_about_its_tables);
	tcase_add_test(t, what_is_not_understood_passes_a_filter_that_denies);
	tcase_add_test(t, users_and_opcodes_are_looked_at_per_request);
	tcase_add_test(t, a_kept_opinion_behind_and_before_those_of_requests);
	tcase_add_test(t, a_statement_is_asked_for_when_it_is_kept);
	tcase_add_test(t, no_opinion_of_a_table_is_kept_too);
	tcase_add_test(t, kept_denials_live_as_long_as_the_engine);
	tcase_add_test(t, too_many_kept_denials_are_asked_per_request);
	tcase_add_test(t, errors_are_not_kept);
	tcase_add_test(t, hooks_of_tables_are_asked_about_each_of_a_batch);
	tcase_add_test(t, results);
	tcase_add_test(t, a_denial_of_an_earlier_request_is_an_error);
	tcase_add_test(t, only_reads_are_mirrored);
	tcase_add_test(t, words_follow_the_primary);
	tcase_add_test(t, errors_are_counted_by_reason);
	tcase_add_test(t, on_error_decides);
	tcase_add_test(t, too_many_errors_switch_a_hook_off);
	tcase_add_test(t, a_hook_that_denies_denies_when_it_is_off);
	tcase_add_test(t, an_error_now_and_then_is_no_reason);
	tcase_add_test(t, explain_says_it_of_every_hook);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
