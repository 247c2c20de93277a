/* handshake.c - see handshake.h */
#include "proxy/handshake.h"

#include <string.h>

#include "base/log.h"
#include "cql/message.h"
#include "proxy/admission.h"
#include "proxy/client_hooks.h"
#include "proxy/handshake_ask.h"
#include "proxy/handshake_dedicated.h"
#include "proxy/handshake_pooled.h"
#include "proxy/plain.h"
#include "proxy/refusal.h"
#include "proxy/supported.h"

/* ---- what both ways have in common ---- */

void handshake_init(struct handshake *hs, const struct handshake_way *way, struct client *c, struct startup *startup,
		    int16_t stream)
{
	struct handshake *before = c->handshake;

	*hs = (struct handshake){ .client = c, .way = way, .stream = stream };
	handshake_blame(hs, HOOKS_LOGIN_FAILED, CLUSTER_COUNT);
	hs->started_ns = before ? before->started_ns : loop_now(&c->worker->loop);
	startup_move(&hs->startup, startup);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct cluster_settings *cs = &c->worker->settings->cluster[i];

		credentials_set_text(&hs->configured[i], cs->username, cs->password);
	}
	c->handshake = hs;
	if (!before)
		return;
	hs->ask = before->ask;
	before->ask = NULL;
	if (hs->ask)
		hs->ask->hs = hs;
	before->way->drop(before);
}

void handshake_fini(struct handshake *hs)
{
	handshake_ask_free(hs->ask);
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

const struct credentials *handshake_credentials(const struct handshake *hs, enum cluster_id id)
{
	const struct credentials *set = handshake_ask_set(hs, id);

	if (unlikely(set != NULL))
		return set;
	return handshake_gets_client_credentials(hs, id) ? &hs->client_credentials : &hs->configured[id];
}

bool handshake_proves(const struct handshake *hs, enum cluster_id id)
{
	const struct credentials *set = handshake_ask_set(hs, id);

	if (likely(!set))
		return handshake_gets_client_credentials(hs, id);
	return hs->has_client_credentials && credentials_equal(set, &hs->client_credentials);
}

bool handshake_needs_dialogue(const struct handshake *hs)
{
	if (hs->ask && hs->ask->asks)
		return true;
	return (hs->wants_login[CLUSTER_ORIGIN] || hs->wants_login[CLUSTER_TARGET]) && !handshake_ask_is_enough(hs);
}

bool handshake_take_user(struct handshake *hs)
{
	const char *name = handshake_ask_name(hs);

	if (!name && hs->has_client_credentials)
		name = hs->client_credentials.user;
	return !name || admission_take_user(hs->client, hs->stream, name);
}

void handshake_say_whose_credentials(const struct settings *settings, struct proxy *proxy)
{
	const struct hooks *hooks = proxy->worker_count > 0 ? proxy->workers[0].hooks : NULL;
	const bool has_plugins = hooks && hooks->has_credentials;
	bool wants[CLUSTER_COUNT];
	bool is_any_checked = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct topology *t = cluster_topology(&proxy->clusters[i]);

		wants[i] = t && t->requires_auth;
		if (t)
			topology_unref(t);
		is_any_checked |= settings->cluster[i].credentials != CREDENTIALS_CONFIGURED;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const char *user = settings->cluster[i].username;

		if (wants[i] && !gets_clients(settings, (enum cluster_id)i, wants[0] && wants[1]))
			log_info("%s gets the configured user %s for every client%s: all users share that role there",
				 cluster_id_name((enum cluster_id)i), user ? user : "\"\"",
				 has_plugins ? " for which no plugin sets another" : "");
	}
	if (!is_any_checked && !has_plugins)
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

	hs->is_dse = login_is_dse(sv_from(class_name));
	writer_init(&w);
	write_cstring(&w, class_name);
	client_send(c, hs->stream, OP_AUTHENTICATE, 0, w.data, w.len);
	writer_free(&w);
	client_switch_framing(c);
	client_set_state(c, CLIENT_AUTH);
	handshake_answered(hs);
}

/* ---- what plugins are told ---- */

void handshake_tell(struct handshake *hs, enum hooks_login_outcome outcome, unsigned cluster, uint32_t code,
		    const char *text)
{
	struct client *c = hs->client;
	struct hooks *hooks = c->worker->hooks;
	const struct hooks_login_result result = {
		.outcome = outcome,
		.cluster = cluster,
		.error_code = code,
		.duration_ns = loop_now(&c->worker->loop) - hs->started_ns,
		.user = sv_from(hs->has_client_credentials ? hs->client_credentials.user : ""),
		.error = sv_from(text),
	};

	if (hooks && hooks->has_login)
		hooks->ops->login(hooks, c, &result);
}

