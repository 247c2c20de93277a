/*
 * test_wire.c - frames over a socket, plain and in v5 segments, both ways.
 * The other side is played by code of this file that shares nothing with
 * segment.c: it puts segments together and takes them apart bit by bit. That
 * other side is why the file has over 700 lines.
 */
#include "proxy/wire.h"

#include <linux/sockios.h>
#include <lz4.h>

#include "loop_helper.h"

#define MAX_PAYLOAD 131071

/* ---- segments, as the specification has them ---- */

static uint32_t crc24(uint64_t header, unsigned bytes)
{
	uint32_t crc = 0x875060;

	for (unsigned i = 0; i < bytes; i++, header >>= 8) {
		crc ^= (uint32_t)(header & 0xff) << 16;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 0x800000 ? (crc << 1 ^ 0x1974F0B) & 0xffffff : crc << 1;
	}
	return crc;
}

static uint32_t crc32_table[256];

static void make_crc32_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		crc32_table[i] = i;
		for (unsigned bit = 0; bit < 8; bit++)
			crc32_table[i] = crc32_table[i] >> 1 ^ (crc32_table[i] & 1 ? 0xEDB88320 : 0);
	}
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
	static const uint8_t seed[] = { 0xFA, 0x2D, 0x55, 0xCA };
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < sizeof(seed); i++)
		crc = crc >> 8 ^ crc32_table[(crc ^ seed[i]) & 0xff];
	for (size_t i = 0; i < n; i++)
		crc = crc >> 8 ^ crc32_table[(crc ^ p[i]) & 0xff];
	return ~crc;
}

struct bytes {
	uint8_t *p;
	size_t len;
};

static void add(struct bytes *b, const void *p, size_t n)
{
	b->p = realloc(b->p, b->len + n + 1);
	if (n > 0)
		memcpy(b->p + b->len, p, n);
	b->len += n;
}

static void add_le(struct bytes *b, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++, v >>= 8) {
		uint8_t byte = (uint8_t)v;

		add(b, &byte, 1);
	}
}

static uint64_t le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n > 0)
		v = v << 8 | p[--n];
	return v;
}

static void drop(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){ NULL, 0 };
}

/* Appends one segment with this payload. */
static void add_segment(struct bytes *b, const uint8_t *payload, size_t n, bool self_contained,
			enum wire_framing framing)
{
	uint64_t header = n | (uint64_t)self_contained << 17;
	const uint8_t *stored = payload;
	uint8_t *packed = NULL;
	size_t stored_len = n;
	unsigned bytes = 3;

	ck_assert_uint_le(n, MAX_PAYLOAD);
	if (framing == WIRE_SEGMENTS_LZ4) {
		int len;

		packed = malloc(MAX_PAYLOAD * 2);
		len = LZ4_compress_default((const char *)payload, (char *)packed, (int)n, MAX_PAYLOAD * 2);
		bytes = 5;
		header = n | (uint64_t)self_contained << 34;
		if (len > 0 && (size_t)len < n) {
			stored = packed;
			stored_len = (size_t)len;
			header = stored_len | (uint64_t)n << 17 | (uint64_t)self_contained << 34;
		}
	}
	add_le(b, header, bytes);
	add_le(b, crc24(header, bytes), 3);
	add(b, stored, stored_len);
	add_le(b, crc32_of(stored, stored_len), 4);
	free(packed);
}

/* What the parts of a stream were. */
struct unwrapped {
	struct bytes payload;
	unsigned segments;
	size_t sizes[64];
	bool self_contained[64];
};

/* Takes segments apart; all of the bytes must be whole ones. */
static void unwrap(const uint8_t *p, size_t len, enum wire_framing framing, struct unwrapped *u)
{
	const unsigned bytes = framing == WIRE_SEGMENTS_LZ4 ? 5 : 3;

	memset(u, 0, sizeof(*u));
	while (len > 0) {
		uint64_t header;
		size_t stored, plain;

		ck_assert_uint_ge(len, bytes + 3);
		header = le(p, bytes);
		ck_assert_uint_eq(le(p + bytes, 3), crc24(header, bytes));
		stored = header & 0x1ffff;
		plain = bytes == 5 ? header >> 17 & 0x1ffff : 0;
		ck_assert_uint_eq(header >> (bytes == 5 ? 35 : 18), 0);
		p += bytes + 3;
		len -= bytes + 3;
		ck_assert_uint_ge(len, stored + 4);
		ck_assert_uint_eq(le(p + stored, 4), crc32_of(p, stored));
		if (plain > 0) {
			char *out = malloc(plain);

			ck_assert_int_eq(LZ4_decompress_safe((const char *)p, out, (int)stored, (int)plain),
					 (int)plain);
			add(&u->payload, out, plain);
			free(out);
		} else {
			add(&u->payload, p, stored);
		}
		ck_assert_uint_lt(u->segments, 64);
		u->sizes[u->segments] = plain ? plain : stored;
		u->self_contained[u->segments++] = header >> (bytes == 5 ? 34 : 17) & 1;
		p += stored + 4;
		len -= stored + 4;
	}
}

/* Appends a frame: an answer (or a request, with `version` below 0x80) whose body is a pattern shifted by its stream. */
static void add_frame(struct bytes *b, uint8_t version, int16_t stream, uint8_t opcode, uint32_t length)
{
	uint8_t head[9] = { version, 0, (uint8_t)((uint16_t)stream >> 8), (uint8_t)stream, opcode };
	uint8_t *body = malloc(length + 1);

	head[5] = (uint8_t)(length >> 24);
	head[6] = (uint8_t)(length >> 16);
	head[7] = (uint8_t)(length >> 8);
	head[8] = (uint8_t)length;
	for (uint32_t i = 0; i < length; i++)
		body[i] = pattern_byte(i + (uint16_t)stream);
	if ((version & 0x7f) == 2) { /* one byte for the stream id */
		add(b, head, 2);
		add(b, head + 3, 6);
	} else {
		add(b, head, 9);
	}
	add(b, body, length);
	free(body);
}

