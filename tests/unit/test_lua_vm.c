/*
 * test_lua_vm.c - what scripts may try against a state: each with how it ends, how long that took, and that the next
 * call works. Then loading: files that are no good, globals of their own, modules.
 */
#include "lua_helper.h"

#include <sys/stat.h>

/* On a busy machine, under the address sanitizer. */
#define GENEROUS_MS (BUDGET_MS + 100)

/* Bodies of functions that are called as hooks are. A '%' in `says` stands for the script's path. */
static const struct attack {
	const char *body;
	enum lua_vm_end end;
	const char *says; /* in the message */
} attacks[] = {
	/* endless loops, and ways to keep one */
	{ "while true do end", LUA_VM_TIME, "%:5: the time limit of 20 ms is used up\n\t%:5: in a function" },
	{ "while true do pcall(function() while true do end end) end", LUA_VM_TIME, "the time limit of 20 ms" },
	{ "pcall(pcall, pcall, function() while true do end end) while true do end", LUA_VM_TIME, "time limit" },
	{ "return pcall(function() while true do end end)", LUA_VM_TIME, "time limit" },
	{ "pcall(function() while true do end end) error('another')", LUA_VM_TIME, "time limit" },
	{ "local function f() pcall(f) pcall(f) end f()", LUA_VM_TIME, "time limit" },
	{ "local function f() return f() end f()", LUA_VM_TIME, "time limit" },
	{ "repeat until false", LUA_VM_TIME, "time limit" },
	{ "::again:: goto again", LUA_VM_TIME, "time limit" },
	{ "local function f() while true do end end xpcall(f, f)", LUA_VM_ERROR, "global 'xpcall'" },
	{ "local p = newproxy(true) getmetatable(p).__gc = function() while true do end end", LUA_VM_ERROR,
	  "global 'newproxy'" },
	{ "for i = 1, 1e9 do setmetatable({}, { __gc = function() while true do end end }) end", LUA_VM_TIME,
	  "time limit" },
	{ "return ('a'):rep(1000):find('.-.-b')", LUA_VM_TIME, "time limit" },
	{ "for i = 1, 1e9 do end", LUA_VM_TIME, "time limit" },
	{ "local co = coroutine.wrap(function() while true do end end) co()", LUA_VM_ERROR, "global 'coroutine'" },
	/* in metamethods and functions that C code calls */
	{ "tostring(setmetatable({}, { __tostring = function() while true do end end }))", LUA_VM_TIME, "time limit" },
	{ "('%s'):format(setmetatable({}, { __tostring = function() while true do end end }))", LUA_VM_TIME,
	  "time limit" },
	{ "return setmetatable({}, { __index = function() while true do end end }).x", LUA_VM_TIME, "time limit" },
	{ "local t = setmetatable({}, { __lt = function() while true do end end }) return t < t", LUA_VM_TIME,
	  "time limit" },
	{ "local t = setmetatable({}, { __lt = function() while true do end end }) table.sort({ t, t, t })",
	  LUA_VM_TIME, "time limit" },
	{ "table.sort({ 3, 2, 1 }, function() while true do end end)", LUA_VM_TIME, "time limit" },
	{ "('x'):gsub('x', function() while true do end end)", LUA_VM_TIME, "time limit" },
	{ "error(setmetatable({}, { __tostring = function() while true do end end }))", LUA_VM_ERROR,
	  "(the error is no text but a value of type table)" },
	/* instructions that take long: on the average machine a few milliseconds each */
	{ "local s, u = ('x'):rep(4e6), ('x'):rep(4e6 - 1) .. 'y' while true do local b = s < u end", LUA_VM_TIME,
	  "time limit" },
	{ "local s = ('0'):rep(4e6) while true do local n = s + 0 end", LUA_VM_TIME, "time limit" },
	{ "local s = ('0'):rep(2.5e5) while true do local n = s + 0 end", LUA_VM_TIME, "time limit" },
	{ "local s = ('0'):rep(4e6) while true do local n = tonumber(s) end", LUA_VM_TIME, "time limit" },
	{ "local s = ('0'):rep(4e6) while true do local u = s:sub(1, -2) end", LUA_VM_TIME, "time limit" },
	{ "local s = ('a'):rep(4e6) local u = s:upper() while true do local v = s:upper() end", LUA_VM_TIME,
	  "time limit" },
	{ "local s = ('a'):rep(4e6) while true do local v = s .. 'b' end", LUA_VM_TIME, "time limit" },
	{ "local t = {} for i = 1, 2^14 do t['k' .. i] = 1 end for k in pairs(t) do t[k] = nil end while true do next(t) end",
	  LUA_VM_TIME, "time limit" },
/* the same text as a number, thousands of times in one call */
#define MANY_TEXTS "local s, t = ('0'):rep(8e6), {} for i = 1, 5000 do t[i] = s end "
	{ MANY_TEXTS "math.max(unpack(t))", LUA_VM_ERROR, "%:5: the arguments are too long" },
	{ MANY_TEXTS "bit.bxor(unpack(t))", LUA_VM_ERROR, "%:5: the arguments are too long" },
	{ MANY_TEXTS "string.char(unpack(t))", LUA_VM_ERROR, "%:5: the arguments are too long" },
	{ MANY_TEXTS "('%d'):rep(5000):format(unpack(t))", LUA_VM_ERROR, "%:5: the arguments are too long" },
	{ "local p = ('a'):rep(8e6) while true do ('x'):find(p) end", LUA_VM_TIME, "time limit" },
	/* recursion */
	{ "local function f() return 1 + f() end f()", LUA_VM_ERROR, "%:5: stack overflow" },
	{ "return setmetatable({}, { __index = function(t, k) return t[k] end }).x", LUA_VM_ERROR, "stack overflow" },
	{ "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", LUA_VM_ERROR, "loop in gettable" },
	{ "local t local function f() return ('%s'):format(t) end t = setmetatable({}, { __tostring = f }) return f()",
	  LUA_VM_ERROR, "stack overflow" },
	{ "local function f() table.sort({ 1, 2 }, f) end f()", LUA_VM_ERROR, "stack overflow" },
	{ "local t = {} for i = 1, 7000 do t[i] = i end local function f(...) return 1 + f(unpack(t)) end f()",
	  LUA_VM_ERROR, "stack overflow" },
	/* throws, and nonsense */
	{ "error('boom')", LUA_VM_ERROR, "%:5: boom\n" },
	{ "error('boom', 0)", LUA_VM_ERROR, "boom\n" },
	{ "error()", LUA_VM_ERROR, "value of type nil" },
	{ "error(42, 0)", LUA_VM_ERROR, "42" },
	{ "error(('x'):rep(1e6))", LUA_VM_ERROR, "xxxx" },
	{ "assert(false)", LUA_VM_ERROR, "assertion failed!" },
	{ "local t = nil return t.x", LUA_VM_ERROR, "attempt to index local 't' (a nil value)" },
	{ "return nothing()", LUA_VM_ERROR, "attempt to call global 'nothing' (a nil value)" },
	{ "return 1 + {}", LUA_VM_ERROR, "attempt to perform arithmetic on a table value" },
	{ "return unpack({}, 1, 1e8)", LUA_VM_ERROR, "too many results to unpack" },
	{ "return ('x'):rep(1e9)", LUA_VM_ERROR, "resulting string too long" },
	{ "local x = ('x'):rep(1e12) return x", LUA_VM_ERROR, "%:5: resulting string too long" },
	{ "local x = ('%d'):format('x')", LUA_VM_ERROR,
	  "%:5: bad argument #1 to 'format' (number expected, got string)" },
	{ "local x = table.concat({ {} })", LUA_VM_ERROR,
	  "%:5: invalid value (table) at index 1 in table for 'concat'" },
	{ "table.sort({ 1, 'x' })", LUA_VM_ERROR, "%:5: attempt to compare number with string" },
	{ "local x = ('x'):find('[')", LUA_VM_ERROR, "%:5: malformed pattern (missing ']')" },
	/* globals and the library are read-only */
	{ "counter = 1", LUA_VM_ERROR, "%:5: cannot write the global 'counter': globals are read-only" },
	{ "calls_of_script = 2", LUA_VM_ERROR, "cannot write the global 'calls_of_script'" },
	{ "_G.counter = 1", LUA_VM_ERROR, "cannot write the global 'counter'" },
	{ "_G[1] = 1", LUA_VM_ERROR, "cannot write the global '?'" },
	{ "rawset(_G, 'counter', 1)", LUA_VM_ERROR, "rawset: this table is read-only" },
	{ "string.rep = nil", LUA_VM_ERROR, "cannot write 'string.rep': the table is read-only" },
	{ "math[1] = nil", LUA_VM_ERROR, "cannot write into 'math': the table is read-only" },
	{ "rawset(string, 'rep', nil)", LUA_VM_ERROR, "rawset: this table is read-only" },
	{ "table.insert(string, 1)", LUA_VM_ERROR, "table.insert: this table is read-only" },
	{ "setmetatable(_G, nil)", LUA_VM_ERROR, "cannot change a protected metatable" },
	{ "setmetatable(string, {})", LUA_VM_ERROR, "cannot change a protected metatable" },
	{ "getmetatable('').__index = nil", LUA_VM_ERROR, "attempt to index a boolean value" },
	{ "getmetatable(_G).__newindex = nil", LUA_VM_ERROR, "attempt to index a boolean value" },
	{ "require('module')", LUA_VM_ERROR, "require belongs to the context load, and this is the context request" },
};

