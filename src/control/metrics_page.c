/*
 * metrics_page.c - see metrics_page.h
 *
 * The workers go on counting while the page is written. Each value is read
 * once, so a histogram's +Inf bucket and its count always agree.
 */
#include "control/metrics_page.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/metrics_counters.h"
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

/* ---- numbers ---- */

const char *metrics_format_number(double v, char out[METRICS_NUMBER_MAX])
{
	char text[METRICS_NUMBER_MAX];
	int digits = 0;
	int exponent;

	if (!isfinite(v)) {
		snprintf(out, METRICS_NUMBER_MAX, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
		return out;
	}
	do
		snprintf(text, sizeof(text), "%.*e", digits, v);
	while (strtod(text, NULL) != v && ++digits < 17);
	exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	/* Go's rule for the shortest form: an exponent below -4, or of 6 and more, is written as one. */
	if (exponent < -4 || exponent >= 6)
		snprintf(out, METRICS_NUMBER_MAX, "%s", text);
	else
		snprintf(out, METRICS_NUMBER_MAX, "%.*f", MAX(digits - exponent, 0), v);
	return out;
}

/* ---- lines ---- */

char *metrics_start_family(const struct metrics_page *p, struct evbuffer *out, const char *suffix, const char *type,
			   const char *help)
{
	bool has_prefix = p->prefix && *p->prefix;
	char *name = xasprintf("%s%s%s", has_prefix ? p->prefix : "", has_prefix ? "_" : "", suffix);

	evbuffer_add_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
	return name;
}

static uint64_t sum(const struct metrics_page *p, size_t offset)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < p->metrics_count; i++)
		total += metric_read((const uint64_t *)(const void *)((const char *)p->metrics[i] + offset));
	return total;
}

static void write_plain(const struct metrics_page *p, struct evbuffer *out, const char *suffix, const char *type,
			const char *help, double value)
{
	char *name = metrics_start_family(p, out, suffix, type, help);
	char number[METRICS_NUMBER_MAX];

	evbuffer_add_printf(out, "%s %s\n", name, metrics_format_number(value, number));
	free(name);
}

static void write_labelled(const struct metrics_page *p, struct evbuffer *out, const char *suffix, const char *type,
			   const char *help, const char *label, const struct series *series, unsigned count)
{
	char *name = metrics_start_family(p, out, suffix, type, help);
	char number[METRICS_NUMBER_MAX];

	for (unsigned i = 0; i < count; i++)
		evbuffer_add_printf(out, "%s{%s=\"%s\"} %s\n", name, label, series[i].value,
				    metrics_format_number((double)sum(p, series[i].offset), number));
	free(name);
}

/* `offset` is that of an array by enum cluster_id. */
static void write_by_cluster(const struct metrics_page *p, struct evbuffer *out, const char *suffix, const char *type,
			     const char *help, size_t offset)
{
	const struct series series[] = {
		{ "origin", offset + CLUSTER_ORIGIN * sizeof(uint64_t) },
		{ "target", offset + CLUSTER_TARGET * sizeof(uint64_t) },
	};

	write_labelled(p, out, suffix, type, help, "cluster", series, ARRAY_LEN(series));
}

static void write_histogram(const struct metrics_page *p, struct evbuffer *out, const char *name, unsigned type)
{
	const struct histogram_bounds *b = &p->bounds[type];
	size_t base = offsetof(struct metrics, latency) + type * sizeof(struct histogram);
	char number[METRICS_NUMBER_MAX];
	uint64_t count = 0;

	for (unsigned i = 0; i <= b->count; i++) {
		count += sum(p, base + offsetof(struct histogram, counts) + i * sizeof(uint64_t));
		evbuffer_add_printf(out, "%s_bucket{type=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, type_names[type],
				    metrics_format_number(i < b->count ? (double)b->ns[i] / 1e9 : INFINITY, number),
				    count);
	}
	evbuffer_add_printf(out, "%s_sum{type=\"%s\"} %s\n", name, type_names[type],
			    metrics_format_number((double)sum(p, base + offsetof(struct histogram, sum_ns)) / 1e9,
						  number));
	evbuffer_add_printf(out, "%s_count{type=\"%s\"} %" PRIu64 "\n", name, type_names[type], count);
}

