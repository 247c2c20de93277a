/* lua_sandbox.c - see lua_sandbox.h */
#include "policy/lua_sandbox.h"

#include <lauxlib.h>
#include <lualib.h>

#include "policy/lua_library.h"
#include "policy/lua_matcher.h"
#include "policy/lua_vm.h"

static const char *const base_names[] = {
	"assert", "error",  "getmetatable", "ipairs",   "next",     "pairs", "pcall",  "rawequal",
	"rawget", "select", "setmetatable", "tonumber", "tostring", "type",  "unpack", "_VERSION",
};
/* Those that are not here are ours, or charged by ours (lua_library.c). */
static const char *const string_names[] = { "byte", "len", "sub" };
static const char *const math_names[] = {
	"abs",   "acos",   "asin",       "atan", "atan2", "ceil", "cos",   "cosh", "deg", "exp",
	"floor", "fmod",   "frexp",      "huge", "ldexp", "log",  "log10", "modf", "pi",  "pow",
	"rad",   "random", "randomseed", "sin",  "sinh",  "sqrt", "tan",   "tanh",
};
static const char *const bit_names[] = {
	"arshift", "bnot", "bswap", "lshift", "rol", "ror", "rshift", "tobit", "tohex",
};

/* The member of a metatable that says that its table is protected: [1] = true. */
#define PROTECTED_MARK 1

/* Pushes a table with these fields of the one at `from`. */
static void push_selection(lua_State *L, int from, const char *const *names, size_t count)
{
	lua_createtable(L, 0, (int)count + 8);
	for (size_t i = 0; i < count; i++) {
		lua_getfield(L, from, names[i]);
		lua_setfield(L, -2, names[i]);
	}
}

static int refuse_write(lua_State *L)
{
	const char *name = lua_tostring(L, lua_upvalueindex(1));

	if (lua_type(L, 2) == LUA_TSTRING)
		return luaL_error(L, "cannot write '%s.%s': the table is read-only", name, lua_tostring(L, 2));
	return luaL_error(L, "cannot write into '%s': the table is read-only", name);
}

/* The metatable of an empty table in front of the one on the top, which it pops; __newindex is to be set. */
static void push_guard(lua_State *L)
{
	lua_createtable(L, 1, 3);
	lua_insert(L, -2);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, false);
	lua_setfield(L, -2, "__metatable");
	lua_pushboolean(L, true);
	lua_rawseti(L, -2, PROTECTED_MARK);
}

void lua_sandbox_protect(lua_State *L, const char *name)
{
	lua_newtable(L);
	lua_insert(L, -2);
	push_guard(L);
	lua_pushstring(L, name);
	lua_pushcclosure(L, refuse_write, 1);
	lua_setfield(L, -2, "__newindex");
	lua_setmetatable(L, -2);
}

bool lua_sandbox_is_protected(lua_State *L, int index)
{
	bool is_protected;

	if (!lua_getmetatable(L, index))
		return false;
	lua_rawgeti(L, -1, PROTECTED_MARK);
	is_protected = lua_toboolean(L, -1);
	lua_pop(L, 2);
	return is_protected;
}

/* A global is written: kept while scripts are loaded, refused afterwards. */
static int write_global(lua_State *L)
{
	if (lua_vm_of(L)->is_frozen) {
		const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";

		return luaL_error(L,
				  "cannot write the global '%s': globals are read-only once the scripts are loaded "
				  "(did you mean 'local %s'?)",
				  name, name);
	}
	lua_settop(L, 3);
	lua_rawset(L, lua_upvalueindex(1));
	return 0;
}

bool lua_sandbox_is_tainted(lua_State *L)
{
	bool is_there;

	lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
	lua_getfield(L, -1, "ffi");
	is_there = !lua_isnil(L, -1);
	lua_pop(L, 2);
	return is_there;
}

void lua_sandbox_push_globals(lua_State *L)
{
	lua_newtable(L); /* what the script sees */
	lua_newtable(L); /* what is in it */
	lua_pushnil(L);
	while (lua_next(L, LUA_GLOBALSINDEX)) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, -4);
	}
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "_G");
	lua_pushvalue(L, -1);
	lua_pushcclosure(L, write_global, 1);
	lua_insert(L, -2);
	push_guard(L);
	lua_insert(L, -2);
	lua_setfield(L, -2, "__newindex");
	lua_setmetatable(L, -2);
}

static void open_standard(lua_State *L, lua_CFunction open, const char *name)
{
	lua_pushcfunction(L, open);
	lua_pushstring(L, name);
	lua_call(L, 1, 0);
}

/* Pushes a table with these fields of the standard library's table `name`. */
static void push_standard(lua_State *L, const char *name, const char *const *names, size_t count)
{
	lua_getglobal(L, name);
	push_selection(L, lua_gettop(L), names, count);
	lua_remove(L, -2);
}

/* The table on the top becomes a global among those at `globals`. */
static void set_protected(lua_State *L, int globals, const char *name)
{
	lua_sandbox_protect(L, name);
	lua_setfield(L, globals, name);
}

/* The metatable of all strings: their methods are those of the library, and no script gets hold of it. */
static void set_string_methods(lua_State *L)
{
	lua_pushliteral(L, "");
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, false);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

void lua_sandbox_open(lua_State *L)
{
	int globals;

	open_standard(L, luaopen_base, "");
	open_standard(L, luaopen_table, LUA_TABLIBNAME);
	open_standard(L, luaopen_string, LUA_STRLIBNAME);
	open_standard(L, luaopen_math, LUA_MATHLIBNAME);
	open_standard(L, luaopen_bit, LUA_BITLIBNAME);
	push_selection(L, LUA_GLOBALSINDEX, base_names, ARRAY_LEN(base_names));
	globals = lua_gettop(L);
	lua_library_add_base(L);

	push_standard(L, LUA_STRLIBNAME, string_names, ARRAY_LEN(string_names));
	lua_library_add_string(L);
	lua_matcher_add(L);
	set_string_methods(L);
	set_protected(L, globals, LUA_STRLIBNAME);
	lua_newtable(L);
	lua_library_add_table(L);
	set_protected(L, globals, LUA_TABLIBNAME);
	push_standard(L, LUA_MATHLIBNAME, math_names, ARRAY_LEN(math_names));
	lua_library_add_math(L);
	set_protected(L, globals, LUA_MATHLIBNAME);
	push_standard(L, LUA_BITLIBNAME, bit_names, ARRAY_LEN(bit_names));
	lua_library_add_bit(L);
	set_protected(L, globals, LUA_BITLIBNAME);

	lua_replace(L, LUA_GLOBALSINDEX);
	/* Where the standard library has noted its tables: no way may lead to them. */
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "_LOADED");
}
