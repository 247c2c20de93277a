/* murmur3.c - see murmur3.h */
#include "cql/murmur3.h"

#include <string.h>

#define C1 UINT64_C(0x87c37b91114253d5)
#define C2 UINT64_C(0x4cf5ad432745937f)

static uint64_t rotate(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static uint64_t mix_final(uint64_t k)
{
	k ^= k >> 33;
	k *= UINT64_C(0xff51afd7ed558ccd);
	k ^= k >> 33;
	k *= UINT64_C(0xc4ceb9fe1a85ec53);
	k ^= k >> 33;
	return k;
}

static uint64_t get_le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned i = 8; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

/* Up to 8 bytes of the tail, each with its sign. */
static uint64_t tail(const uint8_t *p, size_t len)
{
	uint64_t k = 0;

	for (size_t i = 0; i < len; i++)
		k ^= (uint64_t)(int64_t)(int8_t)p[i] << (8 * i);
	return k;
}

static void add_block(struct murmur3 *m, const uint8_t *block)
{
	m->h1 ^= rotate(get_le64(block) * C1, 31) * C2;
	m->h1 = (rotate(m->h1, 27) + m->h2) * 5 + 0x52dce729;
	m->h2 ^= rotate(get_le64(block + 8) * C2, 33) * C1;
	m->h2 = (rotate(m->h2, 31) + m->h1) * 5 + 0x38495ab5;
}

static int64_t end(uint64_t h1, uint64_t h2, uint64_t len, const uint8_t *rest)
{
	const size_t left = len % 16;

	if (left > 8)
		h2 ^= rotate(tail(rest + 8, left - 8) * C2, 33) * C1;
	if (left > 0)
		h1 ^= rotate(tail(rest, MIN(left, (size_t)8)) * C1, 31) * C2;
	h1 ^= len;
	h2 ^= len;
	h1 += h2;
	h2 += h1;
	h1 = mix_final(h1);
	h2 = mix_final(h2);
	h1 += h2;
	return (int64_t)h1 == INT64_MIN ? INT64_MAX : (int64_t)h1;
}

void murmur3_start(struct murmur3 *m)
{
	m->h1 = 0;
	m->h2 = 0;
	m->len = 0;
}

void murmur3_add(struct murmur3 *m, const uint8_t *part, size_t len)
{
	const size_t kept = m->len % sizeof(m->rest);
	size_t used = 0;

	m->len += len;
	if (kept + len < sizeof(m->rest)) {
		memcpy(m->rest + kept, part, len);
		return;
	}
	if (kept > 0) {
		used = sizeof(m->rest) - kept;
		memcpy(m->rest + kept, part, used);
		add_block(m, m->rest);
	}
	for (; len - used >= sizeof(m->rest); used += sizeof(m->rest))
		add_block(m, part + used);
	memcpy(m->rest, part + used, len - used);
}

int64_t murmur3_end(const struct murmur3 *m)
{
	return end(m->h1, m->h2, m->len, m->rest);
}

int64_t murmur3_token(const uint8_t *key, size_t len)
{
	struct murmur3 m = { .h1 = 0 };
	size_t used = 0;

	for (; len - used >= sizeof(m.rest); used += sizeof(m.rest))
		add_block(&m, key + used);
	return end(m.h1, m.h2, len, key + used);
}
