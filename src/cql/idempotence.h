/*
 * idempotence.h - whether a write may be executed a second time when nobody
 * knows whether the first one was.
 *
 * Proven are INSERT, UPDATE, DELETE and BEGIN [UNLOGGED] BATCH that assign
 * literals and bind markers to columns, without a condition. What is not
 * understood is not proven; that costs an error where there could have been a
 * second try, nothing else. A repetition must carry the same timestamp as the
 * first execution, or it would undo a write that came in between.
 *
 * Not proven, though they look harmless (tests/cluster/test_repeat.py shows it):
 *
 *   l = [1, 2]      each execution gives the elements cells of their own, and
 *                   with one timestamp for both none deletes the other's: the
 *                   list is [1, 2, 1, 2]. The same for a list that is bound,
 *                   and for one in JSON. An empty list is harmless.
 *   ts = 'now'      the clock of the node that executes it, in any letter case
 *   c = c + ?       counts, or appends to a list; harmless for a set, but that
 *                   cannot be told. The same for c += ?
 *   c[1] = 2        a second time it may be another element of the list; of a
 *   DELETE c[1]     map it is harmless, which cannot be told either
 *   f(1)            whatever f is; a function of the user may hide behind the
 *                   name of a native one. But toTimestamp((timeuuid)...) and
 *                   the like are proven: the cast leaves the native one alone.
 *
 * Grammar: Cassandra's Parser.g of 3.11 to 5.0; lists: Lists.Setter there.
 */
#ifndef CQL_IDEMPOTENCE_H
#define CQL_IDEMPOTENCE_H

#include "cql/reader.h"
#include "cql/scanner.h"

/* What a text says, as bits, so that it can be kept with a prepared statement. */
#define IDEMPOTENT_PROVEN 0x01
/* Every statement in it, or the batch, has USING TIMESTAMP; the rest is only of meaning with PROVEN. */
#define IDEMPOTENT_HAS_TIMESTAMP 0x02
/* One of these is bound: an unset value for it is no timestamp. */
#define IDEMPOTENT_BINDS_TIMESTAMP 0x04
/* A marker is assigned to a column: proven only when no value is a list, idempotence_may_be_list(). */
#define IDEMPOTENT_BINDS_COLUMN 0x08
/* INSERT JSON of a marker: proven only when the values pass idempotence_json(). */
#define IDEMPOTENT_BINDS_JSON 0x10

/* Parentheses, braces, brackets and casts deeper than this are not understood. */
#define IDEMPOTENCE_MAX_DEPTH 24

/* Function calls are not proven: replace_cql_functions has put values in their place where it is on. Never fails. */
uint8_t idempotence_scan(struct strview text);

/*
 * True unless the bytes of a bound value (in the format of v3 and up) cannot be
 * a list with elements. A node that takes it for a list would refuse it then.
 */
bool idempotence_may_be_list(struct bytesview value);

/* True when a JSON text surely has neither an array nor the word `now`, however they are written. */
bool idempotence_json(struct strview json);

#endif
