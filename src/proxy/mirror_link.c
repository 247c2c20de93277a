/* mirror_link.c - see mirror_link.h */
#include "proxy/mirror_link.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "proxy/connect.h"
#include "proxy/hooks.h"
#include "proxy/mirror.h"
#include "proxy/policy.h"
#include "proxy/pool.h"
#include "proxy/rules.h"

/* After a failure a client's reads make no further connection for so long. */
#define PAUSE_MS 2000

static const struct login_handler mirror_login_handler;
static const struct server_handler mirror_server_handler;

/* ---- its end ---- */

static void end(struct mirror *m, const char *why)
{
	m->client->mirror[m->server->cluster] = NULL;
	timeout_stop(&m->timeout);
	mirror_drop_copies(m);
	login_abandon(&m->login);
	server_detach(m->server);
	server_close(m->server, why);
	writer_free(&m->startup);
	free(m->refused_keyspace);
	free(m);
}

void mirror_link_close(struct client *c)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (c->mirror[i])
			end(c->mirror[i], "the client has gone");
	}
}

static void pause_links(struct client *c)
{
	c->mirrors_paused_until_ns = loop_now(&c->worker->loop) + ms_to_ns(PAUSE_MS);
}

static void log_failure(const struct client *c, enum cluster_id cluster, const char *node, bool was_ready,
			const char *why)
{
	log_limited(LOG_WARN, "client %s #%llu: its reads are not mirrored to %s at %s%s: %s", c->name,
		    (unsigned long long)c->number, cluster_id_name(cluster), node, was_ready ? " any more" : "", why);
}

void mirror_link_give_up(struct mirror *m, const char *why)
{
	struct client *c = m->client;

	log_failure(c, m->server->cluster, m->server->name, m->is_ready, why);
	if (!m->is_ready)
		metric_add(&m->stats->failed_connections, 1);
	pause_links(c);
	end(m, why);
}

/* ---- its beginning ---- */

/* The node of the client's own connection; with shared ones any. False when none is known. */
static bool choose_node(const struct client *c, enum cluster_id cluster, struct net_address *out)
{
	if (client_is_pooled(c))
		return cluster_pick_host(&c->worker->proxy->clusters[cluster], out);
	if (!c->server[cluster])
		return false;
	*out = c->server[cluster]->address;
	return true;
}

/* Takes over `startup`. NULL when not even a socket could be made, which has been logged. */
static struct mirror *begin(struct client *c, enum cluster_id cluster, struct writer *startup)
{
	struct worker *worker = c->worker;
	struct net_address node;
	char name[NET_TEXT_MAX];
	struct mirror *m;
	const char *why;

	if (!choose_node(c, cluster, &node)) {
		writer_free(startup);
		return NULL;
	}
	m = xcalloc(1, sizeof(*m));
	m->client = c;
	m->server = connect_open_mirror(worker, cluster, &node, c->version, &mirror_server_handler, m, &why);
	if (!m->server) {
		log_failure(c, cluster, net_format(&node, name), false, why);
		writer_free(startup);
		free(m);
		return NULL;
	}
	m->stats = m->server->stats;
	m->startup = *startup;
	writer_init(startup);
	list_init(&m->sent);
	list_init(&m->held);
	timeout_item_init(&m->timeout);
	timeout_start(&worker->loop, &worker->mirror_login_timeouts, &m->timeout);
	c->mirror[cluster] = m;
	return m;
}

void mirror_link_open(struct client *c, struct writer *startup)
{
	const struct settings *s = c->worker->settings;

	if (s->read_mode == READ_DUAL_ASYNC_ON_SECONDARY && c->state == CLIENT_READY)
		(void)begin(c, cluster_id_other(s->primary), startup);
	else
		writer_free(startup);
}

struct mirror *mirror_link_for_route(struct client *c, enum cluster_id cluster)
{
	struct mirror *m = c->mirror[cluster];
	struct writer startup;

	if (likely(m != NULL))
		return m;
	if (c->state != CLIENT_READY || loop_now(&c->worker->loop) < c->mirrors_paused_until_ns ||
	    client_login_is_opaque(c, cluster))
		return NULL;
	writer_init(&startup);
	login_write_startup(&startup, client_leg_compression(c, cluster), false);
	m = begin(c, cluster, &startup);
	if (m)
		m->is_for_routes = true;
	else
		pause_links(c);
	return m;
}

/* ---- other settings ---- */

struct startup_copy {
	struct writer *to;
	uint16_t count;
};

static bool copy_startup_option(void *arg, struct strview key, struct strview value)
{
	struct startup_copy *copy = arg;

	if (!sv_equal(key, SV("COMPRESSION"))) {
		write_string(copy->to, key);
		write_string(copy->to, value);
		copy->count++;
	}
	return true;
}

