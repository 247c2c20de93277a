/*
 * handshake_pooled.c - see handshake_pooled.h
 *
 *   STARTUP, no cluster wants a log-in ----------------------------> both legs: JOINING
 *   STARTUP, one does -> AUTHENTICATE
 *     AUTH_RESPONSE, user and password -> legs that get these: ASKING -> JOINING
 *                                         when they are READY, the others: JOINING
 *     AUTH_RESPONSE, anything else ----> handshake_dedicated_resume()
 *
 *   ASKING    the cluster is asked about the credentials, unless it has accepted them a moment ago
 *   JOINING   the pool is to have a connection that is ready
 *
 * The clusters that check the client's password come first: who gives a wrong
 * one makes no connection with the configured credentials.
 */
#include "proxy/handshake_pooled.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/credential_check.h"
#include "proxy/handshake_ask.h"
#include "proxy/handshake_dedicated.h"
#include "proxy/mirror_link.h"

/* A cluster that the client can do without is waited for so long, once the others are READY; drivers wait 5 s. */
#define PATIENCE_MS 2000

enum leg_step {
	STEP_NONE,
	STEP_ASKING,
	STEP_JOINING,
	STEP_READY,
	STEP_REFUSED,
	STEP_UNREACHABLE,
};

struct pooled;

struct pooled_leg {
	struct pooled *of;
	enum cluster_id id;
	uint8_t step;                  /* enum leg_step */
	bool is_clients;               /* the cluster gets the client's own credentials */
	struct credential *credential; /* NULL: it wants none */
	struct pool *pool;             /* joined, or NULL */
	struct credential_waiter waiter;
	struct pool_check check;
	uint32_t error_code;
	char *text; /* REFUSED, UNREACHABLE: why */
};

struct pooled {
	struct handshake hs; /* first: see handshake.h */
	struct pooled_leg leg[CLUSTER_COUNT];
	bool has_begun_all; /* no leg waits for the client's password to be checked */
	struct loop_poll patience;
	uint64_t patience_until_ns;
};

static const struct handshake_way pooled_way;
static void go_on(struct pooled *p);

static struct pooled *pooled_of(struct handshake *hs)
{
	return container_of(hs, struct pooled, hs);
}

static bool is_under_way(const struct pooled_leg *leg)
{
	return leg->step == STEP_ASKING || leg->step == STEP_JOINING;
}

/* ---- one cluster ---- */

static void leg_ended(struct pooled_leg *leg, enum pool_outcome outcome, uint32_t error_code, const char *text)
{
	leg->step = outcome == POOL_READY ? STEP_READY : outcome == POOL_REFUSED ? STEP_REFUSED : STEP_UNREACHABLE;
	leg->error_code = error_code;
	free(leg->text);
	leg->text = outcome == POOL_READY ? NULL : xstrdup(text);
	go_on(leg->of);
}

static void on_joined(struct pool_check *check, enum pool_outcome outcome, uint32_t error_code, const char *text)
{
	leg_ended(container_of(check, struct pooled_leg, check), outcome, error_code, text);
}

static void leg_join(struct pooled_leg *leg)
{
	leg->step = STEP_JOINING;
	leg->check.on_done = on_joined;
	pool_check_start(leg->pool, &leg->check, false);
}

static void on_asked(struct credential_waiter *waiter, enum pool_outcome outcome, uint32_t error_code, const char *text)
{
	struct pooled_leg *leg = container_of(waiter, struct pooled_leg, waiter);

	/* The connection may have been made for another pool, or be gone again. */
	if (outcome == POOL_READY)
		leg_join(leg);
	else
		leg_ended(leg, outcome, error_code, text);
}

static void leg_begin(struct pooled_leg *leg)
{
	struct handshake *hs = &leg->of->hs;
	struct client *c = hs->client;
	struct worker *w = c->worker;

	if (hs->wants_login[leg->id])
		leg->credential = credential_get(w, leg->id, handshake_credentials(hs, leg->id));
	leg->pool = pool_join(w, leg->id, c->version,
			      cluster_compression(&w->proxy->clusters[leg->id], (enum cql_compression)c->compression,
						  c->version),
			      leg->credential);
	if (leg->is_clients && !credential_is_remembered(leg->credential)) {
		leg->step = STEP_ASKING;
		leg->waiter.on_done = on_asked;
		credential_ask(leg->credential, leg->pool, &leg->waiter);
		return;
	}
	if (leg->is_clients)
		metric_add(&w->metrics.logins_remembered[leg->id], 1);
	leg_join(leg);
}

/* Back to STEP_NONE. */
static void leg_drop(struct pooled_leg *leg)
{
	credential_ask_stop(&leg->waiter);
	pool_check_stop(&leg->check);
	if (leg->pool)
		pool_leave(leg->pool);
	if (leg->credential)
		credential_put(leg->credential);
	free(leg->text);
	*leg = (struct pooled_leg){ .of = leg->of, .id = leg->id };
}

