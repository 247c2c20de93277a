/* rows.c - RESULT/ROWS bodies, read for the control connections and written for the system tables. */
#include "cql/rows.h"

#include <stdlib.h>
#include <string.h>

#include "cql/tables.h"
#include "cql/version.h"

/*
 * Types nested deeper than this are refused: Cassandra has no such tables, and
 * two bytes per level could otherwise exhaust our stack.
 */
#define TYPE_DEPTH_MAX 64
/* The fewest bytes that a column specification (two [short]s) and a value (its length) can have. */
#define COLUMN_MIN_LEN 4
#define VALUE_MIN_LEN 4

static void skip_type(struct reader *r, unsigned depth)
{
	uint16_t id = read_short(r);
	uint16_t n;

	if (depth >= TYPE_DEPTH_MAX) {
		r->bad = true;
		return;
	}
	switch (id) {
	case TYPE_CUSTOM:
		read_string(r);
		break;
	case TYPE_LIST:
	case TYPE_SET:
		skip_type(r, depth + 1);
		break;
	case TYPE_MAP:
		skip_type(r, depth + 1);
		skip_type(r, depth + 1);
		break;
	case TYPE_UDT:
		read_string(r); /* keyspace */
		read_string(r); /* type name */
		for (n = read_short(r); n > 0 && reader_ok(r); n--) {
			read_string(r); /* field name */
			skip_type(r, depth + 1);
		}
		break;
	case TYPE_TUPLE:
		for (n = read_short(r); n > 0 && reader_ok(r); n--)
			skip_type(r, depth + 1);
		break;
	default: /* native types have no further description */
		break;
	}
}

bool rows_skip_type(struct reader *r)
{
	skip_type(r, 0);
	return reader_ok(r);
}

static struct bytesview read_type(struct reader *r)
{
	const uint8_t *start = r->p;

	if (!rows_skip_type(r))
		return (struct bytesview){ .is_null = true };
	return (struct bytesview){ .p = start, .len = (uint32_t)(r->p - start) };
}

static bool read_columns(struct reader *r, uint32_t flags, struct rows *out, const char **why)
{
	bool is_global = (flags & ROWS_GLOBAL_TABLES_SPEC) != 0;

	*why = "table name";
	if (is_global) {
		read_string(r);
		read_string(r);
	}
	if (!reader_ok(r))
		return false;
	*why = "column count";
	if (out->column_count > reader_left(r) / COLUMN_MIN_LEN)
		return false;
	*why = "memory for columns";
	out->columns = calloc(MAX(out->column_count, 1u), sizeof(*out->columns));
	if (!out->columns)
		return false;
	*why = "column specification";
	for (uint32_t i = 0; i < out->column_count && reader_ok(r); i++) {
		if (!is_global) {
			read_string(r);
			read_string(r);
		}
		out->columns[i].name = read_string(r);
		out->columns[i].type = read_type(r);
	}
	return reader_ok(r);
}

static bool read_values(struct reader *r, struct rows *out, const char **why)
{
	uint64_t count;

	out->row_count = read_int(r);
	count = (uint64_t)out->row_count * out->column_count;
	*why = "row count";
	/* Rows without columns have no bytes that would bound their number. */
	if (!reader_ok(r) || (out->column_count == 0 && out->row_count > 0) || count > reader_left(r) / VALUE_MIN_LEN)
		return false;
	*why = "memory for values";
	out->values = calloc(MAX(count, UINT64_C(1)), sizeof(*out->values));
	if (!out->values)
		return false;
	*why = "value";
	for (uint64_t i = 0; i < count && reader_ok(r); i++)
		out->values[i] = read_bytes(r);
	return reader_ok(r);
}

/* What stands in front of the columns. */
static bool read_head(struct reader *r, uint8_t version, struct rows *out, uint32_t *flags, const char **why)
{
	*why = "result kind";
	if (read_int(r) != RESULT_ROWS || !reader_ok(r))
		return false;
	*why = "rows metadata";
	*flags = read_int(r);
	out->column_count = read_int(r);
	if (*flags & ROWS_HAS_MORE_PAGES)
		out->paging_state = read_bytes(r);
	if (version_has(version, VERSION_METADATA_ID) && (*flags & ROWS_METADATA_CHANGED))
		read_short_bytes(r);
	if (version_has(version, VERSION_CONTINUOUS_PAGING) && (*flags & ROWS_CONTINUOUS_PAGE))
		read_int(r);
	return reader_ok(r);
}

static bool read_rows(struct reader *r, uint8_t version, struct rows *out, const char **why)
{
	uint32_t flags;

	if (!read_head(r, version, out, &flags, why) || (flags & ROWS_NO_METADATA))
		return false;
	return read_columns(r, flags, out, why) && read_values(r, out, why);
}

bool rows_parse(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version, struct rows *out, const char **why)
{
	struct reader r = reader_from(body, len, offset);

	*out = (struct rows){ .paging_state = { .is_null = true } };
	if (read_rows(&r, version, out, why))
		return true;
	rows_free(out);
	return false;
}

static bool skip_columns(struct reader *r, uint32_t flags, uint32_t count)
{
	const bool is_global = (flags & ROWS_GLOBAL_TABLES_SPEC) != 0;

	if (is_global) {
		read_string(r);
		read_string(r);
	}
	for (uint32_t i = 0; i < count && reader_ok(r); i++) {
		if (!is_global) {
			read_string(r);
			read_string(r);
		}
		read_string(r);
		if (!rows_skip_type(r))
			return false;
	}
	return reader_ok(r);
}

