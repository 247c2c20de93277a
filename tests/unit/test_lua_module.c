/* test_lua_module.c - the functions of `proxy`: what they take, where they may be called, and what they do. */
#include "engine_helper.h"
#include "policy/lua_module.h"

#include <math.h>
#include <time.h>

static void begin(void)
{
	settings_begin();
}

static void end(void)
{
	settings_end();
}

/* A script that loads only where the expression is true. */
static void holds(const char *expression)
{
	char text[512];

	snprintf(text, sizeof(text), "assert(%s, 'it is not so')", expression);
	ck_assert_msg(try_load(text), "%s: %s", expression, error);
}

/* Runs this in a hook: the message of its error. */
static const char *hook_error(const char *body)
{
	char text[512];

	snprintf(text, sizeof(text), "proxy.on_request('x', {}, function(req) %s end)", body);
	load(text);
	ask_read();
	return explain();
}

/* ---- the table ---- */

START_TEST(the_table_is_read_only)
{
	holds("proxy.api_version == 1");
	load_fails("proxy.x = 1", "SCRIPT:1: cannot write 'proxy.x': the table is read-only");
	load_fails("proxy.on_request = nil", "SCRIPT:1: cannot write 'proxy.on_request'");
	load_fails("proxy.onrequest('x', {}, type)", "SCRIPT:1: attempt to call field 'onrequest' (a nil value)");
}
END_TEST

/* Each function, in contexts in which it may not be called. */
START_TEST(contexts)
{
	static const struct {
		const char *call;
		bool in_load, in_hook;
	} cases[] = {
		{ "proxy.set{ 'a' }", true, false },
		{ "proxy.option('o', 1)", true, false },
		{ "proxy.route{ to = 'target' }", true, false },
		{ "proxy.on_request('y', {}, type)", true, false },
		{ "proxy.on_tick(1, type)", true, false },
		{ "proxy.counter('c')", true, true },
		{ "proxy.counter('c'):add()", false, true },
		{ "proxy.counter('c'):inc()", false, true },
		{ "proxy.rate('k', 1)", false, true },
		{ "proxy.time()", true, true },
		{ "proxy.log('debug', 'x')", true, true },
	};
	char text[128], name[32];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const char *call = cases[i].call;

		snprintf(text, sizeof(text), "local x = %s", call);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(call, "({"), call);
		if (strchr(call, ':'))
			strcpy(name, strstr(call, "add") ? "counter:add" : "counter:inc");
		if (cases[i].in_load)
			load(text);
		else
			ck_assert(
				!try_load(text) && strstr(error, name) &&
				strstr(error, "belongs to the context request or tick, and this is the context load"));
		(void)hook_error(text);
		if (cases[i].in_hook)
			ck_assert_str_eq(words, "x: no opinion");
		else
			ck_assert_msg(strstr(words, name) &&
					      strstr(words, "belongs to the context load, and this is the "
							    "context request"),
				      "%s: %s", name, words);
		snprintf(text, sizeof(text), "proxy.on_tick(1, function() local x = %s end)", call);
		load(text);
		ck_assert_msg((strcmp(tick_error(0), "") == 0) == cases[i].in_hook, "%s: %s", call, error);
		if (!cases[i].in_hook)
			ck_assert_ptr_nonnull(strstr(error, "this is the context tick"));
	}
}
END_TEST

/* ---- sets ---- */