/* ---- the wire under test ---- */

struct seen {
	int16_t stream;
	uint8_t opcode, version;
	uint32_t length;
	bool had_chunk;
};

struct station {
	struct wire w;
	int peer;
	struct seen seen[256];
	unsigned count;
	unsigned bad_count;
	enum wire_bad bad;
	struct frame bad_frame;
	unsigned closed;
	unsigned progressed;
	struct chunk *kept; /* of the last frame that came in a chunk */
	int16_t close_at;   /* closes in on_frame() of this stream; -1: never */
	int16_t pause_at;
	int16_t switch_at; /* frames behind this one are in switch_to */
	enum wire_framing switch_to;
};

static struct station *station_of(struct wire *w)
{
	return container_of(w, struct station, w);
}

static void on_open(struct wire *w)
{
	(void)w;
}

static void on_frame(struct wire *w, struct frame *f)
{
	struct station *s = station_of(w);
	uint32_t right = 0;

	ck_assert_uint_eq(s->closed + s->bad_count, 0);
	ck_assert_uint_lt(s->count, ARRAY_LEN(s->seen));
	s->seen[s->count++] = (struct seen){ f->stream, f->opcode, f->version, f->length, f->chunk != NULL };
	while (right < f->length && f->body[right] == pattern_byte(right + (uint16_t)f->stream))
		right++;
	ck_assert_msg(right == f->length, "byte %u of stream %d", right, f->stream);
	if (f->chunk) {
		if (s->kept)
			chunk_unref(s->kept);
		s->kept = chunk_ref(f->chunk);
		ck_assert(f->body >= f->chunk->data);
		ck_assert(f->body + f->length <= f->chunk->data + f->chunk->cap);
	}
	if (f->length > 0)
		memset(f->body, 0xee, f->length); /* it is ours to change until the return */
	if (f->stream == s->switch_at)
		wire_set_in_framing(w, s->switch_to);
	if (f->stream == s->pause_at)
		sbuf_pause(&w->sb);
	if (f->stream == s->close_at)
		wire_close(w);
}

static void on_bad(struct wire *w, enum wire_bad bad, const struct frame *f)
{
	struct station *s = station_of(w);

	s->bad_count++;
	s->bad = bad;
	s->bad_frame = *f;
	wire_finish(w);
}

static void on_progress(struct wire *w)
{
	station_of(w)->progressed++;
}

static void on_closed(struct wire *w, const char *why)
{
	(void)why;
	station_of(w)->closed++;
}

static const struct wire_handler serves_drivers = {
	.expects_requests = true,
	.on_open = on_open,
	.on_frame = on_frame,
	.on_bad = on_bad,
	.on_progress = on_progress,
	.on_closed = on_closed,
};

static const struct wire_handler asks_nodes = {
	.expects_requests = false,
	.on_open = on_open,
	.on_frame = on_frame,
	.on_bad = on_bad,
	.on_closed = on_closed,
};

static struct station *station_open(const struct wire_handler *h, enum wire_framing framing, uint32_t max_frame)
{
	struct station *s = calloc(1, sizeof(*s));
	int fd[2];

	tcp_pair(fd);
	s->peer = fd[1];
	s->close_at = s->pause_at = s->switch_at = -1;
	wire_init(&s->w, &loop, h, max_frame);
	ck_assert(sbuf_adopt(&s->w.sb, fd[0], NULL));
	wire_set_in_framing(&s->w, framing);
	wire_set_out_framing(&s->w, framing);
	return s;
}

static void station_close(struct station *s)
{
	wire_close(&s->w);
	wire_close(&s->w);
	if (s->kept)
		chunk_unref(s->kept);
	close(s->peer);
	free(s);
}

/* Sends bytes from the peer in pieces of at most `piece` and lets the wire read each of them. */
static void feed(struct station *s, const uint8_t *p, size_t len, size_t piece)
{
	for (size_t at = 0; at < len && s->w.sb.state == SBUF_OPEN; at += piece) {
		peer_write(s->peer, p + at, MIN(piece, len - at));
		loop_take_all(s->w.sb.fd);
	}
}

static const struct {
	enum wire_framing framing;
	uint8_t version;
} ways[] = { { WIRE_PLAIN, 4 }, { WIRE_SEGMENTS, 5 }, { WIRE_SEGMENTS_LZ4, 5 } };

/* Packs a stream of frames into segments of at most `size`; plain ones stay as they are. */
static struct bytes wrap(const struct bytes *frames, size_t size, enum wire_framing framing)
{
	struct bytes b = { NULL, 0 };

	if (framing == WIRE_PLAIN) {
		add(&b, frames->p, frames->len);
		return b;
	}
	for (size_t at = 0; at < frames->len; at += size)
		add_segment(&b, frames->p + at, MIN(size, frames->len - at), frames->len <= size, framing);
	return b;
}

/* ---- reading ---- */

static struct bytes three_frames(uint8_t version)
{
	struct bytes b = { NULL, 0 };

	add_frame(&b, version, 1, OP_QUERY, 20);
	add_frame(&b, version, 2, OP_OPTIONS, 0);
	add_frame(&b, version, 300, OP_EXECUTE, 33);
	return b;
}

