/* node_stats.c - see node_stats.h */
#include "proxy/node_stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cql/tables.h"

void node_table_init(struct node_table *t, const struct settings *settings)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	t->workers = settings->workers;
	histogram_bounds_from(&t->bounds[NODE_ORIGIN], &settings->buckets[CLUSTER_ORIGIN]);
	histogram_bounds_from(&t->bounds[NODE_TARGET], &settings->buckets[CLUSTER_TARGET]);
	histogram_bounds_from(&t->bounds[NODE_ASYNC], &settings->async_buckets);
}

void node_table_fini(struct node_table *t)
{
	for (unsigned role = 0; role < NODE_ROLES; role++) {
		for (unsigned i = 0; i < node_table_count(t, (enum node_role)role); i++) {
			struct node *node = t->nodes[role][i];

			for (unsigned w = 0; w < t->workers; w++)
				free(atomic_load_explicit(&node->stats[w], memory_order_relaxed));
			free(node);
		}
	}
	pthread_mutex_destroy(&t->lock);
}

/* With the lock held. */
static struct node *find(const struct node_table *t, enum node_role role, const struct net_address *address)
{
	unsigned count = node_table_count(t, role);

	for (unsigned i = 0; i < MIN(count, NODE_TABLE_MAX); i++) {
		if (net_equal(&t->nodes[role][i]->address, address))
			return t->nodes[role][i];
	}
	return count > NODE_TABLE_MAX ? t->nodes[role][NODE_TABLE_MAX] : NULL;
}

/* With the lock held; there is room. */
static struct node *add(struct node_table *t, enum node_role role, const struct net_address *address)
{
	const unsigned count = node_table_count(t, role);
	struct node *node = xcalloc(1, sizeof(*node) + t->workers * sizeof(node->stats[0]));

	if (count < NODE_TABLE_MAX) {
		node->address = *address;
		net_format(address, node->name);
	} else {
		snprintf(node->name, sizeof(node->name), "other");
	}
	node->index = count;
	t->nodes[role][count] = node;
	atomic_store_explicit(&t->count[role], count + 1, memory_order_release);
	return node;
}

struct node_stats *node_stats_get(struct node_table *t, enum node_role role, unsigned worker,
				  const struct net_address *address)
{
	struct node_stats *stats;
	struct node *node;

	Assert(worker < t->workers);
	pthread_mutex_lock(&t->lock);
	node = find(t, role, address);
	if (!node)
		node = add(t, role, address);
	stats = atomic_load_explicit(&node->stats[worker], memory_order_relaxed);
	if (!stats) {
		stats = xcalloc_apart(1, sizeof(*stats));
		stats->bounds = &t->bounds[role];
		stats->node = node;
		atomic_store_explicit(&node->stats[worker], stats, memory_order_release);
	}
	pthread_mutex_unlock(&t->lock);
	return stats;
}

bool node_take(struct node *node, uint32_t limit)
{
	if (atomic_fetch_add_explicit(&node->pooled, 1, memory_order_relaxed) < limit || limit == 0)
		return true;
	node_release(node);
	return false;
}

void node_release(struct node *node)
{
	atomic_fetch_sub_explicit(&node->pooled, 1, memory_order_relaxed);
}

enum node_error node_error_from(uint32_t code)
{
	switch (code) {
	case CQL_ERR_UNAVAILABLE:
		return NODE_ERROR_UNAVAILABLE;
	case CQL_ERR_OVERLOADED:
		return NODE_ERROR_OVERLOADED;
	case CQL_ERR_WRITE_TIMEOUT:
		return NODE_ERROR_WRITE_TIMEOUT;
	case CQL_ERR_READ_TIMEOUT:
		return NODE_ERROR_READ_TIMEOUT;
	case CQL_ERR_READ_FAILURE:
		return NODE_ERROR_READ_FAILURE;
	case CQL_ERR_WRITE_FAILURE:
		return NODE_ERROR_WRITE_FAILURE;
	case CQL_ERR_UNPREPARED:
		return NODE_ERROR_UNPREPARED;
	default:
		return NODE_ERROR_OTHER;
	}
}

const char *node_error_label(enum node_error error)
{
	static const char *const labels[] = {
#define X(name, label) [NODE_ERROR_##name] = label,
		NODE_ERRORS(X)
#undef X
	};

	return labels[error];
}
