/*
 * main.c - arguments, the order of start and stop, signals.
 *
 * Start:                                 Stop (SIGTERM, SIGINT):
 *   1 arguments                            1 readiness says 503; STATUS_CHANGE DOWN to drivers of several instances
 *   2 configuration                        2 drain_delay passes
 *   3 plugins                              3 listeners close
 *   4 workers (reads TLS files, bundles)   4 STATUS_CHANGE DOWN; workers finish what is in flight
 *   5 HTTP                                 5 all idle, or shutdown_timeout passes
 *   6 control connections                  6 workers end, control connections and HTTP close
 *   7 both clusters reached: listeners     7 plugins
 *
 * A second one of these ends the process at once. For SIGHUP and SIGUSR1 see control/reload.h.
 */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/tls.h"
#include "base/trim.h"
#include "control/config_lua.h"
#include "control/descriptors.h"
#include "control/health_status.h"
#include "control/http.h"
#include "control/metrics_sink.h"
#include "control/reload.h"
#include "offline.h"
#include "policy/hook_report.h"
#include "policy/plugin_http.h"
#include "policy/plugin_set.h"
#include "policy/rehearsal.h"
#include "proxy/contexts.h"
#include "proxy/control.h"
#include "proxy/handshake.h"
#include "proxy/listener.h"
#include "proxy/schema_events.h"
#include "proxy/schema_watch.h"
#include "proxy/worker.h"

#ifndef PACKAGE_VERSION
#error "build with the configure script: it says the version"
#endif

enum {
	/* ZDM's: an occupied port is tried again after 100 ms, doubling up to 10 s. */
	LISTEN_RETRY_MIN_MS = 100,
	LISTEN_RETRY_MAX_MS = 10000,
};

/* The running process. One object, since there is one process. */
static struct {
	struct config_request request;
	struct config *config; /* of the start; a running proxy's is the reload's */
	struct reload *reload;
	const struct settings *settings;
	bool is_zdm_start;
	struct loop loop;
	struct proxy proxy;
	struct worker *workers;
	unsigned workers_started;
	unsigned workers_busy; /* not drained yet */
	struct metrics **metrics;
	struct control *controls[CLUSTER_COUNT];
	struct schema_events *schema_events;
	struct schema_watch schema_watch;
	struct tls_context *tls[CLUSTER_COUNT];
	bool reached[CLUSTER_COUNT];
	struct http *http;
	struct listener listeners[SETTINGS_MAX_LISTENERS];
	unsigned listeners_open;
	uint32_t listen_retry_ms;
	struct event listen_retry;
	struct event signals[2];
	struct event reload_signal, reopen_signal;
	struct trim trim;
	struct event drain_timer;
	struct event deadline_timer;
	bool is_started;
	bool is_draining;
	int exit_status;
} run;

static const int signal_numbers[] = { SIGTERM, SIGINT };

/* ---- 2: configuration ---- */

static int config_status(void)
{
	return run.is_zdm_start ? EXIT_CONFIG_ZDM : EXIT_CONFIG;
}

static bool load_config(const struct arguments *args)
{
	run.request = (struct config_request){
		.path = args->path,
		.overrides = args->overrides,
		.override_count = args->override_count,
		.environment = environ,
		.check_plugins = plugin_set_check_start,
	};
	run.is_zdm_start = config_request_is_zdm(&run.request);
	run.config = reload_read(&run.request);
	if (run.config)
		run.settings = config_settings(run.config);
	else
		run.exit_status = config_status();
	return run.config != NULL;
}

/* ---- the end ---- */

static void end_now(void)
{
	loop_stop(&run.loop);
}

/* What cannot be helped by trying again ends a process that has not started to serve. False, to be returned. */
static bool fatal(const char *why)
{
	log_error("%s", why);
	run.exit_status = config_status();
	end_now();
	return false;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	log_warn("shutdown_timeout (%u ms) is over, %u clients are closed with requests in flight",
		 run.settings->shutdown_timeout_ms, atomic_load(&run.proxy.client_count));
	end_now();
}

static void run_worker_drained(struct loop_message *message)
{
	free(message);
	if (--run.workers_busy == 0)
		end_now();
}

/* On the worker's thread. */
static void on_worker_drained(struct worker *worker, void *arg)
{
	struct loop_message *message = xcalloc(1, sizeof(*message));

	(void)worker;
	(void)arg;
	message->run = run_worker_drained;
	loop_post(&run.loop, message);
}

