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
#include "proxy/hooked.h"
#include "proxy/local.h"
#include "proxy/policy.h"
#include "proxy/replace.h"
#include "proxy/reply.h"
#include "proxy/rules.h"

/* Puts what holds for all requests into the verdict. True when hooks are to be asked for each of them besides. */
static bool apply_policy(const struct worker *worker, struct strview text, const struct statement_facts *facts,
			 struct strview keyspace, struct verdict *verdict)
{
	struct policy_statement *s = policy_statement_new(worker->policy, text, facts, keyspace, verdict);
	const bool is_asked = s && s->plan.ask;

	policy_statement_free(s);
	return is_asked;
}

/* `v` is the statement's own verdict. */
static void choose_clusters(struct request *rq, const struct verdict *v, bool is_asked)
{
	rq->verdict = route_both(rq->client->worker->settings, CLASS_CONTROL, WRITE_SIMPLE);
	/* Where routes mirror, both clusters prepare it, and the other one has its copies without a copy of this. */
	rq->verdict.mirror = v->decided_by == DECIDED_BY_DEFAULT ? v->mirror : MIRROR_NONE;
	rq->prepares_for = v->to;
	if (unlikely(is_asked)) {
		rq->prepares_for = 0;
		rq->may_refuse = TO_BOTH;
		return;
	}
	if (likely(v->decided_by != DECIDED_BY_RULE && v->decided_by != DECIDED_BY_HOOK) || v->to == TO_BOTH)
		return;
	if (v->mirror) { /* it gets the copies only */
		rq->may_refuse = (uint8_t)(TO_BOTH & ~v->to);
		return;
	}
	rq->verdict.to = v->to;
	rq->verdict.answer_from = v->answer_from;
}

/* A batch whose tables are on different clusters: none could prepare all of it. */
static void refuse_split(struct arrival *a, struct strview text, struct strview keyspace)
{
	const struct rule_list *rules = &a->c->worker->settings->rules;
	char why[FAILURE_TEXT_MAX];

	client_send_error(a->c, a->f->stream, CQL_ERR_INVALID, "%s",
			  rules_describe_split_text(rules, text, keyspace, why, sizeof(why)));
}

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
	bool is_asked = false;

	if (!message_parse_prepare(a->plain.data, a->plain.len, a->offset, c->version, &m, &why)) {
		arrival_refuse(a, why);
		return;
	}
	keyspace = m.keyspace.len > 0 ? m.keyspace : client_keyspace(c);
	statement_scan(m.text, &facts);
	verdict = route_statement(c->worker->settings, m.text, &facts, keyspace);
	if (unlikely(a->hooked != NULL)) {
		if (!hooked_prepare(a, &facts, &verdict))
			return;
		is_asked = hooked_may_route(a, &verdict);
	}
	if (verdict.to == 0) {
		local_prepare(a, &verdict, m.text, keyspace);
		return;
	}
	if (unlikely(c->worker->policy != NULL))
		is_asked |= apply_policy(c->worker, m.text, &facts, keyspace, &verdict);
	if (unlikely(verdict.is_split) && !is_asked) {
		refuse_split(a, m.text, keyspace);
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
	/*
	 * A USE may be answered before it. On a shared connection what names its keyspace is prepared in none, and where
	 * the clusters stand in different ones, any will do for it.
	 */
	if (c->keyspace && !(facts.is_qualified && (client_is_pooled(c) || c->split)))
		rq->keyspace = xstrdup(c->keyspace);
	rq->needs_keyspace = m.keyspace.len == 0 && !(facts.is_qualified && c->split); /* the id depends on it */
	rq->in_keyspace = rq->needs_keyspace ? rq->keyspace : NULL;
	rq->rewriting = rewriting;
	if (unlikely(rewriting))
		c->kept_bytes += rewriting->len;
	choose_clusters(rq, &verdict, is_asked);
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

static void close_answers(struct opened_prepared o[CLUSTER_COUNT], unsigned clusters)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (clusters & 1u << i)
			plain_close(&o[i].plain);
	}
}

/* The one of these clusters whose answer the client gets. */
static enum cluster_id reporter(unsigned clusters)
{
	return clusters & TO_ORIGIN ? CLUSTER_ORIGIN : CLUSTER_TARGET;
}

/*
 * Opens the answers of these clusters. One that has not prepared the statement is taken to have the same variables and
 * columns, as it has, if all is well; its id is to be found out. False when that of *bad cannot be read.
 */
