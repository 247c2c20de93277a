/* framing.c - see framing.h */
#include "framing.h"

#include <string.h>

#include "cql/compress.h"
#include "cql/segment.h"

/* As Cassandra's native_transport_max_frame_size allows at most. */
#define FRAME_MAX (256u * 1024 * 1024)

/* The body of a compressed frame, or the payload of a compressed segment, while it is handed up. */
static struct writer plain;

/* ---- out ---- */

static void put_compressed(struct peer *p, const uint8_t *frame, uint32_t length)
{
	const uint32_t bound = compression_bound(p->compression, length);
	uint8_t *at = outbox_reserve(&p->out, FRAME_HEAD_LEN + bound);
	uint32_t packed = 0;

	memcpy(at, frame, FRAME_HEAD_LEN);
	if (length > 0) {
		packed = compression_compress(p->compression, frame + FRAME_HEAD_LEN, length, at + FRAME_HEAD_LEN);
		at[1] |= FRAME_COMPRESSED;
		put_u32(at + 5, packed);
	}
	outbox_shorten(&p->out, bound - packed);
}

static void put_segment(struct peer *p, const uint8_t *payload, uint32_t length, bool self_contained)
{
	uint8_t *at;

	if (p->compression != COMPRESSION_NONE) {
		const uint32_t room = SEGMENT_HEAD_LZ4 + length + SEGMENT_TRAILER;

		at = outbox_reserve(&p->out, room);
		outbox_shorten(&p->out, room - segment_build_lz4(at, payload, length, self_contained));
		return;
	}
	at = outbox_reserve(&p->out, SEGMENT_HEAD_PLAIN + length + SEGMENT_TRAILER);
	segment_head_write(at, length, self_contained);
	memcpy(at + SEGMENT_HEAD_PLAIN, payload, length);
	segment_trailer_write(at + SEGMENT_HEAD_PLAIN + length, segment_crc32(segment_crc32_start(), payload, length));
}

/* A frame that is larger than a segment has several for itself. */
static void put_large_frame(struct peer *p, const uint8_t *frame, uint32_t total)
{
	for (uint32_t done = 0; done < total;) {
		const uint32_t part = MIN(total - done, (uint32_t)SEGMENT_MAX_PAYLOAD);

		put_segment(p, frame + done, part, false);
		done += part;
	}
}

/* As many whole frames as fit share a segment. */
static void pack_segments(struct peer *p)
{
	const uint8_t *data = p->frames.data;
	uint32_t begin = 0;
	uint32_t end = 0;

	while (end < p->frames.len) {
		const uint32_t total = FRAME_HEAD_LEN + get_u32(data + end + 5);

		if (end + total - begin > SEGMENT_MAX_PAYLOAD && end > begin) {
			put_segment(p, data + begin, end - begin, true);
			begin = end;
		}
		end += total;
		if (total > SEGMENT_MAX_PAYLOAD) {
			put_large_frame(p, data + begin, total);
			begin = end;
		}
	}
	if (end > begin)
		put_segment(p, data + begin, end - begin, true);
}

void framing_pack(struct peer *p)
{
	if (p->in_segments) {
		pack_segments(p);
	} else {
		for (uint32_t at = 0; at < p->frames.len;) {
			const uint32_t length = get_u32(p->frames.data + at + 5);

			put_compressed(p, p->frames.data + at, length);
			at += FRAME_HEAD_LEN + length;
		}
	}
	p->frames.len = 0;
}

/* ---- in ---- */

static uint8_t *plain_reserve(uint32_t n)
{
	plain.len = 0;
	return writer_reserve(&plain, n);
}

static void decompress(const struct peer *p, struct frame *f)
{
	uint8_t *out;
	uint32_t length;

	if (p->compression == COMPRESSION_NONE || p->in_segments)
		die("a frame is compressed, which was not agreed on");
	if (!compression_plain_length(p->compression, f->body, f->length, &length) || length > FRAME_MAX)
		die("a compressed frame is damaged");
	out = plain_reserve(length);
	if (!compression_decompress(p->compression, f->body, f->length, out, length))
		die("a compressed frame is damaged");
	f->body = out;
	f->length = length;
	f->flags &= (uint8_t)~FRAME_COMPRESSED;
}

