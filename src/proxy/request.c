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

#include "proxy/failure.h"
#include "proxy/forward.h"
#include "proxy/pool.h"
#include "proxy/repair.h"
#include "proxy/reply.h"

/* A statement that is lost again right after it was prepared: something else is wrong. */
#define MAX_REPAIRS 2
/*
 * A connection is given up when half of its ids wait for answers that never
 * came, and not before there are so many: with a low max_stream_ids a slow
 * node would cost a connection for a handful of late answers.
 */
#define ORPHAN_SHARE 2
#define ORPHANS_MIN 64

static const struct leg_ops request_leg_ops;

/* ---- life ---- */

static void mark_stream(struct client *c, int16_t stream)
{
	const uint32_t word = (uint32_t)stream / 64;

	if (unlikely(word >= c->stream_words)) {
		uint32_t words = MAX(2, c->stream_words * 2);

		while (words <= word)
			words *= 2;
		c->streams = xrealloc(c->streams, words * sizeof(*c->streams));
		memset(c->streams + c->stream_words, 0, (words - c->stream_words) * sizeof(*c->streams));
		c->stream_words = words;
	}
	c->streams[word] |= 1ull << ((uint32_t)stream % 64);
}

/* Bytes that outlive the frame: a reference when they lie in a large chunk, else a copy; NULL without memory for it. */
static struct chunk *keep_bytes(struct loop *loop, struct chunk *chunk, uint8_t *data, uint32_t len, bool owned,
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

/* Fills in the body and, when it came compressed, that form of it, too. */
static bool keep_body(struct request *rq, struct loop *loop, const struct frame *f, const struct plain *plain)
{
	rq->len = plain->len;
	if (likely(plain->len <= SMALL_BODY)) {
		rq->data = memcpy(rq->small_body, plain->data, plain->len);
	} else {
		rq->body = keep_bytes(loop, plain->chunk, plain->data, plain->len, plain->owns_chunk, &rq->data);
		if (unlikely(!rq->body))
			return false;
	}
	if (likely(!(f->flags & FRAME_COMPRESSED)))
		return true;
	rq->packed_len = f->length;
	rq->packed = keep_bytes(loop, f->chunk, f->body, f->length, false, &rq->packed_data);
	if (rq->packed)
		return true;
	if (rq->body)
		chunk_unref(rq->body);
	return false;
}

struct request *request_new(struct client *c, const struct frame *f, const struct plain *plain)
{
	struct loop *loop = &c->worker->loop;
	struct request *rq = slab_get(&c->worker->requests);

	memset(rq, 0, offsetof(struct request, kept));
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
	list_append(&c->requests, &rq->node);
	mark_stream(c, f->stream);
	c->in_flight++;
	c->request_count++;
	c->kept_bytes += rq->len + rq->packed_len;
	return rq;
}

static void drop_kept(struct request *rq)
{
	if (rq->has_kept && rq->kept.chunk)
		chunk_unref(rq->kept.chunk);
	rq->has_kept = false;
}

/* Frees it; legs that are still out become orphans. */
static void release(struct request *rq)
{
	struct worker *worker = rq->client->worker;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		leg_abandon(&rq->legs[i].leg);
		repair_forget(&rq->legs[i]);
	}
	timeout_stop(&rq->timeout);
	list_remove(&rq->node);
	drop_kept(rq);
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

	if (rq->type != REQUEST_UNTRACKED)
		histogram_observe(&worker->metrics.latency[rq->type], &worker->proxy->bounds[rq->type],
				  loop_now(&worker->loop) - rq->started_ns);
	release(rq);
	client_request_done(c, stream);
}

void requests_drop(struct client *c)
{
	while (!list_is_empty(&c->requests))
		release(list_entry(c->requests.next, struct request, node));
	c->in_flight = 0;
}

static const char *node_name(const struct request *rq, unsigned cluster)
{
	const struct server *s = pool_pick(rq->client, (enum cluster_id)cluster);

	return s ? s->name : "(no connection)";
}

