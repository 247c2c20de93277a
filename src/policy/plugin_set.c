/* plugin_set.c - see plugin_set.h */
#include "policy/plugin_set.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "policy/plugin_chain.h"
#include "policy/plugin_file.h"
#include "policy/plugin_host.h"
#include "policy/plugin_http.h"
#include "policy/plugin_log.h"
#include "policy/plugin_metrics.h"
#include "policy/plugin_option.h"
#include "policy/plugin_route.h"
#include "policy/plugin_timer.h"
#include "policy/plugin_watch.h"
#include "proxy/worker.h"

/* ---- order ---- */

/* Places of the sections in the order in which they are asked: by their numbers, equal ones as in the file. */
static void sort(const struct plugin_settings *plugins, unsigned count, unsigned places[PLUGINS_MAX])
{
	for (unsigned i = 0; i < count; i++) {
		unsigned at = i;

		for (; at > 0 && plugins[places[at - 1]].order > plugins[i].order; at--)
			places[at] = places[at - 1];
		places[at] = i;
	}
}

static bool is_word(const char *word, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(word, name, len) == 0;
}

struct ordered {
	const struct plugin_settings *settings;
	const struct plugin_file *file;
};

static bool has_dependence(const struct ordered *p, const char *name)
{
	for (const char *word = p->file->plugin.depends ? p->file->plugin.depends : ""; *word;) {
		const size_t len = strcspn(word, " ");

		if (is_word(word, len, name))
			return true;
		word += len;
		word += strspn(word, " ");
	}
	return false;
}

/* That the plugin with this name comes before the one at `at`. */
static bool check_dependence(const struct ordered *all, unsigned count, unsigned at, const char *word, size_t len,
			     char *error, size_t error_size)
{
	const struct ordered *p = &all[at];
	const struct ordered *found = NULL;

	for (unsigned i = 0; i < count && !found; i++) {
		if (i != at && is_word(word, len, all[i].file->plugin.name))
			found = &all[i];
	}
	if (found && found < p)
		return true;
	if (!found)
		snprintf(error, error_size,
			 "%s: [plugin %s] file: %s: plugin %s depends on plugin %.*s, of which there is no section",
			 p->settings->place, p->settings->name, p->file->path, p->file->plugin.name, (int)len, word);
	else if (has_dependence(found, p->file->plugin.name))
		snprintf(error, error_size,
			 "%s: [plugin %s] file: plugins %s and %s depend on each other: no order serves both",
			 p->settings->place, p->settings->name, p->file->plugin.name, found->file->plugin.name);
	else
		snprintf(error, error_size,
			 "%s: [plugin %s] order: %lld: plugin %s depends on %s, which comes after it ([plugin %s] has "
			 "order %lld)",
			 p->settings->place, p->settings->name, (long long)p->settings->order, p->file->plugin.name,
			 found->file->plugin.name, found->settings->name, (long long)found->settings->order);
	return false;
}

static bool check_dependences(const struct ordered *all, unsigned count, char *error, size_t error_size)
{
	for (unsigned i = 0; i < count; i++) {
		const char *depends = all[i].file->plugin.depends;

		for (const char *word = depends ? depends + strspn(depends, " ") : ""; *word;) {
			const size_t len = strcspn(word, " ");

			if (!check_dependence(all, count, i, word, len, error, error_size))
				return false;
			word += len;
			word += strspn(word, " ");
		}
	}
	return true;
}

/* ---- checking ---- */

static bool check_lines(const struct plugin_file *file, struct plugin_settings *settings, char *error,
			size_t error_size)
{
	struct plugin_values values;
	const bool ok = plugin_option_read(file, settings, &values, error, error_size);

	plugin_values_free(&values);
	if (ok)
		plugin_option_mark(file, settings);
	return ok;
}

