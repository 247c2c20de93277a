/*
 * use.h - USE, which changes both of a client's connections or none: when only
 * one cluster has accepted it, that one is taken back before the client hears
 * of the refusal. The way back is a best-effort leg of the same request.
 */
#ifndef PROXY_USE_H
#define PROXY_USE_H

#include "proxy/request.h"

/* Sent as a text or prepared before. */
bool use_is(const struct request *rq);

/*
 * USE succeeded on one cluster only. The client's keyspace has not changed, so
 * the connection that changed must go back, or unqualified names would mean
 * different tables on the two clusters. The answer waits for it, since requests
 * that follow may overtake. True when that was begun, or the request is over.
 */
MUSTCHECK bool use_undo(struct request *rq, enum cluster_id failed, const struct frame *error);
/* The answer to a USE that one cluster refused. When the other one could not be taken back, the client must go. */
void use_answer_failed(struct request *rq, enum cluster_id failed, const struct frame *error);
/* The way back has ended, however: the client gets the refusal that was kept. Ends the request. */
void use_finish_undo(struct request *rq);
/* Nothing but the way back is out, and it will not end any more: as use_finish_undo(). False when that is not so. */
bool use_end_undo(struct request *rq);

#endif
