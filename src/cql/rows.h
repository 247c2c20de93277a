/*
 * rows.h - reads RESULT/ROWS bodies (only those of the control connections:
 * system.local and system.peers) into rows of raw values, and writes such
 * bodies for the system tables that the proxy answers.
 *
 * Column types are kept as the raw bytes of their [option], so that values can
 * be passed on without understanding them.
 */
#ifndef CQL_ROWS_H
#define CQL_ROWS_H

#include "cql/message.h"
#include "cql/writer.h"

struct rows_column {
	struct strview name;
	struct bytesview type; /* the raw [option], nested ones included */
};

struct rows {
	uint32_t column_count;
	struct rows_column *columns; /* owned */
	uint32_t row_count;
	struct bytesview *values; /* owned; row_count * column_count, views into the body */
	struct bytesview paging_state;
};

/*
 * Parses a RESULT/ROWS body with metadata from `offset` (behind the preamble,
 * at the result kind). The views point into the body, which must stay alive.
 * False (and nothing owned) when it is no such body; *why says where it broke.
 * Counts are checked against the bytes present before anything is allocated.
 */
MUSTCHECK bool rows_parse(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version, struct rows *out,
			  const char **why);
void rows_free(struct rows *rows);

/*
 * Only how many rows there are, also of a body without metadata, and with its
 * columns walked over but not kept.
 */
MUSTCHECK bool rows_count(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version, uint32_t *count);

/* The index of a column, or -1. */
int rows_find(const struct rows *rows, const char *name);
/* The value at (row, column name); null when there is no such column. */
struct bytesview rows_value(const struct rows *rows, uint32_t row, const char *name);

/* Walks over one [option] (a column type, nested ones included). */
MUSTCHECK bool rows_skip_type(struct reader *r);

/* ---- writing ---- */

/* Kind ROWS, metadata with a global table spec; then call rows_write_column() column_count times, then
 * rows_write_count(), then write_bytes() for every value, row by row. */
void rows_write_head(struct writer *w, uint32_t column_count, struct strview keyspace, struct strview table);
void rows_write_column(struct writer *w, struct strview name, struct bytesview type);
void rows_write_count(struct writer *w, uint32_t row_count);

/*
 * Changes a whole body as written above, from `offset` on, for a driver that
 * expects another form of it.
 *
 * narrow: v2 has 2-byte lengths within lists, sets and maps (native protocol
 * v2, section 6). A value that has no such form stays as it is.
 * last_page: the first and last of DSE's continuous pages, for a request that
 * asked for such.
 */
void rows_narrow_collections(struct writer *w, uint32_t offset);
void rows_make_last_page(struct writer *w, uint32_t offset);

/* Raw [option]s for the types that the system tables need. */
extern const struct bytesview rows_type_varchar, rows_type_inet, rows_type_uuid, rows_type_int, rows_type_bigint,
	rows_type_set_varchar, rows_type_map_uuid_blob, rows_type_boolean;

#endif
