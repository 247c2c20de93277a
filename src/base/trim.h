/*
 * trim.h - what malloc keeps after a burst goes back to the system.
 *
 * malloc itself gives back only what lies at the end of an arena, and after a
 * burst something nearly always lies behind. So we look every half minute at
 * how much of what is resident is in nobody's use, and have malloc give back
 * its free pages when that is worth it. What remains then lies between things
 * in use, and trying again would find the same: only what has become free since
 * counts. Threads that allocate meanwhile wait for some hundred microseconds;
 * requests on their way do not allocate.
 *
 * Belongs to the thread of its event base; one for the process. With another C
 * library than glibc (2.33 or later) it does nothing.
 */
#ifndef BASE_TRIM_H
#define BASE_TRIM_H

#include <event2/event_struct.h>

#include "base/common.h"

struct trim {
	struct event timer;
	uint64_t stuck; /* bytes that are free and resident, and could not be given back */
};

/* Starts to look. */
void trim_start(struct trim *t, struct event_base *base);
/* Only after trim_start(). */
void trim_stop(struct trim *t);

/* Bytes that are resident and free, about; 0 where that cannot be said. From any thread. */
uint64_t trim_idle_bytes(void);
/* Looks now; `idle` is trim_idle_bytes(). True when malloc was told to give back. */
bool trim_look(struct trim *t, uint64_t idle);

#endif