static void expect_three(const struct station *s)
{
	ck_assert_uint_eq(s->count, 3);
	ck_assert_int_eq(s->seen[0].stream, 1);
	ck_assert_int_eq(s->seen[0].opcode, OP_QUERY);
	ck_assert_uint_eq(s->seen[0].length, 20);
	ck_assert_int_eq(s->seen[1].stream, 2);
	ck_assert_uint_eq(s->seen[1].length, 0);
	ck_assert_int_eq(s->seen[2].stream, 300);
	ck_assert_uint_eq(s->seen[2].length, 33);
	ck_assert_ptr_null(s->w.sb.in);
	ck_assert_ptr_null(s->w.assembly);
	ck_assert_uint_eq(s->bad_count + s->closed, 0);
}

/* Three frames in one segment, in two reads cut at every byte. */
START_TEST(cut_at_every_byte)
{
	struct bytes frames = three_frames(ways[_i].version);
	struct bytes wrapped = wrap(&frames, MAX_PAYLOAD, ways[_i].framing);

	for (size_t cut = 1; cut < wrapped.len; cut++) {
		struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);

		feed(s, wrapped.p, cut, cut);
		feed(s, wrapped.p + cut, wrapped.len - cut, wrapped.len);
		expect_three(s);
		station_close(s);
	}
	drop(&frames);
	drop(&wrapped);
}
END_TEST

/* One segment ends and the next begins at every byte of the stream of frames. */
START_TEST(segments_end_at_every_byte)
{
	struct bytes frames = three_frames(ways[_i].version);

	for (size_t size = 1; size < frames.len; size++) {
		struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
		struct bytes wrapped = wrap(&frames, size, ways[_i].framing);

		feed(s, wrapped.p, wrapped.len, size % 2 ? wrapped.len : 17);
		expect_three(s);
		station_close(s);
		drop(&wrapped);
	}
	drop(&frames);
}
END_TEST

START_TEST(empty_segments)
{
	struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
	struct bytes frames = three_frames(ways[_i].version);
	struct bytes b = { NULL, 0 };

	add_segment(&b, NULL, 0, true, ways[_i].framing);
	add_segment(&b, frames.p, 15, false, ways[_i].framing);
	add_segment(&b, NULL, 0, false, ways[_i].framing);
	add_segment(&b, frames.p + 15, frames.len - 15, false, ways[_i].framing);
	feed(s, b.p, b.len, b.len);
	expect_three(s);
	drop(&b);
	drop(&frames);
	station_close(s);
}
END_TEST

static const uint32_t totals[] = {
	16384, 32768, 65536, 131070, 131071, 131072, 131073, 262142, 262143, 262144, 1000000
};

/* Frames around the size of a segment, with a small one before and behind. */
START_TEST(large_frames_come_in)
{
	for (unsigned way = 0; way < ARRAY_LEN(ways); way++) {
		struct station *s = station_open(&asks_nodes, ways[way].framing, 1 << 20);
		struct bytes frames = { NULL, 0 };
		struct bytes wrapped;
		const uint8_t version = ways[way].version | 0x80;

		add_frame(&frames, version, 1, OP_RESULT, 5);
		add_frame(&frames, version, 2, OP_RESULT, totals[_i] - 9);
		add_frame(&frames, version, 3, OP_RESULT, 5);
		wrapped = wrap(&frames, MAX_PAYLOAD, ways[way].framing);
		feed(s, wrapped.p, wrapped.len, 50000);
		ck_assert_uint_eq(s->count, 3);
		ck_assert_uint_eq(s->seen[1].length, totals[_i] - 9);
		ck_assert_int_eq(s->seen[2].stream, 3);
		ck_assert_ptr_null(s->w.sb.in);
		ck_assert_ptr_null(s->w.assembly);
		if (totals[_i] > MAX_PAYLOAD + 14)
			ck_assert(s->seen[1].had_chunk); /* whole in a block that may be kept */
		drop(&frames);
		drop(&wrapped);
		station_close(s);
	}
}
END_TEST

static void expect_bad(enum wire_framing framing, const struct wire_handler *h, const uint8_t *p, size_t len,
		       enum wire_bad bad)
{
	struct station *s = station_open(h, framing, 1000);

	feed(s, p, len, len);
	ck_assert_uint_eq(s->bad_count, 1);
	ck_assert_int_eq(s->bad, bad);
	ck_assert_uint_eq(s->count, 0);
	/* nothing more is read */
	peer_write(s->peer, p, len);
	for (unsigned i = 0; i < 3; i++)
		loop_turn(&loop, false);
	ck_assert_uint_eq(s->bad_count, 1);
	ck_assert_uint_eq(s->count, 0);
	station_close(s);
}

/* Any flipped bit of a segment is noticed before a frame of it is handed up. */
START_TEST(broken_checksums)
{
	const enum wire_framing framing = ways[_i].framing;
	struct bytes frames = three_frames(5);
	struct bytes b = wrap(&frames, MAX_PAYLOAD, framing);

	for (size_t i = 0; i < b.len; i++) {
		b.p[i] ^= (uint8_t)(1 << i % 8);
		expect_bad(framing, &serves_drivers, b.p, b.len, WIRE_BAD_SEGMENT);
		b.p[i] ^= (uint8_t)(1 << i % 8);
	}
	drop(&b);
	drop(&frames);
}
END_TEST

/* The checksums are right and the lz4 block is not. */
START_TEST(damaged_lz4)
{
	uint8_t garbage[40];
	struct bytes b = { NULL, 0 };
	const uint64_t header = sizeof(garbage) | (uint64_t)1000 << 17 | 1ull << 34;

	memset(garbage, 0xff, sizeof(garbage));
	add_le(&b, header, 5);
	add_le(&b, crc24(header, 5), 3);
	add(&b, garbage, sizeof(garbage));
	add_le(&b, crc32_of(garbage, sizeof(garbage)), 4);
	expect_bad(WIRE_SEGMENTS_LZ4, &serves_drivers, b.p, b.len, WIRE_BAD_SEGMENT);
	drop(&b);
}
END_TEST

