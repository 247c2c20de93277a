/*
 * metrics_page.c - see metrics_page.h
 *
 * The workers go on counting while the page is written. Each value is read
 * once, so a histogram's +Inf bucket and its count always agree.
 */
#include "control/metrics_page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/metrics_figures.h"
#include "control/metrics_limits.h"
#include "control/metrics_nodes.h"
#include "control/metrics_tables.h"
#include "control/reload.h"

static const char *const type_names[] = {
	[REQUEST_READS_ORIGIN] = "reads_origin",
	[REQUEST_READS_TARGET] = "reads_target",
	[REQUEST_WRITES] = "writes",
};

/* What one series is made of. */
struct series {
	const char *value; /* of the label */
	size_t offset;     /* of the counter in struct metrics */
};

/* ---- families and series ---- */

void metrics_page_start(struct metrics_page_writer *w, const char *name, const char *type, const char *help)
{
	const char *prefix = w->page->prefix;
	const bool has_prefix = prefix && *prefix;

	free(w->name);
	w->name = xasprintf("%s%s%s", has_prefix ? prefix : "", has_prefix ? "_" : "", name);
	w->sink->family(w->sink, w->name, type, help);
}

void metrics_page_family(struct metrics_page_writer *w, const char *name, const char *type, const char *help)
{
	metrics_counters_before(w, name);
	metrics_page_start(w, name, type, help);
}

