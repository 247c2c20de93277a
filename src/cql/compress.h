/*
 * compress.h - bodies of v3 and v4 frames with the compressed flag (native
 * protocol v4, section 5): lz4 is a 4-byte big-endian length and a raw block,
 * snappy is a raw block that knows its own length.
 */
#ifndef CQL_COMPRESS_H
#define CQL_COMPRESS_H

#include "cql/reader.h"
#include "cql/tables.h"

/* What STARTUP's COMPRESSION value names, any letter case. False when it is not known. */
MUSTCHECK bool compression_from_name(struct strview name, enum cql_compression *out);

/*
 * The length that a compressed body announces for its plain form, without
 * decompressing it. False when the body is too short or damaged. The caller
 * compares it with its limit before it allocates.
 */
MUSTCHECK bool compression_plain_length(enum cql_compression c, const uint8_t *body, uint32_t len, uint32_t *plain_len);

/* Decompresses into out (exactly plain_len bytes, as announced). False when the body is damaged or gives another length. */
MUSTCHECK bool compression_decompress(enum cql_compression c, const uint8_t *body, uint32_t len, uint8_t *out,
				      uint32_t plain_len);

/*
 * Decompresses only the first `want` bytes (fewer when the body has fewer) into
 * out; returns how many there are, or -1 when the body is damaged. For lz4 it
 * stops early; snappy has no such call and decompresses through `scratch`,
 * which has room for the whole plain form (may be NULL for lz4).
 */
int compression_peek(enum cql_compression c, const uint8_t *body, uint32_t len, uint8_t *out, uint32_t want,
		     uint8_t *scratch);

/* The largest compressed form of `len` plain bytes, the 4-byte length of lz4 included. */
uint32_t compression_bound(enum cql_compression c, uint32_t len);
/* Compresses; returns the length written to out, which has room for compression_bound() bytes. */
uint32_t compression_compress(enum cql_compression c, const uint8_t *plain, uint32_t len, uint8_t *out);

/*
 * One raw block of lz4 from `len` bytes, in `room` bytes at out; returns its length, 0 when it does not fit. Any thread;
 * each keeps a table of 16 KiB for it once it has called.
 */
uint32_t compression_lz4_block(const uint8_t *plain, uint32_t len, uint8_t *out, uint32_t room);

#endif
