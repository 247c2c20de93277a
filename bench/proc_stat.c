/* proc_stat.c - see proc_stat.h */
#include "proc_stat.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILE_LEN 8192

/* The beginning of a file as a text; false when it cannot be read. */
static PRINTF_LIKE(2, 3) bool read_text(char text[FILE_LEN], const char *path_format, ...)
{
	char path[PATH_MAX];
	va_list args;
	FILE *file;
	size_t n;

	va_start(args, path_format);
	vsnprintf(path, sizeof(path), path_format, args);
	va_end(args);
	file = fopen(path, "re");
	if (!file)
		return false;
	n = fread(text, 1, FILE_LEN - 1, file);
	text[n] = 0;
	fclose(file);
	return n > 0;
}

pid_t proc_read_pid(const char *path)
{
	char text[FILE_LEN];

	return read_text(text, "%s", path) ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* Calls `each` with every number that is a name in a process's folder "task" or "fd"; false when there is no such. */
static bool for_numbers(pid_t pid, const char *folder, void (*each)(pid_t pid, int number, void *arg), void *arg)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, folder);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir)) != NULL) {
		char *end;
		const long number = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && *end == 0)
			each(pid, (int)number, arg);
	}
	closedir(dir);
	return true;
}

/* ---- a process and its descendants ---- */

struct walk {
	bool (*visit)(pid_t pid, void *out);
	void *out;
};

static bool walk(pid_t pid, const struct walk *w);

/* /proc/PID/task/TID/children names those that the thread has made. */
static void walk_children(pid_t pid, int tid, void *arg)
{
	char text[FILE_LEN];

	if (!read_text(text, "/proc/%d/task/%d/children", (int)pid, tid))
		return;
	for (char *at = text, *end;; at = end) {
		const pid_t child = (pid_t)strtol(at, &end, 10);

		if (end == at)
			return;
		walk(child, arg);
	}
}

static bool walk(pid_t pid, const struct walk *w)
{
	if (!w->visit(pid, w->out))
		return false;
	return for_numbers(pid, "task", walk_children, (void *)(uintptr_t)w);
}

/* ---- CPU time ---- */

/* The first number of schedstat is the time on a CPU, in nanoseconds. */
static void add_thread(pid_t pid, int tid, void *arg)
{
	struct proc_cpu *out = arg;
	char text[FILE_LEN];

	if (read_text(text, "/proc/%d/task/%d/schedstat", (int)pid, tid))
		out->ran_ns += strtoull(text, NULL, 10);
}

static bool add_cpu(pid_t pid, void *arg)
{
	struct proc_cpu *out = arg;
	char text[FILE_LEN];
	uint64_t user, children_user;
	uint64_t system, children_system;
	const char *fields;

	if (!for_numbers(pid, "task", add_thread, out) || !read_text(text, "/proc/%d/stat", (int)pid))
		return false;
	/*
	 * The name, the second field, is in parentheses and may contain anything; utime and stime are fields 14 and 15, and
	 * 16 and 17 are those of children that have ended, which are counted as what lives no longer: else their time
	 * would be taken back.
	 */
	fields = strrchr(text, ')');
	if (!fields ||
	    sscanf(fields + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &user,
		   &system, &children_user, &children_system) != 4)
		return false;
	out->user_ticks += user + children_user;
	out->system_ticks += system + children_system;
	return true;
}

bool proc_read_cpu(pid_t pid, struct proc_cpu *out)
{
	const struct walk w = { .visit = add_cpu, .out = out };

	*out = (struct proc_cpu){ .ran_ns = 0 };
	return walk(pid, &w);
}

struct proc_spent proc_spent_between(const struct proc_cpu *begin, const struct proc_cpu *end)
{
	/* A child of one that has ended may belong to nobody at the end: then there is less. */
	const double user = (double)MAX((int64_t)(end->user_ticks - begin->user_ticks), 0);
	const double system = (double)MAX((int64_t)(end->system_ticks - begin->system_ticks), 0);
	const double ticks_s = (user + system) / (double)sysconf(_SC_CLK_TCK);
	double total_s = (double)MAX((int64_t)(end->ran_ns - begin->ran_ns), 0) / 1e9;
	double user_share = 0.5;

	/*
	 * schedstat is exact but knows only the threads that live at the end. Where it says less than the ticks by more
	 * than these are rounded, threads or children have ended in between.
	 */
	if (ticks_s > total_s + 0.04)
		total_s = ticks_s;
	if (user + system > 0)
		user_share = user / (user + system);
	return (struct proc_spent){ .user_s = total_s * user_share, .system_s = total_s * (1 - user_share) };
}

struct proc_spent proc_own_cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (struct proc_spent){
		.user_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6,
		.system_s = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6,
	};
}

/* ---- facts ---- */

/* The number behind `name` at the beginning of a line; 0 without. */
static uint64_t number_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void add_switches(pid_t pid, int tid, void *arg)
{
	struct proc_facts *out = arg;
	char text[FILE_LEN];

	if (!read_text(text, "/proc/%d/task/%d/status", (int)pid, tid))
		return;
	out->threads++;
	out->voluntary_switches += number_of(text, "\nvoluntary_ctxt_switches:");
	out->involuntary_switches += number_of(text, "\nnonvoluntary_ctxt_switches:");
}

static void add_fd(pid_t pid, int number, void *arg)
{
	struct proc_facts *out = arg;

	(void)pid;
	(void)number;
	out->fds++;
}

static bool add_facts(pid_t pid, void *arg)
{
	struct proc_facts *out = arg;
	char text[FILE_LEN];

	if (!read_text(text, "/proc/%d/status", (int)pid))
		return false;
	out->rss_kib += number_of(text, "\nVmRSS:");
	out->peak_kib += number_of(text, "\nVmHWM:");
	for_numbers(pid, "fd", add_fd, out);
	return for_numbers(pid, "task", add_switches, out);
}

bool proc_read_facts(pid_t pid, struct proc_facts *out)
{
	const struct walk w = { .visit = add_facts, .out = out };

	*out = (struct proc_facts){ .threads = 0 };
	return walk(pid, &w);
}

static bool reset_peak(pid_t pid, void *out)
{
	bool *is_reset = out;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)pid);
	file = fopen(path, "we");
	if (!file) {
		*is_reset = false;
		return true;
	}
	/* 5 is the number for the peak; what is written arrives when the file is closed. */
	fputc('5', file);
	if (fclose(file) != 0)
		*is_reset = false;
	return true;
}

bool proc_reset_peak(pid_t pid)
{
	bool is_reset = true;
	const struct walk w = { .visit = reset_peak, .out = &is_reset };

	return walk(pid, &w) && is_reset;
}

/* ---- the machine ---- */

/* "cpu  user nice system idle iowait irq softirq steal guest guest_nice": guests are in user and nice already. */
void proc_read_machine(struct proc_machine *out)
{
	char text[FILE_LEN];
	uint64_t ticks[8] = { 0 };
	char *at = text;

	*out = (struct proc_machine){ .total = 0 };
	if (!read_text(text, "/proc/stat") || strncmp(text, "cpu ", 4) != 0)
		return;
	at += 4;
	for (unsigned i = 0; i < ARRAY_LEN(ticks); i++) {
		ticks[i] = strtoull(at, &at, 10);
		out->total += ticks[i];
	}
	out->stolen = ticks[7];
}

double proc_stolen_percent(const struct proc_machine *begin, const struct proc_machine *end)
{
	const uint64_t total = end->total - begin->total;

	return total ? 100.0 * (double)(end->stolen - begin->stolen) / (double)total : 0;
}
