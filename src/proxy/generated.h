/*
 * generated.h - prepared statements in which markers stand in place of now()
 * and the like: which of the variables that the clusters report are ours, and
 * how they are kept from the client.
 *
 *   client    INSERT INTO t (k, id) VALUES (?, now())         knows one variable
 *   clusters  INSERT INTO t (k, id) VALUES (?, ?)             report two
 *
 * The rewritten text may be one that a client has prepared, too. Therefore the
 * client's id of a rewritten statement is one of our own, made as Cassandra
 * makes them from the text that the client has sent: MD5 of the keyspace and
 * the text, of the text alone when it names its keyspace (CASSANDRA-15252).
 */
#ifndef PROXY_GENERATED_H
#define PROXY_GENERATED_H

#include "cql/message.h"
#include "cql/rewrite.h"
#include "proxy/prepared.h"

struct chunk;
struct chunk_pool;

/* More calls in one prepared statement are not replaced: nobody has so many, and each is compared with each variable. */
#define GENERATED_MAX 256

struct generated_marker {
	uint16_t position;    /* among the variables as the clusters count them, rising */
	uint8_t kind;         /* enum rewrite_kind */
	uint32_t name_offset; /* of its name as a [string], in `names` */
};

/* Immutable, one piece of memory, owned by a prepared entry. */
struct generated {
	uint32_t size; /* of all */
	uint16_t count;
	bool is_named; /* the statement's markers have names */
	/* In a statement with "?": a variable of the client has the name of one of ours, or the clusters have different
	 * names for ours; bound values with names cannot be completed then. */
	bool is_ambiguous;
	struct generated_marker markers[];
};

/* 0 for NULL. */
uint32_t generated_size(const struct generated *g);
/* malloc'd; NULL for NULL. */
struct generated *generated_copy(const struct generated *g);
/* The name of a marker as a [string]: two bytes of length, then the name. */
struct bytesview generated_name(const struct generated *g, unsigned index);

/* A rewritten PREPARE on its way. */
struct rewriting {
	/* The body as the client sent it, plain, in case that a cluster refuses the rewritten text. NULL once that is sent. */
	struct chunk *body;
	uint8_t *data;
	uint32_t len;
	struct prepared_id id; /* the client's, if all goes well */
	bool is_named;
	uint32_t markers; /* the client's own */
	uint16_t count;   /* calls */
	struct {
		uint32_t markers_before;
		uint8_t kind;
	} calls[];
};

/* A parsed RESULT/PREPARED with the body it lies in. */
struct prepared_answer {
	const uint8_t *body;
	uint32_t len;
	struct prepared_message message;
};

/* Finds our markers among the variables that the clusters report. NULL when they are not there, or not where expected. */
struct generated *generated_new(const struct rewriting *r, const struct prepared_answer answers[CLUSTER_COUNT]);

/*
 * A copy of the body with the id replaced and our variables hidden: their
 * columns are left out, the count is lower, the indexes of the partition key
 * are shifted - or left out, too, when a part of the key is ours, as
 * Cassandra reports none when not all parts are bound. NULL without memory.
 */
struct chunk *generated_hide(const struct generated *g, const struct prepared_id *id,
			     const struct prepared_answer *answer, struct chunk_pool *pool, uint32_t *len);

#endif
