/*
 * keyspaces.h - the layout of keyspaces, as rows of system_schema.keyspaces
 * (Cassandra 3.0, CASSANDRA-6717) say it: which replication strategy, and its
 * options.
 */
#ifndef PROXY_KEYSPACES_H
#define PROXY_KEYSPACES_H

#include "cql/rows.h"
#include "proxy/cluster.h"

/* More are not kept: clusters become unusable long before. */
#define KEYSPACES_MAX 50000

/*
 * Adds the rows of one page; a row without a name, or with a map that cannot be
 * read, is left out. False when the answer has other columns.
 */
MUSTCHECK bool keyspaces_add(struct topology *t, const struct rows *rows, uint8_t version);
/* When all pages are there: sorts them, as keyspaces_find() needs it. */
void keyspaces_sort(struct topology *t);
/* NULL: not known. */
const struct keyspace_replication *keyspaces_find(const struct topology *t, struct strview keyspace);
void keyspaces_free(struct topology *t);

#endif
