/*
 * prometheus.c - a plugin that shows what becomes of statements, in
 * OpenMetrics' text format, together with all that the metrics page has.
 *
 *   count.c      what a worker counts of each request
 *   names.c      counts by tables, users, drivers: the most frequent, and other
 *   buckets.c    bounds of histograms
 *   series.c     the counts as families of a page
 *   translate.c  the metrics page's families as OpenMetrics wants them
 *   page.c       the text
 */
#include <cqlferry/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "count.h"
#include "series.h"
#include "translate.h"

/* A family of the metrics page that is ours, by which its prefix is found. */
#define PAGES_FAMILY "prometheus_pages_total"

enum option {
	OPTION_PATH,
	OPTION_TABLES,
	OPTION_USERS,
	OPTION_DRIVERS,
	OPTION_LABELS,
	OPTION_BUCKETS,
	OPTION_ADDED_BUCKETS,
	OPTION_COUNT
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	[OPTION_PATH] = { .name = "path",
			  .initial = "/openmetrics",
			  .type = CQLFERRY_OPTION_TEXT,
			  .help = "the page, of the HTTP server" },
	[OPTION_TABLES] = { .name = "tables",
			    .initial = "50",
			    .type = CQLFERRY_OPTION_NUMBER,
			    .max = NAMES_SHOWN_MAX,
			    .help = "so many tables have series of their own, the most frequent; 0: none" },
	[OPTION_USERS] = { .name = "users",
			   .initial = "20",
			   .type = CQLFERRY_OPTION_NUMBER,
			   .max = NAMES_SHOWN_MAX,
			   .help = "so many users have series of their own" },
	[OPTION_DRIVERS] = { .name = "drivers",
			     .initial = "20",
			     .type = CQLFERRY_OPTION_NUMBER,
			     .max = NAMES_SHOWN_MAX,
			     .help = "so many drivers have series of their own" },
	[OPTION_LABELS] = { .name = "labels",
			    .initial = "keyspace table kind route outcome",
			    .type = CQLFERRY_OPTION_TEXT,
			    .help = "which of these labels series of statements have" },
	[OPTION_BUCKETS] = { .name = "buckets",
			     .initial = "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10",
			     .type = CQLFERRY_OPTION_TEXT,
			     .help = "bounds of histograms of durations, in seconds" },
	[OPTION_ADDED_BUCKETS] = { .name = "added_buckets",
				   .initial = "0.00001 0.00005 0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.05 0.1",
				   .type = CQLFERRY_OPTION_TEXT,
				   .help = "bounds of the histogram of what the proxy adds, in seconds" },
};

struct prometheus {
	const struct cqlferry_host *host;
	struct count *count;
	struct series_labels labels;
	struct page page;
	struct translate translate;
	uint32_t pages;   /* the host's counter of them */
	uint64_t used_ns; /* by pages until now */
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the page ---- */

static void write_own(struct prometheus *p)
{
	page_family(&p->page, "prometheus_page_cpu_seconds", "counter", "Time of the main thread that this page took");
	page_sample(&p->page, "_total");
	page_seconds(&p->page, p->used_ns);
}

static bool write_page(struct prometheus *p)
{
	struct translate *t = &p->translate;

	page_begin(&p->page, t->prefix);
	t->family[0] = '\0';
	t->names_count = 0;
	memset(t->names, 0, sizeof(t->names));
	p->host->metrics_visit(p->host, translate_sample, t);
	series_write(&p->page, p->count, &p->labels, clock_ns(CLOCK_MONOTONIC));
	write_own(p);
	return page_end(&p->page);
}

static void answer(void *arg, struct cqlferry_http *http)
{
	struct prometheus *p = arg;
	const uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	p->host->counter_add(p->host, p->pages, 1);
	if (write_page(p))
		p->host->http_reply(http, 200, PAGE_TYPE, p->page.text, p->page.length);
	else
		p->host->http_reply(http, 500, "text/plain; charset=utf-8", "out of memory\n", 14);
	p->used_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
}

/* ---- options ---- */

static bool read_labels(struct series_labels *labels, const char *text)
{
	const struct {
		const char *name;
		bool *is_set;
	} all[] = {
		{ "keyspace", &labels->keyspace }, { "table", &labels->table },     { "kind", &labels->kind },
		{ "route", &labels->route },       { "outcome", &labels->outcome },
	};

	for (text += strspn(text, " ,\t"); *text; text += strspn(text, " ,\t")) {
		const size_t n = strcspn(text, " ,\t");
		size_t i = 0;

		while (i < sizeof(all) / sizeof(all[0]) &&
		       (strlen(all[i].name) != n || strncmp(all[i].name, text, n) != 0))
			i++;
		if (i == sizeof(all) / sizeof(all[0]))
			return false;
		*all[i].is_set = true;
		text += n;
	}
	return true;
}

static const char *place_of(const struct cqlferry_value *value)
{
	return value->place ? value->place : "default";
}

static bool read_buckets(const struct cqlferry_host *host, const struct cqlferry_value *value, const char *name,
			 struct buckets *out)
{
	const char *error = buckets_read(out, value->text);

