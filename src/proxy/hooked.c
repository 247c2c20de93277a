/* hooked.c - see hooked.h */
#include "proxy/hooked.h"

#include "proxy/dispatch.h"
#include "proxy/held.h"
#include "proxy/reply.h"
#include "proxy/request.h"

/* A consistency level that there is not. */
#define NO_LEVEL 0xFFFF

static inline struct hooks *hooks_of(const struct client *c)
{
	return c->worker->hooks;
}

static inline uint8_t kind_of(uint8_t verb)
{
	return (uint8_t)policy_kind_of((enum statement_kind)verb);
}

static inline bool is_told(const struct hooks *hooks, uint8_t verb)
{
	return hooks->response_kinds >> kind_of(verb) & 1;
}

static inline uint64_t next_number(struct hooks *hooks)
{
	return hooks->number += hooks->number_step;
}

/* ---- what a request says of itself ---- */

/* Of a body that was read once, so it can be. */
static uint32_t message_offset(const struct request *rq)
{
	uint32_t offset = 0;
	const char *why;

	if (likely(!(rq->flags & FRAME_CUSTOM_PAYLOAD)))
		return 0;
	return message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ? offset : rq->len;
}

static void fill_of_frame(const struct hooked *h, struct hooks_request *about)
{
	const struct arrival *a = h->arrival;

	about->is_prepared = h->is_prepared;
	about->consistency = h->consistency;
	about->verdict = h->verdict;
	about->prepared = h->prepared;
	if (!a)
		return;
	about->body = a->plain.data;
	about->len = a->plain.len;
	about->offset = a->offset;
}

void hooked_fill(struct hooks_request *about)
{
	const struct request *rq = about->rq;

	about->is_known = true;
	if (about->frame) {
		fill_of_frame(about->frame, about);
		return;
	}
	about->is_prepared = rq->opcode == OP_EXECUTE || rq->has_prepared_children;
	about->consistency = rq->opcode == OP_PREPARE ? NO_LEVEL : rq->consistency;
	about->verdict = &rq->verdict;
	about->prepared = rq->prepared;
	about->body = rq->data;
	about->len = rq->len;
	about->offset = message_offset(rq);
}

/* ---- a frame while it is dispatched ---- */

static inline void begin(struct hooked *h, struct client *c, const struct frame *f)
{
	h->client = c;
	h->frame = f;
	h->opened = NULL;
	h->arrival = NULL;
	h->rq = NULL;
	h->prepared = NULL;
	h->verdict = NULL;
	h->denied_by = NULL;
	h->route = NULL;
	h->number = 0;
	h->came_ns = 0;
	h->consistency = NO_LEVEL;
	h->verb = f->opcode == OP_BATCH ? STATEMENT_BATCH : STATEMENT_UNKNOWN;
	h->is_prepared = f->opcode == OP_EXECUTE;
}

/* Most frames have become requests when this would be of use. */
static void number(struct hooked *h)
{
	struct worker *w = h->client->worker;

	if (h->number != 0)
		return;
	h->number = next_number(w->hooks);
	h->came_ns = loop_now(&w->loop);
}

static void describe(const struct hooked *h, struct hooks_request *out)
{
	*out = (struct hooks_request){
		.client = h->client,
		.rq = h->rq,
		.frame = h,
		.number = h->number,
		.came_ns = h->came_ns,
		.opcode = h->frame->opcode,
		.kind = kind_of(h->verb),
		.verb = h->verb,
	};
}

/* It has this answer, or none (opcode 0), without having become a request. */
static void tell(struct hooked *h, struct hooks_answer *answer)
{
	struct worker *w = h->client->worker;
	struct hooks_request about;

	w->hooked = NULL;
	if (!is_told(w->hooks, h->verb))
		return;
	number(h);
	answer->answered_by = CLUSTER_COUNT;
	if (h->denied_by) {
		answer->outcome = HOOKS_WAS_DENIED;
		answer->decider = h->denied_by;
		answer->decided_by = DECIDED_BY_PLUGIN;
	}
	describe(h, &about);
	about.answer = answer;
	w->hooks->ops->response(w->hooks, &about);
}

/* Nobody has answered it: its client has gone. */
static void abandon(struct hooked *h)
{
	struct hooks_answer answer = { .outcome = HOOKS_ABANDONED };

	h->prepared = NULL; /* released */
	h->arrival = NULL;
	tell(h, &answer);
}

void hooked_frame(struct client *c, struct frame *f)
{
	struct worker *w = c->worker;
	struct hooked *before = w->hooked;
	struct hooked h;

	w->hooked = NULL;
	if (likely(hooked_is_for(f->opcode))) {
		begin(&h, c, f);
		w->hooks->requests++;
		w->hooked = &h;
	}
	dispatch_frame(c, f);
	if (unlikely(w->hooked != NULL))
		abandon(&h);
	w->hooked = before;
}