START_TEST(sets)
{
	holds("proxy.set{ 'a', 'b c' }['b c'] == true");
	holds("proxy.set{ 'a' }.b == nil");
	holds("proxy.set('a, b ,c').b == true");
	holds("proxy.set{ ' a ' }.a == true");
	holds("next(proxy.set{}) == nil");
	holds("next(proxy.set('')) == nil");
	load_fails("proxy.set()",
		   "SCRIPT:1: proxy.set: the list has to be a string or a list of strings, not a no value");
	load_fails("proxy.set(7)", "SCRIPT:1: proxy.set: the list has to be");
	load_fails("proxy.set{ a = true }", "SCRIPT:1: proxy.set: the list has to be a list of strings, but it has a "
					    "boolean under a string");
	load_fails("proxy.set{ 1 }", "SCRIPT:1: proxy.set: the list has to be a list of strings, but it has a number");
	load_fails("proxy.set{ 'a', nil, 'b' }", "SCRIPT:1: proxy.set: the list is no list: it has gaps");
	load_fails("proxy.set('a,,b')", "SCRIPT:1: proxy.set: the list has an empty word");
	load_fails("local t = {} for i = 1, 5000 do t[i] = 'x' .. i end proxy.set(t)",
		   "SCRIPT:1: proxy.set: the list has more than 4096 words");
}
END_TEST

/* ---- options ---- */

START_TEST(options_have_the_type_of_their_default)
{
	option_add("text", " a b ");
	option_add("number", "-1.5e3");
	option_add("flag", "Yes");
	option_add("plain", "x");
	option_add("unflag", "off");
	load("assert(proxy.option('text', '') == ' a b ')\n"
	     "assert(proxy.option('number', 1) == -1500)\n"
	     "assert(proxy.option('flag', false) == true)\n"
	     "assert(proxy.option('unflag', true) == false)\n"
	     "assert(proxy.option('plain') == 'x')\n"
	     "assert(proxy.option('other', 7) == 7)\n"
	     "assert(proxy.option('other', 'seven') == 'seven')\n"
	     "assert(proxy.option('other', true) == true)\n"
	     "assert(proxy.option('other') == nil)");
}
END_TEST

START_TEST(wrong_options)
{
	static const char *const no_numbers[] = { "many", "", "1 2", "0x10", "nan", "inf", "1,5" };

	load_fails("proxy.option()", "SCRIPT:1: proxy.option: the first argument is the option's name");
	load_fails("proxy.option('a', {})", "SCRIPT:1: proxy.option: the default is a string, a number, a boolean or "
					    "nil, not a table");
	option_add("permille", "");
	for (unsigned i = 0; i < ARRAY_LEN(no_numbers); i++) {
		char expected[128];

		settings.lua.options[0].value = (char *)(uintptr_t)no_numbers[i];
		snprintf(expected, sizeof(expected), "SCRIPT:1: x.ini:7: permille = %s: not a number", no_numbers[i]);
		load_fails("proxy.option('permille', 50)", expected);
	}
	settings.lua.options[0].value = (char *)(uintptr_t) "maybe";
	load_fails("proxy.option('permille', true)", "SCRIPT:1: x.ini:7: permille = maybe: neither true nor false");
	load_fails("proxy.option('permile', 'x')",
		   "x.ini:7: permille: neither a setting of [lua] nor an option that a script asks for");
}
END_TEST

/* ---- routes ---- */

static const struct policy_route *route_of(const char *fields)
{
	char text[512];

	snprintf(text, sizeof(text), "local r = proxy.route{ %s }\nproxy.on_request('x', {}, function() return r end)",
		 fields);
	load(text);
	ask_read();
	(void)decide();
	ck_assert_ptr_nonnull(opinion.route);
	return opinion.route;
}

