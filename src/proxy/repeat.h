/*
 * repeat.h - whether a request that was sent, and whose answer will not come,
 * may be sent once more: to another node, which may execute it a second time.
 */
#ifndef PROXY_REPEAT_H
#define PROXY_REPEAT_H

#include "base/common.h"

struct request;

/*
 * True for reads, OPTIONS and PREPARE, and for writes that are proven to have
 * the same effect when executed twice (cql/idempotence.h) and carry a timestamp:
 * the request's own, the client's or ours, or one in each text. Without one a
 * node would take a new one, and a write that came in between would be undone.
 *
 * Looks at the body as it was sent, with replaced function calls and added
 * timestamps; false when the body is gone, a child of a batch is not known any
 * more, or anything is not understood. Costs a walk over the body: to be asked
 * when something has failed, not per request.
 */
bool repeat_is_safe(const struct request *rq);

#endif
