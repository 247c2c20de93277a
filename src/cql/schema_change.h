/*
 * schema_change.h - what a node says about a change of the schema, in an EVENT
 * and in a RESULT alike, and the same in the form of another version.
 *
 *   v2        <change> <keyspace> <table>, the table "" when the keyspace changed
 *   v3        <change> <target> <keyspace> [<name>], target KEYSPACE, TABLE or TYPE
 *   v4 and up the same, and FUNCTION and AGGREGATE with the types of their arguments behind the name
 *
 * Native protocol v2 and v5, section 4.2.6 (v2's is the form of v1, too).
 */
#ifndef CQL_SCHEMA_CHANGE_H
#define CQL_SCHEMA_CHANGE_H

#include "base/strview.h"
#include "cql/reader.h"
#include "cql/writer.h"

/* Views into the body. */
struct schema_change {
	struct strview change; /* "CREATED", "UPDATED", "DROPPED", or whatever comes after these */
	struct strview target; /* "KEYSPACE", "TABLE", "TYPE", "FUNCTION", "AGGREGATE", or the same */
	struct strview keyspace;
	struct bytesview rest; /* as it came: the [string] name, a [string list] of types; empty for a keyspace */
};

/* Reads what stands behind the kind of an event or of a result. False when it cannot be read. */
MUSTCHECK bool schema_change_read(struct reader *r, uint8_t version, struct schema_change *out);

/* The same object, whatever became of it. */
bool schema_change_same_object(const struct schema_change *a, const struct schema_change *b);
bool schema_change_equal(const struct schema_change *a, const struct schema_change *b);

/*
 * The body of an EVENT in this version. What a version has no words for is told
 * as a change of the keyspace, as Cassandra does it.
 */
void schema_change_write_event(const struct schema_change *change, uint8_t version, struct writer *w);

#endif
