/* options.h - the command line of cqlbench. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdio.h>

#include "base/common.h"

enum reads_to {
	READS_TO_ORIGIN,
	READS_TO_BOTH, /* the target may get reads as well */
};

/* Who speaks TLS. */
enum tls_side {
	TLS_CLIENTS = 1,
	TLS_ORIGIN = 2,
	TLS_TARGET = 4,
};

/* How late a cluster answers: evenly spread; both 0: at once. */
struct delay {
	uint64_t min_ns, max_ns;
};

struct options {
	const char *proxy;
	const char *origin; /* NULL: not ours */
	const char *target;
	unsigned connections;
	unsigned depth;
	unsigned write_percent;
	unsigned batch_percent; /* of the writes */
	unsigned value_len;
	unsigned version;
	unsigned form;        /* enum form */
	unsigned reads_to;    /* enum reads_to */
	unsigned compression; /* enum cql_compression */
	unsigned tls;         /* bits of enum tls_side */
	const char *cert;     /* PEM files */
	const char *key;
	const char *ca;
	struct delay origin_delay, target_delay;
	double origin_errors, target_errors; /* percent */
	const char *user;                    /* NULL: clients do not log in */
	const char *password;
	const char *keyspace;
	bool create;   /* it, and the table */
	uint64_t keys; /* requests go round them; 0: each has a key of its own */
	/* A part that has no time ends by its number of requests. */
	double seconds;
	double warmup_seconds;
	uint64_t requests;
	uint64_t warmup;
	double rate;    /* 0: closed loop */
	unsigned burst; /* so many are due at a time, for one connection */
	double idle_s;
	double churn; /* connections per second */
	const char *pid_file;
	const char *json; /* NULL: lines for people */
	bool lockstep;
	bool selftest;
	unsigned patience_s;
};

/* Fills in the options; ends the program with a message when they make no sense. */
void options_take(struct options *o, int argc, char **argv);
/* {"proxy": "...", ...}: each as it was given or as its default is. */
void options_print_json(const struct options *o, FILE *out);

/* Answers that are errors are wanted, not wrong. */
static inline bool options_ask_for_errors(const struct options *o)
{
	return o->origin_errors > 0 || o->target_errors > 0;
}

#endif
