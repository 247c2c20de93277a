/*
 * listener.h - accepts drivers on the main thread and hands each socket to the
 * worker that serves the fewest. Drivers keep their few connections for days,
 * so letting the kernel spread them by hash would leave workers idle beside
 * busy ones (docs/performance.md).
 */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include <event2/event_struct.h>

#include "proxy/proxy.h"

struct listener {
	struct event event;
	struct event pause_timer;
	int fd;
	unsigned index; /* of settings->listeners */
	struct proxy *proxy;
	struct net_address bound;
};

/*
 * Binds and starts to accept on the main loop's base; proxy->gate is open. False with the reason in
 * `error`.
 */
MUSTCHECK bool listener_open(struct listener *l, struct event_base *base, struct proxy *proxy, unsigned index,
			     char *error, size_t error_size);
/* Closes the socket: connections that wait in its queue are reset. Harmless when it is not open. */
void listener_close(struct listener *l);

#endif
