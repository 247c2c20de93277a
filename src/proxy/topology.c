/* topology.c - see topology.h */
#include "proxy/topology.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "proxy/topology_rows.h"

/* ---- values ---- */

static const struct node_value *find_value(const struct host *host, const char *column)
{
	for (unsigned i = 0; i < host->value_count; i++) {
		if (strcmp(host->values[i].column, column) == 0)
			return &host->values[i];
	}
	return NULL;
}

struct bytesview host_value(const struct host *host, const char *column)
{
	const struct node_value *v = find_value(host, column);

	if (!v || !v->value)
		return (struct bytesview){ .is_null = true };
	return (struct bytesview){ .p = v->value, .len = v->len };
}

bool host_has_column(const struct host *host, const char *column)
{
	return find_value(host, column) != NULL;
}

const char *topology_format_uuid(const uint8_t uuid[16], char out[UUID_TEXT_MAX])
{
	char *p = out;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", uuid[i]);
	}
	return out;
}

static char *copy_text(struct bytesview v)
{
	return v.is_null ? NULL : xstrndup((const char *)v.p, v.len);
}

void host_fini(struct host *host)
{
	for (unsigned i = 0; i < host->value_count; i++) {
		free(host->values[i].column);
		free(host->values[i].value);
	}
	free(host->values);
	free(host->datacenter);
	free(host->rack);
	*host = (struct host){ .values = NULL };
}

/* ---- duplicates ---- */

/* Rows that came later last. */
static int by_place(const struct host *x, const struct host *y, int order)
{
	return order ? order : (x > y) - (x < y);
}

static int compare_ids(const void *a, const void *b)
{
	const struct host *x = *(struct host *const *)a;
	const struct host *y = *(struct host *const *)b;

	return by_place(x, y, memcmp(x->host_id, y->host_id, sizeof(x->host_id)));
}

static int compare_names(const void *a, const void *b)
{
	const struct host *x = *(struct host *const *)a;
	const struct host *y = *(struct host *const *)b;

	return by_place(x, y, strcmp(x->name, y->name));
}

static bool same_id(const struct host *x, const struct host *y)
{
	return memcmp(x->host_id, y->host_id, sizeof(x->host_id)) == 0;
}

static bool same_name(const struct host *x, const struct host *y)
{
	return strcmp(x->name, y->name) == 0;
}

/* Of several that are the same the last stays, so the local row, which is gathered last, always does. */
static void drop_same(struct host_list *all, enum cluster_id id, int (*compare)(const void *a, const void *b),
		      bool (*is_same)(const struct host *x, const struct host *y))
{
	struct host **order = xcalloc(MAX(all->count, 1u), sizeof(*order));
	char first[UUID_TEXT_MAX], second[UUID_TEXT_MAX];
	unsigned kept = 0;

	for (unsigned i = 0; i < all->count; i++)
		order[i] = &all->items[i];
	qsort(order, all->count, sizeof(*order), compare);
	for (unsigned i = 0; i + 1 < all->count; i++) {
		if (!is_same(order[i], order[i + 1]))
			continue;
		log_limited(
			LOG_WARN,
			"%s: the rows of host id %s at %s and of host id %s at %s are of one node; the latter is used",
			cluster_id_name(id), topology_format_uuid(order[i]->host_id, first), order[i]->name,
			topology_format_uuid(order[i + 1]->host_id, second), order[i + 1]->name);
		host_fini(order[i]);
	}
	free(order);
	for (unsigned i = 0; i < all->count; i++) {
		if (all->items[i].values)
			all->items[kept++] = all->items[i];
	}
	all->count = kept;
}

/* A node has one host id, and there is one node at an address: that of a replaced node can stay behind for a while. */
static void drop_duplicates(struct host_list *all, enum cluster_id id)
{
	drop_same(all, id, compare_ids, same_id);
	drop_same(all, id, compare_names, same_name);
}

/* ---- the local datacenter ---- */

static unsigned count_in(const struct host_list *all, const char *datacenter)
{
	unsigned n = 0;

	for (unsigned i = 0; i < all->count; i++)
		n += strcmp(all->items[i].datacenter, datacenter) == 0;
	return n;
}

