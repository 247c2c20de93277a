/* use.c - see use.h */
#include "proxy/use.h"

#include <stdlib.h>
#include <string.h>

#include "cql/statement_tables.h"
#include "proxy/answer.h"
#include "proxy/failure.h"
#include "proxy/prepare.h"
#include "proxy/reply.h"

/* ---- where the clusters stand ---- */

static bool is_same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

const char *use_keyspace_on(const struct client *c, unsigned cluster)
{
	return unlikely(c->split) ? c->split->keyspace[cluster] : c->keyspace;
}

void use_forget_split(struct client *c)
{
	if (!c->split)
		return;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		free(c->split->keyspace[i]);
	free(c->split);
	c->split = NULL;
}

void use_note_split(struct client *c)
{
	bool differs = false;

	use_forget_split(c);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		differs |= c->server[i] && !is_same(c->server[i]->keyspace, c->keyspace);
	if (!differs)
		return;
	c->split = xcalloc(1, sizeof(*c->split));
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (c->server[i] && c->server[i]->keyspace)
			c->split->keyspace[i] = xstrdup(c->server[i]->keyspace);
	}
}

/* A closer look at DDL and at the text of a batch, of which statement_scan() does not say it: all names have a keyspace. */
static bool names_all_keyspaces(const struct request *rq)
{
	struct statement_tables tables = { .count = 0 };
	struct statement_facts facts;
	struct query_message m;
	uint32_t offset = 0;
	bool names = true;
	const char *why;

	if (rq->opcode != OP_QUERY || !message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_query(rq->data, rq->len, offset, rq->client->version, &m, &why))
		return false;
	statement_scan(m.text, &facts);
	statement_tables_scan(m.text, &facts, SV(""), &tables);
	for (unsigned i = 0; i < tables.count; i++)
		names &= tables.items[i].keyspace.len > 0;
	return names && tables.count > 0 && !tables.is_incomplete;
}

bool use_check_split(struct request *rq)
{
	const struct client *c = rq->client;

	for (unsigned i = 0; c->split && i < CLUSTER_COUNT; i++) {
		const char *there = c->split->keyspace[i];

		if (!(rq->verdict.to & 1u << i) || is_same(there, c->keyspace))
			continue;
		if (prepare_leaves_out(rq, (enum cluster_id)i, CQL_ERR_INVALID))
			continue;
		if (names_all_keyspaces(rq))
			return true;
		failure_unsent(rq, CQL_ERR_INVALID,
			       "the connection is in keyspace %s, but on %s it is in %s%s: USE went to %s only; name "
			       "the table with its keyspace; nothing was sent",
			       c->keyspace ? c->keyspace : "(none)", cluster_id_name((enum cluster_id)i),
			       there ? "keyspace " : "none", there ? there : "",
			       cluster_id_name(cluster_id_other((enum cluster_id)i)));
		return false;
	}
	return true;
}

/* ---- USE itself ---- */

bool use_is(const struct request *rq)
{
	return (rq->opcode == OP_QUERY || rq->opcode == OP_EXECUTE) && rq->verdict.class == CLASS_CONTROL;
}

bool use_undo(struct request *rq, enum cluster_id failed, const struct frame *error)
{
	struct request_leg *leg = &rq->legs[cluster_id_other(failed)];
	struct client *c = rq->client;
	struct server *s = request_server(rq, leg->cluster);
	const char *before = use_keyspace_on(c, leg->cluster);
	struct frame copy = *error;
	struct writer w;
	bool sent;

	if (client_is_pooled(c) || !s || !s->keyspace || !before || strcmp(s->keyspace, before) == 0)
		return false;
	if (rq->kept.cluster != failed) {
		answer_drop_kept(rq);
		if (!answer_keep(rq, &rq->legs[failed], &copy))
			return true;
	}
	writer_init(&w);
	login_write_use(&w, before, s->version);
	sent = server_send_body(s, &leg->leg, OP_QUERY, 0, w.data, w.len);
	writer_free(&w);
	if (!sent)
		return false;
	leg->role = LEG_BEST_EFFORT;
	rq->open = 1;
	leg->outcome = OUTCOME_PENDING;
	return true;
}

void use_answer_failed(struct request *rq, enum cluster_id failed, const struct frame *error)
{
	struct client *c = rq->client;
	bool differs = false;

	/* A shared connection never changes its keyspace. */
	for (unsigned i = 0; i < CLUSTER_COUNT && !client_is_pooled(c); i++) {
		const struct server *s = request_server(rq, i);

		differs |= s && !is_same(s->keyspace, use_keyspace_on(c, i));
	}
	reply_send(rq, failed, error);
	request_end(rq);
	if (differs)
		client_drain(c, CLOSE_KEYSPACE, "USE failed on %s only", cluster_id_name(failed));
}

void use_finish_undo(struct request *rq)
{
	struct frame error = answer_kept(rq);

	use_answer_failed(rq, (enum cluster_id)rq->kept.cluster, &error);
}

bool use_end_undo(struct request *rq)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->legs[i].role == LEG_BEST_EFFORT && rq->legs[i].outcome == OUTCOME_PENDING) {
			use_finish_undo(rq);
			return true;
		}
	}
	return false;
}
