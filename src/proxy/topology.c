/* topology.c - see topology.h */
#include "proxy/topology.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

/* Hosts while they are gathered. */
struct host_list {
	struct host *items;
	unsigned count;
	unsigned cap;
};

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

/* A row as a host owns it; the columns keep their order. */
static void copy_values(struct host *host, const struct rows *rows, uint32_t row)
{
	host->values = xcalloc(MAX(rows->column_count, 1u), sizeof(*host->values));
	host->value_count = rows->column_count;
	for (uint32_t i = 0; i < rows->column_count; i++) {
		struct bytesview from = rows->values[(size_t)row * rows->column_count + i];
		struct node_value *to = &host->values[i];

		to->column = xstrndup(rows->columns[i].name.p, rows->columns[i].name.len);
		if (from.is_null)
			continue;
		to->len = from.len;
		to->value = xmalloc(MAX(from.len, 1u));
		memcpy(to->value, from.p, from.len);
	}
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

/* ---- one row ---- */

static bool read_address(const struct rows *rows, uint32_t row, const char *column, uint16_t port,
			 struct net_address *out)
{
	struct bytesview v = rows_value(rows, row, column);

	return !v.is_null && net_from_bytes(v.p, v.len, port, out);
}

/*
 * Where the control connection's own node takes connections. Cassandra 2.0 has
 * no rpc_address in system.local; 0.0.0.0 is what a node says that listens
 * everywhere. The address we reached it at is then the best there is.
 */
static void local_address(const struct topology_source *source, const struct rows *rows, struct net_address *out)
{
	uint16_t port = source->settings->cluster[source->id].port;

	if (!read_address(rows, 0, "rpc_address", port, out)) {
		*out = source->contact;
		return;
	}
	if (!net_is_any(out))
		return;
	if (!read_address(rows, 0, "broadcast_address", port, out) || net_is_any(out))
		*out = source->contact;
}

/* False with the column that makes the row unusable. */
static bool peer_address(const struct topology_source *source, const struct rows *rows, uint32_t row,
			 struct net_address *out, const char **missing)
{
	uint16_t port = source->settings->cluster[source->id].port;

	*missing = "rpc_address";
	if (!read_address(rows, row, "rpc_address", port, out))
		return false;
	if (!net_is_any(out))
		return true;
	*missing = "peer";
	return read_address(rows, row, "peer", port, out) && !net_is_any(out);
}

/* False with the column that is missing; then nothing is owned. */
static bool read_identity(struct host *host, const struct rows *rows, uint32_t row, const char **missing)
{
	struct bytesview id = rows_value(rows, row, "host_id");
	struct bytesview datacenter = rows_value(rows, row, "data_center");
	struct bytesview rack = rows_value(rows, row, "rack");

	*missing = id.len != sizeof(host->host_id) ? "host_id"
		   : datacenter.is_null            ? "data_center"
		   : rack.is_null                  ? "rack"
						   : NULL;
	if (*missing)
		return false;
	memcpy(host->host_id, id.p, sizeof(host->host_id));
	host->datacenter = copy_text(datacenter);
	host->rack = copy_text(rack);
	return true;
}

static bool read_local(struct host *host, const struct topology_source *source, const struct rows *rows,
		       const char **missing)
{
	*host = (struct host){ .is_local_row = true };
	if (!read_identity(host, rows, 0, missing))
		return false;
	local_address(source, rows, &host->address);
	net_format(&host->address, host->name);
	copy_values(host, rows, 0);
	return true;
}

static bool read_peer(struct host *host, const struct topology_source *source, const struct rows *rows, uint32_t row,
		      const char **missing)
{
	*host = (struct host){ .is_local_row = false };
	if (!peer_address(source, rows, row, &host->address, missing) || !read_identity(host, rows, row, missing))
		return false;
	net_format(&host->address, host->name);
	copy_values(host, rows, row);
	return true;
}

/* ---- all rows ---- */

static struct host *list_add(struct host_list *l)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
	}
	return &l->items[l->count++];
}

static void read_peers(struct host_list *all, const struct topology_source *source, const struct rows *peers)
{
	const char *missing;
	struct host host;

	for (uint32_t row = 0; row < peers->row_count; row++) {
		if (read_peer(&host, source, peers, row, &missing)) {
			*list_add(all) = host;
			continue;
		}
		log_limited(LOG_WARN, "%s: row %u of system.peers is left out: it has no usable %s",
			    cluster_id_name(source->id), row + 1, missing);
	}
}

/* By host id, rows that came later last. */
static int compare_ids(const void *a, const void *b)
{
	const struct host *x = *(struct host *const *)a;
	const struct host *y = *(struct host *const *)b;
	int order = memcmp(x->host_id, y->host_id, sizeof(x->host_id));

	return order ? order : (x > y) - (x < y);
}

