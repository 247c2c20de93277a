/*
 * plain.h - the body of a frame as it is without compression: the frame's own
 * bytes when it came plain, else a decompressed copy in a chunk.
 */
#ifndef PROXY_PLAIN_H
#define PROXY_PLAIN_H

#include "base/loop.h"
#include "cql/compress.h"
#include "cql/frame.h"

struct plain {
	uint8_t *data;
	uint32_t len;
	uint8_t flags;       /* the frame's, without FRAME_COMPRESSED */
	struct chunk *chunk; /* holds the data when it is worth a reference or was decompressed, else NULL */
	bool owns_chunk;
};

/*
 * False when the body is flagged as compressed but no compression was agreed,
 * is damaged, or would have more than `max` bytes; *why then says so.
 */
MUSTCHECK bool plain_open(struct plain *p, struct loop *loop, enum cql_compression compression, const struct frame *f,
			  uint32_t max, const char **why);
void plain_close(struct plain *p);

/* The frame as it is when it is opened; good until plain_close(). */
static inline struct frame plain_frame(const struct plain *p, const struct frame *f)
{
	struct frame opened = *f;

	opened.flags = p->flags;
	opened.body = p->data;
	opened.length = p->len;
	opened.chunk = p->chunk;
	return opened;
}

#endif
