/*
 * functions.h - values in place of now(), uuid(), currentTimestamp() and their
 * kin, made once for both clusters. One source per worker, used by its thread.
 *
 *   timeuuid   version 1: the time in 100 ns, a clock sequence that differs
 *              from the one before, a random node id with the multicast bit
 *              (RFC 9562, section 6.10), another one for each worker
 *   uuid       version 4
 *   timestamp  milliseconds; date: days + 2^31; time: nanoseconds since
 *              midnight; all UTC, as Cassandra has them
 */
#ifndef PROXY_FUNCTIONS_H
#define PROXY_FUNCTIONS_H

#include "cql/rewrite.h"

/* Random bytes are fetched for 16 UUIDs at once: the kernel gives 256 bytes without fail or interruption. */
#define FUNCTIONS_RANDOM 256

struct function_source {
	uint8_t node[6];
	uint16_t clock_sequence;
	uint64_t last_time; /* of a version 1 UUID; the next one's is larger */
	uint8_t random[FUNCTIONS_RANDOM];
	unsigned random_left;
};

/* `worker` tells the sources of one process apart. */
void functions_init(struct function_source *f, unsigned worker);

#define FUNCTION_VALUE_MAX 16
/* Writes a new value as a bound one; returns its length. */
unsigned functions_value(struct function_source *f, enum rewrite_kind kind, uint8_t out[FUNCTION_VALUE_MAX]);

/* The longest is "(timeuuid)", 36 characters and a blank. */
#define FUNCTION_LITERAL_MAX 64
/* Writes a new value as what stands in a text in place of the call, a C string; returns its length. */
unsigned functions_literal(struct function_source *f, const struct rewrite_call *call, char out[FUNCTION_LITERAL_MAX]);

#endif
