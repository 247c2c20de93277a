/*
 * control.h - the control connection to one cluster, on the main thread's
 * loop: finds a node that answers, learns what the cluster speaks and who its
 * nodes are, keeps watch, and publishes snapshots (cluster.h).
 *
 *   WAITING --timer--> CONNECTING -> LOGIN -> LEARNING -> UP
 *      ^                   |           |         |        |
 *      '------- back-off --+-----------+---------+--------'
 */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include "base/loop.h"
#include "proxy/cluster.h"

struct control;

struct control_options {
	struct loop *loop; /* the main thread's */
	struct cluster *cluster;
	const struct settings *settings;
	struct tls_context *tls; /* NULL: plain */
	/* A new snapshot was published; the first call says that the cluster has been reached. */
	void (*on_topology)(struct control *control, void *arg);
	/*
	 * Trying again cannot help (credentials refused, partitioner not
	 * supported): the process ends with this message when it has not started
	 * yet, else it is logged and tried again all the same. Trying goes on when
	 * the function returns.
	 */
	void (*on_hopeless)(struct control *control, const char *why, void *arg);
	/*
	 * A SCHEMA_CHANGE event came: `body` from the kind of event on (native protocol v5, section 4.2.6), not checked
	 * any further, gone when the function returns. May be NULL. Never called where events are forwarded
	 * (settings_forward_events), since then only TOPOLOGY_CHANGE is registered for.
	 */
	void (*on_schema_event)(struct control *control, const uint8_t *body, uint32_t len, void *arg);
	/*
	 * The cluster says that a node that requests go to is up, or down (cluster_mark_up() and _down() have been called).
	 * May be NULL.
	 */
	void (*on_status)(struct control *control, const struct net_address *node, bool is_up, void *arg);
	/*
	 * The connection is up, for the first time or again: events may have been missed since the last one was lost.
	 * The snapshot it brought has been published (on_topology was called). May be NULL.
	 */
	void (*on_connected)(struct control *control, void *arg);
	void *arg;
};

struct control *control_new(const struct control_options *options);
/* Starts to connect; never fails: what goes wrong is logged and tried again with back-off. */
void control_start(struct control *control);
void control_free(struct control *control);
/*
 * Other settings and TLS files from now on; the old ones, which are valid until
 * this returns, are not used any more. The connection that is up stays unless
 * the settings lead elsewhere: other contact points, another port or way of
 * encryption. What it tells about nodes is then read anew.
 */
void control_change_settings(struct control *control, const struct settings *settings, struct tls_context *tls);

/*
 * Reads the tables of nodes in `ms`, or when they are being read, soon after
 * that: what they showed is out of date. Nothing while the connection is not
 * up, since it reads them then.
 */
void control_refresh_soon(struct control *control, uint32_t ms);

/* For the health page: address of the current or last connection ("NOT_CONNECTED" before the first), failures in a row. */
struct control_status {
	char address[NET_TEXT_MAX];
	uint32_t failures;
	bool was_up;
};
void control_get_status(const struct control *control, struct control_status *out);

#endif
