/*
 * message.h - views into the bodies of frames: where things are, nothing is
 * copied. Every view points into the body it was parsed from and dies with it.
 *
 * Bodies are parsed only as far as the proxy needs them: bound values are
 * skipped by their lengths, the rows of an answer are not walked, unknown
 * consistencies and flags pass. What is wrong there is the cluster's to report.
 *
 * Parsers return false when the body is too short or a length in it makes no
 * sense; *why then names the field ("query text", "consistency", ...), a string
 * literal.
 */
#ifndef CQL_MESSAGE_H
#define CQL_MESSAGE_H

#include "cql/frame.h"

/*
 * What may stand in front of the body proper. Requests: the custom payload of
 * v4 and up (flag 0x04). Answers: tracing id (0x02), warnings (0x08), custom
 * payload (0x04), in this order (native protocol v5, section 2.2).
 * On success *offset is where the body proper starts.
 */
MUSTCHECK bool message_skip_preamble(const uint8_t *body, uint32_t len, uint8_t flags, bool is_response,
				     uint32_t *offset, const char **why);

/* The fixed part of <query_parameters> and where the variable parts lie (offsets count from the start of the body). */
struct query_params {
	uint8_t version; /* of the frame: message_value() reads lengths as that version means them */
	uint16_t consistency;
	uint32_t consistency_offset;
	uint32_t flags; /* those that the version has */
	uint32_t flags_offset;
	uint8_t flags_size; /* 1 up to v4, 4 in v5 and DSE's */
	uint16_t value_count;
	uint32_t values_offset;        /* of the first value (or name), 0 without values */
	struct bytesview paging_state; /* is_null when there is none */
	uint32_t paging_state_offset;  /* of its 4-byte length */
	uint32_t page_size;            /* as its unsigned bits; 0 when absent */
	uint16_t serial_consistency;   /* 0 when absent */
	uint32_t timestamp_offset;     /* where a timestamp stands, or would: behind the serial consistency */
	bool has_timestamp;
	uint64_t timestamp;
	struct strview keyspace; /* v5 and DSE v2; len 0 when absent */
	uint32_t next_pages;     /* DSE v2 with QUERY_CONTINUOUS_PAGING: pages that are welcome; 0: any number */
};

struct query_message {
	struct strview text;
	uint32_t text_offset; /* of its 4-byte length */
	struct query_params params;
};

struct prepare_message {
	struct strview text;
	uint32_t text_offset;
	uint32_t flags;          /* v5 and DSE v2 */
	struct strview keyspace; /* the same; len 0 when absent */
};

struct execute_message {
	struct bytesview id;
	uint32_t id_offset;                  /* of the id's first byte, behind its 2-byte length */
	struct bytesview result_metadata_id; /* v5 and DSE v2 */
	struct query_params params;
};

struct batch_child {
	bool is_prepared;
	struct strview text; /* when not prepared */
	struct bytesview id; /* when prepared */
	uint32_t id_offset;  /* of the id's first byte */
	uint16_t value_count;
	uint32_t values_offset;
};

struct batch_message {
	uint8_t type; /* enum cql_batch_type */
	uint16_t child_count;
	uint32_t children_offset;
	/* behind the children: */
	uint16_t consistency;
	uint32_t consistency_offset;
	uint32_t flags;        /* those that the version has */
	uint32_t flags_offset; /* 0 in v2, which ends with the consistency */
	uint8_t flags_size;    /* as in query_params */
	uint16_t serial_consistency;
	uint32_t timestamp_offset; /* as in query_params */
	bool has_timestamp;
	uint64_t timestamp;
	struct strview keyspace; /* v5 and DSE v2 */
};

/*
 * `offset` is what message_skip_preamble() gave. The values are skipped by
 * their lengths, so that what stands behind them is found; a text that only
 * has to be classified needs no more than message_query_text().
 */
MUSTCHECK bool message_parse_query(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
				   struct query_message *out, const char **why);
MUSTCHECK bool message_parse_prepare(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
				     struct prepare_message *out, const char **why);
MUSTCHECK bool message_parse_execute(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
				     struct execute_message *out, const char **why);
MUSTCHECK bool message_parse_batch(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
				   struct batch_message *out, const char **why);

/* Of the body of a batch with the flags of its frame: where its children begin, and their number. */
MUSTCHECK bool message_batch_begin(const uint8_t *body, uint32_t len, uint8_t flags, uint32_t *children_offset,
				   unsigned *child_count);
/* Walks over the children of a parsed batch: start with *offset = m->children_offset, call child_count times. */
MUSTCHECK bool message_batch_child(const uint8_t *body, uint32_t len, uint32_t *offset, struct batch_child *out);

