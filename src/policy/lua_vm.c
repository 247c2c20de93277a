/* lua_vm.c - see lua_vm.h */
#include "policy/lua_vm.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <limits.h>
#include <luajit.h>
#include <lualib.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "policy/lua_file.h"
#include "policy/lua_sandbox.h"

/* Instructions between two calls of the count hook: a few microseconds' worth. */
#define COUNT_USUAL 256
/*
 * And where one of them may take milliseconds: strings and tables above
 * LARGE_BYTES are about, or time has passed faster than instructions explain.
 */
#define COUNT_SLOW 4
#define COUNT_LARGE 16
#define LARGE_BYTES (256 * 1024)
#define HUGE_BYTES (2 * 1024 * 1024)
/* After so much was allocated the clock is looked at with the next instruction. */
#define FRESH_BYTES (128 * 1024)
/* The same for steps of C functions. */
#define CHARGED_STEPS 20000
/* Of the C stack, for functions of ours that call Lua and are called by it. */
#define STACK_BYTES (192 * 1024)
/*
 * Calls within each other that are seen when the clock is looked at: LuaJIT
 * allows some ten thousand, and to throw through so many pcall()s takes longer
 * than a budget.
 */
#define CALLS_MAX 1000
/* What a collection after LUA_VM_MEMORY may take. */
#define COLLECT_NS (2 * 1000 * 1000)
#define TRACEBACK_LEVELS 12
/* The error handler stays at the bottom of the stack. */
#define HANDLER_INDEX 1

static void on_count(lua_State *L, lua_Debug *ar);

/* ---- messages ---- */

/* "PATH:LINE: " of the innermost Lua function from `level` on; nothing where there is none. */
static int put_place(lua_State *L, int level, char *out, size_t size)
{
	lua_Debug ar;

	out[0] = '\0';
	for (int end = level + TRACEBACK_LEVELS; level < end && lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline > 0 && ar.source[0] == '@')
			return snprintf(out, size, "%s:%d: ", ar.source + 1, ar.currentline);
	}
	return 0;
}

/* A level of the traceback; nothing for what has neither a line nor a name: C code of ours, and calls in tail position. */
static size_t put_level(lua_State *L, lua_Debug *ar, char *out, size_t size)
{
	int n;

	lua_getinfo(L, "Sln", ar);
	if (ar->currentline <= 0)
		n = ar->name ? snprintf(out, size, "\n\tin '%s'", ar->name) : 0;
	else
		n = snprintf(out, size, "\n\t%s:%d: in %s%s%s", ar->source[0] == '@' ? ar->source + 1 : ar->short_src,
			     ar->currentline, ar->name ? "'" : "",
			     ar->name           ? ar->name
			     : *ar->what == 'm' ? "the script"
						: "a function",
			     ar->name ? "'" : "");
	return MIN((size_t)MAX(n, 0), size - 1);
}

static void put_traceback(lua_State *L, int level, char *out, size_t size)
{
	const int end = level + TRACEBACK_LEVELS;
	lua_Debug ar;
	size_t n = 0;

	for (; level < end && lua_getstack(L, level, &ar); level++)
		n += put_level(L, &ar, out + n, size - n);
	if (level == end && lua_getstack(L, level, &ar))
		(void)snprintf(out + n, size - n, "\n\t...");
}

/*
 * A path that is longer than LUA_IDSIZE is "...tail" in messages of Lua's own:
 * the length of that beginning of `text`, or 0.
 */
static size_t short_path_len(const char *text, const char *path)
{
	size_t len = strlen(path);
	const char *colon;

	if (strncmp(text, "...", 3) != 0)
		return 0;
	for (colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
		size_t n = (size_t)(colon - text) - 3;

		if (n > 0 && n < len && memcmp(text + 3, path + len - n, n) == 0)
			return n + 3;
	}
	return 0;
}

