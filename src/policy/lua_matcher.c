/* lua_matcher.c - see lua_matcher.h */
#include "policy/lua_matcher.h"

#include "base/common.h"

void lua_matcher_add(lua_State *L)
{
	static const char *const names[] = { "find", "gmatch", "gsub", "match" };

	lua_getglobal(L, "string");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		lua_getfield(L, -1, names[i]);
		lua_setfield(L, -3, names[i]);
	}
	lua_pop(L, 1);
}
