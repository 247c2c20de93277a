/* segment.c - headers, checksums and payloads of the v5 framing format. */
#include "cql/segment.h"

#include <endian.h>

#include <isa-l/crc.h>
#include <lz4.h>

#include "cql/compress.h"

#define LENGTH_BITS 17
#define LENGTH_MASK 0x1ffffu
#define CRC24_INIT 0x875060u
/* The fields in front of the CRC24, bytes. */
#define PLAIN_BITS_LEN 3
#define LZ4_BITS_LEN 5
/* The CRC32 of FA 2D 55 CA, with which every payload's CRC32 starts. */
#define CRC32_START 0x44777ed3u

/*
 * What a byte adds to the CRC24 (polynomial 0x1974F0B, whose top bit is the
 * carry) when 0, 1 or 2 bytes come behind it. The checksum is linear, so the
 * value of a byte is that of its bits taken together: the eight constants of a
 * macro are the values of 0x01, 0x02 ... 0x80. With three tables the header of
 * a plain segment is three look-ups that do not wait for each other.
 */
#define BIT(byte, i, value) ((byte) >> (i)&1 ? (value) : 0u)
#define BYTE(byte, v0, v1, v2, v3, v4, v5, v6, v7)                                                                     \
	(BIT(byte, 0, v0) ^ BIT(byte, 1, v1) ^ BIT(byte, 2, v2) ^ BIT(byte, 3, v3) ^ BIT(byte, 4, v4) ^                \
	 BIT(byte, 5, v5) ^ BIT(byte, 6, v6) ^ BIT(byte, 7, v7))
#define LAST(b) BYTE(b, 0x974f0b, 0xb9d11d, 0xe4ed31, 0x5e9569, 0xbd2ad2, 0xed1aaf, 0x4d7a55, 0x9af4aa)
#define BEFORE_1(b) BYTE(b, 0xa2a65f, 0xd203b5, 0x334861, 0x6690c2, 0xcd2184, 0x0d0c03, 0x1a1806, 0x34300c)
#define BEFORE_2(b) BYTE(b, 0x686018, 0xd0c030, 0x36cf6b, 0x6d9ed6, 0xdb3dac, 0x213453, 0x4268a6, 0x84d14c)
#define FOUR(f, b) f(b), f((b) + 1), f((b) + 2), f((b) + 3)
#define SIXTEEN(f, b) FOUR(f, b), FOUR(f, (b) + 4), FOUR(f, (b) + 8), FOUR(f, (b) + 12)
#define SIXTY_FOUR(f, b) SIXTEEN(f, b), SIXTEEN(f, (b) + 16), SIXTEEN(f, (b) + 32), SIXTEEN(f, (b) + 48)
#define ALL(f) SIXTY_FOUR(f, 0), SIXTY_FOUR(f, 64), SIXTY_FOUR(f, 128), SIXTY_FOUR(f, 192)

static const uint32_t crc24_table[3][256] = { { ALL(LAST) }, { ALL(BEFORE_1) }, { ALL(BEFORE_2) } };

/* Of the low three bytes of `bits`, the lowest first, behind what has made `crc`. */
static inline uint32_t crc24_of_three(uint32_t crc, uint32_t bits)
{
	return crc24_table[2][(crc >> 16 ^ bits) & 0xff] ^ crc24_table[1][(crc >> 8 ^ bits >> 8) & 0xff] ^
	       crc24_table[0][(crc ^ bits >> 16) & 0xff];
}

static inline uint32_t crc24_next(uint32_t crc, uint32_t byte)
{
	return (crc << 8 & 0xffffff) ^ crc24_table[0][(crc >> 16 ^ byte) & 0xff];
}

/* The CRC24 of the fields of a header, `bits`, that take so many bytes. */
static inline uint32_t crc24_of_bits(uint64_t bits, unsigned n)
{
	uint32_t crc = CRC24_INIT;

	for (; n > 3; n--, bits >>= 8)
		crc = crc24_next(crc, (uint32_t)bits);
	return crc24_of_three(crc, (uint32_t)bits);
}

uint32_t segment_crc24(const uint8_t *p, unsigned n)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= (uint64_t)p[i] << (8 * i);
	return crc24_of_bits(bits, n);
}

uint32_t segment_crc32_start(void)
{
	return CRC32_START;
}

uint32_t segment_crc32(uint32_t crc, const uint8_t *p, size_t n)
{
	return n > 0 ? crc32_gzip_refl(crc, p, n) : crc;
}

