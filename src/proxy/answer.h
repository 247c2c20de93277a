/*
 * answer.h - what the nodes answer to the legs of a request: the first of two
 * answers is kept until the second one comes, then they are merged (merge.h)
 * and one goes to the client (reply.h). An UNPREPARED begins a repair.
 */
#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H

#include "proxy/request.h"

/* A leg's answer has come (struct leg_ops). May end the request. */
void answer_on_leg(struct leg *leg, struct frame *f);
/* The same for an ERROR frame. */
void answer_error(struct request_leg *leg, struct frame *f);

/* Keeps the answer of `leg` in its request. False without memory for it; the request has been answered then. */
bool answer_keep(struct request *rq, const struct request_leg *leg, const struct frame *f);
/* The kept answer as a frame; valid as long as it is kept. */
struct frame answer_kept(struct request *rq);
/* Harmless when none is kept. */
void answer_drop_kept(struct request *rq);

#endif