static uint32_t frame_total(const uint8_t *data)
{
	const uint32_t length = get_u32(data + 5);

	if (length > FRAME_MAX)
		die("a frame announces %u bytes", length);
	return FRAME_HEAD_LEN + length;
}

/* Stops where the framing changes. */
static uint32_t take_frames(struct peer *p, uint8_t *data, uint32_t len)
{
	const bool in_segments = p->in_segments;
	uint32_t used = 0;

	while (len - used >= FRAME_HEAD_LEN && p->fd >= 0 && p->in_segments == in_segments) {
		const uint32_t total = frame_total(data + used);
		struct frame f;

		if (len - used < total)
			break;
		frame_head_read(&f, data + used);
		if (f.is_response == p->is_node)
			die("a frame goes the wrong way");
		f.body = data + used + FRAME_HEAD_LEN;
		f.chunk = NULL;
		used += total;
		if (unlikely(f.flags & FRAME_COMPRESSED))
			decompress(p, &f);
		p->handler->on_frame(p, &f);
	}
	return used;
}

/* A segment that holds a part of a frame. */
static void take_part(struct peer *p, const uint8_t *data, uint32_t len)
{
	struct writer whole;

	write_raw(&p->large, data, len);
	if (p->large.len < FRAME_HEAD_LEN || p->large.len < frame_total(p->large.data))
		return;
	/* The peer may be closed meanwhile, its buffers freed. */
	whole = p->large;
	p->large = (struct writer){ 0 };
	if (take_frames(p, whole.data, whole.len) < whole.len && p->fd >= 0)
		die("a segment has more than the end of its frame");
	whole.len = 0;
	if (p->fd >= 0)
		p->large = whole;
	else
		writer_free(&whole);
}

/* One segment; returns its length, 0 when it is not complete. */
static uint32_t take_segment(struct peer *p, uint8_t *data, uint32_t len)
{
	const uint32_t total = framing_need(p, data, len);
	const bool lz4 = p->compression != COMPRESSION_NONE;
	struct segment s;

	if (total == 0 || len < total)
		return 0;
	(void)segment_head_read(&s, lz4, data, len);
	data += segment_head_len(lz4);
	if (!segment_payload_ok(data, s.wire_len, data + s.wire_len))
		die("a segment is damaged");
	if (s.is_compressed) {
		uint8_t *out = plain_reserve(s.plain_len);

		if (!segment_decompress(&s, data, out))
			die("a compressed segment is damaged");
		data = out;
	}
	if (!s.self_contained)
		take_part(p, data, s.plain_len);
	else if (p->large.len > 0)
		die("a segment begins within a frame");
	else if (take_frames(p, data, s.plain_len) < s.plain_len && p->fd >= 0)
		die("a segment ends within a frame");
	return total;
}

uint32_t framing_need(const struct peer *p, const uint8_t *data, uint32_t len)
{
	const bool lz4 = p->compression != COMPRESSION_NONE;
	struct segment s;

	if (!p->in_segments)
		return len < FRAME_HEAD_LEN ? 0 : frame_total(data);
	switch (segment_head_read(&s, lz4, data, len)) {
	case PARSE_AGAIN:
		return 0;
	case PARSE_BAD:
		die("a segment header is damaged");
	case PARSE_OK:
		break;
	}
	return segment_head_len(lz4) + s.wire_len + SEGMENT_TRAILER;
}

uint32_t framing_take(struct peer *p, uint8_t *data, uint32_t len)
{
	uint32_t used = 0;

	while (used < len && p->fd >= 0) {
		const bool in_segments = p->in_segments;
		const uint32_t n = in_segments ? take_segment(p, data + used, len - used)
					       : take_frames(p, data + used, len - used);

		used += n;
		if (n == 0 || (!in_segments && !p->in_segments))
			break;
	}
	return used;
}
