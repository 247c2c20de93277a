/*
 * meter.c - counts from main, from the workers and from a thread of its own, by
 * timers and at once, and has pages that show it.
 */
#include <cqlferry/plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICKS 5
#define ADDED 10000
#define REPEATED 1000

enum {
	WRONG,
	OPTION_COUNT,
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	[WRONG] = { .name = "wrong",
		    .type = CQLFERRY_OPTION_CHOICE,
		    .choices = "nothing ours twice path",
		    .initial = "nothing" },
};

struct part;

struct meter {
	const struct cqlferry_host *host;
	pthread_t thread;
	uint32_t thread_counter, ticks[2], gauge, histogram;
	struct part *main;
	char long_text[5000];
};

/* Of a worker, or of main. */
struct part {
	struct meter *meter;
	struct cqlferry_timer *timer;
	uint32_t number;
	unsigned ticks;
};

static void on_tick(void *arg);
static void add_line(void *arg, const struct cqlferry_metric *s);

static void *count(void *arg)
{
	struct meter *m = arg;
	const double bounds[] = { 0.5 };
	const uint32_t again = m->host->histogram_new(m->host, "meter_seconds", "", "", bounds, 1);

	for (unsigned i = 0; i < ADDED; i++)
		m->host->counter_add(m->host, m->thread_counter, 1);
	m->host->gauge_set(m->host, m->gauge, 100);
	m->host->histogram_observe(m->host, again, 2000000000);
	for (unsigned i = 0; i < REPEATED; i++)
		m->host->log(m->host, CQLFERRY_LOG_INFO, "the thread has counted to %d", ADDED);
	/* What is main's, or a worker's, does nothing here. */
	if (m->host->timer_new(m->host, 10, on_tick, m->main))
		m->host->log(m->host, CQLFERRY_LOG_ERROR, "a timer of a thread");
	m->host->timer_free(m->host, m->main->timer);
	m->host->timer_free(m->host, NULL);
	m->host->metrics_visit(m->host, add_line, NULL);
	m->host->log(m->host, -1, "a level below all");
	m->host->log(m->host, 99, "a level above all: %.*s", 5000, m->long_text);
	return NULL;
}

/* Frees itself when it has been called often enough. */
static void on_tick(void *arg)
{
	struct part *p = arg;
	struct meter *m = p->meter;

	m->host->counter_add(m->host, m->ticks[p != m->main], 1);
	m->host->gauge_set(m->host, m->gauge, p->number);
	m->host->histogram_observe(m->host, m->histogram, 5000000);
	if (++p->ticks == TICKS)
		m->host->timer_free(m->host, p->timer);
}

/* ---- pages ---- */

struct text {
	char *p;
	size_t size, len;
};

static void add_line(void *arg, const struct cqlferry_metric *s)
{
	struct text *t = arg;

	t->p = realloc(t->p, t->len + 1024);
	t->len += (size_t)snprintf(t->p + t->len, 1024, "%s%s{%s} %.17g (%s)\n", s->family, s->suffix, s->labels,
				   s->value, s->type);
}

static void visit_page(void *arg, struct cqlferry_http *http)
{
	struct meter *m = arg;
	struct text t = { NULL, 0, 0 };

	m->host->metrics_visit(m->host, add_line, &t);
	m->host->http_reply(http, 200, "text/x-lines", t.p, t.len);
	free(t.p);
}

static void echo_page(void *arg, struct cqlferry_http *http)
{
	struct meter *m = arg;
	const char *header = m->host->http_header(http, "X-Say");

	const uint32_t status = !header ? 1000 : strcmp(header, "nothing") == 0 ? 204 : 202;

	m->host->http_reply(http, status, NULL, header, header ? strlen(header) : 0);
	m->host->http_reply(http, 200, NULL, "again", 5);
}

static void silent_page(void *arg, struct cqlferry_http *http)
{
	(void)arg;
	(void)http;
}

/* ---- life ---- */

static int32_t route(struct meter *m, const char *wrong)
{
	const struct cqlferry_host *h = m->host;

	if (strcmp(wrong, "ours") == 0)
		return h->http_route(h, "/health/mine", silent_page, m);
	if (strcmp(wrong, "path") == 0)
		return h->http_route(h, "meter page", silent_page, m);
	if (h->http_route(h, "/meter", visit_page, m) < 0 || h->http_route(h, "/meter/echo", echo_page, m) < 0)
		return CQLFERRY_ERROR;
	return h->http_route(h, strcmp(wrong, "twice") == 0 ? "/meter" : "/meter/silent", silent_page, m);
}

