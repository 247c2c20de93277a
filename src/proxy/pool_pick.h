/*
 * pool_pick.h - the node and the lane that a request goes over.
 */
#ifndef PROXY_POOL_PICK_H
#define PROXY_POOL_PICK_H

#include "proxy/pool.h"

/* What pool_pick() found. */
enum pool_answer {
	POOL_PICKED,
	POOL_WAIT, /* a lane is being opened */
	POOL_DOWN, /* no node of the cluster is up */
};

/*
 * The connection for this request's leg to `cluster`; the request's client is
 * in pooled mode. `not_at`, when not NULL, is a node that has just failed it
 * and is only taken when there is no other one.
 */
enum pool_answer pool_pick(struct request *rq, unsigned cluster, const struct net_address *not_at, struct server **out);
/* The same to one particular node: the one that has prepared a statement. POOL_DOWN when it is not up any more. */
enum pool_answer pool_pick_at(const struct request *rq, unsigned cluster, const struct net_address *address,
			      struct server **out);
/* A ready connection to this node, in this keyspace (NULL: none) unless any will do; NULL: there is none. */
struct server *pool_find(struct pool *pool, const struct net_address *address, const char *keyspace, bool any_keyspace);

/* What this request needs can be had of a lane of this kind. */
bool pool_lane_serves(const struct lane *lane, const struct request *rq);
/* There are more lanes that serve what this one does than connections_per_host allows. */
bool pool_is_surplus(const struct pool *pool, const struct lane *lane);

#endif
