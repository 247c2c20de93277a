/*
 * handshake.c - see handshake.h
 *
 *   client: STARTUP ---> leg origin: CONNECTING -> STARTUP -> DONE | WANTS_AUTH
 *                   \--> leg target: CONNECTING -> STARTUP -> DONE | WANTS_AUTH
 *   both legs answered:
 *     none wants auth    -> READY
 *     else               -> AUTHENTICATE of the deciding leg
 *   client: AUTH_RESPONSE -> deciding leg: AUTH -> DONE (its AUTH_SUCCESS is held back)
 *                            other leg, if it WANTS_AUTH: AUTH, played by us -> DONE
 *                         -> AUTH_SUCCESS
 */
#include "proxy/handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cql/compress.h"
#include "proxy/admission.h"
#include "proxy/connect.h"
#include "proxy/mirror.h"
#include "proxy/plain.h"
#include "proxy/refusal.h"
#include "proxy/supported.h"

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

struct handshake_leg {
	struct handshake *hs;
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

struct handshake {
	struct client *client;
	struct handshake_leg leg[CLUSTER_COUNT];
	int16_t stream; /* of the client's frame that waits for an answer */
	enum cluster_id deciding;
	bool client_sent_credentials;
	struct credentials client_credentials;
	struct credentials configured[CLUSTER_COUNT];
	struct writer success; /* the deciding cluster's AUTH_SUCCESS body */
};

static const struct login_handler leg_login_handler;
static const struct server_handler leg_server_handler;

/* ---- refusals ---- */

/* No connection could be made to this node. */
static void note_unreachable(struct handshake_leg *leg, struct server *server)
{
	metric_add(&server->stats->failed_connections, 1);
	cluster_mark_down(&leg->hs->client->worker->proxy->clusters[leg->id], &server->address, DOWN_MS);
}

/* A cluster cannot be had: says which and why. */
static void fail(struct handshake_leg *leg, const char *why)
{
	struct handshake *hs = leg->hs;
	struct client *c = hs->client;
	const char *node = leg->server ? leg->server->name : "";

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

/* ---- STARTUP ---- */

struct startup_request {
	struct handshake *hs;
	struct strview compression;
	struct strview cql_version;
	unsigned count;
};

static bool note_option(void *arg, struct strview key, struct strview value)
{
	struct startup_request *s = arg;

	if (sv_equal(key, SV("COMPRESSION")))
		s->compression = value;
	else
		s->count++;
	if (sv_equal(key, SV("CQL_VERSION")))
		s->cql_version = value;
	return true;
}

static bool copy_option(void *arg, struct strview key, struct strview value)
{
	struct writer *w = arg;

	if (!sv_equal(key, SV("COMPRESSION"))) {
		write_string(w, key);
		write_string(w, value);
	}
	return true;
}

/* The client's options for one cluster: all of them, with the compression of this leg. */
static bool write_options(struct handshake_leg *leg, const struct frame *f, unsigned count)
{
	const bool compress = leg->compression != COMPRESSION_NONE;

	writer_init(&leg->options);
	write_short(&leg->options, (uint16_t)(count + compress));
	if (!message_each_option(f->body, f->length, copy_option, &leg->options))
		return false;
	if (compress) {
		write_cstring(&leg->options, "COMPRESSION");
		write_cstring(&leg->options, cql_compression_name(leg->compression));
	}
	return true;
}

static void leg_connect(struct handshake_leg *leg)
{
	struct client *c = leg->hs->client;
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

static struct handshake *handshake_new(struct client *c, const struct frame *f)
{
	struct handshake *hs = xcalloc(1, sizeof(*hs));

	hs->client = c;
	hs->stream = f->stream;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct handshake_leg *leg = &hs->leg[i];
		const struct cluster_settings *cs = &c->worker->settings->cluster[i];

		leg->hs = hs;
		leg->id = (enum cluster_id)i;
		timeout_item_init(&leg->connect_timeout);
		leg->compression = cluster_compression(&c->worker->proxy->clusters[i],
						       (enum cql_compression)c->compression, c->version);
		credentials_set_text(&hs->configured[i], cs->username, cs->password);
	}
	return hs;
}

/* What STARTUP asks for, checked; false after a refusal. */
static bool accept_compression(struct client *c, const struct frame *f, struct strview name)
{
	enum cql_compression compression = COMPRESSION_NONE;

	if (name.len > 0 && !compression_from_name(name, &compression)) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "unknown compression algorithm '%.*s'; known are lz4 and snappy", (int)MIN(name.len, 64),
			      name.p);
		return false;
	}
	if (version_has(f->version, VERSION_SEGMENTS) && compression == COMPRESSION_SNAPPY) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "protocol v5 has no snappy compression, use lz4");
		return false;
	}
	c->compression = (uint8_t)compression;
	return true;
}