static const struct {
	const char *name;
	uint8_t bytes[9];
	size_t len;
	bool from_node;
	enum wire_bad bad;
} bad_heads[] = {
	{ "version 6", { 6, 0, 0, 1, OP_QUERY, 0, 0, 0, 0 }, 9, false, WIRE_BAD_VERSION },
	{ "version 1, of one byte", { 1 }, 1, false, WIRE_BAD_VERSION },
	{ "version 0", { 0 }, 1, false, WIRE_BAD_VERSION },
	{ "above DSE v2", { 0x43, 0, 0, 1, OP_STARTUP }, 5, false, WIRE_BAD_VERSION },
	{ "the beginning of TLS", { 0x16, 3, 1 }, 3, false, WIRE_BAD_VERSION },
	{ "an answer to us", { 0x84, 0, 0, 1, OP_RESULT, 0, 0, 0, 0 }, 9, false, WIRE_BAD_DIRECTION },
	{ "a request from a node", { 4, 0, 0, 1, OP_QUERY, 0, 0, 0, 0 }, 9, true, WIRE_BAD_DIRECTION },
	{ "an answer's opcode", { 4, 0, 0, 1, OP_RESULT, 0, 0, 0, 0 }, 9, false, WIRE_BAD_OPCODE },
	{ "a request's opcode", { 0x84, 0, 0, 1, OP_QUERY, 0, 0, 0, 0 }, 9, true, WIRE_BAD_OPCODE },
	{ "no opcode", { 4, 0, 0, 1, 0x04, 0, 0, 0, 0 }, 9, false, WIRE_BAD_OPCODE },
	{ "above all opcodes", { 4, 0, 0, 1, 0xff, 0, 0, 0, 0 }, 9, false, WIRE_BAD_OPCODE },
	{ "REVISE before DSE", { 5, 0, 0, 1, OP_REVISE, 0, 0, 0, 0 }, 9, false, WIRE_BAD_OPCODE },
	{ "one too long", { 4, 0, 0, 1, OP_QUERY, 0, 0, 0x03, 0xe9 }, 9, false, WIRE_BAD_LENGTH },
	{ "negative length", { 4, 0, 0, 1, OP_QUERY, 0xff, 0xff, 0xff, 0xff }, 9, false, WIRE_BAD_LENGTH },
	{ "most negative length", { 4, 0, 0, 1, OP_QUERY, 0x80, 0, 0, 0 }, 9, false, WIRE_BAD_LENGTH },
};

/* Headers of 8 bytes, in pieces of every size, in both directions; the second frame has a chunk of its own. */
START_TEST(frames_of_v2)
{
	struct bytes in = { NULL, 0 }, out = { NULL, 0 };
	uint8_t head[FRAME_HEAD_LEN], body[300];
	uint8_t *got;

	add_frame(&in, 2, 0, OP_OPTIONS, 0);
	add_frame(&in, 2, 127, OP_QUERY, 70000);
	add_frame(&in, 2, -2, OP_QUERY, 5);
	add_frame(&out, 0x82, 127, OP_RESULT, 300);
	add_frame(&out, 0x82, -1, OP_EVENT, 0);
	for (size_t piece = 1; piece < 12; piece++) {
		struct station *s = station_open(&serves_drivers, WIRE_PLAIN, 1 << 20);

		feed(s, in.p, 30, piece);
		feed(s, in.p + 30, in.len - 30, 30000 + piece);
		ck_assert_uint_eq(s->count, 3);
		ck_assert_int_eq(s->seen[0].stream, 0);
		ck_assert_int_eq(s->seen[0].opcode, OP_OPTIONS);
		ck_assert_int_eq(s->seen[1].stream, 127);
		ck_assert_uint_eq(s->seen[1].length, 70000);
		ck_assert_int_eq(s->seen[2].stream, -2);
		ck_assert_int_eq(s->seen[2].opcode, OP_QUERY);
		ck_assert_uint_eq(s->seen[2].version, 2);
		for (uint32_t i = 0; i < sizeof(body); i++)
			body[i] = pattern_byte(i + 127);
		frame_head_write(head, true, 2, 0, 127, OP_RESULT, sizeof(body));
		wire_send_body(&s->w, head, body, sizeof(body));
		frame_head_write(head, true, 2, 0, -1, OP_EVENT, 0);
		wire_send_body(&s->w, head, NULL, 0);
		loop_turn(&loop, false);
		got = malloc(out.len);
		ck_assert_uint_eq(peer_read(s->peer, got, out.len), out.len);
		ck_assert_mem_eq(got, out.p, out.len);
		free(got);
		station_close(s);
	}
	drop(&in);
	drop(&out);
}
END_TEST

/* Told from the header alone: the body never comes. */
START_TEST(bad_headers)
{
	const struct wire_handler *h = bad_heads[_i].from_node ? &asks_nodes : &serves_drivers;

	expect_bad(WIRE_PLAIN, h, bad_heads[_i].bytes, bad_heads[_i].len, bad_heads[_i].bad);
	for (unsigned way = 1; way < ARRAY_LEN(ways); way++) {
		struct bytes frame = { NULL, 0 }, b = { NULL, 0 };

		add(&frame, bad_heads[_i].bytes, bad_heads[_i].len);
		b = wrap(&frame, MAX_PAYLOAD, ways[way].framing);
		expect_bad(ways[way].framing, h, b.p, b.len, bad_heads[_i].bad);
		drop(&b);
		if (frame.len == 9) { /* the header itself in two segments */
			b = wrap(&frame, 4, ways[way].framing);
			expect_bad(ways[way].framing, h, b.p, b.len, bad_heads[_i].bad);
			drop(&b);
		}
		drop(&frame);
	}
}
END_TEST

