/*
 * handshake_dedicated.c - see handshake_dedicated.h
 *
 *   client: STARTUP ---> leg origin: CONNECTING -> STARTUP -> DONE | WANTS_AUTH
 *                   \--> leg target: CONNECTING -> STARTUP -> DONE | WANTS_AUTH
 *   both legs answered:
 *     none wants auth    -> READY
 *     else               -> AUTHENTICATE of the deciding leg
 *   client: AUTH_RESPONSE -> deciding leg: AUTH -> DONE (its AUTH_SUCCESS is held back)
 *                            other leg, if it WANTS_AUTH: AUTH, played by us -> DONE
 *                         -> AUTH_SUCCESS
 *   without a dialogue, since plugins have set what is wanted: both legs played by us -> READY
 *
 * Resumed, the AUTHENTICATE has been sent and the AUTH_RESPONSE has come before
 * the legs connect.
 */
#include "proxy/handshake_dedicated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/connect.h"
#include "proxy/handshake_ask.h"
#include "proxy/mirror_link.h"

/* Other nodes are tried when one refuses the connection, but not the whole of a large cluster. */
#define MAX_CONNECT_ATTEMPTS 3
/* A node that refused a connection is not asked again for so long while there are others. */
#define DOWN_MS 5000

enum leg_step {
	STEP_CONNECTING,
	STEP_STARTUP,
	STEP_WANTS_AUTH,
	STEP_AUTH,
	STEP_DONE,
};

struct dedicated;

struct dedicated_leg {
	struct dedicated *of;
	struct server *server; /* NULL when none is being made */
	struct login login;
	struct timeout_item connect_timeout;
	struct writer options; /* the STARTUP body for this cluster */
	enum cluster_id id;
	enum cql_compression compression;
	uint8_t step; /* enum leg_step */
	unsigned attempts;
	char *class_name; /* of its authenticator */
};

struct dedicated {
	struct handshake hs; /* first: see handshake.h */
	struct dedicated_leg leg[CLUSTER_COUNT];
	struct writer success; /* the deciding cluster's AUTH_SUCCESS body */
	struct writer token;   /* resumed: what the client has answered to AUTHENTICATE; a [bytes] */
	bool is_resumed;
};

static const struct login_handler leg_login_handler;
static const struct server_handler leg_server_handler;
static const struct handshake_way dedicated_way;

static struct strview text_of(struct bytesview token)
{
	return (struct strview){ (const char *)token.p, token.len };
}

static struct dedicated *dedicated_of(struct handshake *hs)
{
	return container_of(hs, struct dedicated, hs);
}

/* ---- refusals ---- */

/* No connection could be made to this node. */
static void note_unreachable(struct dedicated_leg *leg, struct server *server)
{
	metric_add(&server->stats->failed_connections, 1);
	cluster_mark_down(&leg->of->hs.client->worker->proxy->clusters[leg->id], &server->address, DOWN_MS);
}

/* A cluster cannot be had: says which and why. */
static void fail(struct dedicated_leg *leg, const char *why)
{
	struct handshake *hs = &leg->of->hs;
	struct client *c = hs->client;
	const char *node = leg->server ? leg->server->name : "";

	handshake_blame(hs, HOOKS_LOGIN_FAILED, leg->id);
	if (leg->step == STEP_CONNECTING)
		metric_add(&c->worker->metrics.failed_connections[leg->id], 1);
	/* A node that answers in a version nobody knows: drivers look for that on stream 0. */
	if (leg->server && leg->server->foreign_version) {
		client_refuse(c, 0, CLOSE_HANDSHAKE, CQL_ERR_PROTOCOL_ERROR,
			      "Invalid or unsupported protocol version (%u): %s at %s answered in it",
			      leg->server->foreign_version, cluster_id_name(leg->id), node);
		return;
	}
	client_break_off(c, hs->stream, CLOSE_HANDSHAKE, CQL_ERR_SERVER_ERROR, "cannot connect to %s%s%s: %s",
			 cluster_id_name(leg->id), *node ? " at " : "", node, why);
}

