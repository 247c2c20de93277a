/* plugin_route.h - the routes that plugins may choose in on_request: route_new() and route_set() of the host. */
#ifndef POLICY_PLUGIN_ROUTE_H
#define POLICY_PLUGIN_ROUTE_H

#include "policy/plugin.h"

/* Of one instance, without those that are always there. */
#define PLUGIN_ROUTES_MAX 1024

/* In open(): the number of such a route. 0 with an error in `plugin_call` when it makes no sense. */
uint32_t plugin_route_new(const struct cqlferry_host *host, const struct cqlferry_route *route);
/* In on_request: notes the number in `plugin_call`. */
void plugin_route_set(struct cqlferry_request *request, uint32_t number);
/*
 * The route by its number, when the hook has said DONE. NULL with an error in
 * `plugin_call` when there is none, or it is not for this request.
 */
const struct policy_route *plugin_route_get(const struct plugin_instance *p, uint32_t number,
					    const struct hooks_request *rq);
void plugin_routes_free(struct plugin_instance *p);

#endif
