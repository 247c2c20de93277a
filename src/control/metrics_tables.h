/*
 * metrics_tables.h - the part of the metrics page that is by keyspace and
 * table: what divergence.h has counted.
 */
#ifndef CONTROL_METRICS_TABLES_H
#define CONTROL_METRICS_TABLES_H

#include "control/metrics_page.h"

/* One family each, series sorted by label; nothing while nothing is counted. */
void metrics_tables_conditional(const struct metrics_page *page, struct evbuffer *out);
void metrics_tables_partial(const struct metrics_page *page, struct evbuffer *out);

#endif