START_TEST(routes)
{
	const struct policy_route *r = route_of("to = 'target'");

	ck_assert_str_eq(r->name, "target");
	ck_assert_uint_eq(r->to, TO_TARGET);
	ck_assert_uint_eq(r->answer_from, CLUSTER_TARGET);
	ck_assert_uint_eq(r->consistency, POLICY_KEEP_LEVEL);
	ck_assert_uint_eq(r->timeout_ms, 0);
	ck_assert_uint_eq(r->tag, 0);
	ck_assert(!r->mirror);
	r = route_of("to = 'both', answer_from = 'target', consistency = 'local_one', timeout_ms = 1500, tag = 'a.b'");
	ck_assert_str_eq(r->name, "both (answer_from target, consistency LOCAL_ONE, timeout 1500 ms, tag a.b)");
	ck_assert_uint_eq(r->to, TO_BOTH);
	ck_assert_uint_eq(r->answer_from, CLUSTER_TARGET);
	ck_assert_uint_eq(r->consistency, CL_LOCAL_ONE);
	ck_assert_uint_eq(r->timeout_ms, 1500);
	ck_assert_uint_ne(r->tag, 0);
	ck_assert_int_eq(counter("policy_tagged_requests_total", "tag=\"a.b\""), 0);
	r = route_of("to = 'both', answer_from = 'origin'");
	ck_assert_str_eq(r->name, "both");
	r = route_of("to = 'origin', mirror = true");
	ck_assert_str_eq(r->name, "mirror");
	r = route_of("to = 'target', mirror = true, consistency = 'ANY'");
	ck_assert_str_eq(r->name, "target (mirror, consistency ANY)");
	ck_assert(r->mirror);
	ck_assert_uint_eq(r->consistency, CL_ANY);
	ck_assert_uint_eq(route_of("to = 'origin', timeout = '500ms'")->timeout_ms, 500);
	ck_assert_uint_eq(route_of("to = 'origin', timeout = '1.5s'")->timeout_ms, 1500);
	ck_assert_uint_eq(route_of("to = 'origin', timeout = '2 m'")->timeout_ms, 120000);
	ck_assert_uint_eq(route_of("to = 'origin', mirror = false")->mirror, false);
}
END_TEST

START_TEST(equal_routes_are_one)
{
	holds("proxy.route{ to = 'both', tag = 'a' } == proxy.route{ tag = 'a', to = 'both', answer_from = 'origin' }");
	holds("proxy.route{ to = 'both', tag = 'a' } ~= proxy.route{ to = 'both', tag = 'b' }");
	holds("proxy.route{ to = 'both', timeout = '1s' } == proxy.route{ to = 'both', timeout_ms = 1000 }");
	holds("tostring(proxy.route{ to = 'origin', mirror = true }) == 'mirror'");
	load("local r = proxy.route{ to = 'target' }\n"
	     "proxy.on_request('x', {}, function(req) if req:table() == 't' then return r end return 'target' end)");
	ask_read();
	(void)decide();
	const struct policy_route *one = opinion.route;
	ask_about(POLICY_READ, STATEMENT_SELECT, "ks.u", NULL);
	(void)decide();
	ck_assert_ptr_eq(opinion.route, one);
}
END_TEST

