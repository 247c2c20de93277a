/* buffer.h - bytes that grow at the end. When memory is exhausted it stays as it is, and remembers that. */
#ifndef AUDIT_BUFFER_H
#define AUDIT_BUFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
	char *data;
	size_t len, size;
	bool has_failed; /* something was left out for want of memory */
};

/* Room for n more bytes; false without memory. */
static inline bool buffer_need(struct buffer *b, size_t n)
{
	size_t size = b->size ? b->size : 1024;
	char *data;

	if (b->size - b->len >= n)
		return true;
	while (size - b->len < n)
		size *= 2;
	data = realloc(b->data, size);
	if (!data) {
		b->has_failed = true;
		return false;
	}
	b->data = data;
	b->size = size;
	return true;
}

static inline void buffer_add(struct buffer *b, const void *data, size_t n)
{
	if (n == 0 || !buffer_need(b, n))
		return;
	memcpy(b->data + b->len, data, n);
	b->len += n;
}

static inline void buffer_char(struct buffer *b, char c)
{
	if (buffer_need(b, 1))
		b->data[b->len++] = c;
}

static inline void buffer_text(struct buffer *b, const char *text)
{
	buffer_add(b, text, strlen(text));
}

/* A short text that is copied with all of its room, since that takes fewer steps than to copy so many bytes. */
struct buffer_short {
	uint32_t length;
	char text[28];
};
#define BUFFER_SHORT(text)                                                                                             \
	{                                                                                                              \
		sizeof(text) - 1, text                                                                                 \
	}

static inline void buffer_add_short(struct buffer *b, const struct buffer_short *s)
{
	if (!buffer_need(b, sizeof(s->text)))
		return;
	memcpy(b->data + b->len, s->text, sizeof(s->text));
	b->len += s->length;
}

/* The two digits of a number below 100. */
static inline const char *buffer_pair(unsigned n)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";

	return pairs + 2 * n;
}

static inline void buffer_number(struct buffer *b, uint64_t n)
{
	char digits[20];
	unsigned at = sizeof(digits);

	for (; n >= 10; n /= 100)
		memcpy(digits + (at -= 2), buffer_pair((unsigned)(n % 100)), 2);
	if (n > 0 || at == sizeof(digits))
		digits[--at] = (char)('0' + n);
	buffer_add(b, digits + at, sizeof(digits) - at);
}

static inline void buffer_clear(struct buffer *b)
{
	b->len = 0;
	b->has_failed = false;
}

static inline void buffer_free(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){ 0 };
}

#endif
