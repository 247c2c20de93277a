/* reload.c - see reload.h */
#include "control/reload.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/tls.h"
#include "control/config_compare.h"
#include "control/config_lua.h"
#include "control/setting.h"
#include "proxy/contexts.h"
#include "proxy/sni.h"

/* What one worker gets, and its answer. */
struct reload_part {
	struct worker_change change;
	struct loop_message confirmation;
	struct reload *reload;
};

struct reload {
	struct reload_context context;
	struct config *config; /* in force; during a reload the old one, which workers still use */
	struct reload_status status;
	uint32_t generation; /* of the settings */
	bool is_stopped;
	bool again; /* one more SIGHUP has come during this reload */

	/* Of the reload under way; `next` is NULL otherwise. */
	struct config *next;
	struct config_changes changes;
	struct reload_part *parts; /* by worker */
	unsigned unconfirmed;
	struct tls_context *tls[CLUSTER_COUNT]; /* of control connections: the new ones, then the old */
	struct bundle *bundles[CLUSTER_COUNT];  /* secure connect bundles as they are now */
	bool has_plugins;                       /* they have made their new state */
	int log_fd;                             /* -1: the log stays where it is */
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- reading ---- */

struct config *reload_read(const struct config_request *request)
{
	struct config *config;
	char error[1024];
	char *warnings = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&warnings, &size);

	config = config_load(request, memory, error, sizeof(error));
	if (memory)
		fclose(memory);
	for (char *line = warnings, *end; line && (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		log_warn("%s", line);
	}
	free(warnings);
	if (!config)
		log_error("%s", error);
	return config;
}

/* ---- comparing ---- */

static bool check_listeners(const struct reload *r)
{
	if (config_same_listeners(r->config, r->next))
		return true;
	log_error("%s: the [listener] sections are not those of the start; listeners are added, removed and renamed by "
		  "a restart",
		  r->context.request->path);
	return false;
}

static bool check_plugins(const struct reload *r)
{
	if (config_same_plugins(r->config, r->next))
		return true;
	log_error(
		"%s: the [plugin] sections are not those of the start; plugins are added, removed, renamed and moved by "
		"a restart",
		r->context.request->path);
	return false;
}

/* One message for all that cannot change. */
static bool check_changes(const struct reload *r)
{
	char *text = NULL;
	size_t size = 0;
	unsigned count = 0;
	FILE *memory = open_memstream(&text, &size);

	for (unsigned i = 0; memory && i < r->changes.count; i++) {
		const struct config_change *c = &r->changes.items[i];

		if (!(c->setting->flags & SETTING_RELOAD))
			fprintf(memory, "%s%s: %s, was %s", count++ ? "; " : "", c->place, c->after, c->before);
	}
	if (memory)
		fclose(memory);
	if (count)
		log_error("%u changed setting%s a restart: %s", count, count == 1 ? " needs" : "s need", text);
	free(text);
	return memory && count == 0;
}

/* ---- making ---- */

static void on_confirmed(struct loop_message *message);

/* On the worker's thread. */
static void on_worker_done(struct worker_change *change)
{
	struct reload_part *part = container_of(change, struct reload_part, change);

	loop_post(part->reload->context.loop, &part->confirmation);
}

static bool make_log(struct reload *r, char *error, size_t error_size)
{
	const char *old = config_settings(r->config)->log_file;
	const char *new = config_settings(r->next)->log_file;

	if (strcmp(old ? old : "", new ? new : "") == 0)
		return true;
	r->log_fd = log_open(new, error, error_size);
	return r->log_fd >= 0;
}

/* Its certificates are renewed at times; the path is one of the settings that need a restart. */
static bool load_bundle(struct reload *r, const struct cluster_settings *cs, unsigned cluster, char *error,
			size_t error_size)
{
	if (!cs->secure_connect_bundle)
		return true;
	r->bundles[cluster] = bundle_load(cs->secure_connect_bundle, error, error_size);
	return r->bundles[cluster] != NULL;
}

static bool make_plugins(struct reload *r, char *error, size_t error_size)
{
	if (!r->context.plugins)
		return true;
	r->has_plugins = true;
	return r->context.plugins->reload(r->context.proxy->plugins, config_settings(r->next), error, error_size);
}

static void end_plugins(struct reload *r, bool taken)
{
	if (r->has_plugins)
		r->context.plugins->end(r->context.proxy->plugins, taken);
	r->has_plugins = false;
}

static bool make_parts(struct reload *r)
{
	const struct settings *settings = config_settings(r->next);
	char error[2048]; /* a script's may have a traceback */
	uint64_t stamp;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!contexts_new_cluster(&settings->cluster[i], &r->tls[i], error, sizeof(error)) ||
		    !load_bundle(r, &settings->cluster[i], i, error, sizeof(error)))
			goto failed;
	}
	stamp = config_lua_stamp(&settings->lua);
	r->parts = xcalloc(r->context.worker_count, sizeof(*r->parts));
	for (unsigned i = 0; i < r->context.worker_count; i++) {
		struct reload_part *part = &r->parts[i];

		part->reload = r;
		part->confirmation.run = on_confirmed;
		if (!worker_change_init(&part->change, &r->context.workers[i], settings, r->generation + 1, error,
					sizeof(error)))
			goto failed;
		part->change.on_done = on_worker_done;
	}
	if (config_lua_stamp(&settings->lua) != stamp)
		snprintf(error, sizeof(error), CONFIG_LUA_CHANGED "; send SIGHUP again");
	else if (make_plugins(r, error, sizeof(error)) && make_log(r, error, sizeof(error)))
		return true;