static void close_listeners(void)
{
	for (unsigned i = 0; i < run.listeners_open; i++)
		listener_close(&run.listeners[i]);
	run.listeners_open = 0;
	gate_close(&run.proxy.gate);
}

static void on_drain_delay_over(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval deadline = { .tv_sec = run.settings->shutdown_timeout_ms / 1000,
					  .tv_usec = run.settings->shutdown_timeout_ms % 1000 * 1000 };

	(void)fd;
	(void)what;
	(void)arg;
	close_listeners();
	event_add(&run.deadline_timer, &deadline);
	for (unsigned i = 0; i < run.workers_started; i++)
		worker_drain(&run.workers[i]);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	const struct timeval delay = { .tv_sec = run.settings->drain_delay_ms / 1000,
				       .tv_usec = run.settings->drain_delay_ms % 1000 * 1000 };

	(void)what;
	(void)arg;
	if (run.is_draining) {
		log_warn("second signal: ending at once");
		_exit(EXIT_FAILURE);
	}
	run.is_draining = true;
	reload_stop(run.reload);
	log_info("%s: draining %u clients", number == SIGTERM ? "SIGTERM" : "SIGINT",
		 atomic_load(&run.proxy.client_count));
	event_del(&run.listen_retry);
	if (!run.is_started) {
		end_now();
		return;
	}
	/* Drivers that know other instances may go there while this one still serves. For one that stands alone
	 * there is nowhere to go: its drivers are told when it ends. */
	for (unsigned i = 0; run.settings->topology_addresses.count > 1 && i < run.workers_started; i++)
		worker_announce_end(&run.workers[i]);
	event_add(&run.drain_timer, &delay);
}

static void on_reload_signal(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	(void)arg;
	reload_begin(run.reload);
}

static void on_reopen_signal(evutil_socket_t number, short what, void *arg)
{
	(void)number;
	(void)what;
	(void)arg;
	reload_reopen_files(run.reload);
}

/* ---- 7: listeners ---- */

static void open_listeners(void)
{
	char error[256];

	gate_open(&run.proxy.gate, run.loop.base, run.workers, run.workers_started);
	while (run.listeners_open < run.settings->listener_count) {
		struct listener *l = &run.listeners[run.listeners_open];
		char name[NET_TEXT_MAX];

		if (listener_open(l, run.loop.base, &run.proxy, run.listeners_open, error, sizeof(error))) {
			run.listeners_open++;
			log_info("ready for CQL clients on %s%s", net_format(&l->bound, name),
				 run.settings->listeners[l->index].tls_cert ? " with TLS" : "");
			continue;
		}
		if (run.settings->profile != PROFILE_ZDM) {
			fatal(error);
			return;
		}
		run.listen_retry_ms = MIN(MAX(run.listen_retry_ms * 2, LISTEN_RETRY_MIN_MS), LISTEN_RETRY_MAX_MS);
		log_error("%s; next try in %u ms", error, run.listen_retry_ms);
		event_add(&run.listen_retry, &(struct timeval){ .tv_sec = run.listen_retry_ms / 1000,
								.tv_usec = run.listen_retry_ms % 1000 * 1000 });
		return;
	}
	run.is_started = true;
}

static void on_listen_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	open_listeners();
}

/* ---- 6: control connections ---- */

static void say_versions(void)
{
	const uint32_t served = clusters_served_versions(run.proxy.clusters, run.settings);
	const uint8_t highest = version_set_highest(served);

	if (!run.reached[CLUSTER_ORIGIN] || !run.reached[CLUSTER_TARGET])
		log_warn("%s is reached, %s is not yet; ready_when = primary: starting all the same",
			 cluster_id_name(run.settings->primary),
			 cluster_id_name(cluster_id_other(run.settings->primary)));
	else if (highest)
		log_info("both clusters speak protocol %s; reads go to %s", version_name(highest),
			 cluster_id_name(run.settings->primary));
	else
		log_warn(
			"no protocol version is spoken by both clusters and allowed by the configuration: no client can "
			"connect");
}

/* ZDM's twin waits for both, whatever readiness says. */
static bool is_reached(void)
{
	const enum cluster_id primary = run.settings->primary;
	const bool other_is_needed = run.settings->profile == PROFILE_ZDM ||
				     run.settings->ready_when == READY_WHEN_BOTH;

	return run.reached[primary] && (run.reached[cluster_id_other(primary)] || !other_is_needed);
}

