/* cluster.c - see cluster.h */
#include "proxy/cluster.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "proxy/keyspaces.h"
#include "proxy/ring.h"
#include "proxy/schema_state.h"
#include "proxy/sni.h"
#include "proxy/topology.h"

void cluster_init(struct cluster *c, enum cluster_id id, const struct cluster_settings *settings)
{
	c->id = id;
	c->settings = settings;
	c->sni = NULL;
	c->topology = NULL;
	pthread_mutex_init(&c->lock, NULL);
	atomic_init(&c->next_host, 0);
	atomic_init(&c->down_count, 0);
	atomic_init(&c->failures, 0);
}

void cluster_fini(struct cluster *c)
{
	topology_unref(c->topology);
	c->topology = NULL;
	sni_free(c->sni);
	c->sni = NULL;
	pthread_mutex_destroy(&c->lock);
}

/* ---- snapshots ---- */

struct topology *topology_new(void)
{
	struct topology *t = xcalloc(1, sizeof(*t));

	atomic_init(&t->refs, 1);
	return t;
}

/* Nodes that move are few, and clients that are connected to where they were do not stay for ever. */
#define FORMER_MAX 64

static void topology_free(struct topology *t)
{
	for (unsigned i = 0; i < t->all_count; i++)
		host_fini(&t->hosts[i]);
	host_fini(&t->local);
	keyspaces_free(t);
	ring_unref(t->ring);
	free(t->authenticator);
	free(t->datacenter);
	for (unsigned i = 0; i < t->peer_columns.count; i++)
		free(t->peer_columns.items[i]);
	free(t->peer_columns.items);
	free(t->hosts);
	free(t->former);
	free(t->assigned);
	free(t->options);
	free(t->cluster_name);
	free(t->partitioner);
	free(t->contact_host);
	free(t);
}