/* Fills vm->message: the text and where it happened. */
static void set_message(struct lua_vm *vm, int level, const char *text)
{
	char *out = vm->message;
	size_t size = sizeof(vm->message);
	lua_Debug ar;
	int n = 0;

	for (int i = level; i < level + TRACEBACK_LEVELS && lua_getstack(vm->L, i, &ar); i++) {
		size_t cut;

		lua_getinfo(vm->L, "S", &ar);
		cut = ar.source[0] == '@' ? short_path_len(text, ar.source + 1) : 0;
		if (cut) {
			n = snprintf(out, size, "%s", ar.source + 1);
			text += cut;
			break;
		}
	}
	n = MIN(n, (int)size / 2);
	n += snprintf(out + n, size - (size_t)n, "%.*s", (int)size / 2, text);
	n = MIN(n, (int)size - 1);
	put_traceback(vm->L, level, out + n, size - (size_t)n);
}

/* The same for what no error handler sees: `text` with the place in front. */
static void set_limit_message(struct lua_vm *vm, const char *text)
{
	char whole[LUA_VM_MESSAGE_SIZE / 2];
	int n = put_place(vm->L, 0, whole, sizeof(whole));

	if (n < (int)sizeof(whole))
		(void)snprintf(whole + n, sizeof(whole) - (size_t)n, "%s", text);
	set_message(vm, 0, whole);
}

/* ---- memory ---- */

static void set_count(struct lua_vm *vm, int count)
{
	if (vm->count == count)
		return;
	vm->count = count;
	(void)lua_sethook(vm->L, on_count, LUA_MASKCOUNT, count);
}

/* Also between calls: the first instructions of a call come before it looks at the clock. */
static int count_at_rest(const struct lua_vm *vm)
{
	return unlikely(vm->large > 0) ? (vm->huge > 0 ? COUNT_SLOW : COUNT_LARGE) : COUNT_USUAL;
}

/* Notes where: LuaJIT calls no error handler for lack of memory. */
static void *refuse(struct lua_vm *vm)
{
	char text[64];

	if (!vm->is_full && !vm->is_over && vm->context != LUA_CONTEXT_NONE) {
		(void)snprintf(text, sizeof(text), "the memory limit of %" PRIu64 " KiB is reached",
			       vm->limits.memory / 1024);
		if (vm->limits.jit) /* compiled code has not written down where it is */
			(void)snprintf(vm->message, sizeof(vm->message), "%s", text);
		else
			set_limit_message(vm, text);
	}
	vm->is_full = true;
	return NULL;
}

/*
 * Sizes are those that the C library has set aside, not those that LuaJIT
 * names: of a closure that it could not finish for lack of memory it gives back
 * less than it has got.
 */
static void *allocate(void *arg, void *p, size_t lua_size, size_t size)
{
	struct lua_vm *vm = arg;
	size_t old_size = malloc_usable_size(p);
	void *out;

	(void)lua_size;
	if (size == 0) {
		vm->used -= old_size;
		vm->large -= old_size > LARGE_BYTES;
		vm->huge -= old_size > HUGE_BYTES;
		free(p);
		return NULL;
	}
	if (size > old_size && likely(!vm->is_collecting)) {
		if (vm->used + (size - old_size) > vm->limits.memory || size > vm->limits.memory / 4)
			return refuse(vm);
		vm->fresh += (uint32_t)MIN(size, FRESH_BYTES);
	}
	out = realloc(p, size);
	if (!out)
		return NULL;
	size = malloc_usable_size(out);
	vm->used += size - old_size;
	vm->large += (size > LARGE_BYTES) - (old_size > LARGE_BYTES);
	vm->huge += (size > HUGE_BYTES) - (old_size > HUGE_BYTES);
	if (unlikely(vm->fresh >= FRESH_BYTES) && vm->count > 0 && !vm->is_over)
		set_count(vm, 1);
	return out;
}

