/*
 * pool_check.c - see pool_check.h
 */
#include "proxy/pool_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/pool_pick.h"
#include "proxy/request.h"

/* Other nodes are tried when one refuses a log-in's connection, but not the whole of a large cluster. */
#define MAX_CHECK_ATTEMPTS 3
/* A node that refuses this pool's log-in, but serves others, is not asked for the next one before. */
#define REFUSAL_PAUSE_NS (UINT64_C(1000) * 1000000)

/* ---- log-ins ---- */

static void check_done(struct pool_check *check, enum pool_outcome outcome, uint32_t error_code, const char *text)
{
	list_remove(&check->node);
	check->pool = NULL;
	check->lane = NULL;
	check->on_done(check, outcome, error_code, text);
}

void pool_check_start(struct pool *pool, struct pool_check *check, bool anew)
{
	check->pool = pool;
	check->lane = NULL;
	check->is_anew = anew;
	check->attempts = 0;
	list_init(&check->node);
	list_append(&pool->checks, &check->node);
	loop_poll_start(&pool->worker->loop, &pool->poll);
	pool_progress(pool);
}

void pool_check_stop(struct pool_check *check)
{
	if (!check->pool)
		return;
	list_remove(&check->node);
	check->pool = NULL;
	check->lane = NULL;
}

static bool has_ready_lane(const struct pool *pool, bool *is_opening)
{
	*is_opening = false;
	for (unsigned i = 0; i < pool->member_count; i++) {
		list_for_each_safe(node, tmp, &pool->members[i].lanes) {
			const struct lane *lane = list_entry(node, struct lane, node);

			if (lane->state == LANE_READY)
				return true;
			*is_opening |= lane->state == LANE_OPENING && !lane->is_check;
		}
	}
	return false;
}

/* Begins what the check needs next, or ends it. */
static void check_go_on(struct pool_check *check)
{
	const struct lane_need need = { .is_check = check->is_anew };
	struct pool *pool = check->pool;
	struct backends *b = pool_backends(pool);
	struct backend *backend;
	struct lane *lane;
	const char *why = pool->failure ? pool->failure : "no node of it is up";
	bool is_opening;

	if (check->lane)
		return;
	if (!check->is_anew) {
		if (has_ready_lane(pool, &is_opening)) {
			check_done(check, POOL_READY, 0, "");
			return;
		}
		if (is_opening)
			return;
	}
	backend = check->attempts < MAX_CHECK_ATTEMPTS ? backends_choose(b, NULL) : NULL;
	check->attempts++;
	lane = NULL;
	if (backend) {
		(void)pool_member(pool, backend);
		lane = lane_open(pool, backend, &need, &why);
	}
	if (lane && check->is_anew) {
		check->lane = lane;
	} else if (!lane && backend && pool_is_full(pool, backend)) {
		worker_shed(pool->worker, pool->cluster, &backend->address);
		check->attempts--; /* it is looked at again with the next tick */
	} else if (!lane)
		check_done(check, POOL_UNREACHABLE, 0, why);
}

void pool_check_all(struct pool *pool)
{
	struct list checks;
	struct list *node;

	list_init(&checks);
	list_splice(&checks, &pool->checks);
	while ((node = list_pop(&checks))) {
		list_append(&pool->checks, node);
		check_go_on(list_entry(node, struct pool_check, node));
	}
}

/* The check that this lane was opened for; NULL when there is none (any more). */
static struct pool_check *check_of(struct pool *pool, const struct lane *lane)
{
	list_for_each_safe(node, tmp, &pool->checks) {
		struct pool_check *check = list_entry(node, struct pool_check, node);

		if (check->lane == lane)
			return check;
	}
	return NULL;
}

/* ---- lanes ---- */

/*
 * A node that demands no log-in, though the cluster does as far as is known (it is being changed, one node after the other),
 * has looked at no password: others must not be given what is behind one.
 */
static void check_ready(struct pool_check *check, const struct lane *lane)
{
	char text[200];

	if (likely(!check->is_anew || lane->was_asked)) {
		check_done(check, POOL_READY, 0, "");
		return;
	}
	snprintf(text, sizeof(text), "%.100s demands no log-in, and so checks none", lane->backend->name);
	check_done(check, POOL_UNREACHABLE, 0, text);
}

void pool_lane_ready(struct pool *pool, struct lane *lane)
{
	struct pool_check *check = check_of(pool, lane);
	const bool was_check = lane->is_check;

	backend_succeeded(pool_backends(pool), lane->backend);
	free(pool->failure);
	pool->failure = NULL;
	lane->is_check = false;
	if (check)
		check_ready(check, lane);
	pool_progress(pool);
	if (was_check && pool_is_surplus(pool, lane))
		lane_retire(lane);
}

void pool_lane_dropped(struct pool *pool, const struct lane *lane)
{
	struct pool_check *check = check_of(pool, lane);

	if (check)
		check->lane = NULL;
}

