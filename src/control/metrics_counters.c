/* metrics_counters.c - see metrics_counters.h */
#include "control/metrics_counters.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/counters.h"

/* One series; the texts live as long as the process. */
struct sample {
	const char *family;
	const char *help;
	const char *labels;
	int64_t value;
	bool is_gauge;
};

struct samples {
	struct sample items[COUNTERS_MAX];
	unsigned count;
};

static void take(const char *family, const char *help, const char *labels, bool is_gauge, int64_t value, void *arg)
{
	struct samples *s = arg;

	s->items[s->count++] = (struct sample){
		.family = family, .help = help, .labels = labels, .value = value, .is_gauge = is_gauge
	};
}

static int compare(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	const int order = strcmp(x->family, y->family);

	return order ? order : strcmp(x->labels, y->labels);
}

static char *start_family(const struct metrics_page *p, struct evbuffer *out, const struct sample *s)
{
	char *suffix = xasprintf("cqlferry_%s", s->family);
	char *name = metrics_start_family(p, out, suffix, s->is_gauge ? "gauge" : "counter", s->help);

	free(suffix);
	return name;
}

void metrics_counters_write(const struct metrics_page *p, struct evbuffer *out)
{
	struct samples *s;
	char number[METRICS_NUMBER_MAX];
	char *name = NULL;

	if (!p->counters)
		return;
	s = xmalloc(sizeof(*s));
	s->count = 0;
	counters_visit(p->counters, take, s);
	qsort(s->items, s->count, sizeof(s->items[0]), compare);
	for (unsigned i = 0; i < s->count; i++) {
		const struct sample *k = &s->items[i];
		const bool has_labels = *k->labels != '\0';

		if (i == 0 || strcmp(k->family, s->items[i - 1].family) != 0) {
			free(name);
			name = start_family(p, out, k);
		}
		evbuffer_add_printf(out, "%s%s%s%s %s\n", name, has_labels ? "{" : "", k->labels, has_labels ? "}" : "",
				    metrics_format_number((double)k->value, number));
	}
	free(name);
	free(s);
}
