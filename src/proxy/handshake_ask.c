/* handshake_ask.c - see handshake_ask.h */
#include "proxy/handshake_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"

enum moment {
	AT_STARTUP,
	AT_TOKEN,
	MOMENTS,
};

/* ---- what was said ---- */

static void decision_wipe(struct handshake_decision *d)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		credentials_wipe(&d->set[i]);
	free(d->name);
	*d = (struct handshake_decision){ .name = NULL };
}

static enum moment moment_of(const struct handshake_ask *ask)
{
	return ask->login.is_startup ? AT_STARTUP : AT_TOKEN;
}

/* Nobody objects: what was set is in force. */
static void keep(struct handshake_ask *ask)
{
	const enum moment moment = moment_of(ask);
	struct handshake_decision *d = &ask->said[moment];

	ask->is_decided[moment] = ask->login.is_decided;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		d->is_set[i] = ask->login.is_set[i];
		d->set[i] = ask->login.set[i];
		ask->login.set[i] = (struct credentials){ .user = NULL };
	}
	d->name = ask->login.name;
	ask->login.name = NULL;
	ask->asks |= ask->login.asks;
}

const struct credentials *handshake_ask_set(const struct handshake *hs, enum cluster_id id)
{
	for (unsigned i = MOMENTS; hs->ask && i-- > 0;) {
		if (hs->ask->said[i].is_set[id])
			return &hs->ask->said[i].set[id];
	}
	return NULL;
}

bool handshake_ask_is_enough(const struct handshake *hs)
{
	if (!hs->ask || !(hs->ask->is_decided[AT_STARTUP] || hs->ask->is_decided[AT_TOKEN]))
		return false;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const enum cluster_id id = (enum cluster_id)i;

		if (hs->wants_login[i] && !handshake_ask_set(hs, id) && handshake_gets_client_credentials(hs, id))
			return false;
	}
	return true;
}

const char *handshake_ask_name(const struct handshake *hs)
{
	for (unsigned i = MOMENTS; hs->ask && i-- > 0;) {
		if (hs->ask->said[i].name)
			return hs->ask->said[i].name;
	}
	return NULL;
}

void handshake_ask_hide(const struct handshake *hs, enum cluster_id id, char *text, size_t size)
{
	const struct client *c = hs->client;

	if (likely(!handshake_ask_set(hs, id)) || handshake_proves(hs, id))
		return;
	log_limited(LOG_WARN, "client %s #%llu: the log-in that a plugin has set was refused: %s", c->name,
		    (unsigned long long)c->number, text);
	snprintf(text, size, "%s has refused the log-in that was set for this client", cluster_id_name(id));
}

/* ---- asking ---- */

void handshake_ask_free(struct handshake_ask *ask)
{
	if (!ask)
		return;
	hold_drop(ask->hs->client->worker, ask->hold.ticket);
	hooks_login_wipe(&ask->login);
	for (unsigned i = 0; i < MOMENTS; i++)
		decision_wipe(&ask->said[i]);
	secret_free(ask->token);
	free(ask);
}

bool handshake_ask_is_held(const struct handshake *hs)
{
	return hs->ask && hs->ask->hold.ticket != 0;
}

/* Before a call, but not before one that goes on. */
static void prepare(struct handshake_ask *ask, enum moment moment)
{
	const struct handshake *hs = ask->hs;

	decision_wipe(&ask->said[moment]);
	ask->is_decided[moment] = false;
	ask->call = (struct hooks_call){ .ticket = 0 };
	ask->login = (struct hooks_login){ .is_startup = moment == AT_STARTUP };
	if (hs->has_client_credentials) {
		ask->login.user = sv_from(hs->client_credentials.user);
		ask->login.password = sv_from(hs->client_credentials.password);
	} else if (moment == AT_TOKEN) {
		ask->login.user = SV("");
		ask->login.password = SV("");
	}
	memcpy(ask->login.wants, hs->wants_login, sizeof(ask->login.wants));
}

static void deny(struct handshake_ask *ask)
{
	struct handshake *hs = ask->hs;
	const struct policy_denial *denial = &ask->call.denial;

	hooks_login_wipe(&ask->login);
	log_limited(LOG_WARN, "client %s #%llu: log-in denied by plugin %s: %s", hs->client->name,
		    (unsigned long long)hs->client->number, ask->call.by, denial->text);
	if (hs->client->state == CLIENT_AUTH && denial->code == CQL_ERR_BAD_CREDENTIALS) {
		handshake_refuse_again(hs, HOOKS_LOGIN_DENIED, CLUSTER_COUNT, denial->text);
		return;
	}
	handshake_blame(hs, HOOKS_LOGIN_DENIED, CLUSTER_COUNT);
	client_refuse(hs->client, hs->stream, CLOSE_DENIED, denial->code, "%s", denial->text);
}

static void on_hold_end(struct hold *hold, enum hold_end how);

