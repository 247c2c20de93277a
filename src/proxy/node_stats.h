/*
 * node_stats.h - counters by node: what the clients' connections to one node
 * do, as ZDM Proxy's node-level metrics have it.
 *
 * A node is known from the first connection that is begun to it, and for ever
 * after. Each worker that has had a connection to it has a struct node_stats
 * for it, which that worker alone writes. A connection finds its own once, when
 * it is opened (struct server's stats), so that counting costs no look-up.
 *
 *   node_table.nodes[role][i] -> struct node -> stats[worker] -> counters
 *
 * Entries are only ever added: their pointers are published with release order
 * and read by the main thread without the lock.
 */
#ifndef PROXY_NODE_STATS_H
#define PROXY_NODE_STATS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/net.h"
#include "proxy/metrics.h"

/* Errors that a node answered, or that stand for no answer: X(name, ZDM's `error` label), sorted by label. */
#define NODE_ERRORS(X)                                                                                                 \
	X(CLIENT_TIMEOUT, "client_timeout") /* no answer within request_timeout */                                     \
	X(OTHER, "other")                                                                                              \
	X(OVERLOADED, "overloaded")                                                                                    \
	X(READ_FAILURE, "read_failure")                                                                                \
	X(READ_TIMEOUT, "read_timeout")                                                                                \
	X(UNAVAILABLE, "unavailable")                                                                                  \
	X(UNPREPARED, "unprepared")                                                                                    \
	X(WRITE_FAILURE, "write_failure")                                                                              \
	X(WRITE_TIMEOUT, "write_timeout")

enum node_error {
#define X(name, label) NODE_ERROR_##name,
	NODE_ERRORS(X)
#undef X
};
#define NODE_ERROR_COUNT 9

enum node_latency {
	NODE_READS,  /* requests that went to this cluster alone */
	NODE_WRITES, /* requests that went to both clusters */
};
#define NODE_LATENCIES 2

/* Which kind of connection is counted. */
enum node_role {
	NODE_ORIGIN = CLUSTER_ORIGIN,
	NODE_TARGET = CLUSTER_TARGET,
	NODE_ASYNC = 2, /* the connections that reads are mirrored on (mirror.h) */
};
#define NODE_ROLES 3

/* Nodes of one role that get series of their own; the others share one, since a series lives as long as the process. */
#define NODE_TABLE_MAX 1000

struct node;

struct node_stats {
	const struct histogram_bounds *bounds;
	struct node *node;        /* it belongs to; NULL for what is counted nowhere */
	uint64_t used_stream_ids; /* gauge */
	uint64_t inflight;        /* gauge; NODE_ASYNC: mirrored requests that wait for an answer */
	uint64_t connections;     /* gauge: connected ones */
	uint64_t failed_connections;
	uint32_t preparing; /* repairs of this worker that have a PREPARE under way there */
	uint64_t failed[NODE_ERROR_COUNT];
	struct histogram latency[NODE_LATENCIES];
};

struct node {
	struct net_address address;
	unsigned index;                       /* among the nodes of its role */
	_Atomic uint32_t pooled;              /* connections of all workers' pools to it */
	char name[NET_TEXT_MAX];              /* address:port; "other" for the shared one */
	_Atomic(struct node_stats *) stats[]; /* by worker; NULL for one that has had no connection to it */
};

struct node_table {
	pthread_mutex_t lock; /* held by who adds */
	unsigned workers;
	OWN_LINE struct histogram_bounds bounds[NODE_ROLES]; /* read with each answer: not beside the lock */
	_Atomic unsigned count[NODE_ROLES];
	struct node *nodes[NODE_ROLES][NODE_TABLE_MAX + 1]; /* the last: the shared one */
};

void node_table_init(struct node_table *t, const struct settings *settings);
void node_table_fini(struct node_table *t);

/*
 * The counters of a worker for a node, made when there are none yet. From any
 * thread; takes the lock and looks through the nodes, so it is for the opening
 * of a connection. Lives as long as the table.
 */
struct node_stats *node_stats_get(struct node_table *t, enum node_role role, unsigned worker,
				  const struct net_address *address);

/* One more pooled connection to the node, unless there are `limit` (0: any number). From any thread. */
MUSTCHECK bool node_take(struct node *node, uint32_t limit);
void node_release(struct node *node);

/* How many nodes there are (from any thread); nodes[role][0 ... count-1] may then be read. */
static inline unsigned node_table_count(const struct node_table *t, enum node_role role)
{
	return atomic_load_explicit(&t->count[role], memory_order_acquire);
}

/* The class of an ERROR frame's code. */
enum node_error node_error_from(uint32_t code);
const char *node_error_label(enum node_error error);

static inline void node_count_error(struct node_stats *n, uint32_t code)
{
	metric_add(&n->failed[node_error_from(code)], 1);
}

static inline void node_observe(struct node_stats *n, enum node_latency kind, uint64_t ns)
{
	histogram_observe(&n->latency[kind], n->bounds, ns);
}

#endif
