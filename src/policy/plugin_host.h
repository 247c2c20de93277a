/*
 * plugin_host.h - what plugins may call: fills in struct cqlferry_host of an
 * instance. What the functions do is said in include/cqlferry/plugin.h; which
 * instance calls, and on which thread, in `plugin_call`.
 */
#ifndef POLICY_PLUGIN_HOST_H
#define POLICY_PLUGIN_HOST_H

#include "policy/plugin.h"

/*
 * Fills in p->host. On the main thread, before open(); name, set and proxy are
 * there. While a configuration is only checked (no proxy) what plugins make
 * (counters, timers) is taken and forgotten.
 */
void plugin_host_init(struct plugin_instance *p);

#endif
