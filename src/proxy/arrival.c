/* arrival.c - see arrival.h */
#include "proxy/arrival.h"

void arrival_refuse(struct arrival *a, const char *field)
{
	client_send_error(a->c, a->f->stream, CQL_ERR_PROTOCOL_ERROR, "the body of %s cannot be read: %s",
			  cql_opcode_name(a->f->opcode), field);
}

bool arrival_edit(struct arrival *a, const struct frame_edit *edits, unsigned count)
{
	const uint32_t len = frame_edited_length(a->plain.len, edits, count);
	struct chunk *chunk = chunk_try_new(&a->c->worker->loop.chunks, len);

	if (!chunk) {
		client_send_error(a->c, a->f->stream, CQL_ERR_OVERLOADED, "no memory to change a %s of %u bytes",
				  cql_opcode_name(a->f->opcode), len);
		return false;
	}
	frame_edit_copy(chunk->data, a->plain.data, a->plain.len, edits, count);
	plain_close(&a->plain);
	a->plain.data = chunk->data;
	a->plain.len = len;
	a->plain.chunk = chunk;
	a->plain.owns_chunk = true;
	a->f->flags &= (uint8_t)~FRAME_COMPRESSED;
	return true;
}