/* ---- connecting ---- */

static void leg_connect(struct dedicated_leg *leg)
{
	struct client *c = leg->of->hs.client;
	const char *why;

	leg->attempts++;
	leg->step = STEP_CONNECTING;
	leg->server = connect_open(c->worker, leg->id, c->version, &leg_server_handler, leg, &why);
	if (!leg->server) {
		fail(leg, why);
		return;
	}
	metric_add(&c->worker->metrics.server_connections[leg->id], 1);
	timeout_start(&c->worker->loop, &c->worker->connect_timeouts[leg->id], &leg->connect_timeout);
}

static struct dedicated *dedicated_new(struct client *c, struct startup *startup, int16_t stream)
{
	struct dedicated *d = xcalloc(1, sizeof(*d));

	handshake_init(&d->hs, &dedicated_way, c, startup, stream);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct dedicated_leg *leg = &d->leg[i];

		leg->of = d;
		leg->id = (enum cluster_id)i;
		timeout_item_init(&leg->connect_timeout);
		leg->compression = cluster_compression(&c->worker->proxy->clusters[i],
						       (enum cql_compression)c->compression, c->version);
		writer_init(&leg->options);
		startup_write(&d->hs.startup, leg->compression, &leg->options);
	}
	return d;
}

static void connect_all(struct dedicated *d)
{
	struct client *c = d->hs.client;

	/* A refusal ends the client and with it the handshake. */
	for (unsigned i = 0; i < CLUSTER_COUNT && c->handshake == &d->hs; i++)
		leg_connect(&d->leg[i]);
}

void handshake_dedicated_start(struct client *c, struct startup *startup, int16_t stream)
{
	connect_all(dedicated_new(c, startup, stream));
}

void handshake_dedicated_resume(struct client *c, struct startup *startup, int16_t stream, struct bytesview token)
{
	struct dedicated *d = dedicated_new(c, startup, stream);

	d->is_resumed = true;
	write_bytes(&d->token, token.is_null ? NULL : token.p, token.len);
	connect_all(d);
}

/* ---- the way to READY ---- */

static struct dedicated_leg *other_leg(struct dedicated *d, enum cluster_id id)
{
	return &d->leg[cluster_id_other(id)];
}

/* Both clusters have accepted: their connections become the client's. */
static void complete(struct dedicated *d)
{
	struct client *c = d->hs.client;
	const bool was_asked = c->state == CLIENT_AUTH;
	struct dedicated_leg *secondary = other_leg(d, c->worker->settings->primary);
	struct writer startup;

	Assert(d->leg[CLUSTER_ORIGIN].step == STEP_DONE && d->leg[CLUSTER_TARGET].step == STEP_DONE);
	if (!handshake_take_user(&d->hs))
		return;
	if (was_asked && d->success.len == 0) /* no cluster has said anything */
		write_bytes(&d->success, NULL, 0);
	startup = secondary->options;
	writer_init(&secondary->options);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct dedicated_leg *leg = &d->leg[i];

		c->server[i] = leg->server;
		c->leg_compression[i] = (uint8_t)leg->compression;
		c->server[i]->handler = &client_server_handler;
		c->server[i]->owner = c;
		leg->server = NULL;
	}
	client_send(c, d->hs.stream, was_asked ? OP_AUTH_SUCCESS : OP_READY, 0, d->success.data, d->success.len);
	if (!was_asked)
		client_switch_framing(c);
	client_ready(c);
	handshake_tell(&d->hs, HOOKS_LOGIN_OK, CLUSTER_COUNT, 0, "");
	handshake_abort(c);
	mirror_link_open(c, &startup);
	client_go_on(c);
}

/* Logs in by ourselves. */
static void leg_play(struct dedicated_leg *leg)
{
	struct handshake *hs = &leg->of->hs;
	const struct credentials *credentials = handshake_credentials(hs, leg->id);

	if (!credentials->user) {
		handshake_blame(hs, HOOKS_LOGIN_FAILED, leg->id);
		client_refuse(
			hs->client, hs->stream, CLOSE_AUTHENTICATION, CQL_ERR_BAD_CREDENTIALS,
			"%s wants the client's user name and password, but the log-in mechanism used with %s carries none",
			cluster_id_name(leg->id), cluster_id_name(hs->deciding));
		return;
	}
	leg->step = STEP_AUTH;
	login_with(&leg->login, credentials);
}

