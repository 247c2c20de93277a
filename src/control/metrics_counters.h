/*
 * metrics_counters.h - counters and gauges of scripts and plugins
 * (proxy/counters.h) on the metrics page.
 */
#ifndef CONTROL_METRICS_COUNTERS_H
#define CONTROL_METRICS_COUNTERS_H

#include "control/metrics_page.h"

/* All families, sorted; nothing where page->counters is NULL. */
void metrics_counters_write(const struct metrics_page *page, struct evbuffer *out);

#endif
