/* lua_module.h - the global `proxy` of scripts. */
#ifndef POLICY_LUA_MODULE_H
#define POLICY_LUA_MODULE_H

#include <lua.h>

/* What proxy.api_version says: raised when a script for an older one may not work. */
#define LUA_MODULE_API_VERSION 1

/* Counters that the scripts of one worker may make. */
#define LUA_MODULE_COUNTERS_MAX 1000
/* Lines of proxy.log() in a second, of one worker. */
#define LUA_MODULE_LOG_LINES 20

/* Sets the global. Throws when the state has no memory for it. */
void lua_module_init(lua_State *L);

#endif
