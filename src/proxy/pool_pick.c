/*
 * pool_pick.c - see pool_pick.h
 */
#include "proxy/pool_pick.h"

#include <string.h>

#include "base/log.h"
#include "proxy/placement.h"
#include "proxy/request.h"

/* With more than one in so many of its ids waiting for late answers a lane is replaced. */
#define LANE_ORPHAN_SHARE 10
/* Requests wait when a node does not take so many bytes of those before them. */
#define LANE_OUTPUT_MAX (1024 * 1024)

/* ---- the lane for a request ---- */

struct need {
	struct lane_need lane;
	bool any_keyspace;
	/* Over several lanes as their load is; else over the first that will do, so that frames leave together. */
	bool spreads;
};

static inline bool is_large(const struct request *rq)
{
	return rq->len > rq->client->worker->settings->large_frame_size;
}

static struct need need_of(const struct request *rq)
{
	return (struct need){
		.lane = { .keyspace = rq->in_keyspace, .is_large = is_large(rq) },
		.any_keyspace = !rq->needs_keyspace,
		.spreads = rq->client->worker->settings->connections_per_host > 1,
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
	struct server *server;  /* one that a request can be sent on; NULL: none */
	struct server *blocked; /* the same, of those behind a large answer */
	unsigned serving;       /* lanes of the right kind, those that are full, too */
	unsigned opening;
};

static void look_at(struct lane *lane, const struct need *need, struct found *f)
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
	} else if (!f->server || (need->spreads && s->in_flight < f->server->in_flight)) {
		f->server = s;
	}
}

static void look(struct pool_member *member, const struct need *need, struct found *f)
{
	*f = (struct found){ .server = NULL };
	list_for_each_safe(node, tmp, &member->lanes) {
		struct lane *lane = list_entry(node, struct lane, node);

		if (serves(lane, need))
			look_at(lane, need, f);
	}
}

static void open_one(struct pool *pool, struct backend *backend, const struct lane_need *need)
{
	const uint64_t paused_until_ns = pool->members[backend->slot].paused_until_ns;
	const char *why;

	if (backend->state == BACKEND_GONE ||
	    (unlikely(paused_until_ns) && loop_now(&pool->worker->loop) < paused_until_ns))
		return;
	if (!lane_open(pool, backend, need, &why))
		log_limited(LOG_WARN, "%s at %s: no further pooled connection: %s", cluster_id_name(pool->cluster),
			    backend->name, why);
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

	look(pool_member(pool, backend), need, &f);
	if (unlikely(!f.server || f.serving < pool->worker->settings->connections_per_host))
		open_more(pool, backend, need, &f);
	return f.server ? f.server : f.blocked;
}

/*
 * What look() finds where one lane is enough for a node and the first could
 * not be in better shape, which is nearly always so. NULL: it has to be asked.
 */
static ALWAYS_INLINE struct server *first_lane(const struct pool *pool, const struct backend *backend,
					       const struct request *rq)
{
	const struct list *lanes;
	const struct lane *lane;
	struct server *s;

	if (unlikely(backend->slot >= pool->member_count))
		return NULL;
	lanes = &pool->members[backend->slot].lanes;
	if (unlikely(list_is_empty(lanes)))
		return NULL;
	lane = list_entry(lanes->next, struct lane, node);
	s = lane->server;
	if (unlikely(lane->state != LANE_READY || s->state != SERVER_READY || lane->is_large != is_large(rq) ||
		     rq->needs_keyspace || pool->worker->settings->connections_per_host > 1))
		return NULL;
	if (unlikely(s->orphans > 0 || !server_has_room(s) || wire_pending(&s->wire) > LANE_OUTPUT_MAX ||
		     s->wire.has_large || s->waits))
		return NULL;
	return s;
}

/* ---- the node ---- */

/* The node that was chosen has no lane for it (yet): any other that has one. */
static struct server *pick_elsewhere(struct pool *pool, const struct need *need, const struct backend * not,
				     const struct net_address *not_at)
{
	struct backends *b = pool_backends(pool);
	const unsigned start = b->candidate_count ? backends_random(b, b->candidate_count) : 0;
	struct found f;

	for (unsigned i = 0; i < b->candidate_count; i++) {
		struct backend *backend = b->candidates[(start + i) % b->candidate_count];

		if (backend == not || (not_at && net_equal(&backend->address, not_at)))
			continue;
		look(pool_member(pool, backend), need, &f);
		if (f.server || f.blocked)
			return f.server ? f.server : f.blocked;
	}
	return NULL;
}

