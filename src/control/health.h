/*
 * health.h - the body and status of /health/readiness, as ZDM Proxy's pollers
 * expect them: a report per cluster, members in this order, no line break.
 *
 *   not started    503  {"OriginStatus":null,"TargetStatus":null,"Status":"STARTUP"}
 *   ready          200  {"OriginStatus":{"Addr":"10.0.0.1:9042","CurrentFailureCount":0,
 *                        "FailureCountThreshold":1,"Status":"UP"},"TargetStatus":{...},"Status":"UP"}
 *   a cluster down 503  the same with "Status":"DOWN" there and at the end
 *   draining       503  the same with "Status":"DOWN" at the end only
 *
 * Once started, the native profile has behind the last member the cluster that reads go to,
 * and how many times that was switched, counted from 1 (reload.h):
 *
 *                        ,"Primary":"ORIGIN","PrimaryEpoch":1}
 *
 * A cluster is down when its control connection failed
 * heartbeat_failure_threshold times in a row or more often, and before it was
 * up for the first time. The whole is when one is, or with ready_when = primary
 * when that one is. While draining the
 * clusters' own states stay true, so that one can see why the whole is down.
 */
#ifndef CONTROL_HEALTH_H
#define CONTROL_HEALTH_H

#include "proxy/control.h"

struct evbuffer;

struct health {
	bool is_started;
	bool is_draining;
	bool needs_primary_only; /* ready_when = primary */
	uint32_t failure_threshold;
	uint64_t epoch;          /* of the primary; 0: is not shown, as in ZDM Proxy */
	enum cluster_id primary; /* of the requests that arrive now */
	struct control_status cluster[CLUSTER_COUNT];
};

#define HEALTH_NOT_CONNECTED "NOT_CONNECTED"

/* Adds the body to `out` and returns the HTTP status. */
int health_write_readiness(const struct health *health, struct evbuffer *out);

/* For other pages about the same (health_status.h). */
bool health_cluster_is_down(const struct health *health, enum cluster_id id);
bool health_is_down(const struct health *health);
/* A JSON string. Addresses and names come from the configuration, so anything may stand in them. */
void health_add_string(struct evbuffer *out, const char *text);

#endif
