/*
 * lua_engine.h - the scripts of one worker as a policy engine (proxy/policy.h):
 * their hooks in the order in which they were registered, with filters, scopes
 * and what happens when one fails.
 */
#ifndef POLICY_LUA_ENGINE_H
#define POLICY_LUA_ENGINE_H

#include "proxy/policy.h"
#include "proxy/proxy.h"

/*
 * For proxy->engine_new: loads settings->lua. *out is NULL when it names no
 * script. False with "FILE:LINE: message" in `error`. On the main thread.
 */
MUSTCHECK bool lua_engine_new(struct proxy *proxy, const struct settings *settings, unsigned worker,
			      struct policy_engine **out, char *error, size_t error_size);

/* A hook as its script registered it. */
struct lua_engine_hook {
	const char *name;
	const char *place;     /* "FILE:LINE" */
	const char *keyspaces; /* of its filter, "a, b"; a long list is cut; "" without one */
	const char *tables;
};
/* In the order in which they are asked; what they point to lives until visit() returns. */
void lua_engine_visit_hooks(struct policy_engine *e, void (*visit)(const struct lua_engine_hook *hook, void *arg),
			    void *arg);

/* What a hook would say, for --explain: in order, also those behind the first opinion. */
struct lua_engine_word {
	const char *hook;  /* its name */
	const char *place; /* "FILE:LINE" of its registration */
	const char *
		text; /* "target", "denied (unauthorized): ...", "no opinion", "not asked: kinds = write", "error: ..." */
	/* None of a hook of SCOPE_TABLE about several tables: policy_plan_make() says what comes of all their opinions. */
	struct policy_opinion opinion;
	bool is_asked;
};
void lua_engine_explain(struct policy_engine *e, const struct policy_question *q,
			void (*say)(const struct lua_engine_word *word, void *arg), void *arg);

#endif
