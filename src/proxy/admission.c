/* admission.c - see admission.h */
#include "proxy/admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/proxy_header.h"
#include "proxy/client_hooks.h"
#include "proxy/refusal.h"

/* From the accepted socket to the end of its PROXY header. */
struct admission_header {
	struct sbuf_prelude prelude;
	struct proxy_header parser;
	struct client *client;
	unsigned listener;
	struct net_address peer; /* of the socket */
};

/* ---- lists ---- */

/* Why this address may not connect, or NULL. */
static const char *denied_by(const struct listener_settings *ls, const struct net_address *address)
{
	if (net_range_list_has(&ls->deny, address))
		return "deny";
	if (ls->allow.count > 0 && !net_range_list_has(&ls->allow, address))
		return "allow";
	return NULL;
}

static bool check_access(struct proxy *proxy, const struct listener_settings *ls, const struct net_address *address)
{
	const char *list = denied_by(ls, address);
	char name[NET_TEXT_MAX];

	if (likely(!list))
		return true;
	log_limited(LOG_WARN, "client %s was turned away by %s of [listener%s%s]", net_format(address, name), list,
		    *ls->name ? " " : "", ls->name);
	limits_note_refusal(&proxy->limits, LIMIT_ACCESS);
	return false;
}

static bool check_sender(struct proxy *proxy, const struct listener_settings *ls, const struct net_address *address)
{
	char name[NET_TEXT_MAX];

	if (net_range_list_has(&ls->proxy_protocol_from, address))
		return true;
	log_limited(LOG_WARN, "client %s was turned away: it is not in proxy_protocol_from of [listener%s%s]",
		    net_format(address, name), *ls->name ? " " : "", ls->name);
	limits_note_refusal(&proxy->limits, LIMIT_PROXY_PROTOCOL);
	return false;
}

/* ---- places ---- */

static bool take_place(struct proxy *proxy)
{
	const uint32_t max = proxy->settings->max_client_connections;

	/* Only the main thread adds, so that nobody comes in between. */
	if (atomic_load_explicit(&proxy->client_count, memory_order_relaxed) >= max)
		return false;
	atomic_fetch_add_explicit(&proxy->client_count, 1, memory_order_relaxed);
	return true;
}

static void give_place(struct proxy *proxy)
{
	atomic_fetch_sub_explicit(&proxy->client_count, 1, memory_order_relaxed);
}

static struct limit_entry *take_address(struct proxy *proxy, const struct settings *s,
					const struct net_address *address)
{
	uint8_t bytes[16];
	const unsigned len = net_to_bytes(address, bytes);

	return limit_take(&proxy->limits.addresses, bytes, len, s->max_connections_per_address);
}

/* True when there is room for one more that is told why; to be given back by end_last_words(). */
static bool begin_last_words(struct proxy *proxy, const struct settings *s, enum limit_refusal refusal)
{
	struct limits *limits = &proxy->limits;

	/* ZDM Proxy has no plugins, which say something for the driver to hear. */
	if (s->profile == PROFILE_ZDM && refusal != LIMIT_PLUGIN)
		return false;
	if (atomic_fetch_add_explicit(&limits->last_words, 1, memory_order_relaxed) < ADMISSION_LAST_WORDS)
		return true;
	atomic_fetch_sub_explicit(&limits->last_words, 1, memory_order_relaxed);
	return false;
}

static void end_last_words(struct proxy *proxy)
{
	atomic_fetch_sub_explicit(&proxy->limits.last_words, 1, memory_order_relaxed);
}

/* It is here to be told why it may not stay. */
static void await_first_frame(struct client *c, enum limit_refusal refusal)
{
	struct worker *worker = c->worker;

	c->refusal = (uint8_t)refusal;
	admission_handshake_over(c);
	timeout_start(&worker->loop, &worker->refusal_timeouts, &c->handshake_timeout);
}

/* What a limit says, to the client and in the log. */
static void describe(enum limit_refusal refusal, const struct settings *s, char *text, size_t size)
{
	if (refusal == LIMIT_CLIENTS)
		snprintf(text, size, "max_client_connections (%u) are open", s->max_client_connections);
	else
		snprintf(text, size, "max_connections_per_address (%u) are open from its address",
			 s->max_connections_per_address);
}

static void note_full(struct proxy *proxy, const struct settings *s, enum limit_refusal refusal,
		      const struct net_address *address)
{
	char name[NET_TEXT_MAX];
	char text[128];

	describe(refusal, s, text, sizeof(text));
	/* Two places in the code, so that many of one kind do not hide the other. */
	if (refusal == LIMIT_CLIENTS)
		log_limited(LOG_WARN, "client %s was turned away: %s", net_format(address, name), text);
	else
		log_limited(LOG_WARN, "client %s was turned away: %s", net_format(address, name), text);
	limits_note_refusal(&proxy->limits, refusal);
}

