/*
 * request.c - see request.h
 *
 * A dual write, `r` of client C, on its dedicated servers O and T:
 *
 *   C.streams  r in flight
 *   C.requests ... -> r
 *   O.legs[7]  -> r.legs[origin]      sent as stream 7
 *   T.legs[3]  -> r.legs[target]      sent as stream 3
 *
 *   T answers on 3: T.legs[3] free again, r.legs[target] OK, the frame is kept in r
 *   O answers on 7: O.legs[7] free again, r.legs[origin] OK, merge: origin's
 *                   answer goes to C on r.stream, r goes back to the slab
 *
 * Had the deadline passed between the two: O.legs[7] = ORPHAN, C gets a
 * WRITE_TIMEOUT, r goes back; O's late answer only frees stream 7.
 */
#include "proxy/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/answer.h"
#include "proxy/bulk.h"
#include "proxy/deliver.h"
#include "proxy/failure.h"
#include "proxy/forward.h"
#include "proxy/held.h"
#include "proxy/hooked.h"
#include "proxy/mirror.h"
#include "proxy/paging.h"
#include "proxy/prepare.h"
#include "proxy/repair.h"
#include "proxy/use.h"

/* A statement that is lost again right after it was prepared: something else is wrong. */
#define MAX_REPAIRS 2
/*
 * A crowded connection is given up, but not at once before there are so many
 * orphans: with a low max_stream_ids a slow node would cost a connection for a
 * handful of late answers. Then it is given up when it has been crowded for
 * another request_timeout and has no room for a request.
 */
#define ORPHANS_MIN 64

static const struct leg_ops request_leg_ops;

/* ---- life ---- */

static void mark_stream(struct client *c, int16_t stream)
{
	const uint32_t word = (uint32_t)stream / 64;

	if (unlikely(word >= c->stream_words)) {
		uint32_t words = c->stream_words * 2;
		uint64_t *old = c->streams == &c->first_streams ? NULL : c->streams;

		while (words <= word)
			words *= 2;
		c->streams = xrealloc(old, words * sizeof(*c->streams));
		if (!old)
			c->streams[0] = c->first_streams;
		memset(c->streams + c->stream_words, 0, (words - c->stream_words) * sizeof(*c->streams));
		c->stream_words = words;
	}
	c->streams[word] |= 1ull << ((uint32_t)stream % 64);
}

struct chunk *request_keep_bytes(struct loop *loop, struct chunk *chunk, uint8_t *data, uint32_t len, bool owned,
				 uint8_t **kept)
{
	struct chunk *copy;

	if (chunk && (owned || len >= WIRE_REF_MIN)) {
		*kept = data;
		return chunk_ref(chunk);
	}
	copy = chunk_try_new(&loop->chunks, len);
	if (!copy)
		return NULL;
	memcpy(copy->data, data, len);
	*kept = copy->data;
	return copy;
}

static bool passes_packed(const struct client *c)
{
	return c->leg_compression[CLUSTER_ORIGIN] == c->compression ||
	       c->leg_compression[CLUSTER_TARGET] == c->compression;
}

/* Fills in the body and, when it came compressed, that form of it, too. */
static bool keep_body(struct request *rq, struct loop *loop, const struct frame *f, const struct plain *plain)
{
	rq->len = plain->len;
	if (likely(plain->len <= SMALL_BODY)) {
		rq->data = memcpy(rq->small_body, plain->data, plain->len);
	} else {
		rq->body =
			request_keep_bytes(loop, plain->chunk, plain->data, plain->len, plain->owns_chunk, &rq->data);
		if (unlikely(!rq->body))
			return false;
	}
	/* The form it came in is of use where a connection has the same compression. */
	if (likely(!(f->flags & FRAME_COMPRESSED)) || !passes_packed(rq->client))
		return true;
	rq->packed_len = f->length;
	rq->packed = request_keep_bytes(loop, f->chunk, f->body, f->length, false, &rq->packed_data);
	if (rq->packed)
		return true;
	if (rq->body)
		chunk_unref(rq->body);
	return false;
}

/* All that is to be zero, line by line: one memset() would become a string instruction, which is slow to begin. */
static ALWAYS_INLINE void clear(struct request *rq)
{
	uint8_t *at = (uint8_t *)rq;

	for (size_t line = 0; line < offsetof(struct request, kept); line += CACHE_LINE)
		memset(at + line, 0, CACHE_LINE);
}

struct request *request_new(struct client *c, const struct frame *f, const struct plain *plain)
{
	struct loop *loop = &c->worker->loop;
	struct request *rq = slab_get(&c->worker->requests);

