/* test_rows.c - RESULT/ROWS bodies: read, cut, over-announced, written and read back. */
#include "cql/rows.h"

#include "vectors.h"

static void expect_text(struct bytesview v, const char *expected)
{
	ck_assert(!v.is_null);
	ck_assert_uint_eq(v.len, strlen(expected));
	ck_assert_mem_eq(v.p, expected, v.len);
}

/* Parses the frame of a vector: what stands behind its header and preamble. */
static bool parse_vector(const struct vector *v, uint32_t body_len, struct rows *rows, const char **why)
{
	struct frame f;
	uint32_t offset;
	bool ok;

	frame_head_read(&f, v->data);
	ok = message_skip_preamble(v->data + FRAME_HEAD_LEN, body_len, f.flags, true, &offset, why);
	return ok && rows_parse(v->data + FRAME_HEAD_LEN, body_len, offset, f.version, rows, why);
}

START_TEST(global_table)
{
	struct vector v = vector_get("answers.hex", "rows_global");
	struct rows rows;
	const char *why;

	ck_assert(parse_vector(&v, (uint32_t)v.len - FRAME_HEAD_LEN, &rows, &why));
	ck_assert_uint_eq(rows.column_count, 3);
	ck_assert_uint_eq(rows.row_count, 2);
	ck_assert(rows.paging_state.is_null);
	ck_assert_int_eq(rows_find(&rows, "id"), 0);
	ck_assert_int_eq(rows_find(&rows, "small"), 2);
	ck_assert_int_eq(rows_find(&rows, "smal"), -1);
	ck_assert_uint_eq(rows.columns[0].type.len, 2);
	/* map, int, list, tuple of 3: int, a type of two fields, set of inet */
	ck_assert_uint_eq(rows.columns[1].type.len, 2 + 2 + 2 + 2 + 2 + 2 + (2 + 6 + 8 + 2 + 6 + 2 + 5 + 2) + 2 + 2);
	ck_assert_uint_eq(rows.columns[2].type.len, 2 + 2 + strlen("org.apache.cassandra.db.marshal.ShortType"));
	ck_assert_uint_eq(get_u32(rows_value(&rows, 0, "id").p), 1);
	ck_assert_uint_eq(get_u32(rows_value(&rows, 1, "id").p), 2);
	ck_assert(rows_value(&rows, 0, "deep").is_null);
	ck_assert_uint_eq(get_u16(rows_value(&rows, 0, "small").p), 5);
	ck_assert(rows_value(&rows, 1, "small").is_null);
	ck_assert(rows_value(&rows, 2, "id").is_null);
	ck_assert(rows_value(&rows, 0, "nothing").is_null);
	rows_free(&rows);
	ck_assert_ptr_null(rows.values);
	vector_free(&v);
}
END_TEST

/* The count of a vector's rows; false also for each body that is cut within what stands before the rows. */
static bool count_vector(const char *name, uint32_t *count)
{
	struct vector v = vector_get("answers.hex", name);
	uint8_t *body = v.data + FRAME_HEAD_LEN;
	uint32_t offset, len = (uint32_t)v.len - FRAME_HEAD_LEN;
	struct frame f;
	const char *why;
	bool ok;

	frame_head_read(&f, v.data);
	ck_assert(message_skip_preamble(body, len, f.flags, true, &offset, &why));
	ok = rows_count(body, len, offset, f.version, count);
	for (uint32_t cut = offset; cut < offset + 12; cut++) {
		uint32_t ignored;

		ck_assert(!rows_count(body, cut, offset, f.version, &ignored));
	}
	vector_free(&v);
	return ok;
}

