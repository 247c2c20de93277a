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
#include "base/utf8.h"
#include "policy/plugin_chain.h"
#include "policy/plugin_set.h"
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

/* Behind the quote that ends it; NULL: it does not, or it is no UTF-8, of which Prometheus takes no page. */
static const char *skip_value(const char *s)
{
	for (; *s != '"'; s += utf8_length(s)) {
		if (*s == '\\' && *++s != '\\' && *s != '"' && *s != 'n')
			return NULL;
		if (*s == '\n' || utf8_length(s) == 0)
			return NULL;
	}
	return s + 1;
}

static bool is_utf8(const char *s)
{
	while (utf8_length(s) > 0)
		s += utf8_length(s);
	return !*s;
}

/* One with this name is among the labels that end at `end`, which have been read. */
static bool has_label(const char *labels, const char *end, const char *name, size_t len)
{
	while (labels < end) {
		const size_t n = name_length(labels);

		if (n == len && memcmp(labels, name, n) == 0)
			return true;
		labels = skip_value(labels + n + 2) + 1; /* and the comma */
	}
	return false;
}

/* a="b",c="d", each name once; le is the histograms' own, and what begins with __ is Prometheus'. */
static bool are_labels(const char *labels)
{
	const char *s = labels;

	if (!*s)
		return true;
	for (;; s++) {
		const size_t n = name_length(s);

		if (n == 0 || (n == 2 && memcmp(s, "le", 2) == 0) || strncmp(s, "__", 2) == 0 || s[n] != '=' ||
		    s[n + 1] != '"' || has_label(labels, s, s, n))
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
	if (family && help && labels && *family && family[name_length(family)] == '\0' && is_utf8(help) &&
	    are_labels(labels))
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

/* ---- about plugins ---- */

static const char *const hook_names[PLUGIN_HOOKS] = {
	[PLUGIN_CONNECT] = "on_connect",   [PLUGIN_CREDENTIALS] = "on_credentials",
	[PLUGIN_LOGIN] = "on_login",       [PLUGIN_REQUEST] = "on_request",
	[PLUGIN_RESPONSE] = "on_response", [PLUGIN_DISCONNECT] = "on_disconnect",
	[PLUGIN_TIMER] = "timer",          [PLUGIN_PAGE] = "page",
};

/* Those that may fail. */
static const unsigned deciding_hooks = 1u << PLUGIN_CONNECT | 1u << PLUGIN_CREDENTIALS | 1u << PLUGIN_REQUEST;

static const char *const error_names[PLUGIN_ERRORS] = {
	[PLUGIN_ERROR_SAID] = "error",
	[PLUGIN_ERROR_VERDICT] = "verdict",
	[PLUGIN_ERROR_HOLD] = "hold",
};

static unsigned hooks_of(const struct cqlferry_plugin *f)
{
	return (f->on_connect ? 1u << PLUGIN_CONNECT : 0) | (f->on_credentials ? 1u << PLUGIN_CREDENTIALS : 0) |
	       (f->on_login ? 1u << PLUGIN_LOGIN : 0) | (f->on_request ? 1u << PLUGIN_REQUEST : 0) |
	       (f->on_response ? 1u << PLUGIN_RESPONSE : 0) | (f->on_disconnect ? 1u << PLUGIN_DISCONNECT : 0);
}

/* Of one hook that the plugin has, or of its timers or pages. */
static void init_hook(struct plugin_instance *p, enum plugin_hook hook)
{
	struct counters *c = p->proxy->counters;
	char labels[256] = "", more[320];

	counters_label(labels, sizeof(labels), "plugin", p->name);
	counters_label(labels, sizeof(labels), "hook", hook_names[hook]);
	p->numbers.calls[hook] =
		counters_register(c, "plugin_calls_total", "Calls of a plugin's functions", labels, COUNTER_PLAIN);
	for (unsigned i = 0; i < PLUGIN_ERRORS && (deciding_hooks >> hook & 1); i++) {
		memcpy(more, labels, sizeof(labels));
		counters_label(more, sizeof(more), "reason", error_names[i]);
		p->numbers.errors[hook][i] = counters_register(
			c, "plugin_errors_total", "Calls of a plugin's hooks that failed", more, COUNTER_PLAIN);
	}
}

void plugin_metrics_init(struct plugin_instance *p)
{
	struct counters *c = p->proxy->counters;
	const unsigned hooks = hooks_of(&p->plugin);
	char labels[128] = "";

	for (unsigned i = 0; i < PLUGIN_TIMER; i++) {
		if (hooks >> i & 1)
			init_hook(p, (enum plugin_hook)i);
	}
	counters_label(labels, sizeof(labels), "plugin", p->name);
	p->numbers.denials = counters_register(
		c, "plugin_denials_total", "Clients, log-ins and requests that a plugin has refused, or failed about",
		labels, COUNTER_PLAIN);
	p->numbers.seconds =
		counters_register(c, "plugin_time_seconds_total",
				  "Time in a plugin's functions, of those about requests as one of 64 calls shows it",
				  labels, COUNTER_SECONDS);
}

void plugin_metrics_failed(const struct plugin_instance *p, enum plugin_hook hook, enum plugin_error error)
{
	counters_add(p->proxy->counters, plugin_call.worker->index, p->numbers.errors[hook][error], 1);
}

void plugin_metrics_denied(const struct plugin_instance *p)
{
	counters_add(p->proxy->counters, plugin_call.worker->index, p->numbers.denials, 1);
}

struct sums {
	uint64_t calls[PLUGINS_MAX][PLUGIN_HOOKS];
	uint64_t ns[PLUGINS_MAX];
	uint64_t held, late;
};

static void add_tally(void *arg, struct plugin_instance *p, enum plugin_hook hook, const struct plugin_tally *tally)
{
	struct sums *s = arg;

	s->calls[p->index][hook] += metric_read(&tally->calls);
	s->ns[p->index] += metric_read(&tally->ns);
}

static void add_worker(struct sums *s, struct plugin_set *set, struct worker *w)
{
	if (w->hooks)
		plugin_chain_tallies(w->hooks, add_tally, s);
	for (unsigned i = 0; i < set->count; i++)
		add_tally(s, set->items[i], PLUGIN_TIMER, &set->items[i]->workers[w->index].timer_tally);
	s->held += metric_read(&w->holds.held);
	s->late += metric_read(&w->holds.late);
}

static void show(const struct plugin_set *set, const struct sums *s)
{
	struct counters *c = set->proxy->counters;
	const unsigned self = counters_main(c);

	for (unsigned i = 0; i < set->count; i++) {
		struct plugin_instance *p = set->items[i];

		for (unsigned k = 0; k < PLUGIN_HOOKS; k++) {
			/* Who has timers and pages shows when they are there. */
			if (k >= PLUGIN_TIMER && s->calls[i][k] > 0 && p->numbers.calls[k] == 0)
				init_hook(p, (enum plugin_hook)k);
			if (p->numbers.calls[k] != 0)
				counters_set(c, self, p->numbers.calls[k], (int64_t)s->calls[i][k]);
		}
		counters_set(c, self, p->numbers.seconds, (int64_t)s->ns[i]);
	}
	counters_set(c, self, set->held, (int64_t)s->held);
	counters_set(c, self, set->late, (int64_t)s->late);
}

/* Before a page is made. */
static void refresh(void *arg)
{
	struct plugin_set *set = arg;
	struct sums sums = { .held = 0 };

	for (unsigned i = 0; i < set->proxy->worker_count; i++)
		add_worker(&sums, set, &set->proxy->workers[i]);
	for (unsigned i = 0; i < set->count; i++) {
		for (unsigned k = 0; k < PLUGIN_HOOKS; k++)
			add_tally(&sums, set->items[i], (enum plugin_hook)k, &set->items[i]->tallies[k]);
	}
	show(set, &sums);
}

void plugin_metrics_start(struct plugin_set *set)
{
	struct counters *c = set->proxy->counters;

	set->held = counters_register(c, "plugin_held", "Clients, log-ins and requests that wait for a plugin", "",
				      COUNTER_GAUGE);
	set->late = counters_register(c, "plugin_late_resumes_total",
				      "Calls of resume() about what was resumed already, or had ended", "",
				      COUNTER_PLAIN);
	counters_on_list(c, refresh, set);
}

void plugin_metrics_stop(struct plugin_set *set)
{
	counters_on_list(set->proxy->counters, NULL, NULL);
}
