/* failure.c - see failure.h */
#include "proxy/failure.h"

#include <stdarg.h>
#include <stdio.h>

#include "proxy/divergence.h"
#include "proxy/hooked.h"
#include "proxy/local_trace.h"

static void send_own_error(struct request *rq, struct writer *w)
{
	client_send(rq->client, rq->stream, OP_ERROR, 0, w->data, w->len);
	if (unlikely(rq->hook_number))
		hooked_failed(rq, w->data, w->len);
	client_check_output(rq->client);
}

void failure_unsent(struct request *rq, enum cql_error_code code, const char *fmt, ...)
{
	char text[FAILURE_TEXT_MAX];
	struct writer w;
	va_list args;

	if (unlikely(rq->is_local)) {
		local_trace_failed(rq);
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	writer_init(&w);
	if (code == CQL_ERR_UNAVAILABLE)
		error_write_unavailable(&w, sv_from(text), rq->consistency, 1, 0);
	else
		error_write(&w, code, sv_from(text));
	send_own_error(rq, &w);
	writer_free(&w);
	request_end(rq);
}

void failure_reply(struct request *rq, struct strview text)
{
	struct writer w;

	writer_init(&w);
	switch ((enum request_class)rq->verdict.class) {
	case CLASS_READ:
		error_write_read_timeout(&w, text, rq->consistency, 0, 1, false);
		break;
	case CLASS_WRITE:
		error_write_write_timeout(&w, text, rq->consistency, 0, 1,
					  write_type_name((enum write_type)rq->verdict.write_type),
					  rq->client->version);
		break;
	case CLASS_CONTROL:
		error_write(&w, CQL_ERR_SERVER_ERROR, text);
		break;
	}
	send_own_error(rq, &w);
	writer_free(&w);
}

void failure_text(struct request *rq, struct strview text)
{
	if (unlikely(rq->is_local)) {
		local_trace_failed(rq);
		return;
	}
	if (rq->verdict.class == CLASS_WRITE && rq->verdict.to == TO_BOTH)
		divergence_unanswered(rq, text);
	failure_reply(rq, text);
	request_end(rq);
}

void failure_sent(struct request *rq, const char *fmt, ...)
{
	char text[FAILURE_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	failure_text(rq, sv_from(text));
}

void failure_leg_unsent(struct request *rq, enum cluster_id cluster)
{
	const struct request_leg *other = &rq->legs[cluster_id_other(cluster)];

	if (leg_is_out(&other->leg) || other->outcome == OUTCOME_OK || other->outcome == OUTCOME_ERROR)
		failure_sent(rq, "the request could not be sent to %s", cluster_id_name(cluster));
	else
		failure_unsent(rq, CQL_ERR_OVERLOADED, "the request could not be sent to %s; nothing was sent",
			       cluster_id_name(cluster));
}
