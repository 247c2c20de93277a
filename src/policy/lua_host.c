/* lua_host.c - see lua_host.h */
#include "policy/lua_host.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/lua_module.h"

/* Scripts may read lists meanwhile, but the main thread waits for them, and with it whoever wants to connect. */
#define LOAD_TIME_US 1000000

static int open_state(lua_State *L)
{
	struct lua_host *host = lua_touserdata(L, 1);

	luaL_checkstack(L, 32, "cqlferry");
	lua_routes_init(L, host);
	lua_request_init(L, host);
	lua_module_init(L);
	return 0;
}

/* A key of [lua] that no script asks for is a typing error. */
static bool check_options(const struct lua_host *host, char *error, size_t error_size)
{
	const struct lua_settings *s = &host->settings->lua;

	for (unsigned i = 0; i < s->option_count; i++) {
		if (host->is_option_asked[i])
			continue;
		snprintf(error, error_size, "%s: %s: neither a setting of [lua] nor an option that a script asks for",
			 s->options[i].place, s->options[i].name);
		return false;
	}
	return true;
}

/* "PATH:12: ...", or that of a file that the script requires. */
static bool begins_with_place(const char *text, const char *path)
{
	const char *p = strstr(text, ".lua:");

	if (strncmp(text, path, strlen(path)) == 0 && text[strlen(path)] == ':')
		return true;
	return p && p[5] >= '1' && p[5] <= '9' && p < strchrnul(text, '\n');
}

/* Some messages have no place: of error(text, 0), of a limit that was reached, of what is no script at all. */
static void add_place(const char *path, char *error, size_t error_size)
{
	char *text;

	if (begins_with_place(error, path))
		return;
	text = xasprintf("%s: %s", path, error);
	snprintf(error, error_size, "%s", text);
	free(text);
}

/* The reason is one line of the log, where the traceback's line ends would be written as \n\t. */
static void put_on_one_line(char *error)
{
	for (char *p = strstr(error, "\n\t"); p; p = strstr(p, "\n\t"))
		memcpy(p, "; ", 2);
}

static bool load(struct lua_host *host, char *error, size_t error_size)
{
	const struct lua_settings *s = &host->settings->lua;

	if (lua_vm_run(&host->vm, LUA_CONTEXT_LOAD, open_state, host, error, error_size) != LUA_VM_OK)
		return false;
	/* `require` works while scripts are loaded, and no longer: the settings last so long. */
	lua_vm_set_path(&host->vm, s->path.items, s->path.count);
	for (unsigned i = 0; i < s->scripts.count; i++) {
		if (!lua_vm_run_file(&host->vm, s->scripts.items[i], error, error_size)) {
			add_place(s->scripts.items[i], error, error_size);
			put_on_one_line(error);
			return false;
		}
	}
	lua_vm_set_path(&host->vm, NULL, 0);
	lua_vm_freeze(&host->vm);
	return check_options(host, error, error_size);
}

struct lua_host *lua_host_new(struct counters *counters, const struct settings *settings, unsigned worker, char *error,
			      size_t error_size)
{
	const struct lua_settings *s = &settings->lua;
	const struct lua_vm_limits limits = {
		.load_time_us = LOAD_TIME_US,
		.time_us = s->time_limit_us,
		.memory = s->memory_limit,
		.jit = s->jit,
	};
	struct lua_host *host = xcalloc(1, sizeof(*host));

	host->counters = counters;
	host->settings = settings;
	host->worker = worker;
	host->fail_limit = s->fail_limit;
	host->is_option_asked = xcalloc(s->option_count + 1, sizeof(bool));
	if (!lua_vm_init(&host->vm, &limits)) {
		snprintf(error, error_size, "memory_limit is too small for scripts");
		lua_host_free(host);
		return NULL;
	}
	host->vm.owner = host;
	if (!load(host, error, error_size)) {
		lua_host_free(host);
		return NULL;
	}
	host->settings = NULL;
	return host;
}