/* Names every cluster that has not answered. */
static void describe_silence(const struct request *rq, char *text, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->legs[i].outcome == OUTCOME_PENDING)
			n += (size_t)snprintf(text + n, size - n, "%s%s at %s", n ? " and " : "",
					      cluster_id_name((enum cluster_id)i), node_name(rq, i));
	}
}

static bool request_is_use(const struct request *rq)
{
	return rq->opcode == OP_QUERY && rq->verdict.class == CLASS_CONTROL;
}

static bool end_best_effort(struct request *rq);

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

	if (end_best_effort(rq))
		return;
	describe_silence(rq, silent, sizeof(silent));
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct server *s = pool_pick(c, (enum cluster_id)i);

		if (rq->legs[i].outcome != OUTCOME_PENDING)
			continue;
		if (rq->type != REQUEST_UNTRACKED)
			metric_add(&c->worker->metrics.timeouts[i], 1);
		if (s && s->orphans + 1 > MAX(s->max_streams / ORPHAN_SHARE, ORPHANS_MIN))
			crowded = s;
	}
	is_use = request_is_use(rq);
	failure_sent(rq, "no answer from %s within %u ms", silent, c->worker->settings->request_timeout_ms);
	if (is_use)
		client_drain(c, CLOSE_KEYSPACE, "USE was not answered by %s", silent);
	if (crowded)
		client_drain(c, CLOSE_ORPHANS, "%s at %s", cluster_id_name(crowded->cluster), crowded->name);
}

/* ---- sending ---- */

/* Every cluster of the verdict has a ready connection with a free stream id; else the request is answered. */
static bool check_room(struct request *rq)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct server *s;

		if (!(rq->verdict.to & 1u << i))
			continue;
		s = pool_pick(rq->client, (enum cluster_id)i);
		if (unlikely(!s || s->state != SERVER_READY)) {
			failure_unsent(rq, CQL_ERR_UNAVAILABLE, "no connection to %s; nothing was sent",
				       cluster_id_name((enum cluster_id)i));
			return false;
		}
		if (unlikely(!server_has_room(s))) {
			failure_unsent(rq, CQL_ERR_OVERLOADED,
				       "all %u stream ids of the connection to %s at %s are in use; nothing was sent",
				       s->max_streams, cluster_id_name((enum cluster_id)i), s->name);
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
	struct server *s = pool_pick(c, other);

	if (likely(s))
		server_keep_alive(s, (uint64_t)c->worker->settings->heartbeat_interval_ms * 1000000u);
}

void request_start(struct request *rq)
{
	struct worker *worker = rq->client->worker;

	if (rq->type != REQUEST_UNTRACKED)
		metric_add(&worker->metrics.inflight[rq->type], 1);
	if (!check_room(rq))
		return;
	if (rq->verdict.to != TO_BOTH)
		keep_other_alive(rq);
	timeout_start(&worker->loop, &worker->request_timeouts, &rq->timeout);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->verdict.to & 1u << i) {
			rq->legs[i].outcome = OUTCOME_PENDING;
			rq->open++;
		}
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if ((rq->verdict.to & 1u << i) && unlikely(!forward_leg(&rq->legs[i]))) {
			/* Room was there a moment ago, so this is a defect of ours; answer all the same. */
			failure_sent(rq, "the request could not be sent to %s", cluster_id_name((enum cluster_id)i));
			return;
		}
	}
}

/* ---- answers ---- */

