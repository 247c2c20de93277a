/* test_segment.c - v5 segments: both checksums, headers, lz4 payloads, damage. */
#include "cql/segment.h"

#include "vectors.h"

/* Bit by bit, as CASSANDRA-15299 describes it: what the table must agree with. */
static uint32_t crc24_by_bits(const uint8_t *p, unsigned n)
{
	uint32_t crc = 0x875060;

	for (unsigned i = 0; i < n; i++) {
		crc ^= (uint32_t)p[i] << 16;
		for (unsigned bit = 0; bit < 8; bit++) {
			crc <<= 1;
			if (crc & 0x1000000)
				crc ^= 0x1974F0B;
		}
	}
	return crc;
}

static uint32_t crc32_by_bits(const uint8_t *p, size_t n)
{
	static const uint8_t seed[] = { 0xFA, 0x2D, 0x55, 0xCA };
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < sizeof(seed) + n; i++) {
		crc ^= i < sizeof(seed) ? seed[i] : p[i - sizeof(seed)];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
	}
	return ~crc;
}

START_TEST(checksums)
{
	uint8_t data[300];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (unsigned start = 0; start + 5 < sizeof(data); start++) {
		ck_assert_uint_eq(segment_crc24(data + start, 3), crc24_by_bits(data + start, 3));
		ck_assert_uint_eq(segment_crc24(data + start, 5), crc24_by_bits(data + start, 5));
	}
	for (size_t n = 0; n <= sizeof(data); n++)
		ck_assert_uint_eq(segment_crc32(segment_crc32_start(), data, n), crc32_by_bits(data, n));
	/* in pieces */
	ck_assert_uint_eq(segment_crc32(segment_crc32(segment_crc32_start(), data, 100), data + 100, 200),
			  crc32_by_bits(data, 300));
	ck_assert_uint_eq(segment_crc32(segment_crc32_start(), NULL, 0), crc32_by_bits(NULL, 0));
}
END_TEST

/* Reads a whole segment; true when header, checksums and payload are right. The plain payload goes to `out`. */
static bool segment_read(const uint8_t *p, size_t len, bool lz4, struct segment *s, uint8_t *out)
{
	uint32_t head = segment_head_len(lz4);

	if (segment_head_read(s, lz4, p, len) != PARSE_OK || len != head + s->wire_len + SEGMENT_TRAILER)
		return false;
	return segment_payload_ok(p + head, s->wire_len, p + head + s->wire_len) &&
	       segment_decompress(s, p + head, out);
}

