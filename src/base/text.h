/* text.h - reading the small texts that configurations are made of: numbers, lists, host names, secret files. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/common.h"

/* A text for a message: cut to fit, what is not printable as '?'. Returns out. */
#define TEXT_SHOWN_MAX 81
const char *text_show(const char *text, char out[TEXT_SHOWN_MAX]);

/* Cuts blanks off both ends, in place; returns the new start. */
char *text_trim(char *text);

/* `words` ends with NULL; `fold` ignores letter case. */
bool text_is_one_of(const char *text, const char *const *words, bool fold);

/* A decimal integer at the start of text; *end is what follows it. A number too large becomes +-INT64_MAX. */
MUSTCHECK bool text_decimal(const char *text, int64_t *value, const char **end);
/* A whole text as Go's strconv.ParseInt reads it with base 0: sign, 0x 0o 0b or a leading 0, '_' between digits. */
MUSTCHECK bool text_go_integer(const char *text, int64_t *value);
/* A whole text as a finite decimal number with optional fraction and exponent. */
MUSTCHECK bool text_float(const char *text, double *value);

/*
 * A host name or an address literal as the resolver takes it (brackets around
 * an IPv6 literal go), malloc'd; NULL when it is neither.
 */
char *text_host(const char *text);
/* The same for literals only. */
char *text_ip_literal(const char *text);
/* True for "name:port" and "[address]:port". */
bool text_is_host_with_port(const char *text);

struct text_items {
	char *copy; /* what the items point into */
	char **item;
	unsigned count;
};

/*
 * Splits at commas and trims; empty items stay, only a blank text has no item.
 * `drop_spaces` first deletes every space, as ZDM Proxy does.
 */
void text_split(struct text_items *items, const char *text, bool drop_spaces);
void text_items_free(struct text_items *items);

/* The content of a file without its final line end, malloc'd. NULL with the reason, which names the file, in `what`. */
char *text_read_secret(const char *path, char *what, size_t what_size);

#endif
