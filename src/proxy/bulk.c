/* bulk.c - see bulk.h */
#include "proxy/bulk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/extra.h"
#include "proxy/failure.h"
#include "proxy/reply.h"
#include "proxy/use.h"

struct bulk {
	struct client *client;
	enum cluster_id cluster;
	struct extra extra;    /* while it is opened */
	struct server *server; /* once it is ready: the same as client->bulks->server[] */
	struct leg use;        /* the keyspace is changed */
	struct timeout_item idle;
};

enum readiness {
	IS_READY,
	MUST_WAIT,
	IS_HOPELESS,
};

static const struct extra_handler bulk_extra_handler;
static const struct server_handler bulk_server_handler;
static const struct leg_ops use_leg_ops;

/* ---- life ---- */

/* Frees it; legs still out on its connection are told, which may end the client. */
static void bulk_close(struct bulk *b, const char *why)
{
	struct client *c = b->client;
	const enum cluster_id cluster = b->cluster;
	struct server *s = b->server;

	timeout_stop(&b->idle);
	extra_close(&b->extra, why);
	leg_abandon(&b->use);
	c->bulks->bulk[cluster] = NULL;
	free(b);
	if (!s)
		return;
	metric_sub(&c->worker->metrics.server_connections[cluster], 1);
	server_detach(s);
	server_close(s, why);
	c->bulks->server[cluster] = NULL; /* not before: the legs' errors name the node */
}

void bulk_drop(struct client *c)
{
	if (!c->bulks)
		return;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (c->bulks->bulk[i])
			bulk_close(c->bulks->bulk[i], "the client has gone");
	}
}

void bulk_on_idle(struct timeout_item *item)
{
	struct bulk *b = container_of(item, struct bulk, idle);

	if (b->server->in_flight > 0)
		timeout_start(&b->client->worker->loop, &b->client->worker->bulk_idle_timeouts, item);
	else
		bulk_close(b, "idle");
}

/* ---- what cannot be sent ---- */

static bool needs(const struct request *rq, enum cluster_id cluster)
{
	return (rq->verdict.to & 1u << cluster) != 0;
}

static void answer_hopeless(struct request *rq, enum cluster_id cluster, const char *node, const char *why)
{
	failure_unsent(rq, CQL_ERR_UNAVAILABLE, "no connection for large requests to %s%s%s: %s; nothing was sent",
		       cluster_id_name(cluster), *node ? " at " : "", node, why);
}

/* Answers what waits for this cluster. */
static void fail_waiting(struct client *c, enum cluster_id cluster, const char *node, const char *why)
{
	struct list waiting;
	struct list *pos;

	list_init(&waiting);
	list_splice(&waiting, &c->bulks->waiting);
	while ((pos = list_pop(&waiting))) {
		struct request *rq = list_entry(pos, struct request, legs[CLUSTER_ORIGIN].waiting);

		if (needs(rq, cluster))
			answer_hopeless(rq, cluster, node, why);
		else
			list_append(&c->bulks->waiting, pos);
	}
}

void bulk_main_lost(struct client *c, enum cluster_id cluster, const char *why)
{
	if (!c->bulks)
		return;
	fail_waiting(c, cluster, "", why);
	bulk_continue(c);
}

/* A connection that does nothing for anybody any more; the next request gets a new one. */
static bool is_stuck(const struct bulk *b)
{
	return b->server && b->server->in_flight > 0 &&
	       b->server->in_flight == b->server->orphans + (leg_is_out(&b->use) ? 1 : 0);
}

void bulk_timed_out(struct request *rq)
{
	struct client *c = rq->client;
	const uint8_t to = rq->verdict.to;
	char late[64] = "";

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (needs(rq, (enum cluster_id)i) &&
		    (!c->bulks->bulk[i] || !c->bulks->bulk[i]->server || is_stuck(c->bulks->bulk[i]) ||
		     wire_pending(&c->bulks->bulk[i]->server->wire) > 0))
			snprintf(late + strlen(late), sizeof(late) - strlen(late), "%s%s", *late ? " and " : "",
				 cluster_id_name((enum cluster_id)i));
	}
	failure_unsent(rq, CQL_ERR_OVERLOADED,
		       "the connection for large requests to %s was not free within %u ms; nothing was sent",
		       *late             ? late
		       : to == TO_TARGET ? "target"
					 : "origin",
		       request_timeout_ms(rq));
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (c->bulks->bulk[i] && is_stuck(c->bulks->bulk[i]))
			bulk_close(c->bulks->bulk[i], "it answers nothing");
	}
	bulk_continue(c);
}

