/*
 * status_event.h - which node a STATUS_CHANGE on a control connection speaks
 * of, and what it says: that it is up, or down (native protocol v5, section
 * 4.2.6).
 */
#ifndef PROXY_STATUS_EVENT_H
#define PROXY_STATUS_EVENT_H

#include "proxy/cluster.h"

/*
 * The body begins with the kind of event. The node is looked for in the current
 * snapshot. False for what cannot be read, and for nodes that no request goes to.
 */
MUSTCHECK bool status_event_read(struct cluster *cluster, const uint8_t *body, uint32_t len, struct net_address *node,
				 bool *is_up);

#endif
