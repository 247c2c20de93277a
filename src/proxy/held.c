/* held.c - see held.h */
#include "proxy/held.h"

#include <stdlib.h>

#include "proxy/request.h"

struct held {
	struct hold hold;
	struct request *rq;
	struct hooks_call call;
	uint64_t number; /* also where on_response is not for its kind */
	bool is_use;
};

/* What is behind a USE may mean another table before it. */
static void begin_wait(struct held *held)
{
	struct client *c = held->rq->client;

	held->is_use = held->rq->verb == STATEMENT_USE;
	if (!held->is_use)
		return;
	c->waits_for_use = true;
	c->use_is_held = true;
}

static void end_wait(struct held *held)
{
	struct client *c = held->rq->client;

	if (!held->is_use)
		return;
	c->waits_for_use = false;
	c->use_is_held = false;
}

/* The frame as it came, and the plain form of its body, with a reference of its own. */
static void make_frame(const struct request *rq, struct frame *f, struct plain *plain)
{
	*f = (struct frame){
		.version = rq->client->version,
		.opcode = rq->opcode,
		.flags = rq->flags,
		.stream = rq->stream,
		.length = rq->len,
		.body = rq->data,
		.chunk = rq->body,
	};
	if (rq->packed) {
		f->flags |= FRAME_COMPRESSED;
		f->length = rq->packed_len;
		f->body = rq->packed_data;
		f->chunk = rq->packed;
	}
	*plain = (struct plain){
		.data = rq->data,
		.len = rq->len,
		.flags = rq->flags,
		.chunk = rq->body ? chunk_ref(rq->body) : NULL,
		.owns_chunk = rq->body != NULL,
	};
}

static void on_end(struct hold *hold, enum hold_end how)
{
	struct held *held = container_of(hold, struct held, hold);
	struct request *rq = held->rq;
	struct client *c = rq->client;
	const bool was_use = held->is_use;
	struct plain plain;
	struct frame f;

	held->call.is_timed_out = how == HOLD_TIMED_OUT;
	end_wait(held);
	make_frame(rq, &f, &plain);
	/* It stays until it has been dispatched: its body may lie in it. */
	request_step_aside(rq);
	rq->held = NULL;
	hooked_frame_again(rq, &f, &plain, held->number, &held->call);
	free(held);
	request_forget(rq);
	if (c->state != CLIENT_READY)
		return;
	client_check_output(c);
	client_request_over(c);
	if (was_use && !c->waits_for_use)
		client_go_on(c);
}

void held_begin(struct arrival *a, const struct verdict *verdict)
{
	const struct hooked *h = a->hooked;
	struct worker *w = a->c->worker;
	const uint64_t ticket = h->call.ticket, number = h->number;
	struct request *rq = request_new(a->c, a->f, &a->plain);
	struct held *held;

	if (!rq) {
		hold_drop(w, ticket);
		return;
	}
	held = xcalloc(1, sizeof(*held));
	held->hold.on_end = on_end;
	held->rq = rq;
	held->call = h->call;
	held->number = number;
	rq->held = held;
	rq->verdict = verdict ? *verdict : (struct verdict){ .to = TO_BOTH, .class = CLASS_WRITE };
	rq->verdict.route = NULL;
	begin_wait(held);
	hold_bind(w, &held->hold, ticket);
}

void held_drop(struct request *rq)
{
	struct held *held = rq->held;

	hold_drop(rq->client->worker, held->hold.ticket);
	rq->held = NULL;
	rq->client->use_is_held &= !held->is_use;
	free(held);
}
