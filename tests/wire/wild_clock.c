/*
 * wild_clock.c - preloaded into the proxy by test_timestamps.py: its wall
 * clock is at each look up to three seconds behind the real one, differently
 * every time and in every thread. What rises all the same is not the clock's
 * merit.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPREAD_MS 3000

int clock_gettime(clockid_t id, struct timespec *ts)
{
	static _Thread_local unsigned long seed;
	long behind;

	if (syscall(SYS_clock_gettime, id, ts) != 0)
		return -1;
	if (id != CLOCK_REALTIME)
		return 0;
	if (seed == 0)
		seed = (unsigned long)&seed;
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	behind = (long)(seed >> 33) % SPREAD_MS * 1000000;
	ts->tv_sec -= behind / 1000000000;
	ts->tv_nsec -= behind % 1000000000;
	if (ts->tv_nsec < 0) {
		ts->tv_nsec += 1000000000;
		ts->tv_sec--;
	}
	return 0;
}