static bool is_served(const struct client *c, uint8_t version)
{
	return version_in(clusters_served_versions(c->worker->proxy->clusters, c->worker->settings), version);
}

static void on_startup(struct client *c, struct frame *f)
{
	struct startup_request s = { .compression = SV("") };

	if (c->state != CLIENT_NEW) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "a second STARTUP on one connection");
		return;
	}
	if (!is_served(c, f->version)) {
		refusal_send(c, f->version);
		return;
	}
	if ((f->flags & FRAME_COMPRESSED) || !message_each_option(f->body, f->length, note_option, &s)) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      f->flags & FRAME_COMPRESSED ? "STARTUP must not be compressed"
							  : "the body of STARTUP cannot be read");
		return;
	}
	if (!accept_compression(c, f, s.compression))
		return;
	client_set_state(c, CLIENT_STARTING);
	c->handshake = handshake_new(c, f);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!write_options(&c->handshake->leg[i], f, s.count)) {
			client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
				      "the body of STARTUP cannot be read");
			return;
		}
	}
	for (unsigned i = 0; i < CLUSTER_COUNT && c->state == CLIENT_STARTING; i++)
		leg_connect(&c->handshake->leg[i]);
}

/* ---- the way to READY ---- */

static struct handshake_leg *other_leg(struct handshake *hs, enum cluster_id id)
{
	return &hs->leg[cluster_id_other(id)];
}

/* Both clusters have accepted: their connections become the client's. */
static void complete(struct handshake *hs, uint8_t opcode)
{
	struct client *c = hs->client;
	struct handshake_leg *secondary = other_leg(hs, c->worker->settings->primary);
	struct writer startup;

	if (hs->client_sent_credentials && !admission_take_user(c, hs->stream, hs->client_credentials.user))
		return;
	startup = secondary->options;
	writer_init(&secondary->options);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct handshake_leg *leg = &hs->leg[i];

		c->server[i] = leg->server;
		c->leg_compression[i] = (uint8_t)leg->compression;
		c->server[i]->handler = &client_server_handler;
		c->server[i]->owner = c;
		leg->server = NULL;
	}
	client_send(c, hs->stream, opcode, 0, hs->success.data, hs->success.len);
	if (opcode == OP_READY)
		client_switch_framing(c);
	client_ready(c);
	handshake_abort(c);
	mirror_open(c, &startup);
	client_go_on(c);
}

/* Both have answered STARTUP. */
static void both_started(struct handshake *hs)
{
	const bool origin = hs->leg[CLUSTER_ORIGIN].step == STEP_WANTS_AUTH;
	const bool target = hs->leg[CLUSTER_TARGET].step == STEP_WANTS_AUTH;
	struct client *c = hs->client;
	struct writer w;

	if (!origin && !target) {
		complete(hs, OP_READY);
		return;
	}
	hs->deciding = origin ? CLUSTER_ORIGIN : CLUSTER_TARGET;
	writer_init(&w);
	write_cstring(&w, hs->leg[hs->deciding].class_name);
	client_send(c, hs->stream, OP_AUTHENTICATE, 0, w.data, w.len);
	writer_free(&w);
	client_switch_framing(c);
	client_set_state(c, CLIENT_AUTH);
	hs->stream = -1;
	client_go_on(c);
}

static void leg_started(struct handshake_leg *leg)
{
	if (other_leg(leg->hs, leg->id)->step >= STEP_WANTS_AUTH)
		both_started(leg->hs);
}

