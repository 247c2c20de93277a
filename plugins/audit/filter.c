/* filter.c - see filter.h */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

struct filter_pattern {
	char *text;
	size_t len;
	bool excludes;
};

#define SEPARATORS " \t,\n"

bool filter_init(struct filter *f, const char *list)
{
	*f = (struct filter){ 0 };
	if (!list)
		return true;
	for (list += strspn(list, SEPARATORS); *list; list += strspn(list, SEPARATORS)) {
		const bool excludes = *list == '!';
		const char *name = list + excludes;
		struct filter_pattern *patterns = realloc(f->patterns, (f->count + 1) * sizeof(*patterns));

		list += strcspn(list, SEPARATORS);
		if (!patterns)
			goto fail;
		f->patterns = patterns;
		patterns[f->count] = (struct filter_pattern){ strndup(name, (size_t)(list - name)),
							      (size_t)(list - name), excludes };
		if (!patterns[f->count].text)
			goto fail;
		f->count++;
		f->has_wanted |= !excludes;
	}
	return true;
fail:
	filter_fini(f);
	return false;
}

void filter_fini(struct filter *f)
{
	for (unsigned i = 0; i < f->count; i++)
		free(f->patterns[i].text);
	free(f->patterns);
	*f = (struct filter){ 0 };
}

/* '*' is tried with as little as possible, and goes on from the last one where that was too little. */
static bool matches(const struct filter_pattern *p, const char *name, size_t len)
{
	size_t at = 0, i = 0, star = 0, resume = 0;
	bool has_star = false;

	while (i < len) {
		if (at < p->len && p->text[at] == '*') {
			has_star = true;
			star = ++at;
			resume = i;
		} else if (at < p->len && p->text[at] == name[i]) {
			at++;
			i++;
		} else if (has_star) {
			at = star;
			i = ++resume;
		} else {
			return false;
		}
	}
	while (at < p->len && p->text[at] == '*')
		at++;
	return at == p->len;
}

bool filter_has(const struct filter *f, const char *name, size_t len)
{
	bool is_wanted = !f->has_wanted;

	for (unsigned i = 0; i < f->count; i++) {
		if (!f->patterns[i].excludes && is_wanted)
			continue;
		if (!matches(&f->patterns[i], name, len))
			continue;
		if (f->patterns[i].excludes)
			return false;
		is_wanted = true;
	}
	return is_wanted;
}
