/*
 * wire.h - a connection that speaks CQL: an sbuf with frames on top, in both
 * directions, plain or in v5 segments. Clients, servers and control
 * connections all are a wire plus their own state.
 *
 *   in:   bytes -> [segments, checked] -> frames, handed up in place
 *   out:  frames -> [one open segment, closed at the flush] -> sbuf
 *
 * Frames of one flush share a segment; a frame that is larger than a segment
 * goes out alone in several (native protocol v5, section 2.2).
 */
#ifndef PROXY_WIRE_H
#define PROXY_WIRE_H

#include <string.h>

#include "base/sbuf.h"
#include "cql/frame.h"
#include "cql/segment.h"

enum wire_framing {
	WIRE_PLAIN,        /* all but v5, and v5 before READY or AUTHENTICATE */
	WIRE_SEGMENTS,     /* v5 */
	WIRE_SEGMENTS_LZ4, /* v5 with COMPRESSION=lz4 */
};

/*
 * So many frames are handed up per turn of the loop, the others in the next
 * one: a read may hold 29 000 empty requests, and as lz4 segments millions.
 */
#define WIRE_TURN_FRAMES 1024

/* Frames of this size and up are passed on by reference, smaller ones are copied (docs/performance.md). */
#define WIRE_REF_MIN 16384

enum wire_bad {
	WIRE_BAD_VERSION,   /* a version that we do not know; `f` has its header */
	WIRE_BAD_DIRECTION, /* a request where answers are due, or the reverse */
	WIRE_BAD_OPCODE,
	WIRE_BAD_LENGTH,  /* negative or over max_frame */
	WIRE_BAD_SEGMENT, /* CRC mismatch, undecodable lz4: `f` is empty */
	WIRE_BAD_MEMORY,  /* no memory for a frame of the announced size */
};

/* A frame with a larger body needs memory of its own, so on_large() is asked for it. */
#define WIRE_LARGE CHUNK_LARGE

enum wire_large {
	WIRE_TAKE, /* it is read and handed up */
	WIRE_WAIT, /* the handler has paused the sbuf, and is asked again after sbuf_resume() */
	WIRE_SKIP, /* its body is dropped as it comes; the handler has answered it, and may have ended the wire */
};

struct wire;

struct wire_handler {
	bool expects_requests; /* a driver is at the other end */
	/* Connected, TLS included. */
	void (*on_open)(struct wire *w);
	/* The header of a frame over WIRE_LARGE has come. NULL: it is taken. */
	enum wire_large (*on_large)(struct wire *w, const struct frame *f);
	/* One whole frame, its body in place and writable until the return. May close the wire. */
	void (*on_frame)(struct wire *w, struct frame *f);
	/*
	 * The peer broke the protocol; nothing more is read from it. The handler
	 * has to end the wire by wire_close() or wire_finish(). `f` has what could
	 * be read of the header.
	 */
	void (*on_bad)(struct wire *w, enum wire_bad bad, const struct frame *f);
	/* Some queued output has left. */
	void (*on_progress)(struct wire *w);
	/* The connection is over; the socket is closed already. */
	void (*on_closed)(struct wire *w, const char *why);
};

struct wire {
	struct sbuf sb;
	const struct wire_handler *handler;
	uint32_t max_frame; /* largest body taken */
	uint8_t in_framing; /* enum wire_framing */
	uint8_t out_framing;
	bool is_broken; /* on_bad() was called */
	bool has_large; /* a frame that on_large() let in is being read */
	int16_t large_stream;
	uint32_t skip; /* bytes still to come of a frame that is skipped */
	/* A frame that began in an earlier segment. */
	struct chunk *assembly;
	uint32_t assembly_len;
	/* Frames of a segment that have to wait for the next turn, or until reading goes on. */
	struct chunk *rest;
	uint32_t rest_off;
	uint32_t rest_len;
	uint32_t budget;                      /* frames that may still be handed up in this turn */
	uint8_t partial_head[FRAME_HEAD_LEN]; /* its header, while even that is not complete */
	uint8_t partial_head_len;
	/* The segment being filled (WIRE_SEGMENTS): its header lies reserved in the output. */
	uint8_t *segment_head;
	struct sbuf_part *segment_part; /* where that is */
	uint32_t segment_len;           /* of its payload; WIRE_SEGMENTS without one: full, so that one look tells */
	/* The payload being gathered (WIRE_SEGMENTS_LZ4). */
	struct chunk *plain;
	uint32_t plain_len;
};