static void drop_legs(struct pooled *p)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		leg_drop(&p->leg[i]);
	loop_poll_stop(&p->patience);
	p->has_begun_all = false;
}

/* ---- refusals ---- */

static void refuse(struct pooled_leg *leg)
{
	struct pooled *p = leg->of;
	struct client *c = p->hs.client;
	const enum cql_error_code code = (enum cql_error_code)leg->error_code;
	char text[400];

	snprintf(text, sizeof(text), "%s at %s", cluster_id_name(leg->id), leg->text);
	handshake_ask_hide(&p->hs, leg->id, text, sizeof(text));
	/* For the driver to deal with: it may try again. */
	if (c->state == CLIENT_AUTH && leg->id == p->hs.deciding && code == CQL_ERR_BAD_CREDENTIALS) {
		const enum cluster_id id = leg->id;

		drop_legs(p);
		handshake_refuse_again(&p->hs, handshake_outcome(&p->hs, id, code), id, text);
		return;
	}
	handshake_blame(&p->hs, handshake_outcome(&p->hs, leg->id, code), leg->id);
	/* Drivers look for PROTOCOL_ERROR on stream 0 when they find out which version to speak. */
	client_refuse(c, code == CQL_ERR_PROTOCOL_ERROR ? 0 : p->hs.stream,
		      code == CQL_ERR_BAD_CREDENTIALS ? CLOSE_AUTHENTICATION : CLOSE_HANDSHAKE, code, "%s", text);
}

static void fail(struct pooled_leg *leg)
{
	struct pooled *p = leg->of;

	handshake_blame(&p->hs, HOOKS_LOGIN_FAILED, leg->id);
	client_break_off(p->hs.client, p->hs.stream, CLOSE_HANDSHAKE, CQL_ERR_SERVER_ERROR,
			 "cannot connect to %s%s: %s", cluster_id_name(leg->id),
			 leg->is_clients ? ", which is to check the log-in" : "",
			 leg->text ? leg->text : "it has not answered in time");
}

/* ---- the way to READY ---- */

/* The client can be served, whatever comes of the legs that are under way. */
static bool is_enough(const struct pooled *p)
{
	const enum cluster_id primary = p->hs.client->worker->settings->primary;

	return p->has_begun_all && (p->leg[primary].step == STEP_READY || p->leg[p->hs.deciding].step == STEP_READY);
}

static void complete(struct pooled *p)
{
	struct client *c = p->hs.client;
	const bool was_asked = c->state == CLIENT_AUTH;
	const enum cluster_id secondary = cluster_id_other(c->worker->settings->primary);
	struct writer startup;
	struct writer w;

	if (!handshake_take_user(&p->hs))
		return;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct pooled_leg *leg = &p->leg[i];

		pool_check_stop(&leg->check);
		c->pool[i] = leg->pool;
		c->leg_compression[i] = leg->pool->compression;
		leg->pool = NULL;
	}
	writer_init(&startup);
	startup_write(&p->hs.startup, client_leg_compression(c, secondary), &startup);
	writer_init(&w);
	if (was_asked)
		write_bytes(&w, NULL, 0);
	client_send(c, p->hs.stream, was_asked ? OP_AUTH_SUCCESS : OP_READY, 0, w.data, w.len);
	writer_free(&w);
	if (!was_asked)
		client_switch_framing(c);
	client_ready(c);
	handshake_tell(&p->hs, HOOKS_LOGIN_OK, CLUSTER_COUNT, 0, "");
	handshake_abort(c);
	mirror_link_open(c, &startup);
	client_go_on(c);
}

static bool poll_patience(struct loop_poll *poll)
{
	struct pooled *p = container_of(poll, struct pooled, patience);

	if (loop_now(poll->loop) < p->patience_until_ns)
		return true;
	complete(p);
	return false;
}

static void begin_rest(struct pooled *p)
{
	p->has_begun_all = true;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (p->leg[i].step == STEP_NONE)
			leg_begin(&p->leg[i]);
	}
}

/* The leg that says most about why the client cannot be served. */
static struct pooled_leg *failed_leg(struct pooled *p)
{
	struct pooled_leg *leg = &p->leg[p->hs.deciding];

	if (!p->has_begun_all && !leg->is_clients)
		leg = &p->leg[cluster_id_other(p->hs.deciding)];
	return leg;
}

/* Those that check the password have all answered. */
static void password_checked(struct pooled *p)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (p->leg[i].is_clients && p->leg[i].step == STEP_READY) {
			begin_rest(p);
			return;
		}
	}
	fail(failed_leg(p));
}

static struct pooled_leg *refused_leg(struct pooled *p)
{
	struct pooled_leg *deciding = &p->leg[p->hs.deciding];
	struct pooled_leg *other = &p->leg[cluster_id_other(p->hs.deciding)];

	if (deciding->step == STEP_REFUSED)
		return deciding;
	return other->step == STEP_REFUSED && !is_under_way(deciding) ? other : NULL;
}

