/* plugin_timer.h - timers of plugins (struct cqlferry_host, timer_new), in main or a worker. */
#ifndef POLICY_PLUGIN_TIMER_H
#define POLICY_PLUGIN_TIMER_H

#include "policy/plugin.h"

/* For struct cqlferry_host. */
struct cqlferry_timer *plugin_timer_new(const struct cqlferry_host *host, uint32_t interval_ms, void (*fn)(void *arg),
					void *arg);
void plugin_timer_free(const struct cqlferry_host *host, struct cqlferry_timer *timer);

/* All that are left: of one worker when worker_close() was called, of main after close(). On the main thread. */
void plugin_timer_free_worker(struct plugin_instance *p, unsigned worker);
void plugin_timer_free_main(struct plugin_instance *p);

#endif
