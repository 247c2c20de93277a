/*
 * control.c - see control.h
 *
 * A round visits every endpoint once (control_round.h). When all have failed the
 * next round waits, longer each time (control_attempt.h). One attempt at an
 * endpoint:
 *
 *   connect [TLS] -> OPTIONS -> STARTUP [AUTH_RESPONSE] -> REGISTER -> the tables -> UP
 *
 * The questions are inquiry.c's. A node that refuses the protocol version gets a
 * new connection with a lower one. What happens while it is up is in
 * control_watch.h.
 */
#include "proxy/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/control_attempt.h"
#include "proxy/control_round.h"
#include "proxy/control_state.h"
#include "proxy/control_watch.h"

/* ---- up ---- */

static void go_up(struct control *c, const struct topology *t)
{
	const struct endpoint *e = endpoint_list_current(&c->endpoints);

	control_state_set(c, CONTROL_UP);
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
	control_watch_begin(c);
}

/* ---- the inquiry ---- */

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
	control_watch_plan(c, topology_schema_agrees(t) && t->left_out == 0);
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
		control_attempt_fail(c, true, why);
		free(why);
		return;
	}
	/* ZDM goes down one by one, whatever the node says. */
	c->version = offered < below && version_is_served(offered) && c->o.settings->profile != PROFILE_ZDM ? offered
													    : below;
	log_info("%s %s: protocol %s is refused, trying %s", c->cluster_name, c->text, version_name(refused),
		 version_name(c->version));
	control_attempt_drop(c, "protocol version refused");
	control_attempt_wake(c, WAKE_ENDPOINT, 0);
}

static void on_inquiry_failed(struct inquiry *inq, bool is_hopeless, const char *why)
{
	control_attempt_trouble(container_of(inq, struct control, inquiry), is_hopeless, why);
}

static const struct inquiry_handler control_inquiry_handler = {
	.on_topology = on_topology,
	.on_version_refused = on_version_refused,
	.on_failed = on_inquiry_failed,
};

/* ---- other settings ---- */

static void set_credentials(struct control *c)
{
	credentials_wipe(&c->credentials);
	if (c->settings->username)
		credentials_set_text(&c->credentials, c->settings->username, c->settings->password);
}

static void start_over(struct control *c)
{
	control_attempt_drop(c, "the configuration has changed");
	endpoint_list_clear(&c->endpoints);
	control_attempt_wake(c, WAKE_ROUND, 0);
}

void control_refresh_soon(struct control *c, uint32_t ms)
{
	if (c->state != CONTROL_UP)
		return;
	control_watch_expect_changes(c);
	control_watch_look(c, ms, true);
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
	} else if (c->state != CONTROL_UP) {
		start_over(c); /* what has failed so far may succeed now */
	} else {
		control_watch_change_settings(c, old, other_nodes);
	}
}

/* ---- life ---- */

struct control *control_new(const struct control_options *options)
{
	struct control *c = xcalloc(1, sizeof(*c));

	c->o = *options;
	c->settings = options->cluster->settings;
	c->cluster_name = cluster_id_name(options->cluster->id);
	set_credentials(c);
	snprintf(c->address, sizeof(c->address), "NOT_CONNECTED");
	inquiry_init(&c->inquiry, options->loop->base, &control_inquiry_handler, &c->credentials);
	control_round_init(c);
	control_watch_init(c);
	return c;
}

void control_start(struct control *c)
{
	if (c->state == CONTROL_IDLE)
		control_attempt_wake(c, WAKE_ROUND, 0);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	control_attempt_drop(c, "the control connection is closed");
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
