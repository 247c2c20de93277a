/* plugin_chain.h - goes through the plugins of one worker in order, for proxy/hooks.h. */
#ifndef POLICY_PLUGIN_CHAIN_H
#define POLICY_PLUGIN_CHAIN_H

#include "policy/plugin_set.h"

/* The hooks of a worker whose instances are all open (struct plugin_worker). On the main thread; freed by ops->free. */
struct hooks *plugin_chain_new(struct plugin_set *set, struct worker *worker);
/* Where what plugins ask about a request is put (plugin_request.h). */
struct plugin_scratch *plugin_chain_scratch(struct hooks *h);

/* What the hooks of this worker have cost, by plugin and hook. From any thread. */
void plugin_chain_tallies(struct hooks *h,
			  void (*each)(void *arg, struct plugin_instance *p, enum plugin_hook hook,
				       const struct plugin_tally *tally),
			  void *arg);

#endif
