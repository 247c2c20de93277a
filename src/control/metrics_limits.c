/* metrics_limits.c - see metrics_limits.h */
#include "control/metrics_limits.h"

#include <event2/buffer.h>
#include <stdlib.h>

#include "proxy/proxy.h"

static const char *const refusal_labels[LIMIT_REFUSAL_COUNT] = {
#define X(name, label) [LIMIT_##name] = label,
	LIMIT_REFUSALS(X)
#undef X
};

void metrics_limits_refused(const struct metrics_page *p, struct evbuffer *out)
{
	const struct limits *limits = p->gate ? &p->gate->proxy->limits : NULL;
	char number[METRICS_NUMBER_MAX];
	char *name;

	if (!limits)
		return;
	name = metrics_start_family(p, out, "cqlferry_clients_refused_total", "counter",
				    "Connections of clients that were turned away");
	for (unsigned i = 0; i < LIMIT_REFUSAL_COUNT; i++) {
		const uint64_t count = atomic_load_explicit(&limits->refused[i], memory_order_relaxed);

		evbuffer_add_printf(out, "%s{reason=\"%s\"} %s\n", name, refusal_labels[i],
				    metrics_format_number((double)count, number));
	}
	free(name);
}

static void write_gauge(const struct metrics_page *p, struct evbuffer *out, const char *suffix, const char *help,
			const _Atomic uint32_t *gauge)
{
	char *name = metrics_start_family(p, out, suffix, "gauge", help);
	char number[METRICS_NUMBER_MAX];

	evbuffer_add_printf(out, "%s %s\n", name,
			    metrics_format_number((double)atomic_load_explicit(gauge, memory_order_relaxed), number));
	free(name);
}

void metrics_limits_handshakes(const struct metrics_page *p, struct evbuffer *out)
{
	if (!p->gate)
		return;
	write_gauge(p, out, "cqlferry_handshakes", "Clients between their accepted connection and READY",
		    &p->gate->active);
	write_gauge(p, out, "cqlferry_handshakes_waiting", "Accepted connections that wait because of max_handshakes",
		    &p->gate->waiting_count);
}
