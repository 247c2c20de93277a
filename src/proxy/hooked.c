/* hooked.c - see hooked.h */
#include "proxy/hooked.h"

#include "proxy/held.h"
#include "proxy/reply.h"
#include "proxy/request.h"

/* A consistency level that there is not. */
#define NO_LEVEL 0xFFFF

static struct hooks *hooks_of(const struct client *c)
{
	return c->worker->hooks;
}

static uint8_t kind_of(uint8_t verb)
{
	return (uint8_t)policy_kind_of((enum statement_kind)verb);
}

static bool is_told(const struct client *c, uint8_t verb)
{
	return hooks_of(c)->response_kinds >> kind_of(verb) & 1;
}

/* ---- a frame while it is dispatched ---- */

/* Numbers of a worker are its own: what remains of them divided by the number of workers says which. */
static uint64_t next_number(struct worker *w)
{
	return ++w->hooks->requests * w->proxy->worker_count + w->index;
}

/* Makes it the one that is dispatched; returns the one that was. */
static struct hooked *begin(struct hooked *h, struct client *c, int16_t stream, uint8_t opcode)
{
	struct worker *w = c->worker;
	struct hooked *before = w->hooked;

	h->client = c;
	h->arrival = NULL;
	h->rq = NULL;
	h->prepared = NULL;
	h->stream = stream;
	h->consistency = NO_LEVEL;
	h->opcode = opcode;
	h->verb = opcode == OP_BATCH ? STATEMENT_BATCH : STATEMENT_UNKNOWN;
	h->denied_by = NULL;
	h->route = NULL;
	w->hooked = h;
	return before;
}

struct hooked *hooked_begin(struct hooked *h, struct client *c, const struct frame *f)
{
	h->number = next_number(c->worker);
	h->came_ns = loop_now(&c->worker->loop);
	h->call.ticket = 0;
	h->call.at = 0;
	h->call.is_timed_out = false;
	return begin(h, c, f->stream, f->opcode);
}

struct hooked *hooked_begin_again(struct hooked *h, struct request *rq, uint64_t number, const struct hooks_call *call)
{
	h->number = number;
	h->came_ns = rq->came_ns;
	h->call = *call;
	rq->hook_number = 0;
	return begin(h, rq->client, rq->stream, rq->opcode);
}

static void describe(const struct hooked *h, struct hooks_request *out)
{
	const struct arrival *a = h->arrival;

	*out = (struct hooks_request){
		.client = h->client,
		.rq = h->rq,
		.prepared = h->prepared,
		.number = h->number,
		.came_ns = h->came_ns,
		.consistency = h->consistency,
		.opcode = h->opcode,
		.kind = kind_of(h->verb),
		.verb = h->verb,
		.is_prepared = h->opcode == OP_EXECUTE,
	};
	if (!a)
		return;
	out->body = a->plain.data;
	out->len = a->plain.len;
	out->offset = a->offset;
}

