/* hook_report.c - see hook_report.h */
#include "policy/hook_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "policy/lua_engine.h"
#include "proxy/counters.h"

struct hook {
	char *name;
	char *place;
};

struct hooks {
	struct hook items[POLICY_HOOKS_MAX];
	unsigned count;
};

static struct hooks in_force, to_come;
static struct counters *counters; /* of the process */

static void hooks_clear(struct hooks *hooks)
{
	for (unsigned i = 0; i < hooks->count; i++) {
		free(hooks->items[i].name);
		free(hooks->items[i].place);
	}
	hooks->count = 0;
}

static void note(const struct lua_engine_hook *hook, void *arg)
{
	struct hooks *hooks = arg;

	Assert(hooks->count < POLICY_HOOKS_MAX);
	hooks->items[hooks->count++] = (struct hook){ xstrdup(hook->name), xstrdup(hook->place) };
}

bool hook_report_engine_new(struct proxy *proxy, const struct settings *settings, unsigned worker,
			    struct policy_engine **out, char *error, size_t error_size)
{
	if (!lua_engine_new(proxy, settings, worker, out, error, error_size))
		return false;
	counters = proxy->counters;
	if (worker == 0) {
		hooks_clear(&to_come);
		if (*out)
			lua_engine_visit_hooks(*out, note, &to_come);
	}
	return true;
}

void hook_report_use(const struct settings *settings)
{
	const unsigned scripts = settings->lua.scripts.count;

	hooks_clear(&in_force);
	in_force = to_come;
	to_come.count = 0;
	if (scripts > 0)
		log_info("%u script%s loaded, with %u hook%s", scripts, scripts == 1 ? "" : "s", in_force.count,
			 in_force.count == 1 ? "" : "s");
}

/* ---- numbers ---- */

/* Registering finds the counter that the engine has made; were there none, one that stays 0. */
static int64_t value(const char *family, enum counter_kind kind, const char *hook, const char *reason)
{
	char labels[512] = "";

	counters_label(labels, sizeof(labels), "hook", hook);
	if (reason)
		counters_label(labels, sizeof(labels), "reason", reason);
	return counters_value(counters, counters_register(counters, family, "", labels, kind));
}

unsigned hook_report_read(struct policy_hook_status *out)
{
	for (unsigned i = 0; i < in_force.count; i++) {
		const char *name = in_force.items[i].name;

		out[i] = (struct policy_hook_status){
			.name = name,
			.place = in_force.items[i].place,
			.calls = value("policy_hook_calls_total", COUNTER_PLAIN, name, NULL),
			.errors = value("policy_hook_errors_total", COUNTER_PLAIN, name, "error") +
				  value("policy_hook_errors_total", COUNTER_PLAIN, name, "time") +
				  value("policy_hook_errors_total", COUNTER_PLAIN, name, "memory"),
			.denials = value("policy_denials_total", COUNTER_PLAIN, name, NULL),
			.workers_off = value("policy_hook_off", COUNTER_GAUGE, name, NULL),
		};
	}
	return in_force.count;
}

void hook_report_free(void)
{
	hooks_clear(&in_force);
	hooks_clear(&to_come);
}
