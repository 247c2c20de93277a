/* lua_engine.c - see lua_engine.h */
#include "policy/lua_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "policy/lua_host.h"

static struct lua_host *host_of(struct policy_engine *e)
{
	return container_of(e, struct lua_host, engine);
}

/* The next hook of a set, in order; takes it out. */
static struct lua_hook *take_first(struct lua_host *host, uint64_t *set)
{
	const int i = __builtin_ctzll(*set);

	*set &= *set - 1;
	return &host->hooks[i];
}

static uint64_t bit_of(const struct lua_host *host, const struct lua_hook *hook)
{
	return UINT64_C(1) << (hook - host->hooks);
}

/*
 * A denial that a plan keeps lives as long as the engine. Those of one
 * engine are few: hooks that deny by table name a table, at most. False when
 * there are too many: the hook is then asked for each request.
 */
static bool keep_denial(struct lua_host *host, struct policy_opinion *out)
{
	const struct policy_denial *d = out->denial;

	for (unsigned i = 0; i < host->kept_count; i++) {
		if (host->kept[i].code == d->code && strcmp(host->kept[i].text, d->text) == 0) {
			out->denial = &host->kept[i];
			return true;
		}
	}
	if (host->kept_count == LUA_HOST_KEPT_MAX)
		return false;
	host->kept[host->kept_count] = (struct policy_denial){ .code = d->code, .text = xstrdup(d->text) };
	out->denial = &host->kept[host->kept_count++];
	return true;
}

/* An error is no opinion to be kept: the hook is asked again with the next request, where on_error counts. */
static uint64_t engine_plan(struct policy_engine *e, const struct policy_question *q, uint64_t among,
			    enum policy_scope scope, struct policy_opinion *out)
{
	struct lua_host *host = host_of(e);
	uint64_t ask = 0;

	*out = (struct policy_opinion){ 0 };
	while (among) {
		struct lua_hook *hook = take_first(host, &among);

		if (!lua_hook_is_about(hook, q))
			continue;
		if (hook->scope > (uint8_t)scope || hook->fault.is_off) {
			ask |= bit_of(host, hook);
			continue;
		}
		switch (lua_hook_ask(host, hook, q, out, NULL, 0)) {
		case LUA_HOOK_NOTHING:
			break;
		case LUA_HOOK_ERROR:
			ask |= bit_of(host, hook);
			break;
		case LUA_HOOK_OPINION:
			if (!out->denial || keep_denial(host, out))
				return ask;
			ask |= bit_of(host, hook);
			*out = (struct policy_opinion){ 0 };
			break;
		}
	}
	return ask;
}

static void fail(struct lua_host *host, const struct lua_hook *hook, struct policy_opinion *out)
{
	*out = (struct policy_opinion){ .denial = &hook->failed, .hook = (uint8_t)(hook - host->hooks) };
}

static void engine_decide(struct policy_engine *e, const struct policy_question *q, uint64_t among,
			  struct policy_opinion *out)
{
	struct lua_host *host = host_of(e);

	*out = (struct policy_opinion){ 0 };
	while (among) {
		struct lua_hook *hook = take_first(host, &among);
		enum lua_hook_answer answer = LUA_HOOK_ERROR;

		if (!lua_hook_is_for(hook, q))
			continue;
		if (likely(!hook->fault.is_off))
			answer = lua_hook_ask(host, hook, q, out, NULL, 0);
		if (answer == LUA_HOOK_OPINION)
			return;
		if (answer == LUA_HOOK_ERROR && hook->denies) {
			fail(host, hook, out);
			return;
		}
	}
}

static void engine_denied(struct policy_engine *e, unsigned hook)
{
	struct lua_host *host = host_of(e);

	if (host->counters)
		counters_add(host->counters, host->worker, host->hooks[hook].denials, 1);
}

static void set_gauge(struct lua_host *host, const struct lua_fault *fault)
{
	if (host->counters)
		counters_set(host->counters, host->worker, fault->off, fault->is_off);
}

static void engine_start(struct policy_engine *e, struct loop *loop)
{
	struct lua_host *host = host_of(e);

	host->loop = loop;
	/* Whatever the scripts before have left there. */
	for (unsigned i = 0; i < host->hook_count; i++)
		set_gauge(host, &host->hooks[i].fault);
	for (unsigned i = 0; i < host->tick_count; i++) {
		set_gauge(host, &host->ticks[i].fault);
		lua_tick_start(&host->ticks[i]);
	}
}

static void engine_stop(struct policy_engine *e)
{
	struct lua_host *host = host_of(e);

	for (unsigned i = 0; i < host->hook_count; i++) {
		host->hooks[i].fault.is_off = false;
		set_gauge(host, &host->hooks[i].fault);
	}
	for (unsigned i = 0; i < host->tick_count; i++) {
		host->ticks[i].fault.is_off = false;
		set_gauge(host, &host->ticks[i].fault);
		lua_tick_stop(&host->ticks[i]);
	}
	host->loop = NULL;
}

