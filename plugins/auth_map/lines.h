/*
 * lines.h - takes an INI file apart: headings, and keys with their values, by
 * the rules of cqlferry.ini. The text is changed in place, so that passwords
 * are nowhere but in the memory that it was read into.
 *
 * inih, which reads cqlferry.ini, is not used: it cuts headings at 50 bytes,
 * which subjects of certificates are longer than, and copies each line.
 */
#ifndef AUTH_MAP_LINES_H
#define AUTH_MAP_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum lines_item {
	LINES_HEADING, /* `key` is what stands between the brackets */
	LINES_PAIR,
	LINES_END,
	LINES_WRONG, /* `wrong` says why */
};

struct lines {
	char *next, *end; /* what is unread; a byte behind the end belongs to the text, too */
	unsigned number;  /* of the line that was read last, from 1 */
	char *key, *value;
	bool has_comment; /* the value ended before a blank and ";" */
	const char *wrong;
};

void lines_init(struct lines *l, char *text, size_t size);
enum lines_item lines_next(struct lines *l);

#endif
