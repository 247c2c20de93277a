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

static const uint8_t fuzz_versions[] = FUZZ_VERSIONS;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;
	struct reader r;
	uint32_t head;

	if (size < FRAME_HEAD_LEN)
		return 0;
	head = frame_head_read(&f, data);
	for (unsigned i = 0; i < ARRAY_LEN(fuzz_versions); i++)
		try_rows(&f, data + head, (uint32_t)size - head, fuzz_versions[i]);
	r = reader_over(data + head, size - head);
	if (rows_skip_type(&r))
		CHECK(reader_offset(&r) >= 2 && r.p <= r.end);
	return 0;
}
