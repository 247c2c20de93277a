/* connect.c - see connect.h */
#include "proxy/connect.h"

static struct server *open_counted(struct worker *worker, enum cluster_id cluster, enum node_role role,
				   const struct net_address *address, uint8_t version,
				   const struct server_handler *handler, void *owner, const char **why)
{
	struct node_stats *stats = node_stats_get(&worker->proxy->nodes, role, worker->index, address);
	struct reach reach;
	struct server_options options = {
		.loop = &worker->loop,
		.cluster = cluster,
		.tls = worker->cluster_tls[cluster],
		.server_name = reach.server_name,
		.sni = reach.sni,
		.version = version,
		.max_frame = connect_max_answer(worker->settings),
		.max_streams = worker->settings->max_stream_ids,
		.memory_limit = worker->settings->memory_limit,
		.stats = stats,
		.handler = handler,
		.owner = owner,
	};
	struct server *server;

	cluster_reach(&worker->proxy->clusters[cluster], address, &reach);
	options.address = reach.address;
	server = server_open(&options, why);
	if (!server)
		metric_add(&stats->failed_connections, 1);
	return server;
}

struct server *connect_open_at(struct worker *worker, enum cluster_id cluster, const struct net_address *address,
			       uint8_t version, const struct server_handler *handler, void *owner, const char **why)
{
	return open_counted(worker, cluster, (enum node_role)cluster, address, version, handler, owner, why);
}

struct server *connect_open_mirror(struct worker *worker, enum cluster_id cluster, const struct net_address *address,
				   uint8_t version, const struct server_handler *handler, void *owner, const char **why)
{
	return open_counted(worker, cluster, NODE_ASYNC, address, version, handler, owner, why);
}

struct server *connect_open(struct worker *worker, enum cluster_id cluster, uint8_t version,
			    const struct server_handler *handler, void *owner, const char **why)
{
	struct net_address address;

	if (!cluster_pick_host(&worker->proxy->clusters[cluster], &address)) {
		*why = "no node of it is known yet";
		return NULL;
	}
	return connect_open_at(worker, cluster, &address, version, handler, owner, why);
}
