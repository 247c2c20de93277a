/*
 * pool.c - see pool.h
 *
 * Two clients C and D of user u in worker w, three nodes of origin:
 *
 *   C.pool[origin], D.pool[origin] -> P (v4, lz4, u)
 *   P.members[0] -> lane 1 (READY)             node .1 is up
 *   P.members[1] -> lane 2 (OPENING)           node .2 is up: its first request went to .1 instead
 *   P.members[2] -> -                          node .3 is down: backends->retry opens lane 3 when its pause is over
 *
 * A text without a keyspace, of D after USE "ks":
 *
 *   P.members[0] -> lane 1, lane 4 (OPENING, keyspace ks)
 *   P.waiting    -> the request's leg; lane 4 READY -> pool_progress() -> request_continue()
 */
#include "proxy/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/pool_check.h"
#include "proxy/pool_pick.h"
#include "proxy/request.h"

static void run_progress(struct loop_task *task);
static bool poll_waiting(struct loop_poll *poll);

/* ---- life ---- */

static bool is_for(const struct pool *p, uint8_t version, enum cql_compression compression,
		   const struct credential *credential)
{
	return p->version == version && p->compression == compression && p->credential == credential;
}

struct pool *pool_join(struct worker *w, enum cluster_id cluster, uint8_t version, enum cql_compression compression,
		       struct credential *credential)
{
	struct pool *pool = NULL;

	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		struct pool *p = list_entry(node, struct pool, node);

		if (is_for(p, version, compression, credential))
			pool = p;
	}
	backends_update(&w->backends[cluster]); /* nobody needed it so far, or the news are on their way */
	if (!pool) {
		pool = xcalloc(1, sizeof(*pool));
		pool->worker = w;
		pool->cluster = cluster;
		pool->version = version;
		pool->compression = (uint8_t)compression;
		pool->credential = credential;
		if (credential)
			credential_ref(credential);
		list_init(&pool->waiting);
		list_init(&pool->checks);
		loop_task_init(&pool->progress, run_progress);
		loop_poll_init(&pool->poll, poll_waiting);
		list_init(&pool->node);
		list_append(&w->pools[cluster], &pool->node);
	}
	if (credential)
		credential_join(credential);
	pool->clients++;
	return pool;
}

void pool_leave(struct pool *pool)
{
	Assert(pool->clients > 0);
	if (pool->credential)
		credential_leave(pool->credential);
	if (--pool->clients == 0)
		pool_progress(pool);
}

static void pool_free(struct pool *pool)
{
	loop_task_stop(&pool->progress);
	loop_poll_stop(&pool->poll);
	list_remove(&pool->node);
	if (pool->credential)
		credential_unref(pool->credential);
	free(pool->members);
	free(pool->failure);
	free(pool);
}

static bool is_full(const struct worker *w, const struct backend *backend)
{
	const uint32_t limit = w->settings->max_connections_per_host;

	return limit && atomic_load_explicit(&backend->stats->node->pooled, memory_order_relaxed) >= limit;
}

bool pool_is_full(const struct pool *pool, const struct backend *backend)
{
	return is_full(pool->worker, backend);
}

/* Every backend has a place; lists point to themselves, so they are set up again when they move. */
struct pool_member *pool_member(struct pool *pool, const struct backend *backend)
{
	if (unlikely(backend->slot >= pool->member_count)) {
		const unsigned count = pool_backends(pool)->slot_count;
		struct pool_member *members = xcalloc(count, sizeof(*members));

		for (unsigned i = 0; i < count; i++) {
			list_init(&members[i].lanes);
			if (i >= pool->member_count)
				continue;
			list_splice(&members[i].lanes, &pool->members[i].lanes);
			members[i].count = pool->members[i].count;
			members[i].paused_until_ns = pool->members[i].paused_until_ns;
		}
		free(pool->members);
		pool->members = members;
		pool->member_count = count;
	}
	return &pool->members[backend->slot];
}

const struct credentials *pool_token(const struct pool *pool)
{
	static const struct credentials none;

	return pool->credential ? &pool->credential->token : &none;
}

/* ---- waiting ---- */

void pool_wait(struct pool *pool, struct request_leg *leg)
{
	list_append(&pool->waiting, &leg->waiting);
	/* What is freed elsewhere (another worker's connection, a stream id) tells nobody. */
	loop_poll_start(&pool->worker->loop, &pool->poll);
}

void pool_progress(struct pool *pool)
{
	loop_task_start(&pool->worker->loop, &pool->progress);
}