bool plugin_set_check_start(struct plugin_settings *plugins, unsigned count, char *error, size_t error_size)
{
	struct ordered all[PLUGINS_MAX];
	unsigned places[PLUGINS_MAX];

	sort(plugins, count, places);
	for (unsigned i = 0; i < count; i++) {
		struct plugin_settings *s = &plugins[places[i]];
		char why[1024];

		all[i] = (struct ordered){ s, plugin_file_load(s->file, why, sizeof(why)) };
		if (!all[i].file) {
			snprintf(error, error_size, "%s: [plugin %s] file: %s", s->place, s->name, why);
			return false;
		}
		if (!check_lines(all[i].file, s, error, error_size))
			return false;
	}
	return check_dependences(all, count, error, error_size);
}

/* Those of other files are left for the comparison, which says that they need a restart. */
bool plugin_set_check_reload(struct plugin_settings *plugins, unsigned count, char *error, size_t error_size)
{
	for (unsigned i = 0; i < count; i++) {
		const struct plugin_file *file = plugin_file_find(plugins[i].file);

		/* Before its lines are judged: they may be meant for the new one. */
		if (file && plugin_file_is_replaced(file))
			log_warn("plugin %s: %s is another file than at the start; its code is taken over by a restart",
				 plugins[i].name, file->path);
		if (file && !check_lines(file, &plugins[i], error, error_size))
			return false;
	}
	return true;
}

/* ---- calls ---- */

/*
 * Around the calls of a plugin's functions on the main thread: which instance it
 * is, and that threads which it starts leave the signals to the main thread.
 */
static void call_begin(struct plugin_instance *p, const char *function, struct worker *worker, sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, old);
	plugin_watch_call(p->set->watch, p, function);
	plugin_call = (struct plugin_call){ .instance = p, .worker = worker };
}

static void call_end(const struct plugin_instance *p, const sigset_t *old)
{
	plugin_watch_back(p->set->watch);
	pthread_sigmask(SIG_SETMASK, old, NULL);
	plugin_call.instance = NULL;
	plugin_call.worker = NULL;
}

void plugin_set_call_begin(struct plugin_instance *p, const char *function, struct plugin_tally *tally,
			   sigset_t *signals)
{
	call_begin(p, function, NULL, signals);
	metric_add(&tally->calls, 1);
	plugin_call.started = loop_clock_ns();
}

void plugin_set_call_end(const struct plugin_instance *p, struct plugin_tally *tally, const sigset_t *signals)
{
	metric_add(&tally->ns, loop_clock_ns() - plugin_call.started);
	call_end(p, signals);
}

static bool call_failed(const struct plugin_instance *p, const char *function, int32_t result, char *error,
			size_t error_size)
{
	if (result == 0)
		return false;
	if (*plugin_call.error)
		snprintf(error, error_size, "plugin %s (%s): %s: %s", p->name, p->file, function, plugin_call.error);
	else
		snprintf(error, error_size, "plugin %s (%s): %s has failed with %d, and does not say why", p->name,
			 p->file, function, result);
	return true;
}

/* ---- life ---- */

static struct plugin_instance *instance_new(struct plugin_set *set, const struct plugin_settings *s,
					    const struct plugin_file *file, unsigned workers)
{
	struct plugin_instance *p = xcalloc(1, sizeof(*p));

	p->plugin = file->plugin;
	p->loaded = file;
	p->set = set;
	p->proxy = set->proxy;
	p->name = xstrdup(s->name);
	p->file = xstrdup(s->file);
	p->index = set->count;
	p->denies = !s->passes;
	p->workers = xcalloc(workers, sizeof(*p->workers));
	plugin_host_init(p);
	p->host.workers = workers;
	return p;
}

static bool instance_open(struct plugin_instance *p, const struct plugin_settings *s, char *error, size_t error_size)
{
	struct plugin_values values;
	sigset_t signals;
	bool ok = plugin_option_read(p->loaded, s, &values, error, error_size);

	if (ok && p->plugin.open) {
		call_begin(p, "open()", NULL, &signals);
		ok = !call_failed(p, "open()", p->plugin.open(&p->host, values.items, &p->self), error, error_size);
		call_end(p, &signals);
	}
	memcpy(p->watched, p->watched_next, sizeof(p->watched));
	p->is_open = ok;
	plugin_values_free(&values);
	return ok;
}

