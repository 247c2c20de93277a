/*
 * mirror.h - asynchronous dual reads: what a client reads from the primary is
 * also read from the secondary cluster, so that this one bears the load before
 * reads are moved there. The answers are counted and thrown away.
 *
 * A client has one mirror: one more connection to the node of the secondary
 * that the client's own connection goes to, opened once the client is READY,
 * with a log-in of its own. It is not opened again for the same client; when it
 * ends, the client goes on without it. Copies go out on it after the request
 * itself was queued. When the primary is switched, one to the other cluster
 * takes its place. Nothing here delays, fails or changes a client's answer:
 *
 *   no stream id or no room in the output        the copy is dropped and counted
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

/*
 * The client is ready: begins to connect. `startup` is the body that the
 * secondary got from it; taken over. Does nothing when reads are not mirrored.
 */
void mirror_open(struct client *c, struct writer *startup);
/* The client ends. Harmless without a mirror. */
void mirror_close(struct client *c);

/*
 * The settings are others: a mirror whose cluster reads go to now ends, and one
 * to the other cluster takes its place; without read_mode = dual_async_on_secondary
 * none does. Harmless without a mirror: one is not opened for an old client.
 */
void mirror_follow(struct client *c);

/* A copy of a request that has been started and whose verdict says to mirror it. */
void mirror_request(const struct request *rq);

/* As server_keep_alive(), for a client that is idle. Harmless without a mirror. */
void mirror_keep_alive(const struct client *c, uint64_t interval_ns);

/* For worker->mirror_timeouts and worker->mirror_login_timeouts. */
void mirror_on_timeout(struct timeout_item *item);
void mirror_on_login_timeout(struct timeout_item *item);
/* The size of the objects in worker->mirrored. */
size_t mirror_object_size(void);

#endif
