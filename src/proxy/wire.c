/* wire.c - see wire.h: a wire's life, and what is read; wire_write.c has what is written. */
#include "proxy/wire.h"

#include <string.h>

static const struct sbuf_handler wire_sbuf_handler;

void wire_init(struct wire *w, struct loop *loop, const struct wire_handler *handler, uint32_t max_frame)
{
	memset(w, 0, sizeof(*w));
	sbuf_init(&w->sb, loop, &wire_sbuf_handler);
	w->handler = handler;
	w->max_frame = max_frame;
}

static void drop_buffers(struct wire *w)
{
	if (w->assembly)
		chunk_unref(w->assembly);
	if (w->plain)
		chunk_unref(w->plain);
	if (w->rest)
		chunk_unref(w->rest);
	w->rest = NULL;
	w->assembly = NULL;
	w->assembly_len = 0;
	w->plain = NULL;
	w->plain_len = 0;
	w->segment_head = NULL;
	w->partial_head_len = 0;
	w->has_large = false;
	w->skip = 0;
}

void wire_close(struct wire *w)
{
	sbuf_close(&w->sb);
	drop_buffers(w);
}

void wire_finish(struct wire *w)
{
	sbuf_finish(&w->sb);
}

/* ---- reading ---- */

static void break_wire(struct wire *w, enum wire_bad bad, const struct frame *f)
{
	w->is_broken = true;
	w->handler->on_bad(w, bad, f);
	Assert(w->sb.state != SBUF_OPEN);
}

/* Checks a header as soon as all of it is there; false after on_bad(). */
static ALWAYS_INLINE bool check_head(struct wire *w, const struct frame *f)
{
	const bool requests = w->handler->expects_requests;

	if (unlikely(!version_is_served(f->version)))
		break_wire(w, WIRE_BAD_VERSION, f);
	else if (unlikely(f->is_response == requests))
		break_wire(w, WIRE_BAD_DIRECTION, f);
	else if (unlikely(requests ? !cql_opcode_is_request(f->opcode, f->version)
				   : !cql_opcode_is_response(f->opcode)))
		break_wire(w, WIRE_BAD_OPCODE, f);
	else if (unlikely(f->length > w->max_frame))
		break_wire(w, WIRE_BAD_LENGTH, f);
	else
		return true;
	return false;
}

static bool still_reading(const struct wire *w)
{
	return w->sb.state == SBUF_OPEN && !w->is_broken;
}

/* A frame was handed up: true when the ones behind it have to wait. */
static inline bool must_stop(struct wire *w)
{
	if (likely(--w->budget > 0 && !w->sb.is_paused))
		return false;
	w->sb.again = true;
	return true;
}

/*
 * Asks for a large frame, once. False: it is not read now, because it waits
 * (sb.again), is skipped (`left` bytes of it, counted from here) or the wire has
 * been ended.
 */
static bool admit(struct wire *w, const struct frame *f, uint32_t left)
{
	if (w->has_large || !w->handler->on_large)
		return true;
	switch (w->handler->on_large(w, f)) {
	case WIRE_TAKE:
		w->has_large = true;
		w->large_stream = f->stream;
		return true;
	case WIRE_WAIT:
		Assert(w->sb.is_paused);
		w->sb.again = true;
		return false;
	case WIRE_SKIP:
		w->skip = left;
		return false;
	}
	return true;
}

/* Of a frame that is skipped; returns the bytes used. */
static size_t skip_bytes(struct wire *w, size_t len)
{
	const uint32_t n = (uint32_t)MIN(len, w->skip);

	w->skip -= n;
	return n;
}

uint32_t wire_large_len(const struct wire *w)
{
	return w->assembly ? w->assembly_len : w->sb.in_len;
}

