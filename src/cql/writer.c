/* writer.c - a growing buffer for bodies of our own. */
#include "cql/writer.h"

#include <stdlib.h>

#define WRITER_FIRST_SIZE 256
/* A [string] counts its bytes in two bytes. */
#define STRING_MAX 65535

void writer_init(struct writer *w)
{
	*w = (struct writer){ 0 };
}

void writer_free(struct writer *w)
{
	free(w->data);
	*w = (struct writer){ 0 };
}

static void writer_grow(struct writer *w, uint32_t n)
{
	uint64_t need = (uint64_t)w->len + n;
	uint64_t cap = MAX((uint64_t)w->cap * 2, WRITER_FIRST_SIZE);

	cap = MAX(cap, need);
	/* A body has an [int] as its length, so nothing beyond that could ever be sent. */
	Assert(need <= INT32_MAX);
	cap = MIN(cap, (uint64_t)UINT32_MAX);
	w->data = xrealloc(w->data, cap);
	w->cap = (uint32_t)cap;
}

uint8_t *writer_reserve(struct writer *w, uint32_t n)
{
	uint8_t *p;

	if (unlikely(!w->data || w->cap - w->len < n))
		writer_grow(w, n);
	p = w->data + w->len;
	w->len += n;
	return p;
}

void write_byte(struct writer *w, uint8_t v)
{
	*writer_reserve(w, 1) = v;
}

void write_short(struct writer *w, uint16_t v)
{
	put_u16(writer_reserve(w, 2), v);
}

void write_int(struct writer *w, uint32_t v)
{
	put_u32(writer_reserve(w, 4), v);
}

void write_long(struct writer *w, uint64_t v)
{
	put_u64(writer_reserve(w, 8), v);
}

void write_raw(struct writer *w, const void *p, uint32_t n)
{
	if (n > 0)
		memcpy(writer_reserve(w, n), p, n);
}

void write_string(struct writer *w, struct strview s)
{
	uint16_t n = (uint16_t)MIN(s.len, (size_t)STRING_MAX);

	write_short(w, n);
	write_raw(w, s.p, n);
}

void write_cstring(struct writer *w, const char *s)
{
	write_string(w, sv_from(s));
}

void write_long_string(struct writer *w, struct strview s)
{
	write_int(w, (uint32_t)s.len);
	write_raw(w, s.p, (uint32_t)s.len);
}

void write_bytes(struct writer *w, const void *p, uint32_t n)
{
	if (!p) {
		write_int(w, (uint32_t)-1);
		return;
	}
	write_int(w, n);
	write_raw(w, p, n);
}

void write_short_bytes(struct writer *w, const void *p, uint16_t n)
{
	write_short(w, n);
	write_raw(w, p, n);
}