void hooked_frame_again(struct request *rq, struct frame *f, const struct plain *opened, uint64_t number,
			const struct hooks_call *call)
{
	struct client *c = rq->client;
	struct worker *w = c->worker;
	struct hooked *before = w->hooked;
	struct hooked h;

	begin(&h, c, f);
	h.opened = opened;
	h.number = number;
	h.came_ns = rq->came_ns;
	h.call = *call;
	rq->hook_number = 0;
	w->hooked = &h;
	dispatch_frame(c, f);
	if (unlikely(w->hooked != NULL))
		abandon(&h);
	w->hooked = before;
}

void hooked_begin_late(struct hooked *h, struct request *rq, const struct arrival *a)
{
	begin(h, rq->client, a->f);
	h->arrival = a;
	h->rq = rq;
	h->prepared = rq->prepared;
	h->number = rq->hook_number;
	h->came_ns = rq->came_ns;
	h->consistency = rq->consistency;
	h->verb = rq->verb;
	rq->hook_number = 0;
	rq->client->worker->hooked = h;
}

void hooked_end_late(struct hooked *h)
{
	if (unlikely(h->client->worker->hooked != NULL))
		abandon(h);
}

void hooked_dropped(struct client *c, const struct frame *f)
{
	struct worker *w = c->worker;
	struct hooked *before = w->hooked;
	struct hooked h;

	if (!hooked_is_for(f->opcode))
		return;
	begin(&h, c, f);
	abandon(&h);
	w->hooked = before;
}

/* An ERROR's code and text, which point into the body. */
static void read_error(const uint8_t *body, uint32_t len, uint8_t flags, struct hooks_answer *out)
{
	struct error_message error;
	uint32_t offset = 0;
	const char *why;

	out->opcode = OP_ERROR;
	if (!message_skip_preamble(body, len, flags, true, &offset, &why) ||
	    !message_parse_error(body, len, offset, &error))
		return;
	out->error_code = error.code;
	out->error = error.text;
}

void hooked_note(struct client *c, int16_t stream, uint8_t opcode, uint8_t flags, const uint8_t *body, uint32_t len)
{
	struct hooked *h = c->worker->hooked;
	struct hooks_answer answer = { .outcome = HOOKS_LOCAL, .opcode = opcode, .decided_by = DECIDED_BY_PROTOCOL };

	/* Others are told something meanwhile, by events. A stream id below 0 is answered on 0 by some. */
	if (c != h->client || opcode == OP_EVENT || (stream != h->frame->stream && h->frame->stream >= 0))
		return;
	if (opcode == OP_ERROR) {
		answer.outcome = HOOKS_REFUSED;
		answer.decided_by = DECIDED_BY_DEFAULT;
		read_error(body, len, flags, &answer);
	}
	tell(h, &answer);
}

/* ---- on_request ---- */

static void apply(const struct hooked *h, struct verdict *verdict)
{
	policy_route_apply(h->route, verdict);
	verdict->decided_by = DECIDED_BY_PLUGIN;
	verdict->decider = h->routed_by;
}

/* False when the frame has been answered, or is held. */
static bool ask(struct arrival *a, const struct verdict *verdict)
{
	struct hooked *h = a->hooked;
	struct hooks *hooks = hooks_of(a->c);
	struct hooks_request about;

	number(h);
	if (!h->opened) { /* else it goes on where it stopped */
		h->call.ticket = 0;
		h->call.at = 0;
		h->call.is_timed_out = false;
	}
	h->verdict = verdict;
	describe(h, &about);
	switch (hooks->ops->request(hooks, &about, &h->call)) {
	case HOOKS_GO_ON:
		break;
	case HOOKS_DENIED:
		h->denied_by = h->call.by;
		client_send_error(a->c, h->frame->stream, h->call.denial.code, "%s", h->call.denial.text);
		return false;
	case HOOKS_HELD:
		held_begin(a, verdict);
		return false;
	}
	h->route = about.route;
	h->routed_by = about.routed_by;
	return true;
}

static inline bool is_asked(const struct arrival *a)
{
	return hooks_of(a->c)->request_kinds >> kind_of(a->hooked->verb) & 1;
}

/* It goes where its first page came from. */
static bool is_later_page(const struct verdict *verdict, const struct query_params *params)
{
	enum cluster_id cluster;

	return verdict->class == CLASS_READ && paging_mark_read(params->paging_state, &cluster);
}

static bool is_protocols(const struct verdict *verdict)
{
	return verdict->to == 0 || verdict->decided_by == DECIDED_BY_PROTOCOL;
}

bool hooked_query(struct arrival *a, const struct query_params *params, const struct statement_facts *facts,
		  struct verdict *verdict)
{
	struct hooked *h = a->hooked;

