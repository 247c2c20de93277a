/*
 * hooked.h - what plugins are asked and told about the frames of a client that
 * is ready: QUERY, EXECUTE, BATCH, PREPARE. Nothing of this runs without plugins.
 *
 *   client.c    hooked_frame() .. hooked_query() ... request_new() ................ answer
 *                                   |  \                 |                             |
 *                                on_request              '-- hooked_take()             |
 *                                   |                        (the request has it now)  |
 *               DENIED: an ERROR ---'                                                  |
 *               HELD: held.h                                                           |
 *                                                                                      |
 *               no request was made: client_send() -> hooked_note() ---------------- on_response
 *               a cluster's answer:  reply_send()  -> hooked_answered() -------------- "
 *               an error of ours:    failure.c     -> hooked_failed() ---------------- "
 *               neither of them:     release()     -> hooked_abandoned() ------------- "
 *
 * A struct hooked is about one frame while it is being dispatched, on the stack
 * of hooked_frame(); worker->hooked points to it until the frame has become a
 * request or has its answer. So each frame is told of exactly once.
 */
#ifndef PROXY_HOOKED_H
#define PROXY_HOOKED_H

#include "cql/message.h"
#include "proxy/arrival.h"
#include "proxy/hooks.h"

struct hooked {
	struct client *client;
	const struct frame *frame;
	const struct plain *opened;    /* its body, of a frame that was held: its header was looked at */
	const struct arrival *arrival; /* NULL: its body is not open yet */
	struct request *rq;            /* a late answer of ours (local_trace.h) is about this one; else NULL */
	struct prepared_ref *prepared; /* the caller's; EXECUTE, once it is known */
	const struct verdict *verdict; /* in on_request: what is known of its way; NULL: nothing */
	const char *denied_by;
	const struct policy_route *route;
	const char *routed_by;
	uint64_t number; /* 0: it has none yet */
	uint64_t came_ns;
	uint16_t consistency;
	uint8_t verb; /* enum statement_kind */
	bool is_prepared;
	struct hooks_call call; /* of on_request, from when it is asked */
	struct verdict routed;  /* EXECUTE that a plugin has routed */
};

/* Those of which plugins hear. */
static inline bool hooked_is_for(uint8_t opcode)
{
	const uint32_t opcodes = 1u << OP_QUERY | 1u << OP_EXECUTE | 1u << OP_BATCH | 1u << OP_PREPARE;

	return opcode < 32 && (opcodes >> opcode & 1);
}

/* In place of dispatch_frame(), in a worker with plugins. */
void hooked_frame(struct client *c, struct frame *f);
/* The same for a frame that was held as this request, which has its number no more then. */
void hooked_frame_again(struct request *rq, struct frame *f, const struct plain *opened, uint64_t number,
			const struct hooks_call *call);

/* Fills in what it says of itself, once. */
void hooked_fill(struct hooks_request *about);
static inline void hooked_know(struct hooks_request *about)
{
	if (!about->is_known)
		hooked_fill(about);
}

/*
 * On_request for each opcode, when the frame has been read and before a request
 * is made of it. What a plugin chooses goes into the verdict. False when the
 * frame has been answered, or is held.
 */
MUSTCHECK bool hooked_query(struct arrival *a, const struct query_params *params, const struct statement_facts *facts,
			    struct verdict *verdict);
/* *verdict may become another one, which lives as long as the arrival. */
MUSTCHECK bool hooked_execute(struct arrival *a, struct prepared_ref *ref, const struct query_params *params,
			      const struct verdict **verdict);
MUSTCHECK bool hooked_batch(struct arrival *a, const struct batch_message *m, bool has_prepared);
/* Behind hooked_batch(), when the verdict is known. */
void hooked_route_batch(const struct arrival *a, struct verdict *verdict);
MUSTCHECK bool hooked_prepare(struct arrival *a, const struct statement_facts *facts, const struct verdict *verdict);
/* A plugin may send what executes it elsewhere than this says. */
bool hooked_may_route(const struct arrival *a, const struct verdict *verdict);

/* For request_new(), while worker->hooked is set: the frame is this request's from now on. */
void hooked_take(struct request *rq);
/* For client_send(), the same: an answer of ours is on its way, perhaps this frame's. */
void hooked_note(struct client *c, int16_t stream, uint8_t opcode, uint8_t flags, const uint8_t *body, uint32_t len);

/* The end of a request with a number, which it has no longer then. `f` is the cluster's frame; NULL: it is gone. */
void hooked_answered(struct request *rq, enum cluster_id cluster, const struct frame *f);
/* By an ERROR of ours with this body. */
void hooked_failed(struct request *rq, const uint8_t *body, uint32_t len);
/* Without an answer. */
void hooked_abandoned(struct request *rq);
/* We answer it ourselves, late: between these two client_send() is its end. */
void hooked_begin_late(struct hooked *h, struct request *rq, const struct arrival *a);
void hooked_end_late(struct hooked *h);
/* A frame that was read, kept (client_hold()), and never dispatched: the client ends. */
void hooked_dropped(struct client *c, const struct frame *f);

#endif