/* Numbers of what is no metric are 0, and do no harm. */
static uint32_t make_wrong_metrics(const struct cqlferry_host *h)
{
	const double bounds[] = { 2, 1 };

	return h->counter_new(h, "meter ticks", "Two words", "") | h->counter_new(h, "meter_wrong", "", "a=b") |
	       h->counter_new(h, "meter_wrong", "", "a=\"b") | h->counter_new(h, "meter_wrong", "", "a=\"b\",") |
	       h->counter_new(h, "meter_wrong", "", "a=\"\\q\"") | h->counter_new(h, "meter_wrong", "", "le=\"1\"") |
	       h->counter_new(h, "9", "", "") | h->histogram_new(h, "meter_wrong", "", "", bounds, 2) |
	       h->histogram_new(h, "meter_wrong", "", "", bounds, 0) |
	       h->histogram_new(h, "meter_wrong", "", "", bounds, 33) | h->gauge_new(h, "meter_ticks_total", "", "");
}

/* What only a reader of the page would stumble over. */
static uint32_t make_sly_metrics(const struct cqlferry_host *h)
{
	return h->counter_new(h, "meter_wrong", "", "a=\"\xff\"") |
	       h->counter_new(h, "meter_wrong", "", "a=\"1\",b=\"\",a=\"2\"") |
	       h->counter_new(h, "meter_wrong", "", "__name__=\"other\"") |
	       h->counter_new(h, "meter_wrong", "\xc3(", "");
}

static int32_t meter_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	const double bounds[] = { 0.005, 1 };
	struct meter *m = calloc(1, sizeof(*m));

	m->host = host;
	memset(m->long_text, 'x', sizeof(m->long_text));
	m->main = calloc(1, sizeof(*m->main));
	*m->main = (struct part){ .meter = m, .number = 10 };
	m->thread_counter = host->counter_new(host, "meter_thread_total", "Of a thread", "what=\"a \\\"b\\\"\"");
	m->ticks[0] = host->counter_new(host, "meter_ticks_total", "Calls of timers", "where=\"main\"");
	m->ticks[1] = host->counter_new(host, "meter_ticks_total", "Calls of timers", "where=\"worker\"");
	m->gauge = host->gauge_new(host, "meter_gauge", "Shares", "");
	m->histogram = host->histogram_new(host, "meter_seconds", "A histogram", "", bounds, 2);
	host->counter_new(host, "reloads_total", "The proxy has one", "");
	host->gauge_set(host, m->gauge, 3);
	host->counter_add(host, make_wrong_metrics(host), 1);
	host->counter_add(host, make_sly_metrics(host), 1);
	host->counter_add(host, UINT32_MAX, 1);
	host->gauge_set(host, UINT32_MAX, 1);
	host->histogram_observe(host, UINT32_MAX, 1);
	host->histogram_observe(host, m->gauge, 1);
	m->main->timer = host->timer_new(host, 0, on_tick, m->main);
	if (route(m, values[WRONG].text) < 0 || pthread_create(&m->thread, NULL, count, m) != 0) {
		free(m->main);
		free(m);
		return CQLFERRY_ERROR;
	}
	*self = m;
	return 0;
}

static void meter_close(void *self)
{
	struct meter *m = self;

	pthread_join(m->thread, NULL);
	free(m->main);
	free(m);
}

static int32_t meter_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct meter *m = self;
	struct part *p = calloc(1, sizeof(*p));

	*p = (struct part){ .meter = m, .number = worker + 1 };
	p->timer = m->host->timer_new(m->host, 10, on_tick, p);
	/* Two more, which are left to the host. */
	m->host->timer_new(m->host, 3600000, on_tick, p);
	m->host->timer_new(m->host, UINT32_MAX, on_tick, p);
	*worker_self = p;
	return 0;
}

static void meter_worker_close(void *worker_self)
{
	free(worker_self);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.name = "meter",
	.version = "1.0",
	.open = meter_open,
	.close = meter_close,
	.worker_open = meter_worker_open,
	.worker_close = meter_worker_close,
};
