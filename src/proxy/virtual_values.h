/*
 * virtual_values.h - the nodes that drivers see (the proxy's instances) and
 * the columns of system.local and system.peers with their values.
 *
 * Each instance is dressed up as one real node of the cluster that answers
 * system queries: instance i as host i modulo their number, in the order of
 * topology.h, which is the same in all instances.
 */
#ifndef PROXY_VIRTUAL_VALUES_H
#define PROXY_VIRTUAL_VALUES_H

#include "proxy/virtual.h"

enum virtual_table {
	VIRTUAL_LOCAL,
	VIRTUAL_PEERS,
	VIRTUAL_PEERS_V2,
};

struct virtual_node {
	unsigned index;
	uint8_t address[16];
	unsigned address_len; /* 4 or 16 */
	uint8_t host_id[16];
	uint16_t port;           /* where it speaks CQL */
	const struct host *real; /* the host whose data it borrows; belongs to the source's topology */
};

/* How many instances there are, this one included; at least 1. */
unsigned virtual_node_count(const struct settings *settings);
void virtual_node_get(const struct virtual_source *source, unsigned index, struct virtual_node *out);
/* The same without `real`: where drivers who reached us at `local` find this instance. */
void virtual_node_place(const struct settings *s, const struct net_address *local, unsigned index,
			struct virtual_node *out);

/*
 * A version 5 UUID of the address in the nil name space. `mapped`: the address
 * is hashed in 16-byte form, IPv4 as ::ffff:a.b.c.d; otherwise as it is.
 */
void virtual_host_id(const uint8_t *address, unsigned len, bool mapped, uint8_t out[16]);
/* Token number t of num_tokens of instance i of count. */
int64_t virtual_token(unsigned count, unsigned num_tokens, unsigned i, unsigned t);

/* How its table is keyed by it. */
enum virtual_key {
	KEY_NONE,
	KEY_PARTITION,
	KEY_CLUSTERING,
};

struct virtual_column;

/* NULL when the table has no column of this name that we know. */
const struct virtual_column *virtual_column_find(enum virtual_table table, struct strview name);
/* The columns of `SELECT *` in their order, NULL behind the last. */
const struct virtual_column *virtual_column_at(enum virtual_table table, unsigned position);
/* False when the real cluster has no such column: then neither have we. */
bool virtual_column_exists(const struct virtual_column *column, enum virtual_table table,
			   const struct virtual_source *source);
/*
 * Whether there is a system.peers_v2: where both clusters have one, which came
 * with Cassandra 4.0 and the ports in system.local (CASSANDRA-7544). Never in
 * the zdm profile.
 */
bool virtual_has_peers_v2(const struct virtual_source *source);

/* "local", "peers" or "peers_v2". */
struct strview virtual_table_name(enum virtual_table table);
MUSTCHECK bool virtual_table_find(struct strview name, enum virtual_table *table);

enum virtual_key virtual_column_key(const struct virtual_column *column, enum virtual_table table);
const char *virtual_column_name(const struct virtual_column *column);
/* The raw [option]. */
struct bytesview virtual_column_type(const struct virtual_column *column);

/* Writes the value as [bytes]. */
void virtual_write_value(const struct virtual_column *column, const struct virtual_source *source,
			 const struct virtual_node *node, struct writer *out);

#endif