struct plugin_set *plugin_set_open(const struct settings *settings, struct proxy *proxy, struct loop *loop, char *error,
				   size_t error_size)
{
	struct plugin_set *set = xcalloc(1, sizeof(*set));
	unsigned places[PLUGINS_MAX];

	set->proxy = proxy;
	set->loop = loop;
	set->watch = plugin_watch_new(settings->workers, settings->shutdown_timeout_ms);
	sort(settings->plugins, settings->plugin_count, places);
	for (unsigned i = 0; i < settings->plugin_count; i++) {
		const struct plugin_settings *s = &settings->plugins[places[i]];
		const struct plugin_file *file = plugin_file_load(s->file, error, error_size);

		if (file) {
			set->items[set->count] = instance_new(set, s, file, settings->workers);
			set->count++;
		}
		if (!file || !instance_open(set->items[set->count - 1], s, error, error_size)) {
			plugin_set_close(set);
			return NULL;
		}
		if (proxy)
			log_info("plugin %s: %s %s from %s", s->name, file->plugin.name, file->plugin.version, s->file);
	}
	if (proxy) {
		plugin_metrics_start(set);
		plugin_log_start(loop->base);
	}
	return set;
}

static void instance_free(struct plugin_instance *p)
{
	plugin_routes_free(p);
	free(p->workers);
	free(p->name);
	free(p->file);
	free(p);
}

/* When the worker's thread has ended, or was not started. */
static void worker_end(struct plugin_set *set, struct worker *worker)
{
	sigset_t signals;

	for (unsigned i = set->count; i-- > 0;) {
		struct plugin_instance *p = set->items[i];
		struct plugin_worker *part = &p->workers[worker->index];

		if (part->is_open && p->plugin.worker_close) {
			call_begin(p, "worker_close()", worker, &signals);
			p->plugin.worker_close(part->self);
			call_end(p, &signals);
		}
		part->is_open = false;
		plugin_timer_free_worker(p, worker->index);
	}
}

void plugin_set_stop(struct plugin_set *set)
{
	if (!set || set->is_stopping)
		return;
	set->is_stopping = true;
	plugin_watch_start(set->watch);
}

void plugin_set_close(struct plugin_set *set)
{
	sigset_t signals;

	if (!set)
		return;
	plugin_set_stop(set);
	/* The workers have ended in the middle of it: nobody uses the old state. */
	if (set->reloads)
		plugin_set_reload_end(set, true);
	if (set->proxy)
		plugin_metrics_stop(set);
	for (unsigned i = 0; set->proxy && i < set->proxy->worker_count; i++)
		worker_end(set, &set->proxy->workers[i]);
	for (unsigned i = set->count; i-- > 0;) {
		struct plugin_instance *p = set->items[i];

		if (p->is_open && p->plugin.close) {
			call_begin(p, "close()", NULL, &signals);
			p->plugin.close(p->self);
			call_end(p, &signals);
		}
		p->is_open = false;
		plugin_timer_free_main(p);
		plugin_http_free(p);
	}
	plugin_log_stop();
	plugin_watch_free(set->watch);
	for (unsigned i = 0; i < set->count; i++)
		instance_free(set->items[i]);
	free(set);
}

/* ---- workers ---- */

static bool worker_open(struct plugin_instance *p, struct worker *worker, char *error, size_t error_size)
{
	struct plugin_worker *part = &p->workers[worker->index];
	char function[64];
	sigset_t signals;
	bool ok = true;

	part->self = p->self;
	if (p->plugin.worker_open) {
		snprintf(function, sizeof(function), "worker_open() for worker %u", worker->index);
		call_begin(p, "worker_open()", worker, &signals);
		ok = !call_failed(p, function, p->plugin.worker_open(p->self, worker->index, &part->self), error,
				  error_size);
		call_end(p, &signals);
	}
	part->is_open = ok;
	return ok;
}