/* Of several rows with one host id the last stays, so the local row, which is gathered last, always does. */
static void drop_duplicates(struct host_list *all, enum cluster_id id)
{
	struct host **order = xcalloc(MAX(all->count, 1u), sizeof(*order));
	char text[UUID_TEXT_MAX];
	unsigned kept = 0;

	for (unsigned i = 0; i < all->count; i++)
		order[i] = &all->items[i];
	qsort(order, all->count, sizeof(*order), compare_ids);
	for (unsigned i = 0; i + 1 < all->count; i++) {
		if (memcmp(order[i]->host_id, order[i + 1]->host_id, sizeof(order[i]->host_id)) != 0)
			continue;
		log_limited(LOG_WARN, "%s: host id %s stands in several rows (%s and %s); the latter is used",
			    cluster_id_name(id), topology_format_uuid(order[i]->host_id, text), order[i]->name,
			    order[i + 1]->name);
		host_fini(order[i]);
	}
	free(order);
	for (unsigned i = 0; i < all->count; i++) {
		if (all->items[i].values)
			all->items[kept++] = all->items[i];
	}
	all->count = kept;
}

/* ---- the local datacenter ---- */

static unsigned count_in(const struct host_list *all, const char *datacenter)
{
	unsigned n = 0;

	for (unsigned i = 0; i < all->count; i++)
		n += strcmp(all->items[i].datacenter, datacenter) == 0;
	return n;
}

/* NULL, with the reason, when the one that was kept so far has no node any more. */
static const char *choose_datacenter(const struct topology_source *source, const struct host_list *all,
				     const struct host *local, char *error, size_t error_size)
{
	const char *configured = source->settings->cluster[source->id].local_datacenter;

	if (configured && *configured) {
		if (count_in(all, configured) > 0)
			return configured;
		log_limited(LOG_WARN, "%s: no node is in the configured local_datacenter %s; using %s of node %s",
			    cluster_id_name(source->id), configured, local->datacenter, local->name);
		return local->datacenter;
	}
	if (!source->datacenter)
		return local->datacenter;
	if (count_in(all, source->datacenter) > 0)
		return source->datacenter;
	snprintf(error, error_size, "no node is left in datacenter %s, which was used so far", source->datacenter);
	return NULL;
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

/* Moves all hosts into the snapshot, sorted, those of the datacenter first. */
static void take_hosts(struct topology *t, struct host_list *all, const char *datacenter)
{
	t->hosts = all->items;
	t->all_count = all->count;
	*all = (struct host_list){ .items = NULL };
	for (unsigned i = 0; i < t->all_count; i++) {
		bool is_local = strcmp(t->hosts[i].datacenter, datacenter) == 0;

		t->hosts[i].tier = is_local ? 0 : HOST_TIER_REMOTE;
		t->local_count += is_local;
	}
	t->host_count = t->local_count;
	qsort(t->hosts, t->all_count, sizeof(*t->hosts), compare_places);
}

const char *topology_datacenter(const struct topology *t)
{
	return t->local_count > 0 ? t->hosts[0].datacenter : NULL;
}

bool topology_schema_agrees(const struct topology *t)
{
	struct bytesview first = { .is_null = true };

	for (unsigned i = 0; i < t->local_count; i++) {
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

static void take_column_names(struct topology *t, const struct rows *peers)
{
	t->peer_columns.items = xcalloc(MAX(peers->column_count, 1u), sizeof(*t->peer_columns.items));
	t->peer_columns.count = peers->column_count;
	for (uint32_t i = 0; i < peers->column_count; i++)
		t->peer_columns.items[i] = xstrndup(peers->columns[i].name.p, peers->columns[i].name.len);
}

static enum topology_result fill_hosts(struct topology *t, const struct topology_source *source, struct host_list *all,
				       const struct rows *local, const struct rows *peers, char *error,
				       size_t error_size)
{
	const char *datacenter;
	const char *missing;
	struct host host;

	if (!read_local(&t->local, source, local, &missing)) {
		snprintf(error, error_size, "its row in system.local has no usable %s", missing);
		return TOPOLOGY_BAD;
	}
	read_peers(all, source, peers);
	if (read_local(&host, source, local, &missing))
		*list_add(all) = host;
	drop_duplicates(all, source->id);
	datacenter = choose_datacenter(source, all, &t->local, error, error_size);
	if (!datacenter)
		return TOPOLOGY_BAD;
	take_hosts(t, all, datacenter);
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
	take_column_names(t, peers);
	result = fill_hosts(t, source, &all, local, peers, error, error_size);
	for (unsigned i = 0; i < all.count; i++)
		host_fini(&all.items[i]);
	free(all.items);
	if (result == TOPOLOGY_OK)
		assign(t, source->settings);
	return result;
}
