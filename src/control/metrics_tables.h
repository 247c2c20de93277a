/*
 * metrics_tables.h - the part of the metrics page that is by keyspace and
 * table: what divergence.h has counted.
 */
#ifndef CONTROL_METRICS_TABLES_H
#define CONTROL_METRICS_TABLES_H

#include "control/metrics_page.h"

/* One family each, series sorted by label; nothing while nothing is counted. */
void metrics_tables_conditional(struct metrics_page_writer *w);
void metrics_tables_partial(struct metrics_page_writer *w);

#endif
