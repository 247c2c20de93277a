/* test_frame.c - frame headers and edits of bodies on their way through. */
#include "cql/frame.h"

#include "vectors.h"

START_TEST(head_round_trip)
{
	uint8_t p[FRAME_HEAD_LEN];
	struct frame f;

	frame_head_write(p, true, 5, FRAME_TRACING, -2, OP_RESULT, 0x01020304);
	ck_assert_mem_eq(p, "\x85\x02\xff\xfe\x08\x01\x02\x03\x04", FRAME_HEAD_LEN);
	frame_head_read(&f, p);
	ck_assert(f.is_response);
	ck_assert_uint_eq(f.version, 5);
	ck_assert_uint_eq(f.flags, FRAME_TRACING);
	ck_assert_int_eq(f.stream, -2);
	ck_assert_uint_eq(f.opcode, OP_RESULT);
	ck_assert_uint_eq(f.length, 0x01020304);
	frame_head_write(p, false, 3, 0, 0x7fff, OP_QUERY, 0);
	ck_assert_mem_eq(p, "\x03\x00\x7f\xff\x07\0\0\0\0", FRAME_HEAD_LEN);
}
END_TEST

static void head_matches(const struct vector *v, void *arg)
{
	const char *file = arg;
	struct frame f;

	ck_assert_uint_ge(v->len, FRAME_SHORT_HEAD_LEN);
	frame_head_read(&f, v->data);
	ck_assert_uint_eq(f.length, v->len - frame_head_len(v->data[0]));
	ck_assert(version_is_served(f.version));
	ck_assert_int_eq(f.is_response, strcmp(file, "answers.hex") == 0);
	ck_assert(f.is_response ? cql_opcode_is_response(f.opcode) : cql_opcode_is_request(f.opcode, f.version));
	ck_assert_int_eq(f.stream, f.opcode == OP_EVENT ? -1 : 7);
}

START_TEST(heads_of_vectors)
{
	ck_assert_uint_gt(vectors_each("requests.hex", head_matches, "requests.hex"), 50);
	ck_assert_uint_gt(vectors_each("versions.hex", head_matches, "versions.hex"), 20);
	ck_assert_uint_gt(vectors_each("answers.hex", head_matches, "answers.hex"), 20);
}
END_TEST

static void check_edits(const char *body, const struct frame_edit *edits, unsigned count, const char *expected)
{
	uint32_t length = (uint32_t)strlen(body);
	uint32_t edited = frame_edited_length(length, edits, count);
	uint8_t *from = exact_copy(body, length);
	uint8_t *out = exact_copy(expected, strlen(expected));

	ck_assert_uint_eq(edited, strlen(expected));
	memset(out, '#', edited);
	frame_edit_copy(out, from, length, edits, count);
	ck_assert_mem_eq(out, expected, edited);
	free(from);
	free(out);
}

START_TEST(edits)
{
	const struct frame_edit replace = { 2, 3, 3, (const uint8_t *)"XYZ" };
	const struct frame_edit insert_front = { 0, 0, 2, (const uint8_t *)"<<" };
	const struct frame_edit insert_end = { 8, 0, 2, (const uint8_t *)">>" };
	const struct frame_edit drop_all = { 0, 8, 0, NULL };
	const struct frame_edit several[] = {
		{ 0, 1, 2, (const uint8_t *)"AA" },
		{ 1, 1, 0, NULL },
		{ 4, 0, 1, (const uint8_t *)"+" },
		{ 7, 1, 3, (const uint8_t *)"HHH" },
	};

	check_edits("abcdefgh", NULL, 0, "abcdefgh");
	check_edits("abcdefgh", &replace, 1, "abXYZfgh");
	check_edits("abcdefgh", &insert_front, 1, "<<abcdefgh");
	check_edits("abcdefgh", &insert_end, 1, "abcdefgh>>");
	check_edits("abcdefgh", &drop_all, 1, "");
	check_edits("abcdefgh", several, ARRAY_LEN(several), "AAcd+efgHHH");
	check_edits("", &insert_front, 1, "<<");
}
END_TEST

START_TEST(names)
{
	ck_assert_str_eq(cql_opcode_name(OP_AUTH_RESPONSE), "AUTH_RESPONSE");
	ck_assert_str_eq(cql_opcode_name(0x04), "?");
	ck_assert_str_eq(cql_opcode_name(0xfe), "?");
	ck_assert_str_eq(cql_opcode_name(0xff), "REVISE");
	ck_assert_str_eq(cql_error_name(0x2500), "UNPREPARED");
	ck_assert_str_eq(cql_error_name(0x9999), "?");
	ck_assert_str_eq(cql_consistency_name(10), "LOCAL_ONE");
	ck_assert_str_eq(cql_consistency_name(11), "?");
	ck_assert_str_eq(cql_compression_name(COMPRESSION_SNAPPY), "snappy");
}
END_TEST

START_TEST(short_heads)
{
	uint8_t p[FRAME_HEAD_LEN];
	struct frame f;

	frame_head_write(p, true, 2, FRAME_TRACING, -2, OP_RESULT, 0x01020304);
	ck_assert_mem_eq(p, "\x82\x02\xfe\x08\x01\x02\x03\x04", FRAME_SHORT_HEAD_LEN);
	ck_assert_uint_eq(frame_head_len(p[0]), FRAME_SHORT_HEAD_LEN);
	ck_assert_uint_eq(frame_body_len(p), 0x01020304);
	ck_assert_uint_eq(frame_head_read(&f, p), FRAME_SHORT_HEAD_LEN);
	ck_assert_uint_eq(f.version, 2);
	ck_assert(f.is_response);
	ck_assert_int_eq(f.stream, -2);
	ck_assert_uint_eq(f.opcode, OP_RESULT);
	ck_assert_uint_eq(f.length, 0x01020304);
	for (unsigned version = 0; version < 128; version++)
		ck_assert_uint_eq(frame_head_len((uint8_t)version), version == 2 ? 8 : 9);
}
END_TEST

START_TEST(opcode_directions)
{
	static const uint8_t requests[] = { 0x01, 0x05, 0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0f };
	static const uint8_t answers[] = { 0x00, 0x02, 0x03, 0x06, 0x08, 0x0c, 0x0e, 0x10 };

	for (unsigned op = 0; op < 256; op++) {
		bool is_request = memchr(requests, (int)op, sizeof(requests)) != NULL;
		bool is_answer = memchr(answers, (int)op, sizeof(answers)) != NULL;

		for (uint8_t version = 2; version <= 5; version++)
			ck_assert_int_eq(cql_opcode_is_request((uint8_t)op, version), is_request);
		/* DSE's versions have one more. */
		ck_assert_int_eq(cql_opcode_is_request((uint8_t)op, VERSION_DSE1), is_request || op == 0xff);
		ck_assert_int_eq(cql_opcode_is_request((uint8_t)op, VERSION_DSE2), is_request || op == 0xff);
		ck_assert_int_eq(cql_opcode_is_response((uint8_t)op), is_answer);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("frame");

	tcase_add_test(tcase, head_round_trip);
	tcase_add_test(tcase, heads_of_vectors);
	tcase_add_test(tcase, short_heads);
	tcase_add_test(tcase, edits);
	tcase_add_test(tcase, names);
	tcase_add_test(tcase, opcode_directions);
	return run_tcase("frame", tcase);
}
