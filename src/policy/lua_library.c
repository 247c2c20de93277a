/* lua_library.c - see lua_library.h */
#include "policy/lua_library.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "policy/lua_sandbox.h"
#include "policy/lua_vm.h"

/* What functions do per element of a table, in steps of about a nanosecond. */
#define STEPS_PER_MOVE 10

/* ---- base ---- */

/* Never calls __tostring: that is the script's business before it prints. */
static size_t put_value(lua_State *L, int index, char *out, size_t size)
{
	int type = lua_type(L, index);
	int n;

	if (type == LUA_TSTRING)
		n = snprintf(out, size, "%.*s", (int)MIN(lua_objlen(L, index), size), lua_tostring(L, index));
	else if (type == LUA_TNUMBER)
		n = snprintf(out, size, "%.14g", lua_tonumber(L, index));
	else if (type == LUA_TBOOLEAN)
		n = snprintf(out, size, "%s", lua_toboolean(L, index) ? "true" : "false");
	else
		n = snprintf(out, size, type == LUA_TNIL ? "nil" : "%s: %p", lua_typename(L, type),
			     lua_topointer(L, index));
	return MIN((size_t)MAX(n, 0), size - 1);
}

static int print(lua_State *L)
{
	char line[1024];
	size_t n = 0;
	int count = lua_gettop(L);

	if (!log_enabled(LOG_INFO))
		return 0;
	line[0] = '\0';
	for (int i = 1; i <= count && n < sizeof(line) - 2; i++) {
		if (i > 1)
			line[n++] = ' ';
		n += put_value(L, i, line + n, sizeof(line) - n);
	}
	log_limited(LOG_INFO, "lua: %s", line);
	return 0;
}

static void refuse_protected(lua_State *L, const char *function)
{
	if (lua_sandbox_is_protected(L, 1))
		luaL_error(L, "%s: this table is read-only", function);
}

static int rawset(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	luaL_checkany(L, 3);
	refuse_protected(L, "rawset");
	lua_settop(L, 3);
	lua_rawset(L, 1);
	return 1;
}

void lua_library_add_base(lua_State *L)
{
	lua_pushcfunction(L, print);
	lua_setfield(L, -2, "print");
	lua_pushcfunction(L, rawset);
	lua_setfield(L, -2, "rawset");
}

/* ---- string ---- */

/*
 * What is charged before a function of LuaJIT's is called. The two calls are
 * made by Lua code, the second as a tail call, so that the function sees the
 * script as its caller, whose place it puts in front of its errors.
 */
static const char charged_call[] = "local charge, call = ...\n"
				   "return function(...)\n"
				   "	charge(...)\n"
				   "	return call(...)\n"
				   "end\n";

/* For charges, in whose caller's caller the mistake is. */
static int refuse(lua_State *L, const char *text)
{
	luaL_where(L, 2);
	lua_pushstring(L, text);
	lua_concat(L, 2);
	return lua_error(L);
}

/*
 * For functions whose time goes with the length of the strings that they get:
 * also where they read them as numbers, thousands that may all be the same one.
 */
static int charge_length(lua_State *L)
{
	size_t length = 0;

	for (int i = lua_gettop(L); i > 0; i--) {
		if (lua_type(L, i) == LUA_TSTRING)
			length += lua_objlen(L, i);
	}
	if (length > lua_vm_of(L)->limits.memory / 4) /* longer than any string can be */
		return refuse(L, "the arguments are too long");
	lua_vm_charge(L, (uint32_t)MIN(length, UINT32_MAX));
	lua_vm_check_stack(L); /* format() calls a __tostring */
	return 0;
}

/* string.rep(s, n [, separator]): the length of the result is known before. */
static int charge_result(lua_State *L)
{
	lua_Number length = (lua_Number)lua_objlen(L, 1) + (lua_isstring(L, 3) ? (lua_Number)lua_objlen(L, 3) : 0);

	if (!lua_isstring(L, 1) || !lua_isnumber(L, 2))
		return 0;
	length *= lua_tonumber(L, 2);
	if (length > (lua_Number)lua_vm_of(L)->limits.memory) /* LuaJIT's own would take the number modulo 2^32 */
		return refuse(L, "resulting string too long");
	if (length > 0)
		lua_vm_charge(L, (uint32_t)MIN(length, UINT32_MAX));
	return 0;
}

/* table.concat(t [, separator [, from [, to]]]): the elements are counted; the result's length is bounded by the memory. */
static int charge_elements(lua_State *L)
{
	if (lua_istable(L, 1))
		lua_vm_charge(L, (uint32_t)MIN(lua_objlen(L, 1) * STEPS_PER_MOVE, UINT32_MAX));
	return 0;
}

static void add_charged(lua_State *L, const char *library, const char *name, lua_CFunction charge)
{
	if (luaL_loadbuffer(L, charged_call, sizeof(charged_call) - 1, "=library") != 0)
		(void)lua_error(L);
	lua_pushcfunction(L, charge);
	lua_getglobal(L, library);
	lua_getfield(L, -1, name);
	lua_replace(L, -2);
	lua_call(L, 2, 1);
	lua_setfield(L, -2, name);
}

void lua_library_add_string(lua_State *L)
{
	add_charged(L, "string", "char", charge_length);
	add_charged(L, "string", "format", charge_length);
	add_charged(L, "string", "lower", charge_length);
	add_charged(L, "string", "rep", charge_result);
	add_charged(L, "string", "reverse", charge_length);
	add_charged(L, "string", "upper", charge_length);
}

