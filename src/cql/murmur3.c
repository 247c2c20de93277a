/* murmur3.c - see murmur3.h */
#include "cql/murmur3.h"

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

int64_t murmur3_token(const uint8_t *key, size_t len)
{
	const size_t blocks = len / 16;
	const uint8_t *rest = key + blocks * 16;
	const size_t left = len % 16;
	uint64_t h1 = 0;
	uint64_t h2 = 0;

	for (size_t i = 0; i < blocks; i++) {
		h1 ^= rotate(get_le64(key + i * 16) * C1, 31) * C2;
		h1 = (rotate(h1, 27) + h2) * 5 + 0x52dce729;
		h2 ^= rotate(get_le64(key + i * 16 + 8) * C2, 33) * C1;
		h2 = (rotate(h2, 31) + h1) * 5 + 0x38495ab5;
	}
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