/*
 * How eager the collector is. LuaJIT waits until the state has doubled, which
 * may be more than it is allowed, and does not collect when an allocation was
 * refused; so it goes on sooner and faster where there is less room.
 */
static void set_collector(struct lua_vm *vm)
{
	static const struct {
		int pause; /* percent of what was in use after a round, at which the next one begins */
		int speed; /* percent of what is allocated meanwhile */
	} paces[] = { { 200, 200 }, { 130, 400 }, { 100, 1000 } };
	int pace = vm->used > vm->limits.memory / 2 ? 2 : vm->used > vm->limits.memory / 4 ? 1 : 0;

	if (likely(pace == vm->pace))
		return;
	vm->pace = pace;
	(void)lua_gc(vm->L, LUA_GCSETPAUSE, paces[pace].pause);
	(void)lua_gc(vm->L, LUA_GCSETSTEPMUL, paces[pace].speed);
}

/*
 * What is garbage goes now, as far as the time allows. At its end a round gives
 * the table of strings half its size, in a new block. In a state at its limit
 * there would be none, and nobody is here to catch what is thrown then.
 */
static void collect(struct lua_vm *vm)
{
	uint64_t begin = loop_clock_ns();

	vm->is_collecting = true;
	while (!lua_gc(vm->L, LUA_GCSTEP, 0) && loop_clock_ns() - begin < COLLECT_NS)
		;
	vm->is_collecting = false;
}

/* ---- errors ---- */

/*
 * What lua_pcall() calls where something was thrown. It calls nothing of the
 * script's, such as a __tostring: it may run inside of the count hook, and no
 * other one would come to end that.
 */
static int on_error(lua_State *L)
{
	struct lua_vm *vm = lua_vm_of(L);
	char text[64];

	if (vm->is_over || vm->is_full) /* the text is that of the place where it began */
		return 1;
	switch (lua_type(L, 1)) {
	case LUA_TSTRING:
		set_message(vm, 1, lua_tostring(L, 1));
		break;
	case LUA_TNUMBER:
		(void)snprintf(text, sizeof(text), "%.14g", lua_tonumber(L, 1));
		set_message(vm, 1, text);
		break;
	default:
		(void)snprintf(text, sizeof(text), "(the error is no text but a value of type %s)",
			       lua_typename(L, lua_type(L, 1)));
		set_message(vm, 1, text);
	}
	return 1;
}

/* ---- time ---- */

static uint64_t budget_ns(const struct lua_vm *vm)
{
	return UINT64_C(1000) * (vm->context == LUA_CONTEXT_LOAD ? vm->limits.load_time_us : vm->limits.time_us);
}

/* From here on each instruction throws. */
static void set_over(struct lua_vm *vm)
{
	uint64_t us = budget_ns(vm) / 1000;
	char text[64];

	(void)snprintf(text, sizeof(text), "the time limit of %" PRIu64 "%s is used up", us % 1000 ? us : us / 1000,
		       us % 1000 ? " us" : " ms");
	set_limit_message(vm, text);
	vm->is_over = true;
	set_count(vm, 1);
}

/*
 * Looks at the clock. The budget begins with the first look of a call, and no
 * single gap costs more than half of it: a thread that the kernel has put aside
 * for a while is not a script that takes long.
 */
static void look(struct lua_vm *vm)
{
	uint64_t now = loop_clock_ns();
	uint64_t budget = budget_ns(vm);
	uint64_t gap = 0;
	lua_Debug ar;
	bool is_deep;

	vm->charged = 0;
	vm->fresh = 0;
	if (vm->seen_call != vm->call) {
		vm->seen_call = vm->call;
		vm->spent_ns = vm->context == LUA_CONTEXT_LOAD ? vm->load_ns : 0;
	} else {
		gap = now - vm->seen_ns;
		vm->spent_ns += MIN(gap, budget / 2);
		if (vm->context == LUA_CONTEXT_LOAD)
			vm->load_ns = vm->spent_ns;
	}
	vm->seen_ns = now;
	set_collector(vm);
	if (vm->spent_ns > budget) {
		set_over(vm);
		return;
	}
	if (gap > budget / 8)
		vm->is_slow = true;
	is_deep = lua_getstack(vm->L, CALLS_MAX, &ar);
	set_count(vm, is_deep ? 1 : vm->is_slow ? COUNT_SLOW : count_at_rest(vm));
	if (is_deep)
		luaL_error(vm->L, "stack overflow");
}

