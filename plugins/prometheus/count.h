/*
 * count.h - what a worker counts of each request, in memory of its own: no
 * lock, no atomic read-modify-write, no allocation once the names are known.
 * A connection and a prepared statement carry references to their names
 * (names.h), so that nothing is looked up for a request of a known one.
 */
#ifndef PROMETHEUS_COUNT_H
#define PROMETHEUS_COUNT_H

#include <cqlferry/plugin.h>

#include "buckets.h"
#include "names.h"

/* CQLFERRY_READ ..., and: */
#define COUNT_PREPARE 5
#define COUNT_KINDS 6
#define COUNT_ROUTES 4 /* struct cqlferry_response, to */
/* Powers of two, so that a number that we do not know yet goes nowhere else. */
#define COUNT_OUTCOMES 8
#define COUNT_DECIDERS 8
#define COUNT_ANSWERERS 3
/* Errors of the protocol, see count_error_name(). */
#define COUNT_ERRORS 22

#define COUNT_STATEMENT_CELLS (COUNT_KINDS * COUNT_ROUTES * COUNT_OUTCOMES)

struct count_worker;

/* What all workers have in common; fixed when they start. */
struct count {
	const struct cqlferry_host *host;
	struct names *tables;       /* COUNT_STATEMENT_CELLS: kind, route, outcome */
	struct names *users;        /* by outcome */
	struct names *drivers;      /* by outcome */
	bool by_keyspace, by_table; /* what names of tables are made of; neither: there are none */
	struct buckets durations, added;
	unsigned worker_count;
	struct count_worker *_Atomic workers[]; /* read by main at any time */
};

/* A name of a table that texts have mentioned lately, so that the next text need not ask for its number. */
struct count_known {
	uint32_t ref;
	uint16_t len;
	char key[NAMES_KEY_MAX];
};
#define COUNT_KNOWN 64

struct count_worker {
	const struct cqlferry_host *host;
	const struct count *count;
	struct names_view tables, users, drivers;
	/*
	 * Of a request to one cluster that took as long as its part, which most do, one histogram says all: how long it
	 * took, how long the cluster, and that nothing was added. The other ones are for those that are not in it.
	 */
	struct histogram alone[CQLFERRY_CLUSTERS][COUNT_KINDS];
	struct histogram durations[COUNT_KINDS][COUNT_ROUTES];
	struct histogram clusters[CQLFERRY_CLUSTERS][COUNT_KINDS];
	struct histogram added;
	uint64_t not_added; /* beside `alone`: those to both to which nothing was added */
	uint64_t deciders[COUNT_DECIDERS];
	uint64_t errors[COUNT_ANSWERERS][COUNT_ERRORS];           /* what drivers were told */
	uint64_t cluster_errors[CQLFERRY_CLUSTERS][COUNT_ERRORS]; /* what clusters have answered */
	struct count_known known[COUNT_KNOWN];
};

/* NULL: no memory. */
struct count_worker *count_worker_new(struct count *count, unsigned worker);
/* on_response of the plugin. */
void count_response(void *worker_self, struct cqlferry_request *request, const struct cqlferry_response *response);
/* As native protocol v5, section 8 calls it, "READ_TIMEOUT"; the last one is for codes that it does not know. */
const char *count_error_name(unsigned error);

#endif
