/*
 * proxy.h - what the whole process shares. Made by main before the workers
 * start and outliving them; the workers only read it, except what is atomic or
 * has a lock of its own.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include "proxy/cluster.h"
#include "proxy/divergence.h"
#include "proxy/flight.h"
#include "proxy/node_stats.h"
#include "proxy/prepared.h"
#include "proxy/request_id.h"
#include "proxy/timestamps.h"
#include "proxy/traces.h"

struct proxy {
	const struct settings *settings;
	struct cluster clusters[CLUSTER_COUNT];
	struct prepared_table prepared;
	struct flights repairs;        /* PREPAREs under way for statements that a node has lost */
	struct flights mirror_repairs; /* the same on mirrors: apart, since a client's repair must not wait for those */
	struct histogram_bounds bounds[REQUEST_TYPES];
	struct node_table nodes;
	struct divergences divergences;
	uint8_t amends; /* AMEND_* bits: what the settings change in requests */
	struct request_ids request_ids;
	struct traces traces;          /* made by the cluster that system queries do not go to */
	_Atomic uint32_t client_count; /* accepted and not yet closed */
	_Atomic uint64_t next_client;  /* numbers for log lines */
	uint8_t apart[64];             /* written per request with timestamps = add: not in a line with the above */
	struct timestamps timestamps;
};

void proxy_init(struct proxy *proxy, const struct settings *settings);
void proxy_fini(struct proxy *proxy);

#endif