/* A part of a body that is put together on its way out. */
struct wire_piece {
	const uint8_t *data;
	uint32_t len;
	struct chunk *chunk; /* holds data, or NULL: then it is copied */
};

#define WIRE_MAX_PIECES 16

void wire_init(struct wire *w, struct loop *loop, const struct wire_handler *handler, uint32_t max_frame);
/* Frees what the wire owns and closes the socket; on_closed() is not called. Harmless when repeated. */
void wire_close(struct wire *w);
/* sbuf_finish(): nothing is read any more, what is queued goes out, then on_closed(). */
void wire_finish(struct wire *w);

/* With has_large: nobody wants that frame any more; what has come of it is freed, what is still to come is skipped. */
void wire_skip_large(struct wire *w);
/* With has_large: bytes of it that have come. */
uint32_t wire_large_len(const struct wire *w);

/* From the next frame on. A frame queued before keeps the old framing. */
void wire_set_in_framing(struct wire *w, enum wire_framing framing);
void wire_set_out_framing(struct wire *w, enum wire_framing framing);

static inline bool wire_is_writable(const struct wire *w)
{
	return sbuf_is_writable(&w->sb);
}

/*
 * Queues one frame: `head` as frame_head_write() made it with the length of
 * all pieces together. Small pieces are copied, large ones of a chunk are
 * referenced.
 */
void wire_send(struct wire *w, const uint8_t head[FRAME_HEAD_LEN], const struct wire_piece *pieces, unsigned count);
/* wire_send() for who has the fields of the header. */
void wire_send_fields(struct wire *w, bool response, uint8_t version, uint8_t flags, int16_t stream, uint8_t opcode,
		      const struct wire_piece *pieces, unsigned count, uint32_t length);
/* For wire_begin(): room for a frame of `total` bytes that no open segment has room for; NULL when it is not an ordinary one. */
uint8_t *wire_begin_segment(struct wire *w, uint32_t total);
/*
 * The ordinary frame is put together where it leaves from: queues a frame with
 * this header and returns where its body of `length` bytes is to be put before
 * anything else is queued. NULL for any other frame: then nothing was done,
 * and wire_send_fields() does it. What every request needs two or three times.
 */
static ALWAYS_INLINE uint8_t *wire_begin(struct wire *w, bool response, uint8_t version, uint8_t flags, int16_t stream,
					 uint8_t opcode, uint32_t length)
{
	const uint32_t total = FRAME_HEAD_LEN + length;
	uint8_t *out;

	if (unlikely(length >= WIRE_REF_MIN - FRAME_HEAD_LEN || frame_head_is_short(version) || !wire_is_writable(w)))
		return NULL;
	if (likely(w->out_framing == WIRE_PLAIN || w->segment_len + total <= SEGMENT_MAX_PAYLOAD)) {
		w->segment_len += total;
		out = sbuf_reserve(&w->sb, total);
	} else {
		out = wire_begin_segment(w, total);
		if (unlikely(!out))
			return NULL;
	}
	frame_head_write(out, response, version, flags, stream, opcode, length);
	return out + FRAME_HEAD_LEN;
}
/* Completes the open segment, which there has to be. */
void wire_close_segment(struct wire *w);
/* Before a flush, and before the framing changes: what is queued is whole. */
static inline void wire_seal(struct wire *w)
{
	if (w->segment_head || w->plain)
		wire_close_segment(w);
}
/* Queues one frame whose body is copied. */
void wire_send_body(struct wire *w, const uint8_t head[FRAME_HEAD_LEN], const void *body, uint32_t len);
/* A password is in what was queued in this turn: the buffers it lies in are overwritten after use. */
void wire_mark_secret(struct wire *w);
/*
 * The pieces of a body with edits made, for wire_send(); returns their number,
 * at most 2 * edit_count + 1 <= WIRE_MAX_PIECES. *length is that of the whole.
 */
unsigned wire_edit(const uint8_t *body, uint32_t len, struct chunk *chunk, const struct frame_edit *edits,
		   unsigned edit_count, struct wire_piece *pieces, uint32_t *length);

/* Bytes that wait to be written. */
static inline size_t wire_pending(const struct wire *w)
{
	return w->sb.out_bytes + w->plain_len;
}

#endif