/* ---- getting ready ---- */

static struct bulk *bulk_new(struct client *c, enum cluster_id cluster)
{
	struct bulk *b = xcalloc(1, sizeof(*b));

	b->client = c;
	b->cluster = cluster;
	extra_init(&b->extra, &bulk_extra_handler);
	leg_init(&b->use, &use_leg_ops);
	timeout_item_init(&b->idle);
	c->bulks->bulk[cluster] = b;
	return b;
}

static enum readiness open_bulk(struct client *c, enum cluster_id cluster, const char **why)
{
	const struct extra_options options = {
		.worker = c->worker,
		.cluster = cluster,
		.address = &c->server[cluster]->address,
		.version = c->version,
		.compression = client_leg_compression(c, cluster),
		.credentials = client_credentials(c, cluster),
		.keyspace = use_keyspace_on(c, cluster),
	};
	struct bulk *b = bulk_new(c, cluster);

	if (extra_open(&b->extra, &options, why))
		return MUST_WAIT;
	bulk_close(b, *why);
	return IS_HOPELESS;
}

/* Puts an idle connection into the client's keyspace. What is in flight on it may not have been looked at yet. */
static enum readiness change_keyspace(struct bulk *b, const char **why)
{
	struct writer w;
	bool sent;

	if (b->server->in_flight > 0)
		return MUST_WAIT;
	writer_init(&w);
	login_write_use(&w, use_keyspace_on(b->client, b->cluster), b->server->version);
	sent = server_send_body(b->server, &b->use, OP_QUERY, 0, w.data, w.len);
	writer_free(&w);
	*why = "USE could not be sent";
	return sent ? MUST_WAIT : IS_HOPELESS;
}

static enum readiness make_ready(struct client *c, enum cluster_id cluster, const char **why)
{
	struct server *s = c->bulks->server[cluster];
	const char *keyspace = use_keyspace_on(c, cluster);

	*why = "the client's connection to it was lost";
	if (!c->server[cluster])
		return IS_HOPELESS;
	if (!s && !c->bulks->bulk[cluster])
		return open_bulk(c, cluster, why);
	/* It is being opened, closed, or changed. */
	if (!s || !c->bulks->bulk[cluster] || leg_is_out(&c->bulks->bulk[cluster]->use))
		return MUST_WAIT;
	if (keyspace && (!s->keyspace || strcmp(s->keyspace, keyspace) != 0))
		return change_keyspace(c->bulks->bulk[cluster], why);
	/* One large body at a time lies in its output. */
	if (!server_has_room(s) || wire_pending(&s->wire) > c->worker->settings->client_output_limit)
		return MUST_WAIT;
	return IS_READY;
}

/* True when it can be sent; it may have ended otherwise. */
static bool can_be_sent(struct request *rq, bool *has_ended)
{
	struct client *c = rq->client;
	bool ready = true;

	*has_ended = false;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const char *why;

		if (!needs(rq, (enum cluster_id)i))
			continue;
		switch (make_ready(c, (enum cluster_id)i, &why)) {
		case IS_READY:
			break;
		case MUST_WAIT:
			ready = false;
			break;
		case IS_HOPELESS:
			*has_ended = true;
			answer_hopeless(rq, (enum cluster_id)i, c->server[i] ? c->server[i]->name : "", why);
			return false;
		}
	}
	return ready;
}

static void send_now(struct request *rq)
{
	struct worker *worker = rq->client->worker;

	list_remove(&rq->legs[CLUSTER_ORIGIN].waiting);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (needs(rq, (enum cluster_id)i))
			timeout_start(&worker->loop, &worker->bulk_idle_timeouts, &rq->client->bulks->bulk[i]->idle);
	}
	request_send(rq);
}

void bulk_continue(struct client *c)
{
	/* Sending may end a request, which comes here again. */
	if (c->holds_bulk)
		return;
	c->holds_bulk = true;
	while (!list_is_empty(&c->bulks->waiting) && c->state == CLIENT_READY) {
		struct request *rq = list_entry(c->bulks->waiting.next, struct request, legs[CLUSTER_ORIGIN].waiting);
		bool has_ended;

		if (can_be_sent(rq, &has_ended))
			send_now(rq);
		else if (!has_ended)
			break;
	}
	c->holds_bulk = false;
}

