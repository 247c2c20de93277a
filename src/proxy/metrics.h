/*
 * metrics.h - the counters of one worker. Each is written by its worker alone
 * and read by the main thread, so a plain add with a relaxed store is enough;
 * a page sums over the workers.
 */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "proxy/settings.h"

/* What a counted request was: ZDM's `type` label. */
enum request_type {
	REQUEST_READS_ORIGIN = 0, /* answered by origin */
	REQUEST_READS_TARGET = 1, /* answered by target */
	REQUEST_WRITES = 2,       /* everything else, wherever it is sent */
	REQUEST_UNTRACKED = 3,    /* PREPARE, OPTIONS, REGISTER, handshakes, system tables: in no request metric */
};
#define REQUEST_TYPES 3

enum failed_on {
	FAILED_ON_ORIGIN = CLUSTER_ORIGIN,
	FAILED_ON_TARGET = CLUSTER_TARGET,
	FAILED_ON_BOTH = 2,
};

/* Why calls of now() and the like reached the clusters. */
enum functions_kept {
	FUNCTIONS_REFUSED,        /* a cluster did not prepare the statement with markers in their place */
	FUNCTIONS_NOT_REPLACEABLE /* too many, too deep, or the client's markers have our names */
};
#define FUNCTIONS_KEPT 2

/* Why a copy of a read was not sent to the other cluster: X(name, label), sorted by label. */
#define MIRROR_DROPS(X)                                                                                                \
	X(FULL, "full")         /* no stream id, or too much that waits */                                             \
	X(KEYSPACE, "keyspace") /* USE was refused or not answered */                                                  \
	X(NO_CONNECTION, "no_connection")                                                                              \
	X(UNPREPARED, "unprepared") /* that cluster was never asked to prepare it, and is asked now */

enum mirror_drop {
#define X(name, label) MIRROR_DROP_##name,
	MIRROR_DROPS(X)
#undef X
};
#define MIRROR_DROP_COUNT 4

/* To which of its nodes a cluster's requests went, with load_balancing = token_aware: X(name, label), sorted by label. */
#define PLACEMENTS(X)                                                                                                  \
	X(OTHER, "other") /* the replicas are known, but none is up, or none has a connection yet */                   \
	X(REPLICA, "replica")                                                                                          \
	X(UNKNOWN, "unknown") /* the key or its replicas are not known */

enum placement {
	PLACED_NOT_ASKED, /* there is one node, or nothing to ask; not shown */
#define X(name, label) PLACED_##name,
	PLACEMENTS(X)
#undef X
};
#define PLACEMENT_COUNT 4

struct histogram {
	uint64_t counts[SETTINGS_MAX_BUCKETS + 1]; /* the last: above every bound */
	uint64_t sum_ns;
};

struct metrics {
	uint64_t client_connections; /* gauge */
	uint64_t failed_connections[CLUSTER_COUNT];
	uint64_t failed_reads[CLUSTER_COUNT];
	uint64_t failed_writes[3];             /* by enum failed_on */
	uint64_t single_writes[CLUSTER_COUNT]; /* writes that a rule or a script has sent to this cluster alone */
	uint64_t inflight[REQUEST_TYPES];      /* gauge */
	uint64_t placed[CLUSTER_COUNT][PLACEMENT_COUNT];
	uint64_t prepared_misses; /* EXECUTE or BATCH answered with an UNPREPARED of ours */
	uint64_t prepared_repaired
		[CLUSTER_COUNT];     /* statements we prepared on nodes that had lost them or were never asked */
	uint64_t memory_refused;     /* large requests answered OVERLOADED because of memory_limit */
	uint64_t bind_mismatches;    /* statements whose bind types differ between the clusters */
	uint64_t functions_replaced; /* calls of now() and the like that got a value of ours */
	uint64_t functions_kept[FUNCTIONS_KEPT];    /* statements whose calls were left as they are */
	uint64_t timeouts[CLUSTER_COUNT];           /* requests that this cluster had not answered in time */
	uint64_t server_connections[CLUSTER_COUNT]; /* gauge */
	uint64_t failovers[CLUSTER_COUNT];          /* legs that went to another node when their connection was lost */
	uint64_t mirror_dropped[MIRROR_DROP_COUNT]; /* copies of reads */
	uint64_t logins_asked[CLUSTER_COUNT];       /* credentials of pooled clients that the cluster was asked about */
	uint64_t logins_refused[CLUSTER_COUNT];     /* of these, those it has refused */
	uint64_t logins_remembered[CLUSTER_COUNT];  /* log-ins it was not asked about: accepted a moment before */
	struct histogram latency[REQUEST_TYPES];
};

static inline void metric_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline void metric_sub(uint64_t *gauge, uint64_t n)
{
	__atomic_store_n(gauge, *gauge - n, __ATOMIC_RELAXED);
}

/* From another thread. */
static inline uint64_t metric_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Bounds in nanoseconds, made once from the settings; the first bucket that fits counts. */
struct histogram_bounds {
	uint64_t ns[SETTINGS_MAX_BUCKETS];
	unsigned count;
};

static inline void histogram_bounds_from(struct histogram_bounds *b, const struct bucket_list *list)
{
	b->count = list->count;
	for (unsigned i = 0; i < list->count; i++)
		b->ns[i] = (uint64_t)(list->ms[i] * 1e6);
}

static inline void histogram_observe(struct histogram *h, const struct histogram_bounds *b, uint64_t ns)
{
	unsigned i = 0;

	while (i < b->count && ns > b->ns[i])
		i++;
	metric_add(&h->counts[i], 1);
	metric_add(&h->sum_ns, ns);
}

#endif
