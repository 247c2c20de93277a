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
#include "proxy/placement.h"
#include "proxy/request.h"

/* Other nodes are tried when one refuses a log-in's connection, but not the whole of a large cluster. */
#define MAX_CHECK_ATTEMPTS 3
/* With more than one in so many of its ids waiting for late answers a lane is replaced. */
#define LANE_ORPHAN_SHARE 10
/* Requests wait when a node does not take so many bytes of those before them. */
#define LANE_OUTPUT_MAX (1024 * 1024)

static void run_progress(struct loop_task *task);
static bool poll_waiting(struct loop_poll *poll);

/* ---- life ---- */

static struct backends *backends_of(const struct pool *pool)
{
	return &pool->worker->backends[pool->cluster];
}

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

/* Every backend has a place; lists point to themselves, so they are set up again when they move. */
static struct pool_member *member_of(struct pool *pool, const struct backend *backend)
{
	if (unlikely(backend->slot >= pool->member_count)) {
		const unsigned count = backends_of(pool)->slot_count;
		struct pool_member *members = xcalloc(count, sizeof(*members));

		for (unsigned i = 0; i < count; i++) {
			list_init(&members[i].lanes);
			if (i >= pool->member_count)
				continue;
			list_splice(&members[i].lanes, &pool->members[i].lanes);
			members[i].count = pool->members[i].count;
		}
		free(pool->members);
		pool->members = members;
		pool->member_count = count;
	}
	return &pool->members[backend->slot];
}

/* ---- the lane for a request ---- */

struct need {
	struct lane_need lane;
	bool any_keyspace;
};

static struct need need_of(const struct request *rq)
{
	return (struct need){
		.lane = { .keyspace = rq->in_keyspace,
			  .is_large = rq->len > rq->client->worker->settings->large_frame_size },
		.any_keyspace = !rq->needs_keyspace,
	};
}

