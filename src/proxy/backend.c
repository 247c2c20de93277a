/* backend.c - see backend.h */
#include "proxy/backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/pool.h"

/* A node that the cluster calls down is tried for itself after so long. */
#define EVENT_PAUSE_NS (UINT64_C(1000) * 1000000)

static bool poll_retry(struct loop_poll *poll);

void backends_init(struct backends *b, struct worker *worker, enum cluster_id cluster)
{
	*b = (struct backends){ .worker = worker, .cluster = cluster };
	arc4random_buf(&b->random, sizeof(b->random));
	b->random |= 1; /* zero would stay zero */
	b->turn = arc4random();
	loop_poll_init(&b->retry, poll_retry);
}

void backends_fini(struct backends *b)
{
	loop_poll_stop(&b->retry);
	for (unsigned i = 0; i < b->slot_count; i++)
		free(b->slots[i]);
	free(b->slots);
	free(b->hosts);
	free(b->candidates);
	topology_unref(b->topology);
	*b = (struct backends){ .cluster = b->cluster };
}

/* ---- which requests go to ---- */

static bool is_contact_only(const struct backends *b)
{
	const struct settings *s = b->worker->settings;

	return s->load_balancing == BALANCE_CONTACT_POINT || !s->cluster[b->cluster].enable_host_assignment;
}

static void choose_candidates(struct backends *b)
{
	const bool contact_only = is_contact_only(b);
	unsigned tier = UINT8_MAX;

	b->candidate_count = 0;
	for (unsigned i = 0; i < b->host_count; i++) {
		struct backend *backend = b->hosts[i];

		if (backend->state != BACKEND_UP || (contact_only && !b->topology->hosts[i].is_local_row))
			continue;
		if (backend->tier < tier) {
			tier = backend->tier;
			b->candidate_count = 0;
		}
		if (backend->tier == tier)
			b->candidates[b->candidate_count++] = backend;
	}
}

static inline uint64_t load_of(const struct backend *backend)
{
	return backend->stats->used_stream_ids;
}

unsigned backends_less_loaded(struct backends *b, struct backend *const *nodes, unsigned n)
{
	const unsigned i = backends_random(b, n);
	const unsigned j = (i + 1 + backends_random(b, n - 1)) % n;

	return load_of(nodes[j]) < load_of(nodes[i]) ? j : i;
}

struct backend *backends_choose(struct backends *b, const struct net_address *not_at)
{
	const unsigned n = b->candidate_count;
	unsigned i;

	if (n <= 1)
		return n ? b->candidates[0] : NULL;
	if (b->worker->settings->load_balancing == BALANCE_ROUND_ROBIN)
		i = b->turn++ % n;
	else
		i = backends_less_loaded(b, b->candidates, n);
	if (unlikely(not_at) && net_equal(&b->candidates[i]->address, not_at))
		i = (i + 1) % n;
	return b->candidates[i];
}

static void set_state(struct backends *b, struct backend *backend, enum backend_state state)
{
	const bool was_down = backends_are_down(b);

	backend->state = (uint8_t)state;
	choose_candidates(b);
	if (was_down != backends_are_down(b) && b->host_count > 0)
		log_at(was_down ? LOG_INFO : LOG_ERROR, "worker %u: %s: %s", b->worker->index,
		       cluster_id_name(b->cluster),
		       was_down ? "a node is up again" : "no node is up: requests that need it are refused");
	if (state == BACKEND_DOWN)
		loop_poll_start(&b->worker->loop, &b->retry);
}

/* ---- the topology ---- */

struct backend *backends_find(const struct backends *b, const struct net_address *address)
{
	for (unsigned i = 0; i < b->slot_count; i++) {
		if (b->slots[i] && b->slots[i]->state != BACKEND_GONE && net_equal(&b->slots[i]->address, address))
			return b->slots[i];
	}
	return NULL;
}

static struct backend *add(struct backends *b, const struct host *host)
{
	struct worker *w = b->worker;
	struct backend *backend = xcalloc(1, sizeof(*backend));
	unsigned slot = 0;

	while (slot < b->slot_count && b->slots[slot])
		slot++;
	if (slot == b->slot_count) {
		b->slots = xrealloc(b->slots, (b->slot_count + 1) * sizeof(*b->slots));
		b->slot_count++;
	}
	b->slots[slot] = backend;
	backend->slot = slot;
	backend->address = host->address;
	memcpy(backend->name, host->name, sizeof(backend->name));
	backend->stats = node_stats_get(&w->proxy->nodes, (enum node_role)b->cluster, w->index, &host->address);
	return backend;
}

static void drop(struct backends *b, struct backend *backend)
{
	b->slots[backend->slot] = NULL;
	free(backend);
}

