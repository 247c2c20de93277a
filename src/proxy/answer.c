/*
 * answer.c - see answer.h
 */
#include "proxy/answer.h"

#include <stdio.h>
#include <string.h>

#include "proxy/divergence.h"
#include "proxy/failure.h"
#include "proxy/local_trace.h"
#include "proxy/paging.h"
#include "proxy/prepare.h"
#include "proxy/repair.h"
#include "proxy/reply.h"
#include "proxy/use.h"

void answer_drop_kept(struct request *rq)
{
	if (rq->has_kept && rq->kept.chunk)
		chunk_unref(rq->kept.chunk);
	rq->has_kept = false;
}

/* False without memory for it; the request has been answered then. */
bool answer_keep(struct request *rq, const struct request_leg *leg, const struct frame *f)
{
	struct kept_answer *k = &rq->kept;

	k->cluster = leg->cluster;
	k->version = f->version;
	k->opcode = f->opcode;
	k->flags = f->flags;
	k->len = f->length;
	k->came_ns = loop_now(&rq->client->worker->loop);
	k->chunk = NULL;
	k->body = k->small;
	if (f->length <= SMALL_ANSWER) {
		memcpy(k->small, f->body, f->length);
	} else {
		k->chunk = request_keep_bytes(&rq->client->worker->loop, f->chunk, f->body, f->length, false, &k->body);
		if (!k->chunk) {
			failure_sent(rq, "no memory to keep the answer of %s (%u bytes)",
				     cluster_id_name((enum cluster_id)leg->cluster), f->length);
			return false;
		}
	}
	rq->has_kept = true;
	return true;
}

struct frame answer_kept(struct request *rq)
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
static uint32_t open_error(struct request *rq, unsigned cluster, const struct frame *f, struct plain *plain,
			   struct error_message *out)
{
	struct client *c = rq->client;
	uint32_t offset = 0;
	const char *why;

	*out = (struct error_message){ .text = SV("an error that cannot be read") };
	if (!plain_open(plain, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why)) {
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
	if (rq->type == REQUEST_WRITES) {
		metric_add(&m->failed_writes[origin && target ? FAILED_ON_BOTH
					     : origin         ? FAILED_ON_ORIGIN
							      : FAILED_ON_TARGET],
			   1);
		return;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		metric_add(&m->failed_reads[i], rq->legs[i].outcome == OUTCOME_ERROR);
}

/* One cluster has or may have applied the write, the other one refused it in a way that drivers take for "send it again". */
static void answer_write_timeout(struct request *rq, const struct frame *failed, enum cluster_id cluster)
{
	struct error_message error;
	struct plain plain;
	char text[512];

	open_error(rq, cluster, failed, &plain, &error);
	snprintf(text, sizeof(text), "may have been applied on %s, but %s at %s answered %s: %.*s",
		 cluster_id_name(cluster_id_other(cluster)), cluster_id_name(cluster), request_node_name(rq, cluster),
		 cql_error_name(error.code), (int)MIN(error.text.len, 300), error.text.p);
	plain_close(&plain);
	failure_text(rq, sv_from(text));
}

/* Whether a look at the answers may show that the clusters have parted. */
static inline bool may_diverge(const struct request *rq)
{
	return rq->verdict.class == CLASS_WRITE &&
	       (rq->verdict.write_type == WRITE_CAS || rq->opcode == OP_BATCH ||
		rq->legs[CLUSTER_ORIGIN].outcome != rq->legs[CLUSTER_TARGET].outcome);
}

/* Both clusters have done what they were told, and nothing has to be looked at: which answer counts is known. */
static ALWAYS_INLINE bool is_agreed(const struct request *rq)
{
	return rq->legs[CLUSTER_ORIGIN].outcome == OUTCOME_OK && rq->legs[CLUSTER_TARGET].outcome == OUTCOME_OK &&
	       (rq->opcode == OP_EXECUTE || rq->opcode == OP_QUERY) && rq->verdict.write_type != WRITE_CAS;
}

static ALWAYS_INLINE void answer_agreed(struct request *rq, const struct request_leg *leg, const struct frame *f)
{
	const struct frame kept = answer_kept(rq);

	reply_send(rq, (enum cluster_id)rq->verdict.answer_from, leg->cluster == rq->verdict.answer_from ? f : &kept);
	request_end(rq);
}

/* Both legs have ended; `f` is the answer that came last, of `leg`. */
static void answer_merged(struct request *rq, struct request_leg *leg, struct frame *f)
{
	struct frame answers[CLUSTER_COUNT];
	enum leg_outcome outcome[CLUSTER_COUNT];
	uint32_t code[CLUSTER_COUNT];
	enum merge_choice choice;

	answers[leg->cluster] = *f;
	answers[rq->kept.cluster] = answer_kept(rq);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		outcome[i] = (enum leg_outcome)rq->legs[i].outcome;
		code[i] = rq->legs[i].error_code;
	}
	if (unlikely(may_diverge(rq)))
		divergence_check(rq, answers);
	choice = merge_choose(&rq->verdict, rq->opcode == OP_PREPARE,
			      rq->client->worker->settings->profile == PROFILE_ZDM, outcome, code);
	if (unlikely(choice == MERGE_WRITE_TIMEOUT)) {
		enum cluster_id failed = rq->verdict.answer_from;

		if (outcome[failed] == OUTCOME_OK)
			failed = cluster_id_other(failed);
		answer_write_timeout(rq, &answers[failed], failed);
		return;
	}
	if (unlikely(use_is(rq)) && outcome[choice] == OUTCOME_ERROR) {
		if (!use_undo(rq, (enum cluster_id)choice, &answers[choice]))
			use_answer_failed(rq, (enum cluster_id)choice, &answers[choice]);
		return;
	}
	if (unlikely(rq->opcode == OP_PREPARE) && prepare_take_answers(rq, answers, outcome, code))
		return;
	reply_send(rq, (enum cluster_id)choice, &answers[choice]);
	request_end(rq);
}

/* The counters of the node that the leg went to; NULL for what is in no request metric. */
static struct node_stats *counted_at(const struct request_leg *leg)
{
	const struct request *rq = leg->request;

