/*
 * segment.h - the v5 framing format (native protocol v5, section 2.2; CASSANDRA-15299).
 *
 * Uncompressed header, 6 bytes: 17 bits payload length, 1 bit self-contained,
 * 6 bits zero, CRC24 over the first three bytes; all little endian.
 * Compressed header, 8 bytes: 17 bits compressed length, 17 bits uncompressed
 * length (0: the payload is stored plain), 1 bit self-contained, 5 bits zero,
 * CRC24 over the first five bytes.
 * The payload is followed by its CRC32 (as it lies on the wire), 4 bytes.
 */
#ifndef CQL_SEGMENT_H
#define CQL_SEGMENT_H

#include "cql/frame.h"

#define SEGMENT_MAX_PAYLOAD 131071
#define SEGMENT_HEAD_PLAIN 6
#define SEGMENT_HEAD_LZ4 8
#define SEGMENT_TRAILER 4
/* The largest segment on the wire. */
#define SEGMENT_MAX_LEN (SEGMENT_HEAD_LZ4 + SEGMENT_MAX_PAYLOAD + SEGMENT_TRAILER)

struct segment {
	uint32_t wire_len;  /* payload bytes on the wire */
	uint32_t plain_len; /* payload bytes after decompression; equals wire_len when stored plain */
	bool is_compressed; /* the payload needs lz4 */
	bool self_contained;
};

/* CRC24 of the header: polynomial 0x1974F0B, initial value 0x875060, over n (3 or 5) bytes at p. */
uint32_t segment_crc24(const uint8_t *p, unsigned n);

/* CRC32 (IEEE) seeded with the bytes FA 2D 55 CA. Start with segment_crc32_start(), feed pieces in order. */
uint32_t segment_crc32_start(void);
uint32_t segment_crc32(uint32_t crc, const uint8_t *p, size_t n);

static inline uint32_t segment_head_len(bool lz4)
{
	return lz4 ? SEGMENT_HEAD_LZ4 : SEGMENT_HEAD_PLAIN;
}

/*
 * Reads a header out of the len bytes at p. PARSE_AGAIN when it is not there as
 * a whole, PARSE_BAD when its CRC24 is wrong or its uncompressed length is over
 * the maximum.
 */
enum parse_result segment_head_read(struct segment *s, bool lz4, const uint8_t *p, size_t len);

/*
 * Reads and checks a whole uncompressed segment out of the len bytes at p:
 * header, payload and trailer. PARSE_OK: its length is *total, its payload lies
 * between SEGMENT_HEAD_PLAIN and SEGMENT_TRAILER. PARSE_AGAIN when more is
 * needed: *total says how long it is, 0 when not even its header is there.
 * PARSE_BAD when a checksum is wrong, that of the header as soon as it is there.
 */
enum parse_result segment_read_plain(const uint8_t *p, size_t len, uint32_t *total);

/*
 * Writes the header and the trailer of an uncompressed segment, whose
 * `payload_len` bytes of payload lie SEGMENT_HEAD_PLAIN bytes behind p.
 */
void segment_seal(uint8_t *p, uint32_t payload_len, bool self_contained);

/* Writes the 6-byte header of an uncompressed segment. */
void segment_head_write(uint8_t *p, uint32_t payload_len, bool self_contained);
/* Writes the 8-byte header; plain_len 0 says that the payload is stored plain. */
void segment_head_write_lz4(uint8_t *p, uint32_t wire_len, uint32_t plain_len, bool self_contained);
/* Writes the 4-byte trailer for a finished CRC32. */
void segment_trailer_write(uint8_t *p, uint32_t crc);

/* True when the four bytes at `trailer` are the CRC32 of the payload. */
bool segment_payload_ok(const uint8_t *payload, uint32_t len, const uint8_t *trailer);

/* Decompresses a payload into out (s->plain_len bytes, at most SEGMENT_MAX_PAYLOAD). False when it is damaged. */
MUSTCHECK bool segment_decompress(const struct segment *s, const uint8_t *payload, uint8_t *out);

/*
 * Builds one complete lz4 segment out of `len` plain bytes (at most
 * SEGMENT_MAX_PAYLOAD) in out, which has room for them and for the header and
 * trailer; the payload is stored plain when compressing does not make it
 * smaller. Returns the length of the segment.
 */
uint32_t segment_build_lz4(uint8_t *out, const uint8_t *plain, uint32_t len, bool self_contained);

#endif