struct topology *topology_ref(struct topology *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void topology_unref(struct topology *t)
{
	if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		topology_free(t);
}

static bool is_former(const struct topology *t, const struct net_address *address)
{
	for (unsigned i = 0; i < t->former_count; i++) {
		if (net_equal(&t->former[i].address, address))
			return true;
	}
	return false;
}

static bool is_current(const struct topology *t, const struct net_address *address)
{
	for (unsigned i = 0; i < t->all_count; i++) {
		if (net_equal(&t->hosts[i].address, address))
			return true;
	}
	return false;
}

bool topology_has_node(const struct topology *t, const struct net_address *address)
{
	return is_current(t, address) || is_former(t, address);
}

static const struct host *find_host_id(const struct topology *t, const uint8_t host_id[16])
{
	for (unsigned i = 0; i < t->all_count; i++) {
		if (memcmp(t->hosts[i].host_id, host_id, 16) == 0)
			return &t->hosts[i];
	}
	return NULL;
}

static void add_former(struct topology *t, const struct net_address *address, const uint8_t host_id[16])
{
	struct former_place *f;

	if (!t->former)
		t->former = xcalloc(FORMER_MAX, sizeof(*t->former));
	f = &t->former[t->former_count++];
	f->address = *address;
	memcpy(f->host_id, host_id, sizeof(f->host_id));
}

/* Where nodes of `old` have moved away from, and what was known of such moves, but for places that are taken again and
 * nodes that are gone. */
static void follow_moves(struct topology *t, const struct topology *old)
{
	for (unsigned i = 0; i < old->former_count; i++) {
		const struct former_place *f = &old->former[i];

		if (!is_current(t, &f->address) && find_host_id(t, f->host_id))
			add_former(t, &f->address, f->host_id);
	}
	for (unsigned i = 0; i < old->all_count && t->former_count < FORMER_MAX; i++) {
		const struct host *h = &old->hosts[i];
		const struct host *now = find_host_id(t, h->host_id);

		if (now && !net_equal(&now->address, &h->address) && !topology_has_node(t, &h->address))
			add_former(t, &h->address, h->host_id);
	}
}

struct topology *cluster_topology(struct cluster *c)
{
	struct topology *t;

	pthread_mutex_lock(&c->lock);
	t = c->topology;
	if (t)
		atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
	return t;
}

/* ---- compression ---- */

static bool is_offered(const struct topology *t, enum cql_compression compression)
{
	switch (compression) {
	case COMPRESSION_LZ4:
		return t->offers_lz4;
	case COMPRESSION_SNAPPY:
		return t->offers_snappy;
	case COMPRESSION_NONE:
		break;
	}
	return true;
}

/* The algorithm that the settings fix; false when the client's counts. */
static bool fixed_compression(const struct cluster *c, enum cql_compression *out)
{
	static const uint8_t fixed[] = {
		[LEG_COMPRESSION_NONE] = COMPRESSION_NONE,
		[LEG_COMPRESSION_LZ4] = COMPRESSION_LZ4,
		[LEG_COMPRESSION_SNAPPY] = COMPRESSION_SNAPPY,
	};

	if (c->settings->compression == LEG_COMPRESSION_AUTO)
		return false;
	*out = (enum cql_compression)fixed[c->settings->compression];
	return true;
}

enum cql_compression cluster_compression(struct cluster *c, enum cql_compression client_uses, uint8_t version)
{
	enum cql_compression wanted = client_uses;
	struct topology *t;
	bool offered;

	(void)fixed_compression(c, &wanted);
	/* Native protocol v5, section 5: its segments know lz4 only. */
	if (wanted == COMPRESSION_NONE || (wanted == COMPRESSION_SNAPPY && version_has(version, VERSION_SEGMENTS)))
		return COMPRESSION_NONE;
	t = cluster_topology(c);
	offered = t && is_offered(t, wanted);
	topology_unref(t);
	return offered ? wanted : COMPRESSION_NONE;
}

/* A fixed algorithm that this cluster lacks; said once, and again when the cluster changes its mind. */
static void warn_of_compression(const struct cluster *c, const struct topology *old, const struct topology *t)
{
	enum cql_compression wanted;

	if (fixed_compression(c, &wanted) && !is_offered(t, wanted) && (!old || is_offered(old, wanted)))
		log_warn(
			"%s does not offer the compression %s that [%s] compression asks for: its connections have none",
			cluster_id_name(c->id), cql_compression_name(wanted), cluster_id_name(c->id));
}

static struct down_host *find_down_locked(struct cluster *c, const struct net_address *host)
{
	for (unsigned i = 0; i < c->down_count; i++) {
		if (net_equal(&c->down[i].address, host))
			return &c->down[i];
	}
	return NULL;
}

/* A node that refused a connection, or of which the cluster said so, and that nobody has seen since. */
static bool is_missing(struct cluster *c, const struct net_address *host)
{
	bool missing;

	pthread_mutex_lock(&c->lock);
	missing = find_down_locked(c, host);
	pthread_mutex_unlock(&c->lock);
	return missing;
}

/* Drivers, too, leave out the versions of nodes that are down: they stay what they were until the node is back. */
static bool schema_agrees(struct cluster *c, const struct topology *t)
{
	const struct bytesview own = host_value(&t->local, "schema_version");

	for (unsigned i = 0; i < t->all_count; i++) {
		const struct bytesview v = host_value(&t->hosts[i], "schema_version");

		if (!own.is_null && !v.is_null && (v.len != own.len || memcmp(v.p, own.p, v.len) != 0) &&
		    !is_missing(c, &t->hosts[i].address))
			return false;
	}
	return true;
}

void cluster_publish(struct cluster *c, struct topology *t)
{
	struct topology *old = c->topology; /* which nobody else changes */

	if (old)
		follow_moves(t, old);
	schema_state_follow(t, old, loop_clock_ns());
	t->schema_agrees = schema_agrees(c, t);
	if (old && topology_places_alike(old, t))
		t->ring = ring_share(old->ring);
	else if (t->keyspace_count > 0) /* else nobody has replicas */
		t->ring = ring_build(t, c->id);
	pthread_mutex_lock(&c->lock);
	c->topology = t;
	pthread_mutex_unlock(&c->lock);
	warn_of_compression(c, old, t);
	topology_unref(old);
}

/* ---- questions ---- */

/* A place for one more: a new one, else that of a node whose time is over, which nobody may ever have come back to. */
static struct down_host *new_down_locked(struct cluster *c, uint64_t now)
{
	if (c->down_count < CLUSTER_MAX_DOWN)
		return &c->down[c->down_count++];
	for (unsigned i = 0; i < c->down_count; i++) {
		if (c->down[i].until_ns <= now)
			return &c->down[i];
	}
	return NULL;
}

void cluster_mark_down(struct cluster *c, const struct net_address *host, uint32_t for_ms)
{
	const uint64_t now = loop_clock_ns();
	struct down_host *d;

	pthread_mutex_lock(&c->lock);
	d = find_down_locked(c, host);
	if (!d)
		d = new_down_locked(c, now);
	if (d)
		*d = (struct down_host){ .address = *host, .until_ns = now + for_ms * 1000000ull };
	pthread_mutex_unlock(&c->lock);
}

void cluster_mark_up(struct cluster *c, const struct net_address *host)
{
	struct down_host *d;

	if (atomic_load_explicit(&c->down_count, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&c->lock);
	d = find_down_locked(c, host);
	if (d)
		*d = c->down[--c->down_count];
	pthread_mutex_unlock(&c->lock);
}

static bool is_down(struct cluster *c, const struct net_address *host)
{
	const struct down_host *d;
	bool down;

	if (atomic_load_explicit(&c->down_count, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&c->lock);
	d = find_down_locked(c, host);
	down = d && d->until_ns > loop_clock_ns();
	pthread_mutex_unlock(&c->lock);
	return down;
}

/* Once round the hosts [from .. to): the first one that is not down. */
static const struct host *pick_between(struct cluster *c, const struct topology *t, unsigned from, unsigned to)
{
	const unsigned n = to - from;
	const uint32_t turn = n ? atomic_fetch_add_explicit(&c->next_host, 1, memory_order_relaxed) + 1 : 0;

	for (unsigned i = 0; i < n; i++) {
		const struct host *host = &t->hosts[from + (turn + i) % n];

		if (!is_down(c, &host->address))
			return host;
	}
	return NULL;
}

/* The other hosts of the local datacenter, then the fallback datacenters one after the other. */
static const struct host *pick_another(struct cluster *c, const struct topology *t)
{
	const struct host *found = pick_between(c, t, 0, t->local_count);
	unsigned to;

	for (unsigned from = t->local_count; !found && from < t->host_count; from = to) {
		to = from + 1;
		while (to < t->host_count && t->hosts[to].tier == t->hosts[from].tier)
			to++;
		found = pick_between(c, t, from, to);
	}
	return found;
}

static const struct host *pick_host(struct cluster *c, const struct topology *t)
{
	const struct host *host = NULL, *another;

	/* One more turn than there are hosts: when all are down, the one whose turn it was. */
	for (unsigned i = 0; t->assigned_count > 0 && i <= t->assigned_count; i++) {
		uint32_t turn = atomic_fetch_add_explicit(&c->next_host, 1, memory_order_relaxed) + 1;

		host = &t->hosts[t->assigned[turn % t->assigned_count]];
		if (!is_down(c, &host->address))
			return host;
	}
	another = pick_another(c, t);
	return another ? another : host;
}

bool cluster_pick_host(struct cluster *c, struct net_address *out)
{
	struct topology *t = cluster_topology(c);
	const struct host *host = NULL;

	if (!t)
		return false;
	if (c->settings->enable_host_assignment)
		host = pick_host(c, t);
	*out = host ? host->address : t->contact;
	topology_unref(t);
	return true;
}

bool cluster_load(struct cluster *c, char *error, size_t error_size)
{
	if (!c->settings->secure_connect_bundle)
		return true;
	c->sni = sni_new(c->id, c->settings->secure_connect_bundle, error, error_size);
	return c->sni != NULL;
}

void cluster_reach(struct cluster *c, const struct net_address *node, struct reach *out)
{
	const char *name = c->settings->tls_server_name;
	char ip[NET_TEXT_MAX];

	if (c->sni) {
		sni_reach(c->sni, node, out);
		return;
	}
	out->address = *node;
	out->sni[0] = '\0';
	snprintf(out->server_name, sizeof(out->server_name), "%s", name ? name : net_format_ip(node, ip));
}

uint32_t clusters_served_versions(struct cluster *clusters, const struct settings *settings)
{
	uint32_t set = version_set_up_to(VERSION_SET_ALL & ~settings->blocked_versions, settings->max_protocol_version);

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct topology *t = cluster_topology(&clusters[i]);

		/* One that is not known yet is only possible where it need not be known. */
		if (t)
			set &= t->versions;
		else if (settings->ready_when == READY_WHEN_BOTH)
			set = 0;
		topology_unref(t);
	}
	return set;
}

uint8_t clusters_lower_version(struct cluster *clusters)
{
	uint8_t lower = UINT8_MAX;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct topology *t = cluster_topology(&clusters[i]);

		lower = MIN(lower, t ? t->version : 0);
		topology_unref(t);
	}
	return lower;
}