START_TEST(wrong_routes)
{
#define SAYS(text) "SCRIPT:1: proxy.route" text
	static const struct {
		const char *arguments, *reason;
	} cases[] = {
		{ "()", SAYS(" takes one table") },
		{ "'target'", SAYS(" takes one table") },
		{ "({}, 1)", SAYS(" takes one table") },
		{ "{}", SAYS(": to is missing: \"origin\", \"target\" or \"both\"") },
		{ "{ 'target' }", SAYS(": a number as a key; keys are names") },
		{ "{ to = 'mirror' }", SAYS(": to: 'mirror' is none of origin, target, both") },
		{ "{ to = 1 }", SAYS(": to has to be a string, not a number") },
		{ "{ too = 'target' }", SAYS(": there is no 'too'; there are to, answer_from, mirror, consistency, "
					     "timeout_ms, timeout, tag") },
		{ "{ to = 'both', answer_from = 'both' }", SAYS(": answer_from: 'both' is none of origin, target") },
		{ "{ to = 'both', answer_from = true }", SAYS(": answer_from has to be a string, not a boolean") },
		{ "{ to = 'target', answer_from = 'origin' }", SAYS(": answer_from: origin does not get the request") },
		{ "{ to = 'target', mirror = 1 }", SAYS(": mirror has to be true or false, not a number") },
		{ "{ to = 'both', mirror = true }",
		  SAYS(": mirror: with to = \"both\" no cluster is left for a copy") },
		{ "{ to = 'both', consistency = 'MOST' }", SAYS(": consistency: 'MOST' is none of ANY, ONE") },
		{ "{ to = 'both', consistency = 'SERIAL' }", SAYS(": consistency: SERIAL is for conditional") },
		{ "{ to = 'both', consistency = 'local_serial' }", SAYS(": consistency: local_serial is for") },
		{ "{ to = 'both', consistency = 1 }", SAYS(": consistency has to be a string, not a number") },
		{ "{ to = 'both', timeout_ms = '500' }", SAYS(": timeout_ms has to be a number, not a string") },
		{ "{ to = 'both', timeout_ms = 0 }", SAYS(": timeout_ms: 1 ms to one day, not 0 ms") },
		{ "{ to = 'both', timeout_ms = -1 }", SAYS(": timeout_ms: 1 ms to one day, not -1 ms") },
		{ "{ to = 'both', timeout_ms = 0/0 }", SAYS(": timeout_ms: 1 ms to one day, not nan ms") },
		{ "{ to = 'both', timeout_ms = 1e12 }", SAYS(": timeout_ms: 1 ms to one day") },
		{ "{ to = 'both', timeout_ms = 1.5 }", SAYS(": timeout_ms: a whole number of milliseconds") },
		{ "{ to = 'both', timeout = 500 }", SAYS(": timeout has to be a string, not a number") },
		{ "{ to = 'both', timeout = '500' }", SAYS(": timeout: '500' is no duration like \"500ms\"") },
		{ "{ to = 'both', timeout = '-1s' }", SAYS(": timeout: '-1s' is no duration") },
		{ "{ to = 'both', timeout = 'soon' }", SAYS(": timeout: 'soon' is no duration") },
		{ "{ to = 'both', timeout = '2h' }", SAYS(": timeout: '2h' is no duration") },
		{ "{ to = 'both', timeout = '1s', timeout_ms = 1 }", SAYS(": timeout and timeout_ms are the same") },
		{ "{ to = 'both', tag = '' }", SAYS(": tag: 1 to 64 letters, digits and _-.:/") },
		{ "{ to = 'both', tag = 'a b' }", SAYS(": tag: 1 to 64 letters") },
		{ "{ to = 'both', tag = 'a\\0b' }", SAYS(": tag: 1 to 64 letters") },
		{ "{ to = 'both', tag = ('x'):rep(65) }", SAYS(": tag: 1 to 64 letters") },
		{ "{ to = 'both', tag = 5 }", SAYS(": tag has to be a string, not a number") },
	};
	char text[256];

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "proxy.route%s", cases[i].arguments);
		load_fails(text, cases[i].reason);
	}
	load_fails("for i = 1, 1000 do proxy.route{ to = 'both', timeout_ms = i } end",
		   SAYS(": there are 256 different routes already"));
#undef SAYS
}
END_TEST

/* ---- counters ---- */

START_TEST(counters)
{
	load("local c = proxy.counter('some \"thing\"')\n"
	     "assert(c == proxy.counter('some \"thing\"'))\n"
	     "proxy.on_request('x', {}, function(req)\n"
	     "  c:add() c:add(5) c:inc() c:add(0)\n"
	     "  proxy.counter('of ' .. req:table()):inc()\n"
	     "end)");
	ck_assert_int_eq(counter("policy_counter_total", "name=\"some \\\"thing\\\"\""), 0);
	ask_read();
	(void)decide();
	(void)decide();
	ck_assert_int_eq(counter("policy_counter_total", "name=\"some \\\"thing\\\"\""), 14);
	ck_assert_int_eq(counter("policy_counter_total", "name=\"of t\""), 2);
}
END_TEST

