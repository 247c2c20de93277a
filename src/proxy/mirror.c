/*
 * mirror.c - see mirror.h
 *
 * The life of a copy, `r`, of a read of client C whose mirror is M:
 *
 *   M stands in the right keyspace   M.server.legs[5] -> r, on M.sent; answer: counted, r back to the slab
 *   M connects, or waits for USE     r on M.held with a copy of its body; mirror_advance() sends it
 *   M stands in another keyspace     the same, and USE goes out first
 *
 * Frames of one connection may be executed in any order by Cassandra, so what
 * follows a USE waits for its answer. Held copies leave in the order they came.
 */
#include "proxy/mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/forward.h"
#include "proxy/mirror_link.h"
#include "proxy/repair.h"
#include "proxy/reply.h"

/* Copies that wait for the log-in or for USE. A driver prepares some dozen statements right after it has connected. */
#define MAX_HELD 128
/* A keyspace that the node has refused is asked for again after so long, or when the client asks for one. */
#define REFUSED_MS 10000

enum mirrored_kind {
	MIRRORED_READ,        /* QUERY or EXECUTE: in the request metrics */
	MIRRORED_USE,         /* the client's USE: in the request metrics, as a write */
	MIRRORED_CONTROL,     /* PREPARE, OPTIONS */
	MIRRORED_OWN_USE,     /* made by us, since the connection stands in another keyspace than the client */
	MIRRORED_OWN_PREPARE, /* made by us, since the node has lost the statement */
};

/* One copy. On mirror->held or mirror->sent. */
struct mirrored {
	struct list node;
	struct leg leg;
	struct mirror *mirror;
	struct timeout_item timeout;
	uint64_t started_ns;
	struct prepared_ref *prepared; /* EXECUTE, OWN_PREPARE: one hold */
	struct chunk *body;            /* while it is held */
	struct flight_key *flight;     /* OWN_PREPARE: ours until it is over */
	char *keyspace;                /* OWN_USE: the one asked for */
	uint32_t length;               /* of the body */
	uint8_t opcode;
	uint8_t flags;
	uint8_t kind; /* enum mirrored_kind */
	bool is_sent;
	/* Held: the client's keyspace when it came, in which it has to run; in the worker's list. NULL: any will do. */
	const char *in_keyspace;
	bool is_at_home;  /* OWN_PREPARE: sent in the keyspace the statement was prepared in first */
	bool is_prepared; /* OWN_PREPARE: how it ended */
};

static const struct leg_ops read_leg_ops, other_leg_ops;

size_t mirror_object_size(void)
{
	return sizeof(struct mirrored);
}

/* ---- one copy ---- */

static bool is_tracked(const struct mirrored *r)
{
	return r->kind == MIRRORED_READ || r->kind == MIRRORED_USE;
}

static bool is_use(const struct mirrored *r)
{
	return r->kind == MIRRORED_USE || r->kind == MIRRORED_OWN_USE;
}

static struct mirrored *copy_new(struct mirror *m, enum mirrored_kind kind, uint8_t opcode)
{
	struct worker *worker = m->client->worker;
	struct mirrored *r = slab_get(&worker->mirrored);

	*r = (struct mirrored){
		.mirror = m,
		.kind = (uint8_t)kind,
		.opcode = opcode,
		.started_ns = loop_now(&worker->loop),
	};
	list_init(&r->node);
	leg_init(&r->leg, kind == MIRRORED_READ ? &read_leg_ops : &other_leg_ops);
	timeout_item_init(&r->timeout);
	timeout_start(&worker->loop, &worker->mirror_timeouts, &r->timeout);
	return r;
}

static void copy_free(struct mirrored *r)
{
	struct mirror *m = r->mirror;
	struct worker *worker = m->client->worker;

	leg_abandon(&r->leg);
	timeout_stop(&r->timeout);
	list_remove(&r->node);
	if (r->is_sent && is_tracked(r))
		metric_sub(&m->stats->inflight, 1);
	if (r->body) {
		m->held_count--;
		m->held_bytes -= r->length;
		chunk_unref(r->body);
	}
	if (r->flight) {
		flight_land(&worker->proxy->mirror_repairs, r->flight, r->is_prepared);
		free(r->flight);
	}
	if (r->prepared)
		prepared_release(r->prepared);
	free(r->keyspace);
	slab_put(&worker->mirrored, r);
}

static void count_drop(struct worker *worker, enum mirror_drop reason)
{
	metric_add(&worker->metrics.mirror_dropped[reason], 1);
}

static void drop(struct mirrored *r, enum mirror_drop reason)
{
	count_drop(r->mirror->client->worker, reason);
	copy_free(r);
}