static void engine_free(struct policy_engine *e)
{
	lua_host_free(host_of(e));
}

static const struct policy_engine_ops ops = {
	.plan = engine_plan,
	.decide = engine_decide,
	.denied = engine_denied,
	.start = engine_start,
	.stop = engine_stop,
	.free = engine_free,
};

/* Whether a hook may mirror what it is asked about: by the word "mirror", or by a route. */
static bool may_mirror(const struct lua_host *host)
{
	for (unsigned i = 0; i < host->hook_count; i++) {
		if (host->hooks[i].kinds >> POLICY_READ & 1)
			return true;
	}
	return false;
}

bool lua_engine_new(struct proxy *proxy, const struct settings *settings, unsigned worker, struct policy_engine **out,
		    char *error, size_t error_size)
{
	struct lua_host *host;

	*out = NULL;
	if (settings->lua.scripts.count == 0)
		return true;
	host = lua_host_new(proxy ? proxy->counters : NULL, settings, worker, error, error_size);
	if (!host)
		return false;
	host->engine.ops = &ops;
	host->engine.hook_count = host->hook_count;
	for (unsigned i = 0; i < host->hook_count; i++)
		host->engine.hook_names[i] = names_keep(host->hooks[i].name);
	host->engine.may_mirror = may_mirror(host);
	*out = &host->engine;
	return true;
}

/* ---- explain ---- */

static void explain_denial(const struct policy_denial *d, char *text, size_t size)
{
	const char *code = lua_request_code_name(d->code);

	snprintf(text, size, "denied (%s): %s", code ? code : "?", d->text);
}

static void explain(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
		    struct lua_engine_word *word, char *text, size_t size)
{
	char detail[LUA_VM_MESSAGE_SIZE] = "";

	if (lua_hook_why_not(hook, q, detail, sizeof(detail))) {
		snprintf(text, size, "not asked: %s", detail);
		return;
	}
	word->is_asked = true;
	switch (lua_hook_ask(host, hook, q, &word->opinion, detail, sizeof(detail))) {
	case LUA_HOOK_NOTHING:
		snprintf(text, size, "no opinion");
		return;
	case LUA_HOOK_ERROR:
		snprintf(text, size, "error: %s", detail);
		if (hook->denies)
			fail(host, hook, &word->opinion);
		return;
	case LUA_HOOK_OPINION:
		break;
	}
	if (word->opinion.route) {
		snprintf(text, size, "%s", word->opinion.route->name);
		return;
	}
	explain_denial(word->opinion.denial, text, size);
	/* So that the caller may keep the first one for its last line. */
	(void)!keep_denial(host, &word->opinion);
}

/* One of SCOPE_TABLE, table by table: what comes of them all together is the plan's to say. */
static void explain_tables(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
			   struct lua_engine_word *word, char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (unsigned i = 0; i < q->tables->count && used < size; i++) {
		const struct statement_table *t = &q->tables->items[i];
		const struct statement_tables one = { .count = 1, .items[0] = *t };
		struct policy_question about = *q;
		struct lua_engine_word ignored = { .is_asked = false };
		char said[LUA_VM_MESSAGE_SIZE + 64];

		about.tables = &one;
		explain(host, hook, &about, &ignored, said, sizeof(said));
		word->is_asked |= ignored.is_asked;
		used += (size_t)snprintf(text + used, size - used, "%s%.*s.%.*s: %s", i ? "; " : "",
					 SV_ARG(statement_name_view(&t->keyspace)),
					 SV_ARG(statement_name_view(&t->table)), said);
	}
}

void lua_engine_explain(struct policy_engine *e, const struct policy_question *q,
			void (*say)(const struct lua_engine_word *word, void *arg), void *arg)
{
	struct lua_host *host = host_of(e);

	for (unsigned i = 0; i < host->hook_count; i++) {
		struct lua_hook *hook = &host->hooks[i];
		struct lua_engine_word word = { .hook = hook->name, .place = hook->place };
		char text[LUA_VM_MESSAGE_SIZE + 64];

		if (hook->scope == SCOPE_TABLE && q->tables->count > 1)
			explain_tables(host, hook, q, &word, text, sizeof(text));
		else
			explain(host, hook, q, &word, text, sizeof(text));
		word.text = text;
		say(&word, arg);
	}
}

/* ---- hooks ---- */

void lua_engine_visit_hooks(struct policy_engine *e, void (*visit)(const struct lua_engine_hook *hook, void *arg),
			    void *arg)
{
	struct lua_host *host = host_of(e);

	for (unsigned i = 0; i < host->hook_count; i++) {
		const struct lua_hook *hook = &host->hooks[i];
		char keyspaces[512] = "", tables[512] = "";
		const struct lua_engine_hook shown = { hook->name, hook->place, keyspaces, tables };

		lua_names_text(&hook->keyspaces, keyspaces, sizeof(keyspaces));
		lua_names_text(&hook->tables, tables, sizeof(tables));
		visit(&shown, arg);
	}
}
