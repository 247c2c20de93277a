/* plain.c - see plain.h */
#include "proxy/plain.h"

static bool decompress(struct plain *p, struct loop *loop, enum cql_compression compression, const struct frame *f,
		       uint32_t max, const char **why)
{
	uint32_t len;

	if (compression == COMPRESSION_NONE) {
		*why = "a compressed body, but STARTUP agreed on no compression";
		return false;
	}
	if (!compression_plain_length(compression, f->body, f->length, &len)) {
		*why = "the compressed body is damaged";
		return false;
	}
	if (len > max) {
		*why = "the body would be larger than the limit once decompressed";
		return false;
	}
	p->chunk = chunk_try_new(&loop->chunks, len);
	if (!p->chunk) {
		*why = "no memory to decompress the body";
		return false;
	}
	p->owns_chunk = true;
	p->data = p->chunk->data;
	p->len = len;
	if (compression_decompress(compression, f->body, f->length, p->data, len))
		return true;
	plain_close(p);
	*why = "the compressed body is damaged";
	return false;
}

bool plain_open(struct plain *p, struct loop *loop, enum cql_compression compression, const struct frame *f,
		uint32_t max, const char **why)
{
	*p = (struct plain){
		.data = f->body,
		.len = f->length,
		.flags = f->flags & (uint8_t)~FRAME_COMPRESSED,
		.chunk = f->chunk,
	};
	if (likely(!(f->flags & FRAME_COMPRESSED)))
		return true;
	return decompress(p, loop, compression, f, max, why);
}

void plain_close(struct plain *p)
{
	if (p->owns_chunk)
		chunk_unref(p->chunk);
	p->owns_chunk = false;
	p->chunk = NULL;
}
