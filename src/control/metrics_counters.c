/* metrics_counters.c - see metrics_counters.h */
#include "control/metrics_counters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/metrics_page.h"
#include "proxy/counters.h"

/* In front of every name here. */
#define OURS "cqlferry_"

void metrics_counters_take(struct metrics_counters *m, struct counters *registry)
{
	*m = (struct metrics_counters){ .registry = registry };
	if (registry)
		m->count = counters_list(registry, &m->series);
}

void metrics_counters_drop(struct metrics_counters *m)
{
	free(m->series);
	m->series = NULL;
}

/* As strcmp() of the family's full name with this one. */
static int compare(const struct counter_series *s, const char *name)
{
	const int order = strncmp(OURS, name, strlen(OURS));

	return order ? order : strcmp(s->family, name + strlen(OURS));
}

static void write_histogram(struct metrics_page_writer *w, const struct counter_series *s)
{
	const char *comma = *s->labels ? "," : "";
	uint64_t buckets[COUNTERS_BOUNDS_MAX + 1];
	const uint64_t sum = counters_buckets(w->counters.registry, s, buckets);
	char number[METRICS_NUMBER_MAX];
	uint64_t count = 0;

	for (unsigned i = 0; i <= s->bounds->count; i++) {
		const double bound = i < s->bounds->count ? (double)s->bounds->ns[i] / 1e9 : INFINITY;

		count += buckets[i];
		metrics_page_sample(w, "_bucket", (double)count, "%s%sle=\"%s\"", s->labels, comma,
				    metrics_text_number(bound, number));
	}
	metrics_page_sample(w, "_sum", (double)sum / 1e9, "%s", s->labels);
	metrics_page_sample(w, "_count", (double)count, "%s", s->labels);
}

static void write_series(struct metrics_page_writer *w, const struct counter_series *s)
{
	const int64_t value = counters_value(w->counters.registry, s->number);

	if (s->kind == COUNTER_HISTOGRAM)
		write_histogram(w, s);
	else
		w->sink->sample(w->sink, "", s->labels,
				s->kind == COUNTER_SECONDS ? (double)value / 1e9 : (double)value);
}

static void write_family(struct metrics_page_writer *w, const struct counter_series *first)
{
	static const char *const types[] = {
		[COUNTER_PLAIN] = "counter",
		[COUNTER_GAUGE] = "gauge",
		[COUNTER_SECONDS] = "counter",
		[COUNTER_HISTOGRAM] = "histogram",
	};
	char *name = xasprintf(OURS "%s", first->family);

	metrics_page_start(w, name, types[first->kind], first->help);
	free(name);
}

/* Once: it is so with each page. */
static void say_left_out(const struct counter_series *s)
{
	static bool is_said;

	if (!is_said)
		log_warn("the metric " OURS "%s of a script or plugin is not shown: the proxy has one of this name",
			 s->family);
	is_said = true;
}

void metrics_counters_before(struct metrics_page_writer *w, const char *name)
{
	struct metrics_counters *m = &w->counters;
	const char *family = NULL; /* the texts are the same object for all series of one */

	for (; m->next < m->count; m->next++) {
		const struct counter_series *s = &m->series[m->next];
		const int order = name ? compare(s, name) : -1;

		if (order > 0)
			break;
		if (order == 0) {
			say_left_out(s);
			continue;
		}
		if (s->family != family)
			write_family(w, s);
		family = s->family;
		write_series(w, s);
	}
}
