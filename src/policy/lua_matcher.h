/*
 * lua_matcher.h - string.find, match, gmatch and gsub, with the patterns of Lua
 * 5.1. LuaJIT's own cannot be interrupted, and a short pattern may take them
 * hours; these count their steps (lua_vm_charge()).
 */
#ifndef POLICY_LUA_MATCHER_H
#define POLICY_LUA_MATCHER_H

#include <lua.h>

/* Puts the functions into the table on the top of the stack; in protected mode. */
void lua_matcher_add(lua_State *L);

#endif
