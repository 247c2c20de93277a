/* test_gzip.c - who accepts compressed pages, and that they come back as they were. */
#include "control/gzip.h"

#include <event2/buffer.h>
#include <isa-l/igzip_lib.h>

#include "vectors.h"

static const struct {
	const char *header;
	bool accepted;
} headers[] = {
	{ NULL, false },
	{ "", false },
	{ "gzip", true },
	{ "GZip", true },
	{ "deflate, gzip", true },
	{ "deflate,gzip;q=1.0, *;q=0.5", true },
	{ " gzip ; q=0.1", true },
	{ "gzip;q=0", false },
	{ "gzip; q=0.000, br", false },
	{ "gzip;q=0.001", true },
	{ "gzip;level=3", true },
	{ "gzip;q", true },
	{ "gzipped", false },
	{ "x-gzip", false },
	{ "identity", false },
	{ ",,,", false },
	{ ",gzip", true },
	{ "br;q=1.0;gzip", false },
};

START_TEST(who_accepts)
{
	ck_assert_msg(gzip_is_accepted(headers[_i].header) == headers[_i].accepted, "%s", headers[_i].header);
}
END_TEST

static void round_trip(const uint8_t *data, size_t len, size_t at_most)
{
	struct evbuffer *plain = evbuffer_new();
	struct evbuffer *packed;
	struct inflate_state state;
	uint8_t *back = malloc(len + 1);

	evbuffer_add(plain, data, len);
	packed = gzip_compress(plain);
	ck_assert_ptr_nonnull(packed);
	ck_assert_uint_eq(evbuffer_get_length(plain), len);
	ck_assert_uint_le(evbuffer_get_length(packed), at_most);
	isal_inflate_init(&state);
	state.crc_flag = ISAL_GZIP;
	state.next_in = evbuffer_pullup(packed, -1);
	state.avail_in = (uint32_t)evbuffer_get_length(packed);
	state.next_out = back;
	state.avail_out = (uint32_t)len + 1;
	ck_assert_int_eq(isal_inflate(&state), ISAL_DECOMP_OK);
	ck_assert_int_eq(state.block_state, ISAL_BLOCK_FINISH);
	ck_assert_uint_eq(state.total_out, len);
	ck_assert_int_eq(memcmp(back, data, len), 0);
	evbuffer_free(plain);
	evbuffer_free(packed);
	free(back);
}

START_TEST(texts)
{
	static const char line[] =
		"zdm_origin_request_duration_seconds_bucket{node=\"10.0.0.1:9042\",type=\"reads\",le=\"0.001\"} 0\n";
	const size_t lines = 5000;
	uint8_t *text = malloc(lines * (sizeof(line) - 1));

	for (size_t i = 0; i < lines; i++)
		memcpy(text + i * (sizeof(line) - 1), line, sizeof(line) - 1);
	for (size_t n = 1; n <= lines; n *= 10)
		round_trip(text, n * (sizeof(line) - 1), n * (sizeof(line) - 1) / 10 + 200);
	round_trip((const uint8_t *)"x", 1, 100);
	free(text);
}
END_TEST

/* What cannot be made smaller grows a little. */
START_TEST(noise)
{
	for (size_t len = 10; len <= 1000000; len *= 10) {
		uint8_t *data = malloc(len);
		uint32_t x = 12345;

		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
		round_trip(data, len, len + len / 1000 + 256);
		free(data);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("gzip");

	tcase_add_loop_test(tc, who_accepts, 0, ARRAY_LEN(headers));
	tcase_add_test(tc, texts);
	tcase_add_test(tc, noise);
	return run_tcase("gzip", tc);
}
