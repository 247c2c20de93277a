/* control_watch.c - see control_watch.h */
#include "proxy/control_watch.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "proxy/control_attempt.h"
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

/* ---- when the tables are read again ---- */

static void plan_periodic(struct control *c)
{
	if (c->o.settings->topology_refresh_interval_ms > 0)
		control_state_arm(&c->periodic, c->o.settings->topology_refresh_interval_ms);
	else
		evtimer_del(&c->periodic);
}

void control_watch_plan(struct control *c, bool is_settled)
{
	if (c->refresh_again) {
		control_state_arm(&c->refresh, c->is_urgent ? URGENT_MS : SETTLE_MS);
	} else if (!is_settled && !evtimer_pending(&c->refresh, NULL)) {
		/* Drivers compare the versions after a schema change, so an old difference must not stay; the row of a
		 * new node is complete a little later. */
		control_state_arm(&c->refresh, c->disagree_ms);
		c->disagree_ms = MIN(c->disagree_ms * 2, DISAGREE_MAX_MS);
	}
	if (is_settled)
		c->disagree_ms = DISAGREE_MIN_MS;
	c->refresh_again = false;
	c->is_urgent = false;
	plan_periodic(c);
}

void control_watch_expect_changes(struct control *c)
{
	c->disagree_ms = DISAGREE_MIN_MS;
}

void control_watch_look(struct control *c, uint32_t ms, bool is_urgent)
{
	if (c->inquiry.is_running) {
		c->refresh_again = true;
		c->is_urgent |= is_urgent;
	} else {
		control_state_arm(&c->refresh, ms);
	}
}

static void refresh(struct control *c)
{
	const struct topology_source source = control_state_source(c);

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

/* ---- events ---- */

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

void control_watch_on_event(struct server *server, struct frame *f)
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
	control_watch_expect_changes(c);
	/* One timer collapses a burst; what comes while the tables are read is looked at afterwards. */
	if (c->inquiry.is_running)
		c->refresh_again = true;
	else if (!is_refresh_due(c))
		control_state_arm(&c->refresh, SETTLE_MS);
}

/* ---- heartbeats ---- */

static void on_heartbeat_answer(struct leg *leg, struct frame *f)
{
	struct control *c = container_of(leg, struct control, heartbeat_leg);

	if (f->opcode != OP_SUPPORTED)
		log_warn("%s %s: a heartbeat was answered by %s", c->cluster_name, c->text, cql_opcode_name(f->opcode));
	control_state_arm(&c->heartbeat, c->o.settings->heartbeat_interval_ms);
}

static void on_heartbeat_lost(struct leg *leg, const char *why)
{
	control_attempt_trouble(container_of(leg, struct control, heartbeat_leg), false, why);
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
		control_attempt_lost(c, why);
		return;
	}
	leg_init(&c->heartbeat_leg, &heartbeat_ops);
	if (!server_send_body(c->server, &c->heartbeat_leg, OP_OPTIONS, 0, NULL, 0))
		control_attempt_lost(c, "the connection has ended");
	else
		control_state_arm(&c->heartbeat, heartbeat_limit_ms(c));
}

/* ---- life ---- */

void control_watch_begin(struct control *c)
{
	control_watch_expect_changes(c);
	control_state_arm(&c->heartbeat, c->o.settings->heartbeat_interval_ms);
}

void control_watch_change_settings(struct control *c, const struct settings *old, bool other_nodes)
{
	const uint32_t interval = c->o.settings->heartbeat_interval_ms;

	/* When one is out, its time limit runs, which is no interval. */
	if (old->heartbeat_interval_ms != interval && !leg_is_out(&c->heartbeat_leg))
		control_state_arm(&c->heartbeat, interval);
	if (other_nodes)
		control_watch_look(c, 0, false);
	else
		plan_periodic(c);
}

void control_watch_init(struct control *c)
{
	struct event_base *base = c->o.loop->base;

	leg_init(&c->heartbeat_leg, &heartbeat_ops);
	evtimer_assign(&c->heartbeat, base, on_heartbeat_timer, c);
	evtimer_assign(&c->refresh, base, on_refresh_timer, c);
	evtimer_assign(&c->periodic, base, on_periodic_timer, c);
}