bool bulk_start(struct request *rq)
{
	struct client *c = rq->client;

	if (rq->opcode != OP_EXECUTE && rq->opcode != OP_BATCH && rq->opcode != OP_PREPARE &&
	    (rq->opcode != OP_QUERY || rq->verdict.class == CLASS_CONTROL))
		return false;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (needs(rq, (enum cluster_id)i) && (!c->server[i] || client_login_is_opaque(c, (enum cluster_id)i)))
			return false;
	}
	if (!c->bulks) {
		c->bulks = xcalloc(1, sizeof(*c->bulks));
		list_init(&c->bulks->waiting);
	}
	rq->is_bulk = true;
	list_append(&c->bulks->waiting, &rq->legs[CLUSTER_ORIGIN].waiting);
	bulk_continue(c);
	return true;
}

/* ---- the connection ---- */

static void extra_on_ready(struct extra *x)
{
	struct bulk *b = container_of(x, struct bulk, extra);
	struct client *c = b->client;

	b->server = extra_take(x);
	b->server->handler = &bulk_server_handler;
	b->server->owner = b;
	c->bulks->server[b->cluster] = b->server;
	metric_add(&c->worker->metrics.server_connections[b->cluster], 1);
	timeout_start(&c->worker->loop, &c->worker->bulk_idle_timeouts, &b->idle);
	log_debug("client %s #%llu: connection for large requests to %s at %s is ready", c->name,
		  (unsigned long long)c->number, cluster_id_name(b->cluster), b->server->name);
	bulk_continue(c);
}

static void extra_on_failed(struct extra *x, const char *why, const struct extra_failure *failure)
{
	struct bulk *b = container_of(x, struct bulk, extra);
	struct client *c = b->client;
	const enum cluster_id cluster = b->cluster;
	const char *node = c->server[cluster] ? c->server[cluster]->name : "";

	(void)failure;
	log_limited(LOG_WARN, "client %s #%llu: connection for large requests to %s at %s: %s", c->name,
		    (unsigned long long)c->number, cluster_id_name(cluster), node, why);
	bulk_close(b, why);
	fail_waiting(c, cluster, node, why);
	bulk_continue(c);
}

static const struct extra_handler bulk_extra_handler = {
	.on_ready = extra_on_ready,
	.on_failed = extra_on_failed,
};

static void server_on_open(struct server *server)
{
	(void)server; /* open long since */
}

/* The requests that were out on it have been answered; those that wait get a new connection. */
static void server_on_closed(struct server *server, const char *why)
{
	struct bulk *b = server->owner;
	struct client *c = b->client;

	log_limited(LOG_WARN, "client %s #%llu: connection for large requests to %s at %s: %s", c->name,
		    (unsigned long long)c->number, cluster_id_name(b->cluster), server->name, why);
	bulk_close(b, why);
	bulk_continue(c);
}

static void server_on_progress(struct server *server)
{
	struct bulk *b = server->owner;

	if (unlikely(!list_is_empty(&b->client->bulks->waiting)))
		bulk_continue(b->client);
}

static const struct server_handler bulk_server_handler = {
	.on_open = server_on_open,
	.on_closed = server_on_closed,
	.on_progress = server_on_progress,
};

/* ---- USE ---- */

static void use_on_answer(struct leg *leg, struct frame *f)
{
	struct bulk *b = container_of(leg, struct bulk, use);
	struct client *c = b->client;
	const enum cluster_id cluster = b->cluster;

	if (f->opcode == OP_ERROR) {
		const char *why = "it refuses the client's keyspace";

		bulk_close(b, why);
		fail_waiting(c, cluster, c->server[cluster] ? c->server[cluster]->name : "", why);
	} else {
		reply_note_keyspace(c, cluster, f, &b->server->keyspace);
	}
	bulk_continue(c);
}

static void use_on_lost(struct leg *leg, const char *why)
{
	(void)leg; /* server_on_closed() follows */
	(void)why;
}

static const struct leg_ops use_leg_ops = {
	.on_answer = use_on_answer,
	.on_lost = use_on_lost,
};