/* The text is there already: an allocation could fail. */
NORETURN static void throw_over(lua_State *L)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, lua_vm_of(L)->over_text);
	(void)lua_error(L);
	abort();
}

static void on_count(lua_State *L, lua_Debug *ar)
{
	struct lua_vm *vm = lua_vm_of(L);

	(void)ar;
	if (vm->context == LUA_CONTEXT_NONE)
		return;
	if (!vm->is_over)
		look(vm);
	if (vm->is_over)
		throw_over(L);
}

void lua_vm_charge(lua_State *L, uint32_t steps)
{
	struct lua_vm *vm = lua_vm_of(L);

	vm->charged += MIN(steps, CHARGED_STEPS);
	if (likely(vm->charged < CHARGED_STEPS) || vm->context == LUA_CONTEXT_NONE)
		return;
	if (!vm->is_over)
		look(vm);
	if (vm->is_over)
		throw_over(L);
}

void lua_vm_check_stack(lua_State *L)
{
	const char *here = __builtin_frame_address(0);
	const char *begin = lua_vm_of(L)->stack;

	if (begin && begin - here > STACK_BYTES)
		luaL_error(L, "stack overflow: functions of the library call each other too deeply");
}

/* ---- calls ---- */

struct lua_vm *lua_vm_of(lua_State *L)
{
	void *vm;

	(void)lua_getallocf(L, &vm);
	return vm;
}

/* What a call that did not end well leaves behind, and what to say about it. */
static enum lua_vm_end end_badly(struct lua_vm *vm, int status, char *error, size_t error_size)
{
	enum lua_vm_end end = vm->is_over                           ? LUA_VM_TIME
			      : status == LUA_ERRMEM || vm->is_full ? LUA_VM_MEMORY
								    : LUA_VM_ERROR;

	if (error && error_size)
		(void)snprintf(error, error_size, "%s", vm->message[0] ? vm->message : "an error without a text");
	vm->is_over = false;
	if (end == LUA_VM_MEMORY)
		collect(vm);
	return end;
}

enum lua_vm_end lua_vm_call(struct lua_vm *vm, enum lua_context context, int nargs, int nresults, char *error,
			    size_t error_size)
{
	lua_State *L = vm->L;
	enum lua_vm_end end = LUA_VM_OK;
	int status;

	Assert(vm->context == LUA_CONTEXT_NONE && context != LUA_CONTEXT_NONE);
	Assert(lua_tocfunction(L, HANDLER_INDEX) == on_error && lua_gettop(L) > HANDLER_INDEX + nargs);
	vm->context = context;
	vm->call++;
	vm->is_full = false;
	vm->message[0] = '\0';
	vm->stack = __builtin_frame_address(0);
	status = lua_pcall(L, nargs, nresults, HANDLER_INDEX);
	if (unlikely(status != 0 || vm->is_over)) {
		/* In place of results there is one error; a budget may end with the last instruction, behind which there are. */
		lua_pop(L, status != 0 ? 1 : nresults);
		end = end_badly(vm, status, error, error_size);
	}
	vm->context = LUA_CONTEXT_NONE;
	vm->is_slow = false;
	set_count(vm, count_at_rest(vm));
	return end;
}

static int run_job(lua_State *L)
{
	struct lua_vm *vm = lua_vm_of(L);
	lua_CFunction job = vm->job;

	lua_pushlightuserdata(L, vm->job_arg);
	return job(L);
}