/* The body of STARTUP for another cluster: the same options, with the compression of the client's leg there. */
static void write_startup(const struct mirror *m, enum cluster_id cluster, struct writer *w)
{
	const enum cql_compression compression = client_leg_compression(m->client, cluster);
	struct startup_copy copy = { .to = w };

	write_short(w, 0);
	(void)!message_each_option(m->startup.data, m->startup.len, copy_startup_option, &copy);
	if (compression != COMPRESSION_NONE) {
		write_cstring(w, "COMPRESSION");
		write_cstring(w, cql_compression_name(compression));
		copy.count++;
	}
	put_u16(w->data, copy.count);
}

static bool routes_mirror(const struct worker *worker)
{
	const struct policy_engine *engine = policy_cache_engine(worker->policy);
	const struct hooks *hooks = worker->hooks;

	return rules_mirror(&worker->settings->rules) || (engine && engine->may_mirror) || (hooks && hooks->may_route);
}

static bool is_wanted(const struct mirror *m)
{
	const struct worker *worker = m->client->worker;
	const struct settings *s = worker->settings;

	if (s->read_mode == READ_DUAL_ASYNC_ON_SECONDARY && m->server->cluster != s->primary)
		return true;
	return m->is_for_routes && routes_mirror(worker);
}

void mirror_link_follow(struct client *c)
{
	const struct settings *s = c->worker->settings;
	const enum cluster_id secondary = cluster_id_other(s->primary);
	struct writer startup;
	bool is_replaced = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct mirror *m = c->mirror[i];

		if (likely(!m) || is_wanted(m))
			continue;
		if (!m->is_for_routes && !is_replaced) {
			writer_init(&startup);
			write_startup(m, secondary, &startup);
			is_replaced = true;
		}
		end(m, "reads go to this cluster now, or are not mirrored any more");
	}
	if (likely(!is_replaced))
		return;
	if (c->mirror[secondary])
		writer_free(&startup);
	else
		mirror_link_open(c, &startup);
}

void mirror_link_keep_alive(const struct client *c, uint64_t interval_ns)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (c->mirror[i] && c->mirror[i]->is_ready)
			server_keep_alive(c->mirror[i]->server, interval_ns);
	}
}

/* ---- its log-in ---- */

void mirror_link_on_timeout(struct timeout_item *item)
{
	struct mirror *m = container_of(item, struct mirror, timeout);
	char text[80];

	snprintf(text, sizeof(text), "not ready within %u ms", m->client->worker->settings->async_handshake_timeout_ms);
	mirror_link_give_up(m, text);
}

static void mirror_on_open(struct server *server)
{
	struct mirror *m = server->owner;

	login_init(&m->login, server, &mirror_login_handler);
	login_startup(&m->login, m->startup.data, m->startup.len, client_leg_compression(m->client, server->cluster));
}

static void mirror_on_closed(struct server *server, const char *why)
{
	mirror_link_give_up(server->owner, why);
}

static const struct server_handler mirror_server_handler = {
	.on_open = mirror_on_open,
	.on_closed = mirror_on_closed,
};

static void login_on_authenticate(struct login *login, struct strview class_name)
{
	struct mirror *m = container_of(login, struct mirror, login);
	const struct client *c = m->client;
	const struct credentials *credentials = client_credentials(c, (enum cluster_id)m->server->cluster);

	(void)class_name;
	if (credentials->user)
		login_with(login, credentials);
	else
		mirror_link_give_up(m, "the client's log-in cannot be repeated");
}

static void login_on_challenge(struct login *login, struct frame *f)
{
	(void)f;
	mirror_link_give_up(container_of(login, struct mirror, login),
			    "its authenticator asks for something else than PLAIN");
}

static void login_on_ready(struct login *login, struct frame *f)
{
	struct mirror *m = container_of(login, struct mirror, login);
	const struct client *c = m->client;

	(void)f;
	timeout_stop(&m->timeout);
	m->is_ready = true;
	log_debug("client %s #%llu: its reads are mirrored to %s at %s", c->name, (unsigned long long)c->number,
		  cluster_id_name(m->server->cluster), m->server->name);
	mirror_advance(m);
}

static void login_on_refused(struct login *login, struct frame *f, const struct error_message *error)
{
	char text[200];

	(void)f;
	snprintf(text, sizeof(text), "log-in refused: %.*s", error ? (int)MIN(error->text.len, 150) : 0,
		 error ? error->text.p : "");
	mirror_link_give_up(container_of(login, struct mirror, login), text);
}

static void login_on_lost(struct login *login, const char *why)
{
	char text[200];

	snprintf(text, sizeof(text), "%s", why); /* it may die with the connection */
	mirror_link_give_up(container_of(login, struct mirror, login), text);
}

static const struct login_handler mirror_login_handler = {
	.on_authenticate = login_on_authenticate,
	.on_challenge = login_on_challenge,
	.on_ready = login_on_ready,
	.on_refused = login_on_refused,
	.on_lost = login_on_lost,
};
