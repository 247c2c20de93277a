/* prepare.c - see prepare.h */
#include "proxy/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cql/idempotence.h"
#include "cql/routing_key.h"
#include "proxy/amend.h"
#include "proxy/answer.h"
#include "proxy/deliver.h"
#include "proxy/failure.h"
#include "proxy/forward.h"
#include "proxy/local.h"
#include "proxy/replace.h"
#include "proxy/reply.h"

void prepare_dispatch(struct arrival *a)
{
	struct client *c = a->c;
	struct statement_facts facts;
	struct prepare_message m;
	struct strview keyspace;
	struct rewriting *rewriting = NULL;
	struct verdict verdict;
	struct request *rq;
	const char *why;

	if (!message_parse_prepare(a->plain.data, a->plain.len, a->offset, c->version, &m, &why)) {
		arrival_refuse(a, why);
		return;
	}
	keyspace = m.keyspace.len > 0 ? m.keyspace : client_keyspace(c);
	statement_scan(m.text, &facts);
	verdict = route_statement(c->worker->settings, &facts, keyspace);
	if (verdict.to == 0) {
		local_prepare(a, &verdict, m.text, keyspace);
		return;
	}
	if (unlikely(a->amends) && !amend_prepare(a, &m))
		return;
	/* Behind it: the body as it is now is what the clusters get if one refuses the changed text. */
	if (unlikely(c->worker->settings->replace_cql_functions) &&
	    !replace_in_prepare(a, &m, facts.is_qualified, &rewriting))
		return;
	rq = request_new(c, a->f, &a->plain);
	if (!rq) {
		replace_free_rewriting(rewriting);
		return;
	}
	/* A USE may be answered before it. On a shared connection what names its keyspace is prepared in none. */
	if (c->keyspace && !(client_is_pooled(c) && facts.is_qualified))
		rq->keyspace = xstrdup(c->keyspace);
	rq->needs_keyspace = m.keyspace.len == 0; /* the id depends on it */
	rq->in_keyspace = rq->needs_keyspace ? rq->keyspace : NULL;
	rq->rewriting = rewriting;
	if (unlikely(rewriting))
		c->kept_bytes += rewriting->len;
	rq->verdict = route_both(c->worker->settings, CLASS_CONTROL, WRITE_SIMPLE);
	rq->verdict.mirror = verdict.mirror;
	rq->prepares_for = verdict.to;
	if (unlikely(a->amends))
		amend_request(a, rq);
	request_start(rq);
}

void prepare_forget(struct request *rq)
{
	free(rq->keyspace);
	rq->keyspace = NULL;
	if (!rq->rewriting)
		return;
	rq->client->kept_bytes -= rq->rewriting->len;
	replace_free_rewriting(rq->rewriting);
	rq->rewriting = NULL;
}

/* ---- the answers ---- */

struct opened_prepared {
	struct plain plain;
	struct prepared_answer answer;
};

static bool open_prepared(struct request *rq, unsigned cluster, const struct frame *f, struct opened_prepared *o)
{
	struct client *c = rq->client;
	struct prepared_message *m = &o->answer.message;
	uint32_t offset = 0;
	const char *why;

	if (!plain_open(&o->plain, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why))
		return false;
	o->answer.body = o->plain.data;
	o->answer.len = o->plain.len;
	if (message_skip_preamble(o->plain.data, o->plain.len, o->plain.flags, true, &offset, &why) &&
	    message_parse_prepared(o->plain.data, o->plain.len, offset, f->version, m, &why) && m->id.len > 0 &&
	    m->id.len <= PREPARED_ID_MAX)
		return true;
	plain_close(&o->plain);
	return false;
}

/* Opens the answers one after another; returns how many could be read. */
static unsigned open_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT],
			     struct opened_prepared o[CLUSTER_COUNT])
{
	unsigned opened = 0;

	while (opened < CLUSTER_COUNT && open_prepared(rq, opened, &answers[opened], &o[opened]))
		opened++;
	return opened;
}

static void close_answers(struct opened_prepared o[CLUSTER_COUNT], unsigned opened)
{
	while (opened > 0)
		plain_close(&o[--opened].plain);
}

