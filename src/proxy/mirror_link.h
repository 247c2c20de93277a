/*
 * mirror_link.h - the connections that mirror.c sends copies of reads on: at
 * most one to each cluster for a client, beside its own, with a log-in of its
 * own. They come about in two ways:
 *
 *   read_mode = dual_async_on_secondary   to the secondary, when the client is READY, with its STARTUP. It is not
 *                                         opened again for the same client
 *   a route that mirrors                  to the cluster that the read does not go to, with the first such read. After
 *                                         a failure it is opened again, but not at once
 *
 * With connections of its own the client's mirror is at the node that its own
 * connection goes to, else at any. Nothing here delays, fails or changes
 * anything of the client.
 *
 * Belongs to the client's worker.
 */
#ifndef PROXY_MIRROR_LINK_H
#define PROXY_MIRROR_LINK_H

#include "proxy/client.h"

struct mirror {
	struct client *client;
	struct server *server;
	struct node_stats *stats;
	struct login login;
	struct writer startup;
	struct timeout_item timeout; /* until it is ready */
	/* For mirror.c: its copies. */
	struct list sent;
	struct list held;
	uint32_t held_count;
	uint64_t held_bytes;
	char *refused_keyspace; /* the node answered USE for it with an error */
	uint64_t refused_until_ns;
	bool is_ready;
	bool waits_for_use;
	bool is_for_routes; /* opened by the first read of a route, not at the client's log-in */
};

/*
 * The client is ready: begins to connect, where read_mode wants it. `startup`
 * is the body that the secondary got from it; taken over.
 */
void mirror_link_open(struct client *c, struct writer *startup);
/* The one to this cluster, begun now if there is none. NULL when none can be made now. */
struct mirror *mirror_link_for_route(struct client *c, enum cluster_id cluster);

/* The client ends. Harmless without mirrors. */
void mirror_link_close(struct client *c);
/* Ends one that cannot go on; the client does not notice. */
void mirror_link_give_up(struct mirror *m, const char *why);

/*
 * The settings are others. One that read_mode has opened to the cluster that
 * reads go to now ends, and one to the other cluster takes its place; without
 * dual_async_on_secondary none does. One that routes have opened ends when no
 * route mirrors any more. Harmless without mirrors.
 */
void mirror_link_follow(struct client *c);

/* As server_keep_alive(), for a client that is idle. Harmless without mirrors. */
void mirror_link_keep_alive(const struct client *c, uint64_t interval_ns);

/* For worker->mirror_login_timeouts. */
void mirror_link_on_timeout(struct timeout_item *item);

#endif
