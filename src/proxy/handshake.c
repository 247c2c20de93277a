/* handshake.c - see handshake.h */
#include "proxy/handshake.h"

#include <string.h>

#include "base/log.h"
#include "cql/message.h"
#include "proxy/handshake_dedicated.h"
#include "proxy/handshake_pooled.h"
#include "proxy/plain.h"
#include "proxy/refusal.h"
#include "proxy/supported.h"

/* ---- what both ways have in common ---- */

void handshake_init(struct handshake *hs, const struct handshake_way *way, struct client *c, struct startup *startup,
		    int16_t stream)
{
	*hs = (struct handshake){ .client = c, .way = way, .stream = stream };
	startup_move(&hs->startup, startup);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct cluster_settings *cs = &c->worker->settings->cluster[i];

		credentials_set_text(&hs->configured[i], cs->username, cs->password);
	}
	c->handshake = hs;
}

void handshake_fini(struct handshake *hs)
{
	startup_free(&hs->startup);
	credentials_wipe(&hs->client_credentials);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		credentials_wipe(&hs->configured[i]);
}

static bool gets_clients(const struct settings *settings, enum cluster_id id, bool both_want_login)
{
	const enum credentials_mode mode = settings->cluster[id].credentials;

	if (mode != CREDENTIALS_AUTO)
		return mode == CREDENTIALS_CLIENT;
	return !both_want_login || (id == CLUSTER_ORIGIN) == settings->forward_client_credentials_to_origin;
}

bool handshake_gets_client_credentials(const struct handshake *hs, enum cluster_id id)
{
	return gets_clients(hs->client->worker->settings, id,
			    hs->wants_login[CLUSTER_ORIGIN] && hs->wants_login[CLUSTER_TARGET]);
}

void handshake_say_whose_credentials(const struct settings *settings, struct cluster *clusters)
{
	bool wants[CLUSTER_COUNT];
	bool is_any_checked = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct topology *t = cluster_topology(&clusters[i]);

		wants[i] = t && t->requires_auth;
		if (t)
			topology_unref(t);
		is_any_checked |= settings->cluster[i].credentials != CREDENTIALS_CONFIGURED;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const char *user = settings->cluster[i].username;

		if (wants[i] && !gets_clients(settings, (enum cluster_id)i, wants[0] && wants[1]))
			log_info("%s gets the configured user %s for every client: all users share that role there",
				 cluster_id_name((enum cluster_id)i), user ? user : "\"\"");
	}
	if (!is_any_checked)
		log_warn("credentials = configured on both clusters: no client's password is checked by anybody");
}

void handshake_answered(struct handshake *hs)
{
	hs->stream = -1;
	client_go_on(hs->client);
}

void handshake_send_authenticate(struct handshake *hs, const char *class_name)
{
	struct client *c = hs->client;
	struct writer w;

	writer_init(&w);
	write_cstring(&w, class_name);
	client_send(c, hs->stream, OP_AUTHENTICATE, 0, w.data, w.len);
	writer_free(&w);
	client_switch_framing(c);
	client_set_state(c, CLIENT_AUTH);
	handshake_answered(hs);
}

/* ---- the client's frames ---- */

static bool is_served(const struct client *c, uint8_t version)
{
	return version_in(clusters_served_versions(c->worker->proxy->clusters, c->worker->settings), version);
}

static void on_startup(struct client *c, struct frame *f)
{
	struct startup startup;

	if (c->state != CLIENT_NEW) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "a second STARTUP on one connection");
		return;
	}
	if (!is_served(c, f->version)) {
		refusal_send(c, f->version);
		return;
	}
	if (!startup_read(&startup, c, f))
		return;
	c->compression = startup.compression;
	client_set_state(c, CLIENT_STARTING);
	if (c->worker->settings->backend_connections == BACKEND_POOLED && !startup.is_peculiar)
		handshake_pooled_start(c, &startup, f->stream);
	else
		handshake_dedicated_start(c, &startup, f->stream);
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
	if (reader_ok(&r)) {
		c->handshake->stream = f->stream;
		c->handshake->way->on_token(c->handshake, token);
	} else {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "the body of AUTH_RESPONSE cannot be read");
	}
	explicit_bzero(p.data, p.len);
	plain_close(&p);
}

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

	if (hs && hs->stream >= 0)
		hs->way->on_timeout(hs);
	else
		client_close(c, CLOSE_TIMEOUT, "not ready within %u ms", c->worker->settings->handshake_timeout_ms);
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
	hs->way->drop(hs);
}
