/*
 * fuzz_frame.c - segments and compressed bodies: the input is taken for a
 * segment of either kind, for a compressed body, and for a payload to be
 * packed and unpacked again.
 */
#include "cql/compress.h"
#include "cql/segment.h"
#include "fuzz.h"

/* Larger announced lengths are within what the format allows, but say nothing new. */
#define PLAIN_MAX (1 << 20)

static void try_segment(const uint8_t *data, size_t size, bool lz4)
{
	uint32_t head = segment_head_len(lz4);
	struct segment s;
	uint32_t total;
	uint8_t *out;

	if (!lz4 && segment_read_plain(data, size, &total) == PARSE_OK)
		CHECK(total <= size && total <= SEGMENT_MAX_LEN);
	switch (segment_head_read(&s, lz4, data, size)) {
	case PARSE_AGAIN:
		CHECK(size < head);
		return;
	case PARSE_BAD:
		return;
	case PARSE_OK:
		break;
	}
	CHECK(s.wire_len <= SEGMENT_MAX_PAYLOAD && s.plain_len <= SEGMENT_MAX_PAYLOAD);
	CHECK(s.is_compressed || s.plain_len == s.wire_len);
	if (size - head < (size_t)s.wire_len + SEGMENT_TRAILER)
		return;
	(void)segment_payload_ok(data + head, s.wire_len, data + head + s.wire_len);
	/* no look at the checksum: hardly a changed input would come further */
	out = malloc(s.plain_len);
	if (segment_decompress(&s, data + head, out))
		touch(out, s.plain_len);
	free(out);
}

/* The lengths of a header, made up: what a wrong but well-signed header could do. */
static void try_payload(const uint8_t *data, size_t size)
{
	struct segment s = { .is_compressed = true };
	uint8_t *out;

	if (size < 2 || size - 2 > SEGMENT_MAX_PAYLOAD)
		return;
	s.plain_len = get_u16(data) + 1;
	s.wire_len = (uint32_t)size - 2;
	out = malloc(s.plain_len);
	if (segment_decompress(&s, data + 2, out))
		touch(out, s.plain_len);
	free(out);
}

/* A length of lz4's block format that goes on behind its token. */
static bool skip_length(const uint8_t *p, size_t size, size_t *at, size_t *length)
{
	if (*length < 15)
		return true;
	for (; *at < size; (*at)++) {
		*length += p[*at];
		if (p[*at] < 255) {
			(*at)++;
			return true;
		}
	}
	return false;
}

/*
 * A match of offset 0, which the format forbids and the library takes: the
 * bytes of such a match are undefined, and differ between its two decoders.
 */
static bool has_zero_offset(const uint8_t *p, size_t size)
{
	size_t at = 0;

	while (at < size) {
		const uint8_t token = p[at++];
		size_t literals = token >> 4, match = token & 15;

		if (!skip_length(p, size, &at, &literals) || literals >= size - at || size - at - literals < 2)
			return false;
		at += literals;
		if (p[at] == 0 && p[at + 1] == 0)
			return true;
		at += 2;
		if (!skip_length(p, size, &at, &match))
			return false;
	}
	return false;
}

static void try_compressed(enum cql_compression c, const uint8_t *data, uint32_t size)
{
	uint32_t plain_len;
	uint8_t *plain;
	uint8_t *part;
	bool ok;
	int got;

	if (!compression_plain_length(c, data, size, &plain_len) || plain_len > PLAIN_MAX)
		return;
	plain = malloc(plain_len);
	part = malloc(64);
	ok = compression_decompress(c, data, size, plain, plain_len);
	for (uint32_t want = 0; want <= 64; want += 16) {
		uint8_t *scratch = malloc(plain_len);

		got = compression_peek(c, data, size, part, want, scratch);
		free(scratch);
		CHECK(got <= (int)want);
		if (ok) {
			CHECK(got == (int)MIN(want, plain_len));
			CHECK(got == 0 || memcmp(part, plain, (size_t)got) == 0 ||
			      (c == COMPRESSION_LZ4 && has_zero_offset(data + 4, size - 4)));
		}
	}
	free(plain);
	free(part);
}

static void pack_and_unpack(const uint8_t *data, uint32_t size)
{
	uint32_t len = MIN(size, (uint32_t)SEGMENT_MAX_PAYLOAD);
	uint8_t *wire = malloc(SEGMENT_MAX_LEN);
	uint8_t *back = malloc(len);
	uint32_t n = segment_build_lz4(wire, data, len, true);
	struct segment s;

	CHECK(n <= SEGMENT_HEAD_LZ4 + len + SEGMENT_TRAILER);
	CHECK(segment_head_read(&s, true, wire, n) == PARSE_OK);
	CHECK(n == SEGMENT_HEAD_LZ4 + s.wire_len + SEGMENT_TRAILER && s.plain_len == len && s.self_contained);
	CHECK(segment_payload_ok(wire + SEGMENT_HEAD_LZ4, s.wire_len, wire + SEGMENT_HEAD_LZ4 + s.wire_len));
	CHECK(segment_decompress(&s, wire + SEGMENT_HEAD_LZ4, back));
	CHECK(len == 0 || memcmp(back, data, len) == 0);
	free(wire);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;

	try_segment(data, size, false);
	try_segment(data, size, true);
	try_payload(data, size);
	try_compressed(COMPRESSION_LZ4, data, (uint32_t)size);
	try_compressed(COMPRESSION_SNAPPY, data, (uint32_t)size);
	pack_and_unpack(data, (uint32_t)size);
	if (size >= FRAME_HEAD_LEN) {
		const uint32_t head = frame_head_read(&f, data);
		uint8_t again[FRAME_HEAD_LEN];

		try_compressed(COMPRESSION_LZ4, data + head, (uint32_t)size - head);
		try_compressed(COMPRESSION_SNAPPY, data + head, (uint32_t)size - head);
		frame_head_write(again, f.is_response, f.version, f.flags, f.stream, f.opcode, f.length);
		CHECK(head == frame_head_len(data[0]) && memcmp(again, data, head) == 0);
		CHECK(frame_body_len(data) == f.length);
	}
	return 0;
}
