/* metrics_figures.c - see metrics_figures.h */
#include "control/metrics_figures.h"

#include <pthread.h>
#include <time.h>

#include "proxy/figures.h"
#include "proxy/worker.h"

static const char *const cluster_labels[] = { [CLUSTER_ORIGIN] = "origin", [CLUSTER_TARGET] = "target" };

/* Over all workers; `offset` is that of the number in struct worker. */
static uint64_t sum(const struct metrics_page_writer *w, size_t offset)
{
	const struct proxy *proxy = w->page->gate->proxy;
	uint64_t total = 0;

	for (unsigned i = 0; i < proxy->worker_count; i++) {
		const char *worker = (const char *)&proxy->workers[i];

		total += metric_read((const uint64_t *)(const void *)(worker + offset));
	}
	return total;
}

#define FIGURE(w_, member_) ((double)sum(w_, offsetof(struct worker, figures.member_)))

static void write_gauge(struct metrics_page_writer *w, const char *name, const char *help, double value)
{
	metrics_page_family(w, name, "gauge", help);
	w->sink->sample(w->sink, "", "", value);
}

void metrics_figures_buffers(struct metrics_page_writer *w)
{
	if (!w->page->gate)
		return;
	metrics_page_family(w, "cqlferry_buffers", "gauge", "Buffers of the workers, in use or kept for reuse");
	metrics_page_sample(w, "", FIGURE(w, chunks_free), "state=\"free\"");
	metrics_page_sample(w, "", FIGURE(w, chunks_used), "state=\"used\"");
	write_gauge(w, "cqlferry_buffers_free_bytes", "Memory in buffers that are kept for reuse",
		    FIGURE(w, chunk_free_bytes));
}

void metrics_figures_cached(struct metrics_page_writer *w)
{
	static const char *const labels[] = {
#define X(name, label) [FIGURES_##name] = label,
		FIGURES_OBJECTS(X)
#undef X
	};

	if (!w->page->gate)
		return;
	metrics_page_family(w, "cqlferry_cached_objects", "gauge",
			    "What is made for each request, in use or kept for reuse");
	for (unsigned i = 0; i < FIGURES_OBJECT_COUNT; i++) {
		metrics_page_sample(w, "", FIGURE(w, objects_free[i]), "of=\"%s\",state=\"free\"", labels[i]);
		metrics_page_sample(w, "", FIGURE(w, objects_used[i]), "of=\"%s\",state=\"used\"", labels[i]);
	}
	write_gauge(w, "cqlferry_cached_objects_free_bytes", "Memory in such objects that are kept for reuse",
		    FIGURE(w, objects_free_bytes));
}

/* `offset` in struct worker is that of an array by enum cluster_id. */
static void write_by_cluster(struct metrics_page_writer *w, const char *name, const char *type, const char *help,
			     size_t offset)
{
	metrics_page_family(w, name, type, help);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		metrics_page_sample(w, "", (double)sum(w, offset + i * sizeof(uint64_t)), "cluster=\"%s\"",
				    cluster_labels[i]);
}

void metrics_figures_pools(struct metrics_page_writer *w)
{
	if (!w->page->gate)
		return;
	write_by_cluster(w, "cqlferry_pool_connections", "gauge", "Connections that clients share",
			 offsetof(struct worker, figures.pool_connections));
	write_by_cluster(w, "cqlferry_pool_waiting_requests", "gauge", "Requests that wait for a connection of a pool",
			 offsetof(struct worker, figures.pool_waiting));
	write_by_cluster(w, "cqlferry_pools", "gauge",
			 "Pools: of each worker one for each user, version and compression",
			 offsetof(struct worker, figures.pools));
}

