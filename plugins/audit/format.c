/*
 * format.c - see format.h
 *
 * Fields are written in one order, each by its number, which gives it its name
 * in JSON and its column in CSV. JSON leaves out what an event does not have.
 *
 * The JSON is written as it comes, not by a library: jansson, which builds a
 * tree of objects first, takes 90 allocations and 6.7 us for such a line, five
 * times what the writer takes for everything, and lines per second are what
 * decides when records are dropped.
 */
#include "format.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "../utf8.h"
#include "shape.h"

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

static const char *const names[FIELDS] = {
	[FIELD_TIME] = "time",
	[FIELD_EVENT] = "event",
	[FIELD_ID] = "id",
	[FIELD_CONNECTION] = "connection",
	[FIELD_CLIENT] = "client",
	[FIELD_PORT] = "port",
	[FIELD_LISTENER] = "listener",
	[FIELD_USER] = "user",
	[FIELD_DRIVER] = "driver",
	[FIELD_DRIVER_VERSION] = "driver_version",
	[FIELD_PROTOCOL] = "protocol",
	[FIELD_TLS] = "tls",
	[FIELD_TLS_SUBJECT] = "tls_subject",
	[FIELD_OPCODE] = "opcode",
	[FIELD_KIND] = "kind",
	[FIELD_VERB] = "verb",
	[FIELD_PREPARED] = "prepared",
	[FIELD_LWT] = "lwt",
	[FIELD_STATEMENT] = "statement",
	[FIELD_STATEMENT_HASH] = "statement_hash",
	[FIELD_STATEMENT_LENGTH] = "statement_length",
	[FIELD_STATEMENT_CUT] = "statement_cut",
	[FIELD_VALUES] = "values",
	[FIELD_KEYSPACE] = "keyspace",
	[FIELD_TABLES] = "tables",
	[FIELD_TABLES_INCOMPLETE] = "tables_incomplete",
	[FIELD_CONSISTENCY] = "consistency",
	[FIELD_TO] = "to",
	[FIELD_DECIDED_BY] = "decided_by",
	[FIELD_DECIDER] = "decider",
	[FIELD_TAG] = "tag",
	[FIELD_RESULT] = "result",
	[FIELD_ANSWERED_BY] = "answered_by",
	[FIELD_ERROR_CODE] = "error_code",
	[FIELD_ERROR] = "error",
	[FIELD_ROWS] = "rows",
	[FIELD_DURATION] = "duration_us",
	[FIELD_ORIGIN] = "origin",
	[FIELD_ORIGIN_DURATION] = "origin_us",
	[FIELD_ORIGIN_ERROR_CODE] = "origin_error_code",
	[FIELD_TARGET] = "target",
	[FIELD_TARGET_DURATION] = "target_us",
	[FIELD_TARGET_ERROR_CODE] = "target_error_code",
	[FIELD_COUNT] = "count",
};

static const char hex_digits[] = "0123456789abcdef";

const char *format_field(unsigned index)
{
	return index < FIELDS ? names[index] : NULL;
}

const char *format_line_end(const struct format *f)
{
	return f->kind == FORMAT_CSV ? "\r\n" : "\n";
}

void format_head(const struct format *f, struct buffer *out)
{
	if (f->kind != FORMAT_CSV)
		return;
	for (unsigned i = 0; i < FIELDS; i++) {
		if (i > 0)
			buffer_char(out, ',');
		buffer_text(out, names[i]);
	}
	buffer_text(out, "\r\n");
}

void format_fini(struct format *f)
{
	buffer_free(&f->text);
}

/* ---- values of fields ---- */

/* What stands before a value. CSV: commas for the columns that were left out, too. */
static void begin(struct format *f, struct buffer *out, enum field field)
{
	if (f->kind == FORMAT_CSV) {
		for (; f->columns < field; f->columns++)
			buffer_char(out, ',');
		return;
	}
	buffer_char(out, f->columns == 0 ? '{' : ',');
	f->columns = 1;
	buffer_char(out, '"');
	buffer_text(out, names[field]);
	buffer_add(out, "\":", 2);
}

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

static void text_part(struct format *f, struct buffer *out, const char *text, size_t length)
{
	(f->kind == FORMAT_CSV ? csv_text : json_text)(out, text, text + length);
}

static void put_text(struct format *f, struct buffer *out, enum field field, struct cqlferry_text text)
{
	begin(f, out, field);
	buffer_char(out, '"');
	if (text.length > 0)
		text_part(f, out, text.data, text.length);
	buffer_char(out, '"');
}

static void put_text_if(struct format *f, struct buffer *out, enum field field, struct cqlferry_text text)
{
	if (text.length > 0)
		put_text(f, out, field, text);
}