failed:
	log_error("%s", error);
	return false;
}

/* Frees what belongs to this reload alone. */
static void clear(struct reload *r)
{
	for (unsigned i = 0; r->parts && i < r->context.worker_count; i++)
		worker_change_fini(&r->parts[i].change);
	free(r->parts);
	r->parts = NULL;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		tls_context_free(r->tls[i]);
		r->tls[i] = NULL;
		bundle_free(r->bundles[i]);
		r->bundles[i] = NULL;
	}
	config_changes_free(&r->changes);
}

/* ---- swapping ---- */

static bool reads_tls_files(const struct settings *s)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (s->cluster[i].tls != TLS_NONE)
			return true;
	}
	for (unsigned i = 0; i < s->listener_count; i++) {
		if (s->listeners[i].tls_cert)
			return true;
	}
	return false;
}

static void say_changes(const struct reload *r)
{
	for (unsigned i = 0; i < r->changes.count; i++) {
		const struct config_change *c = &r->changes.items[i];

		log_info("%s: %s, was %s", c->name, c->after, c->before);
	}
}

static void swap_log(struct reload *r)
{
	const struct settings *s = config_settings(r->next);

	if (r->log_fd >= 0) {
		log_info("the log goes on in %s", s->log_file ? s->log_file : "standard error");
		log_use(r->log_fd);
		r->log_fd = -1;
	}
	log_set_json(s->log_format == LOG_FORMAT_JSON);
	say_changes(r);
	log_set_level((enum log_level)s->log_level);
}

/* The main thread's readers. */
static void swap_main(struct reload *r)
{
	const struct settings *settings = config_settings(r->next);

	proxy_set_settings(r->context.proxy, settings);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct tls_context *old = r->context.tls[i];

		r->context.tls[i] = r->tls[i];
		if (r->bundles[i])
			sni_set_bundle(r->context.proxy->clusters[i].sni, r->bundles[i]);
		r->bundles[i] = NULL;
		if (r->context.controls[i])
			control_change_settings(r->context.controls[i], settings, r->tls[i]);
		r->tls[i] = old;
	}
	r->context.on_settings(settings, r->context.arg);
}

static void swap(struct reload *r)
{
	r->generation++;
	swap_log(r);
	swap_main(r);
	if (r->context.plugins)
		r->context.plugins->commit(r->context.proxy->plugins);
	r->unconfirmed = r->context.worker_count;
	for (unsigned i = 0; i < r->context.worker_count; i++)
		worker_change_post(&r->parts[i].change);
}

/* ---- confirming ---- */

