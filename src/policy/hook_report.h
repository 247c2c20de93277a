/*
 * hook_report.h - the hooks in force, for pages that the main thread makes:
 * engines belong to their workers, so what is said of them is taken down when
 * they are loaded, and their numbers come from proxy/counters.h. One for the
 * process; on the main thread only.
 */
#ifndef POLICY_HOOK_REPORT_H
#define POLICY_HOOK_REPORT_H

#include "proxy/policy.h"
#include "proxy/proxy.h"

/* For proxy->engine_new: lua_engine_new(), and the hooks of worker 0 are those to come. */
MUSTCHECK bool hook_report_engine_new(struct proxy *proxy, const struct settings *settings, unsigned worker,
				      struct policy_engine **out, char *error, size_t error_size);
/* Those to come are in force: the workers have started, or have been told to change. */
void hook_report_use(const struct settings *settings);
/* At most POLICY_HOOKS_MAX, in the order in which they are asked; the texts live until the next hook_report_use(). */
unsigned hook_report_read(struct policy_hook_status *out);
void hook_report_free(void);

#endif
