/*
 * wire_write.c - see wire.h: frames on their way out
 *
 * The open segment, for WIRE_SEGMENTS. Frames A, B and C of one turn:
 *
 *   first frame    header H, A and the trailer T get their room at once, in one
 *                  buffer; H is left empty, and T is not counted yet
 *   the others     lie behind A, where T would have been
 *   before flush   T is counted; the length and its CRC24 go into H, the CRC32
 *                  into T
 *
 * So a segment of one frame, which is what a request without company is, looks
 * for room once and is finished by one call. The CRC32 is made last, because
 * frames are still changed where they lie. No copy is made of a payload that
 * has spread over several parts of the output: then its parts are walked.
 */
#include "proxy/wire.h"

#include <string.h>

/* A payload that fits into one buffer with its header and its trailer. */
#define SEGMENT_SMALL (CHUNK_BUFFER - SEGMENT_HEAD_PLAIN - SEGMENT_TRAILER)

/* A segment that has not stayed in the buffer of its header: the CRC32 is that of its parts, one after the other. */
static __attribute__((noinline)) void seal_parts(struct wire *w, uint8_t *head)
{
	const struct sbuf_part *part = w->segment_part;
	uint32_t off = (uint32_t)(head + SEGMENT_HEAD_PLAIN - part->chunk->data);
	uint32_t left = w->segment_len;
	uint32_t crc = segment_crc32_start();

	while (left > 0) {
		uint32_t n;

		if (part->off + part->len == off) { /* the header was the last thing in its part */
			part = part->next;
			off = part->off;
			continue;
		}
		n = MIN(left, part->off + part->len - off);
		crc = segment_crc32(crc, part->chunk->data + off, n);
		off += n;
		left -= n;
	}
	segment_head_write(head, w->segment_len, true);
	segment_trailer_write(sbuf_reserve(&w->sb, SEGMENT_TRAILER), crc);
}

static void close_plain_segment(struct wire *w)
{
	uint8_t *head = w->segment_head;

	w->segment_head = NULL;
	if (likely(sbuf_extend(&w->sb, w->segment_part, SEGMENT_TRAILER)))
		segment_seal(head, w->segment_len, true);
	else
		seal_parts(w, head);
	w->segment_len = SEGMENT_MAX_PAYLOAD;
}

/* One segment of `len` plain bytes. What it becomes is copied when it is small, so that no large chunk waits half empty. */
static void put_lz4_segment(struct wire *w, const uint8_t *plain, uint32_t len, bool self_contained)
{
	struct chunk *out = chunk_new(&w->sb.loop->chunks, SEGMENT_HEAD_LZ4 + len + SEGMENT_TRAILER);
	uint32_t n = segment_build_lz4(out->data, plain, len, self_contained);

	/* A token is as likely as not too short to be compressed. */
	out->has_secret = w->plain && w->plain->has_secret;
	if (n < WIRE_REF_MIN)
		sbuf_write(&w->sb, out->data, n);
	else
		sbuf_write_ref(&w->sb, out, out->data, n);
	if (unlikely(out->has_secret))
		sbuf_mark_secret(&w->sb);
	chunk_unref(out);
}

static void close_lz4_segment(struct wire *w)
{
	put_lz4_segment(w, w->plain->data, w->plain_len, true);
	chunk_unref(w->plain);
	w->plain = NULL;
	w->plain_len = 0;
}

void wire_close_segment(struct wire *w)
{
	if (w->segment_head)
		close_plain_segment(w);
	else
		close_lz4_segment(w);
}

static inline void gather(uint8_t *to, const uint8_t *head, const struct wire_piece *pieces, unsigned count)
{
	memcpy(to, head, FRAME_HEAD_LEN);
	to += FRAME_HEAD_LEN;
	for (unsigned i = 0; i < count; i++) {
		memcpy(to, pieces[i].data, pieces[i].len);
		to += pieces[i].len;
	}
}

static void put_piece(struct sbuf *sb, const struct wire_piece *p, uint32_t off, uint32_t len)
{
	if (p->chunk && len >= WIRE_REF_MIN)
		sbuf_write_ref(sb, p->chunk, p->data + off, len);
	else
		sbuf_write(sb, p->data + off, len);
}