/* What uses up the memory; with time for that. */
static const struct attack hogs[] = {
	{ "local s = 'x' while true do s = s .. s end", LUA_VM_MEMORY,
	  "%:5: the memory limit of 32768 KiB is reached\n\t%:5: in a function" },
	{ "local t = {} for i = 1, 1e9 do t[i] = i end", LUA_VM_MEMORY, "memory limit" },
	{ "local t = {} for i = 1, 1e9 do t[i] = {} end", LUA_VM_MEMORY, "memory limit" },
	{ "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e5) .. i end", LUA_VM_MEMORY, "memory limit" },
	{ "local t = {} while true do t = { t } end", LUA_VM_MEMORY, "memory limit" },
	{ "local f while true do local g = f f = function() return g end end", LUA_VM_MEMORY, "memory limit" },
	{ "local t = {} for i = 1, 1e9 do t['k' .. i] = i end", LUA_VM_MEMORY, "memory limit" },
	{ "local t = {} for i = 1, 3e4 do t[i] = ('x'):rep(1e3) end table.concat(t)", LUA_VM_MEMORY, "memory limit" },
	{ "('x'):rep(1e6):gsub('x', ('y'):rep(1e3))", LUA_VM_MEMORY, "memory limit" },
	{ "('x'):rep(1.5e7)", LUA_VM_MEMORY, "memory limit" },
	{ "local function hog() local s = 'x' while true do s = s .. s end end pcall(hog) error('after')",
	  LUA_VM_MEMORY, "memory limit" },
};