void metrics_figures_tls(struct metrics_page_writer *w)
{
	static const char *const sides[] = { "clients", "origin", "target" };
	static const unsigned places[] = { CLUSTER_COUNT, CLUSTER_ORIGIN, CLUSTER_TARGET };
	const size_t base = offsetof(struct worker, tls_stats);

	if (!w->page->gate)
		return;
	metrics_page_family(w, "cqlferry_tls_handshakes_total", "counter",
			    "TLS handshakes with clients, and with the nodes of a cluster");
	for (unsigned i = 0; i < ARRAY_LEN(sides); i++) {
		const size_t at = base + places[i] * sizeof(struct tls_stats);

		metrics_page_sample(w, "", (double)sum(w, at + offsetof(struct tls_stats, failed)),
				    "result=\"failed\",side=\"%s\"", sides[i]);
		metrics_page_sample(w, "", (double)sum(w, at + offsetof(struct tls_stats, done)),
				    "result=\"ok\",side=\"%s\"", sides[i]);
	}
	metrics_page_family(w, "cqlferry_tls_sessions", "gauge", "Open connections that are encrypted");
	for (unsigned i = 0; i < ARRAY_LEN(sides); i++)
		metrics_page_sample(
			w, "",
			(double)sum(w, base + places[i] * sizeof(struct tls_stats) + offsetof(struct tls_stats, open)),
			"side=\"%s\"", sides[i]);
}

static void write_turns(struct metrics_page_writer *w, const char *labels, size_t counts, size_t sum_ns)
{
	struct histogram_bounds bounds = { .count = FIGURES_BOUNDS };
	struct histogram total = { .sum_ns = sum(w, sum_ns) };

	for (unsigned i = 0; i < FIGURES_BOUNDS; i++)
		bounds.ns[i] = figures_bounds[i];
	for (unsigned i = 0; i <= FIGURES_BOUNDS; i++)
		total.counts[i] = sum(w, counts + i * sizeof(uint64_t));
	metrics_page_histogram(w, labels, &bounds, &total);
}

void metrics_figures_turns(struct metrics_page_writer *w)
{
	_Static_assert(FIGURES_BOUNDS <= SETTINGS_MAX_BUCKETS, "it is shown as one of our histograms");

	if (!w->page->gate || sum(w, offsetof(struct worker, figures.is_measuring)) == 0)
		return;
	metrics_page_family(w, "cqlferry_turn_seconds", "histogram",
			    "What a worker's turn took in which a statement was read, and in which it was answered");
	write_turns(w, "of=\"answers\"", offsetof(struct worker, figures.answers),
		    offsetof(struct worker, figures.answers_ns));
	write_turns(w, "of=\"requests\"", offsetof(struct worker, figures.arrivals),
		    offsetof(struct worker, figures.arrivals_ns));
	metrics_page_family(w, "cqlferry_turns_total", "counter", "Turns of the workers' loops");
	w->sink->sample(w->sink, "", "", FIGURE(w, turns));
	metrics_page_family(w, "cqlferry_worker_busy_seconds_total", "counter",
			    "Time that workers did something in, of all together");
	w->sink->sample(w->sink, "", "", FIGURE(w, busy_ns) / 1e9);
}

/* 0 for a thread that does not run. */
static double cpu_seconds(const struct worker *worker)
{
	struct timespec ts;
	clockid_t clock;

	if (!worker->is_running || pthread_getcpuclockid(worker->thread, &clock) != 0 || clock_gettime(clock, &ts) != 0)
		return 0;
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void metrics_figures_workers(struct metrics_page_writer *w)
{
	const struct proxy *proxy = w->page->gate ? w->page->gate->proxy : NULL;

	if (!proxy)
		return;
	metrics_page_family(w, "cqlferry_worker_clients", "gauge", "Clients of each worker");
	for (unsigned i = 0; i < proxy->worker_count; i++)
		metrics_page_sample(w, "", (double)metric_read(&proxy->workers[i].metrics.client_connections),
				    "worker=\"%u\"", i);
	metrics_page_family(w, "cqlferry_worker_cpu_seconds_total", "counter",
			    "Processor time of each worker's thread; one that needs a second in each second is full");
	for (unsigned i = 0; i < proxy->worker_count; i++)
		metrics_page_sample(w, "", cpu_seconds(&proxy->workers[i]), "worker=\"%u\"", i);
	write_gauge(w, "cqlferry_workers", "Workers: each is one thread", proxy->worker_count);
}
