/*
 * plugin_watch.h - the end of a process must not depend on plugins: a thread
 * that ends it when one of their functions does not come back, and says which.
 * SIGTERM and SIGINT, which the main thread does not see while it waits for a
 * plugin, end the process at once.
 */
#ifndef POLICY_PLUGIN_WATCH_H
#define POLICY_PLUGIN_WATCH_H

#include "policy/plugin.h"

struct plugin_watch;

/* For `workers` workers, each of which calls plugin_watch_worker() in its thread. */
struct plugin_watch *plugin_watch_new(unsigned workers);
/* NULL is harmless. Its thread ends with it. */
void plugin_watch_free(struct plugin_watch *w);

/* In the worker's thread, before it calls a hook. */
void plugin_watch_worker(struct plugin_watch *w, const struct worker *worker);

/* On the main thread: from now on there are `timeout_ms`. Once. */
void plugin_watch_start(struct plugin_watch *w, uint32_t timeout_ms);
/* On the main thread: it is about to call this function of the instance; NULL: it is back. */
void plugin_watch_note(struct plugin_watch *w, const struct plugin_instance *p, const char *function);

#endif