static char script[64];

/* Whether the message has `says`, whose '%' are the script's path. */
static bool message_says(const char *says)
{
	char expected[512] = "";
	size_t n = 0;

	for (; *says && n < sizeof(expected) - sizeof(script); says++)
		n += (size_t)sprintf(expected + n, *says == '%' ? "%s" : "%.1s", *says == '%' ? script : says);
	return strstr(message, expected) != NULL;
}

/* Loads a script whose hook does this in its first call only. */
static void load_attack(const char *body)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "calls_of_script = 0 local calls = 0\n"
		 "keep(function()\n"
		 "	calls = calls + 1\n"
		 "	if calls > 1 then return calls end\n"
		 "%s\n"
		 "end)",
		 body);
	allow_keep();
	write_script(script, text);
	ck_assert_msg(lua_vm_run_file(&vm, script, message, sizeof(message)), "%s", message);
	unlink(script);
	lua_vm_freeze(&vm);
}

static void attack(const struct attack *a, unsigned generous_ms)
{
	load_attack(a->body);
	ck_assert_msg(run_kept() == a->end, "%s: %s", a->body, message);
	ck_assert_msg(message_says(a->says), "%s: %s", a->body, message);
	ck_assert_msg(took_ms <= generous_ms, "%s took %u ms", a->body, (unsigned)took_ms);
	/* Nothing of it is left: the state's limits are those of before. */
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s: %s", a->body, message);
	ck_assert_int_eq(lua_tointeger(vm.L, -1), 2);
	ck_assert_str_eq(message, "");
	vm_end();
}