/* What waits for a lane in this keyspace gets the node's error. */
static void tell_use_refused(struct pool *pool, const char *keyspace, const struct extra_failure *failure)
{
	struct list waiting;
	struct list *node;

	list_init(&waiting);
	list_splice(&waiting, &pool->waiting);
	while ((node = list_pop(&waiting))) {
		struct request_leg *leg = list_entry(node, struct request_leg, waiting);
		const struct request *rq = leg->request;

		if (rq->needs_keyspace && rq->in_keyspace && strcmp(rq->in_keyspace, keyspace) == 0)
			request_leg_rejected(leg, failure->error_code, failure->message);
		else
			pool_wait(pool, leg);
	}
}

/* The cluster has changed its mind about the credentials: what is open stays open, but not for these clients. */
static void refuse_clients(struct pool *pool, const struct lane *lane, const struct extra_failure *failure)
{
	char text[512];

	snprintf(text, sizeof(text), "%s at %s does not accept the client's log-in any more: %.*s",
		 cluster_id_name(pool->cluster), lane->backend->name, (int)MIN(failure->message.len, 300),
		 failure->message.p);
	log_warn("%s", text);
	list_for_each_safe(node, tmp, &pool->worker->clients) {
		struct client *c = list_entry(node, struct client, node);

		if (c->pool[pool->cluster] == pool && c->state == CLIENT_READY)
			requests_refuse(c, pool->cluster, (enum cql_error_code)failure->error_code, text);
	}
}

static void refuse_checks(struct pool *pool, uint32_t error_code, const char *text)
{
	list_for_each_safe(node, tmp, &pool->checks) {
		struct pool_check *check = list_entry(node, struct pool_check, node);

		if (!check->is_anew)
			check_done(check, POOL_REFUSED, error_code, text);
	}
}

static bool has_ready_lane_at(const struct pool *pool, const struct backend *backend)
{
	if (backend->slot >= pool->member_count)
		return false;
	list_for_each_safe(node, tmp, &pool->members[backend->slot].lanes) {
		if (list_entry(node, struct lane, node)->state == LANE_READY)
			return true;
	}
	return false;
}

/* Some pool of this worker has a connection there. */
static bool serves_somebody(const struct worker *w, enum cluster_id cluster, const struct backend *backend)
{
	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		if (has_ready_lane_at(list_entry(node, struct pool, node), backend))
			return true;
	}
	return false;
}

/*
 * An ERROR that says nothing about the credentials: it may pass with another
 * node, or another time. Users whose connections are there keep the node.
 */
static void note_refusal(struct pool *pool, struct backend *backend)
{
	struct worker *w = pool->worker;

	if (backend->state == BACKEND_UP && serves_somebody(w, pool->cluster, backend))
		pool->members[backend->slot].paused_until_ns = loop_now(&w->loop) + REFUSAL_PAUSE_NS;
	else
		backend_failed(pool_backends(pool), backend);
}

void pool_lane_failed(struct pool *pool, struct lane *lane, const char *why, const struct extra_failure *failure)
{
	struct pool_check *check = check_of(pool, lane);
	struct backends *b = pool_backends(pool);
	char text[400];

	snprintf(text, sizeof(text), "%s: %s", lane->backend->name, why);
	free(pool->failure);
	pool->failure = xstrdup(text);
	switch (failure->kind) {
	case EXTRA_UNREACHABLE:
		backend_failed(b, lane->backend);
		if (check && (check->attempts >= MAX_CHECK_ATTEMPTS || backends_are_down(b)))
			check_done(check, POOL_UNREACHABLE, 0, text);
		else if (check)
			check->lane = NULL;
		return;
	case EXTRA_USE_REFUSED:
		backend_succeeded(b, lane->backend);
		tell_use_refused(pool, lane->keyspace, failure);
		return;
	case EXTRA_USE_SILENT: /* it has just logged in: whether the node is mute, the heartbeats on others tell */
		return;
	case EXTRA_REFUSED:
		break;
	}
	if (check || lane->is_check) {
		backend_succeeded(b, lane->backend);
		if (check)
			check_done(check, POOL_REFUSED, failure->error_code, text);
		return;
	}
	if (failure->error_code != CQL_ERR_BAD_CREDENTIALS && failure->error_code != CQL_ERR_UNAUTHORIZED) {
		note_refusal(pool, lane->backend);
		/* Drivers find out by it which version to speak; another node or time would not help them. */
		if (failure->error_code == CQL_ERR_PROTOCOL_ERROR)
			refuse_checks(pool, failure->error_code, text);
		return;
	}
	backend_succeeded(b, lane->backend);
	if (pool->credential)
		credential_refused(pool->credential); /* who comes with it next is asked for, not remembered */
	refuse_checks(pool, failure->error_code, text);
	refuse_clients(pool, lane, failure);
}