/* One cluster after the other: who is refused by the deciding one makes no log-in at the other. */
static void go_on(struct dedicated *d)
{
	struct dedicated_leg *leg = &d->leg[d->hs.deciding];

	if (leg->step != STEP_WANTS_AUTH)
		leg = other_leg(d, d->hs.deciding);
	if (leg->step == STEP_WANTS_AUTH)
		leg_play(leg);
	else
		complete(d);
}

/* The client's token goes to the deciding cluster, as it is or with other credentials in its place. */
static void on_token(struct handshake *hs, struct bytesview token)
{
	struct dedicated *d = dedicated_of(hs);
	struct dedicated_leg *leg = &d->leg[hs->deciding];

	/* It was for plugins alone, or for a cluster that does not want it after all. */
	if (!hs->wants_login[leg->id]) {
		go_on(d);
		return;
	}
	leg->login.credentials = NULL; /* of an attempt before */
	if (hs->is_challenged || handshake_ask_set(hs, leg->id)) {
		leg_play(leg);
		return;
	}
	leg->step = STEP_AUTH;
	if (handshake_gets_client_credentials(hs, leg->id) || token.is_null || sv_equal(text_of(token), SV("PLAIN"))) {
		/* Absent, or the name of a mechanism: there are no credentials in it yet (DSE's first step). */
		login_token(&leg->login, token);
	} else if (hs->has_client_credentials) {
		struct writer w;

		writer_init(&w);
		credentials_write_plain(&hs->configured[leg->id], &w);
		login_token(&leg->login, (struct bytesview){ .p = w.data, .len = w.len });
		writer_wipe_free(&w);
	} else {
		client_refuse(hs->client, hs->stream, CLOSE_AUTHENTICATION, CQL_ERR_BAD_CREDENTIALS,
			      "the log-in must be SASL PLAIN: %s gets configured credentials in place of the client's",
			      cluster_id_name(leg->id));
	}
}

/* The client has answered AUTHENTICATE before the clusters have said whether they want a log-in at all. */
static void go_on_with_token(struct dedicated *d)
{
	struct reader r = reader_over(d->token.data, d->token.len);
	const struct bytesview token = read_bytes(&r);

	handshake_read_token(&d->hs, token);
	on_token(&d->hs, token);
}

/* Both have answered STARTUP. */
static void both_started(struct dedicated *d)
{
	struct handshake *hs = &d->hs;
	const char *class_name;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		hs->wants_login[i] = d->leg[i].step == STEP_WANTS_AUTH;
	hs->deciding = hs->wants_login[CLUSTER_ORIGIN] ? CLUSTER_ORIGIN : CLUSTER_TARGET;
	class_name = d->leg[hs->deciding].class_name;
	if (d->is_resumed)
		go_on_with_token(d);
	else if (handshake_needs_dialogue(hs))
		handshake_send_authenticate(hs, class_name ? class_name : HANDSHAKE_AUTHENTICATOR);
	else
		go_on(d);
}

static void leg_started(struct dedicated_leg *leg)
{
	if (other_leg(leg->of, leg->id)->step >= STEP_WANTS_AUTH)
		both_started(leg->of);
}

/* ---- what the clusters say ---- */

static void leg_on_open(struct server *server)
{
	struct dedicated_leg *leg = server->owner;

	timeout_stop(&leg->connect_timeout);
	cluster_mark_up(&leg->of->hs.client->worker->proxy->clusters[leg->id], &server->address);
	leg->step = STEP_STARTUP;
	login_init(&leg->login, server, &leg_login_handler);
	login_startup(&leg->login, leg->options.data, leg->options.len, leg->compression);
}

