/*
 * field.h - the fields of a line, in their order, and how values are written.
 * Each is written by its number, which gives it its name in JSON and its column
 * in CSV. What most lines have is written by the functions that are here.
 */
#ifndef AUDIT_FIELD_H
#define AUDIT_FIELD_H

#include "format.h"

enum field {
	FIELD_TIME,
	FIELD_EVENT,
	FIELD_ID,
	FIELD_CONNECTION,
	FIELD_CLIENT,
	FIELD_PORT,
	FIELD_LISTENER,
	FIELD_USER,
	FIELD_DRIVER,
	FIELD_DRIVER_VERSION,
	FIELD_PROTOCOL,
	FIELD_TLS,
	FIELD_TLS_SUBJECT,
	FIELD_OPCODE,
	FIELD_KIND,
	FIELD_VERB,
	FIELD_PREPARED,
	FIELD_LWT,
	FIELD_STATEMENT,
	FIELD_STATEMENT_HASH,
	FIELD_STATEMENT_LENGTH,
	FIELD_STATEMENT_CUT,
	FIELD_VALUES,
	FIELD_KEYSPACE,
	FIELD_TABLES,
	FIELD_TABLES_INCOMPLETE,
	FIELD_CONSISTENCY,
	FIELD_TO,
	FIELD_DECIDED_BY,
	FIELD_DECIDER,
	FIELD_TAG,
	FIELD_RESULT,
	FIELD_ANSWERED_BY,
	FIELD_ERROR_CODE,
	FIELD_ERROR,
	FIELD_ROWS,
	FIELD_DURATION,
	FIELD_ORIGIN,
	FIELD_ORIGIN_DURATION,
	FIELD_ORIGIN_ERROR_CODE,
	FIELD_TARGET,
	FIELD_TARGET_DURATION,
	FIELD_TARGET_ERROR_CODE,
	FIELD_COUNT,
	FIELDS,
};

struct field_name {
	const char *text;
	struct buffer_short json; /* with what stands around it */
};

extern const struct field_name field_names[FIELDS];

/* CSV: commas for the columns that were left out. */
static inline void field_skip(struct format *f, struct buffer *out, enum field field)
{
	if (f->kind != FORMAT_CSV)
		return;
	for (; f->columns < field; f->columns++)
		buffer_char(out, ',');
}

/* What stands before a value. */
static inline void field_begin(struct format *f, struct buffer *out, enum field field)
{
	if (f->kind == FORMAT_CSV)
		field_skip(f, out, field);
	else
		buffer_add_short(out, &field_names[field].json);
}

static inline void field_number(struct format *f, struct buffer *out, enum field field, uint64_t n)
{
	field_begin(f, out, field);
	buffer_number(out, n);
}

static inline void field_bool(struct format *f, struct buffer *out, enum field field, bool value)
{
	field_begin(f, out, field);
	buffer_text(out, value ? "true" : "false");
}

/* One of our words, with its quotes. */
static inline void field_quoted(struct format *f, struct buffer *out, enum field field, const struct buffer_short *word)
{
	field_begin(f, out, field);
	if (f->kind == FORMAT_JSON)
		buffer_add_short(out, word);
	else
		buffer_add(out, word->text + 1, word->length - 2);
}

/* The first field of each line: RFC 3339, UTC, microseconds. `ns` since 1970. */
void field_time(struct format *f, struct buffer *out, uint64_t ns);
/* A word of ours, which needs no escapes. */
void field_word(struct format *f, struct buffer *out, enum field field, const char *word);
/* Hexadecimal, as 0x2200. */
void field_code(struct format *f, struct buffer *out, enum field field, uint32_t code);
/* A stranger's text: quoted, escaped; what is not valid UTF-8 becomes U+FFFD. */
void field_text(struct format *f, struct buffer *out, enum field field, struct cqlferry_text text);
/* The same without quotes. */
void field_text_part(struct format *f, struct buffer *out, const char *text, size_t length);

static inline void field_text_if(struct format *f, struct buffer *out, enum field field, struct cqlferry_text text)
{
	if (text.length > 0)
		field_text(f, out, field, text);
}

#endif