bool rows_count(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version, uint32_t *count)
{
	struct reader r = reader_from(body, len, offset);
	struct rows head;
	uint32_t flags;
	const char *why;

	if (!read_head(&r, version, &head, &flags, &why))
		return false;
	if (!(flags & ROWS_NO_METADATA) && !skip_columns(&r, flags, head.column_count))
		return false;
	*count = read_int(&r);
	return reader_ok(&r);
}

void rows_free(struct rows *rows)
{
	free(rows->columns);
	free(rows->values);
	*rows = (struct rows){ .paging_state = { .is_null = true } };
}

int rows_find(const struct rows *rows, const char *name)
{
	struct strview wanted = sv_from(name);

	for (uint32_t i = 0; i < rows->column_count; i++) {
		if (sv_equal(rows->columns[i].name, wanted))
			return (int)i;
	}
	return -1;
}

struct bytesview rows_value(const struct rows *rows, uint32_t row, const char *name)
{
	int column = rows_find(rows, name);

	if (column < 0 || row >= rows->row_count)
		return (struct bytesview){ .is_null = true };
	return rows->values[(size_t)row * rows->column_count + (uint32_t)column];
}

/* ---- writing ---- */

#define TYPE(...)                                                                                                      \
	{                                                                                                              \
		.p = (const uint8_t[]){ __VA_ARGS__ }, .len = sizeof((const uint8_t[]){ __VA_ARGS__ })                 \
	}

const struct bytesview rows_type_varchar = TYPE(0, TYPE_VARCHAR);
const struct bytesview rows_type_inet = TYPE(0, TYPE_INET);
const struct bytesview rows_type_uuid = TYPE(0, TYPE_UUID);
const struct bytesview rows_type_int = TYPE(0, TYPE_INT);
const struct bytesview rows_type_bigint = TYPE(0, TYPE_BIGINT);
const struct bytesview rows_type_boolean = TYPE(0, TYPE_BOOLEAN);
const struct bytesview rows_type_set_varchar = TYPE(0, TYPE_SET, 0, TYPE_VARCHAR);
const struct bytesview rows_type_map_uuid_blob = TYPE(0, TYPE_MAP, 0, TYPE_UUID, 0, TYPE_BLOB);

void rows_write_head(struct writer *w, uint32_t column_count, struct strview keyspace, struct strview table)
{
	write_int(w, RESULT_ROWS);
	write_int(w, ROWS_GLOBAL_TABLES_SPEC);
	write_int(w, column_count);
	write_string(w, keyspace);
	write_string(w, table);
}

void rows_write_column(struct writer *w, struct strview name, struct bytesview type)
{
	write_string(w, name);
	write_raw(w, type.p, type.len);
}

void rows_write_count(struct writer *w, uint32_t row_count)
{
	write_int(w, row_count);
}

/* ---- other forms ---- */

/* The value of a list, set or map with its lengths in two bytes; false when one does not fit, or it is none. */
static bool narrow(struct bytesview value, bool is_map, struct writer *out)
{
	struct reader r = reader_over(value.p, value.len);
	uint32_t items = read_int(&r);

	if (items > UINT16_MAX)
		return false;
	write_short(out, (uint16_t)items);
	if (is_map)
		items *= 2;
	for (; items > 0 && reader_ok(&r); items--) {
		const struct bytesview item = read_bytes(&r);

		if (item.is_null || item.len > UINT16_MAX)
			return false;
		write_short_bytes(out, item.p, (uint16_t)item.len);
	}
	return reader_ok(&r) && reader_left(&r) == 0;
}

static void write_narrow(struct writer *out, struct bytesview type, struct bytesview value)
{
	const uint16_t id = get_u16(type.p);
	struct writer narrowed;

	if (value.is_null || (id != TYPE_LIST && id != TYPE_SET && id != TYPE_MAP)) {
		write_bytes(out, value.is_null ? NULL : value.p, value.len);
		return;
	}
	writer_init(&narrowed);
	if (narrow(value, id == TYPE_MAP, &narrowed))
		write_bytes(out, narrowed.data, narrowed.len);
	else
		write_bytes(out, value.p, value.len);
	writer_free(&narrowed);
}

void rows_narrow_collections(struct writer *w, uint32_t offset)
{
	struct writer out;
	struct rows rows;
	const char *why;
	uint32_t values;

	if (!rows_parse(w->data, w->len, offset, 4, &rows, &why))
		return;
	/* The values are what the body ends with. */
	values = w->len;
	for (uint32_t i = 0; i < rows.row_count * rows.column_count; i++)
		values -= 4 + rows.values[i].len;
	writer_init(&out);
	write_raw(&out, w->data, values);
	for (uint32_t i = 0; i < rows.row_count * rows.column_count; i++)
		write_narrow(&out, rows.columns[i % rows.column_count].type, rows.values[i]);
	rows_free(&rows);
	writer_free(w);
	*w = out;
}

/*
 * Behind kind, flags and column count stand the paging state (which we never
 * have), the new id of the columns, and then the number of the page.
 */
void rows_make_last_page(struct writer *w, uint32_t offset)
{
	struct reader r = reader_from(w->data, w->len, offset + 4);
	const uint32_t flags = read_int(&r);
	uint32_t head;

	read_int(&r);
	if (flags & ROWS_METADATA_CHANGED)
		read_short_bytes(&r);
	if (!reader_ok(&r))
		return;
	head = reader_offset(&r);
	put_u32(w->data + offset + 4, flags | ROWS_CONTINUOUS_PAGE | ROWS_LAST_CONTINUOUS_PAGE);
	writer_reserve(w, 4);
	memmove(w->data + head + 4, w->data + head, w->len - head - 4);
	put_u32(w->data + head, 1);
}