static bool open_answers(struct request *rq, unsigned clusters, const struct frame answers[CLUSTER_COUNT],
			 struct opened_prepared o[CLUSTER_COUNT], enum cluster_id *bad)
{
	const enum cluster_id first = reporter(clusters);

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!(clusters & 1u << i) || open_prepared(rq, i, &answers[i], &o[i]))
			continue;
		close_answers(o, clusters & ((1u << i) - 1));
		*bad = (enum cluster_id)i;
		return false;
	}
	if (clusters != TO_BOTH)
		o[cluster_id_other(first)].answer = o[first].answer;
	return true;
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

/* An entry for the text that was sent, with what these clusters have said about it. NULL if that text cannot be read. */
static struct prepared *make_entry(struct request *rq, unsigned clusters,
				   const struct opened_prepared answers[CLUSTER_COUNT])
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
		const struct prepared_message *answer = &answers[i].answer.message;

		if (!(clusters & 1u << i))
			continue;
		prepared_learn(entry, (enum cluster_id)i, answer->id, answer->result_spec);
		if (rq->legs[i].node)
			prepared_note_on(entry, i, rq->legs[i].node->node->index);
	}
	entry->is_qualified = facts.is_qualified;
	entry->verdict = route_statement(c->worker->settings, m.text, &facts, keyspace);
	entry->bound = binds(c, answers, TYPE_COUNTER) ? BOUND_COUNTER : BOUND_NONE;
	entry->generation = c->worker->prepared.generation;
	entry->allows = amend_allows(m.text, &facts, keyspace, (enum bound_counter)entry->bound, c->worker->amends);
	entry->idempotence = idempotence_of(c, m.text, answers);
	take_key(entry, answers);
	return entry;
}

static void enter(struct request *rq, unsigned clusters, const struct opened_prepared answers[CLUSTER_COUNT],
		  struct prepared *entry)
{
	struct worker *worker = rq->client->worker;
	struct prepared *known = prepared_find_on(&worker->proxy->prepared, PREPARED_CLIENT, prepared_client_id(entry));

	prepared_report(entry, reporter(clusters), known);
	if (known) {
		prepared_unref(known); /* and said */
	} else if (!bytes_equal(answers[CLUSTER_ORIGIN].answer.message.bind_spec,
				answers[CLUSTER_TARGET].answer.message.bind_spec)) {
		metric_add(&worker->metrics.bind_mismatches, 1);
		log_limited(LOG_WARN, "the bind variables of a statement differ between origin and target: %.*s",
			    (int)MIN(entry->text_len, 200), entry->text);
	}
	prepared_insert(&worker->proxy->prepared, entry);
}

/* The statement as the client wrote it is prepared on these clusters. */
static void note_answers(struct request *rq, unsigned clusters, const struct frame answers[CLUSTER_COUNT])
{
	struct opened_prepared o[CLUSTER_COUNT];
	struct prepared *entry;
	enum cluster_id bad;

	if (!open_answers(rq, clusters, answers, o, &bad)) {
		log_limited(LOG_WARN, "%s answered PREPARE with a result that cannot be read; EXECUTE will be refused",
			    cluster_id_name(bad));
		return;
	}
	entry = make_entry(rq, clusters, o);
	if (entry) {
		if (unlikely(rq->rewriting)) {
			metric_add(&rq->client->worker->metrics.functions_kept[FUNCTIONS_REFUSED], 1);
			log_limited(LOG_WARN,
				    "a cluster did not prepare a statement with markers in place of its function "
				    "calls, so each cluster makes its own values: %.*s",
				    (int)MIN(entry->text_len, 200), entry->text);
		}
		enter(rq, clusters, o, entry);
	}
	close_answers(o, clusters);
}

/* ---- the answers to a text that we have changed ---- */

/* Sends the client's own text to the clusters that got the changed one. */
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
		if (!(rq->verdict.to & 1u << i))
			continue;
		rq->legs[i].outcome = OUTCOME_PENDING;
		rq->open++;
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if ((rq->verdict.to & 1u << i) && !forward_leg(&rq->legs[i], request_server(rq, i))) {
			failure_leg_unsent(rq, (enum cluster_id)i);
			return;
		}
	}
}

static void send_hidden(struct request *rq, enum cluster_id cluster, const struct plain *plain,
			const struct chunk *body, uint32_t len)
{
	reply_note_trace(rq->client, cluster, plain);
	client_send(rq->client, rq->stream, OP_RESULT, plain->flags, body->data, len);
	if (unlikely(rq->hook_number))
		hooked_answered(rq, cluster, NULL);
	client_check_output(rq->client);
	request_end(rq);
}

/*
 * All that were asked have prepared it: enters it and tells the client, without our variables. False if these are not
 * as they should be.
 */
