/*
 * use.h - USE, which changes both of a client's connections or none: when only
 * one cluster has accepted it, that one is taken back before the client hears
 * of the refusal. The way back is a best-effort leg of the same request.
 */
#ifndef PROXY_USE_H
#define PROXY_USE_H

#include "proxy/request.h"

/*
 * A client's own connections when the last USE went to one cluster only, as a
 * rule or a script said: the other cluster stands where it stood before. What
 * depends on the keyspace may then go to the one cluster and not to the other,
 * until both are in one again. Shared connections are opened in the keyspace
 * that a request needs, so nothing of this concerns them.
 */
struct use_split {
	char *keyspace[CLUSTER_COUNT]; /* owned; NULL: none */
};

/* Where the client's own connections to this cluster are to stand; NULL: in none. */
const char *use_keyspace_on(const struct client *c, unsigned cluster);
/* A USE of the client has succeeded: notes whether all clusters stand in the client's keyspace now. */
void use_note_split(struct client *c);
void use_forget_split(struct client *c);
/* The request depends on the keyspace: false when a cluster that it goes to stands in another one, it is answered then. */
MUSTCHECK bool use_check_split(struct request *rq);

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