START_TEST(wrong_counters)
{
	static const char *const bad_steps[] = { "-1", "1.5", "1e16", "0/0", "'1'", "{}" };
	char text[128];

	load_fails("proxy.counter()", "SCRIPT:1: proxy.counter: the argument is a name, a string, not a no value");
	load_fails("proxy.counter('')", "SCRIPT:1: proxy.counter: a name has 1 to 64 printable ASCII characters");
	load_fails("proxy.counter(('x'):rep(65))", "SCRIPT:1: proxy.counter: a name has 1 to 64");
	load_fails("proxy.counter('a\\nb')", "SCRIPT:1: proxy.counter: a name has 1 to 64");
	load_fails("for i = 1, 1001 do proxy.counter('c' .. i) end",
		   "SCRIPT:1: proxy.counter: there are 1000 counters already, and there cannot be more");
	for (unsigned i = 0; i < ARRAY_LEN(bad_steps); i++) {
		snprintf(text, sizeof(text), "proxy.counter('c'):add(%s)", bad_steps[i]);
		ck_assert_msg(strstr(hook_error(text), "counter:add(n): n is a whole number from 0") != NULL, "%s",
			      words);
	}
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.counter('c').add(1)"), "counter:add() is called with a colon"));
	ck_assert_ptr_nonnull(
		strstr(hook_error("proxy.counter('c').add(req)"), "counter:add() is called with a colon"));
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.counter('c').x = 1"), "counter cannot be changed"));
}
END_TEST

/* ---- rates and time ---- */

START_TEST(rates)
{
	unsigned taken = 0;

	load("proxy.on_request('x', {}, function(req) if proxy.rate('of two scripts', 0.001) then return 'target' end end)");
	ask_read();
	for (unsigned i = 0; i < 10; i++)
		taken += strcmp(decide(), "target") == 0;
	ck_assert_uint_eq(taken, 1);
	/* What was used up stays so for the next scripts. */
	load("proxy.on_request('y', {}, function(req) if proxy.rate('of two scripts', 0.001) then return 'target' end end)");
	ck_assert_str_eq(decide(), "nothing");
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.rate()"), "the key is a string, not a no value"));
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.rate(1, 1)"), "the key is a string, not a number"));
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.rate('k')"), "per_second is a number from 0 to"));
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.rate('k', '5')"), "per_second is a number from 0 to"));
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.rate('k', -1)"), "per_second is a number from 0 to"));
	ck_assert_ptr_nonnull(strstr(hook_error("proxy.rate('k', 0/0)"), "per_second is a number from 0 to"));
	ck_assert_str_eq(hook_error("return proxy.rate('k2', 0) and 'target' or 'origin'"), "x: origin");
}
END_TEST

START_TEST(the_time)
{
	struct timespec t;
	const char *said;
	double now;

	said = hook_error("return req:deny('invalid', '%.6f', proxy.time())");
	clock_gettime(CLOCK_REALTIME, &t);
	now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	ck_assert_double_le(fabs(strtod(strrchr(said, ' '), NULL) - now), 2);
	/* It goes on; two readings one behind the other may be the same number. */
	ck_assert_str_eq(hook_error("local a, b = proxy.time() repeat b = proxy.time() until b ~= a "
				    "return a >= b and 'origin' or 'both'"),
			 "x: both");
}
END_TEST

/* ---- ticks ---- */

/* The clock that libevent's timers go by: up to a tick of the kernel behind loop_clock_ns(), so that one would see them early. */
static uint64_t timer_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * ms_to_ns(1000) + (uint64_t)t.tv_nsec;
}

