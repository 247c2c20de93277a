/*
 * lua_sandbox.h - what a script finds: the library, and a set of globals of its
 * own for each file.
 *
 *   base      assert error getmetatable ipairs next pairs pcall rawequal rawget select setmetatable tonumber
 *             tostring type unpack _VERSION _G
 *   ours      print (a line in the log at level info), rawset (refuses protected tables), require (lua_vm.h)
 *   string    byte char find format gmatch gsub len lower match rep reverse sub upper
 *   table     concat insert remove sort
 *   math      all of it; random is seeded
 *   bit       all of it
 *
 * Nothing else: what is not on these lists is not there, so a newer LuaJIT adds
 * nothing. Not xpcall, because its handler would run while the count hook is
 * off; not newproxy, because __gc runs so too; nothing that loads code or
 * reaches the environment or metatable of something that the script was not
 * given; no coroutines, whose count hooks and stacks would be of their own.
 *
 * Scripts share nothing but what `require` returns: each file has its own
 * globals, which begin as a copy of the library's names. Tables of the library
 * and the globals are empty tables in front of the real ones: they can be read
 * and not written, pairs() finds nothing in them, and getmetatable() says false
 * for them, and for strings.
 */
#ifndef POLICY_LUA_SANDBOX_H
#define POLICY_LUA_SANDBOX_H

#include <lua.h>

#include "base/common.h"

/* In protected mode, once: the library into the globals of the state. */
void lua_sandbox_open(lua_State *L);

/*
 * Replaces the table on the top of the stack by one that shows the same fields
 * and refuses to be written; `name` is what errors call it.
 */
void lua_sandbox_protect(lua_State *L, const char *name);
bool lua_sandbox_is_protected(lua_State *L, int index);

/*
 * Whether a script that was compiled has a number like 1LL, 1ULL or 1i: for them
 * LuaJIT's parser opens the library ffi, and notes it where the standard library
 * is noted. They are values of C types, which nothing here is made for.
 */
MUSTCHECK bool lua_sandbox_is_tainted(lua_State *L);

/* Pushes the globals for a script: those of the state and what it will write itself, until lua_vm_freeze(). */
void lua_sandbox_push_globals(lua_State *L);

#endif
