/*
 * frame.h - the frame header of protocol v3 to v5 (native protocol v5, section 2).
 *
 *   byte 0    version, high bit set in answers
 *   byte 1    flags
 *   byte 2-3  stream id, signed
 *   byte 4    opcode
 *   byte 5-8  length of the body
 */
#ifndef CQL_FRAME_H
#define CQL_FRAME_H

#include "cql/reader.h"
#include "cql/tables.h"

struct chunk;

#define FRAME_HEAD_LEN 9
#define FRAME_VERSION_MIN 3
#define FRAME_VERSION_MAX 5
#define FRAME_DIRECTION 0x80

struct frame {
	uint8_t version; /* without the direction bit */
	bool is_response;
	uint8_t flags;
	uint8_t opcode;
	int16_t stream;
	uint32_t length;     /* of the body as it came (compressed, if flagged) */
	uint8_t *body;       /* `length` bytes, may be changed in place while the frame is being handled */
	struct chunk *chunk; /* the refcounted chunk that holds the body, or NULL when it lies in a read buffer */
};

enum parse_result {
	PARSE_OK,
	PARSE_AGAIN, /* more bytes are needed */
	PARSE_BAD,
};

/* Reads the nine bytes at p; `body` and `chunk` are left alone. Nothing is checked. */
static inline void frame_head_read(struct frame *f, const uint8_t *p)
{
	f->version = p[0] & 0x7f;
	f->is_response = (p[0] & FRAME_DIRECTION) != 0;
	f->flags = p[1];
	f->stream = (int16_t)get_u16(p + 2);
	f->opcode = p[4];
	f->length = get_u32(p + 5);
}

/* Writes the nine bytes of a header to p. */
static inline void frame_head_write(uint8_t *p, bool response, uint8_t version, uint8_t flags, int16_t stream,
				    uint8_t opcode, uint32_t length)
{
	p[0] = (uint8_t)(version | (response ? FRAME_DIRECTION : 0));
	p[1] = flags;
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