START_TEST(the_longest_that_is_taken)
{
	struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
	struct bytes frames = { NULL, 0 }, b;

	add_frame(&frames, ways[_i].version, 5, OP_QUERY, 1000);
	b = wrap(&frames, 600, ways[_i].framing);
	feed(s, b.p, b.len, b.len);
	ck_assert_uint_eq(s->count, 1);
	ck_assert_uint_eq(s->seen[0].length, 1000);
	drop(&frames);
	drop(&b);
	station_close(s);
}
END_TEST

/* READY is plain, what stands behind it in the same read is in segments. */
START_TEST(framing_changes_between_two_frames)
{
	struct bytes b = { NULL, 0 }, frames = { NULL, 0 }, wrapped;

	add_frame(&b, 0x85, 1, OP_READY, 0);
	add_frame(&frames, 0x85, 2, OP_RESULT, 100);
	add_frame(&frames, 0x85, 3, OP_RESULT, 200);
	wrapped = wrap(&frames, 150, ways[_i].framing);
	add(&b, wrapped.p, wrapped.len);
	for (size_t cut = 1; cut <= b.len; cut += 7) {
		struct station *s = station_open(&asks_nodes, WIRE_PLAIN, 1000);

		s->switch_at = 1;
		s->switch_to = ways[_i].framing;
		feed(s, b.p, b.len, cut);
		ck_assert_uint_eq(s->count, 3);
		ck_assert_int_eq(s->seen[2].stream, 3);
		station_close(s);
	}
	drop(&b);
	drop(&frames);
	drop(&wrapped);
}
END_TEST

START_TEST(closed_in_on_frame)
{
	for (size_t size = 10; size <= 80; size += 35) {
		struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
		struct bytes frames = three_frames(ways[_i].version);
		struct bytes b = wrap(&frames, size, ways[_i].framing);

		s->close_at = 1;
		peer_write(s->peer, b.p, b.len);
		loop_until(s->count == 1);
		loop_turn(&loop, false);
		ck_assert_uint_eq(s->count, 1);
		ck_assert_uint_eq(s->closed, 0);
		ck_assert_ptr_null(s->w.assembly);
		drop(&frames);
		drop(&b);
		station_close(s);
	}
}
END_TEST

/* A wire that is paused in on_frame() hands up no more than the rest of the segment, and goes on when it is resumed. */
START_TEST(paused_in_on_frame)
{
	struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
	struct bytes b = { NULL, 0 };

	for (int16_t i = 0; i < 40; i++) {
		struct bytes frame = { NULL, 0 }, one;

		add_frame(&frame, ways[_i].version, i, OP_QUERY, 50);
		one = wrap(&frame, MAX_PAYLOAD, ways[_i].framing);
		add(&b, one.p, one.len);
		drop(&frame);
		drop(&one);
	}
	s->pause_at = 3;
	peer_write(s->peer, b.p, b.len - 20);
	loop_take_all(s->w.sb.fd);
	for (unsigned i = 0; i < 3; i++)
		loop_turn(&loop, false);
	ck_assert_uint_eq(s->count, 4);
	s->pause_at = 10;
	sbuf_resume(&s->w.sb);
	loop_until(s->count == 11);
	loop_turn(&loop, false);
	ck_assert_uint_eq(s->count, 11);
	s->pause_at = -1;
	sbuf_resume(&s->w.sb);
	loop_until(s->count == 39);
	peer_write(s->peer, b.p + b.len - 20, 20);
	loop_until(s->count == 40);
	for (unsigned i = 0; i < 40; i++)
		ck_assert_int_eq(s->seen[i].stream, (int)i);
	drop(&b);
	station_close(s);
}
END_TEST

/* ---- writing ---- */

/* Queues a frame with a patterned body in a chunk of its own, in `pieces` parts; the same goes to `expected`. */
static void send_frame(struct station *s, struct bytes *expected, uint8_t version, int16_t stream, uint32_t length,
		       unsigned pieces, bool in_chunk)
{
	struct chunk *c = chunk_new(&loop.chunks, length + 1);
	struct wire_piece list[WIRE_MAX_PIECES];
	const size_t start = expected->len;
	uint32_t at = 0;

	add_frame(expected, version, stream, version & 0x80 ? OP_RESULT : OP_QUERY, length);
	memcpy(c->data, expected->p + start + 9, length);
	for (unsigned i = 0; i < pieces; i++) {
		uint32_t n = i + 1 == pieces ? length - at : (length - at) / (pieces - i + 1);

		list[i] = (struct wire_piece){ c->data + at, n, in_chunk ? c : NULL };
		at += n;
	}
	wire_send(&s->w, expected->p + start, list, length > 0 ? pieces : 0);
	if (!in_chunk)
		memset(c->data, 0xdd, length); /* it was copied */
	chunk_unref(c);
}

/* Reads what comes, until all of the expected frames did; checks them; the segments in *u (WIRE_PLAIN: none). */
static void expect_out(struct station *s, const struct bytes *expected, enum wire_framing framing, struct unwrapped *u)
{
	struct bytes got = { NULL, 0 };

	for (bool more = true; more;) {
		static uint8_t buffer[1 << 18];
		int unsent = 0;
		ssize_t n;

		loop_turn(&loop, false);
		ck_assert_int_eq(ioctl(s->w.sb.fd, SIOCOUTQ, &unsent), 0);
		n = recv(s->peer, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n > 0)
			add(&got, buffer, (size_t)n);
		more = n > 0 || unsent > 0 || s->w.sb.out_head || s->w.sb.is_dirty;
	}
	if (framing == WIRE_PLAIN) {
		memset(u, 0, sizeof(*u));
		add(&u->payload, got.p, got.len);
	} else {
		unwrap(got.p, got.len, framing, u);
	}
	ck_assert_uint_eq(u->payload.len, expected->len);
	ck_assert_mem_eq(u->payload.p, expected->p, expected->len);
	drop(&got);
	ck_assert_uint_eq(wire_pending(&s->w), 0);
	ck_assert_ptr_null(s->w.plain);
}

