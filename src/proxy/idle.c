/* idle.c - see idle.h */
#include "proxy/idle.h"

#include "proxy/client.h"
#include "proxy/request.h"
#include "proxy/worker.h"

/* Looks at all clients in one client_idle_timeout. */
#define LOOKS 4

/* Changes with each frame, and with what comes of a large one. Never 0, so that the first look at a client finds a change. */
static uint64_t mark_of(const struct client *c)
{
	return (c->request_count + 1) << 32 | (c->wire.has_large ? wire_large_len(&c->wire) : 0);
}

/* What waits to be read by the client is client_write_timeout's. */
static bool is_busy(const struct client *c)
{
	return !list_is_empty(&c->requests) || wire_pending(&c->wire) > 0;
}

static void look_at(struct client *c)
{
	const uint64_t mark = mark_of(c);

	if (c->state != CLIENT_READY || c->is_draining)
		return;
	if (mark != c->idle_mark || is_busy(c)) {
		c->idle_mark = mark;
		c->idle_looks = 0;
	} else if (++c->idle_looks == LOOKS) {
		client_close(c, CLOSE_IDLE, "nothing came for %u ms", c->worker->settings->client_idle_timeout_ms);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	list_for_each_safe(node, tmp, &w->clients)
		look_at(list_entry(node, struct client, node));
}

static void start(struct worker *w)
{
	const uint64_t period_us = (uint64_t)w->settings->client_idle_timeout_ms * 1000 / LOOKS;

	if (period_us == 0)
		event_del(&w->idle_timer);
	else
		event_add(&w->idle_timer, &(struct timeval){ .tv_sec = (time_t)(period_us / 1000000),
							     .tv_usec = (suseconds_t)(period_us % 1000000) });
}

void idle_init(struct worker *w)
{
	event_assign(&w->idle_timer, w->loop.base, -1, EV_PERSIST, on_timer, w);
	start(w);
}

void idle_change(struct worker *w, const struct settings *before)
{
	/* Else those who reload often would put the next look off for ever. */
	if (before->client_idle_timeout_ms == w->settings->client_idle_timeout_ms)
		return;
	/* Looks at other intervals say nothing. */
	list_for_each_safe(node, tmp, &w->clients)
		list_entry(node, struct client, node)->idle_looks = 0;
	start(w);
}

void idle_fini(struct worker *w)
{
	event_del(&w->idle_timer);
}
