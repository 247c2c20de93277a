/*
 * health_status.h - the body of /health/status, for people and dashboards: what
 * readiness says, and what it does not have room for. A page of the native
 * profile: ZDM Proxy has none like it.
 *
 *   {"status":"UP","started":true,"draining":false,
 *    "origin":{"address":"10.0.0.1:9042","failures":0,"threshold":1,"status":"UP"},"target":{...},
 *    "primary":"origin","primary_epoch":1,
 *    "reload":{"succeeded":0,"failed":0,"last_failed":false},
 *    "policy":{"rules":2,"scripts":["/etc/cqlferry/freeze.lua"],
 *              "hooks":[{"name":"freeze","place":"/etc/cqlferry/freeze.lua:3","calls":12,"errors":0,"denials":1,
 *                        "workers_off":0}]},
 *    "plugins":[{"name":"trail","plugin":"audit","version":"1.0","file":"/usr/lib/cqlferry/audit.so"}]}
 */
#ifndef CONTROL_HEALTH_STATUS_H
#define CONTROL_HEALTH_STATUS_H

#include "control/health.h"
#include "control/reload.h"
#include "proxy/policy.h"

struct health_policy {
	unsigned rules;
	const struct string_list *scripts;
	const struct policy_hook_status *hooks; /* in the order in which they are asked */
	unsigned hook_count;
};

struct health_plugin {
	const char *name; /* of its section */
	const char *plugin;
	const char *version;
	const char *file;
};

/* In the order in which they are asked. */
struct health_plugins {
	struct health_plugin items[SETTINGS_MAX_PLUGINS];
	unsigned count;
};

void health_write_status(const struct health *health, const struct reload_status *reload,
			 const struct health_policy *policy, const struct health_plugins *plugins,
			 struct evbuffer *out);

#endif
