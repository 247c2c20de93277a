/* lua_module.c - see lua_module.h */
#include "policy/lua_module.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "policy/lua_host.h"
#include "policy/lua_sandbox.h"
#include "policy/rates.h"

#define NS_PER_S UINT64_C(1000000000)
#define LOADING (1u << LUA_CONTEXT_LOAD)
#define SERVING (1u << LUA_CONTEXT_REQUEST | 1u << LUA_CONTEXT_TICK)
#define COUNTER_NAME_MAX 64

/* Counters by name, in the registry. */
#define COUNTERS "cqlferry.counters"
#define COUNTER_META "cqlferry.counter"

/* ---- load ---- */

static int module_set(lua_State *L)
{
	unsigned count = 0;

	lua_vm_need_context(L, LOADING, "proxy.set");
	/* An option that is not set gives an empty list, whose set is empty. */
	if ((lua_type(L, 1) == LUA_TSTRING && lua_objlen(L, 1) == 0) ||
	    (lua_istable(L, 1) && lua_objlen(L, 1) == 0 && (lua_pushnil(L), !lua_next(L, 1)))) {
		lua_newtable(L);
		return 1;
	}
	count = lua_list_push(L, 1, "proxy.set: the list");
	lua_newtable(L);
	for (unsigned i = 1; i <= count; i++) {
		lua_rawgeti(L, -2, (int)i);
		lua_pushboolean(L, true);
		lua_rawset(L, -3);
	}
	return 1;
}

static const struct lua_option *option_find(struct lua_host *host, const char *name)
{
	const struct lua_settings *s = &host->settings->lua;
	const struct lua_option *found = NULL;

	for (unsigned i = 0; i < s->option_count; i++) {
		if (strcmp(s->options[i].name, name) == 0) {
			host->is_option_asked[i] = true;
			found = &s->options[i];
		}
	}
	return found;
}

static void push_boolean_option(lua_State *L, const struct lua_option *o)
{
	static const char *const words[] = { "false", "no", "off", "true", "yes", "on" };

	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(words[i], o->value) == 0) {
			lua_pushboolean(L, i >= 3);
			return;
		}
	}
	luaL_error(L, "%s: %s = %s: neither true nor false", o->place, o->name, o->value);
}

static void push_number_option(lua_State *L, const struct lua_option *o)
{
	char *end;
	const double n = strtod(o->value, &end);

	/* strtod() also knows "nan", "inf" and numbers in base 16. */
	if (end == o->value || *end || !isfinite(n) || strpbrk(o->value, "xX"))
		luaL_error(L, "%s: %s = %s: not a number", o->place, o->name, o->value);
	lua_pushnumber(L, n);
}

static int module_option(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	const struct lua_option *o;

	lua_vm_need_context(L, LOADING, "proxy.option");
	if (lua_type(L, 1) != LUA_TSTRING)
		luaL_error(L, "proxy.option: the first argument is the option's name, a string, not a %s",
			   luaL_typename(L, 1));
	lua_settop(L, 2);
	switch (lua_type(L, 2)) {
	case LUA_TNIL:
	case LUA_TBOOLEAN:
	case LUA_TNUMBER:
	case LUA_TSTRING:
		break;
	default:
		luaL_error(L, "proxy.option: the default is a string, a number, a boolean or nil, not a %s",
			   luaL_typename(L, 2));
	}
	o = option_find(host, lua_tostring(L, 1));
	if (!o)
		return 1;
	if (lua_type(L, 2) == LUA_TBOOLEAN)
		push_boolean_option(L, o);
	else if (lua_type(L, 2) == LUA_TNUMBER)
		push_number_option(L, o);
	else
		lua_pushstring(L, o->value);
	return 1;
}

/* ---- counters ---- */

static int counter_change(lua_State *L, const char *function, double n)
{
	struct lua_host *host = lua_host_of(L);
	const struct lua_object *o = lua_host_object(L, 1, LUA_OBJECT_COUNTER);

	if (!o)
		luaL_error(L, "%s() is called with a colon, on what proxy.counter() returns", function);
	lua_vm_need_context(L, SERVING, function);
	lua_host_need_request_scope(L, host, function);
	if (host->counters)
		counters_add(host->counters, host->worker, o->number, (int64_t)n);
	return 0;
}

static int counter_add(lua_State *L)
{
	double n = 1;

	if (!lua_isnoneornil(L, 2)) {
		n = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : -1;
		if (!(n >= 0 && n <= 1e15) || n != floor(n))
			luaL_error(L, "counter:add(n): n is a whole number from 0, since counters only grow");
	}
	return counter_change(L, "counter:add", n);
}

static int counter_inc(lua_State *L)
{
	return counter_change(L, "counter:inc", 1);
}

static void counter_name_check(lua_State *L)
{
	size_t len;
	const char *name;

	if (lua_type(L, 1) != LUA_TSTRING)
		luaL_error(L, "proxy.counter: the argument is a name, a string, not a %s", luaL_typename(L, 1));
	name = lua_tolstring(L, 1, &len);
	for (size_t i = 0; i < len && len <= COUNTER_NAME_MAX; i++) {
		if ((unsigned char)name[i] < 0x20 || (unsigned char)name[i] > 0x7e)
			len = 0;
	}
	if (len < 1 || len > COUNTER_NAME_MAX)
		luaL_error(L, "proxy.counter: a name has 1 to %d printable ASCII characters", COUNTER_NAME_MAX);
}

