/*
 * outbox.h - what waits to be sent on one connection: bytes that were copied in,
 * and between them references to bytes that live as long as the program, so
 * that a large value is not copied once for each request.
 */
#ifndef BENCH_OUTBOX_H
#define BENCH_OUTBOX_H

#include <sys/uio.h>

#include "cql/writer.h"

struct outbox_ref {
	const uint8_t *data;
	uint32_t len;
	uint32_t at; /* it comes before this byte of `bytes` */
};

struct outbox {
	struct writer bytes;
	struct outbox_ref *refs;
	uint32_t ref_count, ref_cap;
	/* What has left: */
	uint32_t sent;      /* of `bytes` */
	uint32_t refs_sent; /* whole ones */
	uint32_t ref_sent;  /* of the one that follows them */
};

void outbox_free(struct outbox *o);

/* Room for n bytes at the end, to be filled before the next call. */
static inline uint8_t *outbox_reserve(struct outbox *o, uint32_t n)
{
	return writer_reserve(&o->bytes, n);
}

/* Takes back the last n bytes of what was reserved. */
static inline void outbox_shorten(struct outbox *o, uint32_t n)
{
	o->bytes.len -= n;
}

/* Queues bytes that stay where they are and as they are. */
void outbox_share(struct outbox *o, const uint8_t *data, uint32_t len);

static inline bool outbox_is_empty(const struct outbox *o)
{
	return o->sent == o->bytes.len && o->refs_sent == o->ref_count;
}

/* The bytes that come next, in at most `max` pieces; returns how many. */
unsigned outbox_pieces(const struct outbox *o, struct iovec *pieces, unsigned max);

/* n bytes have left. */
void outbox_advance(struct outbox *o, size_t n);

#endif
