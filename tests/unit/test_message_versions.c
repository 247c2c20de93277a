/* test_message_versions.c - requests in v2 and in DSE's versions, field by field, as DataStax's driver writes them. */
#include "cql/message.h"
#include "cql/rows.h"
#include "vectors.h"

#define TEXT "INSERT INTO shop.orders (id, name) VALUES (?, ?)"
#define ID "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"

static struct vector vector;

/* The frame of that name in the version; its body is p, of *len bytes. */
static const uint8_t *open_vector(unsigned version, const char *name, uint32_t *len, struct frame *f)
{
	char full[64];
	uint32_t head;

	snprintf(full, sizeof(full), "v%u_%s", version, name);
	vector = vector_get("versions.hex", full);
	head = frame_head_read(f, vector.data);
	ck_assert_uint_eq(f->version, version);
	ck_assert_int_eq(f->stream, 7);
	ck_assert_uint_eq(head + f->length, vector.len);
	*len = f->length;
	return vector.data + head;
}

static const uint8_t versions[] = { 2, VERSION_DSE1, VERSION_DSE2 };

static void check_params(const uint8_t *p, uint32_t len, const struct query_params *q, uint8_t version)
{
	struct strview name;
	struct bytesview value;

	ck_assert_uint_eq(q->flags_size, version == 2 ? 1 : 4);
	ck_assert_uint_eq(q->values_offset, q->flags_offset + q->flags_size + 2);
	ck_assert(message_value(p, len, q, 0, &name, &value));
	ck_assert_uint_eq(value.len, 4);
	ck_assert(message_value(p, len, q, 1, &name, &value));
	ck_assert(value.is_null);
	ck_assert_uint_eq(q->paging_state.len, 6);
	ck_assert_mem_eq(q->paging_state.p, "page-7", 6);
	ck_assert_ptr_eq(p + q->paging_state_offset + 4, q->paging_state.p);
	ck_assert_uint_eq(q->serial_consistency, CL_LOCAL_SERIAL);
	ck_assert_int_eq(q->has_timestamp, version != 2);
	ck_assert_uint_eq(q->timestamp, version == 2 ? 0 : 1234567890123456);
	ck_assert_int_eq((q->flags & QUERY_CONTINUOUS_PAGING) != 0, version != 2);
	ck_assert_uint_eq(q->next_pages, version == VERSION_DSE2 ? 4 : 0);
}

START_TEST(query)
{
	const uint8_t version = versions[_i];
	struct query_message m;
	struct frame f;
	uint32_t len;
	const char *why = "";
	const uint8_t *p = open_vector(version, "query_everything", &len, &f);

	ck_assert(message_parse_query(p, len, 0, version, &m, &why));
	ck_assert(sv_equal(m.text, SV(TEXT)));
	ck_assert_uint_eq(m.params.consistency, CL_LOCAL_QUORUM);
	ck_assert_uint_eq(m.params.value_count, 3);
	check_params(p, len, &m.params, version);
	ck_assert(sv_equal(m.params.keyspace, version == VERSION_DSE2 ? SV("shop") : SV("")));
	if (version != 2) {
		ck_assert(!message_parse_query(p, len - 1, 0, version, &m, &why));
		ck_assert_str_eq(why, "continuous paging options");
	}
	vector_free(&vector);
}
END_TEST

START_TEST(page_size_in_bytes)
{
	const uint8_t version = versions[_i];
	struct query_message m;
	struct frame f;
	uint32_t len;
	const char *why;
	const uint8_t *p = open_vector(version, "query_bytes", &len, &f);

	ck_assert(message_parse_query(p, len, 0, version, &m, &why));
	ck_assert(m.params.flags & QUERY_PAGE_SIZE_BYTES);
	ck_assert(!(m.params.flags & QUERY_CONTINUOUS_PAGING));
	ck_assert(sv_equal(m.params.keyspace, version == VERSION_DSE2 ? SV("shop") : SV("")));
	vector_free(&vector);
}
END_TEST

START_TEST(prepare)
{
	const uint8_t version = versions[_i];
	struct prepare_message m;
	struct frame f;
	uint32_t len;
	const char *why;
	const uint8_t *p = open_vector(version, "prepare", &len, &f);

	ck_assert(message_parse_prepare(p, len, 0, version, &m, &why));
	ck_assert(sv_equal(m.text, SV(TEXT)));
	ck_assert(sv_equal(m.keyspace, version == VERSION_DSE2 ? SV("shop") : SV("")));
	vector_free(&vector);
}
END_TEST