/* Whose credentials a cluster gets: true for the client's. */
static bool gets_client_credentials(const struct handshake *hs, enum cluster_id id)
{
	const struct settings *settings = hs->client->worker->settings;
	const enum credentials_mode mode = settings->cluster[id].credentials;
	const bool both = hs->leg[CLUSTER_ORIGIN].class_name && hs->leg[CLUSTER_TARGET].class_name;

	if (mode != CREDENTIALS_AUTO)
		return mode == CREDENTIALS_CLIENT;
	if (!both)
		return true;
	return (id == CLUSTER_ORIGIN) == settings->forward_client_credentials_to_origin;
}

/* The deciding cluster has accepted: the other one's turn, then the client's. */
static void deciding_accepted(struct handshake *hs)
{
	struct handshake_leg *leg = other_leg(hs, hs->deciding);
	const struct credentials *credentials;

	if (leg->step == STEP_DONE) {
		complete(hs, OP_AUTH_SUCCESS);
		return;
	}
	if (!gets_client_credentials(hs, leg->id)) {
		credentials = &hs->configured[leg->id];
	} else if (hs->client_sent_credentials) {
		credentials = &hs->client_credentials;
	} else {
		client_refuse(
			hs->client, hs->stream, CLOSE_AUTHENTICATION, CQL_ERR_BAD_CREDENTIALS,
			"%s wants the client's user name and password, but the log-in mechanism used with %s carries none",
			cluster_id_name(leg->id), cluster_id_name(hs->deciding));
		return;
	}
	leg->step = STEP_AUTH;
	login_with(&leg->login, credentials);
}

/* The client's token goes to the deciding cluster, as it is or with the configured credentials in its place. */
static void pass_token(struct client *c, int16_t stream, struct bytesview token)
{
	struct handshake *hs = c->handshake;
	struct handshake_leg *leg = &hs->leg[hs->deciding];
	struct sasl_plain plain;

	hs->stream = stream;
	leg->step = STEP_AUTH;
	/* Absent, or the name of a mechanism: there are no credentials in it yet (DSE's first step). */
	if (token.is_null || sv_equal((struct strview){ (const char *)token.p, token.len }, SV("PLAIN"))) {
		login_token(&leg->login, token);
		return;
	}
	if (message_parse_sasl_plain(token, &plain)) {
		hs->client_sent_credentials = true;
		credentials_set(&hs->client_credentials, &plain);
	} else if (!gets_client_credentials(hs, leg->id)) {
		client_refuse(c, stream, CLOSE_AUTHENTICATION, CQL_ERR_BAD_CREDENTIALS,
			      "the log-in must be SASL PLAIN: %s gets configured credentials in place of the client's",
			      cluster_id_name(leg->id));
		return;
	}
	if (gets_client_credentials(hs, leg->id)) {
		login_token(&leg->login, token);
	} else {
		struct writer w;

		writer_init(&w);
		credentials_write_plain(&hs->configured[leg->id], &w);
		login_token(&leg->login, (struct bytesview){ .p = w.data, .len = w.len });
		writer_wipe_free(&w);
	}
}

static void on_auth_response(struct client *c, struct frame *f)
{
	struct bytesview token;
	struct reader r;
	struct plain p;
	const char *why;

	if (c->state != CLIENT_AUTH || c->handshake->stream >= 0) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR, "AUTH_RESPONSE out of turn");
		return;
	}
	if (!plain_open(&p, &c->worker->loop, (enum cql_compression)c->compression, f, HANDSHAKE_MAX_FRAME, &why)) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR, "AUTH_RESPONSE: %s", why);
		return;
	}
	r = reader_over(p.data, p.len);
	token = read_bytes(&r);
	if (reader_ok(&r))
		pass_token(c, f->stream, token);
	else
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "the body of AUTH_RESPONSE cannot be read");
	explicit_bzero(p.data, p.len);
	plain_close(&p);
}

/* ---- what the clusters say ---- */

