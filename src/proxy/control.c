/*
 * control.c - see control.h
 *
 * A round visits every endpoint once (endpoint.h); with a secure connect bundle
 * the metadata service is asked first, where that may help. When all have failed the
 * next round waits, longer each time. One attempt at an endpoint:
 *
 *   connect [TLS] -> OPTIONS -> STARTUP [AUTH_RESPONSE] -> REGISTER -> the tables -> UP
 *
 * The questions are inquiry.c's. A node that refuses the protocol version gets a
 * new connection with a lower one. Events of the node, schema versions that
 * differ, and time that passes, make it read the tables again on the connection
 * that is up. A connection that is lost, or whose node cannot be read any more,
 * is replaced at once, by one to another node if there is one.
 *
 * This file is longer than others because all of it is one state machine.
 *
 * Everything that ends an attempt passes through drop(), which leaves no leg
 * out, and the next one starts from the timer, never inside a callback of the
 * connection that has just ended.
 */
#include "proxy/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/resolve.h"
#include "proxy/endpoint.h"
#include "proxy/inquiry.h"
#include "proxy/sni.h"
#include "proxy/status_event.h"

/* How long a node may take to answer a heartbeat in ZDM's twin. */
#define ZDM_HEARTBEAT_MS 10000
/* A node that the cluster called down is tried again after so long, should the event for its return be lost. */
#define EVENT_DOWN_MS 60000
/* After an event other nodes, and the node's own tables, need a moment to follow. */
#define SETTLE_MS 1000
/* Unless somebody waits for what they show. */
#define URGENT_MS 50
/* While schema versions differ or rows are of no use the tables are read again after so long, then twice as long ... */
#define DISAGREE_MIN_MS 2000
#define DISAGREE_MAX_MS 60000
/* Until the cluster was reached once: ZDM's start loop, which is more eager than its reconnection. */
#define START_MIN_MS 100
#define START_MAX_MS 10000
/* A connection that lived shorter counts as one more failure in a row, so that a node that accepts and hangs up is not
 * called on without a pause. */
#define STABLE_NS (UINT64_C(10) * 1000000000)
#define CONTROL_STREAMS 128
/* An endpoint that does not take a connection is not waited for any longer while there are others: the last one of a
 * round may take its time, and the order is another one each time. */
#define MOVE_ON_MS 5000

enum control_state {
	CONTROL_IDLE,       /* before control_start() */
	CONTROL_WAITING,    /* timer: the next attempt, see `wake` */
	CONTROL_LOCATING,   /* timer: time limit of the bundle's metadata and the SNI proxy's name */
	CONTROL_CONNECTING, /* timer: time limit of name, connection and TLS */
	CONTROL_ASKING,     /* log-in and learning; the inquiry has its own time limits */
	CONTROL_UP,
};

enum control_wake {
	WAKE_ROUND,    /* start a round */
	WAKE_NEXT,     /* the next endpoint of the round */
	WAKE_ENDPOINT, /* the current endpoint again, with another version */
};

struct control {
	struct control_options o;
	const struct cluster_settings *settings; /* of the cluster */
	const char *cluster_name;                /* "origin" or "target" */
	uint8_t state;                           /* enum control_state */
	uint8_t wake;                            /* enum control_wake */
	uint8_t version;
	bool was_up;
	bool only_rejections;   /* every endpoint of this round showed a certificate that we do not accept */
	bool is_urgent;         /* it is not to settle first */
	bool refresh_again;     /* an event came while an inquiry ran */
	bool is_elsewhere;      /* the contact points are others: the nodes known are of no use to find the cluster */
	uint32_t failed_rounds; /* in a row, for the back-off */
	uint32_t disagree_ms;
	uint64_t up_since_ns;
	struct event timer;
	struct event heartbeat; /* UP: when the next is due, or its time limit */
	struct event refresh;   /* UP: settling */
	struct event periodic;  /* UP: topology_refresh_interval */
	bool is_periodic;       /* it is why the inquiry runs: when nothing has changed nobody need know */
	bool is_lost;           /* the connection to `lost` ended: that node is tried last in the next round */
	struct net_address lost;
	uint64_t digest; /* of the tables that the last snapshot was made of */
	struct endpoint_list endpoints;
	struct resolve *resolve;
	struct server *server;
	struct inquiry inquiry;
	struct leg heartbeat_leg;
	struct credentials credentials;
	char *datacenter; /* of the first snapshot, see topology.h */
	char address[NET_TEXT_MAX];
	char text[ENDPOINT_TEXT_MAX]; /* the current endpoint, for messages */
};