static bool is_same_keyspace(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool serves(const struct lane *lane, const struct need *need)
{
	return lane->is_large == need->lane.is_large &&
	       (need->any_keyspace || is_same_keyspace(lane->keyspace, need->lane.keyspace));
}

/* What a look at a member's lanes has found. */
struct found {
	struct server *server;  /* the least loaded one that a request can be sent on; NULL: none */
	struct server *blocked; /* the same, of those behind a large answer */
	unsigned serving;       /* lanes of the right kind, those that are full, too */
	unsigned opening;
};

static void look_at(struct lane *lane, struct found *f)
{
	struct server *s = lane->server;

	if (lane->state == LANE_OPENING) {
		f->opening++;
		f->serving++;
		return;
	}
	if (lane->state != LANE_READY || s->state != SERVER_READY)
		return;
	if (unlikely(s->orphans > s->max_streams / LANE_ORPHAN_SHARE)) {
		lane_retire(lane);
		return;
	}
	f->serving++;
	if (unlikely(!server_has_room(s) || wire_pending(&s->wire) > LANE_OUTPUT_MAX))
		return;
	if (unlikely(s->wire.has_large || s->waits)) {
		if (!f->blocked || s->in_flight < f->blocked->in_flight)
			f->blocked = s;
	} else if (!f->server || s->in_flight < f->server->in_flight) {
		f->server = s;
	}
}

static void look(struct pool_member *member, const struct need *need, struct found *f)
{
	*f = (struct found){ .server = NULL };
	list_for_each_safe(node, tmp, &member->lanes) {
		struct lane *lane = list_entry(node, struct lane, node);

		if (serves(lane, need))
			look_at(lane, f);
	}
}

static void open_one(struct pool *pool, struct backend *backend, const struct lane_need *need)
{
	const char *why;

	if (backend->state == BACKEND_GONE)
		return;
	if (!lane_open(pool, backend, need, &why))
		log_limited(LOG_WARN, "%s at %s: no further pooled connection: %s", cluster_id_name(pool->cluster),
			    backend->name, why);
}

/* The process has as many connections to the node as it may have. */
static bool is_full(const struct pool *pool, const struct backend *backend)
{
	const uint32_t limit = pool->worker->settings->max_connections_per_host;

	return limit && atomic_load_explicit(&backend->stats->node->pooled, memory_order_relaxed) >= limit;
}

/* Opens another lane where the ones there are do not do. */
static void open_more(struct pool *pool, struct backend *backend, const struct need *need, const struct found *f)
{
	const unsigned wanted = pool->worker->settings->connections_per_host;
	/* One more than usual while none can take a request at once. */
	const unsigned limit = f->server ? wanted : wanted + 1;

	if (f->opening == 0 && f->serving < limit && (f->serving == 0 || !f->server || f->server->in_flight > 0))
		open_one(pool, backend, &need->lane);
}

/* The connection to this node, or NULL; then one is being opened, if it may. */
static inline struct server *member_pick(struct pool *pool, struct backend *backend, const struct need *need)
{
	struct found f;

	look(member_of(pool, backend), need, &f);
	if (unlikely(!f.server || f.serving < pool->worker->settings->connections_per_host))
		open_more(pool, backend, need, &f);
	return f.server ? f.server : f.blocked;
}

/* ---- the node ---- */

/* The node that was chosen has no lane for it (yet): any other that has one. */
static struct server *pick_elsewhere(struct pool *pool, const struct need *need, const struct backend * not,
				     const struct net_address *not_at)
{
	struct backends *b = backends_of(pool);
	const unsigned start = b->candidate_count ? backends_random(b, b->candidate_count) : 0;
	struct found f;

	for (unsigned i = 0; i < b->candidate_count; i++) {
		struct backend *backend = b->candidates[(start + i) % b->candidate_count];

		if (backend == not || (not_at && net_equal(&backend->address, not_at)))
			continue;
		look(member_of(pool, backend), need, &f);
		if (f.server || f.blocked)
			return f.server ? f.server : f.blocked;
	}
	return NULL;
}

/* A connection to a replica. NULL when they are not known, or none that is up has one (yet). */
static struct server *pick_replica(struct pool *pool, struct request *rq, const struct need *need,
				   const struct net_address *not_at)
{
	struct request_leg *leg = &rq->legs[pool->cluster];
	struct backends *b = backends_of(pool);
	struct server *s = NULL;
	struct replicas r;
	unsigned first = 0;

	leg->placement = PLACED_UNKNOWN;
	if (!placement_find(rq, b, not_at, &r))
		return NULL;
	leg->placement = PLACED_OTHER;
	if (r.count > 1 && !placement_keeps_order(rq))
		first = backends_less_loaded(b, r.nodes, r.count);
	for (unsigned i = 0; i < r.count && !s; i++)
		s = member_pick(pool, r.nodes[(first + i) % r.count], need);
	if (likely(s))
		leg->placement = PLACED_REPLICA;
	return s;
}

enum pool_answer pool_pick(struct request *rq, unsigned cluster, const struct net_address *not_at, struct server **out)
{
	struct pool *pool = rq->client->pool[cluster];
	struct backends *b = backends_of(pool);
	const struct need need = need_of(rq);
	struct backend *backend;

	if (pool->worker->settings->load_balancing == BALANCE_TOKEN_AWARE && b->candidate_count > 1) {
		*out = pick_replica(pool, rq, &need, not_at);
		if (likely(*out))
			return POOL_PICKED;
	}
	backend = backends_choose(b, not_at);
	if (unlikely(!backend))
		return POOL_DOWN;
	*out = member_pick(pool, backend, &need);
	if (likely(*out))
		return POOL_PICKED;
	/* Opening may have failed at once. */
	if (backends_are_down(b))
		return POOL_DOWN;
	*out = pick_elsewhere(pool, &need, backend, not_at);
	if (*out)
		return POOL_PICKED;
	if (is_full(pool, backend))
		worker_shed(pool->worker, pool->cluster, &backend->address);
	return POOL_WAIT;
}

enum pool_answer pool_pick_at(const struct request *rq, unsigned cluster, const struct net_address *address,
			      struct server **out)
{
	struct pool *pool = rq->client->pool[cluster];
	struct backend *backend = backends_find(backends_of(pool), address);
	const struct need need = need_of(rq);

	if (!backend || backend->state != BACKEND_UP)
		return POOL_DOWN;
	*out = member_pick(pool, backend, &need);
	return *out ? POOL_PICKED : POOL_WAIT;
}

struct server *pool_find(struct pool *pool, const struct net_address *address, const char *keyspace, bool any_keyspace)
{
	const struct need need = { .lane = { .keyspace = keyspace }, .any_keyspace = any_keyspace };
	struct backend *backend = backends_find(backends_of(pool), address);
	struct found f;

	if (!backend)
		return NULL;
	look(member_of(pool, backend), &need, &f);
	return f.server ? f.server : f.blocked;
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
	struct backends *b = backends_of(pool);
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
		(void)member_of(pool, backend);
		lane = lane_open(pool, backend, &need, &why);
	}
	if (lane && check->is_anew) {
		check->lane = lane;
	} else if (!lane && backend && is_full(pool, backend)) {
		worker_shed(pool->worker, pool->cluster, &backend->address);
		check->attempts--; /* it is looked at again with the next tick */
	} else if (!lane)
		check_done(check, POOL_UNREACHABLE, 0, why);
}

