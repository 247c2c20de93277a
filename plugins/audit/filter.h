/*
 * filter.h - lists of names with '*' for any characters, by blanks or commas;
 * one behind '!' excludes. An empty list has everything, one that only excludes
 * everything else.
 */
#ifndef AUDIT_FILTER_H
#define AUDIT_FILTER_H

#include <stdbool.h>
#include <stddef.h>

struct filter_pattern;

struct filter {
	struct filter_pattern *patterns; /* NULL: everything */
	unsigned count;
	bool has_wanted; /* there is one without '!' */
};

/* False without memory. NULL and "" are the empty list. */
bool filter_init(struct filter *f, const char *list);
void filter_fini(struct filter *f);

static inline bool filter_is_empty(const struct filter *f)
{
	return f->count == 0;
}

bool filter_has(const struct filter *f, const char *name, size_t len);

#endif