static void try_endpoint(struct control *c);
static const struct server_handler control_server_handler;
static const struct inquiry_handler control_inquiry_handler;
static const struct leg_ops heartbeat_ops;

/* ---- timers ---- */

static void arm(struct event *timer, uint64_t ms)
{
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	evtimer_add(timer, &tv);
}

static void set_state(struct control *c, enum control_state state)
{
	c->state = (uint8_t)state;
}

static void wake_in(struct control *c, enum control_wake wake, uint64_t ms)
{
	c->wake = (uint8_t)wake;
	set_state(c, CONTROL_WAITING);
	arm(&c->timer, ms);
}

/* Uniform between min and min * factor^n, at most max. */
static uint64_t back_off_ms(const struct control *c, uint32_t n)
{
	const struct settings *s = c->o.settings;
	double min = s->heartbeat_retry_interval_min_ms;
	double max = s->heartbeat_retry_interval_max_ms;
	double top;

	if (!c->was_up) {
		min = MIN(min, START_MIN_MS);
		max = MIN(max, START_MAX_MS);
	}
	if (min >= max)
		return (uint64_t)max;
	top = min;
	for (uint32_t i = 0; i < n && top < max; i++)
		top *= MAX(s->heartbeat_retry_backoff_factor, 1.0);
	top = MIN(top, max);
	return (uint64_t)(min + (top - min) * (arc4random() / 4294967296.0));
}

/* ---- the end of an attempt ---- */

/* Ends whatever is under way; afterwards no leg is out and no timer runs. */
static void drop(struct control *c, const char *why)
{
	struct server *server = c->server;

	evtimer_del(&c->timer);
	evtimer_del(&c->heartbeat);
	evtimer_del(&c->refresh);
	evtimer_del(&c->periodic);
	if (c->resolve)
		resolve_cancel(c->resolve);
	c->resolve = NULL;
	if (c->o.cluster->sni)
		sni_refresh_cancel(c->o.cluster->sni);
	inquiry_stop(&c->inquiry);
	leg_abandon(&c->heartbeat_leg);
	c->server = NULL;
	if (server)
		server_close(server, why);
	c->refresh_again = false;
	c->is_urgent = false;
	c->is_periodic = false;
}

static void count_failure(struct control *c)
{
	atomic_fetch_add_explicit(&c->o.cluster->failures, 1, memory_order_relaxed);
}

/* The connection that was up is over. */
static void lose(struct control *c, const char *why)
{
	bool was_stable = loop_now(c->o.loop) - c->up_since_ns >= STABLE_NS;
	/* The first time may be chance. */
	uint64_t delay = was_stable || c->failed_rounds == 0 ? 0 : back_off_ms(c, c->failed_rounds);

	c->is_lost = true;
	c->lost = endpoint_list_current(&c->endpoints)->address;
	c->failed_rounds = was_stable ? 0 : c->failed_rounds + 1;
	count_failure(c);
	if (delay > 0)
		log_warn("%s %s: control connection lost: %s; next try in %.1f s", c->cluster_name, c->text, why,
			 (double)delay / 1000);
	else
		log_warn("%s %s: control connection lost: %s; connecting again", c->cluster_name, c->text, why);
	drop(c, why);
	wake_in(c, WAKE_ROUND, delay);
}

static void end_round(struct control *c, const char *why, bool is_hopeless)
{
	/* Somebody has to change something first, and log-ins that fail are noticed at the other end. */
	uint64_t delay = is_hopeless ? c->o.settings->heartbeat_retry_interval_max_ms
				     : back_off_ms(c, c->failed_rounds);

	c->failed_rounds++;
	count_failure(c);
	/* What ends the process has been said by its owner. */
	if (!c->o.loop->stop)
		log_at(is_hopeless ? LOG_ERROR : LOG_WARN, "%s %s: %s; next try in %.1f s", c->cluster_name, c->text,
		       why, (double)delay / 1000);
	endpoint_list_clear(&c->endpoints);
	wake_in(c, WAKE_ROUND, delay);
}

