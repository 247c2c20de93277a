/* client_hooks.c - see client_hooks.h */
#include "proxy/client_hooks.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "proxy/admission.h"

static void ask(struct client_hooks *h);

static uint64_t wall_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void deny(struct client_hooks *h, enum cql_error_code code, const char *by, const char *text)
{
	struct client *c = h->client;

	log_limited(LOG_WARN, "client %s #%llu was turned away by plugin %s: %s", c->name,
		    (unsigned long long)c->number, by, text);
	h->denial = xstrdup(text);
	h->code = code;
	admission_deny(c);
}

static void on_hold_end(struct hold *hold, enum hold_end how)
{
	struct client_hooks *h = container_of(hold, struct client_hooks, hold);

	h->call.is_timed_out = how == HOLD_TIMED_OUT;
	ask(h);
	if (!h->hold.ticket)
		client_go_on(h->client);
}

static void ask(struct client_hooks *h)
{
	struct client *c = h->client;
	struct hooks *hooks = c->worker->hooks;

	switch (hooks->ops->connect(hooks, c, &h->call)) {
	case HOOKS_GO_ON:
		h->is_accepted = true;
		return;
	case HOOKS_DENIED:
		deny(h, h->call.denial.code, h->call.by, h->call.denial.text);
		return;
	case HOOKS_HELD:
		h->hold.on_end = on_hold_end;
		hold_bind(c->worker, &h->hold, h->call.ticket);
		return;
	}
}

static bool look_for_end(struct loop_poll *poll)
{
	struct client_hooks *h = container_of(poll, struct client_hooks, end);
	struct client *c = h->client;

	if (!c->early || c->state >= CLIENT_READY)
		return false;
	if (!sbuf_has_peer_closed(&c->wire.sb))
		return true;
	client_close(c, CLOSE_CONNECTION, "closed by the peer");
	return false;
}

void client_hooks_watch_end(struct client *c)
{
	if (c->state < CLIENT_READY)
		loop_poll_start(&c->worker->loop, &c->hooks->end);
}

void client_hooks_open(struct client *c)
{
	const struct hooks *hooks = c->worker->hooks;
	struct client_hooks *h;

	/* Who has come to hear that a limit is reached is no client. */
	if (likely(!hooks) || c->refusal != LIMIT_NONE)
		return;
	h = xcalloc(1, sizeof(*h));
	h->client = c;
	loop_poll_init(&h->end, look_for_end);
	h->connected_at = wall_clock_ns();
	h->is_tls = c->wire.sb.tls != NULL;
	if (h->is_tls)
		h->tls_subject = tls_peer_subject(c->wire.sb.tls);
	c->hooks = h;
	if (hooks->has_connect)
		ask(h);
	else
		h->is_accepted = true;
}

bool client_hooks_on_timeout(struct client *c)
{
	struct client_hooks *h = c->hooks;

	if (likely(!client_hooks_is_held(c)))
		return false;
	hold_drop(c->worker, h->hold.ticket);
	h->hold.ticket = 0;
	deny(h, CQL_ERR_SERVER_ERROR, h->call.by, "nothing was decided about the connection within handshake_timeout");
	client_go_on(c);
	return true;
}

void client_hooks_gone(struct client *c)
{
	struct hooks *hooks = c->worker->hooks;
	struct client_hooks *h = c->hooks;

	if (likely(!h) || h->has_gone)
		return;
	h->has_gone = true;
	loop_poll_stop(&h->end);
	hold_drop(c->worker, h->hold.ticket);
	h->hold.ticket = 0;
	if (hooks->has_disconnect)
		hooks->ops->disconnect(hooks, c);
}

void client_hooks_free(struct client *c)
{
	struct client_hooks *h = c->hooks;

	if (likely(!h))
		return;
	free(h->tls_subject);
	free(h->slots);
	free(h->denial);
	free(h);
	c->hooks = NULL;
}
