/*
 * page.c - see page.h
 *
 * printf() would be most of what a page costs, so whole numbers, which nearly
 * all are, are written by hand.
 */
#include "page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 65536
/* The longest number. */
#define NUMBER_MAX 40

/* Whole numbers beyond this are not told apart by a double. */
#define EXACT_MAX 9007199254740992.0

/* ---- bytes ---- */

/* Room for `n` bytes at the end; NULL: none. */
static char *reserve(struct page *p, size_t n)
{
	size_t size = p->size ? p->size : FIRST_SIZE;
	char *text;

	if (p->length + n <= p->size)
		return p->text + p->length;
	while (size < p->length + n)
		size *= 2;
	text = p->is_broken ? NULL : realloc(p->text, size);
	if (!text) {
		p->is_broken = true;
		return NULL;
	}
	p->text = text;
	p->size = size;
	return p->text + p->length;
}

static void add(struct page *p, const char *bytes, size_t n)
{
	char *to = reserve(p, n);

	if (!to)
		return;
	memcpy(to, bytes, n);
	p->length += n;
}

static void add_text(struct page *p, const char *text)
{
	add(p, text, strlen(text));
}

/* What has a backslash in front of it already is left alone when `is_escaped`. */
static void add_escaped(struct page *p, const char *text, bool is_escaped)
{
	for (;;) {
		const size_t n = strcspn(text, "\\\"\n");

		add(p, text, n);
		text += n;
		if (*text == '\0')
			return;
		if (*text == '\\' && is_escaped && text[1] != '\0') {
			add(p, text, 2);
			text += 2;
			continue;
		}
		add_text(p, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : "\\\\");
		text++;
	}
}

static char *write_whole(char *end, uint64_t value)
{
	do {
		*--end = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	return end;
}

/* ---- the page ---- */

void page_begin(struct page *p, const char *prefix)
{
	p->length = 0;
	p->is_broken = false;
	p->samples = 0;
	p->prefix = prefix;
}

bool page_end(struct page *p)
{
	add_text(p, "# EOF\n");
	return !p->is_broken;
}

void page_free(struct page *p)
{
	free(p->text);
}

/* ---- families ---- */

static bool ends_with(const char *name, const char *end)
{
	const size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

static const char *unit_of(const char *name)
{
	return ends_with(name, "_seconds") ? "seconds" : ends_with(name, "_bytes") ? "bytes" : NULL;
}

static void add_line(struct page *p, const char *what, const char *text)
{
	add_text(p, what);
	add_text(p, p->family);
	add_text(p, " ");
	add_text(p, text);
	add_text(p, "\n");
}

static void begin_family(struct page *p, const char *prefix, const char *name, const char *type, const char *help,
			 bool is_escaped)
{
	const char *unit;

	snprintf(p->family, sizeof(p->family), "%s%s", prefix, name);
	unit = unit_of(p->family);
	add_line(p, "# TYPE ", type);
	if (unit && strcmp(type, "info") != 0)
		add_line(p, "# UNIT ", unit);
	add_text(p, "# HELP ");
	add_text(p, p->family);
	add_text(p, " ");
	add_escaped(p, help, is_escaped);
	add_text(p, "\n");
}

void page_family(struct page *p, const char *name, const char *type, const char *help)
{
	begin_family(p, p->prefix, name, type, help, false);
}

void page_family_as_is(struct page *p, const char *name, const char *type, const char *help)
{
	begin_family(p, "", name, type, help, true);
}

/* ---- samples ---- */

void page_sample(struct page *p, const char *suffix)
{
	add_text(p, p->family);
	add_text(p, suffix);
	p->has_labels = false;
	p->samples++;
}

void page_label(struct page *p, const char *name, const char *value)
{
	add_text(p, p->has_labels ? "," : "{");
	p->has_labels = true;
	add_text(p, name);
	add_text(p, "=\"");
	add_escaped(p, value, false);
	add_text(p, "\"");
}

void page_labels(struct page *p, const char *labels)
{
	if (*labels == '\0')
		return;
	add_text(p, p->has_labels ? "," : "{");
	p->has_labels = true;
	add_text(p, labels);
}

static void add_value(struct page *p, const char *text, size_t n)
{
	add_text(p, p->has_labels ? "} " : " ");
	add(p, text, n);
	add_text(p, "\n");
}

void page_whole(struct page *p, uint64_t value)
{
	char text[NUMBER_MAX];
	char *end = text + sizeof(text), *from = write_whole(end, value);

	add_value(p, from, (size_t)(end - from));
}

void page_seconds(struct page *p, uint64_t ns)
{
	char text[NUMBER_MAX];
	char *end = text + sizeof(text), *from;
	uint64_t part = ns % 1000000000;

	if (part == 0) {
		page_whole(p, ns / 1000000000);
		return;
	}
	from = write_whole(end, part);
	while (end - from < 9)
		*--from = '0';
	*--from = '.';
	from = write_whole(from, ns / 1000000000);
	while (end[-1] == '0')
		end--;
	add_value(p, from, (size_t)(end - from));
}

void page_number(struct page *p, double value)
{
	char text[NUMBER_MAX];

	if (value >= 0 && value < EXACT_MAX && value == floor(value)) {
		page_whole(p, (uint64_t)value);
		return;
	}
	if (isnan(value))
		snprintf(text, sizeof(text), "NaN");
	else if (isinf(value))
		snprintf(text, sizeof(text), value > 0 ? "+Inf" : "-Inf");
	else if (snprintf(text, sizeof(text), "%.15g", value) > 0 && strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	add_value(p, text, strlen(text));
}