/* The attempt at the current endpoint has failed; hopeless: the other nodes of the cluster would answer the same. */
static void fail(struct control *c, bool is_hopeless, const char *why)
{
	const bool is_rejection = c->server && c->server->wire.sb.rejected_peer;
	const struct endpoint *next = endpoint_list_peek(&c->endpoints);
	char other[ENDPOINT_TEXT_MAX];
	char *message;

	c->only_rejections &= is_rejection;
	drop(c, why);
	if (next && !is_hopeless) {
		log_warn("%s %s: %s; trying %s", c->cluster_name, c->text, why,
			 endpoint_format(next, c->settings->port, other));
		wake_in(c, WAKE_NEXT, 0);
		return;
	}
	is_hopeless |= c->only_rejections;
	if (is_hopeless) {
		message = xasprintf("%s %s: %s", c->cluster_name, c->text, why);
		c->o.on_hopeless(c, message, c->o.arg);
		free(message);
	}
	end_round(c, why, is_hopeless);
}

/* The connection is over, or of no use any more. */
static void on_trouble(struct control *c, bool is_hopeless, const char *why)
{
	if (c->state == CONTROL_UP)
		lose(c, why);
	else
		fail(c, is_hopeless, why);
}

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
		end_round(c, "no other address is left to try", false);
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
		fail(c, false, why);
		return;
	}
	endpoint_list_insert(&c->endpoints, addresses, count);
	wake_in(c, WAKE_NEXT, 0);
}

/* ---- where the SNI proxy of a bundle is ---- */

