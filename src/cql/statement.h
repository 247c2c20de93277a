/*
 * statement.h - what kind of statement a text is, and which keyspace and table
 * it names: a scanner that stops as soon as both are known. It is no grammar:
 * the first significant keyword decides, and what it does not understand is
 * STATEMENT_UNKNOWN, which goes to both clusters as a write.
 */
#ifndef CQL_STATEMENT_H
#define CQL_STATEMENT_H

#include "cql/scanner.h"

/* X(name, word in messages) */
#define STATEMENT_KINDS(X)                                                                                             \
	X(SELECT, "select")                                                                                            \
	X(INSERT, "insert")                                                                                            \
	X(UPDATE, "update")                                                                                            \
	X(DELETE, "delete")                                                                                            \
	X(BATCH, "batch") /* BEGIN [UNLOGGED|COUNTER] BATCH */                                                         \
	X(USE, "use")                                                                                                  \
	X(TRUNCATE, "truncate")                                                                                        \
	X(SCHEMA, "schema")     /* CREATE, ALTER, DROP, COMMENT ... of keyspaces, tables, types, ... */                \
	X(ROLE, "role")         /* GRANT, REVOKE, CREATE/ALTER/DROP ROLE or USER, ADD/DROP IDENTITY */                 \
	X(LIST, "list")         /* LIST ROLES, LIST PERMISSIONS: a read */                                             \
	X(DESCRIBE, "describe") /* DESC, DESCRIBE: a read */                                                           \
	X(CALL, "call")                                                                                                \
	X(UNKNOWN, "unknown")

enum statement_kind {
#define X(name, word) STATEMENT_##name,
	STATEMENT_KINDS(X)
#undef X
};

const char *statement_kind_name(enum statement_kind kind);

struct statement_facts {
	enum statement_kind kind;
	/* The keyspace as written, or (USE) the one switched to; len 0 when the text has none. */
	struct statement_name keyspace;
	/* The table of a SELECT, INSERT, UPDATE, DELETE, TRUNCATE; len 0 when there is none or it was not found. */
	struct statement_name table;
	bool is_counter_batch;
	bool is_unlogged_batch;
	/* True when a keyword IF stands outside strings and names behind the verb of INSERT, UPDATE, DELETE or in a
	 * batch: a conditional write (its time-out is of type CAS). For SELECT never set. */
	bool is_conditional;
	/* True when the text surely does not depend on the connection's keyspace: USE, and the statements with a table
	 * (see above) that write it with its keyspace. False otherwise, for BATCH texts and DDL always: their tables
	 * are not looked for. */
	bool is_qualified;
	/* CALL InsightsRpc.name(...): in any letter case, but not in quotes. Drivers for DSE report on themselves so. */
	bool is_insights_call;
	/* The offset behind FROM of a SELECT, where the table name starts; 0 when there is none. */
	uint32_t from_offset;
};

/* Never fails: what is not understood is STATEMENT_UNKNOWN. */
void statement_scan(struct strview text, struct statement_facts *out);

/* True for the keyspaces whose reads are answered by one cluster: system, system_schema, system_auth,
 * system_distributed, system_traces, system_views, system_virtual_schema, system_metrics, system_cluster_metadata,
 * and DSE's dse_* ones, an exact list. */
bool statement_keyspace_is_system(struct strview keyspace);

#endif
