/* plugin_request.h - what plugins are told about a request, and what they may set (struct hooks_request). */
#ifndef POLICY_PLUGIN_REQUEST_H
#define POLICY_PLUGIN_REQUEST_H

#include "policy/plugin.h"

/* For on_response: what became of it. Fills in all but the texts that it points to. */
void plugin_request_describe(const struct hooks_request *rq, struct cqlferry_response *out);

#endif
