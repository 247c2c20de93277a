/*
 * topology_rows.h - reads rows of system.local, system.peers and
 * system.peers_v2 into hosts (cluster.h): who a node is, and where it takes
 * connections.
 *
 * system.peers_v2 came with Cassandra 4.0 (CASSANDRA-7544): it has a port
 * beside each address, and calls rpc_address native_address. Hosts and column
 * names made of it have the names of system.peers, so that everybody else knows
 * one table only.
 */
#ifndef PROXY_TOPOLOGY_ROWS_H
#define PROXY_TOPOLOGY_ROWS_H

#include "proxy/topology.h"

struct host_list {
	struct host *items;
	unsigned count;
	unsigned cap;
};

/*
 * Whether the ports in the rows are those that we can use: never with
 * node_ports = configured. The node that was asked is the test: it answers us,
 * so when it is at the address that it says and says another port, then its
 * cluster's ports are those of another listener (with TLS on a port of its own,
 * Cassandra shows the plain one).
 */
MUSTCHECK bool topology_rows_believe_ports(const struct topology_source *source, const struct rows *local);

/* The row of the node that was asked. False, and nothing owned, with the column that is missing or of no use. */
MUSTCHECK bool topology_rows_local(struct host *host, const struct topology_source *source, const struct rows *local,
				   bool ports, const char **missing);

/*
 * Adds the nodes of all rows of system.peers or system.peers_v2; a row that is
 * of no use is left out, with a warning that names it. Returns how many are.
 */
unsigned topology_rows_peers(struct host_list *all, const struct topology_source *source, const struct rows *peers,
			     bool ports);

/* The column names of system.peers, whichever of the two tables `peers` is. */
void topology_rows_columns(struct string_list *out, const struct rows *peers);

/* A place for one more host, not initialised. */
struct host *host_list_add(struct host_list *l);

/*
 * Turns an address that a node says into the one that it is reached at, by
 * address_map; true when that gives it a port, too. Without a row for it the
 * address stays as it is.
 */
bool topology_translate(const struct address_map *map, struct net_address *a);

#endif
