/*
 * record.h - what happened, as a worker writes it down and the writer reads it:
 * numbers, then the bytes of texts one behind the other. Only copied together:
 * what is made of them is the writer's work.
 */
#ifndef AUDIT_RECORD_H
#define AUDIT_RECORD_H

#include <cqlferry/plugin.h>
#include <stddef.h>

enum record_event {
	RECORD_REQUEST,
	RECORD_LOGIN,
	RECORD_CONNECT,
	RECORD_DISCONNECT,
	RECORD_DROPPED, /* `count` records were lost */
	RECORD_REFUSED, /* `count` requests were denied because the queue was full */
};
#define RECORD_EVENTS 6

/* How the statement is written. */
enum record_statement {
	RECORD_FULL,
	RECORD_SHAPE,
	RECORD_HASH,
	RECORD_NONE,
};

/* The first ones are the client's, the last ones what many requests have in common. */
enum record_text {
	TEXT_ADDRESS,
	TEXT_LISTENER,
	TEXT_USER,
	TEXT_DRIVER,
	TEXT_DRIVER_VERSION,
	TEXT_SUBJECT,
	TEXT_VALUES,
	TEXT_ERROR,
	TEXT_STATEMENT,
	TEXT_KEYSPACE,
	TEXT_TABLES,
	TEXT_DECIDER,
	TEXT_TAG,
};
#define RECORD_CLIENT_TEXTS 6
#define RECORD_COMMON TEXT_STATEMENT
#define RECORD_TEXTS 13

/* Bits of `flags`. */
#define RECORD_PREPARED 2u
#define RECORD_LWT 4u
#define RECORD_CUT 8u          /* the text of the statement is longer than what is here */
#define RECORD_MORE_TABLES 16u /* than are here, or the statement was not understood */
#define RECORD_VALUES 32u      /* values are written, be there any or not */
#define RECORD_MORE_VALUES 64u

/* Parts of it are compared as bytes, so each field of them is set, or zeroed before: see worker.c, begin_request(). */
struct record {
	uint64_t time;   /* nanoseconds since 1970 */
	uint64_t number; /* the request's */
	uint64_t duration_ns;
	uint64_t count; /* DROPPED, REFUSED */
	int64_t rows;   /* -1: none */
	struct {
		uint64_t duration_ns;
		uint32_t error_code;
		uint8_t state;
	} parts[CQLFERRY_CLUSTERS];
	uint32_t error_code;
	uint8_t event;
	/* From here to the lengths of its texts: who the client is, all that a line says of it. */
	uint64_t client; /* its number */
	uint16_t port;
	uint8_t version;
	bool is_tls;
	uint32_t lengths[RECORD_TEXTS];
	/* From lengths[RECORD_COMMON] to the end: what a line says of a request without its times. */
	const char *verb;
	uint32_t statement_length; /* of the whole text */
	uint32_t statement_max;    /* bytes of a line's statement */
	uint32_t flags;
	uint16_t consistency;
	uint8_t opcode;
	uint8_t kind;
	uint8_t statement; /* enum record_statement */
	uint8_t outcome;
	uint8_t to;
	uint8_t answered_by;
	uint8_t decided_by;
	uint8_t unused[3];
};
_Static_assert(offsetof(struct record, lengths) == offsetof(struct record, client) + 12 &&
		       offsetof(struct record, verb) == offsetof(struct record, lengths[RECORD_TEXTS]) &&
		       offsetof(struct record, unused[3]) == sizeof(struct record),
	       "what is compared as bytes has no holes");

/* Longer texts are cut; those of statements and values have limits of their own. */
#define RECORD_NAME_MAX 256u
#define RECORD_ERROR_MAX 1024u
#define RECORD_TABLES_MAX 32u
#define RECORD_VALUES_MAX 128u
/* Bytes of all values together. */
#define RECORD_VALUES_SIZE 16384u

/*
 * Values one behind the other: a word with the length, VALUE_NULL for null or unset, with VALUE_CUT when there was
 * more, then the bytes. Tables: a byte each with the lengths of keyspace and table, then their bytes.
 */
#define VALUE_NULL 0xFFFFFFFFu
#define VALUE_CUT 0x80000000u

/* A record that was read: where each text is, one behind the other. */
struct record_view {
	struct record head;
	struct cqlferry_text texts[RECORD_TEXTS];
};

/* False: the lengths do not fit `size`. Views into `bytes`. */
bool record_read(struct record_view *view, const uint8_t *bytes, uint32_t size);

/* Less of a text, not cut within a character of UTF-8. */
struct cqlferry_text record_shorter(struct cqlferry_text text, uint32_t max);

/* A text of at most `max` bytes. */
static inline struct cqlferry_text record_cut(struct cqlferry_text text, uint32_t max)
{
	return __builtin_expect(text.length <= max, 1) ? text : record_shorter(text, max);
}

/* The texts of a client, which all of its records have, one behind the other. */
struct record_client {
	uint32_t lengths[RECORD_CLIENT_TEXTS];
	uint32_t size;
	char *bytes;
};

/* The others: texts[TEXT_STATEMENT - RECORD_CLIENT_TEXTS] is the statement's. */
#define RECORD_OWN_TEXTS (RECORD_TEXTS - RECORD_CLIENT_TEXTS)
#define RECORD_OWN(text) ((text)-RECORD_CLIENT_TEXTS)

/* Bytes of a record with these texts. */
static inline uint32_t record_size(const struct record_client *client, const struct cqlferry_text *texts)
{
	uint32_t size = (uint32_t)sizeof(struct record) + client->size;

	for (unsigned i = 0; i < RECORD_OWN_TEXTS; i++)
		size += (uint32_t)texts[i].length;
	return size;
}

/* Writes the head, whose lengths are set here, and the texts to `out`, which has room for record_size(). */
void record_write(uint8_t *out, struct record *head, const struct record_client *client,
		  const struct cqlferry_text *texts);

/* The encoded tables of a statement into `out` of `size` bytes; returns the bytes, and sets *more when some are left out. */
uint32_t record_tables(const struct cqlferry_table *tables, uint32_t count, uint8_t *out, uint32_t size, bool *more);
/* Appends a value to `out` + `at` if it fits into `size`; returns the new end, or 0: it does not fit. */
uint32_t record_value(uint8_t *out, uint32_t at, uint32_t size, const struct cqlferry_text *value, uint32_t max);

#endif