static void serve_waiting(struct pool *pool)
{
	struct list waiting;
	struct list *node;

	list_init(&waiting);
	list_splice(&waiting, &pool->waiting);
	while ((node = list_pop(&waiting)))
		request_continue(list_entry(node, struct request_leg, waiting));
}

static bool poll_waiting(struct loop_poll *poll)
{
	struct pool *pool = container_of(poll, struct pool, poll);

	if (list_is_empty(&pool->waiting) && list_is_empty(&pool->checks))
		return false;
	pool_progress(pool);
	return true;
}

static void run_progress(struct loop_task *task)
{
	struct pool *pool = container_of(task, struct pool, progress);

	pool_check_all(pool);
	serve_waiting(pool);
	if (pool->clients == 0 && pool->lanes == 0 && list_is_empty(&pool->checks))
		pool_free(pool);
}

/* ---- for the worker ---- */

void pools_update(struct worker *w, enum cluster_id cluster)
{
	struct backends *b = &w->backends[cluster];

	backends_update(b);
	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		struct pool *pool = list_entry(node, struct pool, node);

		for (unsigned i = 0; i < pool->member_count; i++) {
			list_for_each_safe(l, tmp2, &pool->members[i].lanes) {
				struct lane *lane = list_entry(l, struct lane, node);

				if (lane->backend->state == BACKEND_GONE && lane->state != LANE_RETIRING)
					lane_retire(lane);
			}
		}
		pool_progress(pool);
	}
}

void pools_settings_changed(struct worker *w, enum cluster_id cluster, const struct settings *before)
{
	const bool is_outdated = settings_change_encryption(&before->cluster[cluster], &w->settings->cluster[cluster]);

	backends_settings_changed(&w->backends[cluster]);
	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		struct pool *pool = list_entry(node, struct pool, node);

		for (unsigned i = 0; is_outdated && i < pool->member_count; i++) {
			list_for_each_safe(l, tmp2, &pool->members[i].lanes) {
				struct lane *lane = list_entry(l, struct lane, node);

				if (lane->state != LANE_RETIRING)
					lane_retire(lane);
			}
		}
		pool_progress(pool);
	}
}

/* Requests wait that would go over it; they will, in the next turn. */
static bool is_waited_for(const struct pool *pool, const struct lane *lane)
{
	list_for_each_safe(node, tmp, &pool->waiting) {
		if (pool_lane_serves(lane, list_entry(node, struct request_leg, waiting)->request))
			return true;
	}
	return false;
}

/* The one that has been idle for longest, of this and `best`. */
static struct lane *find_idle(const struct pool *pool, const struct backend *backend, struct lane *best)
{
	if (backend->slot >= pool->member_count)
		return best;
	list_for_each_safe(node, tmp, &pool->members[backend->slot].lanes) {
		struct lane *lane = list_entry(node, struct lane, node);

		if (lane->state == LANE_READY && lane->server->in_flight == 0 &&
		    (!best || lane->server->last_used_ns < best->server->last_used_ns) && !is_waited_for(pool, lane))
			best = lane;
	}
	return best;
}

void pools_shed(struct worker *w, enum cluster_id cluster, const struct net_address *address)
{
	const struct backend *backend = backends_find(&w->backends[cluster], address);
	struct lane *lane = NULL;

	/* Every request that waits has asked for room; one connection less may have been enough. */
	if (!backend || !is_full(w, backend))
		return;
	list_for_each_safe(node, tmp, &w->pools[cluster])
		lane = find_idle(list_entry(node, struct pool, node), backend, lane);
	if (lane)
		lane_close(lane, "max_connections_per_host is reached, and others wait");
}

bool pools_try(struct worker *w, enum cluster_id cluster, struct backend *backend)
{
	const struct lane_need need = { .keyspace = NULL };
	const char *why;

	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		struct pool *pool = list_entry(node, struct pool, node);

		if (pool->clients == 0)
			continue;
		(void)pool_member(pool, backend);
		if (lane_open(pool, backend, &need, &why))
			return true;
		/* One that failed at once has been counted. */
		if (backend->state == BACKEND_DOWN && backend->retry_ns > loop_now(&w->loop))
			return true;
	}
	return false;
}

void pools_drop(struct worker *w)
{
	for (unsigned c = 0; c < CLUSTER_COUNT; c++) {
		list_for_each_safe(node, tmp, &w->pools[c]) {
			struct pool *pool = list_entry(node, struct pool, node);

			for (unsigned i = 0; i < pool->member_count; i++) {
				while (!list_is_empty(&pool->members[i].lanes))
					lane_close(list_entry(pool->members[i].lanes.next, struct lane, node),
						   "the proxy ends");
			}
			pool_free(pool);
		}
	}
}
