/* paging.c - see paging.h */
#include "proxy/paging.h"

#include <stdlib.h>

#include "cql/rows.h"
#include "proxy/failure.h"
#include "proxy/hooked.h"
#include "proxy/pages.h"
#include "proxy/reply.h"

/* What a request with pages and the REVISEs about it have in common; lives as long as any of them. */
struct paging {
	unsigned refs;
	struct request *request; /* NULL once it has ended */
	/* The driver says how many pages it is ready for, and this many of them are still to come; below 0: too many came. */
	bool is_limited;
	int64_t owed;
};

static void paging_unref(struct paging *p)
{
	if (--p->refs == 0)
		free(p);
}

static void restart_timer(struct request *rq)
{
	struct worker *worker = rq->client->worker;

	timeout_stop(&rq->timeout);
	timeout_start(&worker->loop, route_extras_queue(rq), &rq->timeout);
}

/* ---- the request with pages ---- */

void paging_begin(struct request *rq, const struct query_params *params)
{
	struct paging *p = xcalloc(1, sizeof(*p));

	p->refs = 1;
	p->request = rq;
	p->is_limited = params->next_pages > 0 && params->next_pages <= INT32_MAX;
	p->owed = params->next_pages;
	rq->paging = p;
	/* It goes on when the driver says so, on a connection that has to be read for that. */
	rq->client->paging_count++;
	rq->verdict.mirror = MIRROR_NONE;    /* one answer is all that a copy may have */
	if (rq->verdict.class == CLASS_READ) /* nobody could merge the pages of both */
		rq->verdict.to = (uint8_t)(1u << rq->verdict.answer_from);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		rq->legs[i].leg.takes_pages = true;
}

void paging_on_page(struct request_leg *leg, struct frame *f)
{
	struct request *rq = leg->request;
	struct paging *p = rq->paging;

	/* Not a read, as far as we can tell: nobody could merge the pages of both. */
	if (rq->verdict.to == TO_BOTH) {
		failure_sent(rq, "%s at %s sent one of many pages for a request that went to both clusters",
			     cluster_id_name((enum cluster_id)leg->cluster), request_node_name(rq, leg->cluster));
		return;
	}
	if (p->is_limited)
		p->owed--;
	if (p->is_limited && p->owed <= 0 && !rq->client->is_draining)
		timeout_stop(&rq->timeout);
	else
		restart_timer(rq);
	reply_send(rq, (enum cluster_id)leg->cluster, f);
}

bool paging_may_wait(struct request *rq)
{
	/* Then the node is not read either. A client that never reads again is client_write_timeout's. */
	if (!rq->client->is_throttled || rq->paging->request != rq)
		return false;
	restart_timer(rq);
	return true;
}

void paging_drain(struct client *c)
{
	list_for_each_safe(pos, tmp, &c->requests) {
		struct request *rq = list_entry(pos, struct request, node);

		if (rq->paging && rq->paging->request == rq && rq->paging->is_limited && rq->paging->owed <= 0)
			restart_timer(rq);
	}
}

void paging_end(struct request *rq)
{
	struct paging *p = rq->paging;

	if (p->request == rq) {
		p->request = NULL;
		rq->client->paging_count--;
	}
	rq->paging = NULL;
	paging_unref(p);
}

/* ---- REVISE ---- */

static struct request *find_request(const struct client *c, uint32_t stream)
{
	list_for_each_safe(pos, tmp, &c->requests) {
		struct request *rq = list_entry(pos, struct request, node);

		if (rq->paging && rq->paging->request == rq && (uint32_t)rq->stream == stream)
			return rq;
	}
	return NULL;
}

/* The leg on which its pages come; NULL while there is none, as long as a lost statement is being prepared again. */
static struct request_leg *leg_of(struct request *rq)
{
	for (unsigned i = 0; rq && i < CLUSTER_COUNT; i++) {
		if (leg_is_out(&rq->legs[i].leg))
			return &rq->legs[i];
	}
	return NULL;
}

struct server *paging_server(const struct request *rq)
{
	const struct request_leg *leg = leg_of(rq->paging->request);

	return leg ? leg->leg.server : NULL;
}

/* DSE's answer when it knows no such request. */
static void answer_not_found(struct arrival *a)
{
	static const uint8_t no = 0;
	struct writer w;

	writer_init(&w);
	rows_write_head(&w, 1, SV(""), SV(""));
	rows_write_column(&w, SV("[status]"), rows_type_boolean);
	rows_write_count(&w, 1);
	write_bytes(&w, &no, 1);
	client_send(a->c, a->f->stream, OP_RESULT, 0, w.data, w.len);
	writer_free(&w);
}

/* Sends it on the connection that the pages come from, with the stream id that they have there. */
static void pass_on(struct arrival *a, struct request_leg *leg, uint32_t stream_offset)
{
	struct paging *p = leg->request->paging;
	const unsigned cluster = leg->cluster;
	uint8_t stream[4];
	const struct frame_edit edit = { .offset = stream_offset, .drop = 4, .len = 4, .with = stream };
	struct request *rq;

	put_u32(stream, leg->leg.stream);
	if (!arrival_edit(a, &edit, 1))
		return;
	rq = request_new(a->c, a->f, &a->plain);
	if (!rq)
		return;
	p->refs++;
	rq->paging = p;
	rq->is_bulk = leg->request->is_bulk; /* the connection that the pages come from */
	rq->verdict = (struct verdict){ .to = (uint8_t)(1u << cluster),
					.answer_from = (uint8_t)cluster,
					.class = CLASS_CONTROL };
	request_start(rq);
}

void paging_revise(struct arrival *a)
{
	struct request_leg *leg;
	struct revise_message m;
	const char *why;

	if (!message_parse_revise(a->plain.data, a->plain.len, a->offset, &m, &why)) {
		arrival_refuse(a, why);
		return;
	}
	leg = leg_of(find_request(a->c, m.stream));
	if (leg)
		pass_on(a, leg, m.stream_offset);
	else
		answer_not_found(a);
}

/* The node sends nothing more for it, not even a last page. */
static void end_cancelled(struct request *paged)
{
	struct request_leg *leg = leg_of(paged);

	if (leg)
		leg_release(&leg->leg);
	if (unlikely(paged->hook_number))
		hooked_answered(paged, (enum cluster_id)paged->verdict.answer_from, NULL);
	request_end(paged);
}

void paging_revised(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	struct client *c = rq->client;
	struct request *paged = rq->paging->request;
	struct revise_message m;
	uint32_t offset = 0;
	const char *why;

	if (!paged || !pages_were_revised(&c->worker->loop, client_leg_compression(c, cluster), f) ||
	    !message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_revise(rq->data, rq->len, offset, &m, &why))
		return;
	if (m.kind == REVISE_CANCEL_PAGING) {
		end_cancelled(paged);
	} else if (rq->paging->is_limited) {
		rq->paging->owed += m.next_pages;
		if (rq->paging->owed > 0)
			restart_timer(paged);
	}
}