/* ---- sending ---- */

/* A stream id, and not too much waiting for a node that does not read. */
static bool has_room(const struct mirror *m, uint32_t length)
{
	const size_t pending = wire_pending(&m->server->wire);

	return server_has_room(m->server) &&
	       (pending == 0 || pending + length <= m->client->worker->settings->client_output_limit);
}

static bool copy_send(struct mirrored *r, uint8_t flags, const struct wire_piece *pieces, unsigned count,
		      uint32_t length)
{
	struct mirror *m = r->mirror;

	if (!has_room(m, length) || !server_send(m->server, &r->leg, r->opcode, flags, pieces, count, length))
		return false;
	r->is_sent = true;
	if (is_tracked(r))
		metric_add(&m->stats->inflight, 1);
	if (is_use(r))
		m->waits_for_use = true;
	list_append(&m->sent, &r->node);
	return true;
}

/* Puts it at the end of the held ones with a copy of its body. False when it was dropped. */
static bool copy_hold(struct mirrored *r, uint8_t flags, const struct wire_piece *pieces, unsigned count,
		      uint32_t length)
{
	struct mirror *m = r->mirror;
	struct worker *worker = m->client->worker;
	uint8_t *to;

	if (m->held_count >= MAX_HELD || m->held_bytes + length > worker->settings->client_output_limit) {
		drop(r, MIRROR_DROP_FULL);
		return false;
	}
	r->body = chunk_try_new(&worker->loop.chunks, length);
	if (!r->body) {
		drop(r, MIRROR_DROP_FULL);
		return false;
	}
	to = r->body->data;
	for (unsigned i = 0; i < count; i++) {
		memcpy(to, pieces[i].data, pieces[i].len);
		to += pieces[i].len;
	}
	r->length = length;
	r->flags = flags;
	m->held_count++;
	m->held_bytes += length;
	list_append(&m->held, &r->node);
	return true;
}

static bool send_held(struct mirrored *r)
{
	struct mirror *m = r->mirror;
	const struct wire_piece piece = { .data = r->body->data, .len = r->length, .chunk = r->body };

	list_remove(&r->node);
	if (!copy_send(r, r->flags, &piece, r->length > 0 ? 1 : 0, r->length))
		return false;
	m->held_count--;
	m->held_bytes -= r->length;
	chunk_unref(r->body);
	r->body = NULL;
	return true;
}

/* ---- the keyspace ---- */

static bool stands_in(const struct mirror *m, const char *keyspace)
{
	return m->server->keyspace && strcmp(m->server->keyspace, keyspace) == 0;
}

/* The keyspace that the connection must stand in for it; NULL when any will do, or there is none to ask for. */
static const char *keyspace_for(const struct mirrored *r)
{
	if (r->kind == MIRRORED_OWN_PREPARE)
		return version_has(r->mirror->server->version, VERSION_KEYSPACE) ? NULL : r->prepared->entry->keyspace;
	return r->in_keyspace;
}

/* False when it cannot be sent, or the node has refused this keyspace before. */
static bool send_use(struct mirror *m, const char *keyspace)
{
	struct wire_piece piece = { 0 };
	struct mirrored *r;
	struct writer w;
	bool sent;

	if (m->refused_keyspace && strcmp(m->refused_keyspace, keyspace) == 0 &&
	    loop_now(&m->client->worker->loop) < m->refused_until_ns)
		return false;
	r = copy_new(m, MIRRORED_OWN_USE, OP_QUERY);
	r->keyspace = xstrdup(keyspace);
	writer_init(&w);
	login_write_use(&w, keyspace, m->server->version);
	piece.data = w.data;
	piece.len = w.len;
	sent = copy_send(r, 0, &piece, 1, w.len);
	writer_free(&w);
	if (!sent)
		copy_free(r);
	return sent;
}

/* An OWN_PREPARE for a cluster that has no id yet, of a text that means the same in all keyspaces: any id will do. */
static bool has_first_id(const struct mirrored *r)
{
	return r->kind == MIRRORED_OWN_PREPARE && r->prepared->entry->is_qualified &&
	       r->prepared->entry->id[r->mirror->server->cluster].len == 0;
}

/* Sends what is held, as far as that can be. */
void mirror_advance(struct mirror *m)
{
	while (m->is_ready && !m->waits_for_use && !list_is_empty(&m->held)) {
		struct mirrored *r = list_entry(m->held.next, struct mirrored, node);
		const char *keyspace = keyspace_for(r);

		if (keyspace && !stands_in(m, keyspace)) {
			if (!send_use(m, keyspace))
				drop(r, MIRROR_DROP_KEYSPACE);
			continue;
		}
		r->is_at_home = version_has(m->server->version, VERSION_KEYSPACE) || keyspace || !m->server->keyspace ||
				has_first_id(r);
		if (!send_held(r))
			drop(r, MIRROR_DROP_FULL);
	}
}