START_TEST(counted_only)
{
	struct writer w;
	uint32_t count;

	ck_assert(count_vector("rows_global", &count));
	ck_assert_uint_eq(count, 2);
	ck_assert(count_vector("rows_page", &count));
	ck_assert_uint_eq(count, 1);
	ck_assert(count_vector("rows_v5_changed", &count));
	/* Without metadata, as for a driver that has it. */
	writer_init(&w);
	write_int(&w, RESULT_ROWS);
	write_int(&w, ROWS_NO_METADATA);
	write_int(&w, 3);
	write_int(&w, 70000);
	ck_assert(rows_count(w.data, w.len, 0, 4, &count));
	ck_assert_uint_eq(count, 70000);
	writer_free(&w);
	writer_init(&w);
	write_int(&w, RESULT_VOID);
	write_int(&w, 0);
	ck_assert(!rows_count(w.data, w.len, 0, 4, &count));
	writer_free(&w);
}
END_TEST

START_TEST(page_behind_preamble)
{
	struct vector v = vector_get("answers.hex", "rows_page");
	struct rows rows;
	const char *why;

	ck_assert(parse_vector(&v, (uint32_t)v.len - FRAME_HEAD_LEN, &rows, &why));
	expect_text(rows.paging_state, "more");
	ck_assert(sv_equal(rows.columns[1].name, SV("y")));
	expect_text(rows_value(&rows, 0, "y"), "seven");
	rows_free(&rows);
	vector_free(&v);
}
END_TEST

START_TEST(metadata_changed)
{
	struct vector v = vector_get("answers.hex", "rows_v5_changed");
	struct rows rows;
	const char *why;

	ck_assert(parse_vector(&v, (uint32_t)v.len - FRAME_HEAD_LEN, &rows, &why));
	expect_text(rows.paging_state, "more");
	expect_text(rows_value(&rows, 0, "v"), "new");
	rows_free(&rows);
	vector_free(&v);
}
END_TEST

static void cut_is_bad(const struct vector *v, void *arg)
{
	unsigned *seen = arg;
	struct rows rows;

	if (strncmp(v->name, "rows_", 5) != 0 || strcmp(v->name, "rows_no_metadata") == 0)
		return;
	(*seen)++;
	for (size_t n = FRAME_HEAD_LEN; n < v->len; n++) {
		struct vector cut = { .data = exact_copy(v->data, n), .len = n };
		const char *why = NULL;

		ck_assert_msg(!parse_vector(&cut, (uint32_t)(n - FRAME_HEAD_LEN), &rows, &why), "%s cut at %zu",
			      v->name, n);
		ck_assert_ptr_nonnull(why);
		vector_free(&cut);
	}
}

START_TEST(cut_anywhere)
{
	unsigned seen = 0;

	vectors_each("answers.hex", cut_is_bad, &seen);
	ck_assert_uint_eq(seen, 4);
}
END_TEST

static void expect_bad(const char *name, const char *field)
{
	struct vector v = vector_get("answers.hex", name);
	struct rows rows;
	const char *why = NULL;

	ck_assert(!parse_vector(&v, (uint32_t)v.len - FRAME_HEAD_LEN, &rows, &why));
	ck_assert_str_eq(why, field);
	ck_assert_ptr_null(rows.columns);
	ck_assert_ptr_null(rows.values);
	vector_free(&v);
}

START_TEST(bad_bodies)
{
	expect_bad("rows_no_metadata", "rows metadata");
	expect_bad("void", "result kind");
	expect_bad("bad_rows_many_columns", "column count");
	expect_bad("bad_rows_many_rows", "row count");
	expect_bad("bad_rows_no_columns", "row count");
	expect_bad("bad_rows_deep_type", "column specification");
}
END_TEST

START_TEST(empty)
{
	struct vector v = vector_get("answers.hex", "rows_empty");
	struct rows rows;
	const char *why;

	ck_assert(parse_vector(&v, (uint32_t)v.len - FRAME_HEAD_LEN, &rows, &why));
	ck_assert_uint_eq(rows.row_count, 0);
	ck_assert(rows_value(&rows, 0, "v").is_null);
	rows_free(&rows);
	vector_free(&v);
}
END_TEST

