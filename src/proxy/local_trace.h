/*
 * local_trace.h - tracing of requests that we answer ourselves (local.h): a trace
 * stands in system_traces of the cluster that made it, so such a request also
 * runs on a node of the system-queries cluster. Of that node's answer only the
 * tracing id is taken, into ours. Without one (the node is lost, or late) our
 * answer has none.
 */
#ifndef PROXY_LOCAL_TRACE_H
#define PROXY_LOCAL_TRACE_H

#include "proxy/arrival.h"
#include "proxy/prepared.h"
#include "proxy/server.h"

struct request;
struct request_leg;

/*
 * False when the request does not ask for a trace. Else it is on its way, and
 * is answered later, by local_again(). `ref`: of an EXECUTE, stays the caller's.
 */
MUSTCHECK bool local_trace_begin(struct arrival *a, struct prepared_ref *ref);

/* For forward.c: sends the leg, an EXECUTE as a QUERY, since no node knows its id. */
MUSTCHECK bool local_trace_send(struct request_leg *leg, struct server *s);
/* For answer.c: the node has answered, whatever. Answers the client and ends the request. */
void local_trace_answered(struct request *rq, const struct frame *f);
/* For failure.c: the node will not answer. The same, without a tracing id. */
void local_trace_failed(struct request *rq);

/* Answers a request that was kept (rq->is_local) from our own tables, and ends it. `tracing_id` may be NULL. */
void local_answer_late(struct request *rq, const uint8_t *tracing_id);

#endif
