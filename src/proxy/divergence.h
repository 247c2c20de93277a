/*
 * divergence.h - where the two clusters have parted, as far as answers show
 * it: counted by table, and logged as samples.
 *
 *   conditional writes   applied on one cluster, refused on the other. The
 *                        client has seen the primary's decision.
 *   partial writes       one cluster has acknowledged, the other one answered
 *                        an error, or nothing. The client has got an error.
 *
 * Process-wide, behind a mutex: this is rare, or else the least of all worries.
 */
#ifndef PROXY_DIVERGENCE_H
#define PROXY_DIVERGENCE_H

#include <pthread.h>

#include "cql/frame.h"
#include "cql/scanner.h"
#include "proxy/settings.h"

struct request;

/* So many tables have counters of their own, the rest shares one: what tables there are is the clients' choice. */
#define DIVERGENCE_MAX_TABLES 200

struct divergence_counts {
	uint64_t conditional;
	/* By the cluster where the write is missing, and whether it surely is (1) or may have been applied (0). */
	uint64_t partial[CLUSTER_COUNT][2];
};

/* Names as Cassandra stores them, longer ones cut; "" where the statement does not tell. */
struct divergence_table {
	char keyspace[STATEMENT_NAME_MAX + 1];
	char table[STATEMENT_NAME_MAX + 1];
	struct divergence_counts counts;
};

struct divergences {
	pthread_mutex_t lock;
	unsigned count;
	struct divergence_table tables[DIVERGENCE_MAX_TABLES + 1]; /* the last: all others */
};

void divergences_init(struct divergences *d);
void divergences_fini(struct divergences *d);

/* Copies entry number i to *out; false when there are no more. The one for all others has both names "other". Any thread. */
MUSTCHECK bool divergences_get(struct divergences *d, unsigned i, struct divergence_table *out);
/* The counters of a table, locked until divergences_unlock(). */
struct divergence_counts *divergences_lock(struct divergences *d, struct strview keyspace, struct strview table);
void divergences_unlock(struct divergences *d);

/* Both clusters have answered a write, each as legs[].outcome says: looks at the answers, counts and logs. */
void divergence_check(struct request *rq, const struct frame answers[CLUSTER_COUNT]);
/* A write ends without an answer of a cluster: counts it if the other one has acknowledged. */
void divergence_unanswered(struct request *rq, struct strview why);

#endif