START_TEST(ticks_run_on_the_worker_s_loop)
{
	uint64_t begin_ns = timer_clock_ns(), took_ms;
	struct loop loop;
	int events;

	ck_assert(loop_init(&loop, 1000));
	events = event_base_get_num_events(loop.base, EVENT_BASE_COUNT_ADDED);
	load("local ticks, failures = proxy.counter('ticks'), 0\n"
	     "proxy.on_tick(0.1, function() ticks:inc() end)\n"
	     "proxy.on_tick(0.1, function() failures = failures + 1 error('oh') end)");
	engine->ops->start(engine, &loop);
	while (counter("policy_counter_total", "name=\"ticks\"") < 2 &&
	       timer_clock_ns() - begin_ns < 20 * ms_to_ns(1000))
		loop_turn(&loop, true);
	took_ms = (timer_clock_ns() - begin_ns) / ms_to_ns(1);
	ck_assert_int_eq(counter("policy_counter_total", "name=\"ticks\""), 2);
	ck_assert_uint_ge(took_ms, 199);
	ck_assert_int_ge(counter("policy_hook_errors_total", "hook=\"on_tick\",reason=\"error\""), 1);
	engine->ops->stop(engine);
	ck_assert_int_eq(event_base_get_num_events(loop.base, EVENT_BASE_COUNT_ADDED), events);
	loop_fini(&loop);
}
END_TEST

START_TEST(a_tick_that_fails_too_often_ends)
{
	struct lua_host *host;
	struct loop loop;

	settings.lua.fail_limit = 3;
	ck_assert(loop_init(&loop, 1000));
	load("proxy.on_tick(80000, function() while true do end end)");
	host = container_of(engine, struct lua_host, engine);
	engine->ops->start(engine, &loop);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(host->ticks[0].is_running);
		lua_tick_run(&host->ticks[0]);
	}
	ck_assert(!host->ticks[0].is_running);
	ck_assert_int_eq(counter("policy_hook_errors_total", "hook=\"on_tick\",reason=\"time\""), 3);
	ck_assert_int_eq(counter("policy_hook_off", "hook=\"on_tick\""), 1);
	engine->ops->stop(engine);
	ck_assert_int_eq(counter("policy_hook_off", "hook=\"on_tick\""), 0);
	loop_fini(&loop);
}
END_TEST

START_TEST(wrong_ticks)
{
	load_fails("proxy.on_tick()",
		   "SCRIPT:1: proxy.on_tick: the first argument is a number of seconds, not a no value");
	load_fails("proxy.on_tick('1', type)", "SCRIPT:1: proxy.on_tick: the first argument is a number of seconds");
	load_fails("proxy.on_tick(0.09, type)", "SCRIPT:1: proxy.on_tick: 0.1 to 86400 seconds, not 0.09");
	load_fails("proxy.on_tick(86401, type)", "SCRIPT:1: proxy.on_tick: 0.1 to 86400 seconds, not 86401");
	load_fails("proxy.on_tick(0/0, type)", "SCRIPT:1: proxy.on_tick: 0.1 to 86400 seconds");
	load_fails("proxy.on_tick(1)", "SCRIPT:1: proxy.on_tick: the second argument is a function");
	load_fails("proxy.on_tick(1, type, 2)", "SCRIPT:1: proxy.on_tick: the second argument is a function");
	load_fails("for i = 1, 65 do proxy.on_tick(1, type) end",
		   "SCRIPT:1: proxy.on_tick: there are 64 already, and there cannot be more");
}
END_TEST

/* ---- log ---- */

static char logged[65536];

/* What has been written to the log since it was opened. */
static void read_log(const char *path)
{
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	logged[fread(logged, 1, sizeof(logged) - 1, f)] = 0;
	fclose(f);
}

static unsigned count_of(const char *text)
{
	unsigned n = 0;

	for (const char *p = logged; (p = strstr(p, text)) != NULL; p++)
		n++;
	return n;
}

