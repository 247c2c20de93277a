/*
 * cluster.h - origin or target as the workers see it: settings, and what the
 * control connection last learnt, as an immutable snapshot.
 *
 * The main thread publishes snapshots (cluster_publish), any thread takes them
 * (cluster_topology). Taking one locks a mutex, so it is done when a
 * connection is opened or a system table is asked for, never per request.
 */
#ifndef PROXY_CLUSTER_H
#define PROXY_CLUSTER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/net.h"
#include "base/strview.h"
#include "cql/reader.h"
#include "cql/tables.h"
#include "cql/version.h"
#include "proxy/settings.h"

/* One value of a node's row in system.local or system.peers, kept as it came. */
struct node_value {
	char *column;
	uint8_t *value; /* NULL: null */
	uint32_t len;
};

struct host {
	struct net_address address; /* where it speaks CQL */
	char name[NET_TEXT_MAX];
	char *datacenter;
	char *rack;
	uint8_t host_id[16];
	bool is_local_row; /* the node of the control connection */
	uint8_t tier; /* 0: of the local datacenter; 1, 2 ..: of the fallback datacenters in the order of the option */
	/* Every column of its row in system.local (the control connection's node) or system.peers. */
	struct node_value *values;
	unsigned value_count;
};

/* host.tier of nodes that no request goes to. */
#define HOST_TIER_REMOTE UINT8_MAX

struct replication_option {
	char *key; /* "replication_factor", or a datacenter */
	char *value;
};

/* How a keyspace is laid out: the map `replication` of system_schema.keyspaces. */
struct keyspace_replication {
	char *keyspace;
	char *class; /* as the node writes it, "org.apache.cassandra.locator.SimpleStrategy"; NULL: the map has none */
	struct replication_option *options; /* all the others */
	unsigned option_count;
};

struct ring; /* ring.h */

struct former_place {
	struct net_address address;
	uint8_t host_id[16];
};

struct topology {
	_Atomic uint32_t refs;
	uint64_t digest;   /* of the tables that it was made of: snapshots of one node with the same one say the same */
	uint8_t version;   /* protocol version the control connection ended at */
	uint32_t versions; /* set of those that this cluster speaks (cql/version.h) */
	bool requires_auth;  /* it answered STARTUP by AUTHENTICATE */
	char *authenticator; /* the class that AUTHENTICATE named; NULL: none, or it named none */
	bool offers_lz4;
	bool offers_snappy;
	bool offers_compression; /* SUPPORTED had COMPRESSION at all */
	/* The other options of SUPPORTED that clients may see: the pairs of a [string multimap]. */
	uint8_t *options;
	uint32_t options_len;
	uint16_t option_count;
	char *cluster_name;
	char *partitioner;
	struct net_address contact; /* the node of the control connection */
	char contact_name[NET_TEXT_MAX];
	char *contact_host; /* the contact point's name when it is no literal (for TLS name checks), else NULL */
	/*
	 * [0 .. local_count) are of the local datacenter, sorted by rack and host id: the same order in every instance.
	 * Behind them, [local_count .. host_count), come those of the fallback datacenters, sorted by tier, rack and
	 * host id; behind these, [host_count .. all_count), those of all other datacenters, which no request goes to.
	 */
	struct host *hosts;
	char *datacenter; /* the local one, even when it has no node any more (local_count 0) */
	unsigned local_count;
	unsigned host_count;
	unsigned all_count;
	unsigned left_out; /* rows that are of no use: those of a new node are incomplete at first */
	/* Indexes into the local hosts that this instance uses (proxy_topology_index), round robin. */
	unsigned *assigned;
	unsigned assigned_count;
	/* Where nodes of it were in earlier snapshots: connections that were made there are to the same node. */
	struct former_place *former;
	unsigned former_count;
	/* All columns of the local row, from which the virtual tables take what is not per host. */
	struct host local;
	/* Column names that system.peers has in this cluster. */
	struct string_list peer_columns;
	/* Of all keyspaces, sorted by name; none where they were not asked for or the node has no such table. */
	struct keyspace_replication *keyspaces;
	unsigned keyspace_count;
	/* See schema_state.h. */
	uint64_t schema_asked_ns;   /* when the node was asked for all this */
	uint64_t schema_changed_ns; /* when the node's version was first seen; 0: with the first snapshot */
	uint8_t schema_before[16];  /* its version before that */
	bool schema_agrees;         /* all nodes that are not known to be down have one version */
	/* Which hosts own which tokens; NULL when the cluster has no ring that we know how to read. */
	struct ring *ring;
};

