/*
 * rates.h - how often something may happen in a second, by a key that scripts
 * choose ("user:ann"): token buckets that all workers share. One table of fixed
 * size in shards, each with a lock that is held for one look-up.
 *
 * A bucket holds one second's worth of tokens, at least one, and a new one is
 * full. There is room for RATES_KEYS keys; beyond that a bucket that is full
 * anyway, else the one that has not been asked for longest, makes room, so a
 * script with too many keys lets a little more pass and never takes more memory.
 */
#ifndef POLICY_RATES_H
#define POLICY_RATES_H

#include "base/strview.h"

#define RATES_KEYS 32768
#define RATES_PER_SECOND_MAX 1e9

struct rates;

struct rates *rates_new(void);
void rates_free(struct rates *r);

/*
 * Takes a token from the bucket of `key`: true when there was one. `per_second`
 * (0 to RATES_PER_SECOND_MAX, fractions too; 0: never) is that of this call, so
 * it may change at any time. `now_ns` is monotonic; a clock that is a little
 * behind that of another thread does no harm. From any thread.
 */
MUSTCHECK bool rates_take(struct rates *r, struct strview key, double per_second, uint64_t now_ns);

/* The process's own, made at the first call and never freed: what was used up stays so when scripts are reloaded. */
struct rates *rates_shared(void);

#endif
