/*
 * deliver.h - the legs of a request on shared connections: picks one for each,
 * waits for it where there is none yet, and goes to another node when it is lost.
 *
 *   no node of a cluster is up     answered at once: UNAVAILABLE, nothing is sent to the other cluster
 *   a connection is being opened   the whole request waits, nothing is sent before both legs can be
 *   the node has not prepared it   repair.h prepares it there first, then the leg is sent
 *   the connection is lost
 *     before a byte had left       the leg goes elsewhere
 *     else                         so it does, once, when to repeat it is safe (repeat.h); or the request fails
 */
#ifndef PROXY_DELIVER_H
#define PROXY_DELIVER_H

#include "proxy/request.h"

/* Of a client in pooled mode: sends all legs, or none. May end the request. */
void deliver_request(struct request *rq);
/* A leg that waited for a connection. May end the request. */
void deliver_continue(struct request_leg *leg);
/* The leg's connection was lost. May end the request. */
void deliver_lost(struct request_leg *leg, const char *why);
/* The statement is prepared on this node now, or was not to be had there (NULL): sends the leg. May end the request. */
void deliver_prepared(struct request_leg *leg, const struct net_address *host);

#endif
