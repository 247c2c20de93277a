/* message_result.c - views into the bodies of answers: SUPPORTED, ERROR, RESULT. The second half of message.h. */
#include "cql/message.h"
#include "cql/rows.h"

static bool fail(const char **why, const char *field)
{
	*why = field;
	return false;
}

bool message_each_supported(const uint8_t *body, uint32_t len,
			    bool (*each)(void *arg, struct strview key, struct strview value), void *arg)
{
	struct reader r = reader_over(body, len);

	for (uint16_t n = read_short(&r); n > 0 && reader_ok(&r); n--) {
		struct strview key = read_string(&r);

		for (uint16_t m = read_short(&r); m > 0 && reader_ok(&r); m--) {
			struct strview value = read_string(&r);

			if (reader_ok(&r) && !each(arg, key, value))
				return false;
		}
	}
	return reader_ok(&r);
}

bool message_parse_error(const uint8_t *body, uint32_t len, uint32_t offset, struct error_message *out)
{
	struct reader r = reader_from(body, len, offset);

	*out = (struct error_message){ .unprepared_id = { .is_null = true } };
	out->code = read_int(&r);
	out->text_offset = reader_offset(&r);
	out->text = read_string(&r);
	out->rest_offset = reader_offset(&r);
	if (out->code == CQL_ERR_UNPREPARED)
		out->unprepared_id = read_short_bytes(&r);
	return reader_ok(&r);
}

bool message_parse_rows_head(const uint8_t *body, uint32_t len, uint32_t offset, struct rows_head *out)
{
	struct reader r = reader_from(body, len, offset);

	*out = (struct rows_head){ .paging_state = { .is_null = true } };
	if (read_int(&r) != RESULT_ROWS)
		return false;
	out->flags = read_int(&r);
	out->column_count = read_int(&r);
	if (out->flags & ROWS_HAS_MORE_PAGES) {
		out->paging_state_offset = reader_offset(&r);
		out->paging_state = read_bytes(&r);
	}
	return reader_ok(&r);
}

/* Keyspace and table of all columns, where they are the same. */
static void skip_global_spec(struct reader *r, uint32_t flags)
{
	if (flags & ROWS_GLOBAL_TABLES_SPEC) {
		read_string(r);
		read_string(r);
	}
}

/* One column specification; gives its name. */
static struct strview read_column(struct reader *r, uint32_t flags)
{
	struct strview name;

	if (!(flags & ROWS_GLOBAL_TABLES_SPEC)) {
		read_string(r);
		read_string(r);
	}
	name = read_string(r);
	return rows_skip_type(r) ? name : SV("");
}

/* Column specifications; their number is bounded by the bytes, for each takes some. */
static void skip_columns(struct reader *r, uint32_t flags, uint32_t count)
{
	for (uint32_t i = 0; i < count && reader_ok(r); i++)
		read_column(r, flags);
}

static struct bytesview view_since(const struct reader *r, const uint8_t *start)
{
	return (struct bytesview){ .p = start, .len = (uint32_t)(r->p - start) };
}

static void read_bind_metadata(struct reader *r, uint8_t version, struct prepared_message *out)
{
	const uint8_t *start = r->p;

	out->bind_offset = reader_offset(r);
	out->bind_flags = read_int(r);
	out->bind_count = read_int(r);
	if (version_has(version, VERSION_PK_INDEXES)) {
		out->pk_offset = reader_offset(r);
		out->pk_count = read_int(r);
		reader_take(r, (size_t)out->pk_count * 2);
	}
	out->spec_offset = reader_offset(r);
	skip_global_spec(r, out->bind_flags);
	out->columns_offset = reader_offset(r);
	skip_columns(r, out->bind_flags, out->bind_count);
	out->bind_spec = view_since(r, start);
}

static void read_result_metadata(struct reader *r, uint8_t version, struct prepared_message *out)
{
	const uint8_t *start = r->p;
	uint32_t flags = read_int(r);
	uint32_t count = read_int(r);

	if (flags & ROWS_HAS_MORE_PAGES)
		read_bytes(r);
	if (version_has(version, VERSION_METADATA_ID) && (flags & ROWS_METADATA_CHANGED))
		read_short_bytes(r);
	if (!(flags & ROWS_NO_METADATA)) {
		skip_global_spec(r, flags);
		skip_columns(r, flags, count);
	}
	out->result_spec = view_since(r, start);
}

bool message_prepared_binds(const struct prepared_message *m, uint8_t version, uint16_t type)
{
	struct reader r = reader_over(m->bind_spec.p, m->bind_spec.len);
	const bool is_global = (m->bind_flags & ROWS_GLOBAL_TABLES_SPEC) != 0;

	reader_take(&r, 2 * sizeof(uint32_t));
	if (version_has(version, VERSION_PK_INDEXES))
		reader_take(&r, sizeof(uint32_t) + (size_t)m->pk_count * 2);
	for (uint32_t i = 0; i < m->bind_count && reader_ok(&r); i++) {
		if (i == 0 || !is_global) {
			read_string(&r);
			read_string(&r);
		}
		read_string(&r);
		if (reader_left(&r) >= 2 && get_u16(r.p) == type)
			return true;
		if (!rows_skip_type(&r))
			return false;
	}
	return false;
}

bool message_parse_prepared(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
			    struct prepared_message *out, const char **why)
{
	struct reader r = reader_from(body, len, offset);

	*out = (struct prepared_message){ .result_metadata_id = { .is_null = true } };
	if (read_int(&r) != RESULT_PREPARED || !reader_ok(&r))
		return fail(why, "result kind");
	out->id = read_short_bytes(&r);
	if (!reader_ok(&r))
		return fail(why, "prepared id");
	if (version_has(version, VERSION_METADATA_ID))
		out->result_metadata_id = read_short_bytes(&r);
	if (!reader_ok(&r))
		return fail(why, "result metadata id");
	read_bind_metadata(&r, version, out);
	if (!reader_ok(&r))
		return fail(why, "bind metadata");
	read_result_metadata(&r, version, out);
	return reader_ok(&r) || fail(why, "result metadata");
}

bool message_bind_column(const uint8_t *body, uint32_t len, const struct prepared_message *m, uint32_t *offset,
			 struct bind_column *out)
{
	struct reader r = reader_from(body, len, *offset);

	out->offset = *offset;
	out->name = read_column(&r, m->bind_flags);
	out->end = reader_offset(&r);
	*offset = out->end;
	return reader_ok(&r);
}