	clear(rq);
	list_init(&rq->node);
	timeout_item_init(&rq->timeout);
	rq->client = c;
	rq->stream = f->stream;
	rq->opcode = f->opcode;
	rq->flags = plain->flags;
	rq->type = REQUEST_UNTRACKED;
	if (unlikely(!keep_body(rq, loop, f, plain))) {
		slab_put(&c->worker->requests, rq);
		client_send_error(c, f->stream, CQL_ERR_OVERLOADED,
				  "no memory for a request of %u bytes; nothing was sent", plain->len);
		return NULL;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct request_leg *leg = &rq->legs[i];

		leg_init(&leg->leg, &request_leg_ops);
		list_init(&leg->waiting);
		leg->request = rq;
		leg->cluster = (uint8_t)i;
		leg->repairs_left = MAX_REPAIRS;
	}
	rq->started_ns = loop_now(loop);
	if (unlikely(c->worker->hooked != NULL))
		hooked_take(rq);
	list_append(&c->requests, &rq->node);
	mark_stream(c, f->stream);
	c->in_flight++;
	c->kept_bytes += rq->len + rq->packed_len;
	return rq;
}

void request_change_body(struct request *rq, struct chunk *body, uint8_t *data, uint32_t len)
{
	rq->client->kept_bytes = rq->client->kept_bytes - rq->len - rq->packed_len + len;
	if (rq->body)
		chunk_unref(rq->body);
	if (rq->packed)
		chunk_unref(rq->packed);
	rq->packed = NULL;
	rq->packed_len = 0;
	rq->body = body;
	rq->data = data;
	rq->len = len;
}

/* What few requests have; looked at in one go. */
static inline bool has_more(const struct request *rq)
{
	return ((uintptr_t)rq->keyspace | (uintptr_t)rq->rewriting | (uintptr_t)rq->paging | (uintptr_t)rq->held |
		rq->hook_number) != 0;
}

static void release_more(struct request *rq)
{
	if (rq->hook_number)
		hooked_abandoned(rq);
	if (rq->held)
		held_drop(rq);
	if (rq->keyspace || rq->rewriting)
		prepare_forget(rq);
	if (rq->paging)
		paging_end(rq);
}

/* Frees it; legs that are still out become orphans. */
static void release(struct request *rq)
{
	struct worker *worker = rq->client->worker;

	if (unlikely(has_more(rq)))
		release_more(rq);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (unlikely(leg_is_out(&rq->legs[i].leg)))
			leg_abandon(&rq->legs[i].leg);
		if (unlikely(!list_is_empty(&rq->legs[i].waiting))) /* a repair without waiters ends by itself */
			list_remove(&rq->legs[i].waiting);
	}
	timeout_stop(&rq->timeout);
	list_remove(&rq->node);
	if (rq->has_kept)
		answer_drop_kept(rq);
	rq->client->kept_bytes -= rq->len + rq->packed_len;
	if (rq->body)
		chunk_unref(rq->body);
	if (rq->packed)
		chunk_unref(rq->packed);
	if (rq->prepared)
		prepared_release(rq->prepared);
	if (rq->type != REQUEST_UNTRACKED && rq->verdict.to)
		metric_sub(&worker->metrics.inflight[rq->type], 1);
	slab_put(&worker->requests, rq);
}

/* The client has its answer. */
void request_end(struct request *rq)
{
	struct client *c = rq->client;
	struct worker *worker = c->worker;
	const int16_t stream = rq->stream;
	const bool was_use = unlikely(c->waits_for_use) && use_is(rq) && (rq->held || !c->use_is_held);

	if (rq->type != REQUEST_UNTRACKED)
		histogram_observe(&worker->metrics.latency[rq->type], &worker->proxy->bounds[rq->type],
				  loop_now(&worker->loop) - rq->started_ns);
	release(rq);
	client_request_done(c, stream);
	if (unlikely(c->bulks != NULL))
		bulk_continue(c);
	if (was_use) {
		c->waits_for_use = false;
		client_go_on(c);
	}
}

void request_step_aside(struct request *rq)
{
	list_remove(&rq->node);
	client_free_stream(rq->client, rq->stream);
	rq->client->in_flight--;
}

void request_forget(struct request *rq)
{
	release(rq);
}

void requests_drop(struct client *c)
{
	while (!list_is_empty(&c->requests))
		release(list_entry(c->requests.next, struct request, node));
	c->in_flight = 0;
}

const char *request_node_name(const struct request *rq, unsigned cluster)
{
	const struct request_leg *leg = &rq->legs[cluster];

	return leg->leg.server ? leg->leg.server->name : leg->node ? leg->node->node->name : "(no connection)";
}

/* Names every cluster that has not answered. */
static void describe_silence(const struct request *rq, char *text, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->legs[i].outcome == OUTCOME_PENDING)
			n += (size_t)snprintf(text + n, size - n, "%s%s at %s", n ? " and " : "",
					      cluster_id_name((enum cluster_id)i), request_node_name(rq, i));
	}
}

