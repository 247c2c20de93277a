/*
 * lua_list.h - tables of options as scripts write them; lists of words in these,
 * "a, b" or { "a", "b" }; and sets of names for the filters of hooks, kept outside the Lua state so that a
 * filter is asked without entering it.
 */
#ifndef POLICY_LUA_LIST_H
#define POLICY_LUA_LIST_H

#include <lua.h>

#include "base/strview.h"

/* Names in one list. */
#define LUA_LIST_MAX 4096

/*
 * Reads the value at `index`, a comma separated string or a table of strings,
 * and pushes a new table with the words, without spaces around them. Their
 * number; throws, naming `what`, for other values, no words, and empty ones.
 */
unsigned lua_list_push(lua_State *L, int index, const char *what);
/* Word `i`, from 1, of the table on top of the stack; good as long as that. */
struct strview lua_list_word(lua_State *L, unsigned i);

/* Pushes a field of the table of options at `table`. False, with nothing pushed, where it has none. */
MUSTCHECK bool lua_list_field(lua_State *L, int table, const char *field);

struct lua_names {
	struct strview *items; /* each with its own memory */
	unsigned count;
	uint16_t *slots; /* number of an item + 1, by hash */
	unsigned slot_count;
};

/* From a list; throws like lua_list_push(), and then, too, lua_names_fini() is needed. Nothing is left on the stack. */
void lua_names_read(lua_State *L, int index, const char *what, struct lua_names *out);
void lua_names_fini(struct lua_names *names);
MUSTCHECK bool lua_names_has(const struct lua_names *names, struct strview name);
/* "a, b, c", cut where it does not fit. */
void lua_names_text(const struct lua_names *names, char *out, size_t size);

#endif