/* ---- families ---- */

/* Two values of a family, which the workers do not count. */
static void write_pair(const struct metrics_page *p, struct evbuffer *out, const char *suffix, const char *type,
		       const char *help, const char *label, const char *const values[2], const uint64_t numbers[2])
{
	char *name = metrics_start_family(p, out, suffix, type, help);
	char number[METRICS_NUMBER_MAX];

	for (unsigned i = 0; i < 2; i++)
		evbuffer_add_printf(out, "%s{%s=\"%s\"} %s\n", name, label, values[i],
				    metrics_format_number((double)numbers[i], number));
	free(name);
}

static void write_primary(const struct metrics_page *p, struct evbuffer *out)
{
	static const char *const clusters[] = { "origin", "target" };
	const struct reload_status *r = p->reload;

	if (!r)
		return;
	write_pair(p, out, "cqlferry_primary", "gauge", "1 for the cluster that reads go to", "cluster", clusters,
		   (const uint64_t[]){ r->primary == CLUSTER_ORIGIN, r->primary == CLUSTER_TARGET });
	write_plain(p, out, "cqlferry_primary_epoch", "gauge",
		    "How many primaries this process has had; rises with each switch", (double)r->epoch);
}

static void write_reloads(const struct metrics_page *p, struct evbuffer *out)
{
	static const char *const results[] = { "failed", "ok" };
	const struct reload_status *r = p->reload;

	if (!r)
		return;
	write_plain(p, out, "cqlferry_reload_last_success_timestamp_seconds", "gauge",
		    "When the configuration in force was loaded", r->last_success);
	write_plain(p, out, "cqlferry_reload_last_successful", "gauge",
		    "0 when the last SIGHUP changed nothing because of an error", !r->last_failed);
	write_pair(p, out, "cqlferry_reloads_total", "counter", "Reloads of the configuration", "result", results,
		   (const uint64_t[]){ r->failed, r->succeeded });
}

static void write_placed(const struct metrics_page *p, struct evbuffer *out)
{
	static const char *const clusters[] = { [CLUSTER_ORIGIN] = "origin", [CLUSTER_TARGET] = "target" };
	static const char *const labels[] = {
#define X(name, label) [PLACED_##name] = label,
		PLACEMENTS(X)
#undef X
	};
	char *name = metrics_start_family(p, out, "cqlferry_placed_requests_total", "counter",
					  "Requests of pooled connections by whether they went to a replica");
	char number[METRICS_NUMBER_MAX];

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		for (unsigned j = PLACED_NOT_ASKED + 1; j < PLACEMENT_COUNT; j++)
			evbuffer_add_printf(
				out, "%s{cluster=\"%s\",node=\"%s\"} %s\n", name, clusters[i], labels[j],
				metrics_format_number((double)sum(p, offsetof(struct metrics, placed[i][j])), number));
	}
	free(name);
}

