/*
 * metrics_page.h - the counters of all workers as a page in Prometheus' text
 * format 0.0.4. Names, labels and the way numbers are written are ZDM Proxy's
 * for what it has at proxy level; what it does not have is named
 * <prefix>_cqlferry_... . Families are sorted by name, series by label.
 */
#ifndef CONTROL_METRICS_PAGE_H
#define CONTROL_METRICS_PAGE_H

#include "proxy/node_stats.h"

struct evbuffer;
struct divergences;
struct reload_status;
struct gate;
struct counters;

#define METRICS_PAGE_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_page {
	const char *prefix; /* NULL or "": names without one */
	struct metrics *const *metrics;
	unsigned metrics_count;
	const struct histogram_bounds *bounds; /* by enum request_type */
	const struct node_table *nodes;        /* NULL: no series by node */
	struct divergences *divergences;       /* NULL: no series by table */
	const struct reload_status *reload;    /* NULL: no series of reloads and the primary */
	const struct gate *gate;               /* NULL: no series about refused and waiting clients */
	struct counters *counters;             /* NULL: no series of scripts */
	uint64_t prepared_entries;
	uint64_t large_bytes; /* chunk_large_bytes() */
};

void metrics_page_write(const struct metrics_page *page, struct evbuffer *out);

/* Writes a family's two comment lines; returns its full name, to be freed. */
char *metrics_start_family(const struct metrics_page *page, struct evbuffer *out, const char *suffix, const char *type,
			   const char *help);

/* The shortest decimal number that is `v`, written as Go's strconv writes floats: 0.25, 15, 1e+06, 1.5e-07. */
#define METRICS_NUMBER_MAX 32
const char *metrics_format_number(double v, char out[METRICS_NUMBER_MAX]);

#endif
