/*
 * lua_fault.h - what comes of the errors of a hook or a tick: they are counted
 * by reason, a line with the traceback is logged at most once in a second, and
 * after `fail_limit` of them in a minute it is switched off until the scripts
 * are loaded again. Each worker counts its own: one whose clients do not touch
 * the error goes on.
 */
#ifndef POLICY_LUA_FAULT_H
#define POLICY_LUA_FAULT_H

#include "policy/lua_vm.h"
#include "proxy/counters.h"

#define LUA_FAULT_SECONDS 60

struct lua_fault {
	const char *what;  /* "hook 'canary'", for log lines */
	const char *place; /* "FILE:LINE" */
	/* Numbers in counters.h. */
	unsigned errors[LUA_VM_MEMORY + 1]; /* by enum lua_vm_end */
	unsigned off;
	bool is_off;
	uint64_t next_log_ns;
	uint64_t left_out; /* lines */
	/* Errors in each of the last seconds. */
	uint64_t second;
	uint32_t counts[LUA_FAULT_SECONDS];
};

/* Registers policy_hook_errors_total and policy_hook_off with hook="`label`". `counters` may be NULL. */
void lua_fault_init(struct lua_fault *f, struct counters *counters, const char *label);

/* Whether lua_fault_note() would log now: otherwise no traceback is needed. */
static inline bool lua_fault_may_log(const struct lua_fault *f, uint64_t now_ns)
{
	return now_ns >= f->next_log_ns;
}

/* An error has happened; `message` may be empty when lua_fault_may_log() says no. `consequence` is for the line that
 * says that it is switched off. `limit` 0: never. */
void lua_fault_note(struct lua_fault *f, struct counters *counters, unsigned worker, enum lua_vm_end end,
		    const char *message, uint32_t limit, const char *consequence, uint64_t now_ns);

#endif
