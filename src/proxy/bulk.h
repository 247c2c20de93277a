/*
 * bulk.h - a client's second connection to each cluster, for requests with
 * bodies over large_frame_size: what stands behind such a request on the
 * client's own connections is not held up by it.
 *
 *   QUERY, EXECUTE, BATCH, PREPARE over the limit
 *     -> waits on client->bulks until every cluster of its verdict has a
 *        connection that is logged in, in the client's keyspace, and has next
 *        to nothing left to write
 *     -> then it is sent to all of them; before that to none
 *
 * Opened on demand, to the node that the client is connected to, closed after
 * heartbeat_interval without a request. USE and REGISTER change a connection,
 * so they stay on the client's own, whatever their size; so does everything of
 * a client whose log-in cannot be repeated (a mechanism other than PLAIN).
 *
 * Promise: a request received after an answer was given is sent after it. Two
 * that are in flight at the same time may arrive in any order, as they may on
 * one connection.
 */
#ifndef PROXY_BULK_H
#define PROXY_BULK_H

#include "proxy/request.h"

struct bulk;

/* False: the request goes the ordinary way. Else it waits, is sent or has ended. */
MUSTCHECK bool bulk_start(struct request *rq);
/* Something has changed: sends the requests that wait and can be sent now. */
void bulk_continue(struct client *c);
/* The request's time is over and it still waits: answers it. */
void bulk_timed_out(struct request *rq);
/* The client has lost its own connection to the cluster: what waits for that is answered. */
void bulk_main_lost(struct client *c, enum cluster_id cluster, const char *why);
/* The client ends, its requests have. */
void bulk_drop(struct client *c);

/* It waits on client->bulks. */
static inline bool bulk_is_waiting(const struct request *rq)
{
	return rq->is_bulk && rq->open == 0;
}

/* For worker->bulk_idle_timeouts. */
void bulk_on_idle(struct timeout_item *item);

#endif
