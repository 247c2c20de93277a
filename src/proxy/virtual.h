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
#include "proxy/schema_state.h"

struct function_source;
/* A read of one of the tables, parsed; immutable, so any thread may use it. */
struct virtual_query;

/* True when `table` of `keyspace` (both as Cassandra stores them) is one of the three. */
bool virtual_is_table(struct strview keyspace, struct strview table);

/* It reads system.local and has schema_version in its select list by name. */
bool virtual_query_names_schema_version(const struct virtual_query *q);

/* What an answer depends on besides the query. */
struct virtual_source {
	const struct settings *settings;
	struct topology *topology;               /* of the system-queries cluster, not NULL */
	struct topology *other;                  /* of the other cluster, NULL when it is not known yet */
	const struct net_address *local_address; /* of the driver's socket: the address it reached us at */
	struct function_source *functions;       /* for now(), uuid() ... in the select list */
	struct schema_state *schema;
	uint64_t now_ns;
};

/*
 * Parses the text of a SELECT on one of the tables. NULL when it cannot be
 * answered: then an ERROR body (SYNTAX_ERROR or INVALID, with the reason) is in
 * `error`. Freed by virtual_query_free().
 */
struct virtual_query *virtual_query_new(struct strview text, const struct virtual_source *source, struct writer *error);
void virtual_query_free(struct virtual_query *q);
/* Bytes that it takes; 0 for NULL. */
size_t virtual_query_memory(const struct virtual_query *q);

/* What a QUERY or EXECUTE says besides the text. */
struct virtual_request {
	uint8_t version;
	const struct bytesview *values; /* bound values by marker number, or by `names` where that is not NULL */
	const struct strview *names;
	unsigned value_count;
	uint32_t page_size; /* 0: everything in one page */
	struct bytesview paging_state;
	bool skips_metadata;
	bool is_execute;
	struct bytesview result_metadata_id; /* of an EXECUTE in v5 */
};

/*
 * Writes the RESULT/ROWS body. False when it cannot be answered (a column that
 * the cluster does not have, a bound value missing or of the wrong length ...):
 * then `out` holds an ERROR body instead.
 */
MUSTCHECK bool virtual_write_rows(const struct virtual_query *q, const struct virtual_source *source,
				  const struct virtual_request *request, struct writer *out);

/*
 * Writes the RESULT/PREPARED body with `id`; bind markers are reported as
 * Cassandra names and types them. The id of the result metadata (v5) is an MD5
 * of the columns. False as virtual_write_rows().
 */
MUSTCHECK bool virtual_write_prepared(const struct virtual_query *q, const struct virtual_source *source,
				      uint8_t version, struct bytesview id, struct writer *out);

#endif
