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

#endif
