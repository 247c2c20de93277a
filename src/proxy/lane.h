/*
 * lane.h - one connection of a pool: opened with our own STARTUP and the
 * pool's credentials, put into a keyspace when it is for one, watched by
 * heartbeats, replaced when too many of its answers came too late.
 *
 *   OPENING -> READY -> RETIRING -> freed
 *       \---------\--------------/
 *
 * Belongs to its worker's thread.
 */
#ifndef PROXY_LANE_H
#define PROXY_LANE_H

#include "proxy/extra.h"

struct backend;
struct pool;

enum lane_state {
	LANE_OPENING,
	LANE_READY,
	LANE_RETIRING, /* takes no new requests; closed when the last one has ended */
};

struct lane {
	struct list node; /* on its pool member */
	struct pool *pool;
	struct backend *backend;
	struct extra opening;
	struct server *server; /* READY, RETIRING */
	char *keyspace;        /* NULL: none */
	uint8_t state;         /* enum lane_state */
	bool is_large;         /* for requests with large bodies */
	bool was_asked;        /* its node has demanded a log-in */
	bool is_check;         /* opened to check a log-in, whatever lanes there are */
	uint64_t ready_ns;     /* since when it is READY */
	uint64_t retired_ns;   /* RETIRING: since when */
	uint64_t watched_ns;   /* the last look at whether it is mute, and the socket's counters then: */
	uint32_t writes;
	uint16_t reads;
	struct timeout_item watch;
};

/* What it is opened for. */
struct lane_need {
	const char *keyspace; /* NULL: none */
	bool is_large;
	bool is_check;
};

/*
 * Begins to open one and puts it on the pool's member for this node; it ends by
 * pool_lane_ready() or pool_lane_failed(), never within this call. NULL when no
 * connection can be begun: *why says the reason.
 */
struct lane *lane_open(struct pool *pool, struct backend *backend, const struct lane_need *need, const char **why);
/* No new requests; at its end when none is left. */
void lane_retire(struct lane *lane);
/* At once. What is in flight on it is told `why`. */
void lane_close(struct lane *lane, const char *why);

/* The lane of a pooled connection. */
static inline struct lane *lane_of(const struct server *server)
{
	return server->owner;
}

/* How often a lane is looked at: often enough for all its time limits. */
uint32_t lane_watch_ms(const struct settings *settings);
/* For worker->lane_watches: heartbeats, silence, idleness. */
void lane_on_watch(struct timeout_item *item);

#endif