static bool bytes_equal(struct bytesview a, struct bytesview b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* One of the variables is of this type, on either cluster. */
static bool binds(const struct client *c, const struct opened_prepared answers[CLUSTER_COUNT], uint16_t type)
{
	return message_prepared_binds(&answers[CLUSTER_ORIGIN].answer.message, c->version, type) ||
	       message_prepared_binds(&answers[CLUSTER_TARGET].answer.message, c->version, type);
}

/* Whether it may be repeated: where no variable is a list, the values need not be looked at. */
static uint8_t idempotence_of(const struct client *c, struct strview text,
			      const struct opened_prepared answers[CLUSTER_COUNT])
{
	uint8_t bits = idempotence_scan(text);

	if ((bits & IDEMPOTENT_BINDS_COLUMN) && !binds(c, answers, TYPE_LIST))
		bits &= (uint8_t)~IDEMPOTENT_BINDS_COLUMN;
	return bits;
}

/* The partition key and its table, as the clusters have them. They have one table, if all is well, and count alike. */
static void take_key(struct prepared *entry, const struct opened_prepared answers[CLUSTER_COUNT])
{
	struct strview keyspace, table;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct prepared_answer *a = &answers[i].answer;

		entry->key[i] = routing_key_new(a->body, a->len, &a->message);
	}
	if (routing_key_equal(entry->key[CLUSTER_ORIGIN], entry->key[CLUSTER_TARGET])) {
		free(entry->key[CLUSTER_TARGET]);
		entry->key[CLUSTER_TARGET] = entry->key[CLUSTER_ORIGIN];
	}
	routing_key_table(answers[CLUSTER_ORIGIN].answer.body, answers[CLUSTER_ORIGIN].answer.len,
			  &answers[CLUSTER_ORIGIN].answer.message, &keyspace, &table);
	if (keyspace.len == 0)
		return;
	entry->table_keyspace = xstrndup(keyspace.p, keyspace.len);
	entry->table = xstrndup(table.p, table.len);
}

/* An entry for the text that was sent, with what the clusters have said about it. NULL if that text cannot be read. */
static struct prepared *make_entry(struct request *rq, const struct opened_prepared answers[CLUSTER_COUNT])
{
	struct client *c = rq->client;
	struct statement_facts facts;
	struct prepare_message m;
	struct prepared *entry;
	struct strview keyspace;
	uint32_t offset = 0;
	const char *why;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_prepare(rq->data, rq->len, offset, c->version, &m, &why))
		return NULL;
	keyspace = m.keyspace.len > 0 ? m.keyspace : sv_from(rq->keyspace ? rq->keyspace : "");
	statement_scan(m.text, &facts);
	entry = prepared_new(m.text, keyspace);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		const struct bytesview id = answers[i].answer.message.id;

		memcpy(entry->id[i].bytes, id.p, id.len);
		entry->id[i].len = (uint8_t)id.len;
		if (rq->legs[i].node)
			prepared_note_on(entry, i, rq->legs[i].node->node->index);
	}
	entry->is_qualified = facts.is_qualified;
	entry->verdict = route_statement(c->worker->settings, &facts, keyspace);
	entry->bound = binds(c, answers, TYPE_COUNTER) ? BOUND_COUNTER : BOUND_NONE;
	entry->generation = c->worker->prepared.generation;
	entry->allows = amend_allows(m.text, &facts, keyspace, (enum bound_counter)entry->bound, c->worker->amends);
	entry->idempotence = idempotence_of(c, m.text, answers);
	entry->results_equal = bytes_equal(answers[CLUSTER_ORIGIN].answer.message.result_spec,
					   answers[CLUSTER_TARGET].answer.message.result_spec);
	take_key(entry, answers);
	return entry;
}

static void enter(struct request *rq, const struct opened_prepared answers[CLUSTER_COUNT], struct prepared *entry)
{
	struct worker *worker = rq->client->worker;
	struct prepared *known = prepared_find_on(&worker->proxy->prepared, PREPARED_CLIENT, prepared_client_id(entry));

	if (known) {
		/* A client of v3, whose PREPARED has no place for it, must not take it from those of v4. */
		if (!entry->key[CLUSTER_ORIGIN] && !entry->key[CLUSTER_TARGET])
			prepared_copy_key(entry, known);
		for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
			if (prepared_id_equal(&known->id[i], answers[i].answer.message.id))
				prepared_copy_nodes(entry, known, i);
		}
		prepared_unref(known); /* and said */
	} else if (!bytes_equal(answers[CLUSTER_ORIGIN].answer.message.bind_spec,
				answers[CLUSTER_TARGET].answer.message.bind_spec)) {
		metric_add(&worker->metrics.bind_mismatches, 1);
		log_limited(LOG_WARN, "the bind variables of a statement differ between origin and target: %.*s",
			    (int)MIN(entry->text_len, 200), entry->text);
	}
	prepared_insert(&worker->proxy->prepared, entry);
}

/* The statement as the client wrote it is prepared on both clusters. */
static void note_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT])
{
	struct opened_prepared o[CLUSTER_COUNT];
	const unsigned opened = open_answers(rq, answers, o);
	struct prepared *entry;

	if (opened < CLUSTER_COUNT) {
		log_limited(LOG_WARN, "%s answered PREPARE with a result that cannot be read; EXECUTE will be refused",
			    cluster_id_name((enum cluster_id)opened));
	} else if ((entry = make_entry(rq, o))) {
		if (unlikely(rq->rewriting)) {
			metric_add(&rq->client->worker->metrics.functions_kept[FUNCTIONS_REFUSED], 1);
			log_limited(LOG_WARN,
				    "a cluster did not prepare a statement with markers in place of its function "
				    "calls, so each cluster makes its own values: %.*s",
				    (int)MIN(entry->text_len, 200), entry->text);
		}
		enter(rq, o, entry);
	}
	close_answers(o, opened);
}

