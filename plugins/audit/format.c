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

#include "field.h"
#include "shape.h"

static const char hex_digits[] = "0123456789abcdef";

const char *format_field(unsigned index)
{
	return index < FIELDS ? field_names[index].text : NULL;
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
		buffer_text(out, field_names[i].text);
	}
	buffer_text(out, "\r\n");
}

void format_fini(struct format *f)
{
	buffer_free(&f->text);
	buffer_free(&f->piece);
	memo_fini(&f->clients);
	memo_fini(&f->requests);
}

/* ---- parts of a line ---- */

static const char *word_of(const char *const *words, unsigned count, unsigned index)
{
	return index < count ? words[index] : "unknown";
}

#define WORD_OF(words, index) word_of(words, sizeof(words) / sizeof((words)[0]), index)

#define QUOTED(word) BUFFER_SHORT("\"" word "\"")
/* These two stand in each line, with their quotes. */
static const struct buffer_short event_words[RECORD_EVENTS] = { QUOTED("request"), QUOTED("login"),
								QUOTED("connect"), QUOTED("disconnect"),
								QUOTED("dropped"), QUOTED("refused") };
static const struct buffer_short part_words[] = { QUOTED("unsent"), QUOTED("pending"), QUOTED("ok"), QUOTED("error"),
						  QUOTED("unknown") };
#define PART_UNKNOWN 4
static const char *const kind_words[] = { "read", "write", "schema", "use", "unknown" };
static const char *const to_words[] = { "none", "origin", "target", "both" };
static const char *const cluster_words[] = { "origin", "target", "proxy" };
static const char *const decided_words[] = { "default", "protocol", "rule", "script", "plugin" };
static const char *const result_words[] = { "ok", "error", "refused", "denied", "local", "abandoned" };
static const char *const login_words[] = { "ok", "refused", "denied", "failed" };
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

static void make_client(struct format *f, struct buffer *out, const struct record_view *v)
{
	field_number(f, out, FIELD_CONNECTION, v->head.client);
	field_text_if(f, out, FIELD_CLIENT, v->texts[TEXT_ADDRESS]);
	field_number(f, out, FIELD_PORT, v->head.port);
	field_text_if(f, out, FIELD_LISTENER, v->texts[TEXT_LISTENER]);
	field_text_if(f, out, FIELD_USER, v->texts[TEXT_USER]);
	field_text_if(f, out, FIELD_DRIVER, v->texts[TEXT_DRIVER]);
	field_text_if(f, out, FIELD_DRIVER_VERSION, v->texts[TEXT_DRIVER_VERSION]);
	if (v->head.version > 0)
		field_number(f, out, FIELD_PROTOCOL, v->head.version);
	field_bool(f, out, FIELD_TLS, v->head.is_tls);
	field_text_if(f, out, FIELD_TLS_SUBJECT, v->texts[TEXT_SUBJECT]);
}

static void put_client(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;
	const char *texts = v->texts[0].data, *end = v->texts[RECORD_CLIENT_TEXTS].data;
	const struct memo_key key = {
		.fixed = (const uint8_t *)&h->client,
		.fixed_size = offsetof(struct record, lengths[RECORD_CLIENT_TEXTS]) - offsetof(struct record, client),
		.texts = (const uint8_t *)texts,
		.texts_size = (uint32_t)(end - texts),
		.is_fixed_telling = true,
	};
	const struct memo_piece *known;

	field_skip(f, out, FIELD_CONNECTION);
	known = memo_find(&f->clients, &key);
	if (known) {
		buffer_add(out, known->text, known->size);
		f->columns = known->columns;
		return;
	}
	buffer_clear(&f->piece);
	make_client(f, &f->piece, v);
	out->has_failed |= f->piece.has_failed;
	buffer_add(out, f->piece.data, f->piece.len);
	if (!out->has_failed) {
		const struct memo_piece piece = { f->piece.data, (uint32_t)f->piece.len, 0, f->columns, 0 };

		memo_keep(&f->clients, &key, &piece);
	}
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
	field_word(f, out, FIELD_STATEMENT_HASH, text);
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
		field_text(f, out, FIELD_STATEMENT, shown);
	}
	field_number(f, out, FIELD_STATEMENT_LENGTH, h->statement_length);
	if (is_cut && h->statement != RECORD_NONE)
		field_bool(f, out, FIELD_STATEMENT_CUT, true);
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

	field_begin(f, out, FIELD_VALUES);
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
	field_begin(f, out, FIELD_TABLES);
	buffer_char(out, is_json ? '[' : '"');
	while (at < end) {
		const unsigned keyspace = (unsigned char)at[0], table = (unsigned char)at[1];

		at += 2;
		if (!is_first)
			buffer_char(out, is_json ? ',' : ' ');
		is_first = false;
		buffer_text(out, is_json ? "\"" : "");
		field_text_part(f, out, at, keyspace);
		if (keyspace > 0 && table > 0)
			buffer_char(out, '.');
		field_text_part(f, out, at + keyspace, table);
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
		field_word(f, out, FIELD_CONSISTENCY, consistency_words[code]);
		return;
	}
	snprintf(text, sizeof(text), "0x%04X", (unsigned)code);
	field_word(f, out, FIELD_CONSISTENCY, text);
}

