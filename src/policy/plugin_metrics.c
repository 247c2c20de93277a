/*
 * plugin_metrics.c - see plugin_metrics.h
 *
 * A page with one line that is none is no page for Prometheus, so names and
 * labels of plugins are read before they get there.
 */
#include "policy/plugin_metrics.h"

#include <ctype.h>
#include <string.h>

#include "base/log.h"
#include "proxy/counters.h"
#include "proxy/worker.h"

/* ---- names and labels ---- */

static size_t name_length(const char *s)
{
	size_t n = 0;

	if (isdigit((unsigned char)*s))
		return 0;
	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

/* Behind the quote that ends it; NULL: it does not. */
static const char *skip_value(const char *s)
{
	for (; *s != '"'; s++) {
		if (*s == '\\' && *++s != '\\' && *s != '"' && *s != 'n')
			return NULL;
		if (*s == '\0' || *s == '\n')
			return NULL;
	}
	return s + 1;
}

/* a="b",c="d"; le is the histograms' own. */
static bool are_labels(const char *s)
{
	if (!*s)
		return true;
	for (;; s++) {
		const size_t n = name_length(s);

		if (n == 0 || (n == 2 && memcmp(s, "le", 2) == 0) || s[n] != '=' || s[n + 1] != '"')
			return false;
		s = skip_value(s + n + 2);
		if (!s)
			return false;
		if (!*s)
			return true;
		if (*s != ',')
			return false;
	}
}

static bool is_good(const struct cqlferry_host *host, const char *family, const char *help, const char *labels)
{
	if (family && help && labels && *family && family[name_length(family)] == '\0' && are_labels(labels))
		return true;
	log_limited(LOG_ERROR, "plugin %s: '%s' with the labels '%s' is no metric", host->instance,
		    family ? family : "", labels ? labels : "");
	return false;
}

/* ---- making them ---- */

static uint32_t take(const struct cqlferry_host *host, const char *family, unsigned number)
{
	if (number == 0)
		log_limited(LOG_WARN,
			    "plugin %s: there is no metric %s: it has another type, or there are too many already",
			    host->instance, family);
	return number;
}

uint32_t plugin_metrics_counter_new(const struct cqlferry_host *host, const char *family, const char *help,
				    const char *labels)
{
	const struct proxy *proxy = plugin_of(host)->proxy;

	if (!is_good(host, family, help, labels) || !proxy)
		return 0;
	return take(host, family, counters_register(proxy->counters, family, help, labels, COUNTER_PLAIN));
}

uint32_t plugin_metrics_gauge_new(const struct cqlferry_host *host, const char *family, const char *help,
				  const char *labels)
{
	const struct proxy *proxy = plugin_of(host)->proxy;

	if (!is_good(host, family, help, labels) || !proxy)
		return 0;
	return take(host, family, counters_register(proxy->counters, family, help, labels, COUNTER_GAUGE));
}

static bool read_bounds(const double *bounds, uint32_t count, struct counter_bounds *out)
{
	if (!bounds || count == 0 || count > COUNTERS_BOUNDS_MAX)
		return false;
	out->count = count;
	for (uint32_t i = 0; i < count; i++) {
		/* A year is more than anybody waits. */
		if (!(bounds[i] > 0 && bounds[i] < 3.2e7))
			return false;
		out->ns[i] = (uint64_t)(bounds[i] * 1e9 + 0.5);
		if (i > 0 && out->ns[i] <= out->ns[i - 1])
			return false;
	}
	return true;
}

uint32_t plugin_metrics_histogram_new(const struct cqlferry_host *host, const char *family, const char *help,
				      const char *labels, const double *bounds, uint32_t count)
{
	const struct proxy *proxy = plugin_of(host)->proxy;
	struct counter_bounds b;

	if (!is_good(host, family, help, labels))
		return 0;
	if (!read_bounds(bounds, count, &b)) {
		log_limited(LOG_ERROR, "plugin %s: the bounds of the histogram %s make no sense", host->instance,
			    family);
		return 0;
	}
	return proxy ? take(host, family, counters_register_histogram(proxy->counters, family, help, labels, &b)) : 0;
}

/* ---- counting ---- */

/* Whose array of counters the calling thread writes to. */
static unsigned cells_of_thread(const struct proxy *proxy)
{
	if (!plugin_call.instance)
		return counters_others(proxy->counters);
	return plugin_call.worker ? plugin_call.worker->index : counters_main(proxy->counters);
}

static bool is_number(const struct proxy *proxy, uint32_t number)
{
	return proxy && number != 0 && number <= COUNTERS_CELLS;
}

void plugin_metrics_add(const struct cqlferry_host *host, uint32_t counter, int64_t n)
{
	const struct proxy *proxy = plugin_of(host)->proxy;

	if (is_number(proxy, counter))
		counters_add(proxy->counters, cells_of_thread(proxy), counter, n);
}

void plugin_metrics_set(const struct cqlferry_host *host, uint32_t gauge, int64_t value)
{
	const struct proxy *proxy = plugin_of(host)->proxy;

	if (is_number(proxy, gauge))
		counters_set(proxy->counters, cells_of_thread(proxy), gauge, value);
}

void plugin_metrics_observe(const struct cqlferry_host *host, uint32_t histogram, uint64_t ns)
{
	const struct proxy *proxy = plugin_of(host)->proxy;

	if (is_number(proxy, histogram))
		counters_observe(proxy->counters, cells_of_thread(proxy), histogram, ns);
}

/* ---- seeing them ---- */

struct visit {
	cqlferry_metric_fn fn;
	void *arg;
};

static void pass_on(void *arg, const char *family, const char *type, const char *help, const char *suffix,
		    const char *labels, double value)
{
	const struct visit *v = arg;
	const struct cqlferry_metric metric = {
		.size = sizeof(metric),
		.family = family,
		.type = type,
		.help = help,
		.suffix = suffix,
		.labels = labels,
		.value = value,
	};

	v->fn(v->arg, &metric);
}

void plugin_metrics_visit(const struct cqlferry_host *host, cqlferry_metric_fn visit, void *arg)
{
	const struct plugin_instance *p = plugin_of(host);
	struct visit v = { visit, arg };

	if (plugin_call.instance == p && !plugin_call.worker && p->proxy && p->proxy->visit_metrics)
		p->proxy->visit_metrics(pass_on, &v);
}