static void serve_checks(struct pool *pool)
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

static bool is_surplus(const struct pool *pool, const struct lane *lane)
{
	const struct need need = { .lane = { .keyspace = lane->keyspace, .is_large = lane->is_large } };
	struct found f;

	look(&pool->members[lane->backend->slot], &need, &f);
	return f.serving > pool->worker->settings->connections_per_host;
}

void pool_lane_ready(struct pool *pool, struct lane *lane)
{
	struct pool_check *check = check_of(pool, lane);
	const bool was_check = lane->is_check;

	backend_succeeded(backends_of(pool), lane->backend);
	free(pool->failure);
	pool->failure = NULL;
	lane->is_check = false;
	if (check)
		check_done(check, POOL_READY, 0, "");
	pool_progress(pool);
	if (was_check && is_surplus(pool, lane))
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

		if (rq->needs_keyspace && is_same_keyspace(rq->in_keyspace, keyspace))
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

void pool_lane_failed(struct pool *pool, struct lane *lane, const char *why, const struct extra_failure *failure)
{
	struct pool_check *check = check_of(pool, lane);
	struct backends *b = backends_of(pool);
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
	case EXTRA_REFUSED:
		break;
	}
	if (check || lane->is_check) {
		backend_succeeded(b, lane->backend);
		if (check)
			check_done(check, POOL_REFUSED, failure->error_code, text);
		return;
	}
	/* Anything but a word about the credentials may pass: another node, or another time. */
	if (failure->error_code != CQL_ERR_BAD_CREDENTIALS && failure->error_code != CQL_ERR_UNAUTHORIZED) {
		backend_failed(b, lane->backend);
		/* Drivers find out by it which version to speak; another node or time would not help them. */
		if (failure->error_code == CQL_ERR_PROTOCOL_ERROR)
			refuse_checks(pool, failure->error_code, text);
		return;
	}
	backend_succeeded(b, lane->backend);
	refuse_checks(pool, failure->error_code, text);
	refuse_clients(pool, lane, failure);
}

static void run_progress(struct loop_task *task)
{
	struct pool *pool = container_of(task, struct pool, progress);

	serve_checks(pool);
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

static bool shed_one(struct pool *pool, const struct backend *backend)
{
	if (backend->slot >= pool->member_count)
		return false;
	list_for_each_safe(node, tmp, &pool->members[backend->slot].lanes) {
		struct lane *lane = list_entry(node, struct lane, node);

		if (lane->state == LANE_READY && lane->server->in_flight == 0) {
			lane_close(lane, "max_connections_per_host is reached, and others wait");
			return true;
		}
	}
	return false;
}

void pools_shed(struct worker *w, enum cluster_id cluster, const struct net_address *address)
{
	const struct backend *backend = backends_find(&w->backends[cluster], address);

	if (!backend)
		return;
	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		struct pool *pool = list_entry(node, struct pool, node);

		if (list_is_empty(&pool->waiting) && shed_one(pool, backend))
			return;
	}
}

bool pools_try(struct worker *w, enum cluster_id cluster, struct backend *backend)
{
	const struct lane_need need = { .keyspace = NULL };
	const char *why;

	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		struct pool *pool = list_entry(node, struct pool, node);

		if (pool->clients == 0)
			continue;
		(void)member_of(pool, backend);
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
