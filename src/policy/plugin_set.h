/* plugin_set.h - all instances of plugins of the process, in the order in which they are asked. See plugin.h. */
#ifndef POLICY_PLUGIN_SET_H
#define POLICY_PLUGIN_SET_H

#include "policy/plugin.h"

struct plugin_set {
	struct proxy *proxy; /* NULL while a configuration is only checked */
	struct plugin_instance *items[PLUGINS_MAX];
	unsigned count;
};

#endif
