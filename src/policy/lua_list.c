/* lua_list.c - see lua_list.h */
#include "policy/lua_list.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Appends the word, without the spaces around it, to the table on top. */
static void append(lua_State *L, const char *p, const char *end, unsigned i, const char *what)
{
	while (p < end && is_blank(*p))
		p++;
	while (p < end && is_blank(end[-1]))
		end--;
	if (p == end)
		luaL_error(L, "%s has an empty word", what);
	if (i > LUA_LIST_MAX)
		luaL_error(L, "%s has more than %d words", what, LUA_LIST_MAX);
	lua_pushlstring(L, p, (size_t)(end - p));
	lua_rawseti(L, -2, (int)i);
}

static unsigned push_text(lua_State *L, int index, const char *what)
{
	size_t len;
	const char *p = lua_tolstring(L, index, &len);
	const char *end = p + len;
	unsigned count = 0;

	lua_newtable(L);
	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		append(L, p, comma ? comma : end, ++count, what);
		if (!comma)
			return count;
		p = comma + 1;
	}
}

/* Only 1, 2, 3 ...: a table by name, { billing = true }, is a mistake that would be a list of no words. */
static unsigned push_table(lua_State *L, int index, const char *what)
{
	unsigned count = (unsigned)lua_objlen(L, index), seen = 0;

	lua_pushnil(L);
	while (lua_next(L, index)) {
		if (lua_type(L, -2) != LUA_TNUMBER || lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "%s has to be a list of strings, but it has a %s under a %s", what,
				   luaL_typename(L, -1), luaL_typename(L, -2));
		seen++;
		lua_pop(L, 1);
	}
	if (seen != count)
		luaL_error(L, "%s is no list: it has gaps", what);
	lua_newtable(L);
	for (unsigned i = 1; i <= count; i++) {
		size_t len;
		const char *p;

		lua_rawgeti(L, index, (int)i);
		p = lua_tolstring(L, -1, &len);
		lua_insert(L, -2);
		append(L, p, p + len, i, what);
		lua_remove(L, -2);
	}
	return count;
}

unsigned lua_list_push(lua_State *L, int index, const char *what)
{
	unsigned count = 0;

	luaL_checkstack(L, 8, what);
	if (index < 0)
		index = lua_gettop(L) + index + 1;
	if (lua_type(L, index) == LUA_TSTRING)
		count = push_text(L, index, what);
	else if (lua_type(L, index) == LUA_TTABLE)
		count = push_table(L, index, what);
	else
		luaL_error(L, "%s has to be a string or a list of strings, not a %s", what, luaL_typename(L, index));
	if (count == 0)
		luaL_error(L, "%s is empty", what);
	return count;
}

bool lua_list_field(lua_State *L, int table, const char *field)
{
	lua_getfield(L, table, field);
	if (!lua_isnil(L, -1))
		return true;
	lua_pop(L, 1);
	return false;
}

struct strview lua_list_word(lua_State *L, unsigned i)
{
	struct strview word;

	lua_rawgeti(L, -1, (int)i);
	word.p = lua_tolstring(L, -1, &word.len);
	lua_pop(L, 1);
	return word;
}

/* ---- sets of names ---- */

static uint64_t hash_of(struct strview name)
{
	return XXH3_64bits(name.p, name.len);
}

/* Where the name is, or the free place that it would have. */
static uint16_t *slot_of(const struct lua_names *names, struct strview name)
{
	unsigned i = (unsigned)hash_of(name) & (names->slot_count - 1);

	while (names->slots[i] && !sv_equal(names->items[names->slots[i] - 1], name))
		i = (i + 1) & (names->slot_count - 1);
	return &names->slots[i];
}

void lua_names_read(lua_State *L, int index, const char *what, struct lua_names *out)
{
	const unsigned count = lua_list_push(L, index, what);

	out->slot_count = 8;
	while (out->slot_count < count * 2)
		out->slot_count *= 2;
	out->slots = xcalloc(out->slot_count, sizeof(out->slots[0]));
	out->items = xcalloc(count, sizeof(out->items[0]));
	for (unsigned i = 1; i <= count; i++) {
		const struct strview word = lua_list_word(L, i);
		uint16_t *slot = slot_of(out, word);

		if (*slot)
			continue;
		out->items[out->count] = (struct strview){ xstrndup(word.p, word.len), word.len };
		*slot = (uint16_t)++out->count;
	}
	lua_pop(L, 1);
}

void lua_names_fini(struct lua_names *names)
{
	for (unsigned i = 0; i < names->count; i++)
		free((char *)(uintptr_t)names->items[i].p);
	free(names->items);
	free(names->slots);
	memset(names, 0, sizeof(*names));
}

bool lua_names_has(const struct lua_names *names, struct strview name)
{
	return names->count > 0 && *slot_of(names, name) != 0;
}

void lua_names_text(const struct lua_names *names, char *out, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < names->count && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%.*s", i > 0 ? ", " : "", SV_ARG(names->items[i]));
}