START_TEST(attacks_on_time)
{
	vm_begin();
	attack(&attacks[_i], GENEROUS_MS);
}
END_TEST

START_TEST(attacks_on_memory)
{
	struct lua_vm_limits limits = { .load_time_us = 2000 * 1000,
					.time_us = 20 * 1000 * 1000,
					.memory = MEMORY_BYTES };

	ck_assert(lua_vm_init(&vm, &limits));
	attack(&hogs[_i], 2000);
}
END_TEST

/* What a script keeps for ever fills the state: each call that wants more fails, at once, and those that do not work. */
START_TEST(leak)
{
	unsigned refused = 0;

	vm_begin();
	load_kept("local kept, calls = {}, 0\n"
		  "keep(function()\n"
		  "	calls = calls + 1\n"
		  "	if calls % 2 == 0 then return 'fine' end\n"
		  "	for i = 1, 5000 do kept[#kept + 1] = {} end\n"
		  "end)");
	for (unsigned i = 0; i < 400; i++) {
		enum lua_vm_end end = run_kept();

		if (i % 2 == 1)
			ck_assert_msg(end == LUA_VM_OK, "%s", message);
		else
			refused += end == LUA_VM_MEMORY;
		ck_assert_uint_le(took_ms, GENEROUS_MS);
		lua_settop(vm.L, 1);
	}
	ck_assert_uint_gt(refused, 20);
	vm_end();
}
END_TEST

/*
 * At its end a round of the collector makes the table of strings smaller, for
 * which a full state has no room: it gets it, and the process goes on.
 */
START_TEST(full_while_strings_go)
{
	/* Making 90 000 strings takes a good part of the usual time, and more beside compilers. */
	struct lua_vm_limits limits = { .load_time_us = 5000 * 1000, .time_us = 1000 * 1000, .memory = MEMORY_BYTES };
	unsigned refused = 0;

	ck_assert(lua_vm_init(&vm, &limits));
	load_kept("local kept, strings, calls = {}, {}, 0\n"
		  "for i = 1, 90000 do strings[i] = 'k' .. i end\n"
		  "keep(function()\n"
		  "	calls = calls + 1\n"
		  "	if calls == 300 then kept = nil end\n"
		  "	if calls >= 300 then return 'fine' end\n"
		  "	if calls > 40 then strings = nil end\n"
		  "	while true do kept = { kept } end\n"
		  "end)");
	for (unsigned i = 1; i < 300; i++) {
		enum lua_vm_end end = run_kept();

		ck_assert_int_ne(end, LUA_VM_OK);
		refused += end == LUA_VM_MEMORY;
	}
	ck_assert_uint_gt(refused, 100);
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
}
END_TEST

/* Garbage is no leak, also where what is kept leaves little room: the collector is in time. */
START_TEST(garbage)
{
	/* Time for machines with other things to do: steps of the collector are long here. */
	struct lua_vm_limits limits = { .load_time_us = 5000 * 1000, .time_us = 1000 * 1000, .memory = MEMORY_BYTES };

	ck_assert(lua_vm_init(&vm, &limits));
	load_kept("local kept, n = {}, 0\n"
		  "for i = 1, 150000 do kept[i] = { i, 'v' .. i } end\n"
		  "keep(function()\n"
		  "	n = n + 1\n"
		  "	local t = {}\n"
		  "	for i = 1, 100 do t[i] = 'k' .. (n + i) end\n"
		  "	return #kept\n"
		  "end)");
	ck_assert_uint_gt(vm.used, MEMORY_BYTES / 2);
	for (unsigned i = 0; i < 10000; i++) {
		ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
		lua_settop(vm.L, 1);
	}
	vm_end();
}
END_TEST

/* Slow instructions of a call count from its first one on, where what makes them slow was there before the call. */
START_TEST(slow_from_the_start)
{
	char text[8192] = "local s = ('0'):rep(8e6)\nkeep(function()\nlocal n\n";

	for (unsigned i = 0; i < 400; i++)
		strcat(text, "n = s + 0\n");
	strcat(text, "end)");
	vm_begin();
	load_kept(text);
	ck_assert_int_eq(run_kept(), LUA_VM_TIME);
	ck_assert_uint_le(took_ms, GENEROUS_MS);
	vm_end();
}
END_TEST