	if (error)
		host->error(host, "%s: %s: '%s': %s", place_of(value), name, value->text, error);
	return error == NULL;
}

/* ---- life ---- */

static void close_plugin(void *self)
{
	struct prometheus *p = self;
	struct count *c = p->count;

	if (c) {
		for (unsigned i = 0; i < c->worker_count; i++)
			free(atomic_load_explicit(&c->workers[i], memory_order_relaxed));
		names_free(c->tables);
		names_free(c->users);
		names_free(c->drivers);
		free(c);
	}
	page_free(&p->page);
	free(p);
}

static bool make_count(struct prometheus *p, const struct cqlferry_value *values)
{
	const struct cqlferry_host *host = p->host;
	struct count *c = calloc(1, sizeof(*c) + host->workers * sizeof(c->workers[0]));

	p->count = c;
	if (!c)
		return false;
	c->host = host;
	c->worker_count = host->workers;
	c->by_keyspace = p->labels.keyspace && values[OPTION_TABLES].number > 0;
	c->by_table = p->labels.table && values[OPTION_TABLES].number > 0;
	c->tables = names_new(c->by_keyspace || c->by_table ? (unsigned)values[OPTION_TABLES].number : 0,
			      COUNT_STATEMENT_CELLS, host->workers);
	c->users = names_new((unsigned)values[OPTION_USERS].number, COUNT_OUTCOMES, host->workers);
	c->drivers = names_new((unsigned)values[OPTION_DRIVERS].number, COUNT_OUTCOMES, host->workers);
	return c->tables && c->users && c->drivers;
}

static int32_t set_up(struct prometheus *p, const struct cqlferry_value *values)
{
	const struct cqlferry_host *host = p->host;
	const struct cqlferry_value *labels = &values[OPTION_LABELS];
	const char *path = values[OPTION_PATH].text;

	if (path[0] != '/' || path[strcspn(path, " ?#")] != '\0') {
		host->error(host, "%s: path: '%s' is no path of a page, as /openmetrics",
			    place_of(&values[OPTION_PATH]), path);
		return CQLFERRY_ERROR;
	}
	if (!read_labels(&p->labels, labels->text)) {
		host->error(host, "%s: labels: '%s': allowed are keyspace, table, kind, route, outcome",
			    place_of(labels), labels->text);
		return CQLFERRY_ERROR;
	}
	/* Without a name in it there is no series for one table and for another. */
	if (values[OPTION_TABLES].number == 0)
		p->labels.keyspace = p->labels.table = false;
	if (!make_count(p, values)) {
		host->error(host, "out of memory");
		return CQLFERRY_ERROR;
	}
	if (!read_buckets(host, &values[OPTION_BUCKETS], "buckets", &p->count->durations) ||
	    !read_buckets(host, &values[OPTION_ADDED_BUCKETS], "added_buckets", &p->count->added))
		return CQLFERRY_ERROR;
	p->pages = host->counter_new(host, PAGES_FAMILY, "Pages of the plugin prometheus", "");
	host->watch(host, 0, CQLFERRY_ALL_KINDS);
	return host->http_route(host, path, answer, p);
}

static int32_t open_plugin(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct prometheus *p = calloc(1, sizeof(*p));

	if (!p) {
		host->error(host, "out of memory");
		return CQLFERRY_ERROR;
	}
	p->host = host;
	p->translate.page = &p->page;
	p->translate.own = PAGES_FAMILY;
	snprintf(p->translate.prefix, sizeof(p->translate.prefix), "cqlferry_");
	if (set_up(p, values) != 0) {
		close_plugin(p);
		return CQLFERRY_ERROR;
	}
	*self = p;
	return 0;
}

static int32_t open_worker(void *self, uint32_t worker, void **worker_self)
{
	struct prometheus *p = self;

	*worker_self = count_worker_new(p->count, worker);
	if (*worker_self)
		return 0;
	p->host->error(p->host, "out of memory");
	return CQLFERRY_ERROR;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.name = "prometheus",
	.version = "1.0",
	.open = open_plugin,
	.close = close_plugin,
	.worker_open = open_worker,
	.on_response = count_response,
};