START_TEST(frames_of_a_turn_share_a_segment)
{
	struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
	struct bytes expected = { NULL, 0 };
	struct unwrapped u;

	for (int16_t i = 0; i < 30; i++)
		send_frame(s, &expected, ways[_i].version | 0x80, i, (uint32_t)i * 40, 1 + (unsigned)i % 3, i % 2);
	ck_assert_uint_ge(wire_pending(&s->w), expected.len);
	expect_out(s, &expected, ways[_i].framing, &u);
	ck_assert_uint_eq(u.segments, ways[_i].framing == WIRE_PLAIN ? 0 : 1);
	ck_assert(ways[_i].framing == WIRE_PLAIN || u.self_contained[0]);
	ck_assert_uint_eq(s->progressed, 1);
	drop(&u.payload);
	drop(&expected);
	/* the next turn has a segment of its own */
	send_frame(s, &expected, ways[_i].version | 0x80, 7, 10, 1, false);
	expect_out(s, &expected, ways[_i].framing, &u);
	ck_assert_uint_eq(u.segments, ways[_i].framing == WIRE_PLAIN ? 0 : 1);
	drop(&u.payload);
	drop(&expected);
	station_close(s);
}
END_TEST

/* Frames around the size of a segment: alone in one, or in several none of which is self-contained; small ones around. */
START_TEST(large_frames_go_out)
{
	const uint32_t total = totals[_i];

	for (unsigned way = 0; way < ARRAY_LEN(ways); way++) {
		for (unsigned pieces = 1; pieces <= 4; pieces += 3) {
			struct station *s = station_open(&asks_nodes, ways[way].framing, 1000);
			struct bytes expected = { NULL, 0 };
			struct unwrapped u;
			const unsigned slices = (total + MAX_PAYLOAD - 1) / MAX_PAYLOAD;

			send_frame(s, &expected, ways[way].version, 1, total - 9, pieces, pieces == 1);
			expect_out(s, &expected, ways[way].framing, &u);
			if (ways[way].framing != WIRE_PLAIN) {
				ck_assert_uint_eq(u.segments, slices);
				for (unsigned k = 0; k < slices; k++) {
					ck_assert_int_eq(u.self_contained[k], slices == 1);
					ck_assert_uint_eq(u.sizes[k],
							  k + 1 < slices ? MAX_PAYLOAD : total - k * MAX_PAYLOAD);
				}
			}
			drop(&u.payload);
			drop(&expected);
			send_frame(s, &expected, ways[way].version, 2, 100, 1, false);
			send_frame(s, &expected, ways[way].version, 3, total - 9, pieces, true);
			send_frame(s, &expected, ways[way].version, 4, 100, 1, false);
			expect_out(s, &expected, ways[way].framing, &u);
			drop(&u.payload);
			drop(&expected);
			station_close(s);
		}
	}
}
END_TEST

/* Two frames that just fit into a segment together, and two that do not by one byte. */
START_TEST(two_frames_fill_a_segment)
{
	for (unsigned over = 0; over < 2; over++) {
		struct station *s = station_open(&asks_nodes, ways[_i].framing, 1000);
		struct bytes expected = { NULL, 0 };
		struct unwrapped u;

		send_frame(s, &expected, 5, 1, 70000 - 9, 1, true);
		send_frame(s, &expected, 5, 2, MAX_PAYLOAD - 70000 - 9 + over, 1, false);
		ck_assert_uint_eq(expected.len, MAX_PAYLOAD + over);
		expect_out(s, &expected, ways[_i].framing, &u);
		ck_assert_uint_eq(u.segments, 1 + over);
		for (unsigned k = 0; k < u.segments; k++)
			ck_assert(u.self_contained[k]);
		if (over)
			ck_assert_uint_eq(u.sizes[0], 70000);
		drop(&u.payload);
		drop(&expected);
		station_close(s);
	}
}
END_TEST

/* Segments begin at every place of an outgoing buffer, also where their header just fits into it or does not. */
START_TEST(segments_at_the_end_of_a_buffer)
{
	for (uint32_t length = 15800; length < 16400; length += _i == 1 ? 1 : 13) {
		struct station *s = station_open(&asks_nodes, ways[_i].framing, 1000);
		struct bytes expected = { NULL, 0 };
		struct unwrapped u;

		send_frame(s, &expected, 5, 1, length - 9, 1, false);
		wire_set_out_framing(&s->w, ways[_i].framing); /* closes the segment, the flush is still to come */
		send_frame(s, &expected, 5, 2, 300, 2, false);
		expect_out(s, &expected, ways[_i].framing, &u);
		ck_assert_uint_eq(u.segments, 2);
		drop(&u.payload);
		drop(&expected);
		station_close(s);
	}
}
END_TEST

/* Queues a frame whose body is put where it leaves from, when there is room for it; true when there was. */
static bool begin_frame(struct station *s, struct bytes *expected, int16_t stream, uint32_t length)
{
	const size_t start = expected->len;
	uint8_t *body = wire_begin(&s->w, false, 5, 0, stream, OP_QUERY, length);

	add_frame(expected, 5, stream, OP_QUERY, length);
	if (body)
		memcpy(body, expected->p + start + 9, length);
	else
		wire_send_body(&s->w, expected->p + start, expected->p + start + 9, length);
	return body != NULL;
}

