/* trim.c - see trim.h */
#include "base/trim.h"

#include <event2/event.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#define PERIOD_S 30
/* Less than this is no reason: the next connections need it again. */
#define WORTH_IT (UINT64_C(1) << 20)

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 33)
#define CAN_TRIM 1
#endif
#endif

#ifdef CAN_TRIM

/* What is resident and belongs to no file: heaps, stacks, and variables. 0: not known. */
static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long resident = 0, shared = 0;
	bool ok;

	if (!f)
		return 0;
	ok = fscanf(f, "%*u %lu %lu", &resident, &shared) == 2 && resident >= shared;
	fclose(f);
	return ok ? (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t trim_idle_bytes(void)
{
	const struct mallinfo2 info = mallinfo2();
	const uint64_t used = info.uordblks + info.hblkhd;
	const uint64_t resident = resident_bytes();

	return resident > used ? resident - used : 0;
}

static void give_back(void)
{
	malloc_trim(0);
}

#else

uint64_t trim_idle_bytes(void)
{
	return 0;
}

static void give_back(void)
{
}

#endif

bool trim_look(struct trim *t, uint64_t idle)
{
	/* Used again, or given back by free(3) itself. */
	t->stuck = MIN(t->stuck, idle);
	if (idle - t->stuck < WORTH_IT)
		return false;
	give_back();
	t->stuck = trim_idle_bytes();
	return true;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	trim_look(arg, trim_idle_bytes());
}

void trim_start(struct trim *t, struct event_base *base)
{
	const struct timeval period = { .tv_sec = PERIOD_S };

	t->stuck = 0;
	event_assign(&t->timer, base, -1, EV_PERSIST, on_timer, t);
	event_add(&t->timer, &period);
}

void trim_stop(struct trim *t)
{
	event_del(&t->timer);
}
