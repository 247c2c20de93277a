/* metrics_tables.c - see metrics_tables.h */
#include "control/metrics_tables.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/divergence.h"

static int compare_tables(const void *a, const void *b)
{
	const struct divergence_table *x = a;
	const struct divergence_table *y = b;
	int order = strcmp(x->keyspace, y->keyspace);

	return order ? order : strcmp(x->table, y->table);
}

/* All tables, sorted; the array is to be freed. */
static struct divergence_table *take(struct divergences *d, unsigned *count)
{
	struct divergence_table *tables = xcalloc(DIVERGENCE_MAX_TABLES + 1, sizeof(*tables));

	*count = 0;
	while (*count <= DIVERGENCE_MAX_TABLES && divergences_get(d, *count, &tables[*count]))
		(*count)++;
	qsort(tables, *count, sizeof(*tables), compare_tables);
	return tables;
}

/* A label's value: quotes, backslashes and ends of lines are escaped, as the text format demands. */
static void write_value(struct evbuffer *out, const char *value)
{
	for (const char *c = value; *c; c++) {
		if (*c == '\n')
			evbuffer_add_printf(out, "\\n");
		else
			evbuffer_add_printf(out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
	}
}

/* name{keyspace="...",table="..." with `more` behind it. */
static void write_sample(struct evbuffer *out, const char *name, const struct divergence_table *t, const char *more,
			 uint64_t value)
{
	char number[METRICS_NUMBER_MAX];

	evbuffer_add_printf(out, "%s{keyspace=\"", name);
	write_value(out, t->keyspace);
	evbuffer_add_printf(out, "\",table=\"");
	write_value(out, t->table);
	evbuffer_add_printf(out, "\"%s} %s\n", more, metrics_format_number((double)value, number));
}

/* A family with a sample or more for each table that has some; left out when none has. */
static void write_by_table(const struct metrics_page *p, struct evbuffer *out, const char *family, const char *type,
			   const char *help, bool (*has)(const struct divergence_table *t),
			   void (*write)(struct evbuffer *out, const char *name, const struct divergence_table *t))
{
	struct divergence_table *tables;
	unsigned count;
	char *name = NULL;

	if (!p->divergences)
		return;
	tables = take(p->divergences, &count);
	for (unsigned i = 0; i < count; i++) {
		if (!has(&tables[i]))
			continue;
		if (!name)
			name = metrics_start_family(p, out, family, type, help);
		write(out, name, &tables[i]);
	}
	free(name);
	free(tables);
}

static bool has_conditional(const struct divergence_table *t)
{
	return t->counts.conditional != 0;
}

static void write_conditional(struct evbuffer *out, const char *name, const struct divergence_table *t)
{
	write_sample(out, name, t, "", t->counts.conditional);
}

void metrics_tables_conditional(const struct metrics_page *p, struct evbuffer *out)
{
	write_by_table(p, out, "cqlferry_conditional_divergences_total", "counter",
		       "Conditional writes that only one cluster has applied", has_conditional, write_conditional);
}

static void write_partial(struct evbuffer *out, const char *name, const struct divergence_table *t)
{
	static const struct {
		unsigned missing;
		unsigned is_certain;
		const char *labels;
	} kinds[] = {
		{ CLUSTER_ORIGIN, 0, ",missing=\"origin\",certain=\"no\"" },
		{ CLUSTER_ORIGIN, 1, ",missing=\"origin\",certain=\"yes\"" },
		{ CLUSTER_TARGET, 0, ",missing=\"target\",certain=\"no\"" },
		{ CLUSTER_TARGET, 1, ",missing=\"target\",certain=\"yes\"" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		uint64_t value = t->counts.partial[kinds[i].missing][kinds[i].is_certain];

		if (value)
			write_sample(out, name, t, kinds[i].labels, value);
	}
}

static bool has_partial(const struct divergence_table *t)
{
	return t->counts.partial[CLUSTER_ORIGIN][0] || t->counts.partial[CLUSTER_ORIGIN][1] ||
	       t->counts.partial[CLUSTER_TARGET][0] || t->counts.partial[CLUSTER_TARGET][1];
}

void metrics_tables_partial(const struct metrics_page *p, struct evbuffer *out)
{
	write_by_table(p, out, "cqlferry_partial_writes_total", "counter",
		       "Writes that only one cluster has acknowledged", has_partial, write_partial);
}
