/*
 * test_lua_library.c - what scripts find, and nothing else; and functions of ours do what LuaJIT's do, where both end.
 */
#include <lualib.h>

#include "base/log.h"
#include "lua_helper.h"

/* ---- what there is ---- */

/* All that a script may reach; `proxy` comes with the engine. */
START_TEST(names)
{
	static const char *const tables[][2] = {
		{ "string", "byte char find format gmatch gsub len lower match rep reverse sub upper" },
		{ "table", "concat insert remove sort" },
		{ "math",
		  "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min modf pi "
		  "pow rad random randomseed sin sinh sqrt tan tanh" },
		{ "bit", "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex" },
		{ "_G",
		  "_G _VERSION assert bit error getmetatable ipairs keep math next pairs pcall print rawequal rawget rawset "
		  "require select setmetatable string table tonumber tostring type unpack" },
	};
	lua_State *L;

	vm_begin();
	load_kept("keep(function() return _G end)");
	ck_assert_int_eq(run_kept(), LUA_VM_OK);
	L = vm.L;
	for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
		char expected[512];
		unsigned count = 0, found = 0;

		lua_settop(L, 2);
		if (i < ARRAY_LEN(tables) - 1)
			lua_getfield(L, 2, tables[i][0]);
		/* Behind the empty table that the script has. */
		ck_assert(lua_getmetatable(L, -1));
		lua_getfield(L, -1, "__index");
		snprintf(expected, sizeof(expected), "%s", tables[i][1]);
		for (char *name = strtok(expected, " "); name; name = strtok(NULL, " ")) {
			count++;
			lua_getfield(L, -1, name);
			ck_assert_msg(!lua_isnil(L, -1), "%s.%s is missing", tables[i][0], name);
			lua_pop(L, 1);
		}
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
			found++;
		ck_assert_msg(found == count, "%s has %u names, not %u", tables[i][0], found, count);
	}
	lua_settop(L, 1);
	vm_end();
}
END_TEST