static void note_primary(struct reload *r)
{
	const enum cluster_id primary = config_settings(r->config)->primary;

	if (primary == r->status.primary)
		return;
	r->status.primary = primary;
	r->status.epoch++;
	log_info("the primary is %s now (epoch %llu): all reads that arrive from here on go to it, and writes get its "
		 "answer",
		 cluster_id_name(primary), (unsigned long long)r->status.epoch);
}

static void say_outcome(const struct reload *r)
{
	const struct settings *s = config_settings(r->config);
	const char *scripts = s->lua.scripts.count > 0 ? ", scripts were loaded again" : "";

	const char *plugins = r->context.plugins ? ", plugins were reloaded" : "";

	if (r->changes.count > 0)
		log_info("the configuration was reloaded: %u setting%s changed%s%s", r->changes.count,
			 r->changes.count == 1 ? "" : "s", scripts, plugins);
	else
		log_info("the configuration was reloaded: no setting changed%s%s%s",
			 reads_tls_files(s) ? ", TLS files were read again" : "", scripts, plugins);
}

static void finish(struct reload *r)
{
	end_plugins(r, true);
	config_free(r->config);
	r->config = r->next;
	r->next = NULL;
	r->status.succeeded++;
	r->status.last_failed = false;
	r->status.last_success = now_s();
	note_primary(r);
	say_outcome(r);
	clear(r);
	if (r->again) {
		r->again = false;
		reload_begin(r);
	}
}

static void on_confirmed(struct loop_message *message)
{
	struct reload *r = container_of(message, struct reload_part, confirmation)->reload;

	if (--r->unconfirmed == 0)
		finish(r);
}

/* ---- public ---- */

static void refuse(struct reload *r)
{
	r->status.failed++;
	r->status.last_failed = true;
	end_plugins(r, false);
	log_error("the configuration was not reloaded; nothing has changed");
	clear(r);
	config_free(r->next);
	r->next = NULL;
}

void reload_begin(struct reload *r)
{
	if (r->is_stopped) {
		log_warn("SIGHUP: no reload, the process is about to end");
		return;
	}
	if (r->next) {
		log_info("SIGHUP: another reload follows when this one is over");
		r->again = true;
		return;
	}
	if (r->context.request->path)
		log_info("SIGHUP: reading %s again", r->context.request->path);
	else
		log_info("SIGHUP: there is nothing to read: the configuration is in the ZDM_ variables, which stay as "
			 "they were at the start; only files that they name are read again");
	r->next = reload_read(r->context.request);
	if (r->next && check_listeners(r) && check_plugins(r)) {
		config_compare(r->config, r->next, &r->changes);
		if (check_changes(r) && make_parts(r)) {
			swap(r);
			return;
		}
	}
	refuse(r);
}

void reload_stop(struct reload *r)
{
	r->is_stopped = true;
	r->again = false;
}

/* Whoever writes files that something else moves away (logrotate) is called from here. */
void reload_reopen_files(struct reload *r)
{
	const char *path = config_settings(r->next ? r->next : r->config)->log_file;
	const unsigned plugins = r->context.plugins ? r->context.plugins->reopen(r->context.proxy->plugins) : 0;
	char error[512];
	int fd;

	if (plugins)
		log_info("SIGUSR1: %u plugin%s told to open files again", plugins, plugins == 1 ? " was" : "s were");
	if (!path) {
		if (!plugins)
			log_info("SIGUSR1: no file is written, there is nothing to open again");
		return;
	}
	fd = log_open(path, error, sizeof(error));
	if (fd < 0) {
		log_error("SIGUSR1: %s; the log goes on in the file opened before", error);
		return;
	}
	log_use(fd);
	log_info("SIGUSR1: %s was opened again", path);
}

const struct reload_status *reload_status(const struct reload *r)
{
	return &r->status;
}

struct reload *reload_new(const struct reload_context *context, struct config *config)
{
	struct reload *r = xcalloc(1, sizeof(*r));

	r->context = *context;
	r->config = config;
	r->generation = 1;
	r->log_fd = -1;
	r->status = (struct reload_status){
		.primary = config_settings(config)->primary,
		.epoch = 1,
		.last_success = now_s(),
	};
	return r;
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	clear(r);
	config_free(r->next);
	config_free(r->config);
	free(r);
}
