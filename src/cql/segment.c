/* segment.c - headers, checksums and payloads of the v5 framing format. */
#include "cql/segment.h"

#include <isa-l/crc.h>
#include <lz4.h>

#define LENGTH_BITS 17
#define LENGTH_MASK 0x1ffffu
#define CRC24_INIT 0x875060u
#define CRC24_LEN 3
/* The CRC32 of FA 2D 55 CA, with which every payload's CRC32 starts. */
#define CRC32_START 0x44777ed3u

/* crc24_table[b]: polynomial 0x1974F0B (its top bit is the carry), eight shifts of b << 16. */
static const uint32_t crc24_table[256] = {
	0x000000, 0x974f0b, 0xb9d11d, 0x2e9e16, 0xe4ed31, 0x73a23a, 0x5d3c2c, 0xca7327, 0x5e9569, 0xc9da62, 0xe74474,
	0x700b7f, 0xba7858, 0x2d3753, 0x03a945, 0x94e64e, 0xbd2ad2, 0x2a65d9, 0x04fbcf, 0x93b4c4, 0x59c7e3, 0xce88e8,
	0xe016fe, 0x7759f5, 0xe3bfbb, 0x74f0b0, 0x5a6ea6, 0xcd21ad, 0x07528a, 0x901d81, 0xbe8397, 0x29cc9c, 0xed1aaf,
	0x7a55a4, 0x54cbb2, 0xc384b9, 0x09f79e, 0x9eb895, 0xb02683, 0x276988, 0xb38fc6, 0x24c0cd, 0x0a5edb, 0x9d11d0,
	0x5762f7, 0xc02dfc, 0xeeb3ea, 0x79fce1, 0x50307d, 0xc77f76, 0xe9e160, 0x7eae6b, 0xb4dd4c, 0x239247, 0x0d0c51,
	0x9a435a, 0x0ea514, 0x99ea1f, 0xb77409, 0x203b02, 0xea4825, 0x7d072e, 0x539938, 0xc4d633, 0x4d7a55, 0xda355e,
	0xf4ab48, 0x63e443, 0xa99764, 0x3ed86f, 0x104679, 0x870972, 0x13ef3c, 0x84a037, 0xaa3e21, 0x3d712a, 0xf7020d,
	0x604d06, 0x4ed310, 0xd99c1b, 0xf05087, 0x671f8c, 0x49819a, 0xdece91, 0x14bdb6, 0x83f2bd, 0xad6cab, 0x3a23a0,
	0xaec5ee, 0x398ae5, 0x1714f3, 0x805bf8, 0x4a28df, 0xdd67d4, 0xf3f9c2, 0x64b6c9, 0xa060fa, 0x372ff1, 0x19b1e7,
	0x8efeec, 0x448dcb, 0xd3c2c0, 0xfd5cd6, 0x6a13dd, 0xfef593, 0x69ba98, 0x47248e, 0xd06b85, 0x1a18a2, 0x8d57a9,
	0xa3c9bf, 0x3486b4, 0x1d4a28, 0x8a0523, 0xa49b35, 0x33d43e, 0xf9a719, 0x6ee812, 0x407604, 0xd7390f, 0x43df41,
	0xd4904a, 0xfa0e5c, 0x6d4157, 0xa73270, 0x307d7b, 0x1ee36d, 0x89ac66, 0x9af4aa, 0x0dbba1, 0x2325b7, 0xb46abc,
	0x7e199b, 0xe95690, 0xc7c886, 0x50878d, 0xc461c3, 0x532ec8, 0x7db0de, 0xeaffd5, 0x208cf2, 0xb7c3f9, 0x995def,
	0x0e12e4, 0x27de78, 0xb09173, 0x9e0f65, 0x09406e, 0xc33349, 0x547c42, 0x7ae254, 0xedad5f, 0x794b11, 0xee041a,
	0xc09a0c, 0x57d507, 0x9da620, 0x0ae92b, 0x24773d, 0xb33836, 0x77ee05, 0xe0a10e, 0xce3f18, 0x597013, 0x930334,
	0x044c3f, 0x2ad229, 0xbd9d22, 0x297b6c, 0xbe3467, 0x90aa71, 0x07e57a, 0xcd965d, 0x5ad956, 0x744740, 0xe3084b,
	0xcac4d7, 0x5d8bdc, 0x7315ca, 0xe45ac1, 0x2e29e6, 0xb966ed, 0x97f8fb, 0x00b7f0, 0x9451be, 0x031eb5, 0x2d80a3,
	0xbacfa8, 0x70bc8f, 0xe7f384, 0xc96d92, 0x5e2299, 0xd78eff, 0x40c1f4, 0x6e5fe2, 0xf910e9, 0x3363ce, 0xa42cc5,
	0x8ab2d3, 0x1dfdd8, 0x891b96, 0x1e549d, 0x30ca8b, 0xa78580, 0x6df6a7, 0xfab9ac, 0xd427ba, 0x4368b1, 0x6aa42d,
	0xfdeb26, 0xd37530, 0x443a3b, 0x8e491c, 0x190617, 0x379801, 0xa0d70a, 0x343144, 0xa37e4f, 0x8de059, 0x1aaf52,
	0xd0dc75, 0x47937e, 0x690d68, 0xfe4263, 0x3a9450, 0xaddb5b, 0x83454d, 0x140a46, 0xde7961, 0x49366a, 0x67a87c,
	0xf0e777, 0x640139, 0xf34e32, 0xddd024, 0x4a9f2f, 0x80ec08, 0x17a303, 0x393d15, 0xae721e, 0x87be82, 0x10f189,
	0x3e6f9f, 0xa92094, 0x6353b3, 0xf41cb8, 0xda82ae, 0x4dcda5, 0xd92beb, 0x4e64e0, 0x60faf6, 0xf7b5fd, 0x3dc6da,
	0xaa89d1, 0x8417c7, 0x1358cc,
};

