/* field.c - see field.h */
#include "field.h"

#include <stdio.h>

#include "../utf8.h"

#define NAME(name)                                                                                                     \
	{                                                                                                              \
		name, BUFFER_SHORT(",\"" name "\":")                                                                   \
	}

const struct field_name field_names[FIELDS] = {
	[FIELD_TIME] = NAME("time"),
	[FIELD_EVENT] = NAME("event"),
	[FIELD_ID] = NAME("id"),
	[FIELD_CONNECTION] = NAME("connection"),
	[FIELD_CLIENT] = NAME("client"),
	[FIELD_PORT] = NAME("port"),
	[FIELD_LISTENER] = NAME("listener"),
	[FIELD_USER] = NAME("user"),
	[FIELD_DRIVER] = NAME("driver"),
	[FIELD_DRIVER_VERSION] = NAME("driver_version"),
	[FIELD_PROTOCOL] = NAME("protocol"),
	[FIELD_TLS] = NAME("tls"),
	[FIELD_TLS_SUBJECT] = NAME("tls_subject"),
	[FIELD_OPCODE] = NAME("opcode"),
	[FIELD_KIND] = NAME("kind"),
	[FIELD_VERB] = NAME("verb"),
	[FIELD_PREPARED] = NAME("prepared"),
	[FIELD_LWT] = NAME("lwt"),
	[FIELD_STATEMENT] = NAME("statement"),
	[FIELD_STATEMENT_HASH] = NAME("statement_hash"),
	[FIELD_STATEMENT_LENGTH] = NAME("statement_length"),
	[FIELD_STATEMENT_CUT] = NAME("statement_cut"),
	[FIELD_VALUES] = NAME("values"),
	[FIELD_KEYSPACE] = NAME("keyspace"),
	[FIELD_TABLES] = NAME("tables"),
	[FIELD_TABLES_INCOMPLETE] = NAME("tables_incomplete"),
	[FIELD_CONSISTENCY] = NAME("consistency"),
	[FIELD_TO] = NAME("to"),
	[FIELD_DECIDED_BY] = NAME("decided_by"),
	[FIELD_DECIDER] = NAME("decider"),
	[FIELD_TAG] = NAME("tag"),
	[FIELD_RESULT] = NAME("result"),
	[FIELD_ANSWERED_BY] = NAME("answered_by"),
	[FIELD_ERROR_CODE] = NAME("error_code"),
	[FIELD_ERROR] = NAME("error"),
	[FIELD_ROWS] = NAME("rows"),
	[FIELD_DURATION] = NAME("duration_us"),
	[FIELD_ORIGIN] = NAME("origin"),
	[FIELD_ORIGIN_DURATION] = NAME("origin_us"),
	[FIELD_ORIGIN_ERROR_CODE] = NAME("origin_error_code"),
	[FIELD_TARGET] = NAME("target"),
	[FIELD_TARGET_DURATION] = NAME("target_us"),
	[FIELD_TARGET_ERROR_CODE] = NAME("target_error_code"),
	[FIELD_COUNT] = NAME("count"),
};

static const char hex_digits[] = "0123456789abcdef";

/* ---- texts ---- */

static void json_escape(struct buffer *out, unsigned char c)
{
	switch (c) {
	case '\n':
		buffer_add(out, "\\n", 2);
		break;
	case '\r':
		buffer_add(out, "\\r", 2);
		break;
	case '\t':
		buffer_add(out, "\\t", 2);
		break;
	case '"':
	case '\\':
		buffer_char(out, '\\');
		buffer_char(out, (char)c);
		break;
	default: /* RFC 8259, section 7 */
		buffer_add(out, "\\u00", 4);
		buffer_char(out, hex_digits[c >> 4]);
		buffer_char(out, hex_digits[c & 15]);
		break;
	}
}

/* Between quotes, which the caller writes. */
static void json_text(struct buffer *out, const char *at, const char *end)
{
	while (at < end) {
		const char *plain = at;
		unsigned n;

		while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f && *at != '"' && *at != '\\')
			at++;
		buffer_add(out, plain, (size_t)(at - plain));
		if (at == end)
			break;
		n = utf8_length(at, (size_t)(end - at));
		if (n == 0)
			buffer_text(out, UTF8_REPLACEMENT);
		else if (n > 1)
			buffer_add(out, at, n);
		else
			json_escape(out, (unsigned char)*at);
		at += n ? n : 1;
	}
}

/*
 * Between quotes. RFC 4180 has line breaks in quoted fields, but whoever looks for lines in a log does not expect that
 * of a record: they become blanks. Of other control characters readers of CSV make nothing good.
 */
static void csv_text(struct buffer *out, const char *at, const char *end)
{
	while (at < end) {
		const unsigned n = utf8_length(at, (size_t)(end - at));
		const unsigned char c = (unsigned char)*at;

		if (c == '\n' || c == '\r' || c == '\t')
			buffer_char(out, ' ');
		else if (n == 0 || (n == 1 && (c < 0x20 || c == 0x7f)))
			buffer_text(out, UTF8_REPLACEMENT);
		else if (c == '"')
			buffer_add(out, "\"\"", 2);
		else
			buffer_add(out, at, n);
		at += n ? n : 1;
	}
}

void field_text_part(struct format *f, struct buffer *out, const char *text, size_t length)
{
	(f->kind == FORMAT_CSV ? csv_text : json_text)(out, text, text + length);
}

void field_text(struct format *f, struct buffer *out, enum field field, struct cqlferry_text text)
{
	field_begin(f, out, field);
	buffer_char(out, '"');
	if (text.length > 0)
		field_text_part(f, out, text.data, text.length);
	buffer_char(out, '"');
}

/* ---- words and numbers ---- */

void field_word(struct format *f, struct buffer *out, enum field field, const char *word)
{
	const bool is_quoted = f->kind == FORMAT_JSON;

	field_begin(f, out, field);
	if (is_quoted)
		buffer_char(out, '"');
	buffer_text(out, word);
	if (is_quoted)
		buffer_char(out, '"');
}

void field_code(struct format *f, struct buffer *out, enum field field, uint32_t code)
{
	char text[12];

	snprintf(text, sizeof(text), "0x%04X", (unsigned)code);
	field_word(f, out, field, text);
}

/* All that comes before the microseconds. */
static void begin_second(struct format *f, time_t second)
{
	struct tm tm;

	gmtime_r(&second, &tm);
	f->head_length = (uint32_t)strftime(
		f->head, sizeof(f->head),
		f->kind == FORMAT_JSON ? "{\"time\":\"%Y-%m-%dT%H:%M:%S." : "%Y-%m-%dT%H:%M:%S.", &tm);
	f->second = second;
}

void field_time(struct format *f, struct buffer *out, uint64_t ns)
{
	const time_t second = (time_t)(ns / 1000000000u);
	const uint32_t us = (uint32_t)(ns % 1000000000u) / 1000u;
	char *at;

	if (second != f->second || f->head_length == 0)
		begin_second(f, second);
	f->columns = f->kind == FORMAT_JSON ? 1 : FIELD_TIME;
	if (!buffer_need(out, sizeof(f->head) + 8))
		return;
	at = out->data + out->len;
	memcpy(at, f->head, sizeof(f->head));
	at += f->head_length;
	memcpy(at, buffer_pair(us / 10000), 2);
	memcpy(at + 2, buffer_pair(us / 100 % 100), 2);
	memcpy(at + 4, buffer_pair(us % 100), 2);
	at += 6;
	*at++ = 'Z';
	if (f->kind == FORMAT_JSON)
		*at++ = '"';
	out->len = (size_t)(at - out->data);
}
