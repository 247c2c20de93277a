/* rehearsal.c - see rehearsal.h */
#include "policy/rehearsal.h"

#include <string.h>

#include "policy/lua_engine.h"
#include "proxy/worker.h"

/* One process rehearses once; the objects are large. */
static struct proxy proxy;
static struct worker worker;

/* ---- notes ---- */

#define NOT_CHECKED "; not checked, no cluster was asked"

static void note_rules(const struct rule_list *rules, FILE *notes)
{
	for (unsigned i = 0; i < rules->count; i++) {
		const struct route_rule *r = &rules->items[i];

		if (!strchr(r->keyspace, '*'))
			fprintf(notes, "note: %s: rule \"%s\" names keyspace %s" NOT_CHECKED "\n", r->place, r->text,
				r->keyspace);
	}
}

static void note_hook(const struct lua_engine_hook *hook, void *arg)
{
	if (*hook->keyspaces)
		fprintf(arg, "note: %s: hook '%s' names keyspaces %s" NOT_CHECKED "\n", hook->place, hook->name,
			hook->keyspaces);
	if (*hook->tables)
		fprintf(arg, "note: %s: hook '%s' names tables %s" NOT_CHECKED "\n", hook->place, hook->name,
			hook->tables);
}

static void note_hooks(struct policy_cache *cache, FILE *notes)
{
	if (cache)
		lua_engine_visit_hooks(policy_cache_engine(cache), note_hook, notes);
}

/* ---- public ---- */

bool rehearsal_check(const struct settings *settings, FILE *notes, char *error, size_t error_size)
{
	bool ok;

	proxy_init(&proxy, settings);
	proxy.engine_new = lua_engine_new;
	ok = proxy_load(&proxy, error, error_size);
	if (ok) {
		ok = worker_init(&worker, &proxy, 0, error, error_size);
		if (ok) {
			note_rules(&settings->rules, notes);
			note_hooks(worker.policy, notes);
		}
		worker_free(&worker);
	}
	proxy_fini(&proxy);
	return ok;
}

bool rehearsal_explain(const struct settings *settings, const struct explain_request *request, FILE *out, char *error,
		       size_t error_size)
{
	struct policy_engine *engine = NULL;
	struct policy_cache *cache;
	bool ok;

	proxy_init(&proxy, settings);
	ok = lua_engine_new(&proxy, settings, 0, &engine, error, error_size);
	cache = ok && engine ? policy_cache_new(engine, &settings->rules) : NULL;
	if (ok)
		explain_write(settings, cache, request, out);
	policy_cache_free(cache);
	proxy_fini(&proxy);
	return ok;
}
