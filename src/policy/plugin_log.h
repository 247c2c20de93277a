/*
 * plugin_log.h - log lines of plugins. A line that comes again within a second
 * is counted instead: what requests make a plugin say must not fill a disk, nor
 * keep a worker with writing it.
 */
#ifndef POLICY_PLUGIN_LOG_H
#define POLICY_PLUGIN_LOG_H

#include "policy/plugin.h"

/* For struct cqlferry_host. Any thread. */
void plugin_log(const struct cqlferry_host *host, int32_t level, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* From now on, each second, what was counted is said; on the main thread, until plugin_log_stop(), which says the rest. */
void plugin_log_start(struct event_base *base);
void plugin_log_stop(void);

#endif
