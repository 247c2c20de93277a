/* cluster.c - see cluster.h */
#include "proxy/cluster.h"

#include <stdlib.h>

#include "proxy/topology.h"

void cluster_init(struct cluster *c, enum cluster_id id, const struct cluster_settings *settings)
{
	c->id = id;
	c->settings = settings;
	c->topology = NULL;
	pthread_mutex_init(&c->lock, NULL);
	atomic_init(&c->next_host, 0);
	atomic_init(&c->failures, 0);
}

void cluster_fini(struct cluster *c)
{
	topology_unref(c->topology);
	c->topology = NULL;
	pthread_mutex_destroy(&c->lock);
}

/* ---- snapshots ---- */

struct topology *topology_new(void)
{
	struct topology *t = xcalloc(1, sizeof(*t));

	atomic_init(&t->refs, 1);
	return t;
}

static void topology_free(struct topology *t)
{
	for (unsigned i = 0; i < t->host_count; i++)
		host_fini(&t->hosts[i]);
	host_fini(&t->local);
	for (unsigned i = 0; i < t->peer_columns.count; i++)
		free(t->peer_columns.items[i]);
	free(t->peer_columns.items);
	free(t->hosts);
	free(t->assigned);
	free(t->cql_version);
	free(t->cluster_name);
	free(t->partitioner);
	free(t->contact_host);
	free(t);
}

void topology_unref(struct topology *t)
{
	if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		topology_free(t);
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

void cluster_publish(struct cluster *c, struct topology *t)
{
	struct topology *old;

	pthread_mutex_lock(&c->lock);
	old = c->topology;
	c->topology = t;
	pthread_mutex_unlock(&c->lock);
	topology_unref(old);
}

/* ---- questions ---- */

bool cluster_pick_host(struct cluster *c, struct net_address *out)
{
	struct topology *t = cluster_topology(c);
	uint32_t turn;

	if (!t)
		return false;
	if (!c->settings->enable_host_assignment || t->assigned_count == 0) {
		*out = t->contact;
	} else {
		turn = atomic_fetch_add_explicit(&c->next_host, 1, memory_order_relaxed) + 1;
		*out = t->hosts[t->assigned[turn % t->assigned_count]].address;
	}
	topology_unref(t);
	return true;
}

/* The highest protocol version of one cluster, 0 before it is known. */
static uint8_t cluster_version(struct cluster *c)
{
	struct topology *t = cluster_topology(c);
	uint8_t version = t ? t->version : 0;

	topology_unref(t);
	return version;
}

uint8_t clusters_common_version(struct cluster *clusters, const struct settings *settings)
{
	uint8_t highest = settings->max_protocol_version;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		highest = MIN(highest, cluster_version(&clusters[i]));
	for (; highest >= FRAME_VERSION_MIN; highest--) {
		if (!(settings->blocked_versions & 1u << highest))
			return highest;
	}
	return 0;
}
