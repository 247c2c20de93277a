/*
 * topology.h - makes a snapshot (cluster.h) out of the rows of system.local
 * and system.peers: which nodes there are, which belong to the local
 * datacenter, in which order, and which of them this instance uses.
 */
#ifndef PROXY_TOPOLOGY_H
#define PROXY_TOPOLOGY_H

#include "cql/rows.h"
#include "proxy/cluster.h"

struct topology_source {
	enum cluster_id id;
	const struct settings *settings;
	/* The node that the rows came from, as it was reached. With a node id, so have the others, and its address. */
	struct net_address contact;
	/*
	 * The datacenter of an earlier snapshot, kept for the life of the process so
	 * that a control connection that moves does not take the traffic with it.
	 * NULL before the first: a local_datacenter that no node has is an error then.
	 */
	const char *datacenter;
	const char *sni_datacenter; /* what a bundle's metadata name in place of the setting local_datacenter; or NULL */
};

enum topology_result {
	TOPOLOGY_OK,
	TOPOLOGY_BAD,      /* the rows cannot be used; another node, or another time, may do better */
	TOPOLOGY_HOPELESS, /* no node of this cluster will do */
};

/*
 * Fills hosts, assigned, local, peer_columns, cluster_name, partitioner and
 * contact of `t`, an empty snapshot. Otherwise `error` says why not and `t`
 * is only good for topology_unref(). What is merely odd is logged as a warning.
 */
MUSTCHECK enum topology_result topology_fill(struct topology *t, const struct topology_source *source,
					     const struct rows *local, const struct rows *peers, char *error,
					     size_t error_size);

/* The local datacenter; NULL in an empty snapshot. */
const char *topology_datacenter(const struct topology *t);

/* Whether requests go to this node. */
bool topology_has(const struct topology *t, const struct net_address *address);
/*
 * The node that requests go to at this IP address: the only one, or of several
 * the one with this port, else NULL.
 */
const struct host *topology_find(const struct topology *t, const struct net_address *address);

/* Logs which nodes that requests go to are new, and which have gone. */
void topology_log_changes(const struct topology *before, const struct topology *now, enum cluster_id id);

/* True when all nodes, of whatever datacenter, report one schema version; those that report none do not count. */
bool topology_schema_agrees(const struct topology *t);

/* True when both place partitions alike: the same hosts in one order, with equal tokens, and equal replication. */
bool topology_places_alike(const struct topology *a, const struct topology *b);

/*
 * The share of instance `index` of `count` in `n` hosts: whether the host at
 * `position` is its. Every host has an instance and every instance a host.
 */
bool topology_is_assigned(unsigned position, unsigned n, unsigned count, unsigned index);

/* Frees what the host owns and empties it. */
void host_fini(struct host *host);
/* The value of a column in a node's row; null when the row has no such column. */
struct bytesview host_value(const struct host *host, const char *column);
bool host_has_column(const struct host *host, const char *column);

/* 36 characters and a NUL: a UUID as Cassandra prints it. */
#define UUID_TEXT_MAX 37
const char *topology_format_uuid(const uint8_t uuid[16], char out[UUID_TEXT_MAX]);

#endif