/* ---- math, bit ---- */

void lua_library_add_math(lua_State *L)
{
	add_charged(L, "math", "max", charge_length);
	add_charged(L, "math", "min", charge_length);
}

void lua_library_add_bit(lua_State *L)
{
	add_charged(L, "bit", "band", charge_length);
	add_charged(L, "bit", "bor", charge_length);
	add_charged(L, "bit", "bxor", charge_length);
}

/* ---- table ---- */

static int check_writable(lua_State *L, const char *function)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	refuse_protected(L, function);
	return (int)lua_objlen(L, 1);
}

/* table.insert(t, [position,] value) */
static int insert(lua_State *L)
{
	int count = check_writable(L, "table.insert");
	int position = count + 1;

	switch (lua_gettop(L)) {
	case 2:
		break;
	case 3:
		position = luaL_checkint(L, 2);
		for (int i = count; i >= position; i--) {
			lua_vm_charge(L, STEPS_PER_MOVE);
			lua_rawgeti(L, 1, i);
			lua_rawseti(L, 1, i + 1);
		}
		break;
	default:
		return luaL_error(L, "wrong number of arguments to 'insert'");
	}
	lua_rawseti(L, 1, position);
	return 0;
}

/* table.remove(t [, position]) */
static int take_out(lua_State *L)
{
	int count = check_writable(L, "table.remove");
	int position = luaL_optint(L, 2, count);

	if (position < 1 || position > count)
		return 0;
	lua_rawgeti(L, 1, position);
	for (; position < count; position++) {
		lua_vm_charge(L, STEPS_PER_MOVE);
		lua_rawgeti(L, 1, position + 1);
		lua_rawseti(L, 1, position);
	}
	lua_pushnil(L);
	lua_rawseti(L, 1, count);
	return 1;
}

/* As lua_lessthan(), whose error would have no place. */
static bool is_less_by_itself(lua_State *L)
{
	int type = lua_type(L, -1);

	if (type == lua_type(L, -2) && (type == LUA_TNUMBER || type == LUA_TSTRING))
		return lua_lessthan(L, -1, -2);
	if (!luaL_getmetafield(L, -1, "__lt") && !luaL_getmetafield(L, -2, "__lt"))
		return luaL_error(L,
				  type == lua_type(L, -2) ? "attempt to compare two %s values"
							  : "attempt to compare %s with %s",
				  luaL_typename(L, -2), luaL_typename(L, -1));
	lua_pop(L, 1);
	return lua_lessthan(L, -1, -2);
}

/* Whether the value at the top is less than the one below it; takes both off. The comparison, or nil, is at 2. */
static bool take_is_less(lua_State *L)
{
	bool is_less;

	lua_vm_charge(L, STEPS_PER_MOVE);
	if (lua_isnil(L, 2)) {
		is_less = is_less_by_itself(L);
		lua_pop(L, 2);
		return is_less;
	}
	lua_pushvalue(L, 2);
	lua_insert(L, -3);
	lua_insert(L, -2);
	lua_call(L, 2, 1);
	is_less = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return is_less;
}

/* Merges from[low, mid) and from[mid, high) into `to`; both are tables on the stack. An equal one of the left goes first. */
static void merge(lua_State *L, int from, int to, int low, int mid, int high)
{
	int left = low;
	int right = mid;

	for (int i = low; i < high; i++) {
		bool take_right = left == mid;

		if (left < mid && right < high) {
			lua_rawgeti(L, from, left);
			lua_rawgeti(L, from, right);
			take_right = take_is_less(L);
		}
		lua_rawgeti(L, from, take_right ? right++ : left++);
		lua_rawseti(L, to, i);
	}
}

/*
 * table.sort(t [, is_less]), a merge sort from the bottom up between two tables
 * of ours: a comparison that makes no sense leads to some order, one that
 * throws leaves `t` alone, and one that writes into `t` disturbs nothing.
 */
static int sort(lua_State *L)
{
	int count = check_writable(L, "table.sort");
	int from = 3;
	int to = 4;

	if (!lua_isnoneornil(L, 2))
		luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_vm_check_stack(L);
	lua_createtable(L, count, 0);
	lua_createtable(L, count, 0);
	for (int i = 1; i <= count; i++) {
		lua_vm_charge(L, STEPS_PER_MOVE);
		lua_rawgeti(L, 1, i);
		lua_rawseti(L, from, i);
	}
	for (int width = 1; width < count; width *= 2) {
		for (int low = 1; low <= count; low += 2 * width)
			merge(L, from, to, low, MIN(low + width, count + 1), MIN(low + 2 * width, count + 1));
		from = to;
		to = 7 - to;
	}
	for (int i = 1; i <= count; i++) {
		lua_vm_charge(L, STEPS_PER_MOVE);
		lua_rawgeti(L, from, i);
		lua_rawseti(L, 1, i);
	}
	return 0;
}

void lua_library_add_table(lua_State *L)
{
	add_charged(L, "table", "concat", charge_elements);
	lua_pushcfunction(L, insert);
	lua_setfield(L, -2, "insert");
	lua_pushcfunction(L, take_out);
	lua_setfield(L, -2, "remove");
	lua_pushcfunction(L, sort);
	lua_setfield(L, -2, "sort");
}
