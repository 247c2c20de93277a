/* listener.c - see listener.h */
#include "proxy/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/net.h"
#include "proxy/admission.h"

/* Out of file descriptors: trying at once again would spin. */
#define PAUSE_MS 100
/* Accepted per wake-up, so that a storm of connections leaves time for control connections and health pages. */
#define ACCEPT_BATCH 64

static void resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	event_add(&l->event, NULL);
}

/* False when accepting has to wait. */
static bool accept_one(struct listener *l)
{
	struct newcomer n = { .listener = l->index, .peer.len = sizeof(n.peer.at) };

	n.fd = accept4(l->fd, &n.peer.at.any, &n.peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (n.fd < 0) {
		const struct timeval pause = { .tv_usec = PAUSE_MS * 1000 };

		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return false;
		if (errno == EINTR || errno == ECONNABORTED)
			return true;
		log_limited(LOG_ERROR, "accepting a connection failed: %s; next try in %d ms", strerror(errno),
			    PAUSE_MS);
		event_del(&l->event);
		event_add(&l->pause_timer, &pause);
		return false;
	}
	admission_accept(l->proxy, &n);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
		if (!accept_one(l))
			return;
	}
}

bool listener_open(struct listener *l, struct event_base *base, struct proxy *proxy, unsigned index, char *error,
		   size_t error_size)
{
	const struct listener_settings *ls = &proxy->settings->listeners[index];

	memset(l, 0, sizeof(*l));
	l->proxy = proxy;
	l->index = index;
	l->fd = net_listen(ls->address, ls->port, &l->bound, error, error_size);
	if (l->fd < 0)
		return false;
	event_assign(&l->event, base, l->fd, EV_READ | EV_PERSIST, on_readable, l);
	event_assign(&l->pause_timer, base, -1, 0, resume, l);
	event_add(&l->event, NULL);
	return true;
}

void listener_close(struct listener *l)
{
	if (l->fd < 0 || !l->proxy)
		return;
	event_del(&l->event);
	event_del(&l->pause_timer);
	close(l->fd);
	l->fd = -1;
}
