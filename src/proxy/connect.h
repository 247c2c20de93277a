/*
 * connect.h - opens connections to nodes: names for TLS, limits, and the
 * counters by node that a connection is counted in.
 */
#ifndef PROXY_CONNECT_H
#define PROXY_CONNECT_H

#include "proxy/server.h"
#include "proxy/worker.h"

/*
 * The largest body of an answer. Answers are not ours to refuse: what Cassandra
 * may send (native_transport_max_frame_size, 256 MiB by default in 3.x) passes,
 * whatever clients may send.
 */
static inline uint32_t connect_max_answer(const struct settings *settings)
{
	return MAX(settings->max_frame_size, 256u << 20);
}

/* Starts a dedicated connection to a node of the cluster. NULL with the reason in *why. */
struct server *connect_open(struct worker *worker, enum cluster_id cluster, uint8_t version,
			    const struct server_handler *handler, void *owner, const char **why);
/* The same to one particular node: the one that lost a statement. */
struct server *connect_open_at(struct worker *worker, enum cluster_id cluster, const struct net_address *address,
			       uint8_t version, const struct server_handler *handler, void *owner, const char **why);

/* The same for the mirror of a client's reads (mirror.h): counted apart. */
struct server *connect_open_mirror(struct worker *worker, enum cluster_id cluster, const struct net_address *address,
				   uint8_t version, const struct server_handler *handler, void *owner,
				   const char **why);

#endif