/* "dc1, dc2": those that exist among the first nodes, as far as they fit. */
static const char *list_datacenters(const struct host_list *all, char *out, size_t size)
{
	size_t used = 0;

	*out = '\0';
	for (unsigned i = 0; i < MIN(all->count, 1000u) && used < size; i++) {
		const char *name = all->items[i].datacenter;
		bool is_new = true;

		for (unsigned j = 0; is_new && j < i; j++)
			is_new = strcmp(all->items[j].datacenter, name) != 0;
		if (is_new)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
	}
	return out;
}

static bool has_fallback(const struct topology_source *source, const struct host_list *all)
{
	const struct string_list *others = &source->settings->cluster[source->id].fallback_datacenters;

	for (unsigned i = 0; i < others->count; i++) {
		if (count_in(all, others->items[i]) > 0)
			return true;
	}
	return false;
}

/*
 * The one that was used first stays, in ZDM's twin whatever is configured, so
 * that a control connection that moves does not take the traffic with it.
 */
static const char *wanted_datacenter(const struct topology_source *source, const struct host *local)
{
	const char *configured = source->settings->cluster[source->id].local_datacenter;

	if (configured && (!source->datacenter || source->settings->profile != PROFILE_ZDM))
		return configured;
	if (source->datacenter)
		return source->datacenter;
	return source->sni_datacenter ? source->sni_datacenter : local->datacenter;
}

/*
 * At the first snapshot a configured name that no node has is a mistake: ZDM
 * Proxy warns, and takes the contact point's datacenter instead. Later on, when
 * the last node has gone, those of the fallback datacenters must do.
 */
static enum topology_result choose_datacenter(const struct topology_source *source, const struct host_list *all,
					      const struct host *local, const char **datacenter, char *error,
					      size_t error_size)
{
	const bool is_first = !source->datacenter;
	char existing[256];

	*datacenter = wanted_datacenter(source, local);
	if (count_in(all, *datacenter) > 0)
		return TOPOLOGY_OK;
	/* What a bundle's metadata say is no mistake in the configuration. */
	if (is_first && (source->settings->profile == PROFILE_ZDM || source->sni_datacenter)) {
		log_limited(LOG_WARN, "%s: no node is in the %s local_datacenter %s; using %s of node %s",
			    cluster_id_name(source->id), source->sni_datacenter ? "bundle's" : "configured",
			    *datacenter, local->datacenter, local->name);
		*datacenter = local->datacenter;
		return TOPOLOGY_OK;
	}
	if (!is_first && has_fallback(source, all)) {
		log_limited(LOG_WARN, "%s: no node is left in datacenter %s, only those of fallback_datacenters are",
			    cluster_id_name(source->id), *datacenter);
		return TOPOLOGY_OK;
	}
	list_datacenters(all, existing, sizeof(existing));
	if (is_first) {
		snprintf(error, error_size, "no node is in the configured local_datacenter %s; the cluster has %s",
			 *datacenter, existing);
		return TOPOLOGY_HOPELESS;
	}
	snprintf(error, error_size, "no node is in datacenter %s; the cluster has %s", *datacenter, existing);
	return TOPOLOGY_BAD;
}

/* The same order in every instance of the proxy, whichever node it asked. */
static int compare_places(const void *a, const void *b)
{
	const struct host *x = a;
	const struct host *y = b;
	int order = (int)x->tier - y->tier;

	if (!order)
		order = strcmp(x->rack, y->rack);
	return order ? order : memcmp(x->host_id, y->host_id, sizeof(x->host_id));
}

static uint8_t tier_of(const struct host *host, const char *datacenter, const struct string_list *fallbacks)
{
	if (strcmp(host->datacenter, datacenter) == 0)
		return 0;
	for (unsigned i = 0; i < MIN(fallbacks->count, HOST_TIER_REMOTE - 1u); i++) {
		if (strcmp(host->datacenter, fallbacks->items[i]) == 0)
			return (uint8_t)(i + 1);
	}
	return HOST_TIER_REMOTE;
}

/* Moves all hosts into the snapshot, sorted. */
static void take_hosts(struct topology *t, struct host_list *all, const char *datacenter,
		       const struct string_list *fallbacks)
{
	t->hosts = all->items;
	t->all_count = all->count;
	*all = (struct host_list){ .items = NULL };
	for (unsigned i = 0; i < t->all_count; i++) {
		struct host *host = &t->hosts[i];

		host->tier = tier_of(host, datacenter, fallbacks);
		t->local_count += host->tier == 0;
		t->host_count += host->tier != HOST_TIER_REMOTE;
	}
	qsort(t->hosts, t->all_count, sizeof(*t->hosts), compare_places);
}