/* ---- main thread ---- */

void admission_drop(struct proxy *proxy, struct newcomer *n)
{
	close(n->fd);
	limit_give(&proxy->limits.addresses, n->address);
	if (n->refusal == LIMIT_NONE)
		give_place(proxy);
	else
		end_last_words(proxy);
}

static void turn_away(struct proxy *proxy, struct newcomer *n, enum limit_refusal refusal)
{
	note_full(proxy, proxy->settings, refusal, &n->peer);
	n->refusal = refusal;
	if (begin_last_words(proxy, proxy->settings, refusal))
		worker_give_client(worker_least_loaded(proxy->gate.workers, proxy->gate.worker_count), n);
	else
		close(n->fd);
}

void admission_accept(struct proxy *proxy, struct newcomer *n)
{
	const struct settings *s = proxy->settings;
	const struct listener_settings *ls = &s->listeners[n->listener];
	const bool is_direct = ls->proxy_protocol == PROXY_PROTOCOL_OFF;

	n->refusal = LIMIT_NONE;
	n->address = NULL;
	if (is_direct ? !check_access(proxy, ls, &n->peer) : !check_sender(proxy, ls, &n->peer)) {
		close(n->fd);
		return;
	}
	if (!take_place(proxy)) {
		turn_away(proxy, n, LIMIT_CLIENTS);
		return;
	}
	if (is_direct) {
		n->address = take_address(proxy, s, &n->peer);
		if (!n->address) {
			give_place(proxy);
			turn_away(proxy, n, LIMIT_ADDRESS);
			return;
		}
	}
	gate_enter(&proxy->gate, n);
}

/* ---- the PROXY header ---- */

static void header_free(struct client *c)
{
	free(c->header);
	c->header = NULL;
}

static void set_reached_at(struct client *c, const struct net_address *address)
{
	c->reached_at = xcalloc(1, sizeof(*c->reached_at));
	*c->reached_at = *address;
}

/* The header is complete: what it says is the client's address from now on. False when that ends the client. */
static bool use_header(struct client *c, struct admission_header *h)
{
	struct worker *worker = c->worker;
	const struct settings *s = worker->settings;
	const struct net_address *address = h->parser.has_addresses ? &h->parser.source : &h->peer;

	if (h->parser.has_addresses) {
		char through[NET_TEXT_MAX];

		client_set_name(c, address);
		if (!net_is_any(&h->parser.destination) && net_port(&h->parser.destination) != 0)
			set_reached_at(c, &h->parser.destination);
		log_debug("client %s #%llu: comes through %s", c->name, (unsigned long long)c->number,
			  net_format(&h->peer, through));
	}
	if (c->refusal == LIMIT_CLIENTS) /* it will be told so */
		return true;
	if (!check_access(worker->proxy, &s->listeners[h->listener], address)) {
		client_close(c, CLOSE_LIMIT, "its address is not allowed");
		return false;
	}
	c->address_place = take_address(worker->proxy, s, address);
	if (c->address_place)
		return true;
	note_full(worker->proxy, s, LIMIT_ADDRESS, address);
	if (!begin_last_words(worker->proxy, s, LIMIT_ADDRESS)) {
		client_close(c, CLOSE_LIMIT, "max_connections_per_address");
		return false;
	}
	await_first_frame(c, LIMIT_ADDRESS);
	return true;
}

static enum sbuf_prelude_status take_header(struct sbuf_prelude *prelude, const uint8_t *data, size_t len, size_t *used)
{
	struct admission_header *h = container_of(prelude, struct admission_header, prelude);
	struct client *c = h->client;
	const char *why;

	switch (proxy_header_feed(&h->parser, data, len, used)) {
	case PROXY_HEADER_MORE:
		return SBUF_PRELUDE_MORE;
	case PROXY_HEADER_DONE:
		if (!use_header(c, h))
			return SBUF_PRELUDE_BAD;
		header_free(c);
		return SBUF_PRELUDE_DONE;
	case PROXY_HEADER_BAD:
		break;
	}
	why = h->parser.why;
	limits_note_refusal(&c->worker->proxy->limits, LIMIT_PROXY_PROTOCOL);
	log_limited(LOG_WARN, "client %s #%llu was turned away: %s", c->name, (unsigned long long)c->number, why);
	client_close(c, CLOSE_PROTOCOL, "%s", why);
	return SBUF_PRELUDE_BAD;
}

