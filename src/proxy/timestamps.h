/*
 * timestamps.h - the write timestamps that the proxy gives (timestamps = add):
 * microseconds since 1970, as drivers and Cassandra make them.
 *
 * One clock for the process: each timestamp is larger than all that were given
 * before it, by whatever worker. So a write that a driver sends after the
 * answer to another one, on any connection, has the larger timestamp and wins
 * on both clusters.
 */
#ifndef PROXY_TIMESTAMPS_H
#define PROXY_TIMESTAMPS_H

#include <stdatomic.h>

#include "base/common.h"

struct timestamps {
	_Atomic int64_t last; /* the largest that was given */
};

/* The next timestamp: the clock's, or one more than the last when the clock is not beyond that. Any thread. */
int64_t timestamps_next(struct timestamps *t);

/* The same with a given clock, without a word about one that stepped back. */
int64_t timestamps_raise(struct timestamps *t, int64_t now_us);

#endif