enum lua_vm_end lua_vm_run(struct lua_vm *vm, enum lua_context context, lua_CFunction function, void *arg, char *error,
			   size_t error_size)
{
	vm->job = function;
	vm->job_arg = arg;
	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->run_job);
	return lua_vm_call(vm, context, 0, 0, error, error_size);
}

/* ---- contexts ---- */

const char *lua_context_name(enum lua_context context)
{
	static const char *const names[] = { "none", "load", "request", "tick" };

	return names[context];
}

void lua_vm_need_context(lua_State *L, unsigned allowed, const char *function)
{
	enum lua_context now = lua_vm_of(L)->context;
	char names[64];
	size_t n = 0;

	if (likely(allowed & 1u << now))
		return;
	names[0] = '\0';
	for (unsigned c = LUA_CONTEXT_LOAD; c <= LUA_CONTEXT_TICK; c++) {
		if (!(allowed & 1u << c))
			continue;
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? " or " : "", lua_context_name(c));
	}
	luaL_error(L, "%s belongs to the context %s, and this is the context %s", function, names,
		   lua_context_name(now));
}

/* ---- scripts ---- */

/* Pushes the script as a function with globals of its own, or throws "path:line: message". */
static void push_script(lua_State *L, const char *path)
{
	char text[PATH_MAX + 256];
	size_t size;
	char *script = lua_file_read(path, &size, text, sizeof(text));
	bool is_bytecode;
	size_t cut;
	int status;

	if (!script) {
		lua_pushstring(L, text);
		(void)lua_error(L);
	}
	is_bytecode = size > 0 && script[0] == LUA_SIGNATURE[0];
	(void)snprintf(text, sizeof(text), "@%s", path);
	status = luaL_loadbufferx(L, script, size, text, "t");
	free(script);
	if (status == LUA_ERRMEM)
		(void)lua_error(L);
	if (status != 0) {
		const char *message = lua_tostring(L, -1);

		cut = short_path_len(message, path);
		lua_pushfstring(L, "%s%s%s", cut ? path : "", message + cut,
				is_bytecode ? ": this is compiled; only the text of a script is loaded" : "");
		(void)lua_error(L);
	}
	if (lua_sandbox_is_tainted(L)) {
		lua_pushfstring(L, "%s: numbers that end in LL, ULL or i are not available", path);
		(void)lua_error(L);
	}
	lua_sandbox_push_globals(L);
	lua_setfenv(L, -2);
}

static int run_file(lua_State *L)
{
	push_script(L, lua_touserdata(L, 1));
	lua_call(L, 0, 0);
	return 0;
}

bool lua_vm_run_file(struct lua_vm *vm, const char *path, char *error, size_t error_size)
{
	union {
		const char *in;
		void *out;
	} arg = { .in = path };

	return lua_vm_run(vm, LUA_CONTEXT_LOAD, run_file, arg.out, error, error_size) == LUA_VM_OK;
}

void lua_vm_set_path(struct lua_vm *vm, char *const *folders, unsigned count)
{
	vm->folders = folders;
	vm->folder_count = count;
}

/* Letters, digits, '_' and '-', with single dots between: nothing that leads out of a folder. */
static bool is_module_name(const char *name, size_t len)
{
	bool may_be_dot = false;

	for (size_t i = 0; i < len; i++) {
		bool is_dot = name[i] == '.';

		if (is_dot ? !may_be_dot
			   : !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", name[i]) ||
				     name[i] == '\0')
			return false;
		may_be_dot = !is_dot;
	}
	return may_be_dot && len <= 200;
}

