/*
 * lua_route.h - routes as hooks return them: the words "origin", "target",
 * "both", "mirror", and those that proxy.route{} has made while the scripts
 * were loaded. Routes with the same contents are the same object, so that they
 * can be compared by their address.
 */
#ifndef POLICY_LUA_ROUTE_H
#define POLICY_LUA_ROUTE_H

#include <lua.h>

#include "proxy/policy.h"

#define LUA_ROUTES_MAX 256
/* X(WORD, word) */
#define LUA_ROUTE_WORDS(X)                                                                                             \
	X(ORIGIN, "origin")                                                                                            \
	X(TARGET, "target")                                                                                            \
	X(BOTH, "both")                                                                                                \
	X(MIRROR, "mirror")
#define LUA_ROUTE_WORD_COUNT 4

struct lua_host;

struct lua_routes {
	struct policy_route items[LUA_ROUTES_MAX]; /* the first ones are those of the words */
	unsigned count;
	const char *words[LUA_ROUTE_WORD_COUNT]; /* as the Lua state has them: equal strings are one object there */
};

/* Makes the routes of the words. Throws when the state has no memory for them. */
void lua_routes_init(lua_State *L, struct lua_host *host);
void lua_routes_fini(struct lua_routes *routes);

/* proxy.route{ to=, answer_from=, mirror=, consistency=, timeout_ms=, timeout=, tag= } */
int lua_route_make(lua_State *L);

/* The route that the value at `index` is, else NULL. Never throws. */
const struct policy_route *lua_route_of(lua_State *L, const struct lua_host *host, int index);

#endif