/* Connections that end before they are open; later ones are the login's to report. */
static void leg_on_closed(struct server *server, const char *why)
{
	struct dedicated_leg *leg = server->owner;
	struct client *c = leg->of->hs.client;

	timeout_stop(&leg->connect_timeout);
	if (leg->step == STEP_CONNECTING)
		note_unreachable(leg, server);
	if (leg->step == STEP_CONNECTING && leg->attempts < MAX_CONNECT_ATTEMPTS &&
	    c->worker->settings->cluster[leg->id].enable_host_assignment) {
		log_limited(LOG_WARN, "%s %s: %s; trying another node for client %s", cluster_id_name(leg->id),
			    server->name, why, c->name);
		metric_sub(&c->worker->metrics.server_connections[leg->id], 1);
		leg->server = NULL;
		leg_connect(leg);
		return;
	}
	fail(leg, why);
}

static void leg_on_authenticate(struct login *login, struct strview class_name)
{
	struct dedicated_leg *leg = container_of(login, struct dedicated_leg, login);

	if (leg->step != STEP_STARTUP) {
		fail(leg, "it sent AUTHENTICATE out of turn");
		return;
	}
	leg->class_name = xstrndup(class_name.p, class_name.len);
	leg->step = STEP_WANTS_AUTH;
	leg_started(leg);
}

static void leg_on_challenge(struct login *login, struct frame *f)
{
	struct dedicated_leg *leg = container_of(login, struct dedicated_leg, login);
	struct handshake *hs = &leg->of->hs;

	if (leg->step != STEP_AUTH) {
		fail(leg, "it sent AUTH_CHALLENGE out of turn");
		return;
	}
	if (login->credentials) {
		fail(leg, "its authenticator asks for something else than PLAIN");
		return;
	}
	client_send(hs->client, hs->stream, OP_AUTH_CHALLENGE, 0, f->body, f->length);
	handshake_answered(hs);
}

static void leg_on_ready(struct login *login, struct frame *f)
{
	struct dedicated_leg *leg = container_of(login, struct dedicated_leg, login);
	struct dedicated *d = leg->of;
	const bool was_startup = leg->step == STEP_STARTUP;

	leg->step = STEP_DONE;
	if (was_startup) {
		leg_started(leg);
		return;
	}
	if (leg->id == d->hs.deciding && d->hs.client->state == CLIENT_AUTH)
		write_raw(&d->success, f->body, f->length);
	go_on(d);
}

/* What the client is told. */
static void describe(struct dedicated_leg *leg, const struct error_message *error, char *text, size_t size)
{
	snprintf(text, size, "%.*s (%s, %s)", (int)MIN(error->text.len, size), error->text.p, cluster_id_name(leg->id),
		 leg->server->name);
	handshake_ask_hide(&leg->of->hs, leg->id, text, size);
}

/* The deciding cluster's refusal is the client's to deal with: it may try again. */
static void deciding_refused(struct dedicated_leg *leg, struct frame *f, const struct error_message *error)
{
	struct handshake *hs = &leg->of->hs;
	struct client *c = hs->client;
	char text[512];

	leg->step = STEP_WANTS_AUTH;
	describe(leg, error, text, sizeof(text));
	if (c->worker->settings->profile != PROFILE_ZDM || handshake_ask_set(hs, leg->id)) {
		handshake_refuse_again(hs, handshake_outcome(hs, leg->id, error->code), leg->id, text);
		return;
	}
	client_send(c, hs->stream, OP_ERROR, f->flags & (uint8_t)~FRAME_COMPRESSED, f->body, f->length);
	handshake_tell(hs, handshake_outcome(hs, leg->id, error->code), leg->id, error->code, text);
	hs->is_challenged = false;
	handshake_answered(hs);
}