/* The first frame of a segment, one that ends at each byte around the end of the first buffer (512 bytes), one behind it. */
START_TEST(frames_begun_at_the_end_of_a_buffer)
{
	for (uint32_t length = 370; length < 410; length++) {
		struct station *s = station_open(&asks_nodes, ways[_i].framing, 1000);
		struct bytes expected = { NULL, 0 };
		struct unwrapped u;

		ck_assert(begin_frame(s, &expected, 1, 91));
		ck_assert(begin_frame(s, &expected, 2, length));
		if (length % 2)
			ck_assert(begin_frame(s, &expected, 3, 50));
		expect_out(s, &expected, ways[_i].framing, &u);
		ck_assert_uint_eq(u.segments, ways[_i].framing == WIRE_PLAIN ? 0 : 1);
		drop(&u.payload);
		drop(&expected);
		station_close(s);
	}
}
END_TEST

/* More of them than a segment holds; and around the size from which it is done otherwise. */
START_TEST(frames_begun_until_a_segment_is_full)
{
	struct station *s = station_open(&asks_nodes, ways[_i].framing, 1000);
	struct bytes expected = { NULL, 0 };
	struct unwrapped u;

	for (int16_t i = 0; i < 20; i++)
		ck_assert(begin_frame(s, &expected, i, 13000));
	expect_out(s, &expected, ways[_i].framing, &u);
	ck_assert_uint_eq(u.segments, ways[_i].framing == WIRE_PLAIN ? 0 : 2);
	ck_assert(ways[_i].framing == WIRE_PLAIN || (u.sizes[0] == 10 * 13009 && u.self_contained[0]));
	drop(&u.payload);
	drop(&expected);
	for (uint32_t length = WIRE_REF_MIN - 30; length < WIRE_REF_MIN + 4; length++) {
		ck_assert_int_eq(begin_frame(s, &expected, 7, length),
				 length < (ways[_i].framing == WIRE_SEGMENTS ? WIRE_REF_MIN - 18 : WIRE_REF_MIN - 9));
		expect_out(s, &expected, ways[_i].framing, &u);
		drop(&u.payload);
		drop(&expected);
	}
	station_close(s);
}
END_TEST

/* AUTHENTICATE goes out plain, what is queued behind it in the same turn does not. */
START_TEST(out_framing_changes_between_two_frames)
{
	struct station *s = station_open(&serves_drivers, WIRE_PLAIN, 1000);
	struct bytes plain = { NULL, 0 }, rest = { NULL, 0 };
	struct unwrapped u;
	uint8_t *got;

	send_frame(s, &plain, 0x85, 1, 30, 1, false);
	wire_set_out_framing(&s->w, ways[_i].framing);
	send_frame(s, &rest, 0x85, 2, 40, 1, false);
	got = malloc(plain.len);
	ck_assert_uint_eq(peer_read(s->peer, got, plain.len), plain.len);
	ck_assert_mem_eq(got, plain.p, plain.len);
	expect_out(s, &rest, ways[_i].framing, &u);
	ck_assert_uint_eq(u.segments, 1);
	free(got);
	drop(&u.payload);
	drop(&plain);
	drop(&rest);
	station_close(s);
}
END_TEST

/* Bytes that no compression makes shorter. */
static const uint8_t token[] = "\0cassandra\0qZ7pLx0vR9mKt3wYbN5c";

/* True when a free chunk has the token in it. */
static bool is_token_left(void)
{
	for (unsigned i = 0; i < CHUNK_CLASSES; i++)
		for (const struct chunk *c = loop.chunks.free[i]; c; c = c->next)
			if (memmem(c->data, c->cap, token, sizeof(token)))
				return true;
	return false;
}

/* Alone, and in front of one for which the room that was taken first is too small. */
START_TEST(a_password_is_not_left_in_buffers)
{
	for (uint32_t behind = 0; behind <= 3000; behind += 3000) {
		struct station *s = station_open(&asks_nodes, ways[_i].framing, 1000);
		uint8_t head[FRAME_HEAD_LEN];
		uint8_t got[256];

		frame_head_write(head, false, ways[_i].version, 0, 1, OP_AUTH_RESPONSE, sizeof(token));
		wire_send_body(&s->w, head, token, sizeof(token));
		wire_mark_secret(&s->w);
		if (behind > 0) {
			struct bytes expected = { NULL, 0 };

			send_frame(s, &expected, ways[_i].version, 2, behind, 1, false);
			drop(&expected);
		}
		ck_assert_uint_eq(peer_read(s->peer, got, 40), 40);
		ck_assert(behind > 0 || memmem(got, 40, token, 10));
		loop_until(!s->w.sb.out_head);
		ck_assert(!is_token_left());
		station_close(s);
	}
}
END_TEST

/* wire_finish() completes the segment that is open. */
START_TEST(finish_closes_the_segment)
{
	struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
	struct bytes expected = { NULL, 0 };
	struct unwrapped u;

	send_frame(s, &expected, ways[_i].version | 0x80, 1, 30, 1, false);
	wire_finish(&s->w);
	ck_assert(!wire_is_writable(&s->w));
	wire_send(&s->w, expected.p, NULL, 0); /* too late: nothing happens */
	expect_out(s, &expected, ways[_i].framing, &u);
	drop(&u.payload);
	drop(&expected);
	station_close(s);
}
END_TEST

/* More is queued while the peer takes nothing: in the end every byte is there. */
START_TEST(queued_behind_a_full_socket)
{
	struct station *s = station_open(&serves_drivers, ways[_i].framing, 1000);
	struct bytes expected = { NULL, 0 };
	struct unwrapped u;
	uint32_t state = 1;

	for (unsigned turn = 0; turn < 12; turn++) {
		for (unsigned k = 0; k < 8; k++) {
			state = state * 1664525 + 1013904223;
			send_frame(s, &expected, ways[_i].version | 0x80, (int16_t)(turn * 8 + k), state >> 8 & 0xffff,
				   1 + k % 2, k % 3);
		}
		loop_turn(&loop, false);
	}
	expect_out(s, &expected, ways[_i].framing, &u);
	drop(&u.payload);
	drop(&expected);
	station_close(s);
}
END_TEST