static void on_located(void *arg, const char *why)
{
	struct control *c = arg;

	evtimer_del(&c->timer);
	if (why && !sni_is_known(c->o.cluster->sni)) {
		end_round(c, why, false);
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
	set_state(c, CONTROL_LOCATING);
	snprintf(c->text, sizeof(c->text), "%s", sni_service(sni));
	arm(&c->timer, SNI_METADATA_MS + (uint64_t)c->settings->connection_timeout_ms);
	sni_refresh(sni, c->o.loop, on_located, c);
}

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

static void try_endpoint(struct control *c)
{
	struct endpoint *e = endpoint_list_current(&c->endpoints);
	struct server_options options;
	char ip[NET_TEXT_MAX];
	struct reach reach;
	const char *why;

	set_state(c, CONTROL_CONNECTING);
	arm(&c->timer, attempt_ms(c));
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
		fail(c, false, why);
}

/* ---- up ---- */

static void go_up(struct control *c, const struct topology *t)
{
	const struct endpoint *e = endpoint_list_current(&c->endpoints);

	set_state(c, CONTROL_UP);
	c->up_since_ns = loop_now(c->o.loop);
	atomic_store_explicit(&c->o.cluster->failures, 0, memory_order_relaxed);
	/* As ZDM names it: the contact point as configured. */
	if (e->host)
		snprintf(c->address, sizeof(c->address), "%.*s:%u", (int)sizeof(c->address) - 7, e->host,
			 c->settings->port);
	else
		net_format(&e->address, c->address);
	log_info("%s %s: control connection is up: cluster %s, protocol %s, datacenter %s with %u node%s, of "
		 "which this instance uses %u",
		 c->cluster_name, c->text, t->cluster_name ? t->cluster_name : "without a name",
		 version_name(c->version), topology_datacenter(t), t->local_count, t->local_count == 1 ? "" : "s",
		 t->assigned_count);
	if (!t->requires_auth && c->credentials.user && *c->credentials.user)
		log_at(c->was_up ? LOG_DEBUG : LOG_WARN,
		       "%s %s: the cluster requires no authentication; the configured credentials are not used",
		       c->cluster_name, c->text);
	c->was_up = true;
	c->is_elsewhere = false;
	c->disagree_ms = DISAGREE_MIN_MS;
	arm(&c->heartbeat, c->o.settings->heartbeat_interval_ms);
}

static void plan_periodic(struct control *c)
{
	if (c->o.settings->topology_refresh_interval_ms > 0)
		arm(&c->periodic, c->o.settings->topology_refresh_interval_ms);
	else
		evtimer_del(&c->periodic);
}

/* What is to be done after the tables were read. */
static void plan_refresh(struct control *c, bool is_settled)
{
	if (c->refresh_again) {
		arm(&c->refresh, c->is_urgent ? URGENT_MS : SETTLE_MS);
	} else if (!is_settled && !evtimer_pending(&c->refresh, NULL)) {
		/* Drivers compare the versions after a schema change, so an old difference must not stay; the row of a
		 * new node is complete a little later. */
		arm(&c->refresh, c->disagree_ms);
		c->disagree_ms = MIN(c->disagree_ms * 2, DISAGREE_MAX_MS);
	}
	if (is_settled)
		c->disagree_ms = DISAGREE_MIN_MS;
	c->refresh_again = false;
	c->is_urgent = false;
	plan_periodic(c);
}

/* ---- the inquiry ---- */

static struct topology_source source_of(const struct control *c)
{
	return (struct topology_source){
		.id = c->o.cluster->id,
		.settings = c->o.settings,
		.contact = endpoint_list_current(&c->endpoints)->address,
		.datacenter = c->datacenter,
		.sni_datacenter = c->o.cluster->sni ? sni_datacenter(c->o.cluster->sni) : NULL,
	};
}

static void publish(struct control *c, struct topology *t)
{
	struct topology *old = cluster_topology(c->o.cluster);

	if (old)
		topology_log_changes(old, t, c->o.cluster->id);
	topology_unref(old);
	c->digest = t->digest;
	cluster_publish(c->o.cluster, t);
	c->o.on_topology(c, c->o.arg);
}

static void on_topology(struct inquiry *inq, struct topology *t)
{
	struct control *c = container_of(inq, struct control, inquiry);
	const struct endpoint *e = endpoint_list_current(&c->endpoints);
	const bool was_lost = c->state != CONTROL_UP;
	const bool is_new = !c->is_periodic || t->digest != c->digest;

	if (e->host)
		t->contact_host = xstrdup(e->host);
	if (!c->datacenter)
		c->datacenter = xstrdup(topology_datacenter(t));
	if (was_lost)
		go_up(c, t);
	else
		log_debug("%s %s: topology read again: %u nodes, %s", c->cluster_name, c->text, t->host_count,
			  is_new ? "something has changed" : "nothing has changed");
	c->is_periodic = false;
	plan_refresh(c, topology_schema_agrees(t) && t->left_out == 0);
	if (is_new)
		publish(c, t);
	else
		topology_unref(t);
	if (was_lost && c->o.on_connected)
		c->o.on_connected(c, c->o.arg);
}

static void on_version_refused(struct inquiry *inq, uint8_t offered, const char *text)
{
	struct control *c = container_of(inq, struct control, inquiry);
	const uint8_t refused = c->version;
	const uint8_t below = version_below(refused);
	char *why;

	if (below == 0) {
		why = xasprintf("it speaks none of the protocol versions %s to %s: %s", version_name(refused),
				version_name(c->o.settings->max_protocol_version), text);
		fail(c, true, why);
		free(why);
		return;
	}
	/* ZDM goes down one by one, whatever the node says. */
	c->version = offered < below && version_is_served(offered) && c->o.settings->profile != PROFILE_ZDM ? offered
													    : below;
	log_info("%s %s: protocol %s is refused, trying %s", c->cluster_name, c->text, version_name(refused),
		 version_name(c->version));
	drop(c, "protocol version refused");
	wake_in(c, WAKE_ENDPOINT, 0);
}

static void on_inquiry_failed(struct inquiry *inq, bool is_hopeless, const char *why)
{
	on_trouble(container_of(inq, struct control, inquiry), is_hopeless, why);
}

static const struct inquiry_handler control_inquiry_handler = {
	.on_topology = on_topology,
	.on_version_refused = on_version_refused,
	.on_failed = on_inquiry_failed,
};

/* ---- the server ---- */

static void on_open(struct server *server)
{
	struct control *c = server->owner;
	struct topology_source source = source_of(c);

	evtimer_del(&c->timer);
	set_state(c, CONTROL_ASKING);
	inquiry_start(&c->inquiry, server, &source);
}

static void note_status(struct control *c, const uint8_t *body, uint32_t len)
{
	struct net_address node;
	bool is_up;

	if (!status_event_read(c->o.cluster, body, len, &node, &is_up))
		return;
	if (is_up)
		cluster_mark_up(c->o.cluster, &node);
	else
		cluster_mark_down(c->o.cluster, &node, EVENT_DOWN_MS);
	if (c->o.on_status)
		c->o.on_status(c, &node, is_up, c->o.arg);
}

/* Whether the tables are read again within the time that an event is given to settle; after a difference it may be longer. */
static bool is_refresh_due(const struct control *c)
{
	struct timeval due, now, latest = { .tv_sec = SETTLE_MS / 1000, .tv_usec = SETTLE_MS % 1000 * 1000 };

	if (!evtimer_pending(&c->refresh, &due))
		return false;
	evutil_gettimeofday(&now, NULL);
	evutil_timeradd(&now, &latest, &latest);
	return evutil_timercmp(&due, &latest, <=);
}

static void on_event(struct server *server, struct frame *f)
{
	struct control *c = server->owner;
	uint32_t offset;
	unsigned kind;
	const char *why;

	if (server != c->server || (f->flags & FRAME_COMPRESSED) ||
	    !message_skip_preamble(f->body, f->length, f->flags, true, &offset, &why))
		return;
	kind = message_event_kind(f->body + offset, f->length - offset);
	if (kind == 0)
		return;
	if (kind == EVENT_STATUS_CHANGE)
		note_status(c, f->body + offset, f->length - offset);
	if (kind == EVENT_SCHEMA_CHANGE && c->o.on_schema_event)
		c->o.on_schema_event(c, f->body + offset, f->length - offset, c->o.arg);
	c->disagree_ms = DISAGREE_MIN_MS;
	/* One timer collapses a burst; what comes while the tables are read is looked at afterwards. */
	if (c->inquiry.is_running)
		c->refresh_again = true;
	else if (!is_refresh_due(c))
		arm(&c->refresh, SETTLE_MS);
}

static void on_server_closed(struct server *server, const char *why)
{
	struct control *c = server->owner;

	/* NULL or another one: a leg that was out has told us already. */
	if (server == c->server)
		on_trouble(c, false, why);
}

static const struct server_handler control_server_handler = {
	.on_open = on_open,
	.on_event = on_event,
	.on_closed = on_server_closed,
};

/* ---- heartbeats ---- */

static void on_heartbeat_answer(struct leg *leg, struct frame *f)
{
	struct control *c = container_of(leg, struct control, heartbeat_leg);

	if (f->opcode != OP_SUPPORTED)
		log_warn("%s %s: a heartbeat was answered by %s", c->cluster_name, c->text, cql_opcode_name(f->opcode));
	arm(&c->heartbeat, c->o.settings->heartbeat_interval_ms);
}

static void on_heartbeat_lost(struct leg *leg, const char *why)
{
	on_trouble(container_of(leg, struct control, heartbeat_leg), false, why);
}

static const struct leg_ops heartbeat_ops = { .on_answer = on_heartbeat_answer, .on_lost = on_heartbeat_lost };

static uint32_t heartbeat_limit_ms(const struct control *c)
{
	return c->o.settings->profile == PROFILE_ZDM ? ZDM_HEARTBEAT_MS : c->o.settings->heartbeat_timeout_ms;
}

static void on_heartbeat_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	char why[64];

	(void)fd;
	(void)what;
	if (leg_is_out(&c->heartbeat_leg)) {
		snprintf(why, sizeof(why), "a heartbeat was not answered within %" PRIu32 " ms", heartbeat_limit_ms(c));
		lose(c, why);
		return;
	}
	leg_init(&c->heartbeat_leg, &heartbeat_ops);
	if (!server_send_body(c->server, &c->heartbeat_leg, OP_OPTIONS, 0, NULL, 0))
		lose(c, "the connection has ended");
	else
		arm(&c->heartbeat, heartbeat_limit_ms(c));
}

