/* lane.c - see lane.h */
#include "proxy/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/pool_check.h"

/* So many connections in a row that end so soon after they were ready are a failure of their node. */
#define SHORT_LIFE_NS (UINT64_C(1000) * 1000000)
#define SHORT_LIVES_MAX 10

static const struct extra_handler lane_extra_handler;
static const struct server_handler lane_server_handler;

/* Takes it off its member and frees it; its connection has ended or is not there. */
static void forget(struct lane *lane)
{
	struct pool *pool = lane->pool;
	struct backend *backend = lane->backend;

	list_remove(&lane->node);
	timeout_stop(&lane->watch);
	pool->members[backend->slot].count--;
	pool->lanes--;
	node_release(backend->stats->node);
	free(lane->keyspace);
	free(lane);
	backend_lane_gone(pool_backends(pool), backend);
}

struct lane *lane_open(struct pool *pool, struct backend *backend, const struct lane_need *need, const char **why)
{
	struct worker *w = pool->worker;
	const struct extra_options options = {
		.worker = w,
		.cluster = pool->cluster,
		.address = &backend->address,
		.version = pool->version,
		.compression = (enum cql_compression)pool->compression,
		.credentials = pool_token(pool),
		.keyspace = need->keyspace,
		.is_shared = true,
	};
	struct lane *lane;

	if (!node_take(backend->stats->node, w->settings->max_connections_per_host)) {
		*why = "max_connections_per_host is reached";
		return NULL;
	}
	lane = xcalloc(1, sizeof(*lane));
	lane->pool = pool;
	lane->backend = backend;
	lane->keyspace = need->keyspace ? xstrdup(need->keyspace) : NULL;
	lane->is_large = need->is_large;
	lane->is_check = need->is_check;
	timeout_item_init(&lane->watch);
	list_init(&lane->node);
	extra_init(&lane->opening, &lane_extra_handler);
	list_append(&pool->members[backend->slot].lanes, &lane->node);
	pool->members[backend->slot].count++;
	pool->lanes++;
	backend->lanes++;
	if (!extra_open(&lane->opening, &options, why)) {
		backend_failed(pool_backends(lane->pool), backend);
		forget(lane);
		return NULL;
	}
	return lane;
}

static void on_ready(struct extra *x)
{
	struct lane *lane = container_of(x, struct lane, opening);
	struct pool *pool = lane->pool;
	struct worker *w = pool->worker;

	lane->was_asked = x->was_asked;
	lane->server = extra_take(x);
	lane->server->handler = &lane_server_handler;
	lane->server->owner = lane;
	lane->state = LANE_READY;
	lane->ready_ns = loop_now(&w->loop);
	metric_add(&w->metrics.server_connections[pool->cluster], 1);
	timeout_start(&w->loop, &w->lane_watches, &lane->watch);
	log_debug("worker %u: %s: a pooled connection to %s is ready%s%s", w->index, cluster_id_name(pool->cluster),
		  lane->backend->name, lane->keyspace ? " in keyspace " : "", lane->keyspace ? lane->keyspace : "");
	pool_lane_ready(pool, lane);
}

static void on_failed(struct extra *x, const char *why, const struct extra_failure *failure)
{
	struct lane *lane = container_of(x, struct lane, opening);
	struct pool *pool = lane->pool;
	struct worker *w = pool->worker;

	if (failure->kind == EXTRA_UNREACHABLE) {
		metric_add(&lane->backend->stats->failed_connections, 1);
		metric_add(&w->metrics.failed_connections[pool->cluster], 1);
	}
	log_limited(LOG_WARN, "%s at %s: a pooled connection could not be opened: %s", cluster_id_name(pool->cluster),
		    lane->backend->name, why);
	pool_lane_failed(pool, lane, why, failure);
	forget(lane);
	pool_progress(pool);
}

static const struct extra_handler lane_extra_handler = {
	.on_ready = on_ready,
	.on_failed = on_failed,
};

/* ---- the connection once it is ready ---- */

static void on_open(struct server *server)
{
	(void)server; /* open long since: the log-in was before */
}

/* The legs on it were told before, and may have gone elsewhere. */
static void ended(struct lane *lane)
{
	struct pool *pool = lane->pool;

	metric_sub(&pool->worker->metrics.server_connections[pool->cluster], 1);
	forget(lane);
	pool_progress(pool);
}

/*
 * A node that takes connections and log-ins and then hangs up must not be called on without a pause. One that has
 * answered in between works: what ended the connections may have been a client's requests. Those that end together
 * count as one.
 */
static void note_life(struct lane *lane)
{
	struct backend *backend = lane->backend;
	const struct histogram *latency = backend->stats->latency;
	const uint64_t answered_ns = latency[NODE_READS].sum_ns + latency[NODE_WRITES].sum_ns;
	const uint64_t now = loop_now(&lane->pool->worker->loop);

	if (answered_ns != backend->answered_ns || now - lane->ready_ns >= SHORT_LIFE_NS)
		backend->short_lives = 0;
	else if (lane->ready_ns <= backend->ended_ns)
		return;
	backend->answered_ns = answered_ns;
	backend->ended_ns = now;
	if (++backend->short_lives >= SHORT_LIVES_MAX)
		backend_failed(pool_backends(lane->pool), backend);
}