/* The budget is that of a call: many short ones do not add up. */
START_TEST(budget_of_each_call)
{
	vm_begin();
	load_kept("keep(function() for i = 1, 1000 do end return 1 end)");
	for (unsigned i = 0; i < 20000; i++) {
		ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
		lua_settop(vm.L, 1);
	}
	vm_end();
}
END_TEST

/* ---- C functions ---- */

NORETURN static int charge_for_ever(lua_State *L)
{
	for (;;)
		lua_vm_charge(L, 10);
}

static int add_charge(lua_State *L)
{
	lua_pushcfunction(L, charge_for_ever);
	lua_setglobal(L, "charge_for_ever");
	return 0;
}

START_TEST(charges)
{
	vm_begin();
	ck_assert_int_eq(lua_vm_run(&vm, LUA_CONTEXT_LOAD, add_charge, NULL, NULL, 0), LUA_VM_OK);
	load_kept("keep(function() while true do pcall(charge_for_ever) end end)");
	ck_assert_int_eq(run_kept(), LUA_VM_TIME);
	ck_assert_msg(strstr(message, "time limit") != NULL && strstr(message, "in 'pcall'") != NULL, "%s", message);
	ck_assert_uint_le(took_ms, GENEROUS_MS);
	vm_end();
}
END_TEST

static int only_when_ticking(lua_State *L)
{
	lua_vm_need_context(L, 1u << LUA_CONTEXT_LOAD | 1u << LUA_CONTEXT_TICK, "proxy.when");
	return 0;
}

static int add_when(lua_State *L)
{
	lua_pushcfunction(L, only_when_ticking);
	lua_setglobal(L, "when");
	return 0;
}

START_TEST(contexts)
{
	vm_begin();
	ck_assert_int_eq(lua_vm_run(&vm, LUA_CONTEXT_LOAD, add_when, NULL, NULL, 0), LUA_VM_OK);
	load_kept("when() keep(function() when() end)");
	ck_assert_int_eq(run_kept(), LUA_VM_ERROR);
	ck_assert_msg(strstr(message, ":1: proxy.when belongs to the context load or tick, "
				      "and this is the context request\n") != NULL,
		      "%s", message);
	lua_getfield(vm.L, LUA_REGISTRYINDEX, "kept");
	ck_assert_int_eq(lua_vm_call(&vm, LUA_CONTEXT_TICK, 0, 0, NULL, 0), LUA_VM_OK);
	ck_assert_int_eq(vm.context, LUA_CONTEXT_NONE);
	vm_end();
}
END_TEST

/* Arguments and results pass; nothing but them is on the stack. */
START_TEST(arguments)
{
	lua_State *L;

	vm_begin();
	L = vm.L;
	load_kept("keep(function(a, b, ...) return b, a, select('#', ...) end)");
	lua_getfield(L, LUA_REGISTRYINDEX, "kept");
	for (int i = 1; i <= 5; i++)
		lua_pushinteger(L, i);
	ck_assert_int_eq(lua_vm_call(&vm, LUA_CONTEXT_REQUEST, 5, 3, NULL, 0), LUA_VM_OK);
	ck_assert_int_eq(lua_gettop(L), 4);
	ck_assert_int_eq(lua_tointeger(L, 2), 2);
	ck_assert_int_eq(lua_tointeger(L, 3), 1);
	ck_assert_int_eq(lua_tointeger(L, 4), 3);
	lua_pop(L, 3);
	vm_end();
}
END_TEST

/* A state that has no room for its own library is none; whatever the limit is, that is noticed and nothing is lost. */
START_TEST(tiny_limits)
{
	unsigned made = 0;

	for (uint64_t memory = 0; memory < 128 * 1024; memory += 509) {
		struct lua_vm_limits limits = { .load_time_us = 1000000, .time_us = 2000, .memory = memory };

		if (lua_vm_init(&vm, &limits)) {
			made++;
			lua_vm_freeze(&vm);
		}
		vm_end();
	}
	ck_assert_uint_gt(made, 0);
	ck_assert_uint_lt(made, 250);
}
END_TEST

