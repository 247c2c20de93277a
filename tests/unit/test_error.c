/* test_error.c - ERROR bodies of our own: their bytes, and what our own parser reads in them. */
#include "cql/error.h"
#include "cql/message.h"

#include "vectors.h"

static void expect_body(struct writer *w, const char *expected, size_t len)
{
	ck_assert_uint_eq(w->len, len);
	ck_assert_mem_eq(w->data, expected, len);
	writer_free(w);
	ck_assert_ptr_null(w->data);
}

#define EXPECT_BODY(w, literal) expect_body(w, literal, sizeof(literal) - 1)

START_TEST(plain)
{
	struct writer w;

	writer_init(&w);
	error_write(&w, CQL_ERR_OVERLOADED, SV("busy"));
	EXPECT_BODY(&w, "\0\0\x10\x01\0\x04"
			"busy");
	error_write(&w, CQL_ERR_SERVER_ERROR, SV(""));
	EXPECT_BODY(&w, "\0\0\0\0\0\0");
}
END_TEST

START_TEST(unavailable)
{
	struct writer w;

	writer_init(&w);
	error_write_unavailable(&w, SV("down"), CL_LOCAL_QUORUM, 1, 0);
	EXPECT_BODY(&w, "\0\0\x10\0\0\x04"
			"down\0\x06\0\0\0\x01\0\0\0\0");
}
END_TEST

START_TEST(read_timeout)
{
	struct writer w;

	writer_init(&w);
	error_write_read_timeout(&w, SV("slow"), CL_ONE, 0, 1, false);
	EXPECT_BODY(&w, "\0\0\x12\0\0\x04"
			"slow\0\x01\0\0\0\0\0\0\0\x01\0");
	error_write_read_timeout(&w, SV("slow"), CL_ONE, 1, 1, true);
	EXPECT_BODY(&w, "\0\0\x12\0\0\x04"
			"slow\0\x01\0\0\0\x01\0\0\0\x01\x01");
}
END_TEST

START_TEST(write_timeout)
{
	struct writer w;

	writer_init(&w);
	error_write_write_timeout(&w, SV("slow"), CL_ONE, 0, 1, "SIMPLE", 5);
	EXPECT_BODY(&w, "\0\0\x11\0\0\x04"
			"slow\0\x01\0\0\0\0\0\0\0\x01\0\x06SIMPLE");
	error_write_write_timeout(&w, SV("slow"), CL_SERIAL, 0, 1, "CAS", 4);
	EXPECT_BODY(&w, "\0\0\x11\0\0\x04"
			"slow\0\x08\0\0\0\0\0\0\0\x01\0\x03"
			"CAS");
	/* v5 counts the contentions of a CAS */
	error_write_write_timeout(&w, SV("slow"), CL_SERIAL, 0, 1, "CAS", 5);
	EXPECT_BODY(&w, "\0\0\x11\0\0\x04"
			"slow\0\x08\0\0\0\0\0\0\0\x01\0\x03"
			"CAS\0\0");
}
END_TEST

static void check_unprepared(uint16_t id_len)
{
	struct error_message m;
	struct writer w;
	uint8_t *id = malloc(id_len);
	uint8_t *body;

	for (uint16_t i = 0; i < id_len; i++)
		id[i] = (uint8_t)(0xa0 + i);
	writer_init(&w);
	error_write_unprepared(&w, (struct bytesview){ .p = id, .len = id_len });
	body = exact_copy(w.data, w.len);
	ck_assert(message_parse_error(body, w.len, 0, &m));
	ck_assert_uint_eq(m.code, CQL_ERR_UNPREPARED);
	ck_assert_uint_eq(m.unprepared_id.len, id_len);
	ck_assert(id_len == 0 || memcmp(m.unprepared_id.p, id, id_len) == 0);
	ck_assert(sv_starts_with(m.text, SV("Prepared query with ID ")));
	if (id_len == 3)
		ck_assert(sv_starts_with(m.text, SV("Prepared query with ID a0a1a2 not found")));
	ck_assert_uint_eq(m.text.p + m.text.len + 2 + id_len - (const char *)body, w.len);
	free(body);
	free(id);
	writer_free(&w);
}

START_TEST(unprepared)
{
	check_unprepared(0);
	check_unprepared(3);
	check_unprepared(16);
	check_unprepared(65535);
}
END_TEST

START_TEST(long_text_is_cut)
{
	static char text[70000];
	struct error_message m;
	struct writer w;

	memset(text, 'x', sizeof(text));
	writer_init(&w);
	error_write_unavailable(&w, (struct strview){ text, sizeof(text) }, CL_ONE, 1, 0);
	ck_assert(message_parse_error(w.data, w.len, 0, &m));
	ck_assert_uint_eq(m.text.len, 65535);
	ck_assert_uint_eq(m.rest_offset + 2 + 4 + 4, w.len);
	writer_free(&w);
}
END_TEST

START_TEST(writer_primitives)
{
	struct writer w;

	writer_init(&w);
	ck_assert_ptr_nonnull(writer_reserve(&w, 0));
	write_byte(&w, 0xfe);
	write_short(&w, 0x0102);
	write_int(&w, 0x01020304);
	write_long(&w, 0x0102030405060708);
	write_long_string(&w, SV("long"));
	write_cstring(&w, "c");
	write_bytes(&w, "ab", 2);
	write_bytes(&w, NULL, 5);
	write_bytes(&w, "", 0);
	write_short_bytes(&w, "id", 2);
	write_raw(&w, NULL, 0);
	EXPECT_BODY(&w, "\xfe\x01\x02\x01\x02\x03\x04\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x04long\0\x01"
			"c\0\0\0\x02"
			"ab\xff\xff\xff\xff\0\0\0\0\0\x02id");
	/* more at once than doubling the buffer gives */
	memset(writer_reserve(&w, 70000), 0x5a, 70000);
	ck_assert_uint_ge(w.cap, 70000);
	writer_free(&w);
	for (unsigned i = 0; i < 100000; i++)
		write_int(&w, i);
	ck_assert_uint_eq(w.len, 400000);
	for (unsigned i = 0; i < 100000; i++)
		ck_assert_uint_eq(get_u32(w.data + 4 * i), i);
	writer_free(&w);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("error");

	tcase_add_test(tcase, plain);
	tcase_add_test(tcase, unavailable);
	tcase_add_test(tcase, read_timeout);
	tcase_add_test(tcase, write_timeout);
	tcase_add_test(tcase, unprepared);
	tcase_add_test(tcase, long_text_is_cut);
	tcase_add_test(tcase, writer_primitives);
	return run_tcase("error", tcase);
}