void backends_update(struct backends *b)
{
	struct topology *t = cluster_topology(&b->worker->proxy->clusters[b->cluster]);

	if (!t || t == b->topology) {
		topology_unref(t);
		return;
	}
	b->hosts = xrealloc(b->hosts, MAX(t->host_count, 1u) * sizeof(*b->hosts));
	b->candidates = xrealloc(b->candidates, MAX(t->host_count, 1u) * sizeof(*b->candidates));
	b->candidate_count = 0;
	for (unsigned i = 0; i < t->host_count; i++) {
		b->hosts[i] = backends_find(b, &t->hosts[i].address);
		if (!b->hosts[i])
			b->hosts[i] = add(b, &t->hosts[i]);
		b->hosts[i]->is_present = true;
		b->hosts[i]->tier = t->hosts[i].tier;
		/* The control connection has just reached it. */
		if (t->hosts[i].is_local_row && b->hosts[i]->state == BACKEND_DOWN)
			b->hosts[i]->retry_ns = 0;
	}
	b->host_count = t->host_count;
	topology_unref(b->topology);
	b->topology = t;
	for (unsigned i = 0; i < b->slot_count; i++) {
		struct backend *backend = b->slots[i];

		if (!backend)
			continue;
		if (!backend->is_present)
			backend->state = BACKEND_GONE;
		backend->is_present = false;
		if (backend->state == BACKEND_GONE && backend->lanes == 0)
			drop(b, backend);
	}
	choose_candidates(b);
}

void backends_settings_changed(struct backends *b)
{
	for (unsigned i = 0; i < b->slot_count; i++) {
		if (b->slots[i] && b->slots[i]->state == BACKEND_DOWN)
			b->slots[i]->retry_ns = 0;
	}
	if (b->topology)
		choose_candidates(b);
}

/* ---- experience ---- */

static uint64_t pause_ns(const struct backends *b, uint32_t failures)
{
	const struct settings *s = b->worker->settings;
	const double max = s->heartbeat_retry_interval_max_ms;
	double top = s->heartbeat_retry_interval_min_ms;

	for (uint32_t i = 1; i < failures && top < max; i++)
		top *= MAX(s->heartbeat_retry_backoff_factor, 1.0);
	top = MIN(top, max);
	/* Between a half and the whole: the workers and instances do not try in step. */
	return (uint64_t)(top * (0.5 + arc4random() / 8589934592.0) * 1e6);
}

void backend_failed(struct backends *b, struct backend *backend)
{
	const bool was_trying = backend->is_trying;

	backend->is_trying = false;
	/* Pools may have begun many at once; the pause must not be that after so many attempts. */
	if (backend->state == BACKEND_GONE || (backend->state == BACKEND_DOWN && !was_trying))
		return;
	backend->failures++;
	backend->retry_ns = loop_now(&b->worker->loop) + pause_ns(b, backend->failures);
	set_state(b, backend, BACKEND_DOWN);
}

void backend_succeeded(struct backends *b, struct backend *backend)
{
	backend->is_trying = false;
	backend->failures = 0;
	if (backend->state == BACKEND_DOWN)
		set_state(b, backend, BACKEND_UP);
}

void backends_note_status(struct backends *b, const struct net_address *address, bool is_up)
{
	struct backend *backend = backends_find(b, address);
	const uint64_t now = loop_now(&b->worker->loop);

	if (!backend)
		return;
	if (is_up) {
		backend->retry_ns = 0;
		return;
	}
	if (backend->state != BACKEND_UP)
		return;
	backend->retry_ns = now + EVENT_PAUSE_NS;
	set_state(b, backend, BACKEND_DOWN);
}

/*
 * A node whose pause is over is tried by a pool that has clients. Without any
 * nobody would find out, so the next client does.
 */
static bool poll_retry(struct loop_poll *poll)
{
	struct backends *b = container_of(poll, struct backends, retry);
	const uint64_t now = loop_now(&b->worker->loop);
	bool is_any_down = false;

	for (unsigned i = 0; i < b->slot_count; i++) {
		struct backend *backend = b->slots[i];

		if (!backend || backend->state != BACKEND_DOWN)
			continue;
		if (!backend->is_trying && now >= backend->retry_ns) {
			backend->is_trying = true;
			if (!pools_try(b->worker, b->cluster, backend)) {
				backend->is_trying = false;
				set_state(b, backend, BACKEND_UP);
			}
		}
		is_any_down |= backend->state == BACKEND_DOWN;
	}
	return is_any_down;
}

void backend_lane_gone(struct backends *b, struct backend *backend)
{
	backend->lanes--;
	if (backend->state == BACKEND_GONE && backend->lanes == 0)
		drop(b, backend);
}
