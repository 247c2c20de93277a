/*
 * test_lua_matcher.c - string.find, match, gmatch and gsub of ours against those of LuaJIT: each piece of Lua runs in a
 * state of either kind and must give the same text, also when it is an error. Then patterns that take LuaJIT hours.
 */
#include <lualib.h>

#include "lua_helper.h"

#define RANDOM_ROUNDS 8000

static lua_State *theirs;

/* What both states run: all that one call gives, as a text. */
static const char driver[] =
	"local function show(ok, ...)\n"
	"	local out = { ok and 'ok' or 'error' }\n"
	"	for i = 1, select('#', ...) do\n"
	"		local v = select(i, ...)\n"
	"		out[#out + 1] = type(v) .. ':' .. tostring(v):gsub('^[^ ]*:%d+: ', '')\n"
	"	end\n"
	"	return table.concat(out, '|')\n"
	"end\n"
	"local function each(s, p)\n"
	"	local out = {}\n"
	"	for a, b, c in s:gmatch(p) do out[#out + 1] = tostring(a) .. ',' .. tostring(b) .. ',' .. tostring(c) end\n"
	"	return table.concat(out, ';')\n"
	"end\n"
	"local function ask(s, p, r, i)\n"
	"	return table.concat({\n"
	"		show(pcall(string.find, s, p)), show(pcall(string.find, s, p, i)), show(pcall(string.find, s, p, i, true)),\n"
	"		show(pcall(string.match, s, p, i)), show(pcall(each, s, p)),\n"
	"		show(pcall(string.gsub, s, p, r)), show(pcall(string.gsub, s, p, r, i)),\n"
	"		show(pcall(string.gsub, s, p, { a = 'A', ab = false, b = 7, [1] = 'one' })),\n"
	"		show(pcall(string.gsub, s, p, function(a, b) return b or (a ~= 'b' and a) end)),\n"
	"	}, '\\n')\n"
	"end\n";

static void push_arguments(lua_State *L, const char *s, size_t s_len, const char *p, size_t p_len, const char *r, int i)
{
	lua_pushlstring(L, s, s_len);
	lua_pushlstring(L, p, p_len);
	lua_pushstring(L, r);
	lua_pushinteger(L, i);
}

static void compare(const char *s, size_t s_len, const char *p, size_t p_len, const char *r, int i)
{
	const char *expected, *got;
	size_t expected_len, got_len;

	lua_settop(theirs, 0);
	lua_getglobal(theirs, "ask");
	push_arguments(theirs, s, s_len, p, p_len, r, i);
	ck_assert_msg(lua_pcall(theirs, 4, 1, 0) == 0, "%s", lua_tostring(theirs, -1));
	expected = lua_tolstring(theirs, -1, &expected_len);

	lua_settop(vm.L, 1);
	lua_getfield(vm.L, LUA_REGISTRYINDEX, "kept");
	push_arguments(vm.L, s, s_len, p, p_len, r, i);
	ck_assert_msg(lua_vm_call(&vm, LUA_CONTEXT_REQUEST, 4, 1, message, sizeof(message)) == LUA_VM_OK, "%s",
		      message);
	got = lua_tolstring(vm.L, -1, &got_len);
	ck_assert_msg(got_len == expected_len && memcmp(expected, got, got_len) == 0,
		      "'%.*s' with '%.*s', '%s', %d:\n%s\nand LuaJIT:\n%s", (int)s_len, s, (int)p_len, p, r, i, got,
		      expected);
}

static void begin(void)
{
	struct lua_vm_limits limits = { .load_time_us = 2000 * 1000, .time_us = 10000 * 1000, .memory = MEMORY_BYTES };
	char text[4096];

	ck_assert(lua_vm_init(&vm, &limits));
	snprintf(text, sizeof(text), "%skeep(ask)", driver);
	load_kept(text);
	theirs = luaL_newstate();
	luaL_openlibs(theirs);
	snprintf(text, sizeof(text), "%s_G.ask = ask", driver);
	ck_assert_int_eq(luaL_loadbuffer(theirs, text, strlen(text), "@theirs"), 0);
	ck_assert_int_eq(lua_pcall(theirs, 0, 0, 0), 0);
}

static void end(void)
{
	lua_close(theirs);
	vm_end();
}

static const char *const subjects[] = {
	"",
	"a",
	"ab",
	"aab",
	"abcabc",
	"hello world from Lua",
	"key = value, k2 = v2",
	"THE (quick) fox",
	"((a)(b))",
	"  trimmed  ",
	"/usr/share/lib.so.1",
	"1999-12-31T23:59:59Z",
	"x^2 $5.00 100%",
	"[set]-range]",
	"line one\nline two\r\n\tend",
	"\xc3\xa4\xff\x80 bytes",
	"aaaaaaaaaaaaaaaaaaaa",
	"f(a(b)c)d)e(",
	"\"quoted\" and 'single'",
	"0x1F 07 -12 +3.5e10",
};

