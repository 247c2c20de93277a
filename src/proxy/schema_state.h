/*
 * schema_state.h - the schema_version that drivers see in system.local,
 * system.peers and system.peers_v2 (native profile).
 *
 * After a change of the schema a driver compares these versions until all are
 * equal, and then reads the schema, prepares statements and so on, which may
 * come to any node. So the rows say what is true of both clusters:
 *
 *   one value in all rows      both clusters agree in themselves, and have taken what was noticed
 *   another one in each row    they do not, yet: the driver asks again
 *
 * The value is a UUID made of both clusters' own versions. Where drivers see a
 * single row nothing can differ: a look at its schema_version then waits for a
 * while (local_wait.h).
 *
 * Noticed is a change when a request was answered by it, or a control
 * connection reports it. What the snapshots show may be older, so a cluster
 * counts as having taken it when a snapshot asked for afterwards has a version
 * that is new since the change began. Some changes give no new version: after
 * SCHEMA_STATE_PATIENCE_MS the versions are believed as they are.
 */
#ifndef PROXY_SCHEMA_STATE_H
#define PROXY_SCHEMA_STATE_H

#include <stdatomic.h>

#include "proxy/cluster.h"

#define SCHEMA_STATE_PATIENCE_MS 3000
/* A version that only one cluster has changed is shown after so long, as its event is told (schema_events.h). */
#define SCHEMA_STATE_ALONE_MS 2000

/* Written by workers and the main thread, read by workers. All times are loop_clock_ns(). */
struct schema_state {
	struct {
		_Atomic uint64_t noticed_ns; /* the last change, 0: none */
		_Atomic uint64_t began_ns;   /* when that was asked for: its version is newer */
	} cluster[CLUSTER_COUNT];
	/* On the noticing thread: the snapshots are out of date. */
	void (*on_noticed)(void *arg);
	void *arg;
};

/* A change that `clusters` (bits) took or will take; `began_ns`: its effects cannot be older. Any thread. */
void schema_state_note(struct schema_state *s, unsigned clusters, uint64_t began_ns, uint64_t now_ns);

/* False while a noticed change is not to be seen in the snapshot `t` (NULL: true) by all nodes of the cluster. */
bool schema_state_is_settled(struct schema_state *s, enum cluster_id cluster, const struct topology *t,
			     uint64_t now_ns);

/*
 * The version in the row of instance `index`. `t` by enum cluster_id, NULL for a
 * cluster that is not known. False when no cluster has one: null.
 */
MUSTCHECK bool schema_state_version(struct schema_state *s, const struct topology *const t[CLUSTER_COUNT],
				    unsigned index, uint64_t now_ns, uint8_t out[16]);

/* For cluster_publish(): fills in the schema_ members of `t` but schema_agrees; `old` is the snapshot before, or NULL. */
void schema_state_follow(struct topology *t, const struct topology *old, uint64_t now_ns);

#endif
