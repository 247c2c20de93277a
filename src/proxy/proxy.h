/*
 * proxy.h - what the whole process shares. Made by main before the workers
 * start and outliving them; the workers only read it, except what is atomic or
 * has a lock of its own.
 *
 * The main thread puts other settings in place with proxy_set_settings(). Old
 * ones stay valid until every worker has been told (worker_change_post) and has
 * said so, so what was read through `settings`, here and in struct cluster, is
 * good until the turn of the loop ends. Workers use their own pointer.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include "proxy/cluster.h"
#include "proxy/divergence.h"
#include "proxy/flight.h"
#include "proxy/gate.h"
#include "proxy/node_stats.h"
#include "proxy/prepared.h"
#include "proxy/request_id.h"
#include "proxy/schema_state.h"
#include "proxy/timestamps.h"
#include "proxy/traces.h"

struct counters;
struct hooks;
struct plugin_set;
struct policy_engine;
struct worker;

struct proxy {
	/* Read on the way of requests; written before the workers start, and by reloads. */
	const struct settings *_Atomic settings;
	struct worker *workers; /* for messages to all */
	unsigned worker_count;
	struct counters *counters;
	struct plugin_set *plugins; /* what hooks_new makes them of */
	struct histogram_bounds bounds[REQUEST_TYPES];
	/* Makes an engine of scripts for one worker; *out is NULL where the settings name none. False with the reason in
	 * `error`. On the main thread; NULL: there are no engines. */
	bool (*engine_new)(struct proxy *proxy, const struct settings *settings, unsigned worker,
			   struct policy_engine **out, char *error, size_t error_size);
	/* Makes the plugins' part of one worker, see hooks.h; *out is NULL without plugins. False with the reason in `error`.
	 * On the main thread, before the worker starts; NULL: there are none. */
	bool (*hooks_new)(struct proxy *proxy, struct worker *worker, struct hooks **out, char *error,
			  size_t error_size);
	/* Each line of the metrics page, for plugins; on the main thread. NULL: there is no page. */
	void (*visit_metrics)(void (*visit)(void *arg, const char *family, const char *type, const char *help,
					    const char *suffix, const char *labels, double value),
			      void *arg);
	/* Written by any thread, when clients come and go, statements are prepared, nodes change. */
	OWN_LINE _Atomic uint32_t client_count; /* accepted and not yet closed, without those that are being refused */
	_Atomic uint64_t next_client;           /* numbers for log lines */
	struct limits limits;
	struct gate gate;
	struct cluster clusters[CLUSTER_COUNT];
	struct flights repairs;        /* PREPAREs under way for statements that a node has lost */
	struct flights mirror_repairs; /* the same on mirrors: apart, since a client's repair must not wait for those */
	struct divergences divergences;
	struct schema_state schema;
	struct traces traces;
	OWN_LINE struct node_table nodes;
	OWN_LINE struct prepared_table prepared;
	/* With tracing_enabled, and with timestamps = add, all workers write here with every request, and nowhere else. */
	OWN_LINE struct request_ids request_ids;
	OWN_LINE struct timestamps timestamps;
};

_Static_assert(offsetof(struct prepared_table, sequence) / CACHE_LINE !=
		       offsetof(struct prepared_table, lock) / CACHE_LINE,
	       "every EXECUTE reads the first, and only who prepares, or misses in its cache, takes the second");

void proxy_init(struct proxy *proxy, const struct settings *settings);
/* Reads the files that the settings name for the clusters. False with the reason in `error`. Before the workers start. */
MUSTCHECK bool proxy_load(struct proxy *proxy, char *error, size_t error_size);
void proxy_fini(struct proxy *proxy);
/* What is read from here on; on the main thread. */
void proxy_set_settings(struct proxy *proxy, const struct settings *settings);

#endif