static bool finish_rewritten(struct request *rq, unsigned clusters, const struct opened_prepared o[CLUSTER_COUNT])
{
	const struct prepared_answer answers[CLUSTER_COUNT] = { o[CLUSTER_ORIGIN].answer, o[CLUSTER_TARGET].answer };
	const enum cluster_id from = reporter(clusters);
	struct rewriting *r = rq->rewriting;
	struct generated *g = generated_new(r, answers);
	struct prepared *entry;
	struct chunk *body;
	uint32_t len;

	if (!g)
		return false;
	body = generated_hide(g, &r->id, &answers[from], &rq->client->worker->loop.chunks, &len);
	entry = body ? make_entry(rq, clusters, o) : NULL;
	if (!entry) {
		if (body)
			chunk_unref(body);
		free(g);
		return false;
	}
	entry->own_id = r->id;
	entry->generated = g;
	enter(rq, clusters, o, entry);
	send_hidden(rq, from, &o[from].plain, body, len);
	chunk_unref(body);
	return true;
}

/* Errors that may be about the text. Others, as OVERLOADED or UNAUTHORIZED, would be the same for the client's own. */
static bool is_refusal(uint32_t code)
{
	return code == CQL_ERR_SYNTAX_ERROR || code == CQL_ERR_INVALID || code == CQL_ERR_SERVER_ERROR ||
	       code == CQL_ERR_PROTOCOL_ERROR;
}

static void take_rewritten(struct request *rq, unsigned clusters, const struct frame answers[CLUSTER_COUNT])
{
	struct opened_prepared o[CLUSTER_COUNT];
	enum cluster_id bad;
	bool is_finished;

	if (!open_answers(rq, clusters, answers, o, &bad)) {
		send_unchanged(rq);
		return;
	}
	is_finished = finish_rewritten(rq, clusters, o);
	close_answers(o, clusters);
	if (!is_finished)
		send_unchanged(rq);
}

/* What the clusters were sent is a text that we have changed. */
static bool is_rewritten(const struct request *rq)
{
	return unlikely(rq->rewriting) && rq->rewriting->body;
}

/* ---- all answers are there ---- */

/* The cluster has no such table, or does not know this kind of statement, and need not. */
static bool may_refuse(const struct request *rq, enum cluster_id cluster, uint32_t code)
{
	return (rq->may_refuse & 1u << cluster) && (code == CQL_ERR_INVALID || code == CQL_ERR_SYNTAX_ERROR);
}

/* Not all of them have prepared it, but one has, and that will do. */
static bool passes_over(const struct request *rq, unsigned prepared, const uint32_t code[CLUSTER_COUNT])
{
	const enum cluster_id refusing = prepared == TO_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN;

	return prepared != 0 && may_refuse(rq, refusing, code[refusing]);
}

bool prepare_leaves_out(struct request *rq, enum cluster_id cluster, uint32_t code)
{
	const unsigned others = rq->verdict.to & ~(1u << cluster);

	if (others == 0 || !may_refuse(rq, cluster, code))
		return false;
	rq->verdict.to = (uint8_t)others;
	rq->verdict.answer_from = (uint8_t)cluster_id_other(cluster);
	return true;
}

bool prepare_take_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT],
			  const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT])
{
	unsigned prepared = 0;
	bool is_refused = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		prepared |= outcome[i] == OUTCOME_OK ? 1u << i : 0;
		is_refused |= outcome[i] == OUTCOME_ERROR && is_refusal(code[i]);
	}
	if (is_rewritten(rq) && is_refused) {
		send_unchanged(rq);
		return true;
	}
	if (is_rewritten(rq) && prepared == TO_BOTH) {
		take_rewritten(rq, TO_BOTH, answers);
		return true;
	}
	if (prepared == TO_BOTH) {
		note_answers(rq, TO_BOTH, answers);
	} else if (unlikely(passes_over(rq, prepared, code))) {
		const enum cluster_id from = reporter(prepared);

		note_answers(rq, prepared, answers);
		reply_send(rq, from, &answers[from]);
		request_end(rq);
		return true;
	}
	return false;
}

bool prepare_take_one(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	struct frame answers[CLUSTER_COUNT];

	answers[cluster] = *f;
	if (f->opcode != OP_ERROR && !is_rewritten(rq)) {
		note_answers(rq, 1u << cluster, answers);
		return false;
	}
	if (!is_rewritten(rq) || (f->opcode == OP_ERROR && !is_refusal(rq->legs[cluster].error_code)))
		return false;
	if (f->opcode == OP_ERROR)
		send_unchanged(rq);
	else
		take_rewritten(rq, 1u << cluster, answers);
	return true;
}
