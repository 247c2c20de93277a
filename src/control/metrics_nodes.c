/*
 * metrics_nodes.c - see metrics_nodes.h
 *
 * A node's counters are summed over the workers once, into a copy; the
 * families are written from the copies. So a page costs one pass over what the
 * workers write, and a histogram agrees with itself.
 */
#include "control/metrics_nodes.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One node: its counters of all workers together. */
struct total {
	const char *name;
	struct node_stats sum;
};

struct node_page {
	const struct metrics_page *page;
	struct evbuffer *out;
	const char *role; /* start of the families' names */
	const struct histogram_bounds *bounds;
	struct total *totals; /* sorted by name */
	unsigned count;
};

static const char *const role_names[] = {
	[NODE_ORIGIN] = "origin",
	[NODE_TARGET] = "target",
	[NODE_ASYNC] = "async",
};

/* ---- sums ---- */

static void add_histogram(struct histogram *to, const struct histogram *from, unsigned buckets)
{
	for (unsigned i = 0; i < buckets; i++)
		to->counts[i] += metric_read(&from->counts[i]);
	to->sum_ns += metric_read(&from->sum_ns);
}

static void add_stats(struct node_stats *to, const struct node_stats *from, unsigned buckets)
{
	to->used_stream_ids += metric_read(&from->used_stream_ids);
	to->inflight += metric_read(&from->inflight);
	to->connections += metric_read(&from->connections);
	to->failed_connections += metric_read(&from->failed_connections);
	for (unsigned i = 0; i < NODE_ERROR_COUNT; i++)
		to->failed[i] += metric_read(&from->failed[i]);
	for (unsigned i = 0; i < NODE_LATENCIES; i++)
		add_histogram(&to->latency[i], &from->latency[i], buckets);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct total *)a)->name, ((const struct total *)b)->name);
}

static void sum_up(struct node_page *p, const struct node_table *t, enum node_role role)
{
	p->totals = xcalloc(p->count, sizeof(*p->totals));
	for (unsigned i = 0; i < p->count; i++) {
		struct node *node = t->nodes[role][i];

		p->totals[i].name = node->name;
		for (unsigned w = 0; w < t->workers; w++) {
			const struct node_stats *stats = atomic_load_explicit(&node->stats[w], memory_order_acquire);

			if (stats)
				add_stats(&p->totals[i].sum, stats, p->bounds->count + 1);
		}
	}
	qsort(p->totals, p->count, sizeof(*p->totals), compare_names);
}

/* ---- families ---- */

static char *start(const struct node_page *p, const char *suffix, const char *type, const char *help)
{
	char full[64];

	snprintf(full, sizeof(full), "%s_%s", p->role, suffix);
	return metrics_start_family(p->page, p->out, full, type, help);
}

/* `offset` is that of the number in struct node_stats. */
static void write_numbers(const struct node_page *p, const char *suffix, const char *type, const char *help,
			  size_t offset)
{
	char *name = start(p, suffix, type, help);
	char number[METRICS_NUMBER_MAX];

	for (unsigned i = 0; i < p->count; i++) {
		const uint64_t *value = (const void *)((const char *)&p->totals[i].sum + offset);

		evbuffer_add_printf(p->out, "%s{node=\"%s\"} %s\n", name, p->totals[i].name,
				    metrics_format_number((double)*value, number));
	}
	free(name);
}

static void write_histogram(const struct node_page *p, const char *name, const char *node, const char *type,
			    const struct histogram *h)
{
	char number[METRICS_NUMBER_MAX];
	uint64_t count = 0;

	for (unsigned i = 0; i <= p->bounds->count; i++) {
		const double bound = i < p->bounds->count ? (double)p->bounds->ns[i] / 1e9 : INFINITY;

		count += h->counts[i];
		evbuffer_add_printf(p->out, "%s_bucket{node=\"%s\",type=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, node,
				    type, metrics_format_number(bound, number), count);
	}
	evbuffer_add_printf(p->out, "%s_sum{node=\"%s\",type=\"%s\"} %s\n", name, node, type,
			    metrics_format_number((double)h->sum_ns / 1e9, number));
	evbuffer_add_printf(p->out, "%s_count{node=\"%s\",type=\"%s\"} %" PRIu64 "\n", name, node, type, count);
}

static void write_durations(const struct node_page *p)
{
	char *name = start(p, "request_duration_seconds", "histogram",
			   "Time from the arrival of a request to the node's answer, in seconds");

	for (unsigned i = 0; i < p->count; i++) {
		const struct total *t = &p->totals[i];

		write_histogram(p, name, t->name, "reads", &t->sum.latency[NODE_READS]);
		write_histogram(p, name, t->name, "writes", &t->sum.latency[NODE_WRITES]);
	}
	free(name);
}

static void write_failures(const struct node_page *p)
{
	char *name =
		start(p, "requests_failed_total", "counter", "Requests that the node answered with an error, or not");
	char number[METRICS_NUMBER_MAX];

	for (unsigned error = 0; error < NODE_ERROR_COUNT; error++) {
		for (unsigned i = 0; i < p->count; i++)
			evbuffer_add_printf(p->out, "%s{error=\"%s\",node=\"%s\"} %s\n", name,
					    node_error_label((enum node_error)error), p->totals[i].name,
					    metrics_format_number((double)p->totals[i].sum.failed[error], number));
	}
	free(name);
}

void metrics_nodes_write(const struct metrics_page *page, struct evbuffer *out, enum node_role role)
{
	struct node_page p = { .page = page, .out = out, .role = role_names[role] };

	if (!page->nodes)
		return;
	p.count = node_table_count(page->nodes, role);
	if (p.count == 0)
		return;
	p.bounds = &page->nodes->bounds[role];
	sum_up(&p, page->nodes, role);
	write_numbers(&p, "connections_total", "gauge", "Open connections to the node",
		      offsetof(struct node_stats, connections));
	write_numbers(&p, "failed_connections_total", "counter", "Connections to the node that could not be opened",
		      offsetof(struct node_stats, failed_connections));
	if (role == NODE_ASYNC)
		write_numbers(&p, "inflight_requests_total", "gauge", "Mirrored requests under way",
			      offsetof(struct node_stats, inflight));
	write_durations(&p);
	write_failures(&p);
	write_numbers(&p, "used_stream_ids_total", "gauge", "Stream ids in use on the node's connections",
		      offsetof(struct node_stats, used_stream_ids));
	free(p.totals);
}
