/*
 * series.c - see series.h
 *
 * Series that have counted nothing are left out: most of what could be there
 * never is.
 */
#include "series.h"

#include <string.h>

static const char *const kinds[COUNT_KINDS] = { "read", "write", "schema", "use", "unknown", "prepare" };
static const char *const routes[COUNT_ROUTES] = { "none", "origin", "target", "both" };
static const char *const outcomes[COUNT_OUTCOMES] = { "answered", "failed",    "refused", "denied",
						      "local",    "abandoned", "6",       "7" };
static const char *const answerers[COUNT_ANSWERERS] = { "origin", "target", "proxy" };
static const char *const deciders[COUNT_DECIDERS] = { "default", "protocol", "rule", "script", "plugin", "5", "6", "7" };

/* What a page is made of. */
struct series {
	struct page *page;
	struct count *count;
	const struct series_labels *labels;
};

/* ---- by name ---- */

/* Sums over what has no label: the first of those that are summed has it all. */
static void collapse(const struct series_labels *l, const uint64_t *counts, uint64_t out[COUNT_STATEMENT_CELLS])
{
	memset(out, 0, COUNT_STATEMENT_CELLS * sizeof(*out));
	for (unsigned i = 0; i < COUNT_STATEMENT_CELLS; i++) {
		const unsigned outcome = l->outcome ? i % COUNT_OUTCOMES : 0;
		const unsigned route = l->route ? i / COUNT_OUTCOMES % COUNT_ROUTES : 0;
		const unsigned kind = l->kind ? i / (COUNT_OUTCOMES * COUNT_ROUTES) : 0;

		out[(kind * COUNT_ROUTES + route) * COUNT_OUTCOMES + outcome] += counts[i];
	}
}

static void write_tables_of(struct page *p, const struct series_labels *l, const char *key)
{
	if (l->keyspace)
		page_label(p, "keyspace", key ? key : "other");
	if (l->table)
		page_label(p, "table", !key ? "other" : l->keyspace ? key + strlen(key) + 1 : key);
}

static void write_statements(void *arg, const char *key, const uint64_t *counts)
{
	const struct series *s = arg;
	const struct series_labels *l = s->labels;
	uint64_t sums[COUNT_STATEMENT_CELLS];

	collapse(l, counts, sums);
	for (unsigned i = 0; i < COUNT_STATEMENT_CELLS; i++) {
		if (sums[i] == 0)
			continue;
		page_sample(s->page, "_total");
		write_tables_of(s->page, l, key);
		if (l->kind)
			page_label(s->page, "kind", kinds[i / (COUNT_OUTCOMES * COUNT_ROUTES)]);
		if (l->route)
			page_label(s->page, "route", routes[i / COUNT_OUTCOMES % COUNT_ROUTES]);
		if (l->outcome)
			page_label(s->page, "outcome", outcomes[i % COUNT_OUTCOMES]);
		page_whole(s->page, sums[i]);
	}
}

static void write_users(void *arg, const char *key, const uint64_t *counts)
{
	const struct series *s = arg;

	for (unsigned i = 0; i < COUNT_OUTCOMES; i++) {
		if (counts[i] == 0)
			continue;
		page_sample(s->page, "_total");
		page_label(s->page, "user", key ? key : "other");
		page_label(s->page, "outcome", outcomes[i]);
		page_whole(s->page, counts[i]);
	}
}

static void write_drivers(void *arg, const char *key, const uint64_t *counts)
{
	const struct series *s = arg;

	for (unsigned i = 0; i < COUNT_OUTCOMES; i++) {
		if (counts[i] == 0)
			continue;
		page_sample(s->page, "_total");
		page_label(s->page, "driver", key ? key : "other");
		page_label(s->page, "version", key ? key + strlen(key) + 1 : "other");
		page_label(s->page, "outcome", outcomes[i]);
		page_whole(s->page, counts[i]);
	}
}