static void on_closed(struct server *server, const char *why)
{
	struct lane *lane = lane_of(server);

	log_limited(LOG_WARN, "%s at %s: a pooled connection ended: %s", cluster_id_name(lane->pool->cluster),
		    lane->backend->name, why);
	note_life(lane);
	ended(lane);
}

static void on_progress(struct server *server)
{
	struct lane *lane = lane_of(server);

	if (unlikely(!list_is_empty(&lane->pool->waiting)))
		pool_progress(lane->pool);
}

static const struct server_handler lane_server_handler = {
	.on_open = on_open,
	.on_closed = on_closed,
	.on_progress = on_progress,
};

void lane_close(struct lane *lane, const char *why)
{
	struct server *server = lane->server;

	if (lane->state == LANE_OPENING) {
		lane->backend->is_trying = false; /* nothing was found out about the node */
		pool_lane_dropped(lane->pool, lane);
		extra_close(&lane->opening, why);
		forget(lane);
		return;
	}
	lane->state = LANE_RETIRING; /* what is told by on_lost() must not choose it again */
	server_close(server, why);
	ended(lane);
}

void lane_retire(struct lane *lane)
{
	if (lane->state == LANE_OPENING || lane->server->in_flight == 0) {
		lane_close(lane, "it is not needed any more");
		return;
	}
	lane->state = LANE_RETIRING;
	lane->retired_ns = loop_now(&lane->pool->worker->loop);
}

/* ---- watching ---- */

static bool is_idle_for_too_long(const struct lane *lane, uint64_t now)
{
	const struct pool *pool = lane->pool;
	const struct server *s = lane->server;

	if (s->in_flight > s->orphans || now - s->last_used_ns < ms_to_ns(pool->worker->settings->pool_idle_timeout_ms))
		return false;
	return pool->clients == 0 || pool->members[lane->backend->slot].count > 1;
}

/*
 * A large frame may be under way for longer than a node may be silent: bytes
 * that move, in either direction, are a sign of life. So is nothing when it is
 * us who do not read, for want of memory.
 */
static void note_movement(struct lane *lane, uint64_t now)
{
	struct server *s = lane->server;
	const struct sbuf *sb = &s->wire.sb;
	const bool comes = sb->reads != lane->reads && s->last_heard_ns <= lane->watched_ns;
	const bool leaves = sb->writes != lane->writes && wire_pending(&s->wire) > 0;

	if (comes || leaves || s->waits || s->is_held)
		s->last_heard_ns = now;
	lane->watched_ns = now;
	lane->writes = sb->writes;
	lane->reads = sb->reads;
}

/* A node from which nothing has come for half of the time allowed is asked for a sign of life, and has the other half. */
static bool is_mute(struct lane *lane, uint64_t now)
{
	const uint64_t limit = ms_to_ns(lane->pool->worker->settings->heartbeat_timeout_ms);
	struct server *s = lane->server;
	uint64_t since;

	note_movement(lane, now);
	since = MAX(s->last_heard_ns, s->busy_since_ns);
	if (s->in_flight == 0 || now < since + limit / 2)
		return false;
	/* Without a stream id to ask on nothing can be said: all it has to do may take its time. */
	if (leg_is_out(&s->heartbeat))
		return now - s->last_beat_ns >= limit / 2;
	server_probe(s);
	return false;
}

uint32_t lane_watch_ms(const struct settings *s)
{
	const uint32_t shortest = MIN(MIN(s->heartbeat_timeout_ms, s->heartbeat_interval_ms), s->pool_idle_timeout_ms);

	return MAX(MIN(shortest / 4, 1000), 10);
}

/* It takes no more requests, and those on it are over, or would be by now. */
static bool is_done(const struct lane *lane, uint64_t now)
{
	const struct worker *w = lane->pool->worker;

	if (lane->state != LANE_RETIRING)
		return false;
	return lane->server->in_flight <= lane->server->orphans ||
	       now - lane->retired_ns > 2 * MAX(ms_to_ns(w->settings->request_timeout_ms),
						route_timeouts_longest_ns(&w->route_timeouts));
}

void lane_on_watch(struct timeout_item *item)
{
	struct lane *lane = container_of(item, struct lane, watch);
	struct worker *w = lane->pool->worker;
	const struct settings *settings = w->settings;
	const uint64_t now = loop_now(&w->loop);
	char why[64];

	if (is_mute(lane, now)) {
		snprintf(why, sizeof(why), "nothing was heard from it for %u ms", settings->heartbeat_timeout_ms);
		log_limited(LOG_WARN, "%s at %s: %s: the connection is given up", cluster_id_name(lane->pool->cluster),
			    lane->backend->name, why);
		/* First, so that its requests go elsewhere. */
		backend_failed(pool_backends(lane->pool), lane->backend);
		lane_close(lane, why);
		return;
	}
	if (is_done(lane, now)) {
		lane_close(lane, "it is not needed any more");
		return;
	}
	if (is_idle_for_too_long(lane, now)) {
		lane_close(lane, "it was idle");
		return;
	}
	server_keep_alive(lane->server, ms_to_ns(settings->heartbeat_interval_ms));
	timeout_start(&w->loop, &w->lane_watches, item);
}
