/* plugin_route.c - see plugin_route.h */
#include "policy/plugin_route.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "cql/tables.h"
#include "proxy/client.h"
#include "proxy/counters.h"

/* As those of scripts. */
#define TAG_MAX 64
#define TIMEOUT_MS_MAX (24u * 3600 * 1000)
/* A request that keeps its own level: nobody asks for ANY in another one's name. */
#define LEVEL_STAYS CL_ANY

static void PRINTF_LIKE(1, 2) fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(plugin_call.error, sizeof(plugin_call.error), fmt, args);
	va_end(args);
}

/* ---- making one ---- */

static bool is_level(uint32_t level)
{
	static const bool levels[] = {
#define X(name, value) [value] = true,
		CQL_CONSISTENCIES(X)
#undef X
	};

	return level < ARRAY_LEN(levels) && levels[level];
}

static bool check_clusters(const struct cqlferry_route *r)
{
	if (r->to != CQLFERRY_TO_ORIGIN && r->to != CQLFERRY_TO_TARGET && r->to != CQLFERRY_TO_BOTH) {
		fail("a route to %u: there is CQLFERRY_TO_ORIGIN, _TARGET and _BOTH", r->to);
		return false;
	}
	if (r->to == CQLFERRY_TO_BOTH && r->answer_from >= CQLFERRY_CLUSTERS) {
		fail("a route's answer_from %u: there is CQLFERRY_ORIGIN and CQLFERRY_TARGET", r->answer_from);
		return false;
	}
	if (r->to == CQLFERRY_TO_BOTH && r->mirror) {
		fail("a route with a mirror to both clusters: none is left for a copy");
		return false;
	}
	return true;
}

static bool check_extras(const struct cqlferry_route *r)
{
	if (r->timeout_ms > TIMEOUT_MS_MAX) {
		fail("a route's timeout_ms %u: at most a day, %u", r->timeout_ms, TIMEOUT_MS_MAX);
		return false;
	}
	if (!is_level(r->consistency) || r->consistency == CL_SERIAL || r->consistency == CL_LOCAL_SERIAL) {
		fail("a route's consistency 0x%04x: one of the protocol's that is not serial, or 0: it stays",
		     r->consistency);
		return false;
	}
	if (r->tag && (!*r->tag || strlen(r->tag) > TAG_MAX ||
		       r->tag[strspn(r->tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/")])) {
		fail("a route's tag '%s': 1 to %d letters, digits and _-.:/", r->tag, TAG_MAX);
		return false;
	}
	return true;
}

/* The number of the counter. */
static uint16_t tag_number(const struct plugin_instance *p, const char *tag)
{
	char labels[2 * TAG_MAX + 128] = "";

	if (!p->proxy)
		return 0;
	counters_label(labels, sizeof(labels), "plugin", p->name);
	counters_label(labels, sizeof(labels), "tag", tag);
	return (uint16_t)counters_register(p->proxy->counters, "plugin_tagged_requests_total",
					   "Requests that a route of a plugin has given this tag", labels, false);
}

static uint32_t add(struct plugin_instance *p, const struct policy_route *route)
{
	if (p->route_count == PLUGIN_ROUTES_MAX) {
		fail("there are %d routes already, and there cannot be more", PLUGIN_ROUTES_MAX);
		return 0;
	}
	p->routes = xrealloc(p->routes, (p->route_count + 1) * sizeof(*p->routes));
	p->routes[p->route_count++] = *route;
	return CQLFERRY_ROUTE_MIRROR + p->route_count;
}

uint32_t plugin_route_new(const struct cqlferry_host *host, const struct cqlferry_route *route)
{
	struct plugin_instance *p = plugin_of(host);
	struct policy_route r = { .consistency = POLICY_KEEP_LEVEL, .name = "a plugin's" };
	struct cqlferry_route known = { 0 };

	if (plugin_call.instance != p || plugin_call.worker || p->is_open)
		return 0;
	memcpy(&known, route, MIN(route->size, sizeof(known)));
	if (!check_clusters(&known) || !check_extras(&known))
		return 0;
	r.to = (uint8_t)known.to;
	r.answer_from = (uint8_t)known.answer_from;
	if (known.to != CQLFERRY_TO_BOTH)
		r.answer_from = known.to == CQLFERRY_TO_ORIGIN ? CLUSTER_ORIGIN : CLUSTER_TARGET;
	r.mirror = known.mirror != 0;
	r.timeout_ms = known.timeout_ms;
	if (known.consistency != LEVEL_STAYS)
		r.consistency = (uint16_t)known.consistency;
	if (known.tag) {
		r.tag_name = names_keep(known.tag);
		r.tag = tag_number(p, known.tag);
	}
	return add(p, &r);
}

void plugin_routes_free(struct plugin_instance *p)
{
	free(p->routes);
	p->routes = NULL;
	p->route_count = 0;
}

/* ---- choosing one ---- */

void plugin_route_set(struct cqlferry_request *request, uint32_t number)
{
	(void)request;
	plugin_call.route = number;
	plugin_call.has_route = true;
}

/* Those that are always there; the primary answers, as of scripts' words. */
static const struct policy_route *always_there(uint32_t number, enum cluster_id primary)
{
#define ROUTE(clusters, answers, mirrors)                                                                              \
	{                                                                                                              \
		.to = (clusters), .answer_from = (answers), .mirror = (mirrors), .consistency = POLICY_KEEP_LEVEL      \
	}
	static const struct policy_route routes[CLUSTER_COUNT][CQLFERRY_ROUTE_MIRROR] = {
		[CLUSTER_ORIGIN] = {
			ROUTE(TO_ORIGIN, CLUSTER_ORIGIN, false),
			ROUTE(TO_TARGET, CLUSTER_TARGET, false),
			ROUTE(TO_BOTH, CLUSTER_ORIGIN, false),
			ROUTE(TO_ORIGIN, CLUSTER_ORIGIN, true),
		},
		[CLUSTER_TARGET] = {
			ROUTE(TO_ORIGIN, CLUSTER_ORIGIN, false),
			ROUTE(TO_TARGET, CLUSTER_TARGET, false),
			ROUTE(TO_BOTH, CLUSTER_TARGET, false),
			ROUTE(TO_TARGET, CLUSTER_TARGET, true),
		},
	};
#undef ROUTE

	return &routes[primary][number - 1];
}

const struct policy_route *plugin_route_get(const struct plugin_instance *p, uint32_t number,
					    const struct hooks_request *rq)
{
	const struct policy_route *route;

	if (number == 0 || number > CQLFERRY_ROUTE_MIRROR + p->route_count) {
		fail("route_set() with %u, a number that no route has", number);
		return NULL;
	}
	route = number <= CQLFERRY_ROUTE_MIRROR ? always_there(number, rq->client->worker->settings->primary)
						: &p->routes[number - CQLFERRY_ROUTE_MIRROR - 1];
	if (route->mirror && rq->kind != POLICY_READ) {
		fail("route_set() with a mirror for what is no read");
		return NULL;
	}
	return route;
}