/* ---- edits ---- */

struct edit {
	uint32_t offset, drop;
	const char *with;
};

static const struct {
	struct edit edits[7];
	unsigned count;
} edit_lists[] = {
	{ { { 0 } }, 0 },
	{ { { 0, 0, "in front" } }, 1 },
	{ { { 0, 5, "" } }, 1 },
	{ { { 0, 100, "all of it" } }, 1 },
	{ { { 100, 0, "behind" } }, 1 },
	{ { { 95, 5, "" } }, 1 },
	{ { { 40, 7, "others" }, { 60, 4, "" } }, 2 },
	{ { { 40, 7, "side" }, { 47, 3, "by" }, { 50, 50, "side" } }, 3 },
	{ { { 10, 0, "a" }, { 10, 2, "bc" }, { 12, 0, "d" } }, 3 },
	{ { { 1, 1, "" }, { 3, 1, "xx" }, { 5, 1, "" }, { 7, 0, "y" }, { 9, 9, "zz" }, { 50, 1, "" }, { 99, 1, "!" } },
	  7 },
};

START_TEST(edits)
{
	for (unsigned way = 0; way < ARRAY_LEN(ways); way++) {
		for (uint32_t scale = 1; scale <= 1000; scale *= 1000) { /* a hundred bytes, and a chunk of 100000 */
			struct station *s = station_open(&serves_drivers, ways[way].framing, 1000);
			const uint32_t len = 100 * scale;
			struct chunk *body = chunk_new(&loop.chunks, len);
			struct frame_edit list[7];
			struct wire_piece pieces[WIRE_MAX_PIECES];
			struct bytes expected = { NULL, 0 };
			struct unwrapped u;
			uint8_t head[9] = { ways[way].version | 0x80, 0, 0, 1, OP_RESULT };
			uint32_t at = 0, length;
			unsigned n;

			pattern_fill(body->data, len);
			add(&expected, head, 9);
			for (unsigned i = 0; i < edit_lists[_i].count; i++) {
				const struct edit *e = &edit_lists[_i].edits[i];

				list[i] = (struct frame_edit){ .offset = e->offset * scale,
							       .drop = e->drop * scale,
							       .len = (uint32_t)strlen(e->with),
							       .with = (const uint8_t *)e->with };
				add(&expected, body->data + at, e->offset * scale - at);
				add(&expected, e->with, strlen(e->with));
				at = (e->offset + e->drop) * scale;
			}
			add(&expected, body->data + at, len - at);
			n = wire_edit(body->data, len, body, list, edit_lists[_i].count, pieces, &length);
			ck_assert_uint_le(n, 2 * edit_lists[_i].count + 1);
			ck_assert_uint_eq(length, expected.len - 9);
			for (unsigned i = 0; i < 4; i++)
				head[5 + i] = (uint8_t)(length >> (24 - 8 * i));
			memcpy(expected.p, head, 9);
			wire_send(&s->w, head, pieces, n);
			expect_out(s, &expected, ways[way].framing, &u);
			ck_assert_uint_eq(body->refs, 1);
			chunk_unref(body);
			drop(&u.payload);
			drop(&expected);
			station_close(s);
		}
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("wire");

	make_crc32_table();
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, helper_loop_start, helper_loop_end);
	tcase_add_loop_test(tcase, cut_at_every_byte, 0, 3);
	tcase_add_loop_test(tcase, segments_end_at_every_byte, 1, 3);
	tcase_add_loop_test(tcase, empty_segments, 1, 3);
	tcase_add_loop_test(tcase, large_frames_come_in, 0, ARRAY_LEN(totals));
	tcase_add_loop_test(tcase, broken_checksums, 1, 3);
	tcase_add_test(tcase, damaged_lz4);
	tcase_add_test(tcase, frames_of_v2);
	tcase_add_loop_test(tcase, bad_headers, 0, ARRAY_LEN(bad_heads));
	tcase_add_loop_test(tcase, the_longest_that_is_taken, 0, 3);
	tcase_add_loop_test(tcase, framing_changes_between_two_frames, 1, 3);
	tcase_add_loop_test(tcase, closed_in_on_frame, 0, 3);
	tcase_add_loop_test(tcase, paused_in_on_frame, 0, 3);
	tcase_add_loop_test(tcase, frames_of_a_turn_share_a_segment, 0, 3);
	tcase_add_loop_test(tcase, large_frames_go_out, 0, ARRAY_LEN(totals));
	tcase_add_loop_test(tcase, two_frames_fill_a_segment, 1, 3);
	tcase_add_loop_test(tcase, segments_at_the_end_of_a_buffer, 1, 3);
	tcase_add_loop_test(tcase, frames_begun_at_the_end_of_a_buffer, 0, 3);
	tcase_add_loop_test(tcase, frames_begun_until_a_segment_is_full, 0, 3);
	tcase_add_loop_test(tcase, out_framing_changes_between_two_frames, 1, 3);
	tcase_add_loop_test(tcase, a_password_is_not_left_in_buffers, 0, 3);
	tcase_add_loop_test(tcase, finish_closes_the_segment, 0, 3);
	tcase_add_loop_test(tcase, queued_behind_a_full_socket, 0, 3);
	tcase_add_loop_test(tcase, edits, 0, ARRAY_LEN(edit_lists));
	return run_tcase("wire", tcase);
}
