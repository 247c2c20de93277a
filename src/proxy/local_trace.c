/* local_trace.c - see local_trace.h */
#include "proxy/local_trace.h"

#include "proxy/hooked.h"
#include "proxy/local.h"
#include "proxy/request.h"
#include "proxy/traces.h"

bool local_trace_begin(struct arrival *a, struct prepared_ref *ref)
{
	const enum cluster_id cluster = a->c->worker->settings->system_queries;
	struct request *rq;

	if (likely(!(a->f->flags & FRAME_TRACING)))
		return false;
	rq = request_new(a->c, a->f, &a->plain);
	if (!rq)
		return true;
	rq->is_local = true;
	rq->verdict = (struct verdict){
		.to = (uint8_t)(1u << cluster),
		.answer_from = (uint8_t)cluster,
		.class = CLASS_READ,
	};
	rq->legs[cluster].role = LEG_TRACE;
	rq->legs[cluster].repairs_left = 0;
	if (ref) {
		ref->refs++;
		rq->prepared = ref;
	}
	request_start(rq);
	return true;
}

/* ---- sending ---- */

/*
 * <query_parameters> as they came, without the paging state, which is ours, and
 * without what only concerns the form of the answer.
 */
static bool write_params(const struct request *rq, const struct query_params *p, struct writer *w)
{
	const uint32_t flags = p->flags & ~(uint32_t)(QUERY_PAGING_STATE | QUERY_SKIP_METADATA);
	uint32_t at = p->flags_offset + p->flags_size;

	if (p->flags & QUERY_CONTINUOUS_PAGING)
		return false;
	write_raw(w, rq->data + p->consistency_offset, p->flags_offset - p->consistency_offset);
	if (p->flags_size == 1)
		write_byte(w, (uint8_t)flags);
	else
		write_int(w, flags);
	if (p->flags & QUERY_PAGING_STATE) {
		const uint32_t len = p->paging_state.is_null ? 0 : p->paging_state.len;

		write_raw(w, rq->data + at, p->paging_state_offset - at);
		at = p->paging_state_offset + 4 + len;
	}
	write_raw(w, rq->data + at, rq->len - at);
	return true;
}

/* The body of a QUERY; false when the request cannot be made one. */
static bool write_query(const struct request *rq, struct writer *w)
{
	struct execute_message execute;
	struct query_message query;
	uint32_t offset = 0;
	const char *why;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why))
		return false;
	write_raw(w, rq->data, offset);
	if (rq->opcode == OP_QUERY) {
		if (!message_parse_query(rq->data, rq->len, offset, rq->client->version, &query, &why))
			return false;
		write_long_string(w, query.text);
		return write_params(rq, &query.params, w);
	}
	if (!message_parse_execute(rq->data, rq->len, offset, rq->client->version, &execute, &why))
		return false;
	write_long_string(w, (struct strview){ rq->prepared->entry->text, rq->prepared->entry->text_len });
	return write_params(rq, &execute.params, w);
}

bool local_trace_send(struct request_leg *leg, struct server *s)
{
	const struct request *rq = leg->request;
	struct writer w;
	bool ok;

	if (rq->opcode == OP_PREPARE)
		return server_send_body(s, &leg->leg, OP_PREPARE, rq->flags, rq->data, rq->len);
	writer_init(&w);
	ok = write_query(rq, &w) && server_send_body(s, &leg->leg, OP_QUERY, rq->flags, w.data, w.len);
	writer_free(&w);
	return ok;
}

/* ---- answering ---- */

static void answer_again(struct arrival *a, struct request *rq)
{
	const char *why;

	if (message_skip_preamble(rq->data, rq->len, rq->flags, false, &a->offset, &why))
		local_again(a, rq->prepared);
	else
		arrival_refuse(a, why);
}

/* Plugins are told of the answer as of one that was given at once. */
static void answer_and_tell(struct arrival *a, struct request *rq)
{
	struct hooked *before = rq->client->worker->hooked;
	struct hooked h;

	hooked_begin_late(&h, rq, a);
	answer_again(a, rq);
	hooked_end_late(&h);
	rq->client->worker->hooked = before;
}

void local_answer_late(struct request *rq, const uint8_t *tracing_id)
{
	/* Without the flag: it must not begin anew. */
	struct frame f = {
		.version = rq->client->version,
		.opcode = rq->opcode,
		.stream = rq->stream,
		.length = rq->len,
		.body = rq->data,
	};
	struct arrival a = {
		.c = rq->client,
		.f = &f,
		.plain = { .data = rq->data, .len = rq->len, .flags = rq->flags },
		.tracing_id = tracing_id,
		.is_late = true,
	};

	if (unlikely(rq->hook_number))
		answer_and_tell(&a, rq);
	else
		answer_again(&a, rq);
	client_check_output(rq->client);
	request_end(rq);
}

void local_trace_answered(struct request *rq, const struct frame *f)
{
	struct client *c = rq->client;
	uint8_t id[TRACE_ID_LEN];
	bool has_id = false;
	struct plain p;
	const char *why;

	if ((f->flags & FRAME_TRACING) &&
	    plain_open(&p, &c->worker->loop, client_leg_compression(c, rq->verdict.answer_from), f, UINT32_MAX, &why)) {
		has_id = p.len >= sizeof(id);
		if (has_id) {
			memcpy(id, p.data, sizeof(id));
			traces_note(&c->worker->proxy->traces, id, (enum cluster_id)rq->verdict.answer_from);
		}
		plain_close(&p);
	}
	local_answer_late(rq, has_id ? id : NULL);
}

void local_trace_failed(struct request *rq)
{
	local_answer_late(rq, NULL);
}