static void put_part(struct format *f, struct buffer *out, const struct record *h, unsigned cluster, enum field first)
{
	const uint8_t state = h->parts[cluster].state;

	field_quoted(f, out, first, &part_words[state < PART_UNKNOWN ? state : PART_UNKNOWN]);
	if (state >= CQLFERRY_PART_OK)
		field_number(f, out, first + 1, h->parts[cluster].duration_ns / 1000u);
	if (state == CQLFERRY_PART_ERROR)
		field_code(f, out, first + 2, h->parts[cluster].error_code);
}

/* All that stands before the times, but for values. True: something of the statement was masked. */
static bool make_request(struct format *f, struct buffer *out, const struct record_view *v, struct memo_piece *piece)
{
	const struct record *h = &v->head;
	bool is_masked;

	buffer_clear(out);
	field_word(f, out, FIELD_OPCODE, opcode_word(h->opcode));
	field_word(f, out, FIELD_KIND, WORD_OF(kind_words, h->kind));
	if (h->verb && *h->verb)
		field_word(f, out, FIELD_VERB, h->verb);
	field_bool(f, out, FIELD_PREPARED, h->flags & RECORD_PREPARED);
	field_bool(f, out, FIELD_LWT, h->flags & RECORD_LWT);
	is_masked = put_statement(f, out, v);
	out->has_failed |= f->text.has_failed;
	piece->split = (uint32_t)out->len;
	piece->split_columns = f->columns;
	if (h->flags & RECORD_VALUES && f->kind == FORMAT_CSV)
		f->columns = FIELD_VALUES;
	field_text_if(f, out, FIELD_KEYSPACE, v->texts[TEXT_KEYSPACE]);
	put_tables(f, out, v);
	if (h->flags & RECORD_MORE_TABLES)
		field_bool(f, out, FIELD_TABLES_INCOMPLETE, true);
	put_consistency(f, out, h->consistency);
	field_word(f, out, FIELD_TO, WORD_OF(to_words, h->to));
	field_word(f, out, FIELD_DECIDED_BY, WORD_OF(decided_words, h->decided_by));
	field_text_if(f, out, FIELD_DECIDER, v->texts[TEXT_DECIDER]);
	field_text_if(f, out, FIELD_TAG, v->texts[TEXT_TAG]);
	field_word(f, out, FIELD_RESULT, WORD_OF(result_words, h->outcome));
	if (h->outcome != CQLFERRY_ABANDONED)
		field_word(f, out, FIELD_ANSWERED_BY, WORD_OF(cluster_words, h->answered_by));
	piece->text = out->data;
	piece->size = (uint32_t)out->len;
	piece->columns = f->columns;
	return is_masked;
}

static void put_piece(struct format *f, struct buffer *out, const struct record_view *v, const struct memo_piece *piece)
{
	if (v->head.flags & RECORD_VALUES) {
		buffer_add(out, piece->text, piece->split);
		f->columns = piece->split_columns;
		put_values(f, out, v);
		buffer_add(out, piece->text + piece->split, piece->size - piece->split);
	} else {
		buffer_add(out, piece->text, piece->size);
	}
	f->columns = piece->columns;
}