/* A word of ours, which needs no escapes. */
static void put_word(struct format *f, struct buffer *out, enum field field, const char *word)
{
	const bool is_quoted = f->kind == FORMAT_JSON;

	begin(f, out, field);
	if (is_quoted)
		buffer_char(out, '"');
	buffer_text(out, word);
	if (is_quoted)
		buffer_char(out, '"');
}

static void put_number(struct format *f, struct buffer *out, enum field field, uint64_t n)
{
	begin(f, out, field);
	buffer_number(out, n);
}

static void put_bool(struct format *f, struct buffer *out, enum field field, bool value)
{
	begin(f, out, field);
	buffer_text(out, value ? "true" : "false");
}

static void put_code(struct format *f, struct buffer *out, enum field field, uint32_t code)
{
	char text[12];

	snprintf(text, sizeof(text), "0x%04X", (unsigned)code);
	put_word(f, out, field, text);
}

/* RFC 3339, UTC, microseconds. */
static void put_time(struct format *f, struct buffer *out, uint64_t ns)
{
	const time_t second = (time_t)(ns / 1000000000u);
	char text[sizeof(f->date) + 16];

	if (second != f->second || !f->date[0]) {
		struct tm tm;

		gmtime_r(&second, &tm);
		strftime(f->date, sizeof(f->date), "%Y-%m-%dT%H:%M:%S", &tm);
		f->second = second;
	}
	snprintf(text, sizeof(text), "%s.%06uZ", f->date, (unsigned)(ns / 1000u % 1000000u));
	put_word(f, out, FIELD_TIME, text);
}

/* ---- parts of a line ---- */

static const char *word_of(const char *const *words, unsigned count, unsigned index)
{
	return index < count ? words[index] : "unknown";
}

#define WORD_OF(words, index) word_of(words, sizeof(words) / sizeof((words)[0]), index)

static const char *const event_words[] = { "request", "login", "connect", "disconnect", "dropped", "refused" };
static const char *const kind_words[] = { "read", "write", "schema", "use", "unknown" };
static const char *const to_words[] = { "none", "origin", "target", "both" };
static const char *const cluster_words[] = { "origin", "target", "proxy" };
static const char *const decided_words[] = { "default", "protocol", "rule", "script", "plugin" };
static const char *const result_words[] = { "ok", "error", "refused", "denied", "local", "abandoned" };
static const char *const login_words[] = { "ok", "refused", "denied", "failed" };
static const char *const part_words[] = { "unsent", "pending", "ok", "error" };
/* Native protocol v5, section 3, "[consistency]". */
static const char *const consistency_words[] = { "ANY",    "ONE",          "TWO",          "THREE",
						 "QUORUM", "ALL",          "LOCAL_QUORUM", "EACH_QUORUM",
						 "SERIAL", "LOCAL_SERIAL", "LOCAL_ONE" };

static const char *opcode_word(uint8_t opcode)
{
	switch (opcode) {
	case CQLFERRY_OPCODE_QUERY:
		return "QUERY";
	case CQLFERRY_OPCODE_PREPARE:
		return "PREPARE";
	case CQLFERRY_OPCODE_EXECUTE:
		return "EXECUTE";
	case CQLFERRY_OPCODE_BATCH:
		return "BATCH";
	default:
		return "unknown";
	}
}

static void put_client(struct format *f, struct buffer *out, const struct record_view *v)
{
	put_number(f, out, FIELD_CONNECTION, v->head.client);
	put_text_if(f, out, FIELD_CLIENT, v->texts[TEXT_ADDRESS]);
	put_number(f, out, FIELD_PORT, v->head.port);
	put_text_if(f, out, FIELD_LISTENER, v->texts[TEXT_LISTENER]);
	put_text_if(f, out, FIELD_USER, v->texts[TEXT_USER]);
	put_text_if(f, out, FIELD_DRIVER, v->texts[TEXT_DRIVER]);
	put_text_if(f, out, FIELD_DRIVER_VERSION, v->texts[TEXT_DRIVER_VERSION]);
	if (v->head.version > 0)
		put_number(f, out, FIELD_PROTOCOL, v->head.version);
	put_bool(f, out, FIELD_TLS, v->head.flags & RECORD_TLS);
	put_text_if(f, out, FIELD_TLS_SUBJECT, v->texts[TEXT_SUBJECT]);
}

/* The first half of the SHA-256 of the text with passwords masked. */
static void put_hash(struct format *f, struct buffer *out)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	char text[33];

	SHA256((const unsigned char *)(f->text.data ? f->text.data : ""), f->text.len, sum);
	for (unsigned i = 0; i < 16; i++) {
		text[2 * i] = hex_digits[sum[i] >> 4];
		text[2 * i + 1] = hex_digits[sum[i] & 15];
	}
	text[32] = '\0';
	put_word(f, out, FIELD_STATEMENT_HASH, text);
}