static void open_log(char *path)
{
	int fd;

	strcpy(path, "/tmp/cqlferry-log-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = log_open(path, error, sizeof(error));
	ck_assert_int_ge(fd, 0);
	log_use(fd);
	log_set_level(LOG_INFO);
}

START_TEST(log_lines)
{
	struct lua_host *host;
	char path[64];

	open_log(path);
	load("proxy.log('info', 'loaded %d', 7)\n"
	     "proxy.on_request('x', {}, function(req)\n"
	     "  proxy.log('debug', 'not this')\n"
	     "  proxy.log('warn', 'a %s\\nline', 'long')\n"
	     "end)");
	host = container_of(engine, struct lua_host, engine);
	ask_read();
	for (unsigned i = 0; i < 100; i++)
		(void)decide();
	read_log(path);
	ck_assert_uint_eq(count_of(":1: loaded 7"), 1);
	/* A second may end meanwhile. */
	ck_assert_uint_ge(count_of(":4: a long"), LUA_MODULE_LOG_LINES - 1);
	ck_assert_uint_le(count_of(":4: a long"), 2 * LUA_MODULE_LOG_LINES);
	ck_assert_uint_eq(count_of("not this"), 0);
	/* In the next second the rest is told as a number. */
	host->log_second--;
	(void)decide();
	read_log(path);
	ck_assert_uint_ge(count_of("lines of scripts were left out"), 1);
	unlink(path);
}
END_TEST

START_TEST(wrong_logs)
{
	load_fails("proxy.log()",
		   "SCRIPT:1: proxy.log(level, format, ...): the level is one of error, warn, info, debug");
	load_fails("proxy.log('fatal', 'x')", "SCRIPT:1: proxy.log(level, format, ...): the level is one of");
	load_fails("proxy.log('info')",
		   "SCRIPT:1: proxy.log(level, format, ...): the format is a string, not a no value");
	load_fails("proxy.log('info', 7)", "SCRIPT:1: proxy.log(level, format, ...): the format is a string");
	load_fails("proxy.log('error', '%d', 'x')", "SCRIPT:1: proxy.log: bad argument");
}
END_TEST

/* Lines with tracebacks: one in a second for each hook, whatever it does. */
START_TEST(errors_are_logged_once_in_a_second)
{
	struct lua_host *host;
	char path[64];

	open_log(path);
	load("local function inner() error('oh') end\n"
	     "proxy.on_request('x', {}, function(req)\n"
	     "  inner()\n"
	     "end)");
	host = container_of(engine, struct lua_host, engine);
	ask_read();
	for (unsigned i = 0; i < 50; i++)
		(void)decide();
	read_log(path);
	ck_assert_uint_ge(count_of("hook 'x' ("), 1);
	ck_assert_uint_le(count_of("hook 'x' ("), 3);
	ck_assert_ptr_nonnull(strstr(logged, ":2) failed (error): "));
	ck_assert_ptr_nonnull(strstr(logged, ":1: oh"));
	ck_assert_ptr_nonnull(strstr(logged, ":3: "));
	host->hooks[0].fault.next_log_ns = 0;
	(void)decide();
	read_log(path);
	ck_assert_uint_ge(count_of("times since the last such line"), 1);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lua_module");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	log_set_level(LOG_ERROR);
	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_table_is_read_only);
	tcase_add_test(t, contexts);
	tcase_add_test(t, sets);
	tcase_add_test(t, options_have_the_type_of_their_default);
	tcase_add_test(t, wrong_options);
	tcase_add_test(t, routes);
	tcase_add_test(t, equal_routes_are_one);
	tcase_add_test(t, wrong_routes);
	tcase_add_test(t, counters);
	tcase_add_test(t, wrong_counters);
	tcase_add_test(t, rates);
	tcase_add_test(t, the_time);
	tcase_add_test(t, ticks_run_on_the_worker_s_loop);
	tcase_add_test(t, a_tick_that_fails_too_often_ends);
	tcase_add_test(t, wrong_ticks);
	tcase_add_test(t, log_lines);
	tcase_add_test(t, wrong_logs);
	tcase_add_test(t, errors_are_logged_once_in_a_second);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