static int module_counter(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	char labels[COUNTER_NAME_MAX * 2 + 16] = "";
	unsigned number = 0;

	lua_vm_need_context(L, LOADING | SERVING, "proxy.counter");
	counter_name_check(L);
	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, COUNTERS);
	lua_pushvalue(L, 1);
	lua_rawget(L, -2);
	if (!lua_isnil(L, -1))
		return 1;
	lua_pop(L, 1);
	if (host->counter_count == LUA_MODULE_COUNTERS_MAX)
		luaL_error(L, "proxy.counter: there are %d counters already, and there cannot be more",
			   LUA_MODULE_COUNTERS_MAX);
	if (host->counters) {
		counters_label(labels, sizeof(labels), "name", lua_tostring(L, 1));
		number = counters_register(host->counters, "policy_counter_total", "Counters of scripts", labels,
					   COUNTER_PLAIN);
		if (number == 0)
			luaL_error(L, "proxy.counter: the scripts of this process have too many counters");
	}
	lua_pushvalue(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, COUNTER_META);
	lua_host_push_object(L, LUA_OBJECT_COUNTER, number);
	lua_rawset(L, -3);
	host->counter_count++;
	lua_pushvalue(L, 1);
	lua_rawget(L, -2);
	return 1;
}

/* ---- rates and time ---- */

static int module_rate(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	struct strview key;
	double per_second;

	lua_vm_need_context(L, SERVING, "proxy.rate");
	lua_host_need_request_scope(L, host, "proxy.rate");
	if (lua_type(L, 1) != LUA_TSTRING)
		luaL_error(L, "proxy.rate(key, per_second): the key is a string, not a %s", luaL_typename(L, 1));
	key.p = lua_tolstring(L, 1, &key.len);
	per_second = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : -1;
	if (!(per_second >= 0 && per_second <= RATES_PER_SECOND_MAX))
		luaL_error(L, "proxy.rate(key, per_second): per_second is a number from 0 to %f", RATES_PER_SECOND_MAX);
	lua_pushboolean(L, rates_take(rates_shared(), key, per_second, lua_host_now(host)));
	return 1;
}

static int module_time(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	uint64_t now_ns;

	lua_vm_need_context(L, LOADING | SERVING, "proxy.time");
	lua_host_need_request_scope(L, host, "proxy.time");
	now_ns = lua_host_now(host);
	/* The clock of the day may be set: it is looked at once in a second. */
	if (now_ns - host->day_read_ns >= NS_PER_S) {
		struct timespec t;

		clock_gettime(CLOCK_REALTIME, &t);
		host->day_offset = (double)t.tv_sec + (double)t.tv_nsec / 1e9 - (double)loop_clock_ns() / 1e9;
		host->day_read_ns = now_ns;
	}
	lua_pushnumber(L, host->day_offset + (double)now_ns / 1e9);
	return 1;
}

/* ---- log ---- */

/* Whether a line may be written now; says how many were left out before it. */
static bool may_log(struct lua_host *host)
{
	const uint64_t second = lua_host_now(host) / NS_PER_S;

	if (second != host->log_second) {
		if (host->log_left_out > 0)
			log_warn("lua: %u lines of scripts were left out", (unsigned)host->log_left_out);
		host->log_second = second;
		host->log_lines = 0;
		host->log_left_out = 0;
	}
	if (host->log_lines == LUA_MODULE_LOG_LINES) {
		host->log_left_out++;
		return false;
	}
	host->log_lines++;
	return true;
}

static int module_log(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	int level = -1;
	char *place;

	lua_vm_need_context(L, LOADING | SERVING, "proxy.log");
	if (lua_type(L, 1) == LUA_TSTRING)
		level = log_level_from_name(lua_tostring(L, 1));
	if (level < 0)
		luaL_error(L, "proxy.log(level, format, ...): the level is one of error, warn, info, debug, trace");
	if (lua_type(L, 2) != LUA_TSTRING)
		luaL_error(L, "proxy.log(level, format, ...): the format is a string, not a %s", luaL_typename(L, 2));
	/* Each worker loads the scripts; what they say then is said once. */
	if (!log_enabled(level) || (host->settings && host->worker != 0))
		return 0;
	lua_host_format(L, host, 2, "proxy.log");
	if (!may_log(host))
		return 0;
	place = lua_host_place(L);
	log_write((enum log_level)level, "lua: %s: %s", place, lua_tostring(L, -1));
	free(place);
	return 0;
}

/* ---- the global ---- */

void lua_module_init(lua_State *L)
{
	static const struct luaL_Reg functions[] = {
		{ "set", module_set },
		{ "option", module_option },
		{ "route", lua_route_make },
		{ "on_request", lua_hook_register },
		{ "on_tick", lua_tick_register },
		{ "counter", module_counter },
		{ "rate", module_rate },
		{ "time", module_time },
		{ "log", module_log },
		{ NULL, NULL },
	};
	static const struct luaL_Reg counter_methods[] = {
		{ "add", counter_add },
		{ "inc", counter_inc },
		{ NULL, NULL },
	};

	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, COUNTERS);
	lua_host_push_meta(L, counter_methods, "counter");
	lua_setfield(L, LUA_REGISTRYINDEX, COUNTER_META);
	lua_newtable(L);
	for (const struct luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	lua_pushinteger(L, LUA_MODULE_API_VERSION);
	lua_setfield(L, -2, "api_version");
	lua_sandbox_protect(L, "proxy");
	lua_setglobal(L, "proxy");
}