static bool adopt_behind_header(struct client *c, const struct newcomer *n, enum proxy_protocol version)
{
	struct admission_header *h = xcalloc(1, sizeof(*h));

	c->header = h;
	h->prelude.take = take_header;
	h->client = c;
	h->listener = n->listener;
	h->peer = n->peer;
	proxy_header_init(&h->parser, version == PROXY_PROTOCOL_V1 ? 1 : 2);
	return sbuf_adopt_behind(&c->wire.sb, n->fd, c->worker->listener_tls[n->listener], &h->prelude);
}

/* ---- on the worker ---- */

bool admission_begin(struct client *c, const struct newcomer *n)
{
	struct worker *worker = c->worker;
	const enum proxy_protocol protocol = worker->settings->listeners[n->listener].proxy_protocol;
	bool ok;

	c->refusal = (uint8_t)n->refusal;
	c->address_place = n->address;
	c->has_place = n->refusal == LIMIT_NONE;
	c->shakes_hands = n->refusal == LIMIT_NONE;
	if (c->has_place)
		metric_add(&worker->metrics.client_connections, 1);
	timeout_start(&worker->loop, n->refusal == LIMIT_NONE ? &worker->handshake_timeouts : &worker->refusal_timeouts,
		      &c->handshake_timeout);
	if (protocol == PROXY_PROTOCOL_OFF)
		ok = sbuf_adopt(&c->wire.sb, n->fd, worker->listener_tls[n->listener]);
	else
		ok = adopt_behind_header(c, n, protocol);
	if (!ok)
		client_close(c, CLOSE_HANDSHAKE, "out of memory for a TLS session");
	return ok;
}

void admission_refuse(struct client *c, const struct frame *f)
{
	const struct settings *s = c->worker->settings;
	char text[128];

	/* Drivers look for a version first: without this one would wait for the day when there is room. */
	if (!version_in(clusters_served_versions(c->worker->proxy->clusters, s), f->version)) {
		refusal_send(c, f->version);
		return;
	}
	c->version = f->version;
	if (c->refusal == LIMIT_PLUGIN) {
		client_refuse(c, f->stream, CLOSE_DENIED, c->hooks->code, "%s", c->hooks->denial);
		return;
	}
	describe((enum limit_refusal)c->refusal, s, text, sizeof(text));
	client_refuse(c, f->stream, CLOSE_LIMIT, CQL_ERR_OVERLOADED, "%s", text);
}

void admission_deny(struct client *c)
{
	struct worker *worker = c->worker;

	limits_note_refusal(&worker->proxy->limits, LIMIT_PLUGIN);
	if (begin_last_words(worker->proxy, worker->settings, LIMIT_PLUGIN))
		await_first_frame(c, LIMIT_PLUGIN);
	else
		client_close(c, CLOSE_DENIED, "%s", c->hooks->denial);
}

bool admission_take_user(struct client *c, int16_t stream, const char *user)
{
	struct limits *limits = &c->worker->proxy->limits;
	const uint32_t max = c->worker->settings->max_connections_per_user;

	Assert(!c->user_place);
	c->user_place = limit_take(&limits->users, user, strlen(user), max);
	if (likely(c->user_place != NULL))
		return true;
	limits_note_refusal(limits, LIMIT_USER);
	log_limited(LOG_WARN, "client %s #%llu was turned away: max_connections_per_user (%u) of user %.64s are open",
		    c->name, (unsigned long long)c->number, max, user);
	client_refuse(c, stream, CLOSE_LIMIT, CQL_ERR_OVERLOADED,
		      "max_connections_per_user (%u) of user %.64s are open", max, user);
	return false;
}

void admission_handshake_over(struct client *c)
{
	if (!c->shakes_hands)
		return;
	c->shakes_hands = false;
	gate_leave(&c->worker->proxy->gate, c->worker->settings->max_handshakes);
}

void admission_leave(struct client *c)
{
	admission_handshake_over(c);
	limit_give(&c->worker->proxy->limits.users, c->user_place);
	c->user_place = NULL;
}

void admission_end(struct client *c)
{
	struct proxy *proxy = c->worker->proxy;

	header_free(c);
	limit_give(&proxy->limits.addresses, c->address_place);
	c->address_place = NULL;
	if (c->has_place) {
		give_place(proxy);
		metric_sub(&c->worker->metrics.client_connections, 1);
	}
	c->has_place = false;
	if (c->refusal != LIMIT_NONE)
		end_last_words(proxy);
}

void admission_on_timeout(struct timeout_item *item)
{
	struct client *c = container_of(item, struct client, handshake_timeout);

	client_close(c, CLOSE_LIMIT, "it has not sent a frame within %d ms, so that it could not be told why",
		     ADMISSION_LAST_WORDS_MS);
}