/* Compiled loops are not interrupted, C functions are; and the allocator refuses without a look at the stack. */
START_TEST(jit)
{
	struct lua_vm_limits limits = {
		.load_time_us = 2000 * 1000, .time_us = 2000 * 1000, .memory = MEMORY_BYTES, .jit = true
	};

	ck_assert(lua_vm_init(&vm, &limits));
	load_kept("local n = 0\n"
		  "keep(function()\n"
		  "	n = n + 1\n"
		  "	if n == 2 then return ('a'):rep(20000):find('.-.-b') end\n"
		  "	if n == 3 then local t = {} for i = 1, 1e9 do t[i] = { i } end end\n"
		  "	local sum = 0 for i = 1, 1e6 do sum = sum + i end return sum\n"
		  "end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	ck_assert(lua_tonumber(vm.L, -1) == 500000500000.0);
	ck_assert_int_eq(run_kept(), LUA_VM_TIME);
	ck_assert_int_eq(run_kept(), LUA_VM_MEMORY);
	ck_assert_str_eq(message, "the memory limit of 32768 KiB is reached");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	vm_end();
}
END_TEST

/* Its library is for those who write programs: what it changes holds for all scripts, and it calls back. */
START_TEST(jit_library)
{
	struct lua_vm_limits limits = {
		.load_time_us = 2000 * 1000, .time_us = BUDGET_MS * 1000, .memory = MEMORY_BYTES, .jit = true
	};

	ck_assert(lua_vm_init(&vm, &limits));
	ck_assert_msg(load("assert(jit == nil and _G.jit == nil)"), "%s", message);
	vm_end();
}
END_TEST

/* What is loaded is not compiled: whoever loads waits for it. */
START_TEST(jit_while_loading)
{
	struct lua_vm_limits limits = {
		.load_time_us = 100 * 1000, .time_us = BUDGET_MS * 1000, .memory = MEMORY_BYTES, .jit = true
	};

	ck_assert(lua_vm_init(&vm, &limits));
	ck_assert(!load("while true do end"));
	ck_assert_msg(strstr(message, "the time limit of 100 ms is used up") != NULL, "%s", message);
	vm_end();
}
END_TEST

/* ---- loading ---- */

static const struct {
	const char *text;
	const char *says;
} bad_scripts[] = {
	{ "local x = = 1", "%:1: unexpected symbol near '='" },
	{ "\n\nif true then", "%:3: 'end' expected near '<eof>'" },
	{ "\n\nerror('not today')", "%:3: not today\n\t" },
	{ "\nlocal t = nil\nt.x = 1", "%:3: attempt to index local 't'" },
	{ "while true do end", "%:1: the time limit of 300 ms is used up" },
	{ "local s = 'x' while true do s = s .. s end", "%:1: the memory limit of 32768 KiB is reached" },
	{ "require('no-such-module')", "%:1: module 'no-such-module' is not found: [lua] lua_path names no folder" },
	{ "require('../x')", "%:1: module '../x': a name has letters" },
	{ "require('a..b')", "%:1: module 'a..b': a name has letters" },
	{ "require('')", "%:1: module '': a name has letters" },
	{ "require('/etc/passwd')", "a name has letters" },
	{ "\x1bLJ\x02", "wrong mode: this is compiled; only the text of a script is loaded" },
	{ "load('return 1')()", "global 'load'" },
	{ "string.x = 1", "%:1: cannot write 'string.x': the table is read-only" },
	{ "setmetatable(_G, {})", "cannot change a protected metatable" },
	/* they would be values of the library ffi */
	{ "local x = 1LL", "%: numbers that end in LL, ULL or i are not available" },
	{ "local x = 0x7fULL", "%: numbers that end in LL, ULL or i" },
	{ "return 2i", "%: numbers that end in LL, ULL or i" },
};

START_TEST(bad_script)
{
	vm_begin();
	write_script(script, bad_scripts[_i].text);
	ck_assert(!lua_vm_run_file(&vm, script, message, sizeof(message)));
	unlink(script);
	ck_assert_msg(message_says(bad_scripts[_i].says), "%s", message);
	vm_end();
}
END_TEST

/* Budgets of scripts are one: the second does not get what the first has used up. */
START_TEST(load_time_is_shared)
{
	struct lua_vm_limits limits = { .load_time_us = 200 * 1000, .time_us = 2000, .memory = MEMORY_BYTES };
	unsigned loaded = 0;

	ck_assert(lua_vm_init(&vm, &limits));
	while (loaded < 1000 && load("local n = 0 for i = 1, 3e5 do n = n + i end"))
		loaded++;
	ck_assert_uint_gt(loaded, 0);
	ck_assert_uint_lt(loaded, 1000);
	ck_assert_msg(strstr(message, "the time limit of 200 ms is used up") != NULL, "%s", message);
	vm_end();
}
END_TEST

START_TEST(no_file)
{
	vm_begin();
	ck_assert(!lua_vm_run_file(&vm, "/tmp/no-such-script.lua", message, sizeof(message)));
	ck_assert_str_eq(message, "/tmp/no-such-script.lua: No such file or directory");
	ck_assert(!lua_vm_run_file(&vm, "/tmp", message, sizeof(message)));
	ck_assert_str_eq(message, "/tmp: is not a file");
	snprintf(script, sizeof(script), "/tmp/cqlferry-lua-%d.fifo", (int)getpid());
	ck_assert_int_eq(mkfifo(script, 0600), 0);
	ck_assert(!lua_vm_run_file(&vm, script, message, sizeof(message)));
	ck_assert_msg(message_says("%: is not a file"), "%s", message);
	unlink(script);
	vm_end();
}
END_TEST

/* Lua shortens paths to 60 characters; people need the whole one. */
START_TEST(long_path)
{
	char folder[256] = "/tmp/cqlferry-lua-XXXXXX", path[512];
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	for (unsigned run = 0; run < 2; run++) {
		snprintf(path, sizeof(path), "%s/%0*d.lua", folder, run == 0 ? 80 : 200, 7);
		snprintf(script, sizeof(script), "%s", "");
		f = fopen(path, "w");
		ck_assert_ptr_nonnull(f);
		fputs(run == 0 ? "\nlocal x = = 1" : "\nerror('late')", f);
		fclose(f);
		vm_begin();
		ck_assert(!lua_vm_run_file(&vm, path, message, sizeof(message)));
		ck_assert_msg(strncmp(message, path, strlen(path)) == 0 &&
				      strncmp(message + strlen(path), ":2: ", 4) == 0,
			      "%s", message);
		vm_end();
		unlink(path);
	}
	rmdir(folder);
}
END_TEST

/* Where path and text together are longer than a message: it ends in time. */
START_TEST(path_and_text_too_long)
{
	struct {
		struct lua_vm vm;
		char behind[64];
	} *both = calloc(1, sizeof(*both));
	struct lua_vm_limits limits = { .load_time_us = 300 * 1000, .time_us = 20000, .memory = MEMORY_BYTES };
	char path[2048] = "/tmp/cqlferry-lua-XXXXXX";
	size_t ends[6], n;
	FILE *f;

	memset(both->behind, 7, sizeof(both->behind));
	ck_assert_ptr_nonnull(mkdtemp(path));
	n = strlen(path);
	for (unsigned i = 0; i < 6; i++) {
		ends[i] = n;
		n += (size_t)sprintf(path + n, "/%0*u", 200, i);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	strcpy(path + n, "/x.lua");
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs("local function f() error(('x'):rep(3000)) end f()", f);
	fclose(f);
	ck_assert(lua_vm_init(&both->vm, &limits));
	ck_assert(!lua_vm_run_file(&both->vm, path, message, sizeof(message)));
	ck_assert_int_eq(strncmp(message, path, 1000), 0);
	for (unsigned i = 0; i < sizeof(both->behind); i++)
		ck_assert_int_eq(both->behind[i], 7);
	lua_vm_fini(&both->vm);
	free(both);
	unlink(path);
	path[n] = '\0';
	for (unsigned i = 6; i-- > 0; path[ends[i]] = '\0')
		ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* Each file has its own globals; later ones do not see them, and nobody writes them after loading. */
START_TEST(own_globals)
{
	vm_begin();
	ck_assert_msg(load("shared = 1 assert(shared == 1 and _G.shared == 1) math = { pi = 3 } assert(math.pi == 3)"),
		      "%s", message);
	load_kept("assert(shared == nil and math.pi > 3)\n"
		  "mine = 1\n"
		  "function add() return mine + 1 end\n"
		  "keep(function() return add() end)");
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s", message);
	ck_assert_int_eq(lua_tointeger(vm.L, -1), 2);
	vm_end();
}
END_TEST

static void write_module(const char *folder, const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void remove_module(const char *folder, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	ck_assert_int_eq(remove(path), 0);
}

START_TEST(modules)
{
	char one[] = "/tmp/cqlferry-lua-XXXXXX", two[] = "/tmp/cqlferry-lua-XXXXXX", sub[64];
	char *folders[] = { one, two };

	ck_assert_ptr_nonnull(mkdtemp(one));
	ck_assert_ptr_nonnull(mkdtemp(two));
	snprintf(sub, sizeof(sub), "%s/sub", two);
	ck_assert_int_eq(mkdir(sub, 0700), 0);
	write_module(one, "first.lua", "loads = (loads or 0) + 1 return { loads = loads, name = ... }");
	write_module(two, "first.lua", "return 'hidden by the other folder'");
	write_module(sub, "deep.lua", "return require('first').loads + 10");
	write_module(two, "nothing.lua", "local x = 1");
	write_module(two, "loop.lua", "local x = require('loop2') return x");
	write_module(two, "loop2.lua", "local x = require('loop') return x");
	write_module(two, "wrong.lua", "\nreturn +");

	vm_begin();
	lua_vm_set_path(&vm, folders, 2);
	ck_assert_msg(load("local a, b = require('first'), require('first')\n"
			   "assert(a == b and a.loads == 1 and a.name == 'first' and loads == nil)\n"
			   "assert(require('sub.deep') == 11 and require('nothing') == true)"),
		      "%s", message);
	ck_assert_msg(load("assert(require('first').loads == 1)"), "%s", message);
	ck_assert(!load("require('loop')"));
	ck_assert_msg(strstr(message, "loop2.lua:1: module 'loop' requires itself, by way of others, or ") != NULL,
		      "%s", message);
	ck_assert(!load("require('wrong')"));
	ck_assert_msg(strstr(message, "/wrong.lua:2: unexpected symbol") != NULL, "%s", message);
	ck_assert(!load("require('missing')"));
	ck_assert_msg(strstr(message, "module 'missing' is not found in the folders of [lua] lua_path") != NULL, "%s",
		      message);
	vm_end();

	remove_module(sub, "deep.lua");
	remove_module(one, "first.lua");
	for (unsigned i = 0; i < 5; i++)
		remove_module(two,
			      (const char *[]){ "first.lua", "nothing.lua", "loop.lua", "loop2.lua", "wrong.lua" }[i]);
	ck_assert_int_eq(rmdir(sub) | rmdir(one) | rmdir(two), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("lua_vm");

	tcase_add_loop_test(tcase, attacks_on_time, 0, ARRAY_LEN(attacks));
	tcase_add_loop_test(tcase, attacks_on_memory, 0, ARRAY_LEN(hogs));
	tcase_add_test(tcase, leak);
	tcase_add_test(tcase, full_while_strings_go);
	tcase_add_test(tcase, garbage);
	tcase_add_test(tcase, slow_from_the_start);
	tcase_add_test(tcase, budget_of_each_call);
	tcase_add_test(tcase, charges);
	tcase_add_test(tcase, contexts);
	tcase_add_test(tcase, arguments);
	tcase_add_test(tcase, tiny_limits);
	tcase_add_test(tcase, jit);
	tcase_add_test(tcase, jit_library);
	tcase_add_test(tcase, jit_while_loading);
	tcase_add_loop_test(tcase, bad_script, 0, ARRAY_LEN(bad_scripts));
	tcase_add_test(tcase, load_time_is_shared);
	tcase_add_test(tcase, no_file);
	tcase_add_test(tcase, long_path);
	tcase_add_test(tcase, path_and_text_too_long);
	tcase_add_test(tcase, own_globals);
	tcase_add_test(tcase, modules);
	return run_tcase("lua_vm", tcase);
}