static void vector_reads(const struct vector *v, void *arg)
{
	bool lz4 = strncmp(v->name, "lz4_", 4) == 0;
	uint8_t *out = malloc(SEGMENT_MAX_PAYLOAD);
	struct segment s;
	uint32_t total;

	(void)arg;
	ck_assert_msg(segment_read(v->data, v->len, lz4, &s, out), "%s", v->name);
	if (!lz4) {
		ck_assert_int_eq(segment_read_plain(v->data, v->len, &total), PARSE_OK);
		ck_assert_uint_eq(total, v->len);
	}
	ck_assert_int_eq(s.self_contained, strstr(v->name, "_part") == NULL);
	/* less than a header is too little; with a whole one the rest is known to be missing */
	for (size_t n = 0; n < v->len; n++) {
		uint8_t *cut = exact_copy(v->data, n);

		ck_assert_int_eq(segment_head_read(&s, lz4, cut, n),
				 n < segment_head_len(lz4) ? PARSE_AGAIN : PARSE_OK);
		ck_assert(!segment_read(cut, n, lz4, &s, out));
		if (!lz4) {
			ck_assert_int_eq(segment_read_plain(cut, n, &total), PARSE_AGAIN);
			ck_assert_uint_eq(total, n < SEGMENT_HEAD_PLAIN ? 0 : v->len);
		}
		free(cut);
	}
	/* no flipped bit goes unnoticed */
	for (size_t bit = 0; bit < v->len * 8; bit++) {
		uint8_t *flipped = exact_copy(v->data, v->len);

		flipped[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_msg(!segment_read(flipped, v->len, lz4, &s, out), "%s: bit %zu", v->name, bit);
		ck_assert(lz4 || segment_read_plain(flipped, v->len, &total) == PARSE_BAD);
		free(flipped);
	}
	free(out);
}

START_TEST(vectors_read_cut_and_flipped)
{
	ck_assert_uint_ge(vectors_each("segments.hex", vector_reads, NULL), 10);
}
END_TEST

START_TEST(contents_of_vectors)
{
	struct vector v = vector_get("segments.hex", "lz4_repeated");
	uint8_t out[800];
	struct segment s;

	ck_assert(segment_read(v.data, v.len, true, &s, out));
	ck_assert(s.is_compressed && s.self_contained);
	ck_assert_uint_eq(s.plain_len, 800);
	ck_assert_uint_lt(s.wire_len, 100);
	ck_assert_mem_eq(out, "cqlferrycqlferry", 16);
	ck_assert_mem_eq(out + 792, "cqlferry", 8);
	vector_free(&v);

	v = vector_get("segments.hex", "lz4_byte");
	ck_assert(segment_read(v.data, v.len, true, &s, out));
	ck_assert(!s.is_compressed);
	ck_assert_uint_eq(s.plain_len, 1);
	vector_free(&v);

	v = vector_get("segments.hex", "plain_one");
	ck_assert(segment_read(v.data, v.len, false, &s, out));
	ck_assert_uint_eq(s.plain_len, s.wire_len);
	ck_assert_mem_eq(out, "\x05\x00\x00\x07\x07", 5);
	vector_free(&v);
}
END_TEST

/* What we write has the very bytes of the driver's segments (its plain ones: lz4 encoders may differ). */
START_TEST(writes_as_the_driver_does)
{
	static const char *const names[] = { "plain_one", "plain_two", "plain_repeated", "plain_byte", "plain_part" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct vector v = vector_get("segments.hex", names[i]);
		uint32_t len = (uint32_t)v.len - SEGMENT_HEAD_PLAIN - SEGMENT_TRAILER;
		uint8_t *payload = v.data + SEGMENT_HEAD_PLAIN;
		uint8_t head[SEGMENT_HEAD_PLAIN];
		uint8_t trailer[SEGMENT_TRAILER];

		segment_head_write(head, len, strcmp(names[i], "plain_part") != 0);
		ck_assert_mem_eq(head, v.data, sizeof(head));
		segment_trailer_write(trailer, segment_crc32(segment_crc32_start(), payload, len));
		ck_assert_mem_eq(trailer, payload + len, sizeof(trailer));
		vector_free(&v);
	}
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Builds, reads back; the buffers have exactly the promised sizes. */
static void lz4_round_trip(const uint8_t *plain, uint32_t len, bool self_contained, bool expect_compressed)
{
	uint8_t *wire = malloc(SEGMENT_MAX_LEN);
	uint8_t *back = malloc(len);
	uint32_t n = segment_build_lz4(wire, plain, len, self_contained);
	struct segment s;

	ck_assert_uint_le(n, SEGMENT_HEAD_LZ4 + len + SEGMENT_TRAILER);
	ck_assert(segment_read(wire, n, true, &s, back));
	ck_assert_uint_eq(s.plain_len, len);
	ck_assert_int_eq(s.self_contained, self_contained);
	ck_assert_int_eq(s.is_compressed, expect_compressed);
	if (len > 0)
		ck_assert_mem_eq(back, plain, len);
	free(wire);
	free(back);
}

START_TEST(lz4_segments)
{
	static const uint32_t sizes[] = {
		0, 1, 2, 12, 13, 100, 4096, 65536, SEGMENT_MAX_PAYLOAD - 1, SEGMENT_MAX_PAYLOAD
	};
	uint8_t *zeros = calloc(1, SEGMENT_MAX_PAYLOAD);
	uint8_t *noise = malloc(SEGMENT_MAX_PAYLOAD);
	uint32_t state = 42;

	for (uint32_t i = 0; i < SEGMENT_MAX_PAYLOAD; i++)
		noise[i] = (uint8_t)next_random(&state);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		lz4_round_trip(zeros, sizes[i], true, sizes[i] >= 13);
		lz4_round_trip(noise, sizes[i], false, false);
	}
	free(zeros);
	free(noise);
}
END_TEST

START_TEST(lz4_lengths_that_lie)
{
	struct vector v = vector_get("segments.hex", "lz4_repeated");
	uint8_t *payload = v.data + SEGMENT_HEAD_LZ4;
	uint8_t *out = malloc(801);
	struct segment s;

	ck_assert_int_eq(segment_head_read(&s, true, v.data, v.len), PARSE_OK);
	for (uint32_t plain_len = 1; plain_len <= 801; plain_len++) {
		struct segment lie = s;
		uint8_t *exact = malloc(plain_len);

		lie.plain_len = plain_len;
		ck_assert_int_eq(segment_decompress(&lie, payload, exact), plain_len == 800);
		free(exact);
	}
	for (uint32_t wire_len = 0; wire_len < s.wire_len; wire_len++) {
		struct segment lie = s;
		uint8_t *exact = exact_copy(payload, wire_len);

		lie.wire_len = wire_len;
		ck_assert(!segment_decompress(&lie, exact, out));
		free(exact);
	}
	free(out);
	vector_free(&v);
}
END_TEST

START_TEST(largest_header)
{
	uint8_t head[SEGMENT_HEAD_LZ4];
	struct segment s;

	segment_head_write_lz4(head, SEGMENT_MAX_PAYLOAD, SEGMENT_MAX_PAYLOAD, true);
	ck_assert_mem_eq(head, "\xff\xff\xff\xff\x07", 5);
	ck_assert_int_eq(segment_head_read(&s, true, head, sizeof(head)), PARSE_OK);
	ck_assert_uint_eq(s.wire_len, SEGMENT_MAX_PAYLOAD);
	ck_assert_uint_eq(s.plain_len, SEGMENT_MAX_PAYLOAD);
	ck_assert(s.self_contained && s.is_compressed);
	segment_head_write(head, SEGMENT_MAX_PAYLOAD, false);
	ck_assert_mem_eq(head, "\xff\xff\x01", 3);
}
END_TEST

/* What is sealed in place is read again, whatever lies behind it, and nothing behind its trailer is written. */
START_TEST(sealed_in_place)
{
	static const uint32_t lengths[] = { 0, 1, 9, 15, 16, 17, 91, 255, 256, 257, 4096, SEGMENT_MAX_PAYLOAD };
	uint8_t *p = malloc(SEGMENT_MAX_LEN);
	struct segment s;

	for (unsigned i = 0; i < 2 * ARRAY_LEN(lengths); i++) {
		const uint32_t n = lengths[i / 2];
		uint8_t *trailer = p + SEGMENT_HEAD_PLAIN + n;
		uint32_t total = 0;

		memset(p, 0xdd, SEGMENT_MAX_LEN);
		for (uint32_t k = 0; k < n; k++)
			p[SEGMENT_HEAD_PLAIN + k] = (uint8_t)(k * 37 + 11);
		segment_seal(p, n, i % 2);
		ck_assert_int_eq(segment_head_read(&s, false, p, SEGMENT_HEAD_PLAIN), PARSE_OK);
		ck_assert_uint_eq(s.wire_len, n);
		ck_assert_int_eq(s.self_contained, i % 2);
		ck_assert(segment_payload_ok(p + SEGMENT_HEAD_PLAIN, n, trailer));
		ck_assert_uint_eq(trailer[SEGMENT_TRAILER], 0xdd);
		ck_assert_int_eq(segment_read_plain(p, SEGMENT_MAX_LEN, &total), PARSE_OK);
		ck_assert_uint_eq(total, SEGMENT_HEAD_PLAIN + n + SEGMENT_TRAILER);
	}
	free(p);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("segment");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, checksums);
	tcase_add_test(tcase, vectors_read_cut_and_flipped);
	tcase_add_test(tcase, contents_of_vectors);
	tcase_add_test(tcase, writes_as_the_driver_does);
	tcase_add_test(tcase, lz4_segments);
	tcase_add_test(tcase, lz4_lengths_that_lie);
	tcase_add_test(tcase, largest_header);
	tcase_add_test(tcase, sealed_in_place);
	return run_tcase("segment", tcase);
}
