/*
 * pool.h - where the connection for a leg comes from. Requests ask pool_pick()
 * and never look at a client's servers themselves, so that shared connections
 * can take the place of dedicated ones without a change to them.
 *
 * Dedicated connections: one per client and cluster, opened when the client
 * sends STARTUP, closed with it.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "proxy/client.h"

/*
 * The largest body of an answer. Answers are not ours to refuse: what Cassandra
 * may send (native_transport_max_frame_size, 256 MiB by default in 3.x) passes,
 * whatever clients may send.
 */
static inline uint32_t pool_max_answer(const struct settings *settings)
{
	return MAX(settings->max_frame_size, 256u << 20);
}

/* Starts a dedicated connection to a node of the cluster. NULL with the reason in *why. */
struct server *pool_open(struct worker *worker, enum cluster_id cluster, uint8_t version,
			 const struct server_handler *handler, void *owner, const char **why);
/* The same to one particular node: the one that lost a statement. */
struct server *pool_open_at(struct worker *worker, enum cluster_id cluster, const struct net_address *address,
			    uint8_t version, const struct server_handler *handler, void *owner, const char **why);

/* The same for the mirror of a client's reads (mirror.h): counted apart. */
struct server *pool_open_mirror(struct worker *worker, enum cluster_id cluster, const struct net_address *address,
				uint8_t version, const struct server_handler *handler, void *owner, const char **why);

/* The connection on which a request of this client goes to the cluster; NULL when there is none. */
static inline struct server *pool_pick(const struct client *c, enum cluster_id cluster)
{
	return c->server[cluster];
}

#endif
