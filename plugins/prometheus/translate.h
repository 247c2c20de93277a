/*
 * translate.h - what the metrics page shows, as OpenMetrics wants it: ZDM's
 * names are older than its rules. Counters are called as their samples without
 * "_total", gauges lose a "_total", bounds are canonical ("1.0"), gauges
 * "..._info" become infos.
 */
#ifndef PROMETHEUS_TRANSLATE_H
#define PROMETHEUS_TRANSLATE_H

#include <cqlferry/plugin.h>

#include "page.h"

#define TRANSLATE_SLOTS 1024
#define TRANSLATE_PREFIX_MAX 128

/* Of one page. */
struct translate {
	struct page *page;
	const char *own; /* a family of ours without its prefix: what stands before it on the page is the prefix */
	char prefix[TRANSLATE_PREFIX_MAX];
	char family[PAGE_FAMILY_MAX]; /* as the metrics page calls the one that is being written */
	bool is_counter, is_histogram, is_info;
	unsigned names_count;
	uint64_t names[TRANSLATE_SLOTS]; /* hashes of those that were written, by hash; 0: free */
};

/* For host->metrics_visit(), with a struct translate. */
void translate_sample(void *arg, const struct cqlferry_metric *metric);

#endif