/* Once: when nobody has opened the listeners yet and the clusters that are needed are there. */
static void open_if_reached(void)
{
	if (run.is_started || run.is_draining || run.listeners_open > 0 || !is_reached())
		return;
	say_versions();
	handshake_say_whose_credentials(run.settings, &run.proxy);
	descriptors_warn(run.settings, run.proxy.clusters);
	open_listeners();
}

/* ---- changes of the schema ---- */

static void on_schema_event(struct control *control, const uint8_t *body, uint32_t len, void *arg)
{
	(void)control;
	schema_watch_report(&run.schema_watch, ((const struct cluster *)arg)->id, run.schema_events, body, len);
}

static void on_topology(struct control *control, void *arg)
{
	struct cluster *cluster = arg;
	struct topology *t = cluster_topology(cluster);

	(void)control;
	schema_events_snapshot(run.schema_events, cluster->id, t);
	schema_watch_look(&run.schema_watch, cluster->id, t);
	topology_unref(t);
	/* Of the first one, too: with ready_when = primary there may be clients who have waited for this cluster. */
	for (unsigned i = 0; i < run.workers_started; i++)
		worker_topology_changed(&run.workers[i], cluster->id);
	if (run.reached[cluster->id])
		return;
	run.reached[cluster->id] = true;
	/* ZDM reaches for target only when it has origin; the order of log lines and first contacts stays its own. In the
	 * native profile it has been started. */
	if (cluster->id == CLUSTER_ORIGIN)
		control_start(run.controls[CLUSTER_TARGET]);
	open_if_reached();
}

static void on_status(struct control *control, const struct net_address *node, bool is_up, void *arg)
{
	const struct cluster *cluster = arg;

	(void)control;
	for (unsigned i = 0; i < run.workers_started; i++)
		worker_host_status(&run.workers[i], cluster->id, node, is_up);
}

static void on_connected(struct control *control, void *arg)
{
	const struct cluster *cluster = arg;

	(void)control;
	if (run.settings->profile != PROFILE_ZDM)
		schema_events_on_connected(run.schema_events, cluster->id);
}

static void deliver(struct notice *notice, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < run.workers_started; i++)
		worker_notify(&run.workers[i], notice);
	notice_unref(notice);
}

static void on_hopeless(struct control *control, const char *why, void *arg)
{
	(void)control;
	(void)arg;
	if (!run.is_started)
		fatal(why);
}

static bool make_controls(void)
{
	char error[512];

	schema_watch_init(&run.schema_watch, &run.loop, &run.proxy, run.controls);
	run.schema_events = schema_events_new(&(struct schema_events_options){
		.loop = &run.loop,
		.wait_ms = SCHEMA_EVENTS_WAIT_MS,
		.read_from = run.settings->system_queries,
		.deliver = deliver,
	});
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!contexts_new_cluster(&run.settings->cluster[i], &run.tls[i], error, sizeof(error)))
			return fatal(error);
		run.controls[i] = control_new(&(struct control_options){
			.loop = &run.loop,
			.cluster = &run.proxy.clusters[i],
			.settings = run.settings,
			.tls = run.tls[i],
			.on_topology = on_topology,
			.on_hopeless = on_hopeless,
			.on_schema_event = on_schema_event,
			.on_status = on_status,
			.on_connected = on_connected,
			.arg = &run.proxy.clusters[i],
		});
	}
	control_start(run.controls[CLUSTER_ORIGIN]);
	if (run.settings->profile != PROFILE_ZDM)
		control_start(run.controls[CLUSTER_TARGET]);
	return true;
}

/* ---- 5: HTTP ---- */

static uint64_t prepared_entries(void)
{
	return atomic_load_explicit(&run.proxy.prepared.count, memory_order_relaxed);
}

static void list_plugins(struct health_plugins *out)
{
	const struct plugin_set *set = run.proxy.plugins;

	for (; set && out->count < set->count; out->count++) {
		const struct plugin_instance *p = set->items[out->count];

		out->items[out->count] = (struct health_plugin){ p->name, p->plugin.name, p->plugin.version, p->file };
	}
}

static struct http_handler *find_page(const char *path)
{
	return plugin_http_find(run.proxy.plugins, path);
}

static void visit_metrics(void (*visit)(void *arg, const char *family, const char *type, const char *help,
					const char *suffix, const char *labels, double value),
			  void *arg)
{
	struct metrics_visitor visitor;

	metrics_visitor_init(&visitor, visit, arg);
	if (run.http)
		http_visit_metrics(run.http, &visitor.sink);
}

