/*
 * plugin_request.h - what plugins are told about a request: the functions of
 * struct cqlferry_host that take one, and struct cqlferry_response. What has to
 * be looked for (texts, tables, values) is found when a plugin asks for it.
 *
 * A struct cqlferry_request is a struct hooks_request; what is found of it lies
 * in the worker's scratch until the next one comes, but for the statement of an
 * EXECUTE, which stays with it (struct prepared_ref).
 */
#ifndef POLICY_PLUGIN_REQUEST_H
#define POLICY_PLUGIN_REQUEST_H

#include "policy/plugin.h"

/* The texts of a batch's children are joined up to here; then the statement is incomplete. */
#define PLUGIN_BATCH_TEXT_MAX 65536

/* Of one worker, used in its hooks. */
struct plugin_scratch;

struct plugin_scratch *plugin_scratch_new(void);
void plugin_scratch_free(struct plugin_scratch *s);

/* For on_response: what became of it. Points into what `rq` points to. */
void plugin_request_describe(const struct hooks_request *rq, struct cqlferry_response *out);

struct cqlferry_client *plugin_request_client(const struct cqlferry_request *request);
const struct cqlferry_request_info *plugin_request_info(struct cqlferry_request *request);
const struct cqlferry_statement *plugin_request_statement(struct cqlferry_request *request);
uint64_t *plugin_request_slot(const struct cqlferry_host *host, struct cqlferry_request *request);
bool plugin_request_value(struct cqlferry_request *request, uint32_t index, struct cqlferry_text *value);
int64_t plugin_request_rows(struct cqlferry_request *request);

#endif
