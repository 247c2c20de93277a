/* proxy.c - see proxy.h */
#include "proxy/proxy.h"

#include <string.h>

#include "proxy/counters.h"

void proxy_init(struct proxy *proxy, const struct settings *settings)
{
	memset(proxy, 0, sizeof(*proxy));
	proxy->settings = settings;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		cluster_init(&proxy->clusters[i], (enum cluster_id)i, &settings->cluster[i]);
	prepared_table_init(&proxy->prepared, settings->prepared_cache_entries, settings->prepared_cache_memory);
	flights_init(&proxy->repairs);
	flights_init(&proxy->mirror_repairs);
	node_table_init(&proxy->nodes, settings);
	divergences_init(&proxy->divergences);
	traces_init(&proxy->traces);
	limits_init(&proxy->limits);
	gate_init(&proxy->gate, proxy);
	proxy->counters = counters_new(settings->workers);
	request_ids_init(&proxy->request_ids, settings->tracing_rate_limit);
	/* Writes are measured with origin's buckets, as ZDM has it. */
	histogram_bounds_from(&proxy->bounds[REQUEST_READS_ORIGIN], &settings->buckets[CLUSTER_ORIGIN]);
	histogram_bounds_from(&proxy->bounds[REQUEST_READS_TARGET], &settings->buckets[CLUSTER_TARGET]);
	histogram_bounds_from(&proxy->bounds[REQUEST_WRITES], &settings->buckets[CLUSTER_ORIGIN]);
}

void proxy_set_settings(struct proxy *proxy, const struct settings *settings)
{
	proxy->settings = settings;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		proxy->clusters[i].settings = &settings->cluster[i];
	prepared_table_set_bounds(&proxy->prepared, settings->prepared_cache_entries, settings->prepared_cache_memory);
	request_ids_set_rate(&proxy->request_ids, settings->tracing_rate_limit);
}

bool proxy_load(struct proxy *proxy, char *error, size_t error_size)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!cluster_load(&proxy->clusters[i], error, error_size))
			return false;
	}
	return true;
}

void proxy_fini(struct proxy *proxy)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		cluster_fini(&proxy->clusters[i]);
	prepared_table_fini(&proxy->prepared);
	flights_fini(&proxy->repairs);
	flights_fini(&proxy->mirror_repairs);
	node_table_fini(&proxy->nodes);
	divergences_fini(&proxy->divergences);
	traces_fini(&proxy->traces);
	gate_fini(&proxy->gate);
	limits_fini(&proxy->limits);
	counters_free(proxy->counters);
}
