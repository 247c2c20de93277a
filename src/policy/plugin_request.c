/* plugin_request.c - see plugin_request.h */
#include "policy/plugin_request.h"

void plugin_request_describe(const struct hooks_request *rq, struct cqlferry_response *out)
{
	const struct hooks_answer *a = rq->answer;

	*out = (struct cqlferry_response){
		.size = sizeof(*out),
		.outcome = (uint8_t)a->outcome,
		.opcode = a->opcode,
		.answered_by = a->answered_by,
		.error_code = a->error_code,
		.decider = a->decider,
		.error = { a->error.p, a->error.len },
	};
}
