/*
 * plugin_watch.h - the end of a process must not depend on plugins: a thread
 * that ends it when one of their functions does not come back, and says which.
 *
 * While the main thread waits for a plugin it does not see SIGTERM and SIGINT;
 * the thread does. Before the end the first of them is kept until the plugin is
 * back, for shutdown_timeout at most; at the end, and a second one, end the
 * process at once.
 */
#ifndef POLICY_PLUGIN_WATCH_H
#define POLICY_PLUGIN_WATCH_H

#include "policy/plugin.h"

struct plugin_watch;

/* `timeout_ms` is shutdown_timeout, for `workers` workers, each of which calls plugin_watch_worker() in its thread. */
struct plugin_watch *plugin_watch_new(unsigned workers, uint32_t timeout_ms);
/* NULL is harmless. Its thread ends with it. */
void plugin_watch_free(struct plugin_watch *w);

/* With another shutdown_timeout. On the main thread, while it calls no plugin. */
void plugin_watch_set_timeout(struct plugin_watch *w, uint32_t timeout_ms);

/* In the worker's thread, before it calls a hook. */
void plugin_watch_worker(struct plugin_watch *w, const struct worker *worker);

/* On the main thread: the process ends, from now on there are `timeout_ms`. Once. */
void plugin_watch_start(struct plugin_watch *w);
/* On the main thread, with all signals blocked: it is about to call this function of the instance; it is back. */
void plugin_watch_call(struct plugin_watch *w, const struct plugin_instance *p, const char *function);
void plugin_watch_back(struct plugin_watch *w);

#endif