/* False without memory for it; the request has been answered then. */
static bool keep_answer(struct request *rq, const struct request_leg *leg, const struct frame *f)
{
	struct kept_answer *k = &rq->kept;

	k->cluster = leg->cluster;
	k->version = f->version;
	k->opcode = f->opcode;
	k->flags = f->flags;
	k->len = f->length;
	k->chunk = NULL;
	k->body = k->small;
	if (f->length <= SMALL_ANSWER) {
		memcpy(k->small, f->body, f->length);
	} else {
		k->chunk = keep_bytes(&rq->client->worker->loop, f->chunk, f->body, f->length, false, &k->body);
		if (!k->chunk) {
			failure_sent(rq, "no memory to keep the answer of %s (%u bytes)",
				     cluster_id_name((enum cluster_id)leg->cluster), f->length);
			return false;
		}
	}
	rq->has_kept = true;
	return true;
}

static struct frame kept_frame(struct request *rq)
{
	struct kept_answer *k = &rq->kept;

	return (struct frame){
		.version = k->version,
		.is_response = true,
		.flags = k->flags,
		.opcode = k->opcode,
		.stream = rq->stream,
		.length = k->len,
		.body = k->body,
		.chunk = k->len >= WIRE_REF_MIN ? k->chunk : NULL,
	};
}

/* The code of an ERROR frame, 0 (SERVER_ERROR) when it cannot be read; its text and id point into `plain`. */
static uint32_t open_error(struct request *rq, const struct frame *f, struct plain *plain, struct error_message *out)
{
	struct client *c = rq->client;
	uint32_t offset = 0;
	const char *why;

	*out = (struct error_message){ .text = SV("an error that cannot be read") };
	if (!plain_open(plain, &c->worker->loop, c->compression, f, UINT32_MAX, &why)) {
		*plain = (struct plain){ 0 };
		return 0;
	}
	if (message_skip_preamble(plain->data, plain->len, plain->flags, true, &offset, &why) &&
	    message_parse_error(plain->data, plain->len, offset, out))
		return out->code;
	return 0;
}

static void count_failure(struct request *rq)
{
	struct metrics *m = &rq->client->worker->metrics;
	const bool origin = rq->legs[CLUSTER_ORIGIN].outcome == OUTCOME_ERROR;
	const bool target = rq->legs[CLUSTER_TARGET].outcome == OUTCOME_ERROR;

	if (rq->type == REQUEST_UNTRACKED || (!origin && !target))
		return;
	if (rq->verdict.to == TO_BOTH)
		metric_add(&m->failed_writes[origin && target ? FAILED_ON_BOTH
					     : origin         ? FAILED_ON_ORIGIN
							      : FAILED_ON_TARGET],
			   1);
	else
		metric_add(&m->failed_reads[origin ? CLUSTER_ORIGIN : CLUSTER_TARGET], 1);
}

/* One cluster has or may have applied the write, the other one refused it in a way that drivers take for "send it again". */
static void answer_write_timeout(struct request *rq, const struct frame *failed, enum cluster_id cluster)
{
	struct error_message error;
	struct plain plain;
	char text[512];

	open_error(rq, failed, &plain, &error);
	snprintf(text, sizeof(text), "may have been applied on %s, but %s at %s answered %s: %.*s",
		 cluster_id_name(cluster == CLUSTER_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN), cluster_id_name(cluster),
		 node_name(rq, cluster), cql_error_name(error.code), (int)MIN(error.text.len, 300), error.text.p);
	plain_close(&plain);
	failure_text(rq, sv_from(text));
}

/*
 * USE succeeded on one cluster only. The client's keyspace has not changed, so
 * the connection that changed must go back, or unqualified names would mean
 * different tables on the two clusters. The answer waits for it, since requests
 * that follow may overtake. True when that was begun, or the request is over.
 */
static bool undo_use(struct request *rq, enum cluster_id failed, const struct frame *error)
{
	struct request_leg *leg = &rq->legs[failed == CLUSTER_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN];
	struct client *c = rq->client;
	struct server *s = pool_pick(c, (enum cluster_id)leg->cluster);
	struct frame copy = *error;
	struct writer w;
	bool sent;

	if (!s || !s->keyspace || !c->keyspace || strcmp(s->keyspace, c->keyspace) == 0)
		return false;
	if (rq->kept.cluster != failed) {
		drop_kept(rq);
		if (!keep_answer(rq, &rq->legs[failed], &copy))
			return true;
	}
	writer_init(&w);
	login_write_use(&w, c->keyspace, s->version);
	sent = server_send_body(s, &leg->leg, OP_QUERY, 0, w.data, w.len);
	writer_free(&w);
	if (!sent)
		return false;
	leg->role = LEG_BEST_EFFORT;
	rq->open = 1;
	leg->outcome = OUTCOME_PENDING;
	return true;
}