static void write_own(const struct metrics_page *p, struct evbuffer *out)
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

	write_labelled(p, out, "cqlferry_async_dropped_total", "counter", "Requests that were not mirrored", "reason",
		       dropped, ARRAY_LEN(dropped));
	write_plain(p, out, "cqlferry_bind_mismatches_total", "counter",
		    "Statements whose bind types differ between the clusters",
		    sum(p, offsetof(struct metrics, bind_mismatches)));
	metrics_limits_refused(p, out);
	metrics_tables_conditional(p, out);
	write_by_cluster(p, out, "cqlferry_failovers_total", "counter",
			 "Requests that went to another node because their connection was lost",
			 offsetof(struct metrics, failovers));
	write_labelled(p, out, "cqlferry_functions_kept_total", "counter",
		       "Statements whose calls of now() and the like reached the clusters", "reason", functions_kept,
		       ARRAY_LEN(functions_kept));
	write_plain(p, out, "cqlferry_functions_replaced_total", "counter",
		    "Calls of now() and the like that were replaced by a value",
		    sum(p, offsetof(struct metrics, functions_replaced)));
	metrics_limits_handshakes(p, out);
	write_plain(p, out, "cqlferry_large_buffer_bytes", "gauge",
		    "Memory in buffers of large frames, see memory_limit", p->large_bytes);
	write_by_cluster(p, out, "cqlferry_logins_asked_total", "counter",
			 "Credentials of pooled clients that a cluster was asked about",
			 offsetof(struct metrics, logins_asked));
	write_by_cluster(p, out, "cqlferry_logins_refused_total", "counter",
			 "Credentials of pooled clients that a cluster has refused",
			 offsetof(struct metrics, logins_refused));
	write_by_cluster(p, out, "cqlferry_logins_remembered_total", "counter",
			 "Log-ins of pooled clients that a cluster had accepted a moment before",
			 offsetof(struct metrics, logins_remembered));
	write_plain(p, out, "cqlferry_memory_refused_total", "counter",
		    "Large requests answered OVERLOADED because of memory_limit",
		    sum(p, offsetof(struct metrics, memory_refused)));
	metrics_tables_partial(p, out);
	write_placed(p, out);
	metrics_counters_write(p, out);
	write_by_cluster(
		p, out, "cqlferry_prepared_repaired_total", "counter",
		"Statements that the proxy has prepared itself, on nodes that had lost them or were never asked",
		offsetof(struct metrics, prepared_repaired));
	write_primary(p, out);
	write_reloads(p, out);
	write_by_cluster(p, out, "cqlferry_server_connections", "gauge", "Open connections to the nodes of a cluster",
			 offsetof(struct metrics, server_connections));
	write_by_cluster(p, out, "cqlferry_single_cluster_writes_total", "counter",
			 "Writes that a rule or a script has sent to one cluster only",
			 offsetof(struct metrics, single_writes));
	write_by_cluster(p, out, "cqlferry_timeouts_total", "counter", "Requests that a cluster did not answer in time",
			 offsetof(struct metrics, timeouts));
}

static void write_proxy_counters(const struct metrics_page *p, struct evbuffer *out)
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

	write_by_cluster(p, out, "proxy_failed_connections_total", "counter",
			 "Clients' connections to a cluster that could not be opened",
			 offsetof(struct metrics, failed_connections));
	write_by_cluster(p, out, "proxy_failed_reads_total", "counter",
			 "Requests to one cluster that it answered with an error",
			 offsetof(struct metrics, failed_reads));
	write_labelled(p, out, "proxy_failed_writes_total", "counter",
		       "Requests to both clusters that at least one answered with an error", "failed_on", failed_writes,
		       ARRAY_LEN(failed_writes));
	write_labelled(p, out, "proxy_inflight_requests_total", "gauge", "Requests under way", "type", inflight,
		       ARRAY_LEN(inflight));
}

void metrics_page_write(const struct metrics_page *p, struct evbuffer *out)
{
	char *name;

	metrics_nodes_write(p, out, NODE_ASYNC);
	write_plain(p, out, "client_connections_total", "gauge", "Open connections of clients",
		    sum(p, offsetof(struct metrics, client_connections)));
	write_own(p, out);
	metrics_nodes_write(p, out, NODE_ORIGIN);
	write_proxy_counters(p, out);
	name = metrics_start_family(p, out, "proxy_request_duration_seconds", "histogram",
				    "Time from the arrival of a request to its end, in seconds");
	for (unsigned type = 0; type < REQUEST_TYPES; type++)
		write_histogram(p, out, name, type);
	free(name);
	write_plain(p, out, "pscache_entries_total", "gauge", "Entries of the cache of prepared statements",
		    p->prepared_entries);
	write_plain(p, out, "pscache_miss_total", "counter",
		    "EXECUTE and BATCH requests whose prepared statement was not in the cache",
		    sum(p, offsetof(struct metrics, prepared_misses)));
	metrics_nodes_write(p, out, NODE_TARGET);
}
