/* merge.c - see merge.h */
#include "proxy/merge.h"

#include "cql/tables.h"

/* Errors that say "not here, not now": drivers send the request to the next host, some of them even for writes. */
static bool invites_retry(uint32_t code)
{
	return code == CQL_ERR_OVERLOADED || code == CQL_ERR_IS_BOOTSTRAPPING || code == CQL_ERR_UNAVAILABLE ||
	       code == CQL_ERR_SERVER_ERROR;
}

enum merge_choice merge_choose(const struct verdict *verdict, bool is_prepare, bool zdm_profile,
			       const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT])
{
	const bool origin_ok = outcome[CLUSTER_ORIGIN] == OUTCOME_OK;
	const bool target_ok = outcome[CLUSTER_TARGET] == OUTCOME_OK;
	enum cluster_id failed;

	Assert(outcome[CLUSTER_ORIGIN] >= OUTCOME_OK && outcome[CLUSTER_TARGET] >= OUTCOME_OK);
	if (origin_ok && target_ok)
		return is_prepare ? MERGE_ORIGIN : (enum merge_choice)verdict->answer_from;
	if (!origin_ok && !target_ok)
		return (enum merge_choice)verdict->answer_from;
	failed = origin_ok ? CLUSTER_TARGET : CLUSTER_ORIGIN;
	/* A driver would prepare and send it again, to both: the cluster that has applied it would do so twice. */
	if (verdict->class == CLASS_WRITE && code[failed] == CQL_ERR_UNPREPARED)
		return MERGE_WRITE_TIMEOUT;
	if (!zdm_profile && verdict->class == CLASS_WRITE && invites_retry(code[failed]))
		return MERGE_WRITE_TIMEOUT;
	return (enum merge_choice)failed;
}
