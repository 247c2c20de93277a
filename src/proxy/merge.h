/*
 * merge.h - which of two answers the client gets. Looks at results only; the
 * whole decision is one table.
 *
 *   origin   target    the client gets
 *   ok       ok        the answer of the cluster the verdict names; PREPARE: origin's
 *   error    error     the error of the cluster the verdict names
 *   error    ok        origin's error
 *   ok       error     target's error
 *
 * When a write may have been applied on one cluster and the other one's error
 * is one that drivers take as leave to send the request again (OVERLOADED,
 * IS_BOOTSTRAPPING, UNAVAILABLE, SERVER_ERROR), the native profile answers
 * WRITE_TIMEOUT instead, whose text quotes that error: a driver repeats it only
 * when the application has called the statement idempotent.
 * UNPREPARED is such an error in both profiles.
 */
#ifndef PROXY_MERGE_H
#define PROXY_MERGE_H

#include "proxy/route.h"

enum leg_outcome {
	OUTCOME_NONE, /* the cluster was not asked */
	OUTCOME_PENDING,
	OUTCOME_OK, /* any answer but ERROR */
	OUTCOME_ERROR,
};

enum merge_choice {
	MERGE_ORIGIN = CLUSTER_ORIGIN,
	MERGE_TARGET = CLUSTER_TARGET,
	MERGE_WRITE_TIMEOUT, /* an error of ours that quotes the failed cluster's */
};

/* `code` are the error codes of the legs with OUTCOME_ERROR. Both legs have an outcome. */
enum merge_choice merge_choose(const struct verdict *verdict, bool is_prepare, bool zdm_profile,
			       const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT]);

#endif