static bool start_http(void)
{
	const struct http_context context = {
		.settings = run.settings,
		.base = run.loop.base,
		.controls = run.controls,
		.metrics = run.metrics,
		.metrics_count = run.settings->workers,
		.bounds = run.proxy.bounds,
		.nodes = &run.proxy.nodes,
		.divergences = &run.proxy.divergences,
		.gate = &run.proxy.gate,
		.counters = run.proxy.counters,
		.prepared_entries = prepared_entries,
		.reload = reload_status(run.reload),
		.hooks = hook_report_read,
		.plugins = list_plugins,
		.find_page = find_page,
		.is_started = &run.is_started,
		.is_draining = &run.is_draining,
	};
	char error[256];

	if (!run.settings->http_enabled)
		return true;
	run.http = http_start(&context, error, sizeof(error));
	if (run.http)
		return true;
	if (run.settings->profile == PROFILE_ZDM) {
		log_error("%s; going on without health pages and metrics", error);
		return true;
	}
	return fatal(error);
}

/* ---- 3: plugins ---- */

static bool open_plugins(void)
{
	char error[1024];

	if (run.settings->plugin_count == 0)
		return true;
	run.proxy.plugins = plugin_set_open(run.settings, &run.proxy, &run.loop, error, sizeof(error));
	if (!run.proxy.plugins)
		return fatal(error);
	run.proxy.hooks_new = plugin_set_hooks_new;
	run.proxy.visit_metrics = visit_metrics;
	run.request.check_plugins = plugin_set_check_reload;
	return true;
}

static const struct reload_plugins reload_plugins = {
	.reload = plugin_set_reload,
	.commit = plugin_set_reload_commit,
	.end = plugin_set_reload_end,
	.reopen = plugin_set_reopen,
};

/* ---- 4: workers ---- */

static bool start_workers(void)
{
	const uint64_t stamp = config_lua_stamp(&run.settings->lua);
	char error[REHEARSAL_ERROR_MAX];

	run.workers = xcalloc_apart(run.settings->workers, sizeof(*run.workers));
	run.proxy.workers = run.workers;
	run.proxy.worker_count = run.settings->workers;
	run.metrics = xcalloc(run.settings->workers, sizeof(*run.metrics));
	for (unsigned i = 0; i < run.settings->workers; i++) {
		struct worker *w = &run.workers[i];

		run.workers_started++;
		run.metrics[i] = &w->metrics;
		if (!worker_init(w, &run.proxy, i, error, sizeof(error)))
			return fatal(error);
		w->on_drained = on_worker_drained;
		if (!worker_start(w))
			return fatal("a worker thread cannot be started");
	}
	if (config_lua_stamp(&run.settings->lua) != stamp)
		return fatal(CONFIG_LUA_CHANGED);
	run.workers_busy = run.workers_started;
	hook_report_use(run.settings);
	return true;
}

/* A reload: the main thread's readers. */
static void on_settings(const struct settings *settings, void *arg)
{
	const bool allows_more = settings->max_client_connections > run.settings->max_client_connections;

	(void)arg;
	run.settings = settings;
	hook_report_use(settings);
	timeout_queue_set_duration(&run.loop, &run.loop.write_timeouts, settings->client_write_timeout_ms);
	if (run.http)
		http_set_settings(run.http, settings);
	if (run.schema_events)
		schema_events_read_from(run.schema_events, settings->system_queries);
	if (allows_more)
		descriptors_warn(run.settings, run.proxy.clusters);
	handshake_say_whose_credentials(run.settings, &run.proxy);
	open_if_reached();
}

static void make_reload(void)
{
	const struct reload_context context = {
		.request = &run.request,
		.loop = &run.loop,
		.proxy = &run.proxy,
		.workers = run.workers,
		.worker_count = run.settings->workers,
		.controls = run.controls,
		.tls = run.tls,
		.plugins = run.proxy.plugins ? &reload_plugins : NULL,
		.on_settings = on_settings,
	};

	run.reload = reload_new(&context, run.config);
	run.config = NULL;
	evsignal_assign(&run.reload_signal, run.loop.base, SIGHUP, on_reload_signal, NULL);
	evsignal_assign(&run.reopen_signal, run.loop.base, SIGUSR1, on_reopen_signal, NULL);
	evsignal_add(&run.reload_signal, NULL);
	evsignal_add(&run.reopen_signal, NULL);
}