static void leg_on_open(struct server *server)
{
	struct handshake_leg *leg = server->owner;

	timeout_stop(&leg->connect_timeout);
	cluster_mark_up(&leg->hs->client->worker->proxy->clusters[leg->id], &server->address);
	leg->step = STEP_STARTUP;
	login_init(&leg->login, server, &leg_login_handler);
	login_startup(&leg->login, leg->options.data, leg->options.len, leg->compression);
}

/* Connections that end before they are open; later ones are the login's to report. */
static void leg_on_closed(struct server *server, const char *why)
{
	struct handshake_leg *leg = server->owner;
	struct client *c = leg->hs->client;

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
	struct handshake_leg *leg = container_of(login, struct handshake_leg, login);

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
	struct handshake_leg *leg = container_of(login, struct handshake_leg, login);
	struct handshake *hs = leg->hs;

	if (leg->step != STEP_AUTH) {
		fail(leg, "it sent AUTH_CHALLENGE out of turn");
		return;
	}
	client_send(hs->client, hs->stream, OP_AUTH_CHALLENGE, 0, f->body, f->length);
	hs->stream = -1;
	client_go_on(hs->client);
}

static void leg_on_ready(struct login *login, struct frame *f)
{
	struct handshake_leg *leg = container_of(login, struct handshake_leg, login);
	struct handshake *hs = leg->hs;
	const bool was_startup = leg->step == STEP_STARTUP;

	leg->step = STEP_DONE;
	if (was_startup) {
		leg_started(leg);
		return;
	}
	if (leg->id == hs->deciding) {
		writer_init(&hs->success);
		write_raw(&hs->success, f->body, f->length);
		deciding_accepted(hs);
	} else {
		complete(hs, OP_AUTH_SUCCESS);
	}
}

/* The deciding cluster's refusal is the client's to deal with: it may try again. */
static void deciding_refused(struct handshake_leg *leg, struct frame *f, const struct error_message *error)
{
	struct handshake *hs = leg->hs;
	struct client *c = hs->client;
	const struct settings *settings = c->worker->settings;

	leg->step = STEP_WANTS_AUTH;
	if (settings->profile == PROFILE_ZDM)
		client_send(c, hs->stream, OP_ERROR, f->flags & (uint8_t)~FRAME_COMPRESSED, f->body, f->length);
	else
		client_send_error(c, hs->stream, (enum cql_error_code)error->code, "%.*s (%s, %s)", SV_ARG(error->text),
				  cluster_id_name(leg->id), leg->server->name);
	hs->stream = -1;
	client_go_on(c);
}

static void leg_on_refused(struct login *login, struct frame *f, const struct error_message *error)
{
	struct handshake_leg *leg = container_of(login, struct handshake_leg, login);
	struct handshake *hs = leg->hs;
	struct client *c = hs->client;

	if (!error) {
		fail(leg, "it answered the log-in with an unexpected frame");
		return;
	}
	if (error->code == CQL_ERR_PROTOCOL_ERROR) {
		/* Drivers look for this one on stream 0 when they find out which version to speak. */
		client_refuse(c, 0, CLOSE_HANDSHAKE, CQL_ERR_PROTOCOL_ERROR, "%.*s (%s, %s)", SV_ARG(error->text),
			      cluster_id_name(leg->id), leg->server->name);
		return;
	}
	if (leg->step == STEP_AUTH && leg->id == hs->deciding && error->code == CQL_ERR_BAD_CREDENTIALS) {
		deciding_refused(leg, f, error);
		return;
	}
	client_refuse(c, hs->stream, error->code == CQL_ERR_BAD_CREDENTIALS ? CLOSE_AUTHENTICATION : CLOSE_HANDSHAKE,
		      (enum cql_error_code)error->code, "%.*s (%s, %s)", SV_ARG(error->text), cluster_id_name(leg->id),
		      leg->server->name);
}