void lua_host_free(struct lua_host *host)
{
	/* The state first: what its finalizers might touch is there still. */
	lua_vm_fini(&host->vm);
	/* Also one whose registration was not finished. */
	for (unsigned i = 0; i < POLICY_HOOKS_MAX && i <= host->hook_count; i++)
		lua_hook_fini(&host->hooks[i]);
	for (unsigned i = 0; i < host->tick_count; i++)
		lua_tick_fini(&host->ticks[i]);
	for (unsigned i = 0; i < host->kept_count; i++)
		free((char *)(uintptr_t)host->kept[i].text);
	lua_routes_fini(&host->routes);
	free(host->is_option_asked);
	free(host);
}

/* ---- for the functions of scripts ---- */

char *lua_host_place(lua_State *L)
{
	lua_Debug ar;

	for (int level = 1; lua_getstack(L, level, &ar); level++) {
		if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0)
			return xasprintf("%s:%d", ar.source[0] == '@' ? ar.source + 1 : ar.short_src, ar.currentline);
	}
	return xstrdup("?");
}

struct lua_object *lua_host_push_object(lua_State *L, enum lua_object_type type, uint32_t number)
{
	struct lua_object *o = lua_newuserdata(L, sizeof(*o));

	o->type = type;
	o->number = number;
	lua_insert(L, -2);
	lua_setmetatable(L, -2);
	return o;
}

struct lua_object *lua_host_object(lua_State *L, int index, enum lua_object_type type)
{
	struct lua_object *o = lua_type(L, index) == LUA_TUSERDATA ? lua_touserdata(L, index) : NULL;

	return o && lua_objlen(L, index) == sizeof(*o) && o->type == type ? o : NULL;
}

static int refuse_write(lua_State *L)
{
	return luaL_error(L, "%s cannot be changed", lua_tostring(L, lua_upvalueindex(1)));
}

static int tell_name(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	return 1;
}

void lua_host_push_meta(lua_State *L, const struct luaL_Reg *methods, const char *name)
{
	lua_newtable(L);
	lua_newtable(L);
	for (; methods->name; methods++) {
		lua_pushcfunction(L, methods->func);
		lua_setfield(L, -2, methods->name);
	}
	lua_setfield(L, -2, "__index");
	lua_pushstring(L, name);
	lua_pushcclosure(L, refuse_write, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushstring(L, name);
	lua_pushcclosure(L, tell_name, 1);
	lua_setfield(L, -2, "__tostring");
	lua_pushstring(L, name);
	lua_setfield(L, -2, "__metatable");
}

void lua_host_need_request_scope(lua_State *L, struct lua_host *host, const char *function)
{
	static const char *const words[] = { "table", "statement", "request" };

	if (likely(!host->hook || host->hook->scope == SCOPE_REQUEST))
		return;
	luaL_error(
		L,
		"%s() cannot be used in the hook '%s', whose scope is \"%s\": what it says is kept for later requests; "
		"scope \"request\" would ask it for each",
		function, host->hook->name, words[host->hook->scope]);
}

void lua_host_format(lua_State *L, const struct lua_host *host, int first, const char *function)
{
	int status;

	lua_rawgeti(L, LUA_REGISTRYINDEX, host->words.format);
	lua_insert(L, first);
	status = lua_pcall(L, lua_gettop(L) - first, 1, 0);
	if (likely(status == 0))
		return;
	/* With the place in the script, which a function called from C does not find. */
	if (status == LUA_ERRRUN && lua_type(L, -1) == LUA_TSTRING)
		luaL_error(L, "%s: %s", function, lua_tostring(L, -1));
	lua_error(L);
}

void lua_host_check_keys(lua_State *L, int index, const char *what, const char *const *keys)
{
	/* What it says of absent fields is not looked through here, and would run in the midst of the function. */
	if (lua_getmetatable(L, index))
		luaL_error(L, "%s: a table without a metatable is needed", what);
	lua_pushnil(L);
	while (lua_next(L, index)) {
		unsigned i = 0;

		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "%s: a %s as a key; keys are names", what, luaL_typename(L, -2));
		while (keys[i] && strcmp(keys[i], lua_tostring(L, -2)) != 0)
			i++;
		if (!keys[i]) {
			lua_pushstring(L, keys[0]);
			for (i = 1; keys[i]; i++)
				lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), keys[i]);
			luaL_error(L, "%s: there is no '%s'; there are %s", what, lua_tostring(L, -2 - (int)i),
				   lua_tostring(L, -1));
		}
		lua_pop(L, 1);
	}
}
