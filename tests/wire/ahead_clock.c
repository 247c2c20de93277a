/*
 * ahead_clock.c - preloaded into the proxy by test_lua_examples.py: its wall
 * clock is so many seconds ahead of the real one as the file $CLOCK_AHEAD says
 * (a 64-bit number), which the test may change at any time.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int file = -1;

__attribute__((constructor)) static void open_file(void)
{
	const char *path = getenv("CLOCK_AHEAD");

	if (path)
		file = open(path, O_RDONLY | O_CLOEXEC);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t ahead;

	if (syscall(SYS_clock_gettime, id, ts) != 0)
		return -1;
	if (id == CLOCK_REALTIME && pread(file, &ahead, sizeof(ahead), 0) == sizeof(ahead))
		ts->tv_sec += ahead;
	return 0;
}