/* Something has come of a leg. */
static void go_on(struct pooled *p)
{
	struct pooled_leg *refused = refused_leg(p);
	struct worker *w = p->hs.client->worker;

	if (refused) {
		refuse(refused);
	} else if (is_under_way(&p->leg[CLUSTER_ORIGIN]) || is_under_way(&p->leg[CLUSTER_TARGET])) {
		if (is_enough(p)) {
			p->patience_until_ns = loop_now(&w->loop) + PATIENCE_MS * UINT64_C(1000000);
			loop_poll_start(&w->loop, &p->patience);
		}
	} else if (!p->has_begun_all) {
		password_checked(p);
	} else if (is_enough(p)) {
		complete(p);
	} else {
		fail(failed_leg(p));
	}
}

/* ---- the dialogue with the driver ---- */

/* Who gets whose credentials is known, and they are there. */
static void begin(struct pooled *p)
{
	bool is_any_clients = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct pooled_leg *leg = &p->leg[i];

		leg->is_clients = p->hs.wants_login[i] && handshake_proves(&p->hs, (enum cluster_id)i);
		is_any_clients |= leg->is_clients;
	}
	if (!is_any_clients) {
		begin_rest(p);
		return;
	}
	p->has_begun_all = true;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (p->leg[i].is_clients)
			leg_begin(&p->leg[i]);
		else
			p->has_begun_all = false;
	}
}

/* The mechanism is not for us to play: the client gets connections of its own. */
static void pass_on(struct pooled *p, struct bytesview token)
{
	struct client *c = p->hs.client;
	const int16_t stream = p->hs.stream;
	struct startup startup;

	if (!handshake_gets_client_credentials(&p->hs, p->hs.deciding)) {
		client_refuse(c, stream, CLOSE_AUTHENTICATION, CQL_ERR_BAD_CREDENTIALS,
			      "the log-in must be SASL PLAIN: %s gets configured credentials in place of the client's",
			      cluster_id_name(p->hs.deciding));
		return;
	}
	log_debug("client %s #%llu: its log-in is not SASL PLAIN: it gets connections of its own", c->name,
		  (unsigned long long)c->number);
	startup_move(&startup, &p->hs.startup);
	handshake_dedicated_resume(c, &startup, stream, token); /* the end of `p` */
}

static void on_token(struct handshake *hs, struct bytesview token)
{
	struct pooled *p = pooled_of(hs);

	if (hs->has_client_credentials || handshake_ask_is_enough(hs))
		begin(p);
	else
		pass_on(p, token);
}

/* What the clusters demand. One that is not known yet is taken to be like the other. */
static char *look_at_clusters(struct pooled *p)
{
	struct handshake *hs = &p->hs;
	struct topology *t[CLUSTER_COUNT];
	char *class_name = NULL;
	bool is_any = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		t[i] = cluster_topology(&hs->client->worker->proxy->clusters[i]);
		is_any |= t[i] && t[i]->requires_auth;
	}
	hs->deciding = hs->client->worker->settings->primary;
	for (unsigned i = CLUSTER_COUNT; i-- > 0;) {
		hs->wants_login[i] = t[i] ? t[i]->requires_auth : is_any;
		if (t[i] && t[i]->requires_auth) {
			hs->deciding = (enum cluster_id)i;
			free(class_name);
			class_name = xstrdup(t[i]->authenticator ? t[i]->authenticator : HANDSHAKE_AUTHENTICATOR);
		}
		if (t[i])
			topology_unref(t[i]);
	}
	return class_name;
}

void handshake_pooled_start(struct client *c, struct startup *startup, int16_t stream)
{
	struct pooled *p = xcalloc(1, sizeof(*p));
	char *class_name;

	handshake_init(&p->hs, &pooled_way, c, startup, stream);
	loop_poll_init(&p->patience, poll_patience);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		p->leg[i].of = p;
		p->leg[i].id = (enum cluster_id)i;
	}
	class_name = look_at_clusters(p);
	if (handshake_needs_dialogue(&p->hs)) /* may be the end of it */
		handshake_send_authenticate(&p->hs, class_name ? class_name : HANDSHAKE_AUTHENTICATOR);
	else
		begin(p);
	free(class_name);
}

/* ---- the way ---- */

static void on_timeout(struct handshake *hs)
{
	struct pooled *p = pooled_of(hs);

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (is_under_way(&p->leg[i]) && !is_enough(p)) {
			handshake_blame(hs, HOOKS_LOGIN_FAILED, i);
			client_refuse(hs->client, hs->stream, CLOSE_TIMEOUT, CQL_ERR_SERVER_ERROR,
				      "%s has not finished the log-in within %u ms",
				      cluster_id_name((enum cluster_id)i),
				      hs->client->worker->settings->handshake_timeout_ms);
			return;
		}
	}
	complete(p);
}

static void drop(struct handshake *hs)
{
	struct pooled *p = pooled_of(hs);

	drop_legs(p);
	handshake_fini(hs);
	free(p);
}

static const struct handshake_way pooled_way = {
	.is_shared = true,
	.on_token = on_token,
	.on_timeout = on_timeout,
	.drop = drop,
};
