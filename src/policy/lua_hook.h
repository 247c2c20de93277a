/*
 * lua_hook.h - hooks as scripts register them with proxy.on_request(): what
 * they are about (in C, so that other traffic never enters Lua), and asking
 * them.
 */
#ifndef POLICY_LUA_HOOK_H
#define POLICY_LUA_HOOK_H

#include "policy/lua_fault.h"
#include "policy/lua_list.h"
#include "proxy/policy.h"

#define LUA_HOOK_NAME_MAX 64

struct lua_host;

struct lua_hook {
	char *name;
	char *place;   /* "FILE:LINE" of its registration */
	int function;  /* in the registry */
	uint8_t scope; /* enum policy_scope */
	bool denies;   /* on_error = "deny" */
	/* The filter. Sets that are empty leave nothing out. */
	uint8_t kinds;    /* 1 << enum policy_kind */
	uint16_t opcodes; /* 1 << opcode; 0: all */
	struct lua_names keyspaces;
	struct lua_names tables; /* "keyspace.table" */
	struct lua_names users;
	struct lua_fault fault;
	char *what; /* that of the fault */
	/* Numbers in counters.h. */
	unsigned calls;
	unsigned denials;
	unsigned time;
	uint8_t untimed; /* calls, round and round: one of LUA_HOOK_TIMED is measured */
	/* What the client gets when the hook failed and denies. */
	struct policy_denial failed;
	char *failed_text;
};

/* A look at the clock costs as much as a small hook does. */
#define LUA_HOOK_TIMED 64

enum lua_hook_answer {
	LUA_HOOK_NOTHING,
	LUA_HOOK_OPINION,
	LUA_HOOK_ERROR, /* counted and logged */
};

/* proxy.on_request(name, { filter ... }, function) */
int lua_hook_register(lua_State *L);
void lua_hook_fini(struct lua_hook *hook);

/* The part of the filter that a statement decides; and that which a request decides. */
MUSTCHECK bool lua_hook_is_about(const struct lua_hook *hook, const struct policy_question *q);
MUSTCHECK bool lua_hook_is_for(const struct lua_hook *hook, const struct policy_question *q);
/* What of the filter leaves out this question: "kinds = write". False when nothing does. */
bool lua_hook_why_not(const struct lua_hook *hook, const struct policy_question *q, char *out, size_t size);

/*
 * Asks it; one of SCOPE_TABLE about each table. A denial in `out` is good until
 * the next call. `error` (NULL: nobody reads it, it is logged) gets the message
 * of an error, which then is neither counted nor logged.
 */
enum lua_hook_answer lua_hook_ask(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
				  struct policy_opinion *out, char *error, size_t error_size);

#endif
