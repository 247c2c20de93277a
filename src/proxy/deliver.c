/* deliver.c - see deliver.h */
#include "proxy/deliver.h"

#include <stdio.h>

#include "proxy/failure.h"
#include "proxy/forward.h"
#include "proxy/mirror.h"
#include "proxy/paging.h"
#include "proxy/pool_pick.h"
#include "proxy/repair.h"
#include "proxy/repeat.h"
#include "proxy/use.h"

/* A statement that this node may not have yet: a PREPARE goes there first. */
static bool lacks_statement(const struct request *rq, unsigned cluster, const struct server *s)
{
	return rq->prepared && !rq->is_local && !prepared_is_on(rq->prepared->entry, cluster, s->stats->node->index) &&
	       rq->legs[cluster].repairs_left > 0;
}

/* False when it could not be sent. */
static bool send_on(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;

	metric_add(&rq->client->worker->metrics.placed[leg->cluster][leg->placement], 1);
	if (unlikely(lacks_statement(rq, leg->cluster, s))) {
		leg->repairs_left--;
		leg->node = s->stats;
		repair_start(leg, rq->prepared->entry, &s->address, REPAIR_NEW);
		return true;
	}
	return forward_leg(leg, s);
}

static void fail_down(struct request *rq, unsigned cluster)
{
	failure_unsent(rq, CQL_ERR_UNAVAILABLE, "no node of %s is up; nothing was sent",
		       cluster_id_name((enum cluster_id)cluster));
}

/* A REVISE is about a request on one particular connection. */
static enum pool_answer pick(struct request *rq, unsigned cluster, struct server **out)
{
	if (unlikely(rq->opcode == OP_REVISE)) {
		*out = paging_server(rq);
		return *out && server_has_room(*out) ? POOL_PICKED : POOL_DOWN;
	}
	return pool_pick(rq, cluster, NULL, out);
}

/*
 * A cluster that is down need not hear of a USE: shared connections are put
 * into a keyspace when they are opened. Nor of a PREPARE for a statement that
 * does not go there: should it do so later, repair.h prepares it then.
 */
static bool does_without(struct request *rq, unsigned cluster)
{
	const unsigned others = rq->verdict.to & ~(1u << cluster);
	const bool prepares = rq->opcode == OP_PREPARE && !rq->rewriting && !(rq->prepares_for & 1u << cluster);

	if ((!use_is(rq) && !prepares) || others == 0)
		return false;
	rq->verdict.to = (uint8_t)others;
	rq->verdict.answer_from = (uint8_t)cluster_id_other((enum cluster_id)cluster);
	return true;
}

void deliver_request(struct request *rq)
{
	struct server *via[CLUSTER_COUNT] = { NULL, NULL };
	int waits_for = -1;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!(rq->verdict.to & 1u << i))
			continue;
		switch (pick(rq, i, &via[i])) {
		case POOL_PICKED:
			break;
		case POOL_WAIT:
			waits_for = (int)i;
			break;
		case POOL_DOWN:
			if (does_without(rq, i))
				break;
			fail_down(rq, i);
			return;
		}
	}
	/* The first one may have been there to wait for when the second one turned out to be down. */
	if (waits_for >= 0 && !(rq->verdict.to & 1u << waits_for))
		waits_for = -1;
	if (unlikely(waits_for >= 0)) {
		pool_wait(rq->client->pool[waits_for], &rq->legs[waits_for]);
		return;
	}
	if (rq->verdict.to != TO_BOTH)
		request_count_single(rq);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->verdict.to & 1u << i) {
			rq->legs[i].outcome = OUTCOME_PENDING;
			rq->open++;
		}
	}
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if ((rq->verdict.to & 1u << i) && unlikely(!send_on(&rq->legs[i], via[i]))) {
			/* Room was there a moment ago: there is no memory for it. */
			failure_leg_unsent(rq, (enum cluster_id)i);
			return;
		}
	}
	if (unlikely(rq->verdict.mirror))
		mirror_request(rq);
}

/* Sends one leg while the other one is out or has ended. */
static void send_again(struct request_leg *leg, const char *why)
{
	struct request *rq = leg->request;
	const struct net_address *not_at = leg->node ? &leg->node->node->address : NULL;
	struct server *s;

	switch (pool_pick(rq, leg->cluster, not_at, &s)) {
	case POOL_PICKED:
		if (!send_on(leg, s))
			failure_sent(rq, "the request could not be sent to %s once more",
				     cluster_id_name((enum cluster_id)leg->cluster));
		return;
	case POOL_WAIT:
		leg->is_resend = true;
		pool_wait(rq->client->pool[leg->cluster], leg);
		return;
	case POOL_DOWN:
		failure_sent(rq, "the connection to %s at %s was lost before it answered: %s; no other node is up",
			     cluster_id_name((enum cluster_id)leg->cluster), request_node_name(rq, leg->cluster), why);
		return;
	}
}

void deliver_continue(struct request_leg *leg)
{
	if (leg->is_resend) {
		leg->is_resend = false;
		send_again(leg, "its request waited for another one");
	} else {
		deliver_request(leg->request);
	}
}

void deliver_lost(struct request_leg *leg, const char *why)
{
	struct request *rq = leg->request;
	struct metrics *m = &rq->client->worker->metrics;

	/*
	 * Nothing has reached the node: as if it had not been chosen. Else one attempt more, where that does no harm. A
	 * REVISE is about this connection.
	 */
	if ((leg->leg.was_unsent && rq->opcode != OP_REVISE) || (!leg->was_moved && repeat_is_safe(rq))) {
		leg->was_moved |= !leg->leg.was_unsent;
		metric_add(&m->failovers[leg->cluster], 1);
		send_again(leg, why);
		return;
	}
	failure_sent(rq, "the connection to %s at %s was lost before it answered: %s%s",
		     cluster_id_name((enum cluster_id)leg->cluster), request_node_name(rq, leg->cluster), why,
		     leg->was_moved ? "" : "; it was not sent again, since it may have been applied");
}

void deliver_prepared(struct request_leg *leg, const struct net_address *host)
{
	struct request *rq = leg->request;
	struct server *s;

	/* The connection it was prepared over may be another user's, in another keyspace; any to the node will do. */
	if (!host || pool_pick_at(rq, leg->cluster, host, &s) != POOL_PICKED)
		send_again(leg, "it is not up any more");
	else if (!forward_leg(leg, s))
		send_again(leg, "it has no room");
}