void prepare_take_one(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	const enum cluster_id other = cluster_id_other(cluster);
	struct prepared_table *table = &rq->client->worker->proxy->prepared;
	struct opened_prepared o[CLUSTER_COUNT];
	struct prepared *entry;
	struct prepared *known;

	if (!open_prepared(rq, cluster, f, &o[cluster]))
		return;
	/* The variables are the same there, if all is well; the id is to be found out. */
	o[other].answer = o[cluster].answer;
	entry = make_entry(rq, o);
	plain_close(&o[cluster].plain);
	if (!entry)
		return;
	entry->id[other].len = 0;
	entry->results_equal = false;
	known = prepared_find_on(table, PREPARED_CLIENT, prepared_client_id(entry));
	if (known && known->id[other].len > 0) {
		prepared_copy_nodes(known, entry, cluster);
		prepared_unref(entry);
	} else {
		prepared_insert(table, entry);
	}
	if (known)
		prepared_unref(known);
}

/* ---- the answers to a text that we have changed ---- */

/* Sends the client's own text to both clusters. */
static void send_unchanged(struct request *rq)
{
	struct rewriting *r = rq->rewriting;

	answer_drop_kept(rq);
	request_change_body(rq, r->body, r->data, r->len);
	rq->client->kept_bytes -= r->len;
	r->body = NULL;
	r->len = 0;
	if (client_is_pooled(rq->client)) {
		rq->verdict.mirror = MIRROR_NONE; /* it has its copy */
		deliver_request(rq);
		return;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		rq->legs[i].outcome = OUTCOME_PENDING;
		rq->open++;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!forward_leg(&rq->legs[i], request_server(rq, i))) {
			failure_sent(rq, "the request could not be sent to %s", cluster_id_name((enum cluster_id)i));
			return;
		}
	}
}

static void send_hidden(struct request *rq, const struct plain *plain, const struct chunk *body, uint32_t len)
{
	reply_note_trace(rq->client, CLUSTER_ORIGIN, plain);
	client_send(rq->client, rq->stream, OP_RESULT, plain->flags, body->data, len);
	client_check_output(rq->client);
	request_end(rq);
}

/* Both have prepared it: enters it and tells the client, without our variables. False if these are not as they should be. */
static bool finish_rewritten(struct request *rq, const struct opened_prepared o[CLUSTER_COUNT])
{
	const struct prepared_answer answers[CLUSTER_COUNT] = { o[CLUSTER_ORIGIN].answer, o[CLUSTER_TARGET].answer };
	struct rewriting *r = rq->rewriting;
	struct generated *g = generated_new(r, answers);
	struct prepared *entry;
	struct chunk *body;
	uint32_t len;

	if (!g)
		return false;
	body = generated_hide(g, &r->id, &answers[CLUSTER_ORIGIN], &rq->client->worker->loop.chunks, &len);
	entry = body ? make_entry(rq, o) : NULL;
	if (!entry) {
		if (body)
			chunk_unref(body);
		free(g);
		return false;
	}
	entry->own_id = r->id;
	entry->generated = g;
	enter(rq, o, entry);
	send_hidden(rq, &o[CLUSTER_ORIGIN].plain, body, len);
	chunk_unref(body);
	return true;
}

/* Errors that may be about the text. Others, as OVERLOADED or UNAUTHORIZED, would be the same for the client's own. */
static bool is_refusal(uint32_t code)
{
	return code == CQL_ERR_SYNTAX_ERROR || code == CQL_ERR_INVALID || code == CQL_ERR_SERVER_ERROR ||
	       code == CQL_ERR_PROTOCOL_ERROR;
}

static void take_rewritten(struct request *rq, const struct frame answers[CLUSTER_COUNT])
{
	struct opened_prepared o[CLUSTER_COUNT];
	const unsigned opened = open_answers(rq, answers, o);
	const bool is_finished = opened == CLUSTER_COUNT && finish_rewritten(rq, o);

	close_answers(o, opened);
	if (!is_finished)
		send_unchanged(rq);
}

bool prepare_take_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT],
			  const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT])
{
	const bool is_rewritten = unlikely(rq->rewriting) && rq->rewriting->body;
	bool is_prepared = true;
	bool is_refused = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		is_prepared &= outcome[i] == OUTCOME_OK;
		is_refused |= outcome[i] == OUTCOME_ERROR && is_refusal(code[i]);
	}
	if (is_rewritten && is_refused) {
		send_unchanged(rq);
		return true;
	}
	if (is_prepared && is_rewritten) {
		take_rewritten(rq, answers);
		return true;
	}
	if (is_prepared)
		note_answers(rq, answers);
	return false;
}
