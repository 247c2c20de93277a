/*
 * backend.h - the nodes of a cluster as one worker sees them, for pooled
 * connections: which there are, which are up, how loaded they are.
 *
 *   UP --connection refused, mute, or DOWN says the cluster--> DOWN
 *    ^                                                          | after a pause, which grows with each failure,
 *    '------------ a connection is ready, or UP says it --------'  a connection is tried again
 *
 *   GONE: it has left the topology; freed with its last connection
 *
 * A node that loses a connection stays UP until opening another one fails, so
 * that one reset does not drive its requests away.
 *
 * Belongs to its worker's thread.
 */
#ifndef PROXY_BACKEND_H
#define PROXY_BACKEND_H

#include "base/loop.h"
#include "proxy/cluster.h"
#include "proxy/node_stats.h"

struct worker;

enum backend_state {
	BACKEND_UP,
	BACKEND_DOWN,
	BACKEND_GONE,
};

struct backend {
	struct net_address address;
	struct node_stats *stats; /* its `used_stream_ids` is the load */
	unsigned slot;            /* among backends->slots and in every pool's members; stays as long as the backend */
	unsigned lanes;           /* connections of this worker's pools to it, those being opened included */
	uint8_t state;            /* enum backend_state, set by functions of backend.c only */
	uint8_t tier;             /* 0: of the local datacenter; higher: the order of fallback datacenters */
	bool is_trying;           /* DOWN: a connection is being opened to find out */
	bool is_present;          /* within backends_update(): the new snapshot has it */
	uint32_t failures;        /* in a row */
	uint32_t short_lives;     /* connections in a row that ended right after they were ready */
	uint64_t ended_ns;        /* when the last one of these ended */
	uint64_t answered_ns;     /* the sum of the answers' latencies then */
	uint64_t retry_ns;        /* DOWN: not before */
	char name[NET_TEXT_MAX];
};

struct backends {
	struct worker *worker;
	enum cluster_id cluster;
	struct topology *topology; /* a reference; NULL before the first */
	struct backend **hosts;    /* as topology->hosts */
	unsigned host_count;
	struct backend **slots; /* NULL where free */
	unsigned slot_count;
	/* Those that requests go to: the ones that are up in the lowest tier that has any. */
	struct backend **candidates;
	unsigned candidate_count;
	uint32_t turn;   /* round robin */
	uint64_t random; /* state of a small generator */
	struct loop_poll retry;
};

void backends_init(struct backends *b, struct worker *worker, enum cluster_id cluster);
/* After the worker's pools were closed. */
void backends_fini(struct backends *b);

/*
 * Takes over the current snapshot, if it is another one: nodes that are new are
 * UP, those that are not in it any more are GONE and their connections retire.
 */
void backends_update(struct backends *b);

/* Other settings: which nodes get requests may differ, and those that are down are tried at once. */
void backends_settings_changed(struct backends *b);

/* A connection could not be opened, or was mute. Of several of a node that is down already only the one that tries it counts. */
void backend_failed(struct backends *b, struct backend *backend);
/* A connection is ready. */
void backend_succeeded(struct backends *b, struct backend *backend);
/* What the cluster says about a node by STATUS_CHANGE; unknown nodes are ignored. */
void backends_note_status(struct backends *b, const struct net_address *address, bool is_up);

/* NULL for a node that is not in the snapshot. */
struct backend *backends_find(const struct backends *b, const struct net_address *address);

/*
 * The node for a request that may go to any, by `load_balancing`; NULL when
 * none is up. `not_at`, when not NULL, is taken only when there is no other one.
 */
struct backend *backends_choose(struct backends *b, const struct net_address *not_at);
/* The index of the less loaded of two that are chosen at random; n > 1. */
unsigned backends_less_loaded(struct backends *b, struct backend *const *nodes, unsigned n);

/* A connection to it has gone: frees a GONE one with the last of them. */
void backend_lane_gone(struct backends *b, struct backend *backend);

/* Uniform below n; not for secrets. */
static inline uint32_t backends_random(struct backends *b, uint32_t n)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return (uint32_t)((b->random >> 32) * n >> 32);
}

/* True when no node can be asked now: requests that need the cluster are answered at once. */
static inline bool backends_are_down(const struct backends *b)
{
	return b->candidate_count == 0;
}

#endif
