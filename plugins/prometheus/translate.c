/* translate.c - see translate.h */
#include "translate.h"

#include <stdio.h>
#include <string.h>

/* Cuts `end` off; false when the name does not end so. */
static bool cut(char *name, const char *end)
{
	const size_t n = strlen(name), m = strlen(end);

	if (n <= m || strcmp(name + n - m, end) != 0)
		return false;
	name[n - m] = '\0';
	return true;
}

/* False: there is one of this name. */
static bool note_name(struct translate *t, const char *name)
{
	uint64_t h = 14695981039346656037u;

	for (const char *c = name; *c; c++)
		h = (h ^ (uint8_t)*c) * 1099511628211u;
	h |= 1;
	for (uint64_t i = h;; i++) {
		uint64_t *slot = &t->names[(i >> 1) % TRANSLATE_SLOTS];

		if (*slot == h)
			return false;
		if (*slot != 0)
			continue;
		if (t->names_count < TRANSLATE_SLOTS - 1) {
			*slot = h;
			t->names_count++;
		}
		return true;
	}
}

static void note_prefix(struct translate *t, const char *family)
{
	const size_t n = strlen(family), m = strlen(t->own);

	if (n >= m && n - m < sizeof(t->prefix) && strcmp(family + n - m, t->own) == 0) {
		memcpy(t->prefix, family, n - m);
		t->prefix[n - m] = '\0';
	}
}

static void begin(struct translate *t, const struct cqlferry_metric *m)
{
	char name[PAGE_FAMILY_MAX];

	snprintf(t->family, sizeof(t->family), "%s", m->family);
	snprintf(name, sizeof(name), "%s", m->family);
	note_prefix(t, m->family);
	t->is_counter = strcmp(m->type, "counter") == 0;
	t->is_histogram = strcmp(m->type, "histogram") == 0;
	t->is_info = strcmp(m->type, "gauge") == 0 && cut(name, "_info");
	if (!t->is_histogram && !t->is_info)
		cut(name, "_total");
	/* Two that differed by the end that was cut off. */
	if (!note_name(t, name)) {
		strncat(name, "_2", sizeof(name) - strlen(name) - 1);
		note_name(t, name);
	}
	page_family_as_is(t->page, name, t->is_info ? "info" : m->type, m->help);
}

/* Labels of a bucket: le="1" becomes le="1.0". */
static void write_bucket_labels(struct translate *t, const char *labels)
{
	const char *le = strstr(labels, "le=\""), *end;
	char text[512];

	while (le && le != labels && le[-1] != ',')
		le = strstr(le + 1, "le=\"");
	end = le ? strchr(le + 4, '"') : NULL;
	if (!end || strcspn(le + 4, ".eIN") < (size_t)(end - le - 4) || strlen(labels) + 3 > sizeof(text)) {
		page_labels(t->page, labels);
		return;
	}
	snprintf(text, sizeof(text), "%.*s.0%s", (int)(end - labels), labels, end);
	page_labels(t->page, text);
}

void translate_sample(void *arg, const struct cqlferry_metric *m)
{
	struct translate *t = arg;

	if (strcmp(t->family, m->family) != 0)
		begin(t, m);
	/* A script may have counted backwards; nobody may see that in a counter. */
	if (t->is_counter && !(m->value >= 0))
		return;
	page_sample(t->page, t->is_counter ? "_total" : t->is_info ? "_info" : m->suffix);
	if (t->is_histogram && strcmp(m->suffix, "_bucket") == 0)
		write_bucket_labels(t, m->labels);
	else
		page_labels(t->page, m->labels);
	page_number(t->page, m->value);
}