/* ---- other timers ---- */

static void refresh(struct control *c)
{
	const struct topology_source source = source_of(c);

	if (c->inquiry.is_running)
		c->refresh_again = true;
	else
		inquiry_refresh(&c->inquiry, &source);
}

static void on_refresh_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	refresh(arg);
}

static void on_periodic_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	(void)fd;
	(void)what;
	/* One that is about to come, or under way, does as well. */
	if (!c->inquiry.is_running && !evtimer_pending(&c->refresh, NULL)) {
		c->is_periodic = true;
		refresh(c);
	}
}

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
	fail(c, false, why);
}

/* ---- other settings ---- */

static void set_credentials(struct control *c)
{
	credentials_wipe(&c->credentials);
	if (c->settings->username)
		credentials_set_text(&c->credentials, c->settings->username, c->settings->password);
}

static void start_over(struct control *c)
{
	drop(c, "the configuration has changed");
	endpoint_list_clear(&c->endpoints);
	wake_in(c, WAKE_ROUND, 0);
}

void control_refresh_soon(struct control *c, uint32_t ms)
{
	if (c->state != CONTROL_UP)
		return;
	c->disagree_ms = DISAGREE_MIN_MS; /* what differs now is new */
	if (c->inquiry.is_running) {
		c->refresh_again = true;
		c->is_urgent = true;
	} else {
		arm(&c->refresh, ms);
	}
}