START_TEST(gone)
{
	vm_begin();
	load_kept(
		"keep(function()\n"
		"	local names = { 'xpcall', 'newproxy', 'collectgarbage', 'gcinfo', 'getfenv', 'setfenv', 'load',\n"
		"		'loadstring', 'loadfile', 'dofile', 'module', 'io', 'os', 'debug', 'ffi', 'jit', 'package', 'coroutine' }\n"
		"	for i = 1, #names do assert(_G[names[i]] == nil, names[i]) end\n"
		"	assert(string.dump == nil and ('').dump == nil and table.foreach == nil and table.maxn == nil)\n"
		"	assert(getmetatable('') == false and getmetatable(string) == false and getmetatable(_G) == false)\n"
		"	assert(getmetatable(1) == nil and getmetatable(print) == nil and getmetatable(nil) == nil)\n"
		"	assert(next(string) == nil and next(_G) == nil and rawget(string, 'rep') == nil)\n"
		"	assert(('x').rep == string.rep and ('x'):rep(3) == 'xxx' and #('abc'):upper() == 3)\n"
		"end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
}
END_TEST

/* Two states draw different numbers, unlike LuaJIT's, which all begin with the same one. */
START_TEST(seeds)
{
	double drawn[2];

	for (unsigned i = 0; i < 2; i++) {
		vm_begin();
		load_kept("keep(function() return math.random() end)");
		ck_assert_int_eq(run_kept(), LUA_VM_OK);
		drawn[i] = lua_tonumber(vm.L, -1);
		vm_end();
	}
	ck_assert(drawn[0] != drawn[1]);
}
END_TEST

/* ---- what our functions do ---- */

/* Each piece gives the same text in a state of LuaJIT's own; errors without their place. */
static const char *const pieces[] = {
	/* string */
	"('ab'):rep(3)",
	"('ab'):rep(0)",
	"('ab'):rep(-1)",
	"('ab'):rep(2, ',')",
	"('ab'):rep(3, ', ')",
	"('ab'):rep(1, ',')",
	"(''):rep(5)",
	"(''):rep(3, 'x')",
	"('ab'):rep('2')",
	"('ab'):rep(2.9)",
	"('ab'):rep('x')",
	"string.rep()",
	"string.rep({}, 1)",
	"(5):rep(3)",
	"string.rep(5, 3)",
	"('MiXed 1\xc3\x84'):lower()",
	"('MiXed 1\xc3\xa4'):upper()",
	"('abc\\0d'):reverse()",
	"string.lower()",
	"string.upper(12)",
	"string.lower({})",
	"('%d %s %q %5.2f %x %%'):format(1, 'a', 'b\\n\\0', 3.14159, 255)",
	"('%s %s %s'):format(nil, true, 1.5)",
	"('%s'):format(setmetatable({}, { __tostring = function() return 'object' end }))",
	"('%s'):format(setmetatable({}, { __tostring = function() return 1 end }))",
	"('%d'):format('x')",
	"('%d'):format()",
	"('%y'):format(1)",
	"('%5s|%-5s|%.2s'):format('a', 'b', 'cde')",
	"string.format()",
	"string.format(1, 2)",
	/* table.insert, table.remove */
	"with({ 1, 2, 3 }, table.insert, 4)",
	"with({ 1, 2, 3 }, table.insert, 1, 0)",
	"with({ 1, 2, 3 }, table.insert, 2, 9)",
	"with({ 1, 2, 3 }, table.insert, 4, 9)",
	"with({ 1, 2, 3 }, table.insert, 6, 9)",
	"with({ 1, 2, 3 }, table.insert, -1, 9)",
	"with({}, table.insert, 1, 'a')",
	"with({}, table.insert, nil)",
	"with({ 1, 2 }, table.insert)",
	"with({ 1, 2 }, table.insert, 1, 2, 3)",
	"with({ 1, 2 }, table.insert, 'x', 3)",
	"with(5, table.insert, 1)",
	"with({ 1, 2, 3 }, table.remove)",
	"with({ 1, 2, 3 }, table.remove, 1)",
	"with({ 1, 2, 3 }, table.remove, 2)",
	"with({ 1, 2, 3 }, table.remove, 3)",
	"with({ 1, 2, 3 }, table.remove, 4)",
	"with({ 1, 2, 3 }, table.remove, 0)",
	"with({ 1, 2, 3 }, table.remove, -1)",
	"with({}, table.remove)",
	"with({}, table.remove, 1)",
	"with({ 1 }, table.remove, 'x')",
	"with(nil, table.remove)",
	/* table.concat */
	"table.concat({ 1, 2, 'x' })",
	"table.concat({ 1, 2, 'x' }, ', ')",
	"table.concat({ 1, 2, 'x' }, ', ', 2)",
	"table.concat({ 1, 2, 'x' }, ', ', 2, 2)",
	"table.concat({ 1, 2, 'x' }, ', ', 3, 2)",
	"table.concat({ 1, 2, 'x' }, ', ', 2, 5)",
	"table.concat({}, ',')",
	"table.concat({ {} })",
	"table.concat({ 1, true })",
	"table.concat({ 1, 2 }, 5)",
	"table.concat()",
	"table.concat({ 1 }, {})",
	"table.concat({ [0] = 'a', 'b' }, '-', 0)",
	/* table.sort */
	"with({ 3, 1, 2 }, table.sort)",
	"with({ 'b', 'a', 'C' }, table.sort)",
	"with({ 3, 1, 2 }, table.sort, function(a, b) return a > b end)",
	"with({}, table.sort)",
	"with({ 1 }, table.sort, function() error('never called') end)",
	"with({ {}, {} }, table.sort)",
	"with({ 1, 2 }, table.sort, 5)",
	"with({ 1.5, -2, 1e300, -1e300, 0 }, table.sort)",
	"with(setmetatable({ 2, 1 }, { __len = function() return 0 end }), table.sort)",
	/* rawset */
	"rawget(rawset(setmetatable({}, { __newindex = error }), 'a', 1), 'a')",
	"rawset({}, nil, 1)",
	"rawset({}, 'a')",
	"rawset(1, 2, 3)",
};

static const char driver[] = "local function show(v)\n"
			     "	if type(v) ~= 'table' then return type(v) .. ':' .. tostring(v) end\n"
			     "	local out = {}\n"
			     "	for i = 1, 8 do out[i] = tostring(v[i]) end\n"
			     "	return '{' .. table.concat(out, ',') .. '}'\n"
			     "end\n"
			     "local function with(t, f, ...) local r = f(t, ...) return show(t) .. ' ' .. show(r) end\n"
			     "local function run(f)\n"
			     "	local ok, v = pcall(f)\n"
			     "	return tostring(ok) .. ' ' .. (show(v):gsub('^string:[^ ]*:%d+: ', 'string:'))\n"
			     "end\n";

START_TEST(as_luajit)
{
	lua_State *theirs = luaL_newstate();
	char text[4096];
	const char *expected;

	snprintf(text, sizeof(text), "%sreturn run(function() return %s end)", driver, pieces[_i]);
	luaL_openlibs(theirs);
	ck_assert_int_eq(luaL_loadbuffer(theirs, text, strlen(text), "@theirs"), 0);
	ck_assert_msg(lua_pcall(theirs, 0, 1, 0) == 0, "%s", lua_tostring(theirs, -1));
	expected = lua_tostring(theirs, -1);

	vm_begin();
	snprintf(text, sizeof(text), "%skeep(function() return run(function() return %s end) end)", driver, pieces[_i]);
	load_kept(text);
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	ck_assert_msg(strcmp(lua_tostring(vm.L, -1), expected) == 0, "%s:\n%s\nand LuaJIT:\n%s", pieces[_i],
		      lua_tostring(vm.L, -1), expected);
	vm_end();
	lua_close(theirs);
}
END_TEST

/* Random tables of all sizes come out in order, complete, and equal ones as they stood. */
START_TEST(sorted)
{
	vm_begin();
	load_kept(
		"keep(function()\n"
		"	for n = 0, 70 do\n"
		"		local t, sum = {}, 0\n"
		"		for i = 1, n do t[i] = { key = math.random(10), place = i } sum = sum + t[i].key end\n"
		"		table.sort(t, function(a, b) return a.key < b.key end)\n"
		"		assert(#t == n)\n"
		"		for i = 1, n do\n"
		"			sum = sum - t[i].key\n"
		"			local before = t[i - 1]\n"
		"			assert(not before or before.key < t[i].key or before.key == t[i].key and before.place < t[i].place)\n"
		"		end\n"
		"		assert(sum == 0)\n"
		"	end\n"
		"end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
}
END_TEST

/* A comparison that throws, lies or meddles. */
START_TEST(strange_comparisons)
{
	vm_begin();
	load_kept(
		"keep(function()\n"
		"	local t, calls = { 5, 4, 3, 2, 1 }, 0\n"
		"	local ok = pcall(table.sort, t, function(a, b) calls = calls + 1 if calls > 3 then error('x') end return a < b end)\n"
		"	assert(not ok and table.concat(t) == '54321')\n"
		"	for _, answer in ipairs({ true, false }) do\n"
		"		local t = { 5, 4, 3, 2, 1 }\n"
		"		table.sort(t, function() return answer end)\n"
		"		table.sort(t)\n"
		"		assert(table.concat(t) == '12345')\n"
		"	end\n"
		"	local t = { 3, 2, 1 }\n"
		"	table.sort(t, function(a, b) t[1] = nil t[2] = 7 return a < b end)\n"
		"	assert(table.concat(t) == '123')\n"
		"end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
}
END_TEST

/* ---- what must end within its budget ---- */

static const char *const slow[] = {
	"local t = {} for i = 1, 2e5 do t[i] = -i end while true do table.sort(t) end",
	"local t = {} for i = 1, 2e5 do t[i] = i end table.sort(t, function() return true end)",
	"table.sort({ 1, 2, 3 }, function() while true do end end)",
	"local t = {} for i = 1, 2e5 do t[i] = i end while true do table.sort(t, rawequal) end",
	"local t = {} for i = 1, 1e6 do table.insert(t, 1, i) end",
	"local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, table.remove(t, 1)) end",
	"local t = {} for i = 1, 1e5 do t[i] = '' end while true do table.concat(t) end",
	"local t = {} for i = 1, 1e5 do t[i] = '' end while true do table.concat(t, '', 1, 1e5) end",
	"while true do pcall(table.concat, {}, '', 1, 1e9) end",
	"while true do local s = ('x'):rep(1e6) end",
	"while true do local s = (''):rep(1e9) end",
	"local s = ('x'):rep(4e6) local u = s:upper() while true do local v = s:upper() end",
	"local s = ('x'):rep(4e6) local u = s:reverse() while true do local v = s:reverse() end",
	"local s = ('x'):rep(1e6) while true do local v = ('%q'):format(s) end",
	"local s = ('%s'):rep(7000) local t = {} for i = 1, 7000 do t[i] = i end while true do local v = s:format(unpack(t)) end",
	"local t = {} for i = 1, 7000 do t[i] = i end while true do local a = select('#', unpack(t)) end",
	"local s = ('x'):rep(7000) while true do local a = string.char(s:byte(1, -1)) end",
	"while true do pcall(string.byte, ('x'):rep(1e6), 1, -1) end",
	"while true do pcall(unpack, {}, 1, 1e9) end",
	"while true do pcall(string.format, '%999999999s', 'x') end",
	"while true do print() end",
};

START_TEST(slow_functions)
{
	char text[1024];

	vm_begin();
	snprintf(text, sizeof(text),
		 "local calls = 0 keep(function() calls = calls + 1 if calls > 1 then return calls end %s end)",
		 slow[_i]);
	load_kept(text);
	ck_assert_msg(run_kept() == LUA_VM_TIME, "%s: %s", slow[_i], message);
	ck_assert_msg(took_ms <= BUDGET_MS + 100, "%s: %u ms", slow[_i], (unsigned)took_ms);
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	ck_assert_int_eq(lua_tointeger(vm.L, -1), 2);
	vm_end();
}
END_TEST

/* print() is a line of the log, and no more than some of them. */
START_TEST(print)
{
	char path[] = "/tmp/cqlferry-log-XXXXXX";
	char text[8192] = "";
	unsigned lines = 0;
	int fd = mkstemp(path);
	FILE *f;

	ck_assert_int_ge(fd, 0);
	log_use(fd);
	log_set_level(LOG_INFO);
	vm_begin();
	load_kept("keep(function()\n"
		  "	print('text', 1, 2.5, true, nil, '\\n')\n"
		  "	print({})\n"
		  "	print(setmetatable({}, { __tostring = error }))\n"
		  "	print(('long'):rep(1e5))\n"
		  "	for i = 1, 1000 do print(i) end\n"
		  "end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, f), 0);
	fclose(f);
	unlink(path);
	ck_assert_msg(strstr(text, "lua: text 1 2.5 true nil \\n\n") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "lua: table: 0x") != NULL, "%s", text);
	for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	ck_assert_uint_le(lines, LOG_BURST + 1);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("lua_library");

	tcase_add_test(tcase, names);
	tcase_add_test(tcase, gone);
	tcase_add_test(tcase, seeds);
	tcase_add_loop_test(tcase, as_luajit, 0, ARRAY_LEN(pieces));
	tcase_add_test(tcase, sorted);
	tcase_add_test(tcase, strange_comparisons);
	tcase_add_loop_test(tcase, slow_functions, 0, ARRAY_LEN(slow));
	tcase_add_test(tcase, print);
	return run_tcase("lua_library", tcase);
}
