/*
 * lua_host.h - the scripts of one worker: their state, and what the functions
 * that they call find behind it. lua_vm_of(L)->owner is the host.
 */
#ifndef POLICY_LUA_HOST_H
#define POLICY_LUA_HOST_H

#include "base/loop.h"
#include "policy/lua_hook.h"
#include "policy/lua_request.h"
#include "policy/lua_route.h"
#include "policy/lua_tick.h"
#include "policy/lua_vm.h"
#include "proxy/policy.h"

/* Different denials that the hooks of one engine may have said of tables and statements. */
#define LUA_HOST_KEPT_MAX 256

/* What our userdata begin with: no others exist in a state. */
enum lua_object_type {
	LUA_OBJECT_REQUEST = 1,
	LUA_OBJECT_DENIAL,
	LUA_OBJECT_ROUTE,
	LUA_OBJECT_COUNTER,
};
struct lua_object {
	uint32_t type; /* enum lua_object_type */
	uint32_t number;
};

struct lua_host {
	struct policy_engine engine;
	struct lua_vm vm;
	unsigned worker;
	struct counters *counters; /* NULL: nothing is counted */
	struct loop *loop;         /* between start() and stop() */
	uint32_t fail_limit;

	/* While scripts are loaded. */
	const struct settings *settings;
	bool *is_option_asked;

	struct lua_hook hooks[POLICY_HOOKS_MAX];
	unsigned hook_count;
	struct lua_tick ticks[LUA_TICKS_MAX];
	unsigned tick_count;
	struct lua_routes routes;
	struct lua_request_words words;
	int request; /* the object `req`, in the registry */
	int denied;  /* what req:deny() returns */
	const void *request_object;
	unsigned counter_count;

	/* Of the hook under way. */
	const struct policy_question *question; /* NULL: none */
	const struct lua_hook *hook;
	uint64_t asked; /* the number of this call of a hook */
	bool has_denial;
	struct policy_denial denial;
	char denial_text[LUA_DENIAL_TEXT_MAX];

	/* Denials that plans keep. */
	struct policy_denial kept[LUA_HOST_KEPT_MAX];
	unsigned kept_count;

	/* proxy.log() */
	uint64_t log_second;
	uint32_t log_lines;
	uint32_t log_left_out;
	/* proxy.time(): what the clock of the day is ahead of the monotonic one, in seconds. */
	double day_offset;
	uint64_t day_read_ns;
};

static inline struct lua_host *lua_host_of(lua_State *L)
{
	return lua_vm_of(L)->owner;
}

/* Of the loop's turn, where there is one. */
static inline uint64_t lua_host_now(struct lua_host *host)
{
	return host->loop ? loop_now(host->loop) : loop_clock_ns();
}

/* NULL with the reason, where it has one as "FILE:LINE: message", in `error`. On the main thread. */
struct lua_host *lua_host_new(struct counters *counters, const struct settings *settings, unsigned worker, char *error,
			      size_t error_size);
void lua_host_free(struct lua_host *host);

/* "FILE:LINE" of the script's code that calls the function of ours under way; to be freed. */
char *lua_host_place(lua_State *L);

/* Pushes a userdata of this type, whose metatable is on top of the stack, in place of that. */
struct lua_object *lua_host_push_object(lua_State *L, enum lua_object_type type, uint32_t number);
/* The object of this type at `index`; NULL for anything else. Never throws. */
struct lua_object *lua_host_object(lua_State *L, int index, enum lua_object_type type);
/* Pushes a metatable for objects with these methods: it cannot be seen, nothing can be added. */
struct luaL_Reg;
void lua_host_push_meta(lua_State *L, const struct luaL_Reg *methods, const char *name);

/* string.format() of the values from `first` to the top of the stack, in place of them. */
void lua_host_format(lua_State *L, const struct lua_host *host, int first, const char *function);

/* Throws where the hook under way has a scope for which what the function says does not hold. */
void lua_host_need_request_scope(lua_State *L, struct lua_host *host, const char *function);

/* Throws unless the table at `index` is a plain one whose keys are all among these, up to NULL. `what` is the function. */
void lua_host_check_keys(lua_State *L, int index, const char *what, const char *const *keys);

#endif