static void read_nodes_again(struct control *c)
{
	if (c->inquiry.is_running)
		c->refresh_again = true;
	else
		arm(&c->refresh, 0);
}

void control_change_settings(struct control *c, const struct settings *settings, struct tls_context *tls)
{
	const struct settings *old = c->o.settings;
	const bool is_elsewhere = settings_lead_elsewhere(c->settings, &settings->cluster[c->o.cluster->id]);
	const bool other_nodes = settings_change_nodes(old, settings, c->o.cluster->id);

	c->o.settings = settings;
	c->o.tls = tls;
	c->settings = &settings->cluster[c->o.cluster->id];
	c->inquiry.source.settings = settings;
	set_credentials(c);
	c->is_elsewhere |= is_elsewhere;
	if (c->state == CONTROL_IDLE)
		return;
	if (is_elsewhere) {
		log_info("%s: contact points, port or encryption have changed: connecting anew", c->cluster_name);
		free(c->datacenter);
		c->datacenter = NULL;
		start_over(c);
		return;
	}
	if (c->state != CONTROL_UP) {
		start_over(c); /* what has failed so far may succeed now */
		return;
	}
	/* When one is out, its time limit runs, which is no interval. */
	if (old->heartbeat_interval_ms != settings->heartbeat_interval_ms && !leg_is_out(&c->heartbeat_leg))
		arm(&c->heartbeat, settings->heartbeat_interval_ms);
	if (other_nodes)
		read_nodes_again(c);
	else
		plan_periodic(c);
}

/* ---- life ---- */

struct control *control_new(const struct control_options *options)
{
	struct control *c = xcalloc(1, sizeof(*c));
	struct event_base *base = options->loop->base;

	c->o = *options;
	c->settings = options->cluster->settings;
	c->cluster_name = cluster_id_name(options->cluster->id);
	set_credentials(c);
	snprintf(c->address, sizeof(c->address), "NOT_CONNECTED");
	leg_init(&c->heartbeat_leg, &heartbeat_ops);
	inquiry_init(&c->inquiry, base, &control_inquiry_handler, &c->credentials);
	evtimer_assign(&c->timer, base, on_timer, c);
	evtimer_assign(&c->heartbeat, base, on_heartbeat_timer, c);
	evtimer_assign(&c->refresh, base, on_refresh_timer, c);
	evtimer_assign(&c->periodic, base, on_periodic_timer, c);
	return c;
}

void control_start(struct control *c)
{
	if (c->state == CONTROL_IDLE)
		wake_in(c, WAKE_ROUND, 0);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	drop(c, "the control connection is closed");
	inquiry_fini(&c->inquiry);
	endpoint_list_clear(&c->endpoints);
	credentials_wipe(&c->credentials);
	free(c->datacenter);
	free(c);
}

void control_get_status(const struct control *c, struct control_status *out)
{
	memcpy(out->address, c->address, sizeof(out->address));
	out->failures = atomic_load_explicit(&c->o.cluster->failures, memory_order_relaxed);
	out->was_up = c->was_up;
}
