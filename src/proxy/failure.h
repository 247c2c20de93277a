/*
 * failure.h - the error for a request to which no cluster gave an answer that
 * could be passed on. Which one it is depends on what was sent, because of what
 * drivers do with it: they take OVERLOADED and SERVER_ERROR for leave to send
 * the request to the next host, some even when it is a write.
 *
 *   nothing was sent             OVERLOADED (a limit of ours, or no memory), UNAVAILABLE (no connection)
 *   a read was sent              READ_TIMEOUT, received 0 of 1
 *   a write, or what may be one  WRITE_TIMEOUT, received 0 of 1, with its write type
 *   PREPARE, USE, REGISTER       SERVER_ERROR
 *
 * Every function here but failure_reply() ends the request; answers that come later are swallowed.
 */
#ifndef PROXY_FAILURE_H
#define PROXY_FAILURE_H

#include "proxy/request.h"

/* Longer texts are cut. */
#define FAILURE_TEXT_MAX 512

/* Nothing was sent. UNAVAILABLE says consistency, 1 required, 0 alive; the other codes have no fields. */
void failure_unsent(struct request *rq, enum cql_error_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Something was sent and its outcome is not known; the text names the cluster and the host. */
void failure_sent(struct request *rq, const char *fmt, ...) PRINTF_LIKE(2, 3);
/*
 * One leg of those that are sent together could not be: memory is exhausted, or this is a defect of ours. Tells as
 * above, by what has become of the other leg.
 */
void failure_leg_unsent(struct request *rq, enum cluster_id cluster);
/* The same as failure_sent() with a finished text. */
void failure_text(struct request *rq, struct strview text);
/* The same error, in place of an answer that cannot be passed on; the caller ends the request. */
void failure_reply(struct request *rq, struct strview text);

#endif
