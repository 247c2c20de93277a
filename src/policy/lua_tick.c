/* lua_tick.c - see lua_tick.h */
#include "policy/lua_tick.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "policy/lua_host.h"

#define FUNCTION "proxy.on_tick"

int lua_tick_register(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	struct lua_tick *tick;
	double seconds;

	lua_vm_need_context(L, 1u << LUA_CONTEXT_LOAD, FUNCTION);
	if (lua_type(L, 1) != LUA_TNUMBER)
		luaL_error(L, FUNCTION ": the first argument is a number of seconds, not a %s", luaL_typename(L, 1));
	seconds = lua_tonumber(L, 1);
	if (!(seconds >= LUA_TICK_SECONDS_MIN && seconds <= LUA_TICK_SECONDS_MAX))
		luaL_error(L, FUNCTION ": 0.1 to %d seconds, not %f", LUA_TICK_SECONDS_MAX, seconds);
	if (!lua_isfunction(L, 2) || lua_gettop(L) > 2)
		luaL_error(L, FUNCTION ": the second argument is a function, and there are no more");
	if (host->tick_count == LUA_TICKS_MAX)
		luaL_error(L, FUNCTION ": there are %d already, and there cannot be more", LUA_TICKS_MAX);
	tick = &host->ticks[host->tick_count];
	tick->host = host;
	tick->seconds = seconds;
	lua_pushvalue(L, 2);
	tick->function = luaL_ref(L, LUA_REGISTRYINDEX);
	tick->place = lua_host_place(L);
	tick->fault.what = FUNCTION;
	tick->fault.place = tick->place;
	lua_fault_init(&tick->fault, host->counters, LUA_TICKS_LABEL);
	host->tick_count++;
	return 0;
}

void lua_tick_fini(struct lua_tick *tick)
{
	free(tick->place);
	tick->place = NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lua_tick_run(arg);
}

void lua_tick_start(struct lua_tick *tick)
{
	const struct timeval interval = {
		.tv_sec = (time_t)tick->seconds,
		.tv_usec = (suseconds_t)((tick->seconds - floor(tick->seconds)) * 1e6),
	};

	if (event_assign(&tick->timer, tick->host->loop->base, -1, EV_PERSIST, on_timer, tick) != 0 ||
	    event_add(&tick->timer, &interval) != 0) {
		log_error("lua: " FUNCTION " (%s): no timer for it", tick->place);
		return;
	}
	tick->is_running = true;
}

void lua_tick_stop(struct lua_tick *tick)
{
	if (tick->is_running)
		(void)event_del(&tick->timer);
	tick->is_running = false;
}

void lua_tick_run(struct lua_tick *tick)
{
	struct lua_host *host = tick->host;
	char message[LUA_VM_MESSAGE_SIZE] = "";
	enum lua_vm_end end;

	lua_rawgeti(host->vm.L, LUA_REGISTRYINDEX, tick->function);
	end = lua_vm_call(&host->vm, LUA_CONTEXT_TICK, 0, 0, message, sizeof(message));
	if (likely(end == LUA_VM_OK))
		return;
	lua_fault_note(&tick->fault, host->counters, host->worker, end, message, host->fail_limit, "calls it no more",
		       lua_host_now(host));
	if (tick->fault.is_off)
		lua_tick_stop(tick);
}