/* The answer to a USE that one cluster refused. When the other one could not be taken back, the client must go. */
static void answer_failed_use(struct request *rq, enum cluster_id failed, const struct frame *error)
{
	struct client *c = rq->client;
	bool differs = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct server *s = pool_pick(c, (enum cluster_id)i);

		differs |= s && strcmp(s->keyspace ? s->keyspace : "", c->keyspace ? c->keyspace : "") != 0;
	}
	reply_send(rq, failed, error);
	request_end(rq);
	if (differs)
		client_drain(c, CLOSE_KEYSPACE, "USE failed on %s only", cluster_id_name(failed));
}

static void finish_undo(struct request *rq)
{
	struct frame error = kept_frame(rq);

	answer_failed_use(rq, (enum cluster_id)rq->kept.cluster, &error);
}

/* Nothing but a best-effort leg is out, and it will not end any more: the answer does not depend on it. */
static bool end_best_effort(struct request *rq)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->legs[i].role == LEG_BEST_EFFORT && rq->legs[i].outcome == OUTCOME_PENDING) {
			finish_undo(rq);
			return true;
		}
	}
	return false;
}

/* Both legs have ended; `f` is the answer that came last, of `leg`. */
static void answer_merged(struct request *rq, struct request_leg *leg, struct frame *f)
{
	struct frame answers[CLUSTER_COUNT];
	enum leg_outcome outcome[CLUSTER_COUNT];
	uint32_t code[CLUSTER_COUNT];
	enum merge_choice choice;

	answers[leg->cluster] = *f;
	answers[rq->kept.cluster] = kept_frame(rq);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		outcome[i] = (enum leg_outcome)rq->legs[i].outcome;
		code[i] = rq->legs[i].error_code;
	}
	choice = merge_choose(&rq->verdict, rq->opcode == OP_PREPARE,
			      rq->client->worker->settings->profile == PROFILE_ZDM, outcome, code);
	if (unlikely(choice == MERGE_WRITE_TIMEOUT)) {
		enum cluster_id failed = rq->verdict.answer_from;

		if (outcome[failed] == OUTCOME_OK)
			failed = failed == CLUSTER_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN;
		answer_write_timeout(rq, &answers[failed], failed);
		return;
	}
	if (unlikely(request_is_use(rq)) && outcome[choice] == OUTCOME_ERROR) {
		if (!undo_use(rq, (enum cluster_id)choice, &answers[choice]))
			answer_failed_use(rq, (enum cluster_id)choice, &answers[choice]);
		return;
	}
	if (unlikely(rq->opcode == OP_PREPARE) && outcome[CLUSTER_ORIGIN] == OUTCOME_OK &&
	    outcome[CLUSTER_TARGET] == OUTCOME_OK)
		reply_note_prepared(rq, answers);
	reply_send(rq, (enum cluster_id)choice, &answers[choice]);
	request_end(rq);
}

/* The leg has its final answer. */
static void leg_ended(struct request_leg *leg, struct frame *f)
{
	struct request *rq = leg->request;

	if (unlikely(leg->role == LEG_BEST_EFFORT)) {
		finish_undo(rq);
		return;
	}
	if (--rq->open > 0) {
		(void)keep_answer(rq, leg, f);
		return;
	}
	count_failure(rq);
	if (rq->has_kept) {
		answer_merged(rq, leg, f);
		return;
	}
	reply_send(rq, (enum cluster_id)leg->cluster, f);
	request_end(rq);
}