void metrics_page_sample(struct metrics_page_writer *w, const char *suffix, double value, const char *fmt, ...)
{
	char room[512], *labels = room;
	va_list args, again;
	int n;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(room, sizeof(room), fmt, args);
	va_end(args);
	if (n >= (int)sizeof(room)) {
		labels = xmalloc((size_t)n + 1);
		vsnprintf(labels, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	w->sink->sample(w->sink, suffix, labels, value);
	if (labels != room)
		free(labels);
}

void metrics_page_histogram(struct metrics_page_writer *w, const char *labels, const struct histogram_bounds *b,
			    const struct histogram *h)
{
	char number[METRICS_NUMBER_MAX];
	uint64_t count = 0;

	for (unsigned i = 0; i <= b->count; i++) {
		const double bound = i < b->count ? (double)b->ns[i] / 1e9 : INFINITY;

		count += h->counts[i];
		metrics_page_sample(w, "_bucket", (double)count, "%s,le=\"%s\"", labels,
				    metrics_text_number(bound, number));
	}
	w->sink->sample(w->sink, "_sum", labels, (double)h->sum_ns / 1e9);
	w->sink->sample(w->sink, "_count", labels, (double)count);
}

static uint64_t sum(const struct metrics_page_writer *w, size_t offset)
{
	const struct metrics_page *p = w->page;
	uint64_t total = 0;

	for (unsigned i = 0; i < p->metrics_count; i++)
		total += metric_read((const uint64_t *)(const void *)((const char *)p->metrics[i] + offset));
	return total;
}

static void write_plain(struct metrics_page_writer *w, const char *name, const char *type, const char *help,
			double value)
{
	metrics_page_family(w, name, type, help);
	w->sink->sample(w->sink, "", "", value);
}

static void write_labelled(struct metrics_page_writer *w, const char *name, const char *type, const char *help,
			   const char *label, const struct series *series, unsigned count)
{
	metrics_page_family(w, name, type, help);
	for (unsigned i = 0; i < count; i++)
		metrics_page_sample(w, "", (double)sum(w, series[i].offset), "%s=\"%s\"", label, series[i].value);
}

/* `offset` is that of an array by enum cluster_id. */
static void write_by_cluster(struct metrics_page_writer *w, const char *name, const char *type, const char *help,
			     size_t offset)
{
	const struct series series[] = {
		{ "origin", offset + CLUSTER_ORIGIN * sizeof(uint64_t) },
		{ "target", offset + CLUSTER_TARGET * sizeof(uint64_t) },
	};

	write_labelled(w, name, type, help, "cluster", series, ARRAY_LEN(series));
}

static void write_duration(struct metrics_page_writer *w, unsigned type)
{
	const struct histogram_bounds *b = &w->page->bounds[type];
	const size_t base = offsetof(struct metrics, latency) + type * sizeof(struct histogram);
	struct histogram total = { .sum_ns = sum(w, base + offsetof(struct histogram, sum_ns)) };
	char labels[64];

	for (unsigned i = 0; i <= b->count; i++)
		total.counts[i] = sum(w, base + offsetof(struct histogram, counts) + i * sizeof(uint64_t));
	snprintf(labels, sizeof(labels), "type=\"%s\"", type_names[type]);
	metrics_page_histogram(w, labels, b, &total);
}

/* ---- families ---- */

/* Two values of a family, which the workers do not count. */
static void write_pair(struct metrics_page_writer *w, const char *name, const char *type, const char *help,
		       const char *label, const char *const values[2], const uint64_t numbers[2])
{
	metrics_page_family(w, name, type, help);
	for (unsigned i = 0; i < 2; i++)
		metrics_page_sample(w, "", (double)numbers[i], "%s=\"%s\"", label, values[i]);
}

static void write_primary(struct metrics_page_writer *w)
{
	static const char *const clusters[] = { "origin", "target" };
	const struct reload_status *r = w->page->reload;

	if (!r)
		return;
	write_pair(w, "cqlferry_primary", "gauge", "1 for the cluster that reads go to", "cluster", clusters,
		   (const uint64_t[]){ r->primary == CLUSTER_ORIGIN, r->primary == CLUSTER_TARGET });
	write_plain(w, "cqlferry_primary_epoch", "gauge",
		    "How many primaries this process has had; rises with each switch", (double)r->epoch);
}

static void write_reloads(struct metrics_page_writer *w)
{
	static const char *const results[] = { "failed", "ok" };
	const struct reload_status *r = w->page->reload;

	if (!r)
		return;
	write_plain(w, "cqlferry_reload_last_success_timestamp_seconds", "gauge",
		    "When the configuration in force was loaded", r->last_success);
	write_plain(w, "cqlferry_reload_last_successful", "gauge",
		    "0 when the last SIGHUP changed nothing because of an error", !r->last_failed);
	write_pair(w, "cqlferry_reloads_total", "counter", "Reloads of the configuration", "result", results,
		   (const uint64_t[]){ r->failed, r->succeeded });
}

static void write_placed(struct metrics_page_writer *w)
{
	static const char *const clusters[] = { [CLUSTER_ORIGIN] = "origin", [CLUSTER_TARGET] = "target" };
	static const char *const labels[] = {
#define X(name, label) [PLACED_##name] = label,
		PLACEMENTS(X)
#undef X
	};

	metrics_page_family(w, "cqlferry_placed_requests_total", "counter",
			    "Requests of pooled connections by whether they went to a replica");
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		for (unsigned j = PLACED_NOT_ASKED + 1; j < PLACEMENT_COUNT; j++)
			metrics_page_sample(w, "", (double)sum(w, offsetof(struct metrics, placed[i][j])),
					    "cluster=\"%s\",node=\"%s\"", clusters[i], labels[j]);
	}
}

static void write_own(struct metrics_page_writer *w)
{
	static const struct series functions_kept[] = {
		{ "not_replaceable", offsetof(struct metrics, functions_kept[FUNCTIONS_NOT_REPLACEABLE]) },
		{ "refused", offsetof(struct metrics, functions_kept[FUNCTIONS_REFUSED]) },
	};
	static const struct series dropped[] = {
#define X(name, label) { label, offsetof(struct metrics, mirror_dropped[MIRROR_DROP_##name]) },
		MIRROR_DROPS(X)
#undef X
	};

	write_labelled(w, "cqlferry_async_dropped_total", "counter", "Requests that were not mirrored", "reason",
		       dropped, ARRAY_LEN(dropped));
	write_plain(w, "cqlferry_bind_mismatches_total", "counter",
		    "Statements whose bind types differ between the clusters",
		    sum(w, offsetof(struct metrics, bind_mismatches)));
	metrics_figures_buffers(w);
	metrics_page_family(w, "cqlferry_build_info", "gauge", "What runs here; always 1");
	metrics_page_sample(w, "", 1, "version=\"%s\"", PACKAGE_VERSION);
	metrics_figures_cached(w);
	metrics_limits_refused(w);
	metrics_tables_conditional(w);
	write_by_cluster(w, "cqlferry_failovers_total", "counter",
			 "Requests that went to another node because their connection was lost",
			 offsetof(struct metrics, failovers));
	write_labelled(w, "cqlferry_functions_kept_total", "counter",
		       "Statements whose calls of now() and the like reached the clusters", "reason", functions_kept,
		       ARRAY_LEN(functions_kept));
	write_plain(w, "cqlferry_functions_replaced_total", "counter",
		    "Calls of now() and the like that were replaced by a value",
		    sum(w, offsetof(struct metrics, functions_replaced)));
	metrics_limits_handshakes(w);
	write_plain(w, "cqlferry_large_buffer_bytes", "gauge", "Memory in buffers of large frames, see memory_limit",
		    w->page->large_bytes);
	write_by_cluster(w, "cqlferry_logins_asked_total", "counter",
			 "Credentials of pooled clients that a cluster was asked about",
			 offsetof(struct metrics, logins_asked));
	write_by_cluster(w, "cqlferry_logins_refused_total", "counter",
			 "Credentials of pooled clients that a cluster has refused",
			 offsetof(struct metrics, logins_refused));
	write_by_cluster(w, "cqlferry_logins_remembered_total", "counter",
			 "Log-ins of pooled clients that a cluster had accepted a moment before",
			 offsetof(struct metrics, logins_remembered));
	write_plain(w, "cqlferry_memory_refused_total", "counter",
		    "Large requests answered OVERLOADED because of memory_limit",
		    sum(w, offsetof(struct metrics, memory_refused)));
	metrics_tables_partial(w);
	write_placed(w);
	metrics_figures_pools(w);
	write_by_cluster(
		w, "cqlferry_prepared_repaired_total", "counter",
		"Statements that the proxy has prepared itself, on nodes that had lost them or were never asked",
		offsetof(struct metrics, prepared_repaired));
	write_primary(w);
	write_reloads(w);
	write_by_cluster(w, "cqlferry_server_connections", "gauge", "Open connections to the nodes of a cluster",
			 offsetof(struct metrics, server_connections));
	write_by_cluster(w, "cqlferry_single_cluster_writes_total", "counter",
			 "Writes that a rule or a script has sent to one cluster only",
			 offsetof(struct metrics, single_writes));
	write_by_cluster(w, "cqlferry_timeouts_total", "counter", "Requests that a cluster did not answer in time",
			 offsetof(struct metrics, timeouts));
	metrics_figures_tls(w);
	metrics_figures_turns(w);
	metrics_figures_workers(w);
}

static void write_proxy_counters(struct metrics_page_writer *w)
{
	static const struct series failed_writes[] = {
		{ "both", offsetof(struct metrics, failed_writes[FAILED_ON_BOTH]) },
		{ "origin", offsetof(struct metrics, failed_writes[FAILED_ON_ORIGIN]) },
		{ "target", offsetof(struct metrics, failed_writes[FAILED_ON_TARGET]) },
	};
	static const struct series inflight[] = {
		{ "reads_origin", offsetof(struct metrics, inflight[REQUEST_READS_ORIGIN]) },
		{ "reads_target", offsetof(struct metrics, inflight[REQUEST_READS_TARGET]) },
		{ "writes", offsetof(struct metrics, inflight[REQUEST_WRITES]) },
	};

	write_by_cluster(w, "proxy_failed_connections_total", "counter",
			 "Clients' connections to a cluster that could not be opened",
			 offsetof(struct metrics, failed_connections));
	write_by_cluster(w, "proxy_failed_reads_total", "counter",
			 "Requests to one cluster that it answered with an error",
			 offsetof(struct metrics, failed_reads));
	write_labelled(w, "proxy_failed_writes_total", "counter",
		       "Requests to both clusters that at least one answered with an error", "failed_on", failed_writes,
		       ARRAY_LEN(failed_writes));
	write_labelled(w, "proxy_inflight_requests_total", "gauge", "Requests under way", "type", inflight,
		       ARRAY_LEN(inflight));
}

void metrics_page_write(const struct metrics_page *page, struct metrics_sink *sink)
{
	struct metrics_page_writer writer = { .page = page, .sink = sink }, *w = &writer;

	metrics_counters_take(&w->counters, page->counters);
	metrics_nodes_write(w, NODE_ASYNC);
	write_plain(w, "client_connections_total", "gauge", "Open connections of clients",
		    sum(w, offsetof(struct metrics, client_connections)));
	write_own(w);
	metrics_nodes_write(w, NODE_ORIGIN);
	write_proxy_counters(w);
	metrics_page_family(w, "proxy_request_duration_seconds", "histogram",
			    "Time from the arrival of a request to its end, in seconds");
	for (unsigned type = 0; type < REQUEST_TYPES; type++)
		write_duration(w, type);
	write_plain(w, "pscache_entries_total", "gauge", "Entries of the cache of prepared statements",
		    page->prepared_entries);
	write_plain(w, "pscache_miss_total", "counter",
		    "EXECUTE and BATCH requests whose prepared statement was not in the cache",
		    sum(w, offsetof(struct metrics, prepared_misses)));
	metrics_nodes_write(w, NODE_TARGET);
	metrics_counters_before(w, NULL);
	metrics_counters_drop(&w->counters);
	free(w->name);
}
