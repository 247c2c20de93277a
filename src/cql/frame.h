/*
 * frame.h - the frame header (native protocol v5, section 2; v2, section 2).
 *
 *   v3 and up, DSE's      v2
 *   byte 0    version     byte 0    version, high bit set in answers
 *   byte 1    flags       byte 1    flags
 *   byte 2-3  stream id   byte 2    stream id, signed
 *   byte 4    opcode      byte 3    opcode
 *   byte 5-8  length      byte 4-7  length of the body
 */
#ifndef CQL_FRAME_H
#define CQL_FRAME_H

#include "cql/reader.h"
#include "cql/tables.h"
#include "cql/version.h"

struct chunk;

/* The longer header: room for any. */
#define FRAME_HEAD_LEN 9
#define FRAME_SHORT_HEAD_LEN 8
#define FRAME_DIRECTION 0x80

struct frame {
	uint8_t version; /* without the direction bit */
	bool is_response;
	uint8_t flags;
	uint8_t opcode;
	int16_t stream;
	uint32_t length; /* of the body as it came (compressed, if flagged) */
	uint8_t *body;   /* `length` bytes, may be changed in place while the frame is being handled */
	/* Of one handed up by a wire: the header behind it, unchecked, for who wants to look ahead; NULL: it is not there. */
	const uint8_t *next_head;
	struct chunk *chunk; /* the refcounted chunk that holds the body, or NULL when it lies in a read buffer */
};

enum parse_result {
	PARSE_OK,
	PARSE_AGAIN, /* more bytes are needed */
	PARSE_BAD,
};

/* True for the first byte of a header of v2, whose header is shorter. */
static inline bool frame_head_is_short(uint8_t first)
{
	return (first & 0x7f) == 2;
}

/* The length of the header that begins with this byte. */
static inline uint32_t frame_head_len(uint8_t first)
{
	return frame_head_is_short(first) ? FRAME_SHORT_HEAD_LEN : FRAME_HEAD_LEN;
}

/* The length of the body that the header at p announces. */
static inline uint32_t frame_body_len(const uint8_t *p)
{
	return get_u32(p + (unlikely(frame_head_is_short(p[0])) ? 4 : 5));
}

/*
 * Reads the header at p, of which frame_head_len() bytes are there; returns
 * that length. `body` and `chunk` are left alone. Nothing is checked.
 */
static inline uint32_t frame_head_read(struct frame *f, const uint8_t *p)
{
	f->version = p[0] & 0x7f;
	f->is_response = (p[0] & FRAME_DIRECTION) != 0;
	f->flags = p[1];
	if (unlikely(f->version == 2)) {
		f->stream = (int8_t)p[2];
		f->opcode = p[3];
		f->length = get_u32(p + 4);
		return FRAME_SHORT_HEAD_LEN;
	}
	f->stream = (int16_t)get_u16(p + 2);
	f->opcode = p[4];
	f->length = get_u32(p + 5);
	return FRAME_HEAD_LEN;
}

/* Writes a header to p, which has room for FRAME_HEAD_LEN bytes; its own length is frame_head_len(*p). */
static inline void frame_head_write(uint8_t *p, bool response, uint8_t version, uint8_t flags, int16_t stream,
				    uint8_t opcode, uint32_t length)
{
	p[0] = (uint8_t)(version | (response ? FRAME_DIRECTION : 0));
	p[1] = flags;
	if (unlikely(version == 2)) {
		p[2] = (uint8_t)stream;
		p[3] = opcode;
		put_u32(p + 4, length);
		return;
	}
	put_u16(p + 2, (uint16_t)stream);
	p[4] = opcode;
	put_u32(p + 5, length);
}

/*
 * A change to a body on its way through: at `offset` (counted in the body as it
 * came) `drop` bytes are left out and `len` bytes at `with` put in their place.
 * A list of edits is sorted by offset and does not overlap. `with` must live
 * until the frame has been sent.
 */
struct frame_edit {
	uint32_t offset;
	uint32_t drop;
	uint32_t len;
	const uint8_t *with;
};

/* The length of a body of `length` bytes once the edits are made. */
uint32_t frame_edited_length(uint32_t length, const struct frame_edit *edits, unsigned count);

/* Copies `length` bytes of body to `out` with the edits made; `out` has room for frame_edited_length(). */
void frame_edit_copy(uint8_t *out, const uint8_t *body, uint32_t length, const struct frame_edit *edits,
		     unsigned count);

#endif
