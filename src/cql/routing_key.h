/*
 * routing_key.h - the partition key among the bound values of a prepared
 * statement: which variables it consists of, as a cluster says in its answer
 * to PREPARE (v4 and up), and the token of what an EXECUTE binds to them.
 *
 * A key of one column is hashed as it is bound; of several, each as two bytes
 * of length, the value and a zero byte (Cassandra's CompositeType).
 */
#ifndef CQL_ROUTING_KEY_H
#define CQL_ROUTING_KEY_H

#include "cql/message.h"

/* Keys of more columns have no token: nobody has so many. */
#define ROUTING_KEY_MAX 32

/* Immutable, one piece of memory. */
struct routing_key {
	uint32_t size; /* of all */
	uint16_t count;
	struct {
		uint16_t position; /* among the variables, as the cluster counts them */
		uint16_t name_len;
		uint32_t name_offset; /* in the texts behind the columns */
	} columns[];
};

/*
 * malloc'd. `body` is the one that the message was parsed from. NULL when the
 * answer says nothing of a key: the version has no place for it, a column is
 * not bound to a variable, or the statement has no such key.
 */
struct routing_key *routing_key_new(const uint8_t *body, uint32_t len, const struct prepared_message *m);
/* malloc'd; NULL for NULL. */
struct routing_key *routing_key_copy(const struct routing_key *key);
/* 0 for NULL. */
uint32_t routing_key_size(const struct routing_key *key);
/* Both may be NULL. */
bool routing_key_equal(const struct routing_key *a, const struct routing_key *b);

/* Keyspace and table of the first variable, as the answer to PREPARE has them: len 0 when there is none. */
void routing_key_table(const uint8_t *body, uint32_t len, const struct prepared_message *m, struct strview *keyspace,
		       struct strview *table);

/* Bound values of an EXECUTE, or of a statement in a BATCH. */
struct bound_values {
	const uint8_t *body;
	uint32_t len;
	uint32_t offset; /* of the first value, or its name */
	uint16_t count;
	bool is_by_name;
};

/*
 * The token under Murmur3Partitioner. False when a part of the key is missing,
 * null or unset, or the key is one that no cluster takes: empty, or longer
 * than 65 535 bytes.
 */
MUSTCHECK bool routing_key_token(const struct routing_key *key, const struct bound_values *values, int64_t *token);

#endif
