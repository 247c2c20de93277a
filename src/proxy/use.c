/* use.c - see use.h */
#include "proxy/use.h"

#include <string.h>

#include "proxy/answer.h"
#include "proxy/reply.h"

bool use_is(const struct request *rq)
{
	return (rq->opcode == OP_QUERY || rq->opcode == OP_EXECUTE) && rq->verdict.class == CLASS_CONTROL;
}

bool use_undo(struct request *rq, enum cluster_id failed, const struct frame *error)
{
	struct request_leg *leg = &rq->legs[cluster_id_other(failed)];
	struct client *c = rq->client;
	struct server *s = request_server(rq, leg->cluster);
	struct frame copy = *error;
	struct writer w;
	bool sent;

	if (client_is_pooled(c) || !s || !s->keyspace || !c->keyspace || strcmp(s->keyspace, c->keyspace) == 0)
		return false;
	if (rq->kept.cluster != failed) {
		answer_drop_kept(rq);
		if (!answer_keep(rq, &rq->legs[failed], &copy))
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

void use_answer_failed(struct request *rq, enum cluster_id failed, const struct frame *error)
{
	struct client *c = rq->client;
	bool differs = false;

	/* A shared connection never changes its keyspace. */
	for (unsigned i = 0; i < CLUSTER_COUNT && !client_is_pooled(c); i++) {
		const struct server *s = request_server(rq, i);

		differs |= s && strcmp(s->keyspace ? s->keyspace : "", c->keyspace ? c->keyspace : "") != 0;
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