static void write_names(struct series *s, uint64_t now_ns)
{
	struct count *c = s->count;

	names_settle(c->tables, now_ns);
	names_settle(c->users, now_ns);
	names_settle(c->drivers, now_ns);
	page_family(s->page, "statements", "counter",
		    "Statements of drivers: QUERY, EXECUTE, BATCH and PREPARE by what became of them");
	names_visit(c->tables, write_statements, s);
	page_family(s->page, "user_statements", "counter", "Statements by the user that the driver has logged in as");
	names_visit(c->users, write_users, s);
	page_family(s->page, "driver_statements", "counter", "Statements by the driver and its version");
	names_visit(c->drivers, write_drivers, s);
	page_family(s->page, "tracked_names", "gauge", "Names that have counters, with those that are shown as other");
	page_sample(s->page, "");
	page_label(s->page, "of", "drivers");
	page_whole(s->page, names_count(c->drivers));
	page_sample(s->page, "");
	page_label(s->page, "of", "tables");
	page_whole(s->page, names_count(c->tables));
	page_sample(s->page, "");
	page_label(s->page, "of", "users");
	page_whole(s->page, names_count(c->users));
}

/* ---- numbers of all workers ---- */

static uint64_t sum_of(const struct count *c, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < c->worker_count; i++) {
		const char *w = (const char *)atomic_load_explicit(&c->workers[i], memory_order_acquire);

		if (w)
			sum += cell_read((const uint64_t *)(const void *)(w + offset));
	}
	return sum;
}

static void sum_histogram(const struct count *c, size_t offset, unsigned buckets, struct histogram *out)
{
	for (unsigned i = 0; i < c->worker_count; i++) {
		const char *w = (const char *)atomic_load_explicit(&c->workers[i], memory_order_acquire);

		if (w)
			histogram_add(out, (const struct histogram *)(const void *)(w + offset), buckets);
	}
}

/* One histogram; `labels` as they stand on the page. Nothing when it has counted nothing. */
static void write_histogram(struct page *p, const struct histogram *h, const struct buckets *b, const char *name_1,
			    const char *label_1, const char *name_2, const char *label_2)
{
	static const char *const suffixes[] = { "_bucket", "_count", "_sum" };
	uint64_t count = 0;

	for (unsigned i = 0; i <= b->count; i++)
		count += h->counts[i];
	if (count == 0)
		return;
	count = 0;
	for (unsigned i = 0; i <= b->count + 2; i++) {
		const unsigned what = i <= b->count ? 0 : i - b->count;

		page_sample(p, suffixes[what]);
		if (name_1)
			page_label(p, name_1, label_1);
		if (name_2)
			page_label(p, name_2, label_2);
		if (what == 0) {
			count += h->counts[i];
			page_label(p, "le", b->texts[i]);
		}
		if (what == 2)
			page_seconds(p, h->sum_ns);
		else
			page_whole(p, count);
	}
}

static void write_durations(const struct series *s)
{
	const struct count *c = s->count;
	const struct series_labels *l = s->labels;
	struct histogram sums[COUNT_KINDS][COUNT_ROUTES];

	page_family(s->page, "statement_duration_seconds", "histogram",
		    "Time from the arrival of a statement to its answer");
	memset(sums, 0, sizeof(sums));
	for (unsigned k = 0; k < COUNT_KINDS; k++) {
		for (unsigned r = 0; r < COUNT_ROUTES; r++)
			sum_histogram(c, offsetof(struct count_worker, durations[k][r]), c->durations.count,
				      &sums[l->kind ? k : 0][l->route ? r : 0]);
		for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++)
			sum_histogram(c, offsetof(struct count_worker, alone[i][k]), c->durations.count,
				      &sums[l->kind ? k : 0][l->route ? i + 1 : 0]);
	}
	for (unsigned k = 0; k < COUNT_KINDS; k++) {
		for (unsigned r = 0; r < COUNT_ROUTES; r++)
			write_histogram(s->page, &sums[k][r], &c->durations, l->kind ? "kind" : NULL, kinds[k],
					l->route ? "route" : NULL, routes[r]);
	}
}

