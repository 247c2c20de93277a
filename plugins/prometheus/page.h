/*
 * page.h - a page in OpenMetrics' text format 1.0, written into one buffer that
 * is kept for the next page. When memory is exhausted the page is broken, and
 * page_end() says so.
 *
 *	page_family(p, "cqlferry_errors", "counter", "Errors ...");
 *	page_sample(p, "_total");
 *	page_label(p, "code", "OVERLOADED");
 *	page_whole(p, 15);
 */
#ifndef PROMETHEUS_PAGE_H
#define PROMETHEUS_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PAGE_FAMILY_MAX 256

struct page {
	char *text;
	size_t length, size;
	bool is_broken;
	bool has_labels;              /* of the sample that is being written */
	char family[PAGE_FAMILY_MAX]; /* what samples are called, with the prefix */
	const char *prefix;           /* of families that are begun by page_family() */
	unsigned samples;
};

void page_begin(struct page *page, const char *prefix);
/* The whole page, with its last line. False: no memory. */
bool page_end(struct page *page);
void page_free(struct page *page);

/* The lines TYPE, UNIT (by the end of the name) and HELP; a counter's name has no "_total". */
void page_family(struct page *page, const char *name, const char *type, const char *help);
/* The same for a name that is whole, with a help whose backslashes and ends of lines are escaped already. */
void page_family_as_is(struct page *page, const char *name, const char *type, const char *help);

/* A sample: its name, then its labels, then its value. */
void page_sample(struct page *page, const char *suffix);
/* `value` is UTF-8. */
void page_label(struct page *page, const char *name, const char *value);
/* a="b",c="d", escaped. */
void page_labels(struct page *page, const char *labels);
void page_whole(struct page *page, uint64_t value);
void page_seconds(struct page *page, uint64_t ns);
void page_number(struct page *page, double value);

#endif
