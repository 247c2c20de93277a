/* lua_tick.h - functions of scripts that run every few seconds, without a request: proxy.on_tick(). */
#ifndef POLICY_LUA_TICK_H
#define POLICY_LUA_TICK_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "policy/lua_fault.h"

#define LUA_TICKS_MAX 64
/* Ticks have no names: all of them count as one hook. */
#define LUA_TICKS_LABEL "on_tick"
#define LUA_TICK_SECONDS_MIN 0.1
#define LUA_TICK_SECONDS_MAX 86400

struct lua_host;

struct lua_tick {
	struct lua_host *host;
	int function; /* in the registry */
	double seconds;
	char *place; /* "FILE:LINE" of its registration */
	struct lua_fault fault;
	struct event timer;
	bool is_running;
};

/* proxy.on_tick(seconds, function) */
int lua_tick_register(lua_State *L);
/* Needs no lua_tick_stop() before. */
void lua_tick_fini(struct lua_tick *tick);

/* On the worker's thread, with host->loop set. */
void lua_tick_start(struct lua_tick *tick);
void lua_tick_stop(struct lua_tick *tick);
/* Runs the function now. */
void lua_tick_run(struct lua_tick *tick);

#endif
