/* settings.c - the names of the two clusters. */
#include "proxy/settings.h"

#include <string.h>

static const char *const lower_names[CLUSTER_COUNT] = { "origin", "target" };
static const char *const upper_names[CLUSTER_COUNT] = { "ORIGIN", "TARGET" };

const char *cluster_id_name(enum cluster_id id)
{
	Assert((unsigned)id < CLUSTER_COUNT);
	return lower_names[id];
}

const char *cluster_id_upper(enum cluster_id id)
{
	Assert((unsigned)id < CLUSTER_COUNT);
	return upper_names[id];
}

static bool texts_equal(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool lists_equal(const struct string_list *a, const struct string_list *b)
{
	for (unsigned i = 0; i < MIN(a->count, b->count); i++) {
		if (!texts_equal(a->items[i], b->items[i]))
			return false;
	}
	return a->count == b->count;
}

static bool maps_equal(const struct address_map *a, const struct address_map *b)
{
	for (unsigned i = 0; i < MIN(a->count, b->count); i++) {
		if (!net_equal(&a->items[i].from, &b->items[i].from) || !net_equal(&a->items[i].to, &b->items[i].to))
			return false;
	}
	return a->count == b->count;
}

bool settings_lead_elsewhere(const struct cluster_settings *a, const struct cluster_settings *b)
{
	return !lists_equal(&a->contact_points, &b->contact_points) || a->port != b->port || a->tls != b->tls ||
	       !texts_equal(a->tls_server_name, b->tls_server_name);
}

bool settings_change_encryption(const struct cluster_settings *a, const struct cluster_settings *b)
{
	return a->tls != b->tls || !texts_equal(a->tls_ca, b->tls_ca) || !texts_equal(a->tls_cert, b->tls_cert) ||
	       !texts_equal(a->tls_key, b->tls_key) || !texts_equal(a->tls_server_name, b->tls_server_name);
}

bool settings_change_nodes(const struct settings *a, const struct settings *b, enum cluster_id id)
{
	const struct cluster_settings *ca = &a->cluster[id], *cb = &b->cluster[id];

	return !texts_equal(ca->local_datacenter, cb->local_datacenter) || ca->node_ports != cb->node_ports ||
	       !lists_equal(&ca->fallback_datacenters, &cb->fallback_datacenters) ||
	       !maps_equal(&ca->address_map, &cb->address_map) ||
	       ca->enable_host_assignment != cb->enable_host_assignment || a->topology_index != b->topology_index ||
	       a->topology_addresses.count != b->topology_addresses.count;
}
