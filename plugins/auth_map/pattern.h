/*
 * pattern.h - names in headings and lists of the mapping file: of users, where
 * "*" stands for any characters, and of certificates, where it stands for any
 * within one attribute.
 */
#ifndef AUTH_MAP_PATTERN_H
#define AUTH_MAP_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pattern {
	char *text;        /* without the backslashes of the file; "*" is PATTERN_ANY in it */
	uint32_t length;   /* of it */
	uint32_t literals; /* of its bytes those that stand for themselves: more of them, more specific */
	bool is_wild;
};

/* Names that have it cannot be in the file, nor match. */
#define PATTERN_ANY '\001'

/*
 * Reads a user's name or pattern: "\" takes the next byte as it is, "\*" too. Returns NULL, or what is wrong with it.
 * The pattern is freed by pattern_free().
 */
const char *pattern_of_user(struct pattern *p, const char *text, size_t length);
/*
 * Reads a subject as RFC 2253 writes it, most specific attribute first; blanks around "=", "," and "+" do not count.
 * A "*" stands for what has neither "," nor "+" but with a backslash.
 */
const char *pattern_of_subject(struct pattern *p, const char *text, size_t length);
void pattern_free(struct pattern *p);

bool pattern_match_user(const struct pattern *p, const char *name, size_t length);
/* What the first "*" stands for is at *start, *span bytes; with none, *span is 0. */
bool pattern_match_subject(const struct pattern *p, const char *subject, size_t length, const char **start,
			   size_t *span);

#endif
