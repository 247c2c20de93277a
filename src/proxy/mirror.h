/*
 * mirror.h - copies of reads: what a client reads from one cluster is also
 * read from the other one, so that this one bears the load before reads are
 * moved there. The answers are counted and thrown away. Who asks for that:
 *
 *   read_mode = dual_async_on_secondary   of all reads from the primary, towards the secondary
 *   a rule or a script                    of the reads that it says so of, towards the cluster they do not go to
 *
 * A client has a connection for it to each cluster that needs one (mirror_link.h). Copies go out on it after the
 * request itself was queued. Nothing here delays, fails or changes a client's answer:
 *
 *   no stream id or no room in the output        the copy is dropped and counted
 *   no connection, and none can be made          the same
 *   not connected yet, or USE not answered yet   the copy is kept, up to a bound
 *   a statement that is not prepared there       it is prepared; this copy is dropped and counted
 *   no answer in time                            counted, its stream id stays taken
 *   PROTOCOL_ERROR, a lost connection            the mirror ends
 *
 * Belongs to the client's worker.
 */
#ifndef PROXY_MIRROR_H
#define PROXY_MIRROR_H

#include "proxy/request.h"

struct mirror;

/* A copy of a request that has been started and whose verdict says to mirror it. */
void mirror_request(const struct request *rq);

/* For worker->mirror_timeouts. */
void mirror_on_timeout(struct timeout_item *item);
/* The size of the objects in worker->mirrored. */
size_t mirror_object_size(void);

/* ---- for mirror_link.c ---- */

/* Its connection is ready: sends what is held, as far as that can be. */
void mirror_advance(struct mirror *m);
/* It ends. */
void mirror_drop_copies(struct mirror *m);

#endif