void wire_skip_large(struct wire *w)
{
	w->has_large = false;
	if (w->assembly) {
		w->skip = FRAME_HEAD_LEN + get_u32(w->assembly->data + 5) - w->assembly_len;
		chunk_unref(w->assembly);
		w->assembly = NULL;
		w->assembly_len = 0;
	} else if (w->sb.in) { /* plain: the whole of what was left over is the beginning of this frame */
		struct frame f;

		w->skip = frame_head_read(&f, w->sb.in->data) + f.length - w->sb.in_len;
		sbuf_drop_input(&w->sb);
	}
}

/*
 * Hands up the whole frames among `len` bytes at `data`; returns the bytes
 * used. Stops early when the framing changes, since what follows is then to be
 * read another way, and where must_stop() says so. *need is what the next frame
 * wants in all, 0 when even its header is incomplete.
 */
static size_t take_frames(struct wire *w, uint8_t *data, size_t len, struct chunk *chunk, uint32_t *need)
{
	const uint8_t framing = w->in_framing;
	size_t used = 0;

	*need = 0;
	if (unlikely(w->skip > 0))
		used = skip_bytes(w, len);
	while (len - used > 0 && len - used >= frame_head_len(data[used])) {
		struct frame f;
		const uint32_t head = frame_head_read(&f, data + used);

		if (!check_head(w, &f))
			return len;
		if (unlikely(f.length > WIRE_LARGE) && !admit(w, &f, head + f.length)) {
			if (!still_reading(w))
				return len;
			used += skip_bytes(w, len - used);
			if (w->sb.again || must_stop(w))
				return used;
			continue;
		}
		if (len - used - head < f.length) {
			*need = head + f.length;
			return used;
		}
		f.body = data + used + head;
		f.chunk = chunk;
		used += head + f.length;
		f.next_head = len - used >= FRAME_HEAD_LEN ? data + used : NULL;
		w->has_large = false;
		w->handler->on_frame(w, &f);
		if (!still_reading(w))
			return len;
		if (unlikely(must_stop(w) || w->in_framing != framing))
			return used;
	}
	/* An unknown version must be answered although its header may be shorter than ours (v1 has 8 bytes). */
	if (len - used > 0) {
		uint8_t version = data[used] & 0x7f;

		if (unlikely(!version_is_served(version))) {
			struct frame f = { .version = version };

			break_wire(w, WIRE_BAD_VERSION, &f);
			return len;
		}
	}
	return used;
}

/* The header of a frame that spans segments is complete: makes room for all of it, unless it is not to be read now. */
static bool start_assembly(struct wire *w)
{
	struct frame f;

	/* What is in segments is v5: a header of another length has no business here. */
	if (frame_head_read(&f, w->partial_head) != FRAME_HEAD_LEN) {
		break_wire(w, WIRE_BAD_VERSION, &f);
		return false;
	}
	if (!check_head(w, &f))
		return false;
	if (f.length > WIRE_LARGE && !admit(w, &f, f.length)) {
		if (w->skip > 0)
			w->partial_head_len = 0;
		return false;
	}
	w->assembly = chunk_try_new(&w->sb.loop->chunks, FRAME_HEAD_LEN + f.length);
	if (!w->assembly) {
		break_wire(w, WIRE_BAD_MEMORY, &f);
		return false;
	}
	w->assembly->has_secret = w->sb.hears_secrets;
	memcpy(w->assembly->data, w->partial_head, FRAME_HEAD_LEN);
	w->assembly_len = FRAME_HEAD_LEN;
	w->partial_head_len = 0;
	return true;
}

static void finish_assembly(struct wire *w)
{
	struct chunk *chunk = w->assembly;
	struct frame f;

	w->assembly = NULL;
	w->assembly_len = 0;
	w->has_large = false;
	frame_head_read(&f, chunk->data);
	f.body = chunk->data + FRAME_HEAD_LEN;
	f.chunk = chunk;
	f.next_head = NULL;
	w->handler->on_frame(w, &f);
	chunk_unref(chunk);
}

static bool assembly_is_complete(const struct wire *w)
{
	return w->assembly && w->assembly_len == FRAME_HEAD_LEN + get_u32(w->assembly->data + 5);
}