static void write_clusters(const struct series *s)
{
	const struct count *c = s->count;
	const struct series_labels *l = s->labels;
	struct histogram sums[CQLFERRY_CLUSTERS][COUNT_KINDS];

	page_family(s->page, "cluster_duration_seconds", "histogram",
		    "Time from the arrival of a statement to the answer of a cluster");
	memset(sums, 0, sizeof(sums));
	for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++) {
		for (unsigned k = 0; k < COUNT_KINDS; k++) {
			struct histogram *sum = &sums[i][l->kind ? k : 0];

			sum_histogram(c, offsetof(struct count_worker, clusters[i][k]), c->durations.count, sum);
			sum_histogram(c, offsetof(struct count_worker, alone[i][k]), c->durations.count, sum);
		}
		for (unsigned k = 0; k < COUNT_KINDS; k++)
			write_histogram(s->page, &sums[i][k], &c->durations, "cluster", answerers[i],
					l->kind ? "kind" : NULL, kinds[k]);
	}
}

static void write_added(const struct series *s)
{
	struct histogram alone, sum;

	memset(&alone, 0, sizeof(alone));
	memset(&sum, 0, sizeof(sum));
	for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++) {
		for (unsigned k = 0; k < COUNT_KINDS; k++)
			sum_histogram(s->count, offsetof(struct count_worker, alone[i][k]), s->count->durations.count,
				      &alone);
	}
	sum_histogram(s->count, offsetof(struct count_worker, added), s->count->added.count, &sum);
	sum.counts[0] += sum_of(s->count, offsetof(struct count_worker, not_added));
	for (unsigned i = 0; i <= s->count->durations.count; i++)
		sum.counts[0] += alone.counts[i];
	page_family(s->page, "added_duration_seconds", "histogram",
		    "What answered statements took beyond the slowest answer of a cluster that they waited for");
	write_histogram(s->page, &sum, &s->count->added, NULL, NULL, NULL, NULL);
}

static void write_error(const struct series *s, const char *label, const char *value, unsigned error, size_t offset)
{
	const uint64_t sum = sum_of(s->count, offset);

	if (sum == 0)
		return;
	page_sample(s->page, "_total");
	page_label(s->page, label, value);
	page_label(s->page, "code", count_error_name(error));
	page_whole(s->page, sum);
}

static void write_errors(const struct series *s)
{
	page_family(s->page, "errors", "counter", "Errors that drivers got, by code and by whose they are");
	for (unsigned i = 0; i < COUNT_ANSWERERS; i++) {
		for (unsigned k = 0; k < COUNT_ERRORS; k++)
			write_error(s, "from", answerers[i], k, offsetof(struct count_worker, errors[i][k]));
	}
	page_family(s->page, "cluster_errors", "counter",
		    "Errors that a cluster has answered, whether the driver got them or not");
	for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++) {
		for (unsigned k = 0; k < COUNT_ERRORS; k++)
			write_error(s, "cluster", answerers[i], k, offsetof(struct count_worker, cluster_errors[i][k]));
	}
}

static void write_deciders(const struct series *s)
{
	page_family(s->page, "decided_statements", "counter", "Statements by what has decided their way");
	for (unsigned i = 0; i < COUNT_DECIDERS; i++) {
		const uint64_t sum = sum_of(s->count, offsetof(struct count_worker, deciders[i]));

		if (sum == 0 && i > CQLFERRY_BY_PLUGIN)
			continue;
		page_sample(s->page, "_total");
		page_label(s->page, "by", deciders[i]);
		page_whole(s->page, sum);
	}
}

void series_write(struct page *page, struct count *count, const struct series_labels *labels, uint64_t now_ns)
{
	struct series s = { .page = page, .count = count, .labels = labels };

	write_names(&s, now_ns);
	write_durations(&s);
	write_clusters(&s);
	write_added(&s);
	write_errors(&s);
	write_deciders(&s);
}