/* The same, with values. What has a password in it is never kept. */
static bool put_common(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;
	const char *texts = v->texts[RECORD_COMMON].data;
	const struct cqlferry_text *last = &v->texts[RECORD_TEXTS - 1];
	const struct memo_key key = {
		.fixed = (const uint8_t *)&h->lengths[RECORD_COMMON],
		.fixed_size = sizeof(*h) - offsetof(struct record, lengths[RECORD_COMMON]),
		.texts = (const uint8_t *)texts,
		.texts_size = (uint32_t)(last->data + last->length - texts),
	};
	const struct memo_piece *known;
	struct memo_piece piece;
	bool is_masked;

	field_skip(f, out, FIELD_OPCODE);
	known = memo_find(&f->requests, &key);
	if (known) {
		put_piece(f, out, v, known);
		return false;
	}
	is_masked = make_request(f, &f->piece, v, &piece);
	out->has_failed |= f->piece.has_failed;
	put_piece(f, out, v, &piece);
	if (!is_masked && !out->has_failed)
		memo_keep(&f->requests, &key, &piece);
	return is_masked;
}

static void put_request(struct format *f, struct buffer *out, const struct record_view *v)
{
	static const struct cqlferry_text masked = { "***", 3 };
	const struct record *h = &v->head;
	bool is_masked = put_common(f, out, v);

	if (h->outcome >= CQLFERRY_FAILED && h->outcome <= CQLFERRY_DENIED)
		field_code(f, out, FIELD_ERROR_CODE, h->error_code);
	/* Of a statement about a role the password may stand behind the cut, and in the error. */
	is_masked |= (h->flags & RECORD_CUT) && (h->kind == CQLFERRY_SCHEMA || h->kind == CQLFERRY_UNKNOWN);
	if (v->texts[TEXT_ERROR].length > 0)
		field_text(f, out, FIELD_ERROR, is_masked ? masked : v->texts[TEXT_ERROR]);
	if (h->rows >= 0)
		field_number(f, out, FIELD_ROWS, (uint64_t)h->rows);
	field_number(f, out, FIELD_DURATION, h->duration_ns / 1000u);
	put_part(f, out, h, CQLFERRY_ORIGIN, FIELD_ORIGIN);
	put_part(f, out, h, CQLFERRY_TARGET, FIELD_TARGET);
}

static void put_login(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;

	field_word(f, out, FIELD_RESULT, WORD_OF(login_words, h->outcome));
	if (h->outcome == CQLFERRY_LOGIN_OK) {
		field_number(f, out, FIELD_DURATION, h->duration_ns / 1000u);
		return;
	}
	field_word(f, out, FIELD_ANSWERED_BY, WORD_OF(cluster_words, h->answered_by));
	field_code(f, out, FIELD_ERROR_CODE, h->error_code);
	field_text_if(f, out, FIELD_ERROR, v->texts[TEXT_ERROR]);
	field_number(f, out, FIELD_DURATION, h->duration_ns / 1000u);
}

void format_line(struct format *f, struct buffer *out, const struct record_view *v)
{
	const struct record *h = &v->head;

	field_time(f, out, h->time);
	field_quoted(f, out, FIELD_EVENT, &event_words[h->event % RECORD_EVENTS]);
	if (h->event == RECORD_REQUEST)
		field_number(f, out, FIELD_ID, h->number);
	if (h->event <= RECORD_DISCONNECT)
		put_client(f, out, v);
	if (h->event == RECORD_REQUEST)
		put_request(f, out, v);
	else if (h->event == RECORD_LOGIN)
		put_login(f, out, v);
	else if (h->event >= RECORD_DROPPED)
		field_number(f, out, FIELD_COUNT, h->count);
	if (f->kind == FORMAT_CSV) {
		for (; f->columns < FIELDS - 1; f->columns++)
			buffer_char(out, ',');
		buffer_text(out, "\r\n");
	} else {
		buffer_add(out, "}\n", 2);
	}
}
