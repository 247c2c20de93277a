/* outbox.c - see outbox.h */
#include "outbox.h"

#include <stdlib.h>

void outbox_free(struct outbox *o)
{
	writer_free(&o->bytes);
	free(o->refs);
	*o = (struct outbox){ 0 };
}

void outbox_share(struct outbox *o, const uint8_t *data, uint32_t len)
{
	if (o->ref_count == o->ref_cap) {
		o->ref_cap = MAX(2 * o->ref_cap, 8);
		o->refs = xrealloc(o->refs, o->ref_cap * sizeof(*o->refs));
	}
	o->refs[o->ref_count++] = (struct outbox_ref){ data, len, o->bytes.len };
}

static struct iovec piece(const uint8_t *data, size_t len)
{
	/* sendmsg() does not write to it, but its type says otherwise. */
	return (struct iovec){ (void *)(uintptr_t)data, len };
}

unsigned outbox_pieces(const struct outbox *o, struct iovec *pieces, unsigned max)
{
	uint32_t at = o->sent;
	uint32_t skip = o->ref_sent;
	unsigned n = 0;

	for (uint32_t i = o->refs_sent; n < max && i <= o->ref_count; i++) {
		const uint32_t end = i < o->ref_count ? o->refs[i].at : o->bytes.len;

		if (end > at)
			pieces[n++] = piece(o->bytes.data + at, end - at);
		at = end;
		if (i == o->ref_count || n == max)
			break;
		pieces[n++] = piece(o->refs[i].data + skip, o->refs[i].len - skip);
		skip = 0;
	}
	return n;
}

void outbox_advance(struct outbox *o, size_t n)
{
	while (n > 0) {
		const struct outbox_ref *r = o->refs_sent < o->ref_count ? &o->refs[o->refs_sent] : NULL;
		const size_t copied = (r ? r->at : o->bytes.len) - o->sent;
		size_t part = MIN(n, copied);

		o->sent += (uint32_t)part;
		n -= part;
		if (!r || n == 0)
			break;
		part = MIN(n, (size_t)(r->len - o->ref_sent));
		o->ref_sent += (uint32_t)part;
		n -= part;
		if (o->ref_sent == r->len) {
			o->refs_sent++;
			o->ref_sent = 0;
		}
	}
	if (!outbox_is_empty(o))
		return;
	o->bytes.len = 0;
	o->sent = 0;
	o->ref_count = 0;
	o->refs_sent = 0;
}
