/* lua_helper.h - runs pieces of Lua in a state of policy/lua_vm.h, for its unit tests. */
#ifndef TESTS_UNIT_LUA_HELPER_H
#define TESTS_UNIT_LUA_HELPER_H

#include <lauxlib.h>
#include <time.h>
#include <unistd.h>

#include "policy/lua_vm.h"
#include "vectors.h"

/* Of all calls in the context request. */
#define BUDGET_MS 20
#define MEMORY_BYTES (32u << 20)

static struct lua_vm vm;
static char message[LUA_VM_MESSAGE_SIZE];
static uint64_t took_ms; /* by the last call */

/* What this thread has used: other programs on the machine take nothing of it. */
static inline uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void vm_begin(void)
{
	struct lua_vm_limits limits = { .load_time_us = 300 * 1000,
					.time_us = BUDGET_MS * 1000,
					.memory = MEMORY_BYTES };

	ck_assert(lua_vm_init(&vm, &limits));
}

static inline void vm_end(void)
{
	lua_vm_fini(&vm);
	ck_assert_uint_eq(vm.used, 0);
}

/* A script in a file of its own, whose path is left in `path`; to be unlinked. */
static inline void write_script(char *path, const char *text)
{
	int fd;

	strcpy(path, "/tmp/cqlferry-lua-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static inline bool load(const char *text)
{
	char path[64];
	bool ok;

	write_script(path, text);
	ok = lua_vm_run_file(&vm, path, message, sizeof(message));
	unlink(path);
	return ok;
}

static int keep_function(lua_State *L)
{
	lua_pushvalue(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "kept");
	return 0;
}

static int add_keep(lua_State *L)
{
	lua_pushcfunction(L, keep_function);
	lua_setglobal(L, "keep");
	return 0;
}

/* From here on scripts have the function keep(). */
static inline void allow_keep(void)
{
	ck_assert_int_eq(lua_vm_run(&vm, LUA_CONTEXT_LOAD, add_keep, NULL, message, sizeof(message)), LUA_VM_OK);
}

/* Loads a script that passes a function to keep(), which run_kept() calls. */
static inline void load_kept(const char *text)
{
	allow_keep();
	ck_assert_msg(load(text), "%s", message);
	lua_vm_freeze(&vm);
}

/* The result is on the stack when it is LUA_VM_OK. */
static inline enum lua_vm_end run_kept(void)
{
	uint64_t begin = thread_ns();
	int top = lua_gettop(vm.L);
	enum lua_vm_end end;

	message[0] = '\0';
	lua_getfield(vm.L, LUA_REGISTRYINDEX, "kept");
	end = lua_vm_call(&vm, LUA_CONTEXT_REQUEST, 0, 1, message, sizeof(message));
	took_ms = (thread_ns() - begin) / 1000000;
	ck_assert_int_eq(lua_gettop(vm.L), end == LUA_VM_OK ? top + 1 : top);
	return end;
}

#endif