/* The frames of v2, whose header has 8 bytes, and which are never in segments. */
static void send_short(struct wire *w, const uint8_t *head, const struct wire_piece *pieces, unsigned count)
{
	memcpy(sbuf_reserve(&w->sb, FRAME_SHORT_HEAD_LEN), head, FRAME_SHORT_HEAD_LEN);
	for (unsigned i = 0; i < count; i++)
		put_piece(&w->sb, &pieces[i], 0, pieces[i].len);
}

/* Where in the pieces of a frame the next slice begins. */
struct slicer {
	struct wire_piece piece;
	const struct wire_piece *next;
	unsigned left; /* pieces from `next` on */
};

static void copy_slice(struct slicer *from, uint8_t *to, uint32_t want)
{
	while (want > 0) {
		const uint32_t n = MIN(want, from->piece.len);

		memcpy(to, from->piece.data, n);
		to += n;
		want -= n;
		from->piece.data += n;
		from->piece.len -= n;
		if (from->piece.len == 0 && from->left > 0) {
			from->piece = *from->next++;
			from->left--;
		}
	}
}

/* A frame larger than a segment: slices of SEGMENT_MAX_PAYLOAD, none of them self-contained. */
static void send_sliced(struct wire *w, const uint8_t *head, const struct wire_piece *pieces, unsigned count,
			uint32_t total)
{
	const bool lz4 = w->out_framing == WIRE_SEGMENTS_LZ4;
	const uint32_t head_len = lz4 ? 0 : SEGMENT_HEAD_PLAIN;
	struct slicer from = { .piece = { .data = head, .len = FRAME_HEAD_LEN }, .next = pieces, .left = count };

	wire_seal(w);
	while (total > 0) {
		const uint32_t want = MIN(total, SEGMENT_MAX_PAYLOAD);
		struct chunk *slice = chunk_new(&w->sb.loop->chunks, head_len + want + SEGMENT_TRAILER);
		uint8_t *payload = slice->data + head_len;

		copy_slice(&from, payload, want);
		if (lz4) {
			put_lz4_segment(w, payload, want, false);
		} else {
			segment_seal(slice->data, want, false);
			sbuf_write_ref(&w->sb, slice, slice->data, head_len + want + SEGMENT_TRAILER);
		}
		chunk_unref(slice);
		total -= want;
	}
}

static ALWAYS_INLINE void send_in_plain(struct wire *w, const uint8_t *head, const struct wire_piece *pieces,
					unsigned count, uint32_t total)
{
	/* The ordinary frame: one look for room, then copies. */
	if (likely(total < WIRE_REF_MIN)) {
		gather(sbuf_reserve(&w->sb, total), head, pieces, count);
		return;
	}
	memcpy(sbuf_reserve(&w->sb, FRAME_HEAD_LEN), head, FRAME_HEAD_LEN);
	for (unsigned i = 0; i < count; i++)
		put_piece(&w->sb, &pieces[i], 0, pieces[i].len);
}

/*
 * Begins a segment: its header, and room for `n` bytes of its payload, in a
 * buffer that has room for `more` behind them. Header and payload begin in one
 * buffer, so that no write ends between them (python-driver 3.29 loses bytes
 * when a read ends inside a segment header). Returns where the payload goes.
 */
static inline uint8_t *open_segment(struct wire *w, uint32_t n, uint32_t more)
{
	uint8_t *head = sbuf_reserve_together(&w->sb, SEGMENT_HEAD_PLAIN + n, SEGMENT_HEAD_PLAIN + n + more);

	w->segment_head = head;
	w->segment_part = w->sb.out_tail;
	w->segment_len = n;
	return head + SEGMENT_HEAD_PLAIN;
}