struct watch_message {
	struct loop_message message;
	const struct worker *worker;
};

static void run_watch_worker(struct loop_message *message)
{
	struct watch_message *m = container_of(message, struct watch_message, message);

	/* Of a worker that was not started messages run at its end, when the plugins are gone. */
	if (m->worker->proxy->plugins)
		plugin_watch_worker(m->worker->proxy->plugins->watch, m->worker);
	free(m);
}

/* The first thing that its thread does. */
static void watch_worker(struct worker *worker)
{
	struct watch_message *m = xcalloc(1, sizeof(*m));

	*m = (struct watch_message){ .message.run = run_watch_worker, .worker = worker };
	loop_post(&worker->loop, &m->message);
}

bool plugin_set_hooks_new(struct proxy *proxy, struct worker *worker, struct hooks **out, char *error,
			  size_t error_size)
{
	struct plugin_set *set = proxy->plugins;

	*out = NULL;
	for (unsigned i = 0; i < set->count; i++) {
		if (!worker_open(set->items[i], worker, error, error_size)) {
			worker_end(set, worker);
			return false;
		}
	}
	*out = plugin_chain_new(set, worker);
	watch_worker(worker);
	return true;
}

/* ---- reload ---- */

static bool instance_reload(struct plugin_instance *p, const struct plugin_settings *s, char *error, size_t error_size)
{
	struct plugin_values values;
	sigset_t signals;
	bool ok = plugin_option_read(p->loaded, s, &values, error, error_size);

	memcpy(p->watched_next, p->watched, sizeof(p->watched));
	if (ok && p->plugin.reload) {
		call_begin(p, "reload()", NULL, &signals);
		ok = !call_failed(p, "reload()", p->plugin.reload(p->self, values.items), error, error_size);
		call_end(p, &signals);
		p->has_next = ok;
	}
	plugin_values_free(&values);
	return ok;
}

bool plugin_set_reload(struct plugin_set *set, const struct settings *settings, char *error, size_t error_size)
{
	unsigned places[PLUGINS_MAX];

	Assert(settings->plugin_count == set->count && !set->reloads);
	set->reloads = true;
	sort(settings->plugins, settings->plugin_count, places);
	for (unsigned i = 0; i < set->count; i++) {
		if (!instance_reload(set->items[i], &settings->plugins[places[i]], error, error_size))
			return false;
	}
	return true;
}

void plugin_set_reload_commit(struct plugin_set *set)
{
	plugin_watch_set_timeout(set->watch, set->proxy->settings->shutdown_timeout_ms);
	for (unsigned i = 0; i < set->count; i++)
		memcpy(set->items[i]->watched, set->items[i]->watched_next, sizeof(set->items[i]->watched));
}

void plugin_set_reload_end(struct plugin_set *set, bool taken)
{
	sigset_t signals;

	if (!set)
		return;
	for (unsigned i = 0; i < set->count; i++) {
		struct plugin_instance *p = set->items[i];

		if (p->has_next && p->plugin.reload_end) {
			call_begin(p, "reload_end()", NULL, &signals);
			p->plugin.reload_end(p->self, taken);
			call_end(p, &signals);
		}
		p->has_next = false;
	}
	set->reloads = false;
}

unsigned plugin_set_reopen(struct plugin_set *set)
{
	unsigned count = 0;
	sigset_t signals;

	for (unsigned i = 0; set && i < set->count; i++) {
		struct plugin_instance *p = set->items[i];

		if (!p->plugin.reopen)
			continue;
		call_begin(p, "reopen()", NULL, &signals);
		p->plugin.reopen(p->self);
		call_end(p, &signals);
		count++;
	}
	return count;
}