/* Takes what belongs to the frame that began in an earlier segment; returns the bytes used, or len after on_bad(). */
static size_t continue_assembly(struct wire *w, const uint8_t *data, size_t len)
{
	size_t used = 0;
	size_t n;

	if (!w->assembly) {
		used = MIN(len, (size_t)(FRAME_HEAD_LEN - w->partial_head_len));
		memcpy(w->partial_head + w->partial_head_len, data, used);
		w->partial_head_len = (uint8_t)(w->partial_head_len + used);
		if (w->partial_head_len < FRAME_HEAD_LEN)
			return used;
		if (!start_assembly(w))
			return still_reading(w) ? used : len;
	}
	n = MIN(len - used, FRAME_HEAD_LEN + get_u32(w->assembly->data + 5) - (size_t)w->assembly_len);
	memcpy(w->assembly->data + w->assembly_len, data + used, n);
	w->assembly_len += (uint32_t)n;
	if (assembly_is_complete(w)) {
		finish_assembly(w);
		must_stop(w);
	}
	return used + n;
}

/*
 * The payload of one segment: the rest of an earlier frame, whole frames, the
 * beginning of another. Returns the bytes used, fewer than `len` when the rest
 * has to wait.
 */
static size_t take_payload(struct wire *w, uint8_t *data, size_t len, struct chunk *chunk)
{
	uint32_t need;
	size_t used = 0;

	while (used < len && !w->sb.again) {
		if (!w->assembly && w->partial_head_len == 0)
			used += take_frames(w, data + used, len - used, chunk, &need);
		if (!still_reading(w))
			return len;
		if (used < len && !w->sb.again)
			used += continue_assembly(w, data + used, len - used);
		if (!still_reading(w))
			return len;
	}
	return used;
}

/* Keeps what take_payload() did not use; `chunk`, when not NULL, holds it. */
static void keep_rest(struct wire *w, const uint8_t *data, size_t len, struct chunk *chunk)
{
	Assert(!w->rest);
	if (chunk) {
		w->rest = chunk_ref(chunk);
		w->rest_off = (uint32_t)(data - chunk->data);
	} else {
		w->rest = chunk_new(&w->sb.loop->chunks, (uint32_t)len);
		w->rest->has_secret = w->sb.hears_secrets;
		w->rest_off = 0;
		memcpy(w->rest->data, data, len);
	}
	w->rest_len = (uint32_t)len;
}

static __attribute__((noinline)) void take_or_keep(struct wire *w, uint8_t *data, size_t len, struct chunk *chunk)
{
	const size_t used = take_payload(w, data, len, chunk);

	if (unlikely(used < len) && still_reading(w))
		keep_rest(w, data + used, len - used, chunk);
}

/* The payload of a segment that has come. Ordinary ones hold whole frames and nothing else. */
static inline void take_whole(struct wire *w, uint8_t *data, size_t len, struct chunk *chunk)
{
	size_t used = 0;
	uint32_t need;

	if (likely(!w->assembly && w->partial_head_len == 0))
		used = take_frames(w, data, len, chunk, &need);
	if (unlikely(used < len))
		take_or_keep(w, data + used, len - used, chunk);
}

/* What was kept of an earlier segment. */
static void take_rest(struct wire *w)
{
	struct chunk *rest = w->rest;

	w->rest = NULL;
	take_or_keep(w, rest->data + w->rest_off, w->rest_len, rest);
	chunk_unref(rest);
}

static void break_segment(struct wire *w)
{
	static const struct frame none = { 0 };

	break_wire(w, WIRE_BAD_SEGMENT, &none);
}