/* It has this answer, or none (opcode 0), without having become a request. */
static void tell(struct hooked *h, struct hooks_answer *answer)
{
	struct worker *w = h->client->worker;
	struct hooks_request about;

	w->hooked = NULL;
	if (!is_told(h->client, h->verb))
		return;
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

void hooked_end(struct hooked *h, struct hooked *before)
{
	struct worker *w = h->client->worker;

	if (unlikely(w->hooked == h)) {
		struct hooks_answer answer = { .outcome = HOOKS_ABANDONED };

		h->prepared = NULL; /* released */
		tell(h, &answer);
	}
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
	if (c != h->client || opcode == OP_EVENT || (stream != h->stream && h->stream >= 0))
		return;
	if (opcode == OP_ERROR) {
		answer.outcome = HOOKS_REFUSED;
		answer.decided_by = DECIDED_BY_DEFAULT;
		read_error(body, len, flags, &answer);
	}
	tell(h, &answer);
}

void hooked_dropped(struct client *c, const struct frame *f)
{
	struct hooked h;

	if (hooked_is_for(f->opcode))
		hooked_end(&h, hooked_begin(&h, c, f));
}

/* ---- on_request ---- */

static void apply(const struct hooked *h, struct verdict *verdict)
{
	policy_route_apply(h->route, verdict);
	verdict->decided_by = DECIDED_BY_PLUGIN;
	verdict->decider = h->routed_by;
}

/* False when the frame has been answered. */
static bool ask(struct arrival *a, const struct verdict *verdict, bool is_prepared)
{
	struct hooked *h = a->hooked;
	struct hooks *hooks = hooks_of(a->c);
	struct hooks_request about;

	describe(h, &about);
	about.verdict = verdict;
	about.is_prepared = is_prepared;
	switch (hooks->ops->request(hooks, &about, &h->call)) {
	case HOOKS_GO_ON:
		break;
	case HOOKS_DENIED:
		h->denied_by = h->call.by;
		client_send_error(a->c, h->stream, h->call.denial.code, "%s", h->call.denial.text);
		return false;
	case HOOKS_HELD:
		held_begin(a, verdict);
		return false;
	}
	h->route = about.route;
	h->routed_by = about.routed_by;
	return true;
}

static bool is_asked(const struct arrival *a)
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
	if (!ask(a, verdict, false))
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
	if (!ask(a, *verdict, true))
		return false;
	if (!h->route)
		return true;
	h->verdict = **verdict;
	apply(h, &h->verdict);
	*verdict = &h->verdict;
	return true;
}

bool hooked_batch(struct arrival *a, const struct batch_message *m, bool has_prepared)
{
	a->hooked->consistency = m->consistency;
	return !is_asked(a) || ask(a, NULL, has_prepared);
}

void hooked_route_batch(const struct arrival *a, struct verdict *verdict)
{
	if (a->hooked->route)
		apply(a->hooked, verdict);
}

bool hooked_prepare(struct arrival *a, const struct statement_facts *facts, const struct verdict *verdict)
{
	a->hooked->verb = (uint8_t)facts->kind;
	return !is_asked(a) || is_protocols(verdict) || ask(a, verdict, false);
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

	if (rq->client != h->client || rq->stream != h->stream)
		return;
	w->hooked = NULL;
	rq->verb = h->verb;
	rq->consistency = h->consistency;
	rq->came_ns = h->came_ns;
	if (is_told(rq->client, rq->verb))
		rq->hook_number = h->number;
}

/* Of a body that was read once, so it can be. */
static uint32_t message_offset(const struct request *rq)
{
	uint32_t offset = 0;
	const char *why;

	if (likely(!(rq->flags & FRAME_CUSTOM_PAYLOAD)))
		return 0;
	return message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ? offset : rq->len;
}

static void tell_of(struct request *rq, struct hooks_answer *answer)
{
	struct hooks *hooks = hooks_of(rq->client);
	struct hooks_request about = {
		.client = rq->client,
		.rq = rq,
		.answer = answer,
		.verdict = &rq->verdict,
		.prepared = rq->prepared,
		.body = rq->data,
		.len = rq->len,
		.offset = message_offset(rq),
		.number = rq->hook_number,
		.came_ns = rq->came_ns,
		.tag = rq->tag_name,
		.consistency = rq->opcode == OP_PREPARE ? NO_LEVEL : rq->consistency,
		.opcode = rq->opcode,
		.kind = kind_of(rq->verb),
		.verb = rq->verb,
		.is_prepared = rq->opcode == OP_EXECUTE || rq->has_prepared_children,
	};

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
	if (unlikely(f && f->opcode == OP_ERROR))
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

struct hooked *hooked_begin_late(struct hooked *h, struct request *rq, const struct arrival *a)
{
	const struct hooks_call none = { .ticket = 0 };
	struct hooked *before;

	before = hooked_begin_again(h, rq, rq->hook_number, &none);
	h->arrival = a;
	h->rq = rq;
	h->prepared = rq->prepared;
	h->consistency = rq->consistency;
	h->verb = rq->verb;
	return before;
}