	h->verb = (uint8_t)facts->kind;
	h->consistency = params->consistency;
	if (!is_asked(a) || is_protocols(verdict) || is_later_page(verdict, params))
		return true;
	if (!ask(a, verdict))
		return false;
	if (!h->route)
		return true;
	apply(h, verdict);
	if (verdict->mirror == MIRROR_IN_KEYSPACE && facts->is_qualified)
		verdict->mirror = MIRROR_ANYWHERE;
	return true;
}

bool hooked_execute(struct arrival *a, struct prepared_ref *ref, const struct query_params *params,
		    const struct verdict **verdict)
{
	struct hooked *h = a->hooked;

	h->prepared = ref;
	h->verb = ref->entry->verb;
	h->consistency = params->consistency;
	if (!is_asked(a) || is_protocols(*verdict) || is_later_page(*verdict, params))
		return true;
	if (!ask(a, *verdict))
		return false;
	if (!h->route)
		return true;
	h->routed = **verdict;
	apply(h, &h->routed);
	*verdict = &h->routed;
	return true;
}

bool hooked_batch(struct arrival *a, const struct batch_message *m, bool has_prepared)
{
	a->hooked->consistency = m->consistency;
	a->hooked->is_prepared = has_prepared;
	return !is_asked(a) || ask(a, NULL);
}

void hooked_route_batch(const struct arrival *a, struct verdict *verdict)
{
	if (a->hooked->route)
		apply(a->hooked, verdict);
}

bool hooked_prepare(struct arrival *a, const struct statement_facts *facts, const struct verdict *verdict)
{
	a->hooked->verb = (uint8_t)facts->kind;
	return !is_asked(a) || is_protocols(verdict) || ask(a, verdict);
}

bool hooked_may_route(const struct arrival *a, const struct verdict *verdict)
{
	return hooks_of(a->c)->may_route && is_asked(a) && !is_protocols(verdict);
}

/* ---- a request ---- */

void hooked_take(struct request *rq)
{
	struct worker *w = rq->client->worker;
	const struct hooked *h = w->hooked;

	Assert(rq->client == h->client && rq->stream == h->frame->stream);
	w->hooked = NULL;
	rq->verb = h->verb;
	rq->consistency = h->consistency;
	rq->came_ns = likely(h->came_ns == 0) ? rq->started_ns : h->came_ns;
	if (likely(is_told(w->hooks, h->verb)))
		rq->hook_number = likely(h->number == 0) ? next_number(w->hooks) : h->number;
}

static void tell_of(struct request *rq, struct hooks_answer *answer)
{
	struct hooks *hooks = hooks_of(rq->client);
	struct hooks_request about;

	/* One by one: what hooked_know() fills in need not be cleared for each request, nor what is set in hooks_request(). */
	about.client = rq->client;
	about.rq = rq;
	about.frame = NULL;
	about.answer = answer;
	about.number = rq->hook_number;
	about.came_ns = rq->came_ns;
	about.opcode = rq->opcode;
	about.kind = kind_of(rq->verb);
	about.verb = rq->verb;
	about.is_known = false;
	about.found = 0;
	about.route = NULL;
	about.routed_by = NULL;
	answer->decider = rq->verdict.decider;
	answer->decided_by = rq->verdict.decided_by;
	rq->hook_number = 0;
	hooks->ops->response(hooks, &about);
}

/* Its text lies in a body that has to be opened for it. */
static void tell_of_error(struct request *rq, enum cluster_id cluster, const struct frame *f,
			  struct hooks_answer *answer)
{
	struct client *c = rq->client;
	struct plain p;
	const char *why;

	answer->outcome = HOOKS_FAILED;
	if (!plain_open(&p, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why)) {
		tell_of(rq, answer);
		return;
	}
	read_error(p.data, p.len, p.flags, answer);
	tell_of(rq, answer);
	plain_close(&p);
}

void hooked_answered(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	struct hooks_answer answer = { .outcome = HOOKS_ANSWERED,
				       .opcode = f ? f->opcode : OP_RESULT,
				       .answered_by = (uint8_t)cluster,
				       .frame = f };

	/* One of many pages, and not the last. */
	if (unlikely(rq->paging) && leg_is_out(&rq->legs[cluster].leg))
		return;
	if (unlikely(answer.opcode == OP_ERROR))
		tell_of_error(rq, cluster, f, &answer);
	else
		tell_of(rq, &answer);
}

void hooked_failed(struct request *rq, const uint8_t *body, uint32_t len)
{
	struct hooks_answer answer = { .outcome = rq->is_denied ? HOOKS_WAS_DENIED : HOOKS_REFUSED,
				       .answered_by = CLUSTER_COUNT };

	read_error(body, len, 0, &answer);
	tell_of(rq, &answer);
}

void hooked_abandoned(struct request *rq)
{
	struct hooks_answer answer = { .outcome = HOOKS_ABANDONED, .answered_by = CLUSTER_COUNT };

	tell_of(rq, &answer);
}
