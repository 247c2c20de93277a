/*
 * metrics_counters.h - counters, gauges and histograms of scripts and plugins
 * (proxy/counters.h) on the metrics page. Their families stand sorted among the
 * others, so that they are taken first and written piece by piece.
 */
#ifndef CONTROL_METRICS_COUNTERS_H
#define CONTROL_METRICS_COUNTERS_H

#include "base/common.h"

struct counter_series;
struct counters;
struct metrics_page_writer;

struct metrics_counters {
	struct counters *registry;
	struct counter_series *series; /* sorted */
	unsigned count;
	unsigned next; /* the first that is not written yet */
};

/* `registry` may be NULL. */
void metrics_counters_take(struct metrics_counters *m, struct counters *registry);
/*
 * Writes all families that come before this one, whose name is without the
 * page's prefix; NULL: all that are left. One that is called like it is left
 * out, since a page must not have it twice.
 */
void metrics_counters_before(struct metrics_page_writer *writer, const char *name);
void metrics_counters_drop(struct metrics_counters *m);

#endif