/* More nodes than this are not remembered as down at a time; the next attempt finds out again. */
#define CLUSTER_MAX_DOWN 64

struct down_host {
	struct net_address address;
	uint64_t until_ns; /* monotonic */
};

struct bundle;
struct sni;

struct cluster {
	enum cluster_id id;
	const struct cluster_settings *_Atomic settings; /* see proxy.h */
	struct sni *sni;                                 /* its nodes are behind an SNI proxy (sni.h); else NULL */
	pthread_mutex_t lock;
	struct topology *topology;               /* NULL until the control connection was up once; guarded by lock */
	_Atomic uint32_t next_host;              /* round robin */
	struct down_host down[CLUSTER_MAX_DOWN]; /* guarded by lock */
	_Atomic uint32_t down_count;
	_Atomic uint32_t failures; /* of the control connection, in a row; for health */
};

void cluster_init(struct cluster *c, enum cluster_id id, const struct cluster_settings *settings);
void cluster_fini(struct cluster *c);

/* A reference to the current snapshot, given back by topology_unref(); NULL before the first. */
struct topology *cluster_topology(struct cluster *c);
/* Makes `t` the current snapshot; takes over its reference. */
void cluster_publish(struct cluster *c, struct topology *t);
void topology_unref(struct topology *t);
/* Another reference; returns t. */
struct topology *topology_ref(struct topology *t);
/* Whether a node of any datacenter is or was at this address; one that has another address now is still the same. */
bool topology_has_node(const struct topology *t, const struct net_address *address);
/* An empty snapshot with one reference. */
struct topology *topology_new(void);

/*
 * The node for a new connection: round robin over the assigned hosts that are
 * not marked down; when every one is, over the others of the local datacenter,
 * then of each fallback datacenter, and when all are down over the assigned
 * ones again. With enable_host_assignment = false the control connection's
 * node. False before the first snapshot.
 */
MUSTCHECK bool cluster_pick_host(struct cluster *c, struct net_address *out);

/* Reads the secure connect bundle, where there is one. False with the reason in `error`. Before the workers start. */
MUSTCHECK bool cluster_load(struct cluster *c, char *error, size_t error_size);

/*
 * How a connection to a node is made. The names are for TLS: what its
 * certificate must be for, and what is sent as SNI ("": the same name, where it
 * is no address).
 */
struct reach {
	struct net_address address; /* the node, with the socket address that it is reached at now */
	char server_name[256];
	char sni[NET_TEXT_MAX];
};
/* From any thread, when a connection is opened; takes a lock. */
void cluster_reach(struct cluster *c, const struct net_address *node, struct reach *out);

/* A node refused a connection, or the cluster says that it is down: others are picked for so long, if there are any. */
void cluster_mark_down(struct cluster *c, const struct net_address *host, uint32_t for_ms);
/* It took a connection, or the cluster says that it is up. */
void cluster_mark_up(struct cluster *c, const struct net_address *host);

/*
 * How to compress a connection to this cluster for a client that uses
 * `client_uses` in protocol `version`: what the settings say where the cluster
 * offers it, else none.
 */
enum cql_compression cluster_compression(struct cluster *c, enum cql_compression client_uses, uint8_t version);

/*
 * The versions that drivers may speak: those that both clusters do, up to
 * control_conn_max_protocol_version, blocked ones left out. Empty before both
 * clusters are known; with ready_when = primary one that is not known yet takes
 * none away.
 */
uint32_t clusters_served_versions(struct cluster *clusters, const struct settings *settings);
/* The lower one of the versions that the two control connections have ended at, as numbers; 0 before both are known. */
uint8_t clusters_lower_version(struct cluster *clusters);

#endif