/* The first file of this module. False when no folder has one. */
static bool find_module(const struct lua_vm *vm, const char *name, char *path, size_t size)
{
	char file[256];

	(void)snprintf(file, sizeof(file), "%s", name);
	for (char *p = file; *p; p++) {
		if (*p == '.')
			*p = '/';
	}
	for (unsigned i = 0; i < vm->folder_count; i++) {
		int n = snprintf(path, size, "%s/%s.lua", vm->folders[i], file);

		if (n > 0 && (size_t)n < size && access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* `false` in the table of modules says that one is being loaded. */
static int require(lua_State *L)
{
	struct lua_vm *vm = lua_vm_of(L);
	char path[PATH_MAX];
	size_t len;
	const char *name;

	lua_vm_need_context(L, 1u << LUA_CONTEXT_LOAD, "require");
	name = luaL_checklstring(L, 1, &len);
	lua_settop(L, 1);
	if (!is_module_name(name, len))
		return luaL_error(L, "module '%s': a name has letters, digits, '_' and '-', with dots between", name);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->modules);
	lua_getfield(L, 2, name);
	if (lua_toboolean(L, 3))
		return 1;
	if (!lua_isnil(L, 3))
		return luaL_error(L, "module '%s' requires itself, by way of others, or has failed before", name);
	if (vm->folder_count == 0)
		return luaL_error(L, "module '%s' is not found: [lua] lua_path names no folder", name);
	if (!find_module(vm, name, path, sizeof(path)))
		return luaL_error(L, "module '%s' is not found in the folders of [lua] lua_path", name);
	lua_vm_check_stack(L);
	push_script(L, path);
	lua_pushboolean(L, false);
	lua_setfield(L, 2, name);
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, true);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

void lua_vm_freeze(struct lua_vm *vm)
{
	vm->is_frozen = true;
	/* What loading has left behind. */
	vm->is_collecting = true;
	(void)lua_gc(vm->L, LUA_GCCOLLECT, 0);
	vm->is_collecting = false;
	set_collector(vm);
	if (vm->limits.jit)
		(void)luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
}

/* ---- the state ---- */

static int init_state(lua_State *L)
{
	struct lua_vm *vm = lua_touserdata(L, 1);
	uint64_t seed = 0;

	lua_sandbox_open(L);
	lua_pushcfunction(L, require);
	lua_setglobal(L, "require");
	if (vm->limits.jit) {
		lua_pushcfunction(L, luaopen_jit);
		lua_call(L, 0, 0);
		/* Its table has functions that scripts could change for each other, and that call back. */
		lua_pushnil(L);
		lua_setglobal(L, "jit");
	}
	lua_pushcfunction(L, run_job);
	vm->run_job = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushliteral(L, "the time limit is used up");
	vm->over_text = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->modules = luaL_ref(L, LUA_REGISTRYINDEX);

	(void)!getrandom(&seed, sizeof(seed), 0);
	lua_getglobal(L, "math");
	lua_getfield(L, -1, "randomseed");
	lua_pushnumber(L, (lua_Number)(seed >> 12));
	lua_call(L, 1, 0);
	lua_pushcfunction(L, on_error);
	vm->handler = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

/* Something was thrown outside of a call: LuaJIT would end the process without a word. */
static int on_panic(lua_State *L)
{
	log_error("lua: error outside of scripts: %s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?");
	abort();
}

bool lua_vm_init(struct lua_vm *vm, const struct lua_vm_limits *limits)
{
	memset(vm, 0, sizeof(*vm));
	vm->limits = *limits;
	vm->L = lua_newstate(allocate, vm);
	if (vm->L)
		(void)lua_atpanic(vm->L, on_panic);
	if (!vm->L || lua_cpcall(vm->L, init_state, vm) != 0)
		return false;
	lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->handler);
	/* Until lua_vm_freeze(): a compiled loop would hold up the main thread for ever, and nobody could reload. */
	(void)luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	set_count(vm, COUNT_USUAL);
	return true;
}

void lua_vm_fini(struct lua_vm *vm)
{
	if (vm->L)
		lua_close(vm->L);
	vm->L = NULL;
}
