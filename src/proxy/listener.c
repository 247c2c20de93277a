/* listener.c - see listener.h */
#include "proxy/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/net.h"

/* Out of file descriptors: trying at once again would spin. */
#define PAUSE_MS 100
/* Accepted per wake-up, so that a storm of connections leaves time for control connections and health pages. */
#define ACCEPT_BATCH 64

static struct worker *least_loaded(struct listener *l)
{
	struct worker *best = &l->workers[0];

	for (unsigned i = 1; i < l->worker_count; i++) {
		if (atomic_load_explicit(&l->workers[i].client_count, memory_order_relaxed) <
		    atomic_load_explicit(&best->client_count, memory_order_relaxed))
			best = &l->workers[i];
	}
	return best;
}

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
	const struct settings *s = l->proxy->settings;
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
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
	if (atomic_load_explicit(&l->proxy->client_count, memory_order_relaxed) >= s->max_client_connections) {
		log_limited(LOG_WARN, "a client was turned away: max_client_connections (%u) are open",
			    s->max_client_connections);
		close(fd);
		return true;
	}
	worker_give_client(least_loaded(l), fd, l->index);
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

bool listener_open(struct listener *l, struct event_base *base, struct proxy *proxy, struct worker *workers,
		   unsigned index, char *error, size_t error_size)
{
	const struct listener_settings *ls = &proxy->settings->listeners[index];

	memset(l, 0, sizeof(*l));
	l->proxy = proxy;
	l->workers = workers;
	l->worker_count = proxy->settings->workers;
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
