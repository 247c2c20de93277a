/* compress.c - lz4 and snappy bodies of v3 and v4 frames. */
#include "cql/compress.h"

#include <lz4.h>
#include <snappy-c.h>

/* The plain length in front of an lz4 block, big endian. */
#define LZ4_PREFIX 4
/*
 * What one compressed byte can stand for at most: in lz4 a byte of match length
 * is worth 255; in snappy three bytes copy 64. An announced length beyond that
 * is a lie, found out before anybody allocates for it.
 */
#define LZ4_MAX_RATIO 255
#define SNAPPY_MAX_RATIO 22

bool compression_from_name(struct strview name, enum cql_compression *out)
{
	static const enum cql_compression all[] = { COMPRESSION_NONE, COMPRESSION_LZ4, COMPRESSION_SNAPPY };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (sv_equal_nocase(name, sv_from(cql_compression_name(all[i])))) {
			*out = all[i];
			return true;
		}
	}
	return false;
}

static bool lz4_plain_length(const uint8_t *body, uint32_t len, uint32_t *plain_len)
{
	if (len < LZ4_PREFIX)
		return false;
	*plain_len = get_u32(body);
	return *plain_len <= INT32_MAX && *plain_len <= (uint64_t)(len - LZ4_PREFIX) * LZ4_MAX_RATIO;
}

static bool snappy_plain_length(const uint8_t *body, uint32_t len, uint32_t *plain_len)
{
	size_t n;

	if (snappy_uncompressed_length((const char *)body, len, &n) != SNAPPY_OK)
		return false;
	*plain_len = (uint32_t)n;
	return n <= INT32_MAX && n <= (uint64_t)len * SNAPPY_MAX_RATIO;
}

bool compression_plain_length(enum cql_compression c, const uint8_t *body, uint32_t len, uint32_t *plain_len)
{
	switch (c) {
	case COMPRESSION_LZ4:
		return lz4_plain_length(body, len, plain_len);
	case COMPRESSION_SNAPPY:
		return snappy_plain_length(body, len, plain_len);
	case COMPRESSION_NONE:
		break;
	}
	return false;
}

static bool lz4_decompress(const uint8_t *body, uint32_t len, uint8_t *out, uint32_t plain_len)
{
	/* An empty body is a zero length and one byte that nobody looks at, or none. */
	if (plain_len == 0)
		return true;
	return LZ4_decompress_safe((const char *)body + LZ4_PREFIX, (char *)out, (int)(len - LZ4_PREFIX),
				   (int)plain_len) == (int)plain_len;
}

bool compression_decompress(enum cql_compression c, const uint8_t *body, uint32_t len, uint8_t *out, uint32_t plain_len)
{
	uint32_t announced;
	size_t n = plain_len;

	if (len > INT32_MAX || !compression_plain_length(c, body, len, &announced) || announced != plain_len)
		return false;
	if (c == COMPRESSION_LZ4)
		return lz4_decompress(body, len, out, plain_len);
	return snappy_uncompress((const char *)body, len, (char *)out, &n) == SNAPPY_OK && n == plain_len;
}

int compression_peek(enum cql_compression c, const uint8_t *body, uint32_t len, uint8_t *out, uint32_t want,
		     uint8_t *scratch)
{
	uint32_t plain_len;
	int got;

	if (len > INT32_MAX || !compression_plain_length(c, body, len, &plain_len))
		return -1;
	want = MIN(want, plain_len);
	if (want == 0)
		return 0;
	if (c == COMPRESSION_LZ4) {
		got = LZ4_decompress_safe_partial((const char *)body + LZ4_PREFIX, (char *)out, (int)(len - LZ4_PREFIX),
						  (int)want, (int)want);
		return got == (int)want ? got : -1;
	}
	if (!compression_decompress(c, body, len, scratch, plain_len))
		return -1;
	memcpy(out, scratch, want);
	return (int)want;
}

uint32_t compression_bound(enum cql_compression c, uint32_t len)
{
	switch (c) {
	case COMPRESSION_LZ4:
		Assert(len <= LZ4_MAX_INPUT_SIZE);
		return LZ4_PREFIX + (uint32_t)LZ4_compressBound((int)len);
	case COMPRESSION_SNAPPY:
		return (uint32_t)snappy_max_compressed_length(len);
	case COMPRESSION_NONE:
		break;
	}
	return len;
}

/*
 * LZ4_compress_default() clears its table of 16 KiB for each block, which costs more than compressing an ordinary
 * request. A stream that is used again has one whose old places it tells from new ones, as long as nothing went wrong.
 */
uint32_t compression_lz4_block(const uint8_t *plain, uint32_t len, uint8_t *out, uint32_t room)
{
	static _Thread_local LZ4_stream_t stream;
	static _Thread_local bool is_ready;
	int n;

	if (likely(is_ready))
		LZ4_resetStream_fast(&stream);
	else
		LZ4_initStream(&stream, sizeof(stream));
	n = LZ4_compress_fast_continue(&stream, (const char *)plain, (char *)out, (int)len, (int)room, 1);
	is_ready = n > 0; /* after a failure the stream is in no state to go on with */
	return n > 0 ? (uint32_t)n : 0;
}

uint32_t compression_compress(enum cql_compression c, const uint8_t *plain, uint32_t len, uint8_t *out)
{
	size_t n = compression_bound(c, len);
	uint32_t packed;

	switch (c) {
	case COMPRESSION_LZ4:
		put_u32(out, len);
		packed = compression_lz4_block(plain, len, out + LZ4_PREFIX, (uint32_t)n - LZ4_PREFIX);
		Assert(packed > 0);
		return LZ4_PREFIX + packed;
	case COMPRESSION_SNAPPY:
		/* Fails only for a buffer below the bound. */
		snappy_compress((const char *)plain, len, (char *)out, &n);
		return (uint32_t)n;
	case COMPRESSION_NONE:
		break;
	}
	if (len > 0)
		memcpy(out, plain, len);
	return len;
}