uint32_t segment_crc24(const uint8_t *p, unsigned n)
{
	uint32_t crc = CRC24_INIT;

	for (unsigned i = 0; i < n; i++)
		crc = (crc << 8 & 0xffffff) ^ crc24_table[(crc >> 16 ^ p[i]) & 0xff];
	return crc;
}

uint32_t segment_crc32_start(void)
{
	return CRC32_START;
}

uint32_t segment_crc32(uint32_t crc, const uint8_t *p, size_t n)
{
	return n > 0 ? crc32_gzip_refl(crc, p, n) : crc;
}

/* Little-endian numbers of n bytes: segments are the only place of the protocol that has them. */
static inline uint64_t get_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static inline void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

enum parse_result segment_head_read(struct segment *s, bool lz4, const uint8_t *p, size_t len)
{
	unsigned bits_len = segment_head_len(lz4) - CRC24_LEN;
	uint64_t bits;

	if (len < segment_head_len(lz4))
		return PARSE_AGAIN;
	if (segment_crc24(p, bits_len) != get_le(p + bits_len, CRC24_LEN))
		return PARSE_BAD;
	/* Both lengths have 17 bits and so cannot be over the maximum. The bits that are zero today are ignored. */
	bits = get_le(p, bits_len);
	s->wire_len = (uint32_t)bits & LENGTH_MASK;
	bits >>= LENGTH_BITS;
	s->plain_len = s->wire_len;
	s->is_compressed = false;
	if (lz4) {
		uint32_t plain_len = (uint32_t)bits & LENGTH_MASK;

		s->is_compressed = plain_len > 0;
		if (s->is_compressed)
			s->plain_len = plain_len;
		bits >>= LENGTH_BITS;
	}
	s->self_contained = bits & 1;
	return PARSE_OK;
}

static void head_write(uint8_t *p, uint64_t bits, unsigned bits_len)
{
	put_le(p, bits, bits_len);
	put_le(p + bits_len, segment_crc24(p, bits_len), CRC24_LEN);
}

void segment_head_write(uint8_t *p, uint32_t payload_len, bool self_contained)
{
	Assert(payload_len <= SEGMENT_MAX_PAYLOAD);
	head_write(p, payload_len | (uint64_t)self_contained << LENGTH_BITS, SEGMENT_HEAD_PLAIN - CRC24_LEN);
}

void segment_head_write_lz4(uint8_t *p, uint32_t wire_len, uint32_t plain_len, bool self_contained)
{
	Assert(wire_len <= SEGMENT_MAX_PAYLOAD && plain_len <= SEGMENT_MAX_PAYLOAD);
	head_write(p, wire_len | (uint64_t)plain_len << LENGTH_BITS | (uint64_t)self_contained << (2 * LENGTH_BITS),
		   SEGMENT_HEAD_LZ4 - CRC24_LEN);
}

void segment_trailer_write(uint8_t *p, uint32_t crc)
{
	put_le(p, crc, SEGMENT_TRAILER);
}

bool segment_payload_ok(const uint8_t *payload, uint32_t len, const uint8_t *trailer)
{
	return segment_crc32(CRC32_START, payload, len) == get_le(trailer, SEGMENT_TRAILER);
}

bool segment_decompress(const struct segment *s, const uint8_t *payload, uint8_t *out)
{
	if (s->is_compressed)
		return LZ4_decompress_safe((const char *)payload, (char *)out, (int)s->wire_len, (int)s->plain_len) ==
		       (int)s->plain_len;
	if (s->plain_len > 0)
		memcpy(out, payload, s->plain_len);
	return true;
}

uint32_t segment_build_lz4(uint8_t *out, const uint8_t *plain, uint32_t len, bool self_contained)
{
	uint8_t *payload = out + SEGMENT_HEAD_LZ4;
	uint32_t wire_len = 0;

	Assert(len <= SEGMENT_MAX_PAYLOAD);
	/* A room of one byte less than the input makes lz4 give up (0) where it would gain nothing. */
	if (len > 1)
		wire_len = (uint32_t)LZ4_compress_default((const char *)plain, (char *)payload, (int)len, (int)len - 1);
	if (wire_len > 0) {
		segment_head_write_lz4(out, wire_len, len, self_contained);
	} else {
		wire_len = len;
		if (len > 0)
			memcpy(payload, plain, len);
		segment_head_write_lz4(out, wire_len, 0, self_contained);
	}
	segment_trailer_write(payload + wire_len, segment_crc32(CRC32_START, payload, wire_len));
	return SEGMENT_HEAD_LZ4 + wire_len + SEGMENT_TRAILER;
}