static const char *const patterns[] = {
	"",
	"a",
	"b",
	".",
	"a*",
	"a+",
	"a-",
	"a?",
	"a-b",
	".-",
	".-$",
	"^",
	"$",
	"^$",
	"^a",
	"a$",
	"a$b",
	"^^a",
	"()",
	"()a()",
	"(a)",
	"(a*)(b)",
	"((a)(b))",
	"(a*(.)%2)",
	"(.)%1",
	"(.-)%1",
	"%1",
	"(%1)",
	"(a)%2",
	"%0",
	"%a+",
	"%A+",
	"%d+",
	"%D",
	"%s*",
	"%S+",
	"%w+",
	"%W",
	"%l%u",
	"%L%U",
	"%p+",
	"%P",
	"%c",
	"%C+",
	"%x+",
	"%X",
	"%z",
	"%Z+",
	"%g+",
	"%G",
	"%e",
	"%%",
	"%.",
	"%(%a+%)",
	"%b()",
	"%bxx",
	"%b",
	"%b(",
	"%baa",
	"%f[%w]%w+",
	"%f[%W]",
	"%f[%z]",
	"%f",
	"%f(",
	"%f[a",
	"%fa",
	"[a]",
	"[abc]+",
	"[^abc]+",
	"[a-c]+",
	"[c-a]+",
	"[a-]",
	"[-a]",
	"[]]",
	"[]",
	"[^]]",
	"[^]",
	"[",
	"[a",
	"[%",
	"[%]",
	"[%]]",
	"[%a_][%w_]*",
	"[%a-z]+",
	"[a-%%]+",
	"[^%s]+",
	"[^^]",
	"[$.^]",
	"[(]",
	"%",
	"a%",
	"(",
	")",
	"(a",
	"a)",
	"(()",
	"(()a",
	"((a)",
	"(a))",
	"*",
	"*a",
	"+",
	"?",
	"-",
	"a**",
	"a*?",
	"a?-",
	"(a)*",
	"^%s*(.-)%s*$",
	"(%w+)%s*=%s*(%w+)",
	"^(.*)/([^/]*)$",
	"(%d+)-(%d+)-(%d+)",
	"([+-]?%d+)",
	"[%z\1-\127\194-\244][\128-\191]*",
	"\xc3.",
	"(a)(b)(c)(a)(b)(c)(d)(e)(f)",
	"(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)",
	"()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()",
	"()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()",
	".-b.-b.-b",
	"a?a?a?a?aaaa",
	".*.*.*x",
	"a.b",
	"l+",
	"%f[%a]%a+%f[%A]",
	"%f[^%z]",
	"o.-o",
};

static const char *const replacements[] = { "", "x", "<%0>", "%1", "%2", "%%", "%a", "%", "[%1%1]", "%9" };

START_TEST(corpus)
{
	const char *p = patterns[_i];

	begin();
	for (unsigned s = 0; s < ARRAY_LEN(subjects); s++) {
		for (unsigned r = s % 3; r < ARRAY_LEN(replacements); r += 3)
			compare(subjects[s], strlen(subjects[s]), p, strlen(p), replacements[r],
				(int)(r * 7 + s * 3) % 13 - 5);
	}
	end();
}
END_TEST