START_TEST(execute)
{
	const uint8_t version = versions[_i];
	struct execute_message m;
	struct frame f;
	uint32_t len;
	const char *why;
	const uint8_t *p = open_vector(version, "execute_everything", &len, &f);

	ck_assert(message_parse_execute(p, len, 0, version, &m, &why));
	ck_assert_uint_eq(m.id.len, 16);
	ck_assert_mem_eq(m.id.p, ID, 16);
	ck_assert_uint_eq(m.result_metadata_id.len, version == VERSION_DSE2 ? 16 : 0);
	check_params(p, len, &m.params, version);
	vector_free(&vector);
}
END_TEST

START_TEST(batch)
{
	const uint8_t version = versions[_i];
	struct batch_message m;
	struct batch_child child;
	struct frame f;
	uint32_t len, offset;
	const char *why;
	const uint8_t *p = open_vector(version, "batch", &len, &f);

	ck_assert(message_parse_batch(p, len, 0, version, &m, &why));
	ck_assert_uint_eq(m.child_count, 3);
	offset = m.children_offset;
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(message_batch_child(p, len, &offset, &child));
		ck_assert_int_eq(child.is_prepared, i > 0);
		ck_assert_uint_eq(child.value_count, 2 - i);
	}
	ck_assert_uint_eq(m.consistency, version == 2 ? CL_EACH_QUORUM : CL_ONE);
	ck_assert_uint_eq(m.flags_offset, version == 2 ? 0 : offset + 2);
	ck_assert_uint_eq(m.serial_consistency, version == 2 ? 0 : CL_SERIAL);
	ck_assert_int_eq(m.has_timestamp, version != 2);
	ck_assert(sv_equal(m.keyspace, version == VERSION_DSE2 ? SV("shop") : SV("")));
	if (version == 2)
		ck_assert_uint_eq(offset + 2, len);
	vector_free(&vector);
}
END_TEST

START_TEST(revise)
{
	struct revise_message m;
	struct frame f;
	uint32_t len;
	const char *why = "";
	const uint8_t *p = open_vector(VERSION_DSE1, "revise_cancel", &len, &f);

	ck_assert_uint_eq(f.opcode, OP_REVISE);
	ck_assert(message_parse_revise(p, len, 0, &m, &why));
	ck_assert_uint_eq(m.kind, REVISE_CANCEL_PAGING);
	ck_assert_uint_eq(m.stream, 77);
	ck_assert_uint_eq(m.stream_offset, 4);
	ck_assert_uint_eq(m.next_pages, 0);
	vector_free(&vector);
	p = open_vector(VERSION_DSE2, "revise_more", &len, &f);
	ck_assert(message_parse_revise(p, len, 0, &m, &why));
	ck_assert_uint_eq(m.kind, REVISE_MORE_PAGES);
	ck_assert_uint_eq(m.next_pages, 5);
	ck_assert(!message_parse_revise(p, len - 1, 0, &m, &why));
	ck_assert_str_eq(why, "number of pages");
	vector_free(&vector);
	p = open_vector(VERSION_DSE2, "bad_revise_kind", &len, &f);
	ck_assert(!message_parse_revise(p, len, 0, &m, &why));
	ck_assert_str_eq(why, "kind of revision");
	vector_free(&vector);
}
END_TEST

/* Flags that a version does not have: they mean nothing, and nothing is read for them. */
static const struct {
	uint8_t version;
	const char *name;
	uint32_t flags;
} foreign_flags[] = {
	{ 2, "query_timestamp_flag", QUERY_VALUES },
	{ 4, "query_keyspace_flag", 0 },
	{ VERSION_DSE1, "query_keyspace_flag", 0 },
};

START_TEST(flags_of_other_versions)
{
	struct query_message m;
	struct frame f;
	uint32_t len;
	const char *why;
	const uint8_t *p = open_vector(foreign_flags[_i].version, foreign_flags[_i].name, &len, &f);

	ck_assert(message_parse_query(p, len, 0, f.version, &m, &why));
	ck_assert_uint_eq(m.params.flags, foreign_flags[_i].flags);
	ck_assert(!m.params.has_timestamp);
	ck_assert_uint_eq(m.params.keyspace.len, 0);
	vector_free(&vector);
}
END_TEST

/* ---- rows in the form of other versions ---- */

static const uint8_t set_of_two[] = { 0, 0, 0, 2, 0, 0, 0, 1, 'a', 0, 0, 0, 2, 'b', 'c' };
static const uint8_t narrow_set[] = { 0, 2, 0, 1, 'a', 0, 2, 'b', 'c' };
/* Says three, has two: no set, so it stays. */
static const uint8_t no_set[] = { 0, 0, 0, 3, 0, 0, 0, 1, 'a', 0, 0, 0, 2, 'b', 'c' };