/*
 * After a USE whose outcome is not known the two connections may stand in
 * different keyspaces, and unqualified writes would be acknowledged although
 * they went to different tables. So the client has to connect anew.
 */
void request_on_timeout(struct timeout_item *item)
{
	struct request *rq = container_of(item, struct request, timeout);
	struct client *c = rq->client;
	char silent[2 * (NET_TEXT_MAX + 16)] = "";
	const struct server *crowded = NULL;
	bool is_use;

	if (use_end_undo(rq) || (unlikely(rq->paging) && paging_may_wait(rq)))
		return;
	if (unlikely(bulk_is_waiting(rq))) {
		bulk_timed_out(rq);
		return;
	}
	if (unlikely(!request_was_sent(rq))) {
		failure_unsent(rq, CQL_ERR_OVERLOADED, "no connection was free within %u ms; nothing was sent",
			       request_timeout_ms(rq));
		return;
	}
	describe_silence(rq, silent, sizeof(silent));
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct server *s = rq->legs[i].leg.server;

		if (rq->legs[i].outcome != OUTCOME_PENDING)
			continue;
		if (rq->type != REQUEST_UNTRACKED) {
			metric_add(&c->worker->metrics.timeouts[i], 1);
			if (rq->legs[i].node)
				metric_add(&rq->legs[i].node->failed[NODE_ERROR_CLIENT_TIMEOUT], 1);
		}
		if (s && !client_is_pooled(c) &&
		    s->orphans + 1 > MAX(s->max_streams / SERVER_ORPHAN_SHARE, ORPHANS_MIN))
			crowded = s;
	}
	is_use = use_is(rq);
	failure_sent(rq, "no answer from %s within %u ms", silent, request_timeout_ms(rq));
	if (is_use && !client_is_pooled(c))
		client_drain(c, CLOSE_KEYSPACE, "USE was not answered by %s", silent);
	if (crowded)
		client_drain(c, CLOSE_ORPHANS, "%s at %s", cluster_id_name(crowded->cluster), crowded->name);
}

/* ---- sending ---- */

/* No stream id is left. When the node does not answer at all, that would stay so. */
static void answer_no_room(struct request *rq, const struct server *s, const char *cluster)
{
	struct client *c = rq->client;
	const uint64_t patience_ns = c->worker->settings->request_timeout_ms * UINT64_C(1000000);
	const bool is_mute = s->crowded_ns && loop_now(&c->worker->loop) - s->crowded_ns >= patience_ns;

	failure_unsent(rq, CQL_ERR_OVERLOADED,
		       "all %u stream ids of the connection to %s at %s are in use; nothing was sent", s->max_streams,
		       cluster, s->name);
	if (is_mute)
		client_drain(c, CLOSE_ORPHANS, "%s at %s", cluster, s->name);
}

/* Every cluster of the verdict has a ready connection with a free stream id; else the request is answered. */
static bool check_room(struct request *rq)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct server *s;

		if (!(rq->verdict.to & 1u << i))
			continue;
		s = request_server(rq, i);
		if (unlikely(!s || s->state != SERVER_READY)) {
			failure_unsent(rq, CQL_ERR_UNAVAILABLE, "no connection to %s; nothing was sent",
				       cluster_id_name((enum cluster_id)i));
			return false;
		}
		if (unlikely(!server_has_room(s))) {
			answer_no_room(rq, s, cluster_id_name((enum cluster_id)i));
			return false;
		}
	}
	return true;
}

/* A request for one cluster only leaves the client's connection to the other one silent. */
static void keep_other_alive(const struct request *rq)
{
	const struct client *c = rq->client;
	const enum cluster_id other = rq->verdict.to == TO_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN;
	struct server *s = c->server[other];

	if (likely(s))
		server_keep_alive(s, (uint64_t)c->worker->settings->heartbeat_interval_ms * 1000000u);
}

static ALWAYS_INLINE void send_legs(struct request *rq)
{
	if (client_is_pooled(rq->client)) {
		deliver_request(rq);
		return;
	}
	if (!check_room(rq))
		return;
	if (rq->verdict.to != TO_BOTH) {
		keep_other_alive(rq);
		request_count_single(rq);
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->verdict.to & 1u << i) {
			rq->legs[i].outcome = OUTCOME_PENDING;
			rq->open++;
		}
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if ((rq->verdict.to & 1u << i) && unlikely(!forward_leg(&rq->legs[i], request_server(rq, i)))) {
			/* Room was there a moment ago: there is no memory for it. */
			failure_leg_unsent(rq, (enum cluster_id)i);
			return;
		}
	}
	if (unlikely(rq->verdict.mirror))
		mirror_request(rq);
}

void request_send(struct request *rq)
{
	send_legs(rq);
}

