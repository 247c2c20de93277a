/*
 * virtual.h - system.local, system.peers and system.peers_v2 as drivers see
 * them: the proxy instances instead of the real nodes. Answered by us for
 * QUERY and for PREPARE and EXECUTE; nothing reaches a cluster.
 *
 * Values: docs/protocol.md, "System tables".
 */
#ifndef PROXY_VIRTUAL_H
#define PROXY_VIRTUAL_H

#include "cql/error.h"
#include "cql/rows.h"
#include "cql/select.h"
#include "proxy/cluster.h"

/* A read of one of the tables, parsed; immutable, so any thread may use it. */
struct virtual_query;

/* True when `table` of `keyspace` (both as Cassandra stores them) is one of the three. */
bool virtual_is_table(struct strview keyspace, struct strview table);

/*
 * Parses the text of a SELECT on one of the tables. NULL when it cannot be
 * answered: then an ERROR body (INVALID, with the reason) is in `error`.
 * Freed by virtual_query_free().
 */
struct virtual_query *virtual_query_new(struct strview text, struct writer *error);
void virtual_query_free(struct virtual_query *q);

/* What an answer depends on besides the query. */
struct virtual_source {
	const struct settings *settings;
	struct topology *topology;               /* of the system-queries cluster, not NULL */
	const struct net_address *local_address; /* of the driver's socket: the address it reached us at */
};

/*
 * Writes the RESULT/ROWS body. `values` are the bound values by marker index,
 * `names` their names when the client named them (NULL when not). False when it cannot be answered (a
 * column that the cluster does not have, a bound value missing or of the wrong
 * length): then `out` holds an ERROR body instead.
 */
MUSTCHECK bool virtual_write_rows(const struct virtual_query *q, const struct virtual_source *source,
				  const struct bytesview *values, const struct strview *names, unsigned value_count,
				  struct writer *out);

/*
 * Writes the RESULT/PREPARED body with `id`; bind markers are reported with
 * their column's type. False as virtual_write_rows().
 */
MUSTCHECK bool virtual_write_prepared(const struct virtual_query *q, const struct virtual_source *source,
				      uint8_t version, struct bytesview id, struct writer *out);

#endif