enum hooks_login_outcome handshake_outcome(const struct handshake *hs, enum cluster_id id, uint32_t code)
{
	if (code == CQL_ERR_BAD_CREDENTIALS && !handshake_ask_set(hs, id) && !handshake_gets_client_credentials(hs, id))
		return HOOKS_LOGIN_FAILED;
	return HOOKS_LOGIN_REFUSED;
}

void handshake_blame(struct handshake *hs, enum hooks_login_outcome outcome, unsigned cluster)
{
	hs->outcome = outcome;
	hs->blamed = cluster;
}

void handshake_refused(struct client *c, uint32_t code, const char *text)
{
	handshake_tell(c->handshake, c->handshake->outcome, c->handshake->blamed, code, text);
}

void handshake_refuse_again(struct handshake *hs, enum hooks_login_outcome outcome, unsigned cluster, const char *text)
{
	struct client *c = hs->client;

	log_limited(LOG_WARN, "client %s #%llu: log-in refused: %s", c->name, (unsigned long long)c->number, text);
	client_send_error(c, hs->stream, CQL_ERR_BAD_CREDENTIALS, "%s", text);
	handshake_tell(hs, outcome, cluster, CQL_ERR_BAD_CREDENTIALS, text);
	hs->is_challenged = false;
	handshake_answered(hs);
}

/* ---- tokens ---- */

static bool is_text(struct bytesview token, const char *text)
{
	return !token.is_null && sv_equal((struct strview){ (const char *)token.p, token.len }, sv_from(text));
}

/*
 * RFC 4616: three texts in UTF-8. Tokens of other mechanisms are binary and may
 * hold as many zero bytes; they have to reach the cluster as they are.
 */
static bool is_utf8(struct bytesview token)
{
	unsigned following = 0;

	for (uint32_t i = 0; i < token.len; i++) {
		const uint8_t byte = token.p[i];

		if (following > 0) {
			if ((byte & 0xc0) != 0x80)
				return false;
			following--;
		} else if (byte >= 0x80) {
			if (byte < 0xc2 || byte > 0xf4)
				return false;
			following = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
		}
	}
	return following == 0;
}

/* Else the mechanism is the cluster's affair, even where it is PLAIN. */
static bool plays_mechanism(const struct handshake *hs)
{
	return hs->way->is_shared || hs->ask;
}

void handshake_read_token(struct handshake *hs, struct bytesview token)
{
	struct sasl_plain plain;

	hs->has_client_credentials = !token.is_null && message_parse_sasl_plain(token, &plain) &&
				     (!plays_mechanism(hs) || is_utf8(token));
	if (hs->has_client_credentials)
		credentials_set(&hs->client_credentials, &plain);
	else
		credentials_wipe(&hs->client_credentials);
}

static void challenge(struct handshake *hs)
{
	struct writer w;

	hs->is_challenged = true;
	writer_init(&w);
	write_bytes(&w, "PLAIN-START", 11);
	client_send(hs->client, hs->stream, OP_AUTH_CHALLENGE, 0, w.data, w.len);
	writer_free(&w);
	handshake_answered(hs);
}

static void on_token(struct handshake *hs, struct bytesview token)
{
	if (hs->is_dse && !hs->is_challenged && plays_mechanism(hs) && is_text(token, "PLAIN")) {
		challenge(hs);
		return;
	}
	handshake_read_token(hs, token);
	if (hs->is_challenged && !hs->has_client_credentials)
		handshake_refuse_again(hs, HOOKS_LOGIN_FAILED, CLUSTER_COUNT,
				       "what followed PLAIN-START is not SASL PLAIN");
	else if (hs->ask)
		handshake_ask_token(hs, token);
	else
		hs->way->on_token(hs, token);
}

/* ---- the client's frames ---- */

static bool is_served(const struct client *c, uint8_t version)
{
	return version_in(clusters_served_versions(c->worker->proxy->clusters, c->worker->settings), version);
}

void handshake_start(struct client *c, struct startup *startup, int16_t stream)
{
	if (c->worker->settings->backend_connections == BACKEND_POOLED && !startup->is_peculiar)
		handshake_pooled_start(c, startup, stream);
	else
		handshake_dedicated_start(c, startup, stream);
}

static void on_startup(struct client *c, struct frame *f)
{
	const struct hooks *hooks = c->worker->hooks;
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
	if (hooks && hooks->has_credentials)
		handshake_ask_startup(c, &startup, f->stream);
	else
		handshake_start(c, &startup, f->stream);
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
		on_token(c->handshake, token);
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

	if (client_hooks_on_timeout(c))
		return;
	if (hs && handshake_ask_is_held(hs))
		client_refuse(c, hs->stream, CLOSE_TIMEOUT, CQL_ERR_SERVER_ERROR,
			      "plugin %s has not decided about the log-in within %u ms", hs->ask->call.by,
			      c->worker->settings->handshake_timeout_ms);
	else if (hs && hs->stream >= 0)
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
