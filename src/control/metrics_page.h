/*
 * metrics_page.h - the counters of all workers, for a sink: /metrics is the text
 * of it. Names and labels are ZDM Proxy's for what it has at proxy level; what
 * it does not have is named <prefix>_cqlferry_... . Families are sorted by name,
 * series by label.
 */
#ifndef CONTROL_METRICS_PAGE_H
#define CONTROL_METRICS_PAGE_H

#include "control/metrics_counters.h"
#include "control/metrics_text.h"
#include "proxy/node_stats.h"

struct divergences;
struct reload_status;
struct gate;
struct counters;

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

void metrics_page_write(const struct metrics_page *page, struct metrics_sink *sink);

/* ---- for the files that write a part of it ---- */

struct metrics_page_writer {
	const struct metrics_page *page;
	struct metrics_sink *sink;
	struct metrics_counters counters; /* those that are still to be written */
	char *name;                       /* of the family */
};

/* A family begins, whose name is without the prefix; what comes before it in metrics_counters.h is written first. */
void metrics_page_family(struct metrics_page_writer *w, const char *name, const char *type, const char *help);
/* The same without that. */
void metrics_page_start(struct metrics_page_writer *w, const char *name, const char *type, const char *help);
/* The labels by a format. */
void metrics_page_sample(struct metrics_page_writer *w, const char *suffix, double value, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* A histogram in nanoseconds: `counts` by bucket, each alone, the last above all bounds. */
void metrics_page_histogram(struct metrics_page_writer *w, const char *labels, const struct histogram_bounds *bounds,
			    const struct histogram *h);

#endif
