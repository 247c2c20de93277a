/*
 * reader.h - the one place where bytes from the network are read and their
 * bounds checked.
 *
 * A reader walks over a body that somebody else owns. The first read that
 * would leave the body, or that meets a length that makes no sense, sets
 * `bad`; every later read then yields zeros and empty views. So callers read
 * a whole structure and ask reader_ok() once at its end.
 *
 * Notations: native protocol v5, section 3.
 */
#ifndef CQL_READER_H
#define CQL_READER_H

#include "base/strview.h"

struct reader {
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

/* A view of bytes; `p` NULL with `len` 0 means null, `is_unset` is only set for [value]. */
struct bytesview {
	const uint8_t *p;
	uint32_t len;
	bool is_null;
	bool is_unset;
};

static inline uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

static inline void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static inline void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)(v >> 32));
	put_u32(p + 4, (uint32_t)v);
}

static inline struct reader reader_over(const uint8_t *p, size_t len)
{
	return (struct reader){ .start = p, .p = p, .end = p + len, .bad = false };
}

static inline bool reader_ok(const struct reader *r)
{
	return !r->bad;
}

static inline size_t reader_left(const struct reader *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* Where the next read takes place, counted from the start of the body. */
static inline uint32_t reader_offset(const struct reader *r)
{
	return (uint32_t)(r->p - r->start);
}

/* The next n bytes, or NULL (and bad) when the body has fewer. */
static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (unlikely(r->bad || (size_t)(r->end - p) < n)) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

/* A reader over the whole body whose first read is at `offset`; bad when the body ends before that. */
static inline struct reader reader_from(const uint8_t *p, size_t len, size_t offset)
{
	struct reader r = reader_over(p, len);

	reader_take(&r, offset);
	return r;
}

static inline uint8_t read_byte(struct reader *r)
{
	const uint8_t *p = reader_take(r, 1);

	return p ? *p : 0;
}

/* [short] */
static inline uint16_t read_short(struct reader *r)
{
	const uint8_t *p = reader_take(r, 2);

	return p ? get_u16(p) : 0;
}

/* [int], as its unsigned bits */
static inline uint32_t read_int(struct reader *r)
{
	const uint8_t *p = reader_take(r, 4);

	return p ? get_u32(p) : 0;
}

/* [long], as its unsigned bits */
static inline uint64_t read_long(struct reader *r)
{
	const uint8_t *p = reader_take(r, 8);

	return p ? get_u64(p) : 0;
}

static inline struct strview reader_view(struct reader *r, size_t n)
{
	const uint8_t *p = reader_take(r, n);

	return p ? (struct strview){ (const char *)p, n } : (struct strview){ "", 0 };
}

/* [string] */
static inline struct strview read_string(struct reader *r)
{
	return reader_view(r, read_short(r));
}

/* [long string]: a negative length is bad */
static inline struct strview read_long_string(struct reader *r)
{
	uint32_t n = read_int(r);

	if (unlikely(n > INT32_MAX))
		r->bad = true;
	return reader_view(r, n);
}

/* [short bytes] */
static inline struct bytesview read_short_bytes(struct reader *r)
{
	uint16_t n = read_short(r);
	const uint8_t *p = reader_take(r, n);

	return (struct bytesview){ .p = p, .len = p ? n : 0 };
}

/* [bytes]: any negative length is null */
static inline struct bytesview read_bytes(struct reader *r)
{
	uint32_t n = read_int(r);
	const uint8_t *p;

	if (n > INT32_MAX)
		return (struct bytesview){ .is_null = true };
	p = reader_take(r, n);
	return (struct bytesview){ .p = p, .len = p ? n : 0 };
}

/* [value]: -1 is null, -2 is unset (v4 and up), below that is bad */
static inline struct bytesview read_value(struct reader *r)
{
	uint32_t n = read_int(r);
	const uint8_t *p;

	if (unlikely(n > INT32_MAX)) {
		if (n < (uint32_t)-2)
			r->bad = true;
		return (struct bytesview){ .is_null = n == (uint32_t)-1, .is_unset = n == (uint32_t)-2 };
	}
	p = reader_take(r, n);
	return (struct bytesview){ .p = p, .len = p ? n : 0 };
}

#endif
