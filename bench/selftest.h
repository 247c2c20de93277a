/*
 * selftest.h - cqlbench --selftest: what it counts and measures is true, and what a proxy does wrong is noticed. Needs no
 * proxy: relay.h stands in for one.
 */
#ifndef BENCH_SELFTEST_H
#define BENCH_SELFTEST_H

#include "base/common.h"

/* One thing to be proven, in a process of its own. It ends the program by die() when it does not hold. */
struct selftest {
	const char *name;
	void (*run)(const struct selftest *self);
	const char *options; /* for run(), as on a command line */
	int fault;           /* enum fault, of the relay */
	const char *message; /* NULL: must end well; else with exit status 1 and a message that contains this */
};

/* Ends the program unless a statement holds. */
#define REQUIRE(statement) ((statement) ? (void)0 : die("%s:%d: %s", __FILE__, __LINE__, #statement))

/* The exit status for the program; prints what has failed and how many were made. */
int selftest_run(void);

/* The parts. Each array ends with a name that is NULL. */
extern const struct selftest selftest_histogram[];
extern const struct selftest selftest_peer[];
extern const struct selftest selftest_proc_stat[];
extern const struct selftest selftest_load[];

#endif