static void leg_on_lost(struct login *login, const char *why)
{
	fail(container_of(login, struct handshake_leg, login), why);
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

void handshake_connect_timed_out(struct timeout_item *item)
{
	struct handshake_leg *leg = container_of(item, struct handshake_leg, connect_timeout);
	struct server *server = leg->server;

	server_close(server, "connect time-out");
	leg_on_closed(server, "no connection within connection_timeout");
}

/* ---- the client's frames ---- */

void handshake_on_frame(struct client *c, struct frame *f)
{
	if (unlikely(c->refused_version) ||
	    (c->state == CLIENT_NEW && version_in(c->worker->settings->blocked_versions, f->version))) {
		refusal_repeat(c, f->version);
		return;
	}
	if (c->version && f->version != c->version) {
		refusal_send(c, f->version);
		return;
	}
	/* Here -1 says that no answer is due, so that a frame on it would never be the one that is answered. */
	if (f->stream < 0) {
		c->version = f->version;
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR, "negative stream id: %d",
			      f->stream);
		return;
	}
	if (c->handshake && c->handshake->stream >= 0) {
		client_hold(c, f);
		return;
	}
	if (f->opcode != OP_OPTIONS)
		c->version = f->version;
	/* Inside segments the flag means nothing. */
	if (c->wire.in_framing != WIRE_PLAIN)
		f->flags &= (uint8_t)~FRAME_COMPRESSED;
	switch (f->opcode) {
	case OP_OPTIONS:
		if (!is_served(c, f->version))
			refusal_send(c, f->version);
		else
			supported_send(c, f->stream, f->version);
		return;
	case OP_STARTUP:
		on_startup(c, f);
		return;
	case OP_AUTH_RESPONSE:
		on_auth_response(c, f);
		return;
	default:
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "%s before the connection is ready: STARTUP%s must come first",
			      cql_opcode_name(f->opcode), c->state == CLIENT_NEW ? "" : " and log-in");
		return;
	}
}

void handshake_on_timeout(struct client *c)
{
	struct handshake *hs = c->handshake;
	const uint32_t ms = c->worker->settings->handshake_timeout_ms;

	if (!hs || hs->stream < 0) {
		client_close(c, CLOSE_TIMEOUT, "not ready within %u ms", ms);
		return;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct handshake_leg *leg = &hs->leg[i];

		if (leg->step == STEP_CONNECTING && leg->server) {
			note_unreachable(leg, leg->server);
			metric_add(&c->worker->metrics.failed_connections[i], 1);
		}
		/* One that wants a log-in waits for us, or for the other cluster. */
		if (leg->step != STEP_DONE && leg->step != STEP_WANTS_AUTH) {
			client_refuse(c, hs->stream, CLOSE_TIMEOUT, CQL_ERR_SERVER_ERROR,
				      "%s%s%s has not finished the log-in within %u ms", cluster_id_name(leg->id),
				      leg->server ? " at " : "", leg->server ? leg->server->name : "", ms);
			return;
		}
	}
	client_close(c, CLOSE_TIMEOUT, "not ready within %u ms", ms);
}

void handshake_on_shutdown(struct client *c)
{
	if (c->handshake && c->handshake->stream >= 0)
		client_refuse(c, c->handshake->stream, CLOSE_SHUTDOWN, CQL_ERR_OVERLOADED,
			      "Shutting down, please retry on next host.");
	else
		client_close(c, CLOSE_SHUTDOWN, "the proxy stops");
}

void handshake_abort(struct client *c)
{
	struct handshake *hs = c->handshake;

	if (!hs)
		return;
	c->handshake = NULL;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct handshake_leg *leg = &hs->leg[i];

		timeout_stop(&leg->connect_timeout);
		if (leg->server) {
			login_abandon(&leg->login);
			server_detach(leg->server);
			server_close(leg->server, "the client has gone");
			metric_sub(&c->worker->metrics.server_connections[i], 1);
		}
		/* What this cluster accepted may be needed to repair a statement there. */
		if (c->state == CLIENT_READY && leg->class_name)
			credentials_copy(&c->credentials[i], gets_client_credentials(hs, leg->id)
								     ? &hs->client_credentials
								     : &hs->configured[i]);
		c->login_is_opaque[i] = leg->class_name && !c->credentials[i].user;
		writer_free(&leg->options);
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		free(hs->leg[i].class_name);
		credentials_wipe(&hs->configured[i]);
	}
	writer_free(&hs->success);
	credentials_wipe(&hs->client_credentials);
	free(hs);
}