/* A connection to a replica. NULL when they are not known, or none that is up has one (yet). */
static __attribute__((noinline)) struct server *pick_replica(struct pool *pool, struct request *rq,
							     const struct net_address *not_at)
{
	struct request_leg *leg = &rq->legs[pool->cluster];
	struct backends *b = pool_backends(pool);
	const struct need need = need_of(rq);
	struct server *s = NULL;
	struct replicas r;
	unsigned first = 0;

	leg->placement = PLACED_UNKNOWN;
	if (!placement_find(rq, b, not_at, &r))
		return NULL;
	leg->placement = PLACED_OTHER;
	if (r.count > 1 && !placement_keeps_order(rq))
		first = backends_less_loaded(b, r.nodes, r.count);
	for (unsigned i = 0; i < r.count && !s; i++) {
		struct backend *backend = r.nodes[(first + i) % r.count];

		s = first_lane(pool, backend, rq);
		if (unlikely(!s))
			s = member_pick(pool, backend, &need);
	}
	if (likely(s))
		leg->placement = PLACED_REPLICA;
	return s;
}

/* Where first_lane() does not do: any lane of the node, or of another one. */
static __attribute__((noinline)) enum pool_answer pick_any(struct request *rq, unsigned cluster,
							   struct backend *backend, const struct net_address *not_at,
							   struct server **out)
{
	struct pool *pool = rq->client->pool[cluster];
	struct backends *b = pool_backends(pool);
	const struct need need = need_of(rq);

	*out = member_pick(pool, backend, &need);
	if (likely(*out))
		return POOL_PICKED;
	/* Opening may have failed at once. */
	if (backends_are_down(b))
		return POOL_DOWN;
	*out = pick_elsewhere(pool, &need, backend, not_at);
	if (*out)
		return POOL_PICKED;
	if (pool_is_full(pool, backend))
		worker_shed(pool->worker, pool->cluster, &backend->address);
	return POOL_WAIT;
}

enum pool_answer pool_pick(struct request *rq, unsigned cluster, const struct net_address *not_at, struct server **out)
{
	struct pool *pool = rq->client->pool[cluster];
	struct backends *b = pool_backends(pool);
	struct backend *backend;

	if (b->candidate_count > 1 && pool->worker->settings->load_balancing == BALANCE_TOKEN_AWARE) {
		*out = pick_replica(pool, rq, not_at);
		if (likely(*out))
			return POOL_PICKED;
	}
	backend = likely(b->candidate_count == 1) ? b->candidates[0] : backends_choose(b, not_at);
	if (unlikely(!backend))
		return POOL_DOWN;
	*out = first_lane(pool, backend, rq);
	return likely(*out) ? POOL_PICKED : pick_any(rq, cluster, backend, not_at, out);
}

enum pool_answer pool_pick_at(const struct request *rq, unsigned cluster, const struct net_address *address,
			      struct server **out)
{
	struct pool *pool = rq->client->pool[cluster];
	struct backend *backend = backends_find(pool_backends(pool), address);
	const struct need need = need_of(rq);

	if (!backend || backend->state != BACKEND_UP)
		return POOL_DOWN;
	*out = member_pick(pool, backend, &need);
	return *out ? POOL_PICKED : POOL_WAIT;
}

struct server *pool_find(struct pool *pool, const struct net_address *address, const char *keyspace, bool any_keyspace)
{
	const struct need need = { .lane = { .keyspace = keyspace }, .any_keyspace = any_keyspace };
	struct backend *backend = backends_find(pool_backends(pool), address);
	struct found f;

	if (!backend)
		return NULL;
	look(pool_member(pool, backend), &need, &f);
	return f.server ? f.server : f.blocked;
}

bool pool_lane_serves(const struct lane *lane, const struct request *rq)
{
	const struct need need = need_of(rq);

	return serves(lane, &need);
}

bool pool_is_surplus(const struct pool *pool, const struct lane *lane)
{
	const struct need need = { .lane = { .keyspace = lane->keyspace, .is_large = lane->is_large } };
	struct found f;

	look(&pool->members[lane->backend->slot], &need, &f);
	return f.serving > pool->worker->settings->connections_per_host;
}
