/*
 * pool.h - connections that many clients share.
 *
 * A pool is what clients of one worker have in common: cluster, protocol
 * version, compression and credentials. It has lanes (lane.h), the connections,
 * to some or all nodes of the cluster:
 *
 *   client --> pool (per cluster) --> member (per node) --> lanes --> server
 *
 * pool_pick() finds the node and the lane for a request:
 *
 *   node   by `load_balancing`, of those that are up: of the replicas (placement.h), where they are known
 *   lane   EXECUTE, and texts that name their keyspaces: any;
 *          texts that do not, PREPARE, USE: one in the client's keyspace;
 *          bodies over large_frame_size: one that is for those
 *
 * A lane that is missing is opened, meanwhile another node's serves. When
 * there is none the request waits for it on pool->waiting, all of it: nothing
 * is sent to the other cluster before. It is answered at once when no node of
 * the cluster is up.
 *
 * A client's own connections (`backend_connections = dedicated`, or a log-in
 * that cannot be repeated) are client->server[]; see request_server().
 *
 * Belongs to its worker's thread.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "proxy/backend.h"
#include "proxy/credential.h"
#include "proxy/lane.h"
#include "proxy/worker.h"

struct request;
struct request_leg;

/* The lanes to one node. */
struct pool_member {
	struct list lanes;
	unsigned count;
	uint64_t paused_until_ns; /* requests open no further ones: the last was refused for now; 0: they may */
};

struct pool {
	struct list node; /* on worker->pools[cluster] */
	struct worker *worker;
	enum cluster_id cluster;
	uint8_t version;
	uint8_t compression;           /* enum cql_compression */
	struct credential *credential; /* a reference; NULL: the cluster wants no log-in */
	unsigned clients;              /* that have joined */
	struct pool_member *members;   /* by backend->slot */
	unsigned member_count;
	unsigned lanes;      /* of all members */
	struct list waiting; /* request_leg.waiting of what waits for a lane */
	struct list checks;  /* struct pool_check */
	char *failure;       /* why the last connection could not be opened, since one is ready again NULL */
	struct loop_task progress;
	struct loop_poll poll; /* while something waits */
};

/* The pool for these properties, made when there is none yet. `credential` may be NULL; the pool takes a reference. */
struct pool *pool_join(struct worker *worker, enum cluster_id cluster, uint8_t version,
		       enum cql_compression compression, struct credential *credential);
/* The client goes: the pool's connections stay for pool_idle_timeout. */
void pool_leave(struct pool *pool);

/* What it logs in with; its user NULL: nothing. */
const struct credentials *pool_token(const struct pool *pool);
/* request_continue() is called for the leg when a lane may have become ready. */
void pool_wait(struct pool *pool, struct request_leg *leg);

/* ---- for the files of pools ---- */

/* Something may be possible now that was not: looks at what waits, in the next turn. */
void pool_progress(struct pool *pool);

static inline struct backends *pool_backends(const struct pool *pool)
{
	return &pool->worker->backends[pool->cluster];
}

/* The place of this node in the pool. Valid until another node needs one. */
struct pool_member *pool_member(struct pool *pool, const struct backend *backend);
/* The process has as many connections to the node as it may have. */
bool pool_is_full(const struct pool *pool, const struct backend *backend);

/* ---- for worker.c ---- */

/* The nodes have changed: what is on those that are gone retires. */
void pools_update(struct worker *worker, enum cluster_id cluster);
/* The worker has other settings than `before`: connections that are encrypted otherwise than they say retire. */
void pools_settings_changed(struct worker *worker, enum cluster_id cluster, const struct settings *before);
/* Closes an idle connection to this node, so that another worker may open one. */
void pools_shed(struct worker *worker, enum cluster_id cluster, const struct net_address *address);
/* A node that is down is tried again: by a connection of some pool. False when no pool has a client. */
bool pools_try(struct worker *worker, enum cluster_id cluster, struct backend *backend);
/* The worker ends, its clients have gone. */
void pools_drop(struct worker *worker);

#endif