/* True: something of it was masked. */
static bool put_statement(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;
	const struct cqlferry_text text = v->texts[TEXT_STATEMENT];
	bool is_cut = h->flags & RECORD_CUT;
	struct cqlferry_text shown;
	bool is_masked;

	buffer_clear(&f->text);
	is_masked = shape_write(&f->text, text.data, text.length, h->statement == RECORD_SHAPE);
	shown = record_cut((struct cqlferry_text){ f->text.data, f->text.len }, h->statement_max);
	if (h->statement == RECORD_HASH) {
		put_hash(f, out);
	} else if (h->statement != RECORD_NONE) {
		is_cut |= shown.length < f->text.len;
		put_text(f, out, FIELD_STATEMENT, shown);
	}
	put_number(f, out, FIELD_STATEMENT_LENGTH, h->statement_length);
	if (is_cut && h->statement != RECORD_NONE)
		put_bool(f, out, FIELD_STATEMENT_CUT, true);
	return is_masked;
}

static void put_value(struct buffer *out, const char *at, uint32_t word)
{
	if (word == VALUE_NULL) {
		buffer_text(out, "null");
		return;
	}
	buffer_add(out, "0x", 2);
	for (uint32_t i = 0; i < (word & ~VALUE_CUT); i++) {
		buffer_char(out, hex_digits[(unsigned char)at[i] >> 4]);
		buffer_char(out, hex_digits[(unsigned char)at[i] & 15]);
	}
	if (word & VALUE_CUT)
		buffer_text(out, "...");
}

/* JSON: an array of strings and null; CSV: by blanks. Bytes as the protocol has them: the types are not known here. */
static void put_values(struct format *f, struct buffer *out, const struct record_view *v)
{
	const bool is_json = f->kind == FORMAT_JSON;
	const char *at = v->texts[TEXT_VALUES].data;
	const char *end = at + v->texts[TEXT_VALUES].length;
	bool is_first = true;

	begin(f, out, FIELD_VALUES);
	buffer_text(out, is_json ? "[" : "");
	while (at < end) {
		uint32_t word;
		bool is_quoted;

		memcpy(&word, at, sizeof(word));
		at += sizeof(word);
		is_quoted = is_json && word != VALUE_NULL;
		if (!is_first)
			buffer_char(out, is_json ? ',' : ' ');
		is_first = false;
		buffer_text(out, is_quoted ? "\"" : "");
		put_value(out, at, word);
		buffer_text(out, is_quoted ? "\"" : "");
		at += word == VALUE_NULL ? 0 : word & ~VALUE_CUT;
	}
	if (v->head.flags & RECORD_MORE_VALUES)
		buffer_text(out, is_json ? is_first ? "\"...\"" : ",\"...\"" : is_first ? "..." : " ...");
	buffer_text(out, is_json ? "]" : "");
}

/* JSON: an array of "keyspace.table"; CSV: by blanks. */
static void put_tables(struct format *f, struct buffer *out, const struct record_view *v)
{
	const bool is_json = f->kind == FORMAT_JSON;
	const char *at = v->texts[TEXT_TABLES].data;
	const char *end = at + v->texts[TEXT_TABLES].length;
	bool is_first = true;

	if (at == end)
		return;
	begin(f, out, FIELD_TABLES);
	buffer_char(out, is_json ? '[' : '"');
	while (at < end) {
		const unsigned keyspace = (unsigned char)at[0], table = (unsigned char)at[1];

		at += 2;
		if (!is_first)
			buffer_char(out, is_json ? ',' : ' ');
		is_first = false;
		buffer_text(out, is_json ? "\"" : "");
		text_part(f, out, at, keyspace);
		if (keyspace > 0 && table > 0)
			buffer_char(out, '.');
		text_part(f, out, at + keyspace, table);
		buffer_text(out, is_json ? "\"" : "");
		at += keyspace + table;
	}
	buffer_char(out, is_json ? ']' : '"');
}

static void put_consistency(struct format *f, struct buffer *out, uint16_t code)
{
	char text[12];

	if (code == 0xFFFF)
		return;
	if (code < sizeof(consistency_words) / sizeof(consistency_words[0])) {
		put_word(f, out, FIELD_CONSISTENCY, consistency_words[code]);
		return;
	}
	snprintf(text, sizeof(text), "0x%04X", (unsigned)code);
	put_word(f, out, FIELD_CONSISTENCY, text);
}

