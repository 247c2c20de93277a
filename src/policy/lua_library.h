/*
 * lua_library.h - functions of the standard library that are ours, because
 * LuaJIT's could run for long without an end (they charge what they do, see
 * lua_vm_charge()), or would write into what is read-only.
 *
 * They behave as the manual of Lua 5.1 says, with these differences: print()
 * writes a line of the log at level info, at most ten in ten seconds; a sort is
 * stable, and when the comparison throws the table is as it was.
 */
#ifndef POLICY_LUA_LIBRARY_H
#define POLICY_LUA_LIBRARY_H

#include <lua.h>

/* Put the functions into the table on the top of the stack; in protected mode. */
void lua_library_add_base(lua_State *L);
void lua_library_add_string(lua_State *L);
void lua_library_add_math(lua_State *L);
void lua_library_add_bit(lua_State *L);
void lua_library_add_table(lua_State *L);

#endif
