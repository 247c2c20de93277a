/*
 * pattern.c - see pattern.h
 *
 * A pattern is matched by going back to its last "*" only: what stood before
 * that has been matched at the first place where it could be, and no later one
 * would leave more room for the rest. The time is at most the product of both
 * lengths. Of a subject a "*" cannot run past the end of its attribute, so that
 * going back to an earlier one could help there; with one "*" for each
 * attribute it never does, and the file has no more of them.
 */
#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "vault.h"

#define NAME_MAX_LEN 1024u

/* ---- reading ---- */

static const char *begin(struct pattern *p, const char *text, size_t length)
{
	*p = (struct pattern){ 0 };
	if (length == 0)
		return "an empty name";
	if (length > NAME_MAX_LEN)
		return "a name longer than 1024 bytes";
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7F)
			return "a control character in a name";
	}
	p->text = memory_new(length + 1, 1);
	return NULL;
}

static void put(struct pattern *p, char c)
{
	p->text[p->length++] = c;
	p->literals++;
}

static void put_any(struct pattern *p)
{
	p->is_wild = true;
	if (p->length == 0 || p->text[p->length - 1] != PATTERN_ANY)
		p->text[p->length++] = PATTERN_ANY;
}

const char *pattern_of_user(struct pattern *p, const char *text, size_t length)
{
	const char *wrong = begin(p, text, length);

	for (size_t i = 0; !wrong && i < length; i++) {
		if (text[i] == '*') {
			put_any(p);
		} else if (text[i] != '\\') {
			put(p, text[i]);
		} else if (++i < length) {
			put(p, text[i]);
		} else {
			pattern_free(p);
			return "a backslash with nothing behind it";
		}
	}
	return wrong;
}

static bool ends_attribute(char c)
{
	return c == ',' || c == '+';
}

/* The blanks that were put last stand before something they do not belong to. */
static void strip(struct pattern *p)
{
	while (p->length > 0 && p->text[p->length - 1] == ' ' && !(p->length > 1 && p->text[p->length - 2] == '\\')) {
		p->length--;
		p->literals--;
	}
}

const char *pattern_of_subject(struct pattern *p, const char *text, size_t length)
{
	const char *wrong = begin(p, text, length);
	bool in_value = false, at_start = true, has_any = false, has_name = false;

	for (size_t i = 0; !wrong && i < length; i++) {
		const char c = text[i];

		if (c == ' ' && at_start)
			continue;
		at_start = false;
		if (c == '\\') {
			put(p, c);
			if (++i == length)
				wrong = "a backslash with nothing behind it";
			else
				put(p, text[i]);
		} else if (ends_attribute(c) || (c == '=' && !in_value)) {
			if (c == '=' ? !has_name : !in_value)
				wrong = "no certificate's subject; allowed: as in CN=app,OU=billing,O=Example";
			strip(p);
			put(p, c);
			in_value = c == '=';
			at_start = true;
			has_any = false;
			has_name = false;
		} else if (c == '*') {
			if (has_any || !in_value)
				wrong = "allowed is one * in each value of a certificate's subject";
			put_any(p);
			has_any = true;
		} else {
			put(p, c);
			has_name = true;
		}
	}
	if (!wrong && !in_value)
		wrong = "no certificate's subject; allowed: as in CN=app,OU=billing,O=Example";
	if (wrong)
		pattern_free(p);
	else
		strip(p);
	return wrong;
}

void pattern_free(struct pattern *p)
{
	free(p->text);
	*p = (struct pattern){ 0 };
}

/* ---- matching ---- */

/* How many bytes at s a "*" may take in one step; 0: none. */
static size_t step_any(const char *s, size_t left)
{
	(void)s;
	return left > 0 ? 1 : 0;
}

static size_t step_attribute(const char *s, size_t left)
{
	if (left == 0 || ends_attribute(*s))
		return 0;
	return *s == '\\' && left > 1 ? 2 : 1;
}

/* first, span: of the first "*". */
static bool match(const struct pattern *p, const char *s, size_t length, size_t (*step)(const char *s, size_t left),
		  size_t *first, size_t *span)
{
	size_t i = 0, k = 0;             /* in the name, in the pattern */
	size_t any = SIZE_MAX, from = 0; /* behind the last "*"; where what it stands for ends */
	bool is_first = true;            /* it is the first one */

	*first = 0;
	*span = 0;
	while (i < length || k < p->length) {
		if (k < p->length && p->text[k] == PATTERN_ANY) {
			if (any == SIZE_MAX)
				*first = i;
			else
				is_first = false;
			any = ++k;
			from = i;
			continue;
		}
		if (i < length && k < p->length && s[i] == p->text[k] && s[i] != PATTERN_ANY) {
			i++;
			k++;
			continue;
		}
		if (any != SIZE_MAX) {
			const size_t taken = step(s + from, length - from);

			if (taken > 0) {
				from += taken;
				i = from;
				k = any;
				if (is_first)
					*span = from - *first;
				continue;
			}
		}
		return false;
	}
	return true;
}

bool pattern_match_user(const struct pattern *p, const char *name, size_t length)
{
	size_t first, span;

	return match(p, name, length, step_any, &first, &span);
}

bool pattern_match_subject(const struct pattern *p, const char *subject, size_t length, const char **start,
			   size_t *span)
{
	size_t first;
	const bool matches = match(p, subject, length, step_attribute, &first, span);

	*start = subject + first;
	return matches;
}