/* Room for `total` bytes in the payload that is gathered for compression. */
static uint8_t *room_in_lz4(struct wire *w, uint32_t total)
{
	uint8_t *to;

	if (w->plain && w->plain_len + total > SEGMENT_MAX_PAYLOAD)
		close_lz4_segment(w);
	if (!w->plain || w->plain->cap < w->plain_len + total) {
		struct chunk *larger = chunk_new(&w->sb.loop->chunks, MAX(w->plain_len + total, 2 * w->plain_len));

		if (w->plain) {
			memcpy(larger->data, w->plain->data, w->plain_len);
			larger->has_secret = w->plain->has_secret;
			chunk_unref(w->plain);
		}
		w->plain = larger;
	}
	to = w->plain->data + w->plain_len;
	w->plain_len += total;
	sbuf_want_flush(&w->sb);
	return to;
}

uint8_t *wire_begin_segment(struct wire *w, uint32_t total)
{
	if (unlikely(w->out_framing == WIRE_SEGMENTS_LZ4))
		return room_in_lz4(w, total);
	if (unlikely(total > SEGMENT_SMALL))
		return NULL;
	if (unlikely(w->segment_head))
		close_plain_segment(w);
	return open_segment(w, total, SEGMENT_TRAILER);
}

static void send_in_segment(struct wire *w, const uint8_t *head, const struct wire_piece *pieces, unsigned count,
			    uint32_t total)
{
	if (w->segment_head && w->segment_len + total > SEGMENT_MAX_PAYLOAD)
		close_plain_segment(w);
	if (!w->segment_head && total <= SEGMENT_SMALL) {
		gather(open_segment(w, total, SEGMENT_TRAILER), head, pieces, count);
		return;
	}
	if (!w->segment_head)
		open_segment(w, 0, FRAME_HEAD_LEN);
	send_in_plain(w, head, pieces, count, total);
	w->segment_len += total;
}

void wire_send(struct wire *w, const uint8_t head[FRAME_HEAD_LEN], const struct wire_piece *pieces, unsigned count)
{
	const uint32_t total = FRAME_HEAD_LEN + frame_body_len(head);

	if (!wire_is_writable(w))
		return;
	if (unlikely(frame_head_is_short(head[0])))
		send_short(w, head, pieces, count);
	else if (w->out_framing == WIRE_PLAIN)
		send_in_plain(w, head, pieces, count, total);
	else if (total > SEGMENT_MAX_PAYLOAD)
		send_sliced(w, head, pieces, count, total);
	else if (w->out_framing == WIRE_SEGMENTS)
		send_in_segment(w, head, pieces, count, total);
	else
		gather(room_in_lz4(w, total), head, pieces, count);
}

void wire_send_fields(struct wire *w, bool response, uint8_t version, uint8_t flags, int16_t stream, uint8_t opcode,
		      const struct wire_piece *pieces, unsigned count, uint32_t length)
{
	uint8_t head[FRAME_HEAD_LEN];

	frame_head_write(head, response, version, flags, stream, opcode, length);
	wire_send(w, head, pieces, count);
}

void wire_send_body(struct wire *w, const uint8_t head[FRAME_HEAD_LEN], const void *body, uint32_t len)
{
	const struct wire_piece piece = { .data = body, .len = len };

	wire_send(w, head, &piece, len > 0 ? 1 : 0);
}

void wire_mark_secret(struct wire *w)
{
	sbuf_mark_secret(&w->sb);
	if (w->plain)
		w->plain->has_secret = true;
}

unsigned wire_edit(const uint8_t *body, uint32_t len, struct chunk *chunk, const struct frame_edit *edits,
		   unsigned edit_count, struct wire_piece *pieces, uint32_t *length)
{
	unsigned n = 0;
	uint32_t at = 0;

	Assert(2 * edit_count + 1 <= WIRE_MAX_PIECES);
	for (unsigned i = 0; i < edit_count; i++) {
		if (edits[i].offset > at)
			pieces[n++] = (struct wire_piece){ body + at, edits[i].offset - at, chunk };
		if (edits[i].len > 0)
			pieces[n++] = (struct wire_piece){ edits[i].with, edits[i].len, NULL };
		at = edits[i].offset + edits[i].drop;
	}
	if (len > at)
		pieces[n++] = (struct wire_piece){ body + at, len - at, chunk };
	*length = frame_edited_length(len, edits, edit_count);
	return n;
}