const char *topology_datacenter(const struct topology *t)
{
	return t->datacenter;
}

bool topology_has(const struct topology *t, const struct net_address *address)
{
	for (unsigned i = 0; i < t->host_count; i++) {
		if (net_equal(&t->hosts[i].address, address))
			return true;
	}
	return false;
}

static void log_missing(const struct topology *from, const struct topology *in, enum cluster_id id, const char *what)
{
	for (unsigned i = 0; i < from->host_count; i++) {
		if (!topology_has(in, &from->hosts[i].address))
			log_info("%s: node %s of datacenter %s %s", cluster_id_name(id), from->hosts[i].name,
				 from->hosts[i].datacenter, what);
	}
}

void topology_log_changes(const struct topology *before, const struct topology *now, enum cluster_id id)
{
	/* More are hardly a cluster, and the main thread has other things to do than to compare them all. */
	if (MAX(now->host_count, before->host_count) > 2000)
		return;
	log_missing(now, before, id, "is new");
	log_missing(before, now, id, "has gone");
}

/*
 * The address by which others speak of a node: ours, but that behind an SNI
 * proxy all nodes have the same, so there it is the one in the node's row,
 * without a port.
 */
static struct net_address known_address(const struct host *host)
{
	static const char *const columns[] = { "rpc_address", "peer", "broadcast_address" };
	struct net_address a = host->address;

	if (!net_has_node_id(&host->address))
		return a;
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
		const struct bytesview v = host_value(host, columns[i]);

		if (!v.is_null && net_from_bytes(v.p, v.len, 0, &a) && !net_is_any(&a))
			return a;
	}
	return host->address;
}

const struct host *topology_find(const struct topology *t, const struct net_address *address)
{
	uint8_t wanted[16], found[16];
	const unsigned len = net_to_bytes(address, wanted);
	const struct host *only = NULL;
	bool is_only = true;

	for (unsigned i = 0; i < t->host_count; i++) {
		const struct host *host = &t->hosts[i];
		const struct net_address known = known_address(host);

		if (net_to_bytes(&known, found) != len || memcmp(found, wanted, len) != 0)
			continue;
		if (net_port(&known) == net_port(address))
			return host;
		is_only = only == NULL;
		only = host;
	}
	return is_only ? only : NULL;
}

bool topology_schema_agrees(const struct topology *t)
{
	struct bytesview first = { .is_null = true };

	for (unsigned i = 0; i < t->all_count; i++) {
		struct bytesview v = host_value(&t->hosts[i], "schema_version");

		if (v.is_null)
			continue;
		if (first.is_null)
			first = v;
		else if (v.len != first.len || memcmp(v.p, first.p, v.len) != 0)
			return false;
	}
	return true;
}

/* ---- comparison ---- */

static bool hosts_alike(const struct host *a, const struct host *b)
{
	const struct bytesview x = host_value(a, "tokens");
	const struct bytesview y = host_value(b, "tokens");

	return a->tier == b->tier && memcmp(a->host_id, b->host_id, sizeof(a->host_id)) == 0 &&
	       strcmp(a->datacenter, b->datacenter) == 0 && strcmp(a->rack, b->rack) == 0 && x.is_null == y.is_null &&
	       x.len == y.len && (x.len == 0 || memcmp(x.p, y.p, x.len) == 0);
}

