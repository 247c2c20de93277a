/*
 * metrics_nodes.c - see metrics_nodes.h
 *
 * A node's counters are summed over the workers once, into a copy; the
 * families are written from the copies. So a page costs one pass over what the
 * workers write, and a histogram agrees with itself.
 */
#include "control/metrics_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One node: its counters of all workers together. */
struct total {
	const char *name;
	struct node_stats sum;
};

struct node_page {
	struct metrics_page_writer *writer;
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

static void start(const struct node_page *p, const char *suffix, const char *type, const char *help)
{
	char full[64];

	snprintf(full, sizeof(full), "%s_%s", p->role, suffix);
	metrics_page_family(p->writer, full, type, help);
}

/* `offset` is that of the number in struct node_stats. */
static void write_numbers(const struct node_page *p, const char *suffix, const char *type, const char *help,
			  size_t offset)
{
	start(p, suffix, type, help);
	for (unsigned i = 0; i < p->count; i++) {
		const uint64_t *value = (const void *)((const char *)&p->totals[i].sum + offset);

		metrics_page_sample(p->writer, "", (double)*value, "node=\"%s\"", p->totals[i].name);
	}
}

static void write_histogram(const struct node_page *p, const char *node, const char *type, const struct histogram *h)
{
	char *labels = xasprintf("node=\"%s\",type=\"%s\"", node, type);

	metrics_page_histogram(p->writer, labels, p->bounds, h);
	free(labels);
}

static void write_durations(const struct node_page *p)
{
	start(p, "request_duration_seconds", "histogram",
	      "Time from the arrival of a request to the node's answer, in seconds");
	for (unsigned i = 0; i < p->count; i++) {
		const struct total *t = &p->totals[i];

		write_histogram(p, t->name, "reads", &t->sum.latency[NODE_READS]);
		write_histogram(p, t->name, "writes", &t->sum.latency[NODE_WRITES]);
	}
}

static void write_failures(const struct node_page *p)
{
	start(p, "requests_failed_total", "counter", "Requests that the node answered with an error, or not");
	for (unsigned error = 0; error < NODE_ERROR_COUNT; error++) {
		for (unsigned i = 0; i < p->count; i++)
			metrics_page_sample(p->writer, "", (double)p->totals[i].sum.failed[error],
					    "error=\"%s\",node=\"%s\"", node_error_label((enum node_error)error),
					    p->totals[i].name);
	}
}

void metrics_nodes_write(struct metrics_page_writer *w, enum node_role role)
{
	const struct metrics_page *page = w->page;
	struct node_page p = { .writer = w, .role = role_names[role] };

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
