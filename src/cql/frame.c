/* frame.c - changes to a body on its way through, made while it is copied. */
#include "cql/frame.h"

uint32_t frame_edited_length(uint32_t length, const struct frame_edit *edits, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		Assert(edits[i].drop <= length);
		length = length - edits[i].drop + edits[i].len;
	}
	return length;
}

void frame_edit_copy(uint8_t *out, const uint8_t *body, uint32_t length, const struct frame_edit *edits, unsigned count)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct frame_edit *e = &edits[i];
		uint32_t keep = e->offset - done;

		Assert(e->offset >= done && e->offset <= length && e->drop <= length - e->offset);
		if (keep > 0)
			memcpy(out, body + done, keep);
		out += keep;
		if (e->len > 0)
			memcpy(out, e->with, e->len);
		out += e->len;
		done = e->offset + e->drop;
	}
	if (length > done)
		memcpy(out, body + done, length - done);
}