static bool start(void)
{
	char error[512];

	descriptors_raise();
	signal(SIGPIPE, SIG_IGN);
	if (!loop_init(&run.loop, run.settings->client_write_timeout_ms))
		return fatal("no event loop can be made");
	for (unsigned i = 0; i < ARRAY_LEN(signal_numbers); i++) {
		evsignal_assign(&run.signals[i], run.loop.base, signal_numbers[i], on_signal, NULL);
		evsignal_add(&run.signals[i], NULL);
	}
	trim_start(&run.trim, run.loop.base);
	evtimer_assign(&run.drain_timer, run.loop.base, on_drain_delay_over, NULL);
	evtimer_assign(&run.deadline_timer, run.loop.base, on_deadline, NULL);
	evtimer_assign(&run.listen_retry, run.loop.base, on_listen_retry, NULL);
	proxy_init(&run.proxy, run.settings);
	run.proxy.engine_new = hook_report_engine_new;
	if (!proxy_load(&run.proxy, error, sizeof(error)))
		return fatal(error);
	if (!open_plugins() || !start_workers())
		return false;
	make_reload();
	return start_http() && make_controls();
}

static void stop(void)
{
	plugin_set_stop(run.proxy.plugins);
	if (run.reload)
		reload_stop(run.reload);
	close_listeners();
	for (unsigned i = 0; i < run.workers_started; i++)
		worker_stop(&run.workers[i]);
	/* Threads of plugins may resume what waits in a worker until they are joined. */
	plugin_set_close(run.proxy.plugins);
	run.proxy.plugins = NULL;
	for (unsigned i = 0; i < run.workers_started; i++)
		worker_free(&run.workers[i]);
	if (run.http)
		http_stop(run.http);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		control_free(run.controls[i]);
		run.controls[i] = NULL; /* the messages below must not find it */
		tls_context_free(run.tls[i]);
	}
	schema_events_free(run.schema_events);
	loop_run_messages(&run.loop); /* of what was cancelled when its answer was on the way */
	proxy_fini(&run.proxy);
	/* With its handler a signal's default action would come back, and change the exit status at the last moment. */
	for (unsigned i = 0; i < ARRAY_LEN(run.signals); i++) {
		event_del(&run.signals[i]);
		signal(signal_numbers[i], SIG_IGN);
	}
	if (run.reload) {
		event_del(&run.reload_signal);
		event_del(&run.reopen_signal);
		signal(SIGHUP, SIG_IGN);
		signal(SIGUSR1, SIG_IGN);
	}
	trim_stop(&run.trim);
	event_del(&run.drain_timer);
	event_del(&run.deadline_timer);
	event_del(&run.listen_retry);
	loop_fini(&run.loop);
	free(run.workers);
	free(run.metrics);
	reload_free(run.reload);
	hook_report_free();
}

static int run_proxy(void)
{
	/* What comes before the handlers must not end a process that is starting. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	log_set_level((enum log_level)run.settings->log_level);
	log_set_json(run.settings->log_format == LOG_FORMAT_JSON);
	if (run.settings->log_file) {
		if (!log_go_on_in(run.settings->log_file))
			return config_status();
		log_info("cqlferry %s", PACKAGE_VERSION);
	}
	config_log(run.config);
	if (start())
		loop_run(&run.loop);
	stop();
	log_info("ended");
	return run.exit_status;
}

int main(int argc, char **argv)
{
	struct arguments args;
	int status = 0;

	if (!arguments_parse(argc, argv, &args)) {
		arguments_print_usage(stderr);
		return EXIT_USAGE;
	}
	switch (args.mode) {
	case RUN_HELP:
		arguments_print_usage(stdout);
		return 0;
	case RUN_VERSION:
		puts("cqlferry " PACKAGE_VERSION);
		return 0;
	case RUN_PLUGIN_INFO:
		return offline_plugin_info(args.plugin);
	case RUN_PRINT_OPTIONS:
		config_print_reference(stdout);
		return 0;
	default:
		break;
	}
	if (args.mode == RUN_PROXY)
		log_info("cqlferry %s", PACKAGE_VERSION);
	if (!load_config(&args))
		return run.exit_status;
	if (args.mode == RUN_PRINT_CONFIG)
		config_print(run.config, stdout);
	else if (args.mode == RUN_CHECK_CONFIG)
		status = offline_check_config(run.config) ? 0 : config_status();
	else if (args.mode == RUN_EXPLAIN)
		status = offline_explain(run.settings, &args.explain, config_status());
	else
		status = run_proxy();
	config_free(run.config);
	return status;
}
