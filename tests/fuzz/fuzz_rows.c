/* fuzz_rows.c - RESULT/ROWS bodies as the control connections read them. The input is the frame of an answer. */
#include "cql/rows.h"
#include "fuzz.h"

static void try_rows(const struct frame *f, const uint8_t *body, uint32_t len, uint8_t version)
{
	const char *why = NULL;
	uint32_t offset;
	struct rows rows;

	if (!message_skip_preamble(body, len, f->flags, true, &offset, &why))
		return;
	if (!rows_parse(body, len, offset, version, &rows, &why)) {
		CHECK(why && *why);
		CHECK(!rows.columns && !rows.values);
		return;
	}
	/* every column and value has taken bytes, so that memory is bounded by the body */
	CHECK(rows.column_count <= len && (uint64_t)rows.row_count * rows.column_count <= len);
	check_bytes(rows.paging_state, body, len);
	for (uint32_t i = 0; i < rows.column_count; i++) {
		check_text(rows.columns[i].name, body, len);
		check_bytes(rows.columns[i].type, body, len);
		CHECK(rows.columns[i].type.len >= 2);
	}
	for (uint32_t i = 0; i < rows.row_count * rows.column_count; i++)
		check_bytes(rows.values[i], body, len);
	(void)rows_value(&rows, rows.row_count, "id");
	if (rows.row_count > 0)
		check_bytes(rows_value(&rows, rows.row_count - 1, "id"), body, len);
	rows_free(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;
	struct reader r;

	if (size < FRAME_HEAD_LEN)
		return 0;
	frame_head_read(&f, data);
	for (uint8_t version = FRAME_VERSION_MIN; version <= FRAME_VERSION_MAX; version++)
		try_rows(&f, data + FRAME_HEAD_LEN, (uint32_t)size - FRAME_HEAD_LEN, version);
	r = reader_over(data + FRAME_HEAD_LEN, size - FRAME_HEAD_LEN);
	if (rows_skip_type(&r))
		CHECK(reader_offset(&r) >= 2 && r.p <= r.end);
	return 0;
}
