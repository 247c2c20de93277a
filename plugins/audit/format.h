/*
 * format.h - a record as a line: a JSON object, or a row of CSV (RFC 4180).
 * The names of the fields and their order are for users to rely on: README.md
 * has them, and new ones only come at the end.
 */
#ifndef AUDIT_FORMAT_H
#define AUDIT_FORMAT_H

#include <time.h>

#include "buffer.h"
#include "memo.h"
#include "record.h"

enum format_kind {
	FORMAT_JSON,
	FORMAT_CSV,
};

struct format {
	enum format_kind kind;
	struct buffer text;  /* of a statement, on its way into the line */
	struct buffer piece; /* of the line */
	struct memo clients, requests;
	/* How lines of this second begin. */
	time_t second;
	uint32_t head_length; /* 0: of none yet */
	char head[32];
	unsigned columns; /* of the line so far */
};

/* Appends the line of a record, its end included. What is not valid UTF-8 becomes U+FFFD. */
void format_line(struct format *f, struct buffer *out, const struct record_view *view);
/* Appends what stands at the head of a file: for CSV the names of the columns. */
void format_head(const struct format *f, struct buffer *out);
/* "\n" or "\r\n". */
const char *format_line_end(const struct format *f);
void format_fini(struct format *f);

/* The name of a field, in the order of lines; NULL: there are no more. */
const char *format_field(unsigned index);

#endif