/* Little-endian numbers: segments are the only place of the protocol that has them. */
static inline uint64_t get_le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline void put_le16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static enum parse_result read_head_lz4(struct segment *s, const uint8_t *p)
{
	const uint64_t head = get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
	uint32_t plain_len;

	if (crc24_of_bits(head, LZ4_BITS_LEN) != head >> (8 * LZ4_BITS_LEN))
		return PARSE_BAD;
	s->wire_len = (uint32_t)head & LENGTH_MASK;
	plain_len = (uint32_t)(head >> LENGTH_BITS) & LENGTH_MASK;
	s->is_compressed = plain_len > 0;
	s->plain_len = s->is_compressed ? plain_len : s->wire_len;
	s->self_contained = head >> (2 * LENGTH_BITS) & 1;
	return PARSE_OK;
}

bool segment_payload_ok(const uint8_t *payload, uint32_t len, const uint8_t *trailer)
{
	return segment_crc32(CRC32_START, payload, len) == get_le32(trailer);
}

static inline uint64_t get_head_plain(const uint8_t *p)
{
	return get_le32(p) | get_le16(p + 4) << 32;
}

static inline bool head_plain_is_ok(uint64_t head)
{
	return crc24_of_bits(head, PLAIN_BITS_LEN) == head >> (8 * PLAIN_BITS_LEN);
}

/* Both lengths have 17 bits and so cannot be over the maximum. The bits that are zero today are ignored. */
enum parse_result segment_head_read(struct segment *s, bool lz4, const uint8_t *p, size_t len)
{
	uint64_t head;

	if (len < segment_head_len(lz4))
		return PARSE_AGAIN;
	if (lz4)
		return read_head_lz4(s, p);
	head = get_head_plain(p);
	if (unlikely(!head_plain_is_ok(head)))
		return PARSE_BAD;
	s->wire_len = (uint32_t)head & LENGTH_MASK;
	s->plain_len = s->wire_len;
	s->is_compressed = false;
	s->self_contained = head >> LENGTH_BITS & 1;
	return PARSE_OK;
}

enum parse_result segment_read_plain(const uint8_t *p, size_t len, uint32_t *total)
{
	uint32_t payload_len;
	uint64_t head;

	*total = 0;
	if (unlikely(len < SEGMENT_HEAD_PLAIN))
		return PARSE_AGAIN;
	head = get_head_plain(p);
	if (unlikely(!head_plain_is_ok(head)))
		return PARSE_BAD;
	payload_len = (uint32_t)head & LENGTH_MASK;
	*total = SEGMENT_HEAD_PLAIN + payload_len + SEGMENT_TRAILER;
	if (unlikely(len < *total))
		return PARSE_AGAIN;
	p += SEGMENT_HEAD_PLAIN;
	return likely(segment_payload_ok(p, payload_len, p + payload_len)) ? PARSE_OK : PARSE_BAD;
}

/* The fields and the CRC24 behind them, as the header has them. */
static inline uint64_t make_head_plain(uint32_t payload_len, bool self_contained)
{
	const uint64_t bits = payload_len | (uint64_t)self_contained << LENGTH_BITS;

	Assert(payload_len <= SEGMENT_MAX_PAYLOAD);
	return bits | (uint64_t)crc24_of_bits(bits, PLAIN_BITS_LEN) << (8 * PLAIN_BITS_LEN);
}

static inline void put_head_plain(uint8_t *p, uint64_t head)
{
	put_le32(p, (uint32_t)head);
	put_le16(p + 4, (uint16_t)(head >> 32));
}

void segment_head_write(uint8_t *p, uint32_t payload_len, bool self_contained)
{
	put_head_plain(p, make_head_plain(payload_len, self_contained));
}

void segment_head_write_lz4(uint8_t *p, uint32_t wire_len, uint32_t plain_len, bool self_contained)
{
	const uint64_t bits = wire_len | (uint64_t)plain_len << LENGTH_BITS |
			      (uint64_t)self_contained << (2 * LENGTH_BITS);
	const uint64_t head = bits | (uint64_t)crc24_of_bits(bits, LZ4_BITS_LEN) << (8 * LZ4_BITS_LEN);

	Assert(wire_len <= SEGMENT_MAX_PAYLOAD && plain_len <= SEGMENT_MAX_PAYLOAD);
	put_le32(p, (uint32_t)head);
	put_le32(p + 4, (uint32_t)(head >> 32));
}

void segment_trailer_write(uint8_t *p, uint32_t crc)
{
	put_le32(p, crc);
}

void segment_seal(uint8_t *p, uint32_t payload_len, bool self_contained)
{
	uint8_t *payload = p + SEGMENT_HEAD_PLAIN;

	put_head_plain(p, make_head_plain(payload_len, self_contained));
	put_le32(payload + payload_len, segment_crc32(CRC32_START, payload, payload_len));
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
		wire_len = compression_lz4_block(plain, len, payload, len - 1);
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
