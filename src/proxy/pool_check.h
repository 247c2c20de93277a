/*
 * pool_check.h - what becomes of lanes that are opened: log-ins that clients
 * wait for, and what a failure means for the node, for those who wait, and for
 * the clients of the pool.
 */
#ifndef PROXY_POOL_CHECK_H
#define PROXY_POOL_CHECK_H

#include "proxy/pool.h"

enum pool_outcome {
	POOL_READY,       /* a connection is ready, its log-in was accepted */
	POOL_REFUSED,     /* the cluster has refused the log-in (or STARTUP) by an ERROR */
	POOL_UNREACHABLE, /* no node took a connection */
};

/* A client that wants to know, before it is READY, whether the cluster can be had with these credentials. */
struct pool_check {
	struct list node;
	struct lane *lane; /* anew: the one being opened for it */
	struct pool *pool;
	bool is_anew;
	unsigned attempts;
	/* Called once, never from within pool_check_start(). `text` is for people; it names the node where there is one. */
	void (*on_done)(struct pool_check *check, enum pool_outcome outcome, uint32_t error_code, const char *text);
};

/*
 * Ends by one call of check->on_done, at the latest when connection_timeout and
 * request_timeout have passed. With `anew` a new connection is opened in any
 * case and its log-in decides; else one that is ready will do.
 */
void pool_check_start(struct pool *pool, struct pool_check *check, bool anew);
/* Nobody waits any more; harmless for one that is over or was never started (zeroed). */
void pool_check_stop(struct pool_check *check);

/* ---- for pool.c and lane.c ---- */

/* Begins what the checks of the pool need next, or ends them. */
void pool_check_all(struct pool *pool);
void pool_lane_ready(struct pool *pool, struct lane *lane);
/* It could not be opened, and ends when this returns. */
void pool_lane_failed(struct pool *pool, struct lane *lane, const char *why, const struct extra_failure *failure);
/* It is closed before it was ready: a check that has opened it goes on with another one. */
void pool_lane_dropped(struct pool *pool, const struct lane *lane);

#endif