/* After DENIED the handshake may be gone, or be about the driver's next token. */
static enum hooks_result ask_plugins(struct handshake_ask *ask)
{
	struct client *c = ask->hs->client;
	struct hooks *hooks = c->worker->hooks;
	const enum hooks_result result = hooks->ops->credentials(hooks, c, &ask->login, &ask->call);

	switch (result) {
	case HOOKS_GO_ON:
		keep(ask);
		break;
	case HOOKS_DENIED:
		deny(ask);
		break;
	case HOOKS_HELD:
		ask->hold.on_end = on_hold_end;
		hold_bind(c->worker, &ask->hold, ask->call.ticket);
		break;
	}
	return result;
}

/* ---- STARTUP ---- */

/* The handshake while nothing else waits than the plugins' answer: no token can come, and a time-out is about the hold. */
static void pending_drop(struct handshake *hs)
{
	handshake_fini(hs);
	free(hs);
}

static const struct handshake_way pending_way = {
	.drop = pending_drop,
};

/* As far as is known: a cluster that was not reached yet wants what the other one does. */
static void look_at_clusters(struct handshake *hs)
{
	struct topology *t[CLUSTER_COUNT];
	bool is_any = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		t[i] = cluster_topology(&hs->client->worker->proxy->clusters[i]);
		is_any |= t[i] && t[i]->requires_auth;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		hs->wants_login[i] = t[i] ? t[i]->requires_auth : is_any;
		if (t[i])
			topology_unref(t[i]);
	}
}

static void startup_allowed(struct handshake *hs)
{
	const int16_t stream = hs->stream;
	struct startup startup;

	startup_move(&startup, &hs->startup);
	handshake_start(hs->client, &startup, stream); /* the end of hs: the new one has taken over what was said */
}

void handshake_ask_startup(struct client *c, struct startup *startup, int16_t stream)
{
	struct handshake *hs = xcalloc(1, sizeof(*hs));

	handshake_init(hs, &pending_way, c, startup, stream);
	hs->ask = xcalloc(1, sizeof(*hs->ask));
	hs->ask->hs = hs;
	look_at_clusters(hs);
	prepare(hs->ask, AT_STARTUP);
	if (ask_plugins(hs->ask) == HOOKS_GO_ON)
		startup_allowed(hs);
}

/* ---- tokens ---- */

static void token_allowed(struct handshake *hs, struct bytesview token)
{
	const bool is_any_wanted = hs->wants_login[CLUSTER_ORIGIN] || hs->wants_login[CLUSTER_TARGET];

	/* No role has such a name, and a plugin could take it for the first step, in which nobody is named. */
	if (hs->has_client_credentials && !*hs->client_credentials.user && !hs->ask->is_decided[AT_TOKEN]) {
		handshake_refuse_again(hs, HOOKS_LOGIN_FAILED, CLUSTER_COUNT, "the log-in names no user");
		return;
	}
	/* Here it is for plugins to say who this is; those that pass on a password have seen one. */
	if (!is_any_wanted && !hs->has_client_credentials && !handshake_ask_is_enough(hs)) {
		handshake_refuse_again(hs, HOOKS_LOGIN_FAILED, CLUSTER_COUNT, "the log-in must be SASL PLAIN");
		return;
	}
	hs->way->on_token(hs, token);
}

static void hold_token(struct handshake_ask *ask, struct bytesview token)
{
	ask->has_token = !token.is_null;
	ask->token_len = token.is_null ? 0 : token.len;
	ask->token = secret_alloc(MAX(ask->token_len, 1u));
	if (ask->token_len > 0)
		memcpy(ask->token, token.p, token.len);
}

void handshake_ask_token(struct handshake *hs, struct bytesview token)
{
	struct handshake_ask *ask = hs->ask;

	prepare(ask, AT_TOKEN);
	switch (ask_plugins(ask)) {
	case HOOKS_GO_ON:
		token_allowed(hs, token);
		return;
	case HOOKS_DENIED:
		return;
	case HOOKS_HELD:
		hold_token(ask, token);
		return;
	}
}

/* ---- what was held ---- */

/* With the token out of `ask`, which may end meanwhile, or be about another one. */
static void token_again(struct handshake_ask *ask)
{
	struct handshake *hs = ask->hs;
	uint8_t *p = ask->token;
	const struct bytesview token = { .p = p, .len = ask->token_len, .is_null = !ask->has_token };

	ask->token = NULL;
	switch (ask_plugins(ask)) {
	case HOOKS_GO_ON:
		token_allowed(hs, token);
		break;
	case HOOKS_DENIED:
		break;
	case HOOKS_HELD:
		ask->token = p;
		return;
	}
	secret_free(p);
}

static void on_hold_end(struct hold *hold, enum hold_end how)
{
	struct handshake_ask *ask = container_of(hold, struct handshake_ask, hold);
	struct handshake *hs = ask->hs;

	ask->call.is_timed_out = how == HOLD_TIMED_OUT;
	if (!ask->login.is_startup)
		token_again(ask);
	else if (ask_plugins(ask) == HOOKS_GO_ON)
		startup_allowed(hs);
}