/* take_segment() of a connection with lz4. */
static __attribute__((noinline)) size_t take_lz4_segment(struct wire *w, uint8_t *data, size_t len, struct chunk *chunk,
							 uint32_t *need)
{
	struct chunk *plain;
	struct segment s;
	uint32_t total;

	switch (segment_head_read(&s, true, data, len)) {
	case PARSE_AGAIN:
		return 0;
	case PARSE_BAD:
		break_segment(w);
		return len;
	case PARSE_OK:
		break;
	}
	total = SEGMENT_HEAD_LZ4 + s.wire_len + SEGMENT_TRAILER;
	if (len < total) {
		*need = total;
		return 0;
	}
	data += SEGMENT_HEAD_LZ4;
	if (!segment_payload_ok(data, s.wire_len, data + s.wire_len)) {
		break_segment(w);
		return len;
	}
	if (!s.is_compressed) {
		take_whole(w, data, s.wire_len, chunk);
		return total;
	}
	plain = chunk_new(&w->sb.loop->chunks, s.plain_len);
	plain->has_secret = w->sb.hears_secrets;
	if (segment_decompress(&s, data, plain->data))
		take_whole(w, plain->data, s.plain_len, plain);
	else
		break_segment(w);
	chunk_unref(plain);
	return total;
}

/* One segment from `data`; returns its length, 0 when it is not complete (*need then says how long it is). */
static size_t take_segment(struct wire *w, uint8_t *data, size_t len, struct chunk *chunk, uint32_t *need)
{
	uint32_t total;

	if (w->in_framing == WIRE_SEGMENTS_LZ4)
		return take_lz4_segment(w, data, len, chunk, need);
	switch (segment_read_plain(data, len, &total)) {
	case PARSE_AGAIN:
		*need = total;
		return 0;
	case PARSE_BAD:
		break_segment(w);
		return len;
	case PARSE_OK:
		break;
	}
	take_whole(w, data + SEGMENT_HEAD_PLAIN, total - SEGMENT_HEAD_PLAIN - SEGMENT_TRAILER, chunk);
	return total;
}

static size_t wire_on_data(struct sbuf *sb, uint8_t *data, size_t len, struct chunk *chunk)
{
	struct wire *w = container_of(sb, struct wire, sb);
	size_t used = 0;
	uint32_t need = 0;

	w->budget = WIRE_TURN_FRAMES;
	if (unlikely(w->rest)) {
		take_rest(w);
		if (!still_reading(w))
			return len;
	}
	while (used < len && !sb->again) {
		const uint8_t framing = w->in_framing;
		size_t n;

		need = 0;
		n = framing == WIRE_PLAIN ? take_frames(w, data + used, len - used, chunk, &need)
					  : take_segment(w, data + used, len - used, chunk, &need);
		if (!still_reading(w))
			return len;
		used += n;
		if (n == 0 || (framing == WIRE_PLAIN && w->in_framing == framing))
			break;
	}
	sb->want = sb->again ? 0 : need;
	return used;
}

void wire_set_in_framing(struct wire *w, enum wire_framing framing)
{
	w->in_framing = framing;
}

void wire_set_out_framing(struct wire *w, enum wire_framing framing)
{
	wire_seal(w);
	w->out_framing = framing;
	w->segment_len = SEGMENT_MAX_PAYLOAD;
}

/* ---- from the sbuf ---- */

static void wire_on_open(struct sbuf *sb)
{
	struct wire *w = container_of(sb, struct wire, sb);

	w->handler->on_open(w);
}

static void wire_before_flush(struct sbuf *sb)
{
	wire_seal(container_of(sb, struct wire, sb));
}

static void wire_on_progress(struct sbuf *sb)
{
	struct wire *w = container_of(sb, struct wire, sb);

	if (w->handler->on_progress)
		w->handler->on_progress(w);
}

static void wire_on_closed(struct sbuf *sb, const char *why)
{
	struct wire *w = container_of(sb, struct wire, sb);

	drop_buffers(w);
	w->handler->on_closed(w, why);
}

static const struct sbuf_handler wire_sbuf_handler = {
	.on_open = wire_on_open,
	.on_data = wire_on_data,
	.before_flush = wire_before_flush,
	.on_progress = wire_on_progress,
	.on_closed = wire_on_closed,
};
