/*
 * murmur3.h - the token of a partition key under Murmur3Partitioner: the first
 * half of MurmurHash3_x64_128 with seed 0, in Cassandra's variant, which takes
 * the bytes of the tail as signed (CASSANDRA-3772), so it differs from the
 * published algorithm for bytes above 127.
 */
#ifndef CQL_MURMUR3_H
#define CQL_MURMUR3_H

#include "base/common.h"

/* The lowest value is no token: Cassandra turns it into the highest. */
int64_t murmur3_token(const uint8_t *key, size_t len);

/* The same for a key that comes in parts. */
struct murmur3 {
	uint64_t h1;
	uint64_t h2;
	uint64_t len;
	uint8_t rest[16]; /* the last len % 16 bytes */
};
void murmur3_start(struct murmur3 *m);
void murmur3_add(struct murmur3 *m, const uint8_t *part, size_t len);
int64_t murmur3_end(const struct murmur3 *m);

#endif