	return likely(rq->type != REQUEST_UNTRACKED) ? leg->node : NULL;
}

/* The leg has its final answer. */
static void leg_ended(struct request_leg *leg, struct frame *f)
{
	struct request *rq = leg->request;
	struct node_stats *stats;

	if (unlikely(leg->role != LEG_REQUIRED)) {
		if (leg->role == LEG_TRACE)
			local_trace_answered(rq, f);
		else
			use_finish_undo(rq);
		return;
	}
	stats = counted_at(leg);
	if (likely(stats))
		node_observe(stats, rq->type == REQUEST_WRITES ? NODE_WRITES : NODE_READS,
			     loop_now(&rq->client->worker->loop) - rq->started_ns);
	if (--rq->open > 0) {
		(void)answer_keep(rq, leg, f);
		return;
	}
	count_failure(rq);
	if (rq->has_kept) {
		if (likely(is_agreed(rq)))
			answer_agreed(rq, leg, f);
		else
			answer_merged(rq, leg, f);
		return;
	}
	if (unlikely(rq->opcode == OP_PREPARE) && !rq->is_local &&
	    prepare_take_one(rq, (enum cluster_id)leg->cluster, f))
		return;
	if (unlikely(rq->opcode == OP_REVISE))
		paging_revised(rq, (enum cluster_id)leg->cluster, f);
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
		if (entry->verdict.to == 0) { /* ours (local.h): no node can have lost it */
			prepared_unref(entry);
			return false;
		}
	}
	leg->repairs_left--;
	prepared_forget(entry, leg->cluster, leg->node->node->index);
	repair_start(leg, entry, &leg->node->node->address, REPAIR_LOST);
	prepared_unref(entry);
	return true;
}

void answer_error(struct request_leg *leg, struct frame *f)
{
	struct request *rq = leg->request;
	struct node_stats *stats = counted_at(leg);
	struct error_message error;
	struct plain plain;

	leg->error_code = open_error(rq, leg->cluster, f, &plain, &error);
	leg->outcome = OUTCOME_ERROR;
	/* An UNPREPARED that is repaired counts, too: the node has lost the statement. */
	if (stats && leg->role == LEG_REQUIRED)
		node_count_error(stats, leg->error_code);
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

void answer_on_leg(struct leg *l, struct frame *f)
{
	struct request_leg *leg = container_of(l, struct request_leg, leg);
	struct request *rq = leg->request;

	Assert(leg->outcome == OUTCOME_PENDING);
	if (unlikely(leg_is_out(l))) {
		paging_on_page(leg, f);
		return;
	}
	if (unlikely(f->opcode == OP_ERROR)) {
		answer_error(leg, f);
		return;
	}
	leg->outcome = OUTCOME_OK;
	if (unlikely(f->opcode == OP_RESULT && rq->verdict.class != CLASS_READ &&
		     (rq->opcode == OP_QUERY || rq->verdict.class == CLASS_CONTROL))) {
		struct server *s = client_is_pooled(rq->client) ? NULL : request_server(rq, leg->cluster);

		/* Where a connection stands after USE decides on which one a lost statement can be prepared again. */
		if (s)
			reply_note_keyspace(rq->client, leg->cluster, f, &s->keyspace);
	}
	leg_ended(leg, f);
}