/* ---- statements it does not have ---- */

/* The node has not got the statement. The EXECUTE is not repeated, since nobody waits for its answer. */
static void prepare_again(struct mirror *m, struct prepared_ref *prepared)
{
	struct worker *worker = m->client->worker;
	const struct flight_key key = {
		.cluster = (enum cluster_id)m->server->cluster,
		.host = m->server->address,
		.id = repair_flight_id(prepared->entry, m->server->cluster),
	};
	struct wire_piece piece = { 0 };
	struct mirrored *r;
	struct writer w;

	if (!flight_take_off(&worker->proxy->mirror_repairs, &key, NULL))
		return; /* somebody is at it */
	r = copy_new(m, MIRRORED_OWN_PREPARE, OP_PREPARE);
	r->prepared = prepared_ref_hold(prepared);
	r->flight = xmalloc(sizeof(*r->flight));
	*r->flight = key;
	writer_init(&w);
	repair_write_prepare(&w, prepared->entry, m->server->version);
	piece.data = w.data;
	piece.len = w.len;
	if (copy_hold(r, 0, &piece, 1, w.len))
		mirror_advance(m);
	writer_free(&w);
}

/* ---- copies ---- */

/* The one to the cluster that the read does not go to; what is no read goes where read_mode wants reads copied. */
static struct mirror *mirror_for(const struct request *rq)
{
	const struct verdict *v = &rq->verdict;
	enum cluster_id cluster;

	if (v->mirror == MIRROR_USE || v->to == TO_BOTH)
		return rq->client->mirror[cluster_id_other(rq->client->worker->settings->primary)];
	cluster = v->to == TO_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN;
	if (v->decided_by == DECIDED_BY_RULE || v->decided_by == DECIDED_BY_HOOK || v->decided_by == DECIDED_BY_PLUGIN)
		return mirror_link_for_route(rq->client, cluster);
	return rq->client->mirror[cluster];
}

void mirror_request(const struct request *rq)
{
	struct mirror *m = mirror_for(rq);
	const bool is_statement = rq->opcode == OP_QUERY || rq->opcode == OP_EXECUTE;
	enum mirrored_kind kind = MIRRORED_CONTROL;
	struct forward_frame f;
	struct mirrored *r;
	const char *keyspace = NULL;
	bool waits;

	if (unlikely(!m)) {
		count_drop(rq->client->worker, MIRROR_DROP_NO_CONNECTION);
		return;
	}
	if (unlikely(rq->lacks_ids) && rq->prepared && rq->prepared->entry->id[m->server->cluster].len == 0) {
		count_drop(rq->client->worker, MIRROR_DROP_UNPREPARED);
		prepare_again(m, rq->prepared);
		return;
	}
	if (is_statement)
		kind = rq->verdict.mirror == MIRROR_USE ? MIRRORED_USE : MIRRORED_READ;
	r = copy_new(m, kind, rq->opcode);
	if (rq->verdict.mirror == MIRROR_IN_KEYSPACE && rq->opcode != OP_EXECUTE)
		keyspace = rq->client->keyspace;
	if (rq->prepared)
		r->prepared = prepared_ref_hold(rq->prepared);
	if (unlikely(kind == MIRRORED_USE)) { /* what was refused may be there now */
		free(m->refused_keyspace);
		m->refused_keyspace = NULL;
	}
	waits = !m->is_ready || m->waits_for_use || !list_is_empty(&m->held) || (keyspace && !stands_in(m, keyspace));
	if (unlikely(waits && keyspace)) /* the client's may be another one by the time it is sent */
		r->in_keyspace = worker_keyspace(rq->client->worker, keyspace);
	forward_build(rq, m->server->cluster, waits ? COMPRESSION_NONE : (enum cql_compression)m->server->compression,
		      &f);
	if (likely(!waits)) {
		if (!copy_send(r, f.flags, f.pieces, f.count, f.length))
			drop(r, MIRROR_DROP_FULL);
	} else if (copy_hold(r, f.flags, f.pieces, f.count, f.length)) {
		mirror_advance(m);
	}
}

static void free_all(struct list *copies)
{
	while (!list_is_empty(copies))
		copy_free(list_entry(copies->next, struct mirrored, node));
}

void mirror_drop_copies(struct mirror *m)
{
	free_all(&m->sent);
	free_all(&m->held);
}

/* ---- answers ---- */