/* An UNPREPARED that the proxy can mend; true when that was begun. */
static bool try_repair(struct request_leg *leg, struct bytesview id)
{
	struct request *rq = leg->request;
	struct prepared_table *table = &rq->client->worker->proxy->prepared;
	struct prepared *entry;

	if ((rq->opcode != OP_EXECUTE && rq->opcode != OP_BATCH) || leg->repairs_left == 0)
		return false;
	if (rq->opcode == OP_EXECUTE) {
		entry = rq->prepared->entry;
		atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
	} else {
		entry = prepared_find_on(table, (enum cluster_id)leg->cluster, id);
		if (!entry)
			return false;
	}
	leg->repairs_left--;
	repair_start(leg, entry);
	prepared_unref(entry);
	return true;
}

static void on_error(struct request_leg *leg, struct frame *f)
{
	struct request *rq = leg->request;
	struct error_message error;
	struct plain plain;

	leg->error_code = open_error(rq, f, &plain, &error);
	leg->outcome = OUTCOME_ERROR;
	if (leg->error_code == CQL_ERR_UNPREPARED) {
		leg->outcome = OUTCOME_PENDING;
		if (try_repair(leg, error.unprepared_id)) {
			plain_close(&plain);
			return;
		}
		leg->outcome = OUTCOME_ERROR;
	}
	plain_close(&plain);
	leg_ended(leg, f);
}

static void request_leg_on_answer(struct leg *l, struct frame *f)
{
	struct request_leg *leg = container_of(l, struct request_leg, leg);
	struct request *rq = leg->request;

	Assert(leg->outcome == OUTCOME_PENDING);
	if (unlikely(f->opcode == OP_ERROR)) {
		on_error(leg, f);
		return;
	}
	leg->outcome = OUTCOME_OK;
	if (unlikely(f->opcode == OP_RESULT && rq->opcode == OP_QUERY && rq->verdict.class != CLASS_READ)) {
		struct server *s = pool_pick(rq->client, (enum cluster_id)leg->cluster);

		/* Where a connection stands after USE decides on which one a lost statement can be prepared again. */
		if (s)
			reply_note_keyspace(rq->client, f, &s->keyspace);
	}
	leg_ended(leg, f);
}

static void request_leg_on_lost(struct leg *l, const char *why)
{
	struct request_leg *leg = container_of(l, struct request_leg, leg);
	struct request *rq = leg->request;

	if (end_best_effort(rq))
		return;
	failure_sent(rq, "the connection to %s at %s was lost before it answered: %s",
		     cluster_id_name((enum cluster_id)leg->cluster), node_name(rq, leg->cluster), why);
}

static const struct leg_ops request_leg_ops = {
	.on_answer = request_leg_on_answer,
	.on_lost = request_leg_on_lost,
};

void requests_lost(struct client *c, enum cluster_id cluster, const char *node, const char *why)
{
	list_for_each_safe(pos, tmp, &c->requests) {
		struct request *rq = list_entry(pos, struct request, node);

		if (rq->legs[cluster].outcome == OUTCOME_PENDING && !end_best_effort(rq))
			failure_sent(rq, "the connection to %s at %s was lost before it answered: %s",
				     cluster_id_name(cluster), node, why);
	}
}

/* ---- repairs ---- */

void request_leg_resend(struct request_leg *leg, bool changed)
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
	if (!forward_leg(leg))
		request_leg_hopeless(leg, "the connection has no room to send the request again");
}

void request_leg_refused(struct request_leg *leg, struct frame *f)
{
	leg->repairs_left = 0;
	on_error(leg, f);
}

void request_leg_hopeless(struct request_leg *leg, const char *why)
{
	struct request *rq = leg->request;

	failure_sent(rq, "%s at %s had lost the prepared statement, and preparing it again failed: %s",
		     cluster_id_name((enum cluster_id)leg->cluster), node_name(rq, leg->cluster), why);
}
