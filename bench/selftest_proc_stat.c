/* selftest_proc_stat.c - CPU time of processes that know how much they have used. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"
#include "proc_stat.h"
#include "selftest.h"

#define MS 1000000ull

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

/* Uses so much CPU time in this thread. */
static void burn(uint64_t ns)
{
	const uint64_t end = cpu_ns(CLOCK_THREAD_CPUTIME_ID) + ns;

	while (cpu_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void *burn_in_thread(void *arg)
{
	burn((uintptr_t)arg);
	return NULL;
}

static void burn_in_new_thread(uint64_t ns)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, burn_in_thread, (void *)(uintptr_t)ns) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

/* A process that waits for a byte, works, says how long that took, and waits again. */
struct worker {
	pid_t pid;
	int ask[2], tell[2];
};

static NORETURN void work_when_asked(const struct worker *w, void (*work)(void))
{
	char byte;

	while (read(w->ask[0], &byte, 1) == 1) {
		const uint64_t begin = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
		uint64_t used;

		work();
		used = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;
		if (write(w->tell[1], &used, sizeof(used)) != (ssize_t)sizeof(used))
			break;
	}
	_exit(0);
}

static struct worker start_worker(void (*work)(void))
{
	struct worker w;

	REQUIRE(pipe(w.ask) == 0 && pipe(w.tell) == 0);
	w.pid = fork();
	REQUIRE(w.pid >= 0);
	if (w.pid == 0) {
		close(w.ask[1]);
		work_when_asked(&w, work);
	}
	return w;
}

static uint64_t ask(const struct worker *w)
{
	uint64_t used = 0;

	REQUIRE(write(w->ask[1], "x", 1) == 1);
	REQUIRE(read(w->tell[0], &used, sizeof(used)) == (ssize_t)sizeof(used));
	return used;
}

/* What the process says it used, and what /proc says, differ by less than `slack_ns`. */
static void require_cpu(const struct worker *w, uint64_t also_ns, uint64_t slack_ns)
{
	struct proc_cpu begin;
	struct proc_cpu end;
	struct proc_spent spent;
	uint64_t used;
	uint64_t told;

	REQUIRE(proc_read_cpu(w->pid, &begin));
	used = ask(w) + also_ns;
	REQUIRE(proc_read_cpu(w->pid, &end));
	spent = proc_spent_between(&begin, &end);
	told = (uint64_t)((spent.user_s + spent.system_s) * 1e9);
	if (told + slack_ns < used || told > used + slack_ns)
		die("used %llu us, told %llu us", (unsigned long long)(used / 1000), (unsigned long long)(told / 1000));
}

static void end_worker(struct worker *w)
{
	close(w->ask[1]);
	REQUIRE(waitpid(w->pid, NULL, 0) == w->pid);
}

static void work_little(void)
{
	burn(20 * MS);
}

/* What it does between its two readings of its own clock is all it does but for a read and a write. */
static void check_process(const struct selftest *self)
{
	struct worker w = start_worker(work_little);

	(void)self;
	ask(&w);
	require_cpu(&w, 0, 2 * MS);
	end_worker(&w);
}

static void work_in_thread_that_ends(void)
{
	burn_in_new_thread(150 * MS);
}

/* Its time is in no schedstat any more; the ticks are exact to two hundredths of a second. */
static void check_ended_thread(const struct selftest *self)
{
	struct worker w = start_worker(work_in_thread_that_ends);

	(void)self;
	require_cpu(&w, 0, 25 * MS);
	end_worker(&w);
}

static struct worker grandchild;

static void work_in_grandchild(void)
{
	if (grandchild.pid == 0) {
		grandchild = start_worker(work_little);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	ask(&grandchild);
}

/* The child's clock does not know what its own child uses. */
static void check_grandchild(const struct selftest *self)
{
	struct worker w = start_worker(work_in_grandchild);
	struct proc_facts facts;

	(void)self;
	ask(&w);
	require_cpu(&w, 20 * MS, 3 * MS);
	REQUIRE(proc_read_facts(w.pid, &facts));
	REQUIRE(facts.threads == 2);
	end_worker(&w);
}

/* A child that has worked before ends in the window: its time is in what its parent has waited for. */
static void work_and_end_child(void)
{
	if (grandchild.pid == 0) {
		grandchild = start_worker(work_in_thread_that_ends);
		ask(&grandchild);
		return;
	}
	ask(&grandchild);
	end_worker(&grandchild);
}

static void check_ended_child(const struct selftest *self)
{
	struct worker w = start_worker(work_and_end_child);

	(void)self;
	ask(&w);
	require_cpu(&w, 150 * MS, 45 * MS);
	end_worker(&w);
}

static void check_facts(const struct selftest *self)
{
	enum {
		BYTES = 32 << 20,
		KIB = BYTES >> 10
	};
	struct proc_facts before;
	struct proc_facts after;
	uint8_t *memory;
	int fds[2];

	(void)self;
	REQUIRE(proc_read_facts(getpid(), &before));
	REQUIRE(before.threads == 1 && before.rss_kib > 0 && before.peak_kib >= before.rss_kib);
	memory = xmalloc(BYTES);
	for (size_t i = 0; i < BYTES; i += 512)
		memory[i] = (uint8_t)i;
	REQUIRE(pipe(fds) == 0);
	usleep(1000);
	REQUIRE(proc_read_facts(getpid(), &after));
	REQUIRE(after.rss_kib >= before.rss_kib + KIB * 9 / 10 && after.rss_kib <= before.rss_kib + KIB * 2);
	REQUIRE(after.fds == before.fds + 2 && after.voluntary_switches > before.voluntary_switches);
	free(memory);
}

/* What was given back before does not count, what comes after does. */
static void check_peak(const struct selftest *self)
{
	enum {
		BYTES = 32 << 20,
		KIB = BYTES >> 10
	};
	struct proc_facts facts[3];

	(void)self;
	for (unsigned i = 0; i < ARRAY_LEN(facts); i++) {
		uint8_t *memory;

		if (i == 1 && !proc_reset_peak(getpid()))
			return; /* not allowed here, as the results then say */
		REQUIRE(proc_read_facts(getpid(), &facts[i]));
		memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(memory != MAP_FAILED);
		for (size_t at = 0; at < BYTES && i != 1; at += 512)
			memory[at] = 1;
		REQUIRE(munmap(memory, BYTES) == 0);
	}
	REQUIRE(facts[1].peak_kib <= facts[1].rss_kib + KIB / 4);
	REQUIRE(facts[2].peak_kib <= facts[2].rss_kib + KIB / 4);
	REQUIRE(proc_read_facts(getpid(), &facts[0]));
	REQUIRE(facts[0].peak_kib >= facts[2].peak_kib + KIB / 2);
}

static void check_strangers(const struct selftest *self)
{
	struct proc_cpu cpu;
	struct proc_facts facts;
	struct proc_machine machine;

	(void)self;
	/* Larger than any number of a process (PID_MAX_LIMIT). */
	REQUIRE(!proc_read_cpu(1 << 23, &cpu) && !proc_read_facts(1 << 23, &facts));
	REQUIRE(!proc_reset_peak(1 << 23));
	REQUIRE(proc_read_pid("/nowhere/at.all") == 0);
	proc_read_machine(&machine);
	REQUIRE(machine.total > machine.stolen);
}

static void check_steal(const struct selftest *self)
{
	const struct proc_machine begin = { .stolen = 10, .total = 1000 };
	const struct proc_machine end = { .stolen = 13, .total = 1300 };

	(void)self;
	REQUIRE(proc_stolen_percent(&begin, &end) > 0.999 && proc_stolen_percent(&begin, &end) < 1.001);
	REQUIRE(proc_stolen_percent(&begin, &begin) == 0);
}

const struct selftest selftest_proc_stat[] = {
	{ .name = "CPU time of a process", .run = check_process },
	{ .name = "CPU time of a thread that has ended", .run = check_ended_thread },
	{ .name = "CPU time of a child's child", .run = check_grandchild },
	{ .name = "CPU time of a child that has ended", .run = check_ended_child },
	{ .name = "memory, threads, files and switches", .run = check_facts },
	{ .name = "the peak of memory", .run = check_peak },
	{ .name = "processes that are not there", .run = check_strangers },
	{ .name = "the share that was stolen", .run = check_steal },
	{ .name = NULL },
};
