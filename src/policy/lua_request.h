/*
 * lua_request.h - what a hook sees of the request: the methods of `req`. There
 * is one such object in a state; it is about the question that the hook under
 * way is asked, and using it at any other time throws.
 */
#ifndef POLICY_LUA_REQUEST_H
#define POLICY_LUA_REQUEST_H

#include <lua.h>

#include "proxy/policy.h"

struct lua_host;

/* Texts of req:deny() are cut at this. */
#define LUA_DENIAL_TEXT_MAX 1024

/* What is made once, so that nothing has to be formatted per call: numbers in the registry. */
struct lua_request_words {
	int kinds[POLICY_KIND_COUNT];
	int verbs[STATEMENT_UNKNOWN + 1];
	int levels[CL_LOCAL_ONE + 1];
	int query, execute, batch;
	int format; /* string.format */
};

/* Makes the object and its words. Throws when the state has no memory for them. */
void lua_request_init(lua_State *L, struct lua_host *host);

/* The codes of req:deny(): "unauthorized" ... The reverse gives NULL for others. */
const char *lua_request_code_name(enum cql_error_code code);

#endif