/* Zero bytes in subjects. In patterns LuaJIT stops at them; here they are characters as others. */
START_TEST(zero_bytes)
{
	static const char *const with[] = { "%z", "[%z]", "%Z+", "a%zb", "(%z)%1", "%f[%z]", "[^%z]*", ".", "$" };
	static const char text[] = "a\0b\0\0c\0";

	begin();
	for (unsigned i = 0; i < ARRAY_LEN(with); i++) {
		for (size_t len = 0; len < sizeof(text); len++)
			compare(text, len, with[i], strlen(with[i]), "<%0>", 1);
	}
	end();
	vm_begin();
	load_kept(
		"keep(function()\n"
		"	local s = 'a\\0b\\0\\0c'\n"
		"	assert(s:find('\\0') == 2 and s:match('.\\0(.)') == 'b' and s:gsub('\\0+', '-') == 'a-b-c')\n"
		"	assert(s:match('[^\\0]+$') == 'c' and s:match('[\\0-a]+') == 'a\\0' and s:match('b(\\0)%1') == '\\0')\n"
		"	assert(s:find('\\0$') == nil and s:match('%b\\0c') == '\\0c')\n"
		"end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Patterns of pieces that fit together more often than single characters would. */
START_TEST(random_patterns)
{
	static const char *const pieces[] = {
		"a",  "b",  "c",   ".",    "*",    "+",     "-",     "?",      "(",      ")",    "()", "^",
		"$",  "%1", "%2",  "%a",   "%d",   "%s",    "%w",    "%W",     "%b()",   "%bab", "[",  "]",
		"[a", "-",  "[^a", "[ab]", "[^b]", "[a-c]", "%f[a]", "%f[%a]", "%f[^b]", "%%",   "%",  "\x01",
	};
	static const char letters[] = "aaabbbc(()) 1%\x01";
	uint32_t state = 20260501u + (uint32_t)_i;

	begin();
	for (unsigned round = 0; round < RANDOM_ROUNDS / 4; round++) {
		char s[16], p[64] = "";
		size_t len = next_random(&state) % sizeof(s);

		for (size_t i = 0; i < len; i++)
			s[i] = letters[next_random(&state) % (sizeof(letters) - 1)];
		for (unsigned n = 1 + next_random(&state) % 7; n > 0; n--)
			strcat(p, pieces[next_random(&state) % ARRAY_LEN(pieces)]);
		compare(s, len, p, strlen(p), replacements[next_random(&state) % ARRAY_LEN(replacements)],
			(int)(next_random(&state) % 20) - 8);
	}
	end();
}
END_TEST

/* Patterns that recurse: refused at the same depth. */
START_TEST(depth)
{
	char s[1024], p[2048];

	begin();
	memset(s, 'a', sizeof(s));
	for (unsigned n = 190; n < 210; n++) {
		for (unsigned i = 0; i < n; i++)
			memcpy(p + 2 * i, "a?", 2);
		compare(s, n, p, (size_t)2 * n, "x", 1);
		for (unsigned i = 0; i < n; i++)
			memcpy(p + 2 * i, "a-", 2);
		compare(s, n, p, (size_t)2 * n, "x", 1);
	}
	end();
}
END_TEST

/* ---- what must end within its budget ---- */

static const char *const slow[] = {
	"return ('a'):rep(1000):find('.-.-b')", /* 2 s in LuaJIT's own */
	"return ('a'):rep(5000):find('.-.-.-.-b')",
	"return ('a'):rep(30):match(('a?'):rep(30) .. ('a'):rep(30) .. 'b')",
	"return ('a'):rep(4000):gsub('.-.-.-b', 'x')",
	"for w in ('a'):rep(4000):gmatch('.*.*.*b') do end",
	"return ('('):rep(1e6):find('%b()') and nil or ('('):rep(3e5):gsub('%b()', '')",
	"return ('a'):rep(1e5):find('[' .. ('b'):rep(1e5) .. ']')",
	"return ('a'):rep(2e5):find(('a'):rep(1e5) .. 'b.')",
	"return ('a'):rep(1e5):find('(a-)%1%1b')",
	"return ('a'):rep(1e6):gsub('a', function() while true do end end)",
	"return ('a'):rep(1e6):gsub('a', setmetatable({}, { __index = function() while true do end end }))",
	"while true do ('a'):rep(1e6):find('b', 1, true) end",
	"while true do pcall(string.find, ('a'):rep(1000), '.-.-b') end",
	"return ('a'):rep(1e6):gsub('', ('x'):rep(100))",
};

START_TEST(slow_patterns)
{
	char text[1024];
	enum lua_vm_end ended;

	vm_begin();
	snprintf(text, sizeof(text),
		 "local calls = 0 keep(function() calls = calls + 1 if calls > 1 then return calls end %s end)",
		 slow[_i]);
	load_kept(text);
	ended = run_kept();
	ck_assert_msg(ended == LUA_VM_TIME || ended == LUA_VM_MEMORY, "%s: %d %s", slow[_i], (int)ended, message);
	ck_assert_msg(took_ms <= BUDGET_MS + 100, "%s: %u ms", slow[_i], (unsigned)took_ms);
	ck_assert_int_eq(run_kept(), LUA_VM_OK);
	ck_assert_int_eq(lua_tointeger(vm.L, -1), 2);
	vm_end();
}
END_TEST

/* A replacement that replaces: the C stack has an end. */
START_TEST(recursion)
{
	vm_begin();
	load_kept("local function f(s) return (s:gsub('a', f)) end keep(function() return f('a') end)");
	ck_assert_int_eq(run_kept(), LUA_VM_ERROR);
	ck_assert_msg(strstr(message, "stack overflow: functions of the library call each other too deeply") != NULL,
		      "%s", message);
	vm_end();
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("lua_matcher");

	tcase_add_loop_test(tcase, corpus, 0, ARRAY_LEN(patterns));
	tcase_add_test(tcase, zero_bytes);
	tcase_add_loop_test(tcase, random_patterns, 0, 4);
	tcase_add_test(tcase, depth);
	tcase_add_loop_test(tcase, slow_patterns, 0, ARRAY_LEN(slow));
	tcase_add_test(tcase, recursion);
	return run_tcase("lua_matcher", tcase);
}