static ALWAYS_INLINE void start(struct request *rq, struct timeout_queue *queue)
{
	struct worker *worker = rq->client->worker;

	if (rq->type != REQUEST_UNTRACKED)
		metric_add(&worker->metrics.inflight[rq->type], 1);
	timeout_start(&worker->loop, queue, &rq->timeout);
	if (unlikely(rq->needs_keyspace && rq->client->split) && !use_check_split(rq))
		return;
	if (unlikely(rq->len > worker->settings->large_frame_size) && !client_is_pooled(rq->client) && bulk_start(rq))
		return;
	send_legs(rq);
}

void request_start(struct request *rq)
{
	start(rq, &rq->client->worker->request_timeouts);
}

void request_start_within(struct request *rq, struct timeout_queue *queue)
{
	start(rq, queue);
}

/* ---- answers ---- */

void request_leg_on_lost(struct leg *l, const char *why)
{
	struct request_leg *leg = container_of(l, struct request_leg, leg);
	struct request *rq = leg->request;

	if (use_end_undo(rq))
		return;
	if (client_is_pooled(rq->client)) {
		deliver_lost(leg, why);
		return;
	}
	failure_sent(rq, "the connection to %s at %s was lost before it answered: %s",
		     cluster_id_name((enum cluster_id)leg->cluster), request_node_name(rq, leg->cluster), why);
}

void request_continue(struct request_leg *leg)
{
	deliver_continue(leg);
}

static const struct leg_ops request_leg_ops = {
	.on_answer = answer_on_leg,
	.on_lost = request_leg_on_lost,
};

void requests_lost(struct client *c, enum cluster_id cluster, const char *node, const char *why)
{
	c->holds_bulk = true;
	list_for_each_safe(pos, tmp, &c->requests) {
		struct request *rq = list_entry(pos, struct request, node);

		/* A large one may still be answered: it is out on a connection of its own. */
		if (rq->is_bulk && leg_is_out(&rq->legs[cluster].leg))
			continue;
		if (rq->legs[cluster].outcome == OUTCOME_PENDING && !use_end_undo(rq))
			failure_sent(rq, "the connection to %s at %s was lost before it answered: %s",
				     cluster_id_name(cluster), node, why);
	}
	c->holds_bulk = false;
}

/* ---- repairs ---- */

void request_leg_resend(struct request_leg *leg, const struct net_address *host, bool changed)
{
	struct request *rq = leg->request;
	struct worker *worker = rq->client->worker;

	if (changed && rq->prepared) {
		struct prepared_ref *ref = prepared_find(&worker->prepared, prepared_client_id(rq->prepared->entry));

		if (ref) {
			prepared_release(rq->prepared);
			rq->prepared = ref;
		}
	}
	if (client_is_pooled(rq->client))
		deliver_prepared(leg, host);
	else if (!forward_leg(leg, request_server(rq, leg->cluster)))
		request_leg_hopeless(leg, "the request could not be sent again");
}

void request_leg_refused(struct request_leg *leg, struct frame *f)
{
	leg->repairs_left = 0;
	answer_error(leg, f);
}

/* As if the node had answered so. */
void request_leg_rejected(struct request_leg *leg, uint32_t code, struct strview message)
{
	struct request *rq = leg->request;
	struct writer w;

	if (!request_was_sent(rq)) {
		if (unlikely(rq->may_refuse) && prepare_leaves_out(rq, (enum cluster_id)leg->cluster, code))
			deliver_request(rq);
		else
			failure_unsent(rq, (enum cql_error_code)code, "%.*s", SV_ARG(message));
		return;
	}
	writer_init(&w);
	error_write(&w, (enum cql_error_code)code, message);
	request_leg_refused(leg, &(struct frame){ .version = rq->client->version,
						  .is_response = true,
						  .opcode = OP_ERROR,
						  .stream = rq->stream,
						  .length = w.len,
						  .body = w.data });
	writer_free(&w);
}

void requests_refuse(struct client *c, enum cluster_id cluster, enum cql_error_code code, const char *text)
{
	list_for_each_safe(pos, tmp, &c->requests) {
		struct request *rq = list_entry(pos, struct request, node);

		if (!request_was_sent(rq) && (rq->verdict.to & 1u << cluster))
			failure_unsent(rq, code, "%s; nothing was sent", text);
		else if (rq->legs[cluster].is_resend) /* it waits for a connection that will not come */
			failure_sent(rq, "%s", text);
	}
	client_drain(c, CLOSE_AUTHENTICATION, "%s", text);
}

void request_leg_hopeless(struct request_leg *leg, const char *why)
{
	struct request *rq = leg->request;

	failure_sent(rq, "the prepared statement could not be prepared on %s at %s, which has not got it: %s",
		     cluster_id_name((enum cluster_id)leg->cluster), request_node_name(rq, leg->cluster), why);
}
