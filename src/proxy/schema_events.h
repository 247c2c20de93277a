/*
 * schema_events.h - which schema changes drivers are told of, and when. On the
 * main thread; fed by the two control connections.
 *
 * Both clusters report a change that went through the proxy, and a driver reads
 * the schema as soon as it hears of it. So it hears of it once, when both have
 * reported it, or 2 s after the first report:
 *
 *   origin  CREATED ks.t  ........................  both: told now
 *   target  ............  CREATED ks.t
 *
 *   origin  CREATED ks.u  ........ 2 s ...........  told alone
 *
 * Changes in one keyspace are told in the order in which they were first
 * reported, so one that waits holds up those behind it. What a cluster reports
 * twice is told once. A report that comes after the 2 s is told once more when
 * it comes from the cluster that drivers read the schema from: what they read
 * before was old.
 */
#ifndef PROXY_SCHEMA_EVENTS_H
#define PROXY_SCHEMA_EVENTS_H

#include "base/loop.h"
#include "proxy/cluster.h"
#include "proxy/notice.h"

struct schema_events_options {
	struct loop *loop;
	uint32_t wait_ms;          /* for the second report */
	enum cluster_id read_from; /* where drivers read the schema: the cluster of system queries */
	/* Drivers are to be told; the reference is the callee's. */
	void (*deliver)(struct notice *notice, void *arg);
	void *arg;
};

#define SCHEMA_EVENTS_WAIT_MS 2000
/* Reports that are remembered. When there are more, what was told is forgotten, else the oldest are told at once. */
#define SCHEMA_EVENTS_MAX 256

struct schema_events;

struct schema_events *schema_events_new(const struct schema_events_options *options);
void schema_events_free(struct schema_events *se);

/* Another cluster answers system queries from now on. */
void schema_events_read_from(struct schema_events *se, enum cluster_id cluster);

/* A control connection got a SCHEMA_CHANGE: the body of the event from its kind on, in the connection's version. */
void schema_events_report(struct schema_events *se, enum cluster_id cluster, uint8_t version, const uint8_t *body,
			  uint32_t len);

/* A cluster's new snapshot. */
void schema_events_snapshot(struct schema_events *se, enum cluster_id cluster, struct topology *t);
/*
 * Its control connection is up again, and the snapshot that it brought has been
 * given to schema_events_snapshot(). When its schema version is not the one
 * before, changes were missed: UPDATED for each keyspace of the users, DROPPED
 * for those that are gone.
 */
void schema_events_on_connected(struct schema_events *se, enum cluster_id cluster);

#endif
