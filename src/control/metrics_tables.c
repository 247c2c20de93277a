/* metrics_tables.c - see metrics_tables.h */
#include "control/metrics_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/counters.h"
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

/* keyspace="...",table="..." with `more` behind it. */
static void write_sample(struct metrics_page_writer *w, const struct divergence_table *t, const char *more,
			 uint64_t value)
{
	/* Every byte may have to be escaped. */
	char labels[2 * (sizeof(t->keyspace) + sizeof(t->table)) + 32] = "";

	counters_label(labels, sizeof(labels), "keyspace", t->keyspace);
	counters_label(labels, sizeof(labels), "table", t->table);
	metrics_page_sample(w, "", (double)value, "%s%s", labels, more);
}

/* A family with a sample or more for each table that has some; left out when none has. */
static void write_by_table(struct metrics_page_writer *w, const char *family, const char *type, const char *help,
			   bool (*has)(const struct divergence_table *t),
			   void (*write)(struct metrics_page_writer *w, const struct divergence_table *t))
{
	struct divergence_table *tables;
	unsigned count;
	bool has_begun = false;

	if (!w->page->divergences)
		return;
	tables = take(w->page->divergences, &count);
	for (unsigned i = 0; i < count; i++) {
		if (!has(&tables[i]))
			continue;
		if (!has_begun)
			metrics_page_family(w, family, type, help);
		has_begun = true;
		write(w, &tables[i]);
	}
	free(tables);
}

static bool has_conditional(const struct divergence_table *t)
{
	return t->counts.conditional != 0;
}

static void write_conditional(struct metrics_page_writer *w, const struct divergence_table *t)
{
	write_sample(w, t, "", t->counts.conditional);
}

void metrics_tables_conditional(struct metrics_page_writer *w)
{
	write_by_table(w, "cqlferry_conditional_divergences_total", "counter",
		       "Conditional writes that only one cluster has applied", has_conditional, write_conditional);
}

static void write_partial(struct metrics_page_writer *w, const struct divergence_table *t)
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
			write_sample(w, t, kinds[i].labels, value);
	}
}

static bool has_partial(const struct divergence_table *t)
{
	return t->counts.partial[CLUSTER_ORIGIN][0] || t->counts.partial[CLUSTER_ORIGIN][1] ||
	       t->counts.partial[CLUSTER_TARGET][0] || t->counts.partial[CLUSTER_TARGET][1];
}

void metrics_tables_partial(struct metrics_page_writer *w)
{
	write_by_table(w, "cqlferry_partial_writes_total", "counter", "Writes that only one cluster has acknowledged",
		       has_partial, write_partial);
}