static void note_prepared(struct mirrored *r, const struct frame *f)
{
	const struct mirror *m = r->mirror;
	const char *why;
	bool changed;

	r->is_prepared = r->is_at_home &&
			 repair_note_prepared(m->client->worker, r->prepared->entry,
					      (enum cluster_id)m->server->cluster,
					      (enum cql_compression)m->server->compression, f, &changed, &why);
}

/* Counts it. False when the mirror has ended by it. */
static bool note_error(struct mirrored *r, const struct frame *f)
{
	struct mirror *m = r->mirror;
	struct loop *loop = &m->client->worker->loop;
	struct error_message error = { .text = SV("an error that cannot be read") };
	uint32_t offset = 0;
	struct plain plain;
	const char *why;

	if (!plain_open(&plain, loop, (enum cql_compression)m->server->compression, f, UINT32_MAX, &why))
		plain = (struct plain){ 0 };
	else if (message_skip_preamble(plain.data, plain.len, plain.flags, true, &offset, &why))
		(void)!message_parse_error(plain.data, plain.len, offset, &error);
	if (is_tracked(r))
		node_count_error(m->stats, error.code);
	if (error.code == CQL_ERR_PROTOCOL_ERROR) {
		char text[200];

		snprintf(text, sizeof(text), "PROTOCOL_ERROR: %.*s", (int)MIN(error.text.len, 150), error.text.p);
		plain_close(&plain);
		mirror_link_give_up(m, text);
		return false;
	}
	if (error.code == CQL_ERR_UNPREPARED && r->kind == MIRRORED_READ && r->prepared)
		prepare_again(m, r->prepared);
	else
		log_limited(LOG_WARN, "%s at %s answered a mirrored %s with %s: %.*s",
			    cluster_id_name(m->server->cluster), m->server->name, cql_opcode_name(r->opcode),
			    cql_error_name(error.code), (int)MIN(error.text.len, 200), error.text.p);
	if (r->kind == MIRRORED_OWN_USE) {
		free(m->refused_keyspace);
		m->refused_keyspace = r->keyspace;
		m->refused_until_ns = loop_now(&m->client->worker->loop) + ms_to_ns(REFUSED_MS);
		r->keyspace = NULL;
	}
	plain_close(&plain);
	return true;
}

static void observe(struct mirrored *r)
{
	node_observe(r->mirror->stats, r->kind == MIRRORED_USE ? NODE_WRITES : NODE_READS,
		     loop_now(&r->mirror->client->worker->loop) - r->started_ns);
}

static void mirrored_on_answer(struct leg *leg, struct frame *f)
{
	struct mirrored *r = container_of(leg, struct mirrored, leg);
	struct mirror *m = r->mirror;

	if (is_tracked(r))
		observe(r);
	if (unlikely(f->opcode == OP_ERROR)) {
		if (!note_error(r, f))
			return;
	} else if (unlikely(is_use(r))) {
		reply_note_keyspace(m->client, m->server->cluster, f, &m->server->keyspace);
	} else if (unlikely(r->kind == MIRRORED_OWN_PREPARE)) {
		note_prepared(r, f);
	}
	if (unlikely(is_use(r)))
		m->waits_for_use = false;
	copy_free(r);
	if (unlikely(!list_is_empty(&m->held)))
		mirror_advance(m);
}

static void mirrored_on_lost(struct leg *leg, const char *why)
{
	(void)why; /* the mirror hears of it by on_closed() */
	copy_free(container_of(leg, struct mirrored, leg));
}

/* Rows without end: that they come is all we want to know. */
static void read_on_large(struct leg *leg)
{
	struct mirrored *r = container_of(leg, struct mirrored, leg);

	observe(r);
	copy_free(r);
}

static const struct leg_ops read_leg_ops = {
	.on_answer = mirrored_on_answer,
	.on_large = read_on_large,
	.on_lost = mirrored_on_lost,
};

static const struct leg_ops other_leg_ops = {
	.on_answer = mirrored_on_answer,
	.on_lost = mirrored_on_lost,
};

void mirror_on_timeout(struct timeout_item *item)
{
	struct mirrored *r = container_of(item, struct mirrored, timeout);
	struct mirror *m = r->mirror;

	if (!r->is_sent) {
		drop(r, m->is_ready ? MIRROR_DROP_KEYSPACE : MIRROR_DROP_NO_CONNECTION);
		return;
	}
	if (is_tracked(r))
		metric_add(&m->stats->failed[NODE_ERROR_CLIENT_TIMEOUT], 1);
	if (is_use(r)) { /* where the connection stands now is not known; what depends on it asks again */
		free(m->server->keyspace);
		m->server->keyspace = NULL;
		m->waits_for_use = false;
	}
	copy_free(r);
	mirror_advance(m);
}
