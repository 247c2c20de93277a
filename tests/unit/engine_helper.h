/* engine_helper.h - scripts in an engine of policy/lua_engine.h, and questions for their hooks, for unit tests. */
#ifndef TESTS_UNIT_ENGINE_HELPER_H
#define TESTS_UNIT_ENGINE_HELPER_H

#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "policy/lua_engine.h"
#include "policy/lua_host.h"
#include "proxy/counters.h"
#include "vectors.h"

#define ALL UINT64_MAX

static struct proxy proxy;
static struct settings settings;
static struct policy_engine *engine;
static char error[4096];

static struct policy_client client;
static struct statement_tables tables;
static struct policy_question question;
static struct policy_opinion opinion;

/* ---- scripts ---- */

static inline void settings_begin(void)
{
	memset(&settings, 0, sizeof(settings));
	settings.primary = CLUSTER_ORIGIN;
	settings.lua.time_limit_us = 20000; /* builds with sanitizers are slow */
	settings.lua.memory_limit = 32u << 20;
	settings.lua.fail_limit = 100;
	memset(&proxy, 0, sizeof(proxy));
	proxy.counters = counters_new(1);
}

static inline void settings_end(void)
{
	if (engine)
		engine->ops->free(engine);
	engine = NULL;
	counters_free(proxy.counters);
	free(settings.lua.options);
}

/* Loads a script from a file of its own, whose name in `error` becomes SCRIPT. */
static inline bool try_load(const char *text)
{
	char path[] = "/tmp/cqlferry-engine-XXXXXX";
	char *scripts[] = { path };
	char *at;
	int fd = mkstemp(path);
	bool ok;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	if (engine)
		engine->ops->free(engine);
	engine = NULL;
	error[0] = 0;
	settings.lua.scripts.items = scripts;
	settings.lua.scripts.count = 1;
	ok = lua_engine_new(&proxy, &settings, 0, &engine, error, sizeof(error));
	settings.lua.scripts.count = 0;
	unlink(path);
	ck_assert(ok == (engine != NULL));
	while ((at = strstr(error, path)) != NULL) {
		memcpy(at, "SCRIPT", 6);
		memmove(at + 6, at + strlen(path), strlen(at + strlen(path)) + 1);
	}
	return ok;
}

static inline void load(const char *text)
{
	ck_assert_msg(try_load(text), "%s", error);
}

/* The script does not load, and the reason, with the line, begins with this. */
static inline void load_fails(const char *text, const char *reason)
{
	ck_assert_msg(!try_load(text), "this should not load: %s", text);
	ck_assert_msg(strncmp(error, reason, strlen(reason)) == 0, "%s\nfails with: %s\ninstead of: %s", text, error,
		      reason);
}

static inline void option_add(const char *name, const char *value)
{
	struct lua_settings *s = &settings.lua;

	s->options = realloc(s->options, (s->option_count + 1) * sizeof(s->options[0]));
	s->options[s->option_count++] =
		(struct lua_option){ (char *)(uintptr_t)name, (char *)(uintptr_t)value, (char *)(uintptr_t) "x.ini:7" };
}

/* ---- questions ---- */

static inline void name_set(struct statement_name *n, const char *text, size_t len)
{
	n->len = (uint8_t)len;
	n->is_cut = false;
	memcpy(n->text, text, len);
}

/* "keyspace.table"; "keyspace." and ".table" lack one. */
static inline void add_table(const char *name)
{
	struct statement_table *t = &tables.items[tables.count++];
	const char *dot = strchr(name, '.');

	name_set(&t->keyspace, name, (size_t)(dot - name));
	name_set(&t->table, dot + 1, strlen(dot + 1));
}

/* A QUERY by ann from 10.0.0.1, level LOCAL_QUORUM, 100 bytes; up to two tables (NULL: none). */
static inline void ask_about(enum policy_kind kind, enum statement_kind verb, const char *one, const char *other)
{
	client = (struct policy_client){ SV("ann"), SV("10.0.0.1"), SV("a driver"), SV("4.2") };
	statement_tables_clear(&tables);
	if (one)
		add_table(one);
	if (other)
		add_table(other);
	question = (struct policy_question){
		.kind = (uint8_t)kind,
		.verb = (uint8_t)verb,
		.tables = &tables,
		.opcode = OP_QUERY,
		.consistency = CL_LOCAL_QUORUM,
		.size = 100,
		.client = &client,
	};
}

static inline void ask_read(void)
{
	ask_about(POLICY_READ, STATEMENT_SELECT, "ks.t", NULL);
}

/* What all hooks together say: a route's name, "CODE: text" of a denial, or "nothing". */
static inline const char *opinion_text(void)
{
	static char text[2048];

	if (opinion.denial)
		snprintf(text, sizeof(text), "%s: %s", cql_error_name(opinion.denial->code), opinion.denial->text);
	else
		snprintf(text, sizeof(text), "%s", opinion.route ? opinion.route->name : "nothing");
	return text;
}

static inline uint64_t all_hooks(void)
{
	return engine->hook_count == 64 ? UINT64_MAX : (UINT64_C(1) << engine->hook_count) - 1;
}

static inline const char *decide(void)
{
	engine->ops->decide(engine, &question, all_hooks(), &opinion);
	return opinion_text();
}

static inline const char *decide_among(uint64_t among)
{
	engine->ops->decide(engine, &question, among, &opinion);
	return opinion_text();
}

/* What is to be asked later; the opinion is in `opinion`. */
static inline uint64_t plan(enum policy_scope scope)
{
	return engine->ops->plan(engine, &question, all_hooks(), scope, &opinion);
}

/* ---- what hooks say of themselves ---- */

static char words[4096];

static inline void keep_word(const struct lua_engine_word *word, void *arg)
{
	size_t n = strlen(words);

	(void)arg;
	snprintf(words + n, sizeof(words) - n, "%s%s: %s", n > 0 ? "\n" : "", word->hook, word->text);
}

/* One line for each hook. */
static inline const char *explain(void)
{
	words[0] = 0;
	lua_engine_explain(engine, &question, keep_word, NULL);
	return words;
}

/* ---- ticks ---- */

/* Runs a function of proxy.on_tick(): the message of its error, "" when it had none. */
static inline const char *tick_error(unsigned number)
{
	struct lua_host *host = container_of(engine, struct lua_host, engine);

	ck_assert_uint_lt(number, host->tick_count);
	error[0] = 0;
	lua_rawgeti(host->vm.L, LUA_REGISTRYINDEX, host->ticks[number].function);
	if (lua_vm_call(&host->vm, LUA_CONTEXT_TICK, 0, 0, error, sizeof(error)) == LUA_VM_OK)
		error[0] = 0;
	return error;
}

/* ---- counters ---- */

/* -1: there is none. */
static inline int64_t counter(const char *family, const char *labels)
{
	struct counter_series *all;
	const unsigned count = counters_list(proxy.counters, &all);
	int64_t value = -1;

	for (unsigned i = 0; i < count; i++) {
		if (strcmp(all[i].family, family) == 0 && strcmp(all[i].labels, labels) == 0)
			value = counters_value(proxy.counters, all[i].number);
	}
	free(all);
	return value;
}

#endif
