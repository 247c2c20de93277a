/* control_round.c - see control_round.h */
#include "proxy/control_round.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/resolve.h"
#include "proxy/control_attempt.h"
#include "proxy/control_watch.h"

#define CONTROL_STREAMS 128
/* An endpoint that does not take a connection is not waited for any longer while there are others: the last one of a
 * round may take its time, and the order is another one each time. */
#define MOVE_ON_MS 5000

static void try_endpoint(struct control *c);

/* ---- rounds ---- */

static void fill_round(struct control *c)
{
	struct topology *known = cluster_topology(c->o.cluster);
	const struct sni *sni = c->o.cluster->sni;
	/* The same address under another name can be another matter for the certificate. */
	bool is_distinct = !c->o.tls || c->settings->tls != TLS_FULL || c->settings->tls_server_name;

	c->only_rejections = true;
	if (sni)
		sni_fill_endpoints(sni, &c->endpoints, known);
	else
		endpoint_list_fill(&c->endpoints, c->settings, c->is_elsewhere ? NULL : known, is_distinct);
	topology_unref(known);
	if (c->is_lost)
		endpoint_list_put_off(&c->endpoints, &c->lost);
	c->is_lost = false;
}

/*
 * ZDM's twin begins with the highest version that is allowed. Otherwise DSE's
 * own are not tried, so that Cassandra need not refuse two connections at each
 * start: a DSE node takes v4, and lists its own versions in SUPPORTED.
 */
static uint8_t first_version(const struct settings *s)
{
	return s->profile == PROFILE_ZDM ? s->max_protocol_version : MIN(s->max_protocol_version, 5);
}

static void try_next(struct control *c)
{
	struct endpoint *e = endpoint_list_take(&c->endpoints);

	if (!e) {
		control_attempt_end_round(c, "no other address is left to try", false);
		return;
	}
	endpoint_format(e, c->settings->port, c->text);
	c->version = first_version(c->o.settings);
	try_endpoint(c);
}

static void on_resolved(void *arg, const struct net_address *addresses, unsigned count, const char *why)
{
	struct control *c = arg;

	c->resolve = NULL;
	evtimer_del(&c->timer);
	if (count == 0) {
		control_attempt_fail(c, false, why);
		return;
	}
	endpoint_list_insert(&c->endpoints, addresses, count);
	control_attempt_wake(c, WAKE_NEXT, 0);
}

/* ---- where the SNI proxy of a bundle is ---- */

static void on_located(void *arg, const char *why)
{
	struct control *c = arg;

	evtimer_del(&c->timer);
	if (why && !sni_is_known(c->o.cluster->sni)) {
		control_attempt_end_round(c, why, false);
		return;
	}
	if (why)
		log_warn("%s %s: %s; going on with what it said before", c->cluster_name, c->text, why);
	fill_round(c);
	try_next(c);
}

/* What the service says may be old news when no node could be reached; a connection that was lost proves nothing. */
static void start_round(struct control *c)
{
	struct sni *sni = c->o.cluster->sni;

	if (!sni || (sni_is_known(sni) && c->failed_rounds == 0)) {
		fill_round(c);
		try_next(c);
		return;
	}
	control_state_set(c, CONTROL_LOCATING);
	snprintf(c->text, sizeof(c->text), "%s", sni_service(sni));
	control_state_arm(&c->timer, SNI_METADATA_MS + (uint64_t)c->settings->connection_timeout_ms);
	sni_refresh(sni, c->o.loop, on_located, c);
}

/* ---- one endpoint ---- */

/* The name that the node's certificate must have. */
static const char *server_name(const struct control *c, const struct endpoint *e, char ip[NET_TEXT_MAX])
{
	if (c->settings->tls_server_name && *c->settings->tls_server_name)
		return c->settings->tls_server_name;
	return e->host ? e->host : net_format_ip(&e->address, ip);
}

/* How long the current endpoint may take to be resolved or connected. */
static uint32_t attempt_ms(const struct control *c)
{
	const uint32_t limit = c->settings->connection_timeout_ms;
	/* Which ZDM Proxy's users know at a start. */
	const bool may_hurry = c->was_up || c->o.settings->profile != PROFILE_ZDM;

	return may_hurry && endpoint_list_peek(&c->endpoints) ? MIN(limit, MOVE_ON_MS) : limit;
}

static void on_open(struct server *server)
{
	struct control *c = server->owner;
	struct topology_source source = control_state_source(c);

	evtimer_del(&c->timer);
	control_state_set(c, CONTROL_ASKING);
	inquiry_start(&c->inquiry, server, &source);
}

static void on_server_closed(struct server *server, const char *why)
{
	struct control *c = server->owner;

	/* NULL or another one: a leg that was out has told us already. */
	if (server == c->server)
		control_attempt_trouble(c, false, why);
}

static const struct server_handler control_server_handler = {
	.on_open = on_open,
	.on_event = control_watch_on_event,
	.on_closed = on_server_closed,
};

static void try_endpoint(struct control *c)
{
	struct endpoint *e = endpoint_list_current(&c->endpoints);
	struct server_options options;
	char ip[NET_TEXT_MAX];
	struct reach reach;
	const char *why;

	control_state_set(c, CONTROL_CONNECTING);
	control_state_arm(&c->timer, attempt_ms(c));
	if (!e->is_resolved) {
		c->resolve = resolve_start(c->o.loop, e->host, c->settings->port, on_resolved, c);
		return;
	}
	options = (struct server_options){
		.loop = c->o.loop,
		.cluster = c->o.cluster->id,
		.address = e->address,
		.tls = c->o.tls,
		.server_name = server_name(c, e, ip),
		.version = c->version,
		.max_frame = c->o.settings->max_frame_size,
		.max_streams = CONTROL_STREAMS,
		.handler = &control_server_handler,
		.owner = c,
	};
	if (c->o.cluster->sni) {
		cluster_reach(c->o.cluster, &e->address, &reach);
		options.server_name = reach.server_name;
		options.sni = reach.sni;
	}
	c->server = server_open(&options, &why);
	if (!c->server)
		control_attempt_fail(c, false, why);
}

/* ---- the timer ---- */

static void on_wake(struct control *c)
{
	switch (c->wake) {
	case WAKE_ROUND:
		start_round(c);
		break;
	case WAKE_NEXT:
		try_next(c);
		break;
	default:
		try_endpoint(c);
		break;
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	char why[64];

	(void)fd;
	(void)what;
	if (c->state == CONTROL_WAITING) {
		on_wake(c);
		return;
	}
	if (c->state == CONTROL_LOCATING) {
		sni_refresh_cancel(c->o.cluster->sni);
		on_located(c, "its SNI proxy's name was not resolved in time");
		return;
	}
	snprintf(why, sizeof(why), "%s within %" PRIu32 " ms",
		 c->resolve ? "the name was not resolved" : "no connection", attempt_ms(c));
	control_attempt_fail(c, false, why);
}

void control_round_init(struct control *c)
{
	evtimer_assign(&c->timer, c->o.loop->base, on_timer, c);
}