START_TEST(types_nested_as_deep_as_allowed)
{
	uint8_t types[2 * 65];
	struct reader r;

	for (unsigned i = 0; i < 64; i++)
		put_u16(types + 2 * i, TYPE_LIST);
	put_u16(types + 2 * 63, TYPE_INT);
	r = reader_over(types, 2 * 64);
	ck_assert(rows_skip_type(&r));
	ck_assert_uint_eq(reader_left(&r), 0);
	put_u16(types + 2 * 63, TYPE_LIST);
	put_u16(types + 2 * 64, TYPE_INT);
	r = reader_over(types, 2 * 65);
	ck_assert(!rows_skip_type(&r));
}
END_TEST

START_TEST(written_and_read_back)
{
	static const struct {
		const char *name;
		const struct bytesview *type;
	} columns[] = {
		{ "a", &rows_type_varchar },       { "b", &rows_type_inet },    { "c", &rows_type_uuid },
		{ "d", &rows_type_int },           { "e", &rows_type_bigint },  { "f", &rows_type_set_varchar },
		{ "g", &rows_type_map_uuid_blob }, { "h", &rows_type_boolean },
	};
	struct writer w;
	struct rows rows;
	const char *why;
	uint8_t *body;

	writer_init(&w);
	rows_write_head(&w, ARRAY_LEN(columns), SV("system"), SV("local"));
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		rows_write_column(&w, sv_from(columns[i].name), *columns[i].type);
	rows_write_count(&w, 2);
	for (unsigned i = 0; i < 2 * ARRAY_LEN(columns); i++)
		write_bytes(&w, i % 3 ? "value" : NULL, i % 6);
	body = exact_copy(w.data, w.len);
	ck_assert_msg(rows_parse(body, w.len, 0, 4, &rows, &why), "%s", why);
	ck_assert_uint_eq(rows.column_count, ARRAY_LEN(columns));
	ck_assert_uint_eq(rows.row_count, 2);
	for (uint32_t i = 0; i < rows.column_count; i++) {
		ck_assert_int_eq(rows_find(&rows, columns[i].name), (int)i);
		ck_assert_uint_eq(rows.columns[i].type.len, columns[i].type->len);
		ck_assert_mem_eq(rows.columns[i].type.p, columns[i].type->p, columns[i].type->len);
	}
	for (uint32_t i = 0; i < 2 * rows.column_count; i++) {
		ck_assert_int_eq(rows.values[i].is_null, i % 3 == 0);
		ck_assert_uint_eq(rows.values[i].len, i % 3 ? i % 6 : 0);
	}
	rows_free(&rows);
	free(body);
	writer_free(&w);
}
END_TEST

static void expect_type(struct bytesview type, const char *expected, size_t len)
{
	ck_assert_uint_eq(type.len, len);
	ck_assert_mem_eq(type.p, expected, len);
}

START_TEST(types_as_the_protocol_numbers_them)
{
	expect_type(rows_type_varchar, "\0\x0d", 2);
	expect_type(rows_type_inet, "\0\x10", 2);
	expect_type(rows_type_uuid, "\0\x0c", 2);
	expect_type(rows_type_int, "\0\x09", 2);
	expect_type(rows_type_bigint, "\0\x02", 2);
	expect_type(rows_type_boolean, "\0\x04", 2);
	expect_type(rows_type_set_varchar, "\0\x22\0\x0d", 4);
	expect_type(rows_type_map_uuid_blob, "\0\x21\0\x0c\0\x03", 6);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("rows");

	tcase_add_test(tcase, global_table);
	tcase_add_test(tcase, counted_only);
	tcase_add_test(tcase, page_behind_preamble);
	tcase_add_test(tcase, metadata_changed);
	tcase_add_test(tcase, cut_anywhere);
	tcase_add_test(tcase, bad_bodies);
	tcase_add_test(tcase, empty);
	tcase_add_test(tcase, types_nested_as_deep_as_allowed);
	tcase_add_test(tcase, types_as_the_protocol_numbers_them);
	tcase_add_test(tcase, written_and_read_back);
	return run_tcase("rows", tcase);
}
