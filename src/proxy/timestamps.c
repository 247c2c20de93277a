/* timestamps.c - see timestamps.h */
#include "proxy/timestamps.h"

#include <time.h>

#include "base/log.h"

/*
 * Timestamps run ahead of the clock by one microsecond per request that comes
 * within the same one; this much ahead, the clock was set back.
 */
#define STEP_BACK_US 1000000

int64_t timestamps_raise(struct timestamps *t, int64_t now_us)
{
	int64_t last = atomic_load_explicit(&t->last, memory_order_acquire);
	int64_t next;

	do {
		next = MAX(now_us, last + 1);
	} while (!atomic_compare_exchange_weak_explicit(&t->last, &last, next, memory_order_acq_rel,
							memory_order_acquire));
	return next;
}

int64_t timestamps_next(struct timestamps *t)
{
	struct timespec ts;
	int64_t now, next;

	clock_gettime(CLOCK_REALTIME, &ts);
	now = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
	next = timestamps_raise(t, now);
	if (unlikely(next - now > STEP_BACK_US))
		log_limited(LOG_WARN,
			    "the clock stands %lld ms behind the last write timestamp: it was set back; timestamps "
			    "go on from the last one",
			    (long long)(next - now) / 1000);
	return next;
}
