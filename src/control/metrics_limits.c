/* metrics_limits.c - see metrics_limits.h */
#include "control/metrics_limits.h"

#include "proxy/proxy.h"

static const char *const refusal_labels[LIMIT_REFUSAL_COUNT] = {
#define X(name, label) [LIMIT_##name] = label,
	LIMIT_REFUSALS(X)
#undef X
};

void metrics_limits_refused(struct metrics_page_writer *w)
{
	const struct gate *gate = w->page->gate;
	const struct limits *limits = gate ? &gate->proxy->limits : NULL;

	if (!limits)
		return;
	metrics_page_family(w, "cqlferry_clients_refused_total", "counter",
			    "Connections of clients that were turned away");
	for (unsigned i = 0; i < LIMIT_REFUSAL_COUNT; i++) {
		const uint64_t count = atomic_load_explicit(&limits->refused[i], memory_order_relaxed);

		metrics_page_sample(w, "", (double)count, "reason=\"%s\"", refusal_labels[i]);
	}
}

static void write_gauge(struct metrics_page_writer *w, const char *name, const char *help,
			const _Atomic uint32_t *gauge)
{
	metrics_page_family(w, name, "gauge", help);
	w->sink->sample(w->sink, "", "", (double)atomic_load_explicit(gauge, memory_order_relaxed));
}

void metrics_limits_handshakes(struct metrics_page_writer *w)
{
	const struct gate *gate = w->page->gate;

	if (!gate)
		return;
	write_gauge(w, "cqlferry_handshakes", "Clients between their accepted connection and READY", &gate->active);
	write_gauge(w, "cqlferry_handshakes_waiting", "Accepted connections that wait because of max_handshakes",
		    &gate->waiting_count);
}
