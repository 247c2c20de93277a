/*
 * proc_stat.h - what a process with its children, this process, and the machine have used, from /proc (proc(5)). The
 * load generator reads it itself at the edges of a window: a helper process would take time from those that are measured.
 */
#ifndef BENCH_PROC_STAT_H
#define BENCH_PROC_STAT_H

#include <sys/types.h>

#include "base/common.h"

/* CPU time since a process began, of all its threads and descendants. */
struct proc_cpu {
	uint64_t ran_ns;       /* of the threads that live, from schedstat */
	uint64_t user_ticks;   /* those of threads and of children that have ended included */
	uint64_t system_ticks; /* hundredths of a second both */
};

/* CPU time between two readings. */
struct proc_spent {
	double user_s;
	double system_s;
};

/* Sums over a process and its descendants. */
struct proc_facts {
	uint64_t rss_kib;
	uint64_t peak_kib; /* the largest RSS that each has had since it began or since proc_reset_peak() */
	uint64_t voluntary_switches;
	uint64_t involuntary_switches;
	unsigned threads;
	unsigned fds; /* open ones */
};

/* The machine's time in ticks, since it began. */
struct proc_machine {
	uint64_t stolen; /* by other guests of the host */
	uint64_t total;
};

/* The number in a file; 0 when there is none. */
pid_t proc_read_pid(const char *path);
/* Both end with false when there is no such process. */
MUSTCHECK bool proc_read_cpu(pid_t pid, struct proc_cpu *out);
MUSTCHECK bool proc_read_facts(pid_t pid, struct proc_facts *out);
/*
 * Lets the peak of each begin anew, by clear_refs (proc(5)). False when that is not allowed for one of them, as for a
 * process of another user: its peak is then that since it began.
 */
MUSTCHECK bool proc_reset_peak(pid_t pid);
void proc_read_machine(struct proc_machine *out);
/* This process alone, in microseconds' resolution. */
struct proc_spent proc_own_cpu(void);

struct proc_spent proc_spent_between(const struct proc_cpu *begin, const struct proc_cpu *end);
double proc_stolen_percent(const struct proc_machine *begin, const struct proc_machine *end);

#endif
