/*
 * http.h - libevent's HTTP server on the main thread's loop: health pages and
 * metrics. Paths, bodies and status codes are ZDM's (docs/operations.md).
 */
#ifndef CONTROL_HTTP_H
#define CONTROL_HTTP_H

#include "proxy/control.h"
#include "proxy/metrics.h"

struct divergences;
struct policy_hook_status;
struct reload_status;
struct counters;
struct gate;
struct http;
struct metrics_sink;
struct http_handler;
struct health_plugins;

/* What the pages read. All of it belongs to main and outlives the server. */
struct http_context {
	const struct settings *settings;
	struct event_base *base;
	struct control *const *controls; /* by enum cluster_id; NULL entries before they are made */
	/* The counters of every worker. */
	struct metrics *const *metrics;
	unsigned metrics_count;
	/* The bounds that the workers' histograms count by, by enum request_type (struct proxy has them). */
	const struct histogram_bounds *bounds;
	const struct node_table *nodes;  /* NULL: no series by node */
	struct divergences *divergences; /* NULL: no series by table */
	const struct gate *gate;         /* NULL: no series about refused clients */
	struct counters *counters;       /* NULL: no series of scripts */
	/* Number of entries of the prepared statement cache. */
	uint64_t (*prepared_entries)(void);
	const struct reload_status *reload; /* NULL: nothing is said of reloads and the primary */
	/* The scripts' hooks, at most POLICY_HOOKS_MAX; how many there are. NULL: there are none. */
	unsigned (*hooks)(struct policy_hook_status *out);
	/* Adds the plugins to `out`. */
	void (*plugins)(struct health_plugins *out);
	/* Pages of others by their path; NULL for what there is not. NULL: there are none. */
	struct http_handler *(*find_page)(const char *path);
	/* True once requests are served, false again when draining: readiness then is 503. */
	const bool *is_started;
	const bool *is_draining;
};

/* NULL when the address cannot be bound; the reason is in `error`. */
struct http *http_start(const struct http_context *context, char *error, size_t error_size);
/* The port it listens on (for port 0 in the settings: the one that was chosen). */
uint16_t http_port(const struct http *http);
/* The pages are by these settings from now on. */
void http_set_settings(struct http *http, const struct settings *settings);
/* What /metrics shows, series by series, also where that page is switched off. */
void http_visit_metrics(const struct http *http, struct metrics_sink *sink);
void http_stop(struct http *http);

#endif
