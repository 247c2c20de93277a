/* metrics_process.c - see metrics_process.h; the numbers are those of proc(5). */
#include "control/metrics_process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void write_value(struct metrics_sink *sink, const char *name, const char *type, const char *help, double value)
{
	sink->family(sink, name, type, help);
	sink->sample(sink, "", "", value);
}

/* Of /proc/self/stat, whose second field is the name in parentheses, which may have blanks. */
struct proc_stat {
	unsigned long long start_ticks; /* since the system has been up */
	unsigned long virtual_bytes;
	long resident_pages;
};

static bool read_stat(struct proc_stat *s)
{
	FILE *f = fopen("/proc/self/stat", "re");
	char text[1024];
	size_t len;
	const char *p;

	if (!f)
		return false;
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	p = strrchr(text, ')');
	/* fields 3 to 21, then starttime, vsize, rss */
	return p && sscanf(p + 1,
			   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %lu %ld",
			   &s->start_ticks, &s->virtual_bytes, &s->resident_pages) == 3;
}

/* Open descriptors, without the one of the directory itself. */
static int count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -1;

	if (!d)
		return -1;
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/*
 * The moment of the start: the wall clock when the system came up, and the
 * ticks from then on. Once, since who watches takes another value for another
 * start, and the two clocks are never read at the same moment.
 */
static double start_time(unsigned long long ticks)
{
	static double started;
	struct timespec wall, up;

	if (started > 0)
		return started;
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &up);
	started = (double)(wall.tv_sec - up.tv_sec) + (double)(wall.tv_nsec - up.tv_nsec) / 1e9 +
		  (double)ticks / (double)sysconf(_SC_CLK_TCK);
	return started;
}

void metrics_process_write(struct metrics_sink *sink)
{
	const int descriptors = count_descriptors();
	struct proc_stat stat;
	struct rusage usage;
	struct rlimit limit;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		write_value(sink, "process_cpu_seconds_total", "counter", "Time of processors used, in seconds",
			    seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		write_value(sink, "process_max_fds", "gauge", "Descriptors that may be open", (double)limit.rlim_cur);
	if (descriptors >= 0)
		write_value(sink, "process_open_fds", "gauge", "Descriptors that are open", descriptors);
	if (!read_stat(&stat))
		return;
	write_value(sink, "process_resident_memory_bytes", "gauge", "Memory in use, in bytes",
		    (double)stat.resident_pages * (double)sysconf(_SC_PAGESIZE));
	write_value(sink, "process_start_time_seconds", "gauge", "When the process was started, in seconds since 1970",
		    start_time(stat.start_ticks));
	write_value(sink, "process_virtual_memory_bytes", "gauge", "Addresses in use, in bytes",
		    (double)stat.virtual_bytes);
}