static void put_part(struct format *f, struct buffer *out, const struct record *h, unsigned cluster, enum field first)
{
	put_word(f, out, first, WORD_OF(part_words, h->parts[cluster].state));
	if (h->parts[cluster].state >= CQLFERRY_PART_OK)
		put_number(f, out, first + 1, h->parts[cluster].duration_ns / 1000u);
	if (h->parts[cluster].state == CQLFERRY_PART_ERROR)
		put_code(f, out, first + 2, h->parts[cluster].error_code);
}

static void put_request(struct format *f, struct buffer *out, const struct record_view *v)
{
	static const struct cqlferry_text masked = { "***", 3 };
	const struct record *h = &v->head;
	const bool has_answer = h->outcome != CQLFERRY_ABANDONED;
	const bool is_error = h->outcome >= CQLFERRY_FAILED && h->outcome <= CQLFERRY_DENIED;
	bool is_masked;

	put_word(f, out, FIELD_OPCODE, opcode_word(h->opcode));
	put_word(f, out, FIELD_KIND, WORD_OF(kind_words, h->kind));
	if (h->verb && *h->verb)
		put_word(f, out, FIELD_VERB, h->verb);
	put_bool(f, out, FIELD_PREPARED, h->flags & RECORD_PREPARED);
	put_bool(f, out, FIELD_LWT, h->flags & RECORD_LWT);
	is_masked = put_statement(f, out, v);
	if (h->flags & RECORD_VALUES)
		put_values(f, out, v);
	put_text_if(f, out, FIELD_KEYSPACE, v->texts[TEXT_KEYSPACE]);
	put_tables(f, out, v);
	if (h->flags & RECORD_MORE_TABLES)
		put_bool(f, out, FIELD_TABLES_INCOMPLETE, true);
	put_consistency(f, out, h->consistency);
	put_word(f, out, FIELD_TO, WORD_OF(to_words, h->to));
	put_word(f, out, FIELD_DECIDED_BY, WORD_OF(decided_words, h->decided_by));
	put_text_if(f, out, FIELD_DECIDER, v->texts[TEXT_DECIDER]);
	put_text_if(f, out, FIELD_TAG, v->texts[TEXT_TAG]);
	put_word(f, out, FIELD_RESULT, WORD_OF(result_words, h->outcome));
	if (has_answer)
		put_word(f, out, FIELD_ANSWERED_BY, WORD_OF(cluster_words, h->answered_by));
	if (is_error)
		put_code(f, out, FIELD_ERROR_CODE, h->error_code);
	/* Of a statement about a role the password may stand behind the cut, and in the error. */
	is_masked |= (h->flags & RECORD_CUT) && (h->kind == CQLFERRY_SCHEMA || h->kind == CQLFERRY_UNKNOWN);
	if (v->texts[TEXT_ERROR].length > 0)
		put_text(f, out, FIELD_ERROR, is_masked ? masked : v->texts[TEXT_ERROR]);
	if (h->rows >= 0)
		put_number(f, out, FIELD_ROWS, (uint64_t)h->rows);
	put_number(f, out, FIELD_DURATION, h->duration_ns / 1000u);
	put_part(f, out, h, CQLFERRY_ORIGIN, FIELD_ORIGIN);
	put_part(f, out, h, CQLFERRY_TARGET, FIELD_TARGET);
}

static void put_login(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;

	put_word(f, out, FIELD_RESULT, WORD_OF(login_words, h->outcome));
	if (h->outcome == CQLFERRY_LOGIN_OK) {
		put_number(f, out, FIELD_DURATION, h->duration_ns / 1000u);
		return;
	}
	put_word(f, out, FIELD_ANSWERED_BY, WORD_OF(cluster_words, h->answered_by));
	put_code(f, out, FIELD_ERROR_CODE, h->error_code);
	put_text_if(f, out, FIELD_ERROR, v->texts[TEXT_ERROR]);
	put_number(f, out, FIELD_DURATION, h->duration_ns / 1000u);
}

void format_line(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;

	f->columns = 0;
	put_time(f, out, h->time);
	put_word(f, out, FIELD_EVENT, WORD_OF(event_words, h->event));
	if (h->event == RECORD_REQUEST)
		put_number(f, out, FIELD_ID, h->number);
	if (h->event <= RECORD_DISCONNECT)
		put_client(f, out, v);
	if (h->event == RECORD_REQUEST)
		put_request(f, out, v);
	else if (h->event == RECORD_LOGIN)
		put_login(f, out, v);
	else if (h->event >= RECORD_DROPPED)
		put_number(f, out, FIELD_COUNT, h->count);
	if (f->kind == FORMAT_CSV) {
		for (; f->columns < FIELDS - 1; f->columns++)
			buffer_char(out, ',');
		buffer_text(out, "\r\n");
	} else {
		buffer_add(out, "}\n", 2);
	}
}
