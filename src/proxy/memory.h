/*
 * memory.h - who may have memory for a large frame (WIRE_LARGE) while
 * memory_limit is near. Counted are the large chunks of the process
 * (chunk_large_bytes): bodies on their way in, kept bodies and answers, and
 * what is queued in pieces of that size. Small ones are bounded by the limits
 * of each connection.
 *
 *   0 ................. 3/4 ............ limit
 *   | new large requests  |               |
 *   | new large answers                   |
 *
 * The last quarter is for answers, so that requests in flight can end and give
 * back what they hold. What has been let in is read to its end, so several that
 * begin at the same moment may exceed the limit by the size of one for each.
 *
 * Why nobody waits for ever: what a request holds, its body, its answers, its
 * half-read answer, ends with it, after request_timeout at the latest; what is
 * queued for a client leaves or ends after client_write_timeout; a request that
 * comes in and makes no progress while memory is short is given up. A request
 * that waits is refused after request_timeout; an answer that waits is dropped
 * when its request has ended.
 *
 * Any thread may call.
 */
#ifndef PROXY_MEMORY_H
#define PROXY_MEMORY_H

#include "base/chunk.h"

static inline bool memory_takes_answer(uint64_t limit)
{
	return limit == 0 || chunk_large_bytes() < limit;
}

static inline bool memory_takes_request(uint64_t limit, uint32_t length)
{
	return limit == 0 || chunk_large_bytes() + length <= limit - limit / 4;
}

/* One more frame waits, or one fewer. */
void memory_wait_begin(void);
void memory_wait_end(void);
/* Frames wait. */
bool memory_is_short(void);

#endif
