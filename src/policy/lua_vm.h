/*
 * lua_vm.h - one LuaJIT state that a script cannot break out of: memory by a
 * capped allocator, time by a count hook, a library without what is dangerous
 * (lua_sandbox.h), globals that are frozen once the scripts are loaded.
 *
 * Belongs to one thread at a time. It is made on the main thread and used by a
 * worker.
 */
#ifndef POLICY_LUA_VM_H
#define POLICY_LUA_VM_H

#include <lua.h>

#include "base/common.h"

struct lua_vm_limits {
	uint32_t load_time_us; /* for all that runs while scripts are loaded */
	uint32_t time_us;      /* for one call behind that */
	uint64_t memory;       /* bytes of the whole state; no object may have more than a quarter of it */
	bool jit; /* compiled loops cannot be interrupted, so they have no time limit once scripts are loaded */
};

/* Where Lua code runs: what a function of ours may be called from. */
enum lua_context {
	LUA_CONTEXT_NONE,
	LUA_CONTEXT_LOAD,
	LUA_CONTEXT_REQUEST,
	LUA_CONTEXT_TICK,
};

enum lua_vm_end {
	LUA_VM_OK,
	LUA_VM_ERROR,  /* the script threw, or did something it may not do */
	LUA_VM_TIME,   /* its budget was used up */
	LUA_VM_MEMORY, /* the state's limit was reached */
};

#define LUA_VM_MESSAGE_SIZE 2048

struct lua_vm {
	lua_State *L;
	struct lua_vm_limits limits;
	uint64_t used;  /* bytes, as the allocator has counted */
	uint32_t large; /* blocks in use whose copying or comparing takes long */
	uint32_t huge;  /* those of them for which one instruction may take milliseconds */
	uint32_t fresh; /* bytes allocated since the clock was looked at */
	enum lua_context context;
	bool is_frozen;
	bool is_over;       /* the budget of the call under way is used up: each instruction throws */
	bool is_full;       /* the allocator has refused something in the call under way */
	bool is_collecting; /* outside of scripts: the allocator refuses nothing */
	bool is_slow;       /* instructions of the call under way take long: the clock is looked at often */
	int pace;           /* of the collector */
	uint32_t charged;   /* steps of lua_vm_charge() since the clock was looked at */
	int count;          /* instructions between two calls of the count hook, as set */
	uint64_t call;      /* number of the call under way */
	uint64_t seen_call; /* of that in which the count hook looked at the clock first */
	uint64_t seen_ns;   /* when it looked last */
	uint64_t spent_ns;  /* by that call */
	uint64_t load_ns;   /* by all calls in the load context */
	const char *stack;  /* where the C stack of the call under way begins */
	lua_CFunction job;  /* of lua_vm_run() */
	void *job_arg;
	char *const *folders; /* lua_vm_set_path() */
	unsigned folder_count;
	int handler; /* references to what must not be allocated at the time when it is needed */
	int over_text;
	int run_job;
	int modules; /* what `require` has loaded, by name */
	void *owner; /* for the functions of lua_module.c and lua_request.c */
	char message[LUA_VM_MESSAGE_SIZE];
};

/*
 * False without memory for it. The state has the sandbox's library; functions
 * of ours are added by the caller, as globals (lua_setglobal()) before the
 * first script is run; lua_sandbox_protect() makes a table of them read-only.
 */
MUSTCHECK bool lua_vm_init(struct lua_vm *vm, const struct lua_vm_limits *limits);
/* Also after a failed lua_vm_init(). */
void lua_vm_fini(struct lua_vm *vm);

/* That of a state; for C functions. */
struct lua_vm *lua_vm_of(lua_State *L);

/*
 * lua_pcall() of the function and `nargs` arguments on the stack in this
 * context, with the limits: on success the results are on the stack. Otherwise
 * nothing is, and the message with its traceback (lines with "\n" between) is
 * in `error` (may be NULL). A pcall() in the script does not swallow
 * LUA_VM_TIME. Not to be called while another call of this state is under way,
 * and `nresults` is not LUA_MULTRET. The lowest value on the stack belongs to
 * this function, so nobody calls lua_settop(L, 0).
 */
enum lua_vm_end lua_vm_call(struct lua_vm *vm, enum lua_context context, int nargs, int nresults, char *error,
			    size_t error_size);

/*
 * For what C code does to the state outside of scripts: as lua_vm_call(), of a
 * C function that gets `arg` as a light userdata. What allocates in Lua may
 * throw for lack of memory, and outside of a call that would end the process.
 */
enum lua_vm_end lua_vm_run(struct lua_vm *vm, enum lua_context context, lua_CFunction function, void *arg, char *error,
			   size_t error_size);

/*
 * For C functions that work in loops: `steps` of about a nanosecond each were
 * done. Throws when the budget is used up.
 */
void lua_vm_charge(lua_State *L, uint32_t steps);
/*
 * For C functions that call Lua functions, which may call them again: throws
 * when the C stack has become deep.
 */
void lua_vm_check_stack(lua_State *L);

/* Compiles and runs a script, text only, as "@path". False with "path:line: message" in `error`. */
MUSTCHECK bool lua_vm_run_file(struct lua_vm *vm, const char *path, char *error, size_t error_size);
/*
 * `require` looks for NAME.lua (dots are folders) in these folders only; in
 * the load context only. The list must live as long as the state.
 */
void lua_vm_set_path(struct lua_vm *vm, char *const *folders, unsigned count);
/* From here on globals cannot be written, and the library's tables never could. */
void lua_vm_freeze(struct lua_vm *vm);

/* Throws unless the code runs in one of `allowed` (bits 1 << enum lua_context), naming `function` and both. */
void lua_vm_need_context(lua_State *L, unsigned allowed, const char *function);
const char *lua_context_name(enum lua_context context);

#endif
