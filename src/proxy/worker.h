/*
 * worker.h - one thread that serves clients: its loop, its clients and their
 * connections to the clusters, its counters. Workers share nothing on the way
 * of a request.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include "base/loop.h"
#include "base/tls.h"
#include "proxy/backend.h"
#include "proxy/driver.h"
#include "proxy/figures.h"
#include "proxy/functions.h"
#include "proxy/hold.h"
#include "proxy/proxy.h"
#include "proxy/route_extras.h"

/* What clients count for in worker->load. Drivers hold one connection for events, on which little else happens. */
#define WORKER_LOAD_CLIENT 64
#define WORKER_LOAD_LISTENER 1

/* Its thread alone writes it while it runs, except where something else is said; they are an array, each in lines of its own. */
struct worker {
	OWN_LINE struct loop loop;
	struct proxy *proxy;
	const struct settings *settings;
	uint8_t amends; /* AMEND_* bits: what these settings change in requests (amend.h) */
	unsigned index;
	pthread_t thread;
	bool is_running;
	bool is_draining;
	struct list clients;
	struct slab requests;
	struct slab mirrored; /* copies of reads, see mirror.h */
	struct timeout_queue request_timeouts;
	struct route_timeouts route_timeouts; /* of requests whose route says how long they may wait */
	struct timeout_queue repair_timeouts;
	struct timeout_queue extra_timeouts;
	struct timeout_queue bulk_idle_timeouts;
	struct timeout_queue handshake_timeouts;
	struct timeout_queue refusal_timeouts; /* see admission.h */
	struct timeout_queue mirror_timeouts;
	struct timeout_queue mirror_login_timeouts;
	struct timeout_queue upload_timeouts;
	struct list schema_waiters; /* struct request_leg, by `waiting`: see local_wait.h */
	struct loop_poll schema_poll;
	struct timeout_queue last_calls; /* clients that are drained and have nothing in flight */
	struct timeout_queue connect_timeouts[CLUSTER_COUNT];
	struct timeout_queue lane_watches;
	struct backends backends[CLUSTER_COUNT];
	struct list pools[CLUSTER_COUNT];
	struct list credentials;      /* of clients in pooled mode (credential.h) */
	struct string_list keyspaces; /* those that clients have changed to: worker_keyspace() */
	struct drivers drivers;       /* what its clients call themselves */
	struct prepared_front prepared;
	struct policy_cache *policy; /* what scripts say; NULL without them (policy.h) */
	bool policy_runs;            /* its engine was started, and not stopped */
	struct hooks *hooks;         /* the plugins; NULL without them (hooks.h) */
	struct hooked *hooked;       /* the frame that is being dispatched, while plugins are told of it (hooked.h) */
	struct holds holds;          /* what plugins hold (hold.h) */
	struct function_source functions;
	struct event idle_timer; /* idle.h */
	struct list repairs;     /* PREPAREs under way for statements that a node has lost */
	struct metrics metrics;
	struct figures figures;                                   /* for the metrics pages, see figures.h */
	struct tls_stats tls_stats[CLUSTER_COUNT + 1];            /* connections to clusters, and those of clients */
	struct tls_context *cluster_tls[CLUSTER_COUNT];           /* NULL: plain */
	struct tls_context *listener_tls[SETTINGS_MAX_LISTENERS]; /* NULL: plain */
	/* Called on the worker's thread once, when it drains and its last client has gone. */
	void (*on_drained)(struct worker *worker, void *arg);
	void *on_drained_arg;
	/* WORKER_LOAD_*, summed over its clients: written by those who accept as well, who look for the least loaded worker. */
	OWN_LINE _Atomic uint32_t load;
};

_Static_assert(sizeof(struct worker) % CACHE_LINE == 0, "no two workers share a line");

/*
 * Other settings on their way to a worker: made by the main thread with all
 * that can fail, put in place by the worker, which then lets go of the old ones.
 */
struct worker_change {
	struct loop_message message;
	struct worker *worker;
	const struct settings *settings;
	uint32_t generation;
	/* The worker's new contexts; once it has taken them, its old ones. */
	struct tls_context *cluster_tls[CLUSTER_COUNT];
	struct tls_context *listener_tls[SETTINGS_MAX_LISTENERS];
	struct policy_cache *policy; /* the same; NULL without scripts */
	/* On the worker's thread: it uses the new settings, and nothing of the old ones. */
	void (*on_done)(struct worker_change *change);
};

/* Makes contexts, queues and slabs. False with the reason in `error` (a certificate file that cannot be read ...). */
MUSTCHECK bool worker_init(struct worker *w, struct proxy *proxy, unsigned index, char *error, size_t error_size);
MUSTCHECK bool worker_start(struct worker *w);
/* Stops the thread at once, whatever its clients do, and waits for it. */
void worker_stop(struct worker *w);
/* Frees everything; after every worker was stopped, since they send messages to each other. */
void worker_free(struct worker *w);

/* The one with the fewest clients, of which those that wait for events hardly count. From any thread. */
struct worker *worker_least_loaded(struct worker *workers, unsigned count);
/* From any thread: takes over an accepted socket and its places. */
void worker_give_client(struct worker *w, const struct newcomer *newcomer);
/* From the main thread: drivers that registered for STATUS_CHANGE are told that this instance goes down. */
void worker_announce_end(struct worker *w);
/* From the main thread: the same, refuses new requests, closes idle clients, finishes what is in flight. */
void worker_drain(struct worker *w);

/*
 * Fills in a change, reading the files that the settings name; `generation` is
 * another number for each change, from 2. False with the reason in `error`.
 * Freed by worker_change_fini() in any case.
 */
MUSTCHECK bool worker_change_init(struct worker_change *change, struct worker *w, const struct settings *settings,
				  uint32_t generation, char *error, size_t error_size);
/* Not between worker_change_post() and on_done. */
void worker_change_fini(struct worker_change *change);
/* From the main thread: puts the change in place. The settings have the same listeners. */
void worker_change_post(struct worker_change *change);

/* From the main thread: a cluster's topology is a new one; clients on nodes that are gone are drained. */
void worker_topology_changed(struct worker *w, enum cluster_id cluster);

struct notice;
/* From the main thread: events for the clients that registered for them. Keeps its own reference. */
void worker_notify(struct worker *w, struct notice *notice);
/* From the main thread: what the cluster says about a node by STATUS_CHANGE. */
void worker_host_status(struct worker *w, enum cluster_id cluster, const struct net_address *address, bool is_up);
/*
 * Closes idle pooled connections to this node, of this worker and of the
 * others: max_connections_per_host is reached, and somebody waits.
 */
void worker_shed(struct worker *w, enum cluster_id cluster, const struct net_address *address);

/*
 * This keyspace's name as one object per worker, so that names can be held
 * without being copied and compared by their address. Only for keyspaces that
 * a cluster has accepted: the names stay as long as the worker.
 */
const char *worker_keyspace(struct worker *w, const char *name);

/* A client has registered for events: from now on it counts as one that does little else. */
void worker_client_listens(struct worker *w);
/* A client has gone: the drain may be over. `listens`: worker_client_listens() was called for it. */
void worker_client_gone(struct worker *w, bool listens);

#endif