static void write_rows(struct writer *w)
{
	writer_init(w);
	rows_write_head(w, 3, SV("k"), SV("t"));
	rows_write_column(w, SV("name"), rows_type_varchar);
	rows_write_column(w, SV("set"), rows_type_set_varchar);
	rows_write_column(w, SV("map"), rows_type_map_uuid_blob);
	rows_write_count(w, 2);
	write_bytes(w, set_of_two, sizeof(set_of_two)); /* as a text it is none of our business */
	write_bytes(w, set_of_two, sizeof(set_of_two));
	write_bytes(w, NULL, 0);
	write_bytes(w, NULL, 0);
	write_bytes(w, no_set, sizeof(no_set));
	write_bytes(w, "\0\0\0\1\0\0\0\1k\0\0\0\0", 13);
}

static void expect_value(const struct rows *rows, uint32_t row, const char *column, const void *value, size_t len)
{
	struct bytesview got = rows_value(rows, row, column);

	ck_assert_uint_eq(got.len, len);
	ck_assert_mem_eq(got.p, value, len);
}

START_TEST(narrow_collections)
{
	struct writer w;
	struct rows rows;
	const char *why;

	write_rows(&w);
	rows_narrow_collections(&w, 0);
	ck_assert(rows_parse(w.data, w.len, 0, 2, &rows, &why));
	ck_assert_uint_eq(rows.row_count, 2);
	expect_value(&rows, 0, "name", set_of_two, sizeof(set_of_two));
	expect_value(&rows, 0, "set", narrow_set, sizeof(narrow_set));
	ck_assert(rows_value(&rows, 0, "map").is_null);
	ck_assert(rows_value(&rows, 1, "name").is_null);
	expect_value(&rows, 1, "set", no_set, sizeof(no_set));
	expect_value(&rows, 1, "map", "\0\1\0\1k\0\0", 7);
	rows_free(&rows);
	writer_free(&w);
	/* no rows, and no ROWS */
	writer_init(&w);
	write_int(&w, RESULT_VOID);
	rows_narrow_collections(&w, 0);
	ck_assert_uint_eq(w.len, 4);
	rows_make_last_page(&w, 0);
	ck_assert_uint_eq(w.len, 4);
	writer_free(&w);
}
END_TEST

START_TEST(the_last_page)
{
	struct writer w;
	struct rows rows;
	struct rows_head head;
	const char *why;
	uint32_t len;

	write_rows(&w);
	len = w.len;
	rows_make_last_page(&w, 0);
	ck_assert_uint_eq(w.len, len + 4);
	ck_assert(message_parse_rows_head(w.data, w.len, 0, &head));
	ck_assert_uint_eq(head.flags, ROWS_GLOBAL_TABLES_SPEC | ROWS_CONTINUOUS_PAGE | ROWS_LAST_CONTINUOUS_PAGE);
	ck_assert_uint_eq(get_u32(w.data + 12), 1);
	ck_assert(rows_parse(w.data, w.len, 0, VERSION_DSE1, &rows, &why));
	expect_value(&rows, 0, "set", set_of_two, sizeof(set_of_two));
	rows_free(&rows);
	writer_free(&w);
}
END_TEST

/* DSE v2 has the new id of the columns in front of the number of the page. */
START_TEST(the_last_page_with_other_columns)
{
	static const uint8_t id[] = { 0, 3, 'n', 'e', 'w' };
	struct writer w, changed;
	struct rows rows;
	const char *why;

	write_rows(&w);
	writer_init(&changed);
	write_raw(&changed, w.data, 12);
	write_raw(&changed, id, sizeof(id));
	write_raw(&changed, w.data + 12, w.len - 12);
	put_u32(changed.data + 4, get_u32(changed.data + 4) | ROWS_METADATA_CHANGED);
	rows_make_last_page(&changed, 0);
	ck_assert_uint_eq(changed.len, w.len + sizeof(id) + 4);
	ck_assert_mem_eq(changed.data + 12, id, sizeof(id));
	ck_assert_uint_eq(get_u32(changed.data + 12 + sizeof(id)), 1);
	ck_assert(rows_parse(changed.data, changed.len, 0, VERSION_DSE2, &rows, &why));
	expect_value(&rows, 0, "set", set_of_two, sizeof(set_of_two));
	rows_free(&rows);
	writer_free(&changed);
	writer_free(&w);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("message_versions");

	tcase_add_loop_test(tcase, query, 0, 3);
	tcase_add_loop_test(tcase, page_size_in_bytes, 1, 3);
	tcase_add_loop_test(tcase, prepare, 0, 3);
	tcase_add_loop_test(tcase, execute, 0, 3);
	tcase_add_loop_test(tcase, batch, 0, 3);
	tcase_add_test(tcase, revise);
	tcase_add_loop_test(tcase, flags_of_other_versions, 0, ARRAY_LEN(foreign_flags));
	tcase_add_test(tcase, narrow_collections);
	tcase_add_test(tcase, the_last_page);
	tcase_add_test(tcase, the_last_page_with_other_columns);
	return run_tcase("message_versions", tcase);
}
