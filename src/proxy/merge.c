/* merge.c - see merge.h */
#include "proxy/merge.h"

#include "cql/tables.h"

/* Errors that say "not here, not now": drivers send the request to the next host, some of them even for writes. */
static bool invites_retry(uint32_t code)
{
	return code == CQL_ERR_OVERLOADED || code == CQL_ERR_IS_BOOTSTRAPPING || code == CQL_ERR_UNAVAILABLE ||
	       code == CQL_ERR_SERVER_ERROR;
}

/* The node had begun to write when it failed: the write may stand, or be finished later by a hint or a repair. */
static bool may_have_applied(enum leg_outcome outcome, uint32_t code)
{
	return outcome == OUTCOME_OK || code == CQL_ERR_WRITE_TIMEOUT || code == CQL_ERR_WRITE_FAILURE ||
	       code == CQL_ERR_CDC_WRITE_FAILURE || code == CQL_ERR_CAS_WRITE_UNKNOWN;
}

enum merge_choice merge_choose(const struct verdict *verdict, bool is_prepare, bool zdm_profile,
			       const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT])
{
	const bool origin_ok = outcome[CLUSTER_ORIGIN] == OUTCOME_OK;
	const bool target_ok = outcome[CLUSTER_TARGET] == OUTCOME_OK;
	enum cluster_id failed, other;

	Assert(outcome[CLUSTER_ORIGIN] >= OUTCOME_OK && outcome[CLUSTER_TARGET] >= OUTCOME_OK);
	if (origin_ok && target_ok)
		return is_prepare ? MERGE_ORIGIN : (enum merge_choice)verdict->answer_from;
	failed = !origin_ok && !target_ok ? (enum cluster_id)verdict->answer_from
		 : origin_ok              ? CLUSTER_TARGET
					  : CLUSTER_ORIGIN;
	other = cluster_id_other(failed);
	if (verdict->class != CLASS_WRITE || !may_have_applied(outcome[other], code[other]))
		return (enum merge_choice)failed;
	/* A driver would prepare and send it again, to both: the cluster that has applied it would do so twice. */
	if (code[failed] == CQL_ERR_UNPREPARED || (!zdm_profile && invites_retry(code[failed])))
		return MERGE_WRITE_TIMEOUT;
	return (enum merge_choice)failed;
}
