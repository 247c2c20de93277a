/*
 * lines.c - see lines.h
 *
 * Values end at the end of the line or before a blank and ';'. In double quotes
 * they are taken as they stand, "" being one quote. A '#' after a blank is
 * refused, because some would expect a comment.
 */
#include "lines.h"

#include <ctype.h>
#include <string.h>

static char *skip_blanks(char *p)
{
	return p + strspn(p, " \t");
}

static bool is_comment(const char *p)
{
	return *p == ';' || *p == '#';
}

static void trim(char *text, size_t length)
{
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	text[length] = '\0';
}

static enum lines_item wrong(struct lines *l, const char *why)
{
	l->wrong = why;
	return LINES_WRONG;
}

void lines_init(struct lines *l, char *text, size_t size)
{
	*l = (struct lines){ .next = text, .end = text + size };
	if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		l->next += 3;
}

/* Cuts the next line out; NULL at the end, or when it is wrong. */
static char *cut(struct lines *l)
{
	char *line = l->next, *newline, *end;

	if (line == l->end)
		return NULL;
	newline = memchr(line, '\n', (size_t)(l->end - line));
	end = newline ? newline : l->end;
	l->next = newline ? newline + 1 : l->end;
	l->number++;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	if (memchr(line, '\0', (size_t)(end - line))) {
		wrong(l, "a NUL byte");
		return NULL;
	}
	return line;
}

/* The last "]" ends it: a subject may have others. */
static enum lines_item heading(struct lines *l, char *line)
{
	char *end = strrchr(line, ']'), *rest;

	if (!end)
		return wrong(l, "a section heading without ]");
	rest = skip_blanks(end + 1);
	if (*rest && !is_comment(rest))
		return wrong(l, "something follows the section heading");
	l->key = skip_blanks(line + 1);
	*end = '\0';
	trim(l->key, strlen(l->key));
	return LINES_HEADING;
}

/* The value begins with a quote; what is in it moves to the left. */
static enum lines_item quoted(struct lines *l, char *p)
{
	char *to = p;
	const char *from = p + 1;

	for (;; from++) {
		if (!*from)
			return wrong(l, "a double quote that is not closed; allowed: \"text\", with \"\" for a quote");
		if (*from == '"' && *++from != '"')
			break;
		*to++ = *from;
	}
	if (from[strspn(from, " \t")] && !(isblank((unsigned char)*from) && from[strspn(from, " \t")] == ';'))
		return wrong(l, "something follows the closing quote");
	*to = '\0';
	return LINES_PAIR;
}

static enum lines_item plain(struct lines *l, char *p)
{
	size_t length;

	for (length = 0; p[length]; length++) {
		if (!is_comment(p + length) || (length > 0 && !isblank((unsigned char)p[length - 1])))
			continue;
		if (p[length] == '#')
			return wrong(l, "a # after a blank: comment or value? allowed: the value in double quotes, "
					"comments on lines of their own");
		l->has_comment = true;
		break;
	}
	trim(p, length);
	return LINES_PAIR;
}

static enum lines_item pair(struct lines *l, char *line)
{
	size_t length = 0;
	char *rest;

	while (isalnum((unsigned char)line[length]) || line[length] == '_')
		length++;
	rest = skip_blanks(line + length);
	/* The text is not shown: it may be the rest of a password. */
	if (length == 0 || *rest != '=')
		return wrong(l, "this line is no \"key = value\"");
	line[length] = '\0';
	l->key = line;
	l->value = skip_blanks(rest + 1);
	l->has_comment = false;
	return *l->value == '"' ? quoted(l, l->value) : plain(l, l->value);
}

enum lines_item lines_next(struct lines *l)
{
	char *line, *text;

	l->wrong = NULL;
	while ((line = cut(l)) != NULL) {
		text = skip_blanks(line);
		if (!*text || is_comment(text))
			continue;
		if (text > line)
			return wrong(l, "an indented line; allowed: headings and keys in the first column");
		return *line == '[' ? heading(l, line) : pair(l, line);
	}
	return l->wrong ? LINES_WRONG : LINES_END;
}