static void leg_on_refused(struct login *login, struct frame *f, const struct error_message *error)
{
	struct dedicated_leg *leg = container_of(login, struct dedicated_leg, login);
	struct handshake *hs = &leg->of->hs;
	struct client *c = hs->client;
	char text[512];

	if (!error) {
		fail(leg, "it answered the log-in with an unexpected frame");
		return;
	}
	if (leg->step == STEP_AUTH && leg->id == hs->deciding && c->state == CLIENT_AUTH &&
	    error->code == CQL_ERR_BAD_CREDENTIALS) {
		deciding_refused(leg, f, error);
		return;
	}
	handshake_blame(hs, handshake_outcome(hs, leg->id, error->code), leg->id);
	describe(leg, error, text, sizeof(text));
	if (error->code == CQL_ERR_PROTOCOL_ERROR) {
		/* Drivers look for this one on stream 0 when they find out which version to speak. */
		client_refuse(c, 0, CLOSE_HANDSHAKE, CQL_ERR_PROTOCOL_ERROR, "%s", text);
		return;
	}
	client_refuse(c, hs->stream, error->code == CQL_ERR_BAD_CREDENTIALS ? CLOSE_AUTHENTICATION : CLOSE_HANDSHAKE,
		      (enum cql_error_code)error->code, "%s", text);
}

static void leg_on_lost(struct login *login, const char *why)
{
	fail(container_of(login, struct dedicated_leg, login), why);
}

static const struct login_handler leg_login_handler = {
	.on_authenticate = leg_on_authenticate,
	.on_challenge = leg_on_challenge,
	.on_ready = leg_on_ready,
	.on_refused = leg_on_refused,
	.on_lost = leg_on_lost,
};

static const struct server_handler leg_server_handler = {
	.on_open = leg_on_open,
	.on_closed = leg_on_closed,
};

void handshake_dedicated_connect_timed_out(struct timeout_item *item)
{
	struct dedicated_leg *leg = container_of(item, struct dedicated_leg, connect_timeout);
	struct server *server = leg->server;

	server_close(server, "connect time-out");
	leg_on_closed(server, "no connection within connection_timeout");
}

/* ---- the way ---- */

static void on_timeout(struct handshake *hs)
{
	struct dedicated *d = dedicated_of(hs);
	struct client *c = hs->client;
	const uint32_t ms = c->worker->settings->handshake_timeout_ms;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct dedicated_leg *leg = &d->leg[i];

		if (leg->step == STEP_CONNECTING && leg->server) {
			note_unreachable(leg, leg->server);
			metric_add(&c->worker->metrics.failed_connections[i], 1);
		}
		/* One that wants a log-in waits for us, or for the other cluster. */
		if (leg->step != STEP_DONE && leg->step != STEP_WANTS_AUTH) {
			handshake_blame(hs, HOOKS_LOGIN_FAILED, leg->id);
			client_refuse(c, hs->stream, CLOSE_TIMEOUT, CQL_ERR_SERVER_ERROR,
				      "%s%s%s has not finished the log-in within %u ms", cluster_id_name(leg->id),
				      leg->server ? " at " : "", leg->server ? leg->server->name : "", ms);
			return;
		}
	}
	client_close(c, CLOSE_TIMEOUT, "not ready within %u ms", ms);
}

static void drop_leg(struct dedicated_leg *leg)
{
	const struct handshake *hs = &leg->of->hs;
	struct client *c = hs->client;

	timeout_stop(&leg->connect_timeout);
	if (leg->server) {
		login_abandon(&leg->login);
		server_detach(leg->server);
		server_close(leg->server, "the client has gone");
		metric_sub(&c->worker->metrics.server_connections[leg->id], 1);
	}
	/* What this cluster accepted may be needed to repair a statement there. */
	if (c->state == CLIENT_READY && leg->class_name)
		client_keep_login(c, leg->id, handshake_credentials(hs, leg->id));
	writer_free(&leg->options);
	free(leg->class_name);
}

static void drop(struct handshake *hs)
{
	struct dedicated *d = dedicated_of(hs);

	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		drop_leg(&d->leg[i]);
	writer_free(&d->success);
	writer_wipe_free(&d->token);
	handshake_fini(hs);
	free(d);
}

static const struct handshake_way dedicated_way = {
	.on_token = on_token,
	.on_timeout = on_timeout,
	.drop = drop,
};