/*
 * The i-th bound value of a QUERY or EXECUTE. With names (flag 0x40) *name is
 * the name, else empty. False when there is no such value.
 */
MUSTCHECK bool message_value(const uint8_t *body, uint32_t len, const struct query_params *params, unsigned index,
			     struct strview *name, struct bytesview *value);

/* REVISE of DSE: about an earlier request of the same connection. */
struct revise_message {
	uint32_t kind;          /* enum cql_revision */
	uint32_t stream;        /* the stream id of that request, as an [int] */
	uint32_t stream_offset; /* where it stands */
	uint32_t next_pages;    /* REVISE_MORE_PAGES */
};
MUSTCHECK bool message_parse_revise(const uint8_t *body, uint32_t len, uint32_t offset, struct revise_message *out,
				    const char **why);

/* STARTUP and SUPPORTED-like bodies: calls back for each pair of a [string map]. */
MUSTCHECK bool message_each_option(const uint8_t *body, uint32_t len,
				   bool (*each)(void *arg, struct strview key, struct strview value), void *arg);
/* A [string multimap] (SUPPORTED): calls back for each (key, value). */
MUSTCHECK bool message_each_supported(const uint8_t *body, uint32_t len,
				      bool (*each)(void *arg, struct strview key, struct strview value), void *arg);

/* REGISTER: a [string list]; bits of enum event_kind; unknown names are bad, as in Cassandra. */
enum event_kind {
	EVENT_TOPOLOGY_CHANGE = 1,
	EVENT_STATUS_CHANGE = 2,
	EVENT_SCHEMA_CHANGE = 4,
};
MUSTCHECK bool message_parse_register(const uint8_t *body, uint32_t len, unsigned *kinds, const char **why);
/* The kind of an EVENT body, 0 when it is none of the three. */
unsigned message_event_kind(const uint8_t *body, uint32_t len);

/* RESULT/PREPARED (native protocol v5, section 4.2.5.4), the whole body from `offset` on. */
struct prepared_message {
	struct bytesview id;
	struct bytesview result_metadata_id; /* v5 and DSE v2; what follows stands behind it */
	uint32_t bind_flags;
	uint32_t bind_count;
	uint32_t pk_count;
	/* Offsets in the body. Of the bind metadata: its flags, its count, then (where the version has them) the number of
	 * partition key indexes and these, then (with a global spec) keyspace and table, then the columns. */
	uint32_t bind_offset;
	uint32_t pk_offset;           /* of the number of indexes; 0: the version has none */
	uint32_t spec_offset;         /* behind the indexes */
	uint32_t columns_offset;      /* of the first column */
	struct bytesview bind_spec;   /* the bytes of the bind metadata, pk indexes, table and column specs included */
	struct bytesview result_spec; /* the bytes of the result metadata from its flags on */
};
MUSTCHECK bool message_parse_prepared(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
				      struct prepared_message *out, const char **why);

/* True when one of the bind variables is of this type (enum cql_type), at the top of it: not inside a collection. */
bool message_prepared_binds(const struct prepared_message *m, uint8_t version, uint16_t type);
/* A bind variable of PREPARED: its name, and where its specification begins and ends. */
struct bind_column {
	struct strview name;
	uint32_t offset;
	uint32_t end;
};
/* Walks over them: start with *offset = m->columns_offset, call bind_count times. */
MUSTCHECK bool message_bind_column(const uint8_t *body, uint32_t len, const struct prepared_message *m,
				   uint32_t *offset, struct bind_column *out);

/* An ERROR body: code, text and where the fields behind the text start. */
struct error_message {
	uint32_t code;
	struct strview text;
	uint32_t text_offset; /* of the 2-byte length of the text */
	uint32_t rest_offset;
	struct bytesview unprepared_id; /* for UNPREPARED */
};
MUSTCHECK bool message_parse_error(const uint8_t *body, uint32_t len, uint32_t offset, struct error_message *out);

/*
 * Of a RESULT/ROWS body only its head. `paging_state` is a view, its 4-byte
 * length stands at paging_state_offset; is_null without more pages.
 */
struct rows_head {
	uint32_t flags;
	uint32_t column_count;
	struct bytesview paging_state;
	uint32_t paging_state_offset;
};
MUSTCHECK bool message_parse_rows_head(const uint8_t *body, uint32_t len, uint32_t offset, struct rows_head *out);

/* SASL PLAIN (RFC 4616): authorisation id NUL user NUL password. False when it is something else. */
struct sasl_plain {
	struct strview authzid;
	struct strview user;
	struct strview password;
};
MUSTCHECK bool message_parse_sasl_plain(struct bytesview token, struct sasl_plain *out);

#endif