static bool texts_alike(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool keyspaces_alike(const struct keyspace_replication *a, const struct keyspace_replication *b)
{
	if (!texts_alike(a->keyspace, b->keyspace) || !texts_alike(a->class, b->class) ||
	    a->option_count != b->option_count)
		return false;
	for (unsigned i = 0; i < a->option_count; i++) {
		if (!texts_alike(a->options[i].key, b->options[i].key) ||
		    !texts_alike(a->options[i].value, b->options[i].value))
			return false;
	}
	return true;
}

bool topology_places_alike(const struct topology *a, const struct topology *b)
{
	if (!texts_alike(a->partitioner, b->partitioner) || a->host_count != b->host_count ||
	    a->all_count != b->all_count || a->keyspace_count != b->keyspace_count)
		return false;
	for (unsigned i = 0; i < a->all_count; i++) {
		if (!hosts_alike(&a->hosts[i], &b->hosts[i]))
			return false;
	}
	for (unsigned i = 0; i < a->keyspace_count; i++) {
		if (!keyspaces_alike(&a->keyspaces[i], &b->keyspaces[i]))
			return false;
	}
	return true;
}

/* ---- assignment ---- */

bool topology_is_assigned(unsigned position, unsigned n, unsigned count, unsigned index)
{
	return position % count == index % n;
}

static void assign(struct topology *t, const struct settings *settings)
{
	unsigned count = MAX(settings->topology_addresses.count, 1u);

	t->assigned = xcalloc(MAX(t->local_count, 1u), sizeof(*t->assigned));
	for (unsigned i = 0; i < t->local_count; i++) {
		if (topology_is_assigned(i, t->local_count, count, settings->topology_index))
			t->assigned[t->assigned_count++] = i;
	}
	/* Shuffled, so that instances with equal shares do not visit the nodes in step. */
	for (unsigned i = t->assigned_count; i > 1; i--) {
		unsigned j = arc4random_uniform(i);
		unsigned other = t->assigned[j];

		t->assigned[j] = t->assigned[i - 1];
		t->assigned[i - 1] = other;
	}
}

/* ---- the whole ---- */

static bool contains(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

static enum topology_result check_partitioner(struct topology *t, const struct rows *local, char *error,
					      size_t error_size)
{
	t->partitioner = copy_text(rows_value(local, 0, "partitioner"));
	if (!t->partitioner || contains(t->partitioner, "Murmur3Partitioner") ||
	    contains(t->partitioner, "RandomPartitioner"))
		return TOPOLOGY_OK;
	snprintf(error, error_size,
		 "its partitioner %s is not supported, only Murmur3Partitioner and RandomPartitioner are",
		 t->partitioner);
	return TOPOLOGY_HOPELESS;
}

static enum topology_result fill_hosts(struct topology *t, const struct topology_source *source, struct host_list *all,
				       const struct rows *local, const struct rows *peers, char *error,
				       size_t error_size)
{
	const bool ports = topology_rows_believe_ports(source, local);
	enum topology_result result;
	const char *datacenter;
	const char *missing;
	struct host host;

	if (!topology_rows_local(&t->local, source, local, ports, &missing)) {
		snprintf(error, error_size, "its row in system.local has no usable %s", missing);
		return TOPOLOGY_BAD;
	}
	t->left_out = topology_rows_peers(all, source, peers, ports);
	if (topology_rows_local(&host, source, local, ports, &missing))
		*host_list_add(all) = host;
	drop_duplicates(all, source->id);
	result = choose_datacenter(source, all, &t->local, &datacenter, error, error_size);
	if (result != TOPOLOGY_OK)
		return result;
	t->datacenter = xstrdup(datacenter);
	take_hosts(t, all, datacenter, &source->settings->cluster[source->id].fallback_datacenters);
	return TOPOLOGY_OK;
}

enum topology_result topology_fill(struct topology *t, const struct topology_source *source, const struct rows *local,
				   const struct rows *peers, char *error, size_t error_size)
{
	struct host_list all = { .items = NULL };
	enum topology_result result;

	if (local->row_count == 0) {
		snprintf(error, error_size, "its system.local has no row");
		return TOPOLOGY_BAD;
	}
	if (local->row_count > 1)
		log_limited(LOG_WARN, "%s: system.local has %u rows, the first is used", cluster_id_name(source->id),
			    local->row_count);
	result = check_partitioner(t, local, error, error_size);
	if (result != TOPOLOGY_OK)
		return result;
	t->cluster_name = copy_text(rows_value(local, 0, "cluster_name"));
	if (!t->cluster_name)
		log_limited(LOG_WARN, "%s: system.local has no cluster_name", cluster_id_name(source->id));
	t->contact = source->contact;
	net_format(&source->contact, t->contact_name);
	topology_rows_columns(&t->peer_columns, peers);
	result = fill_hosts(t, source, &all, local, peers, error, error_size);
	for (unsigned i = 0; i < all.count; i++)
		host_fini(&all.items[i]);
	free(all.items);
	if (result == TOPOLOGY_OK)
		assign(t, source->settings);
	return result;
}
