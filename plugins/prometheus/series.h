/* series.h - what the workers have counted, as families of a page. Main alone; the workers go on counting. */
#ifndef PROMETHEUS_SERIES_H
#define PROMETHEUS_SERIES_H

#include "count.h"
#include "page.h"

/* Which labels statements have. */
struct series_labels {
	bool keyspace, table, kind, route, outcome;
};

/* `now_ns` of a monotonic clock. */
void series_write(struct page *page, struct count *count, const struct series_labels *labels, uint64_t now_ns);

#endif
