/* topology_rows.c - see topology_rows.h */
#include "proxy/topology_rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

/* ---- values ---- */

static bool is_v2(const struct rows *peers)
{
	return rows_find(peers, "native_address") >= 0;
}

static const char *table_name(const struct rows *peers)
{
	return is_v2(peers) ? "system.peers_v2" : "system.peers";
}

/* What a column of system.peers_v2 is called in system.peers; NULL for one that is not there. */
static const char *old_name(struct strview name, char *buffer, size_t size)
{
	if (sv_equal(name, SV("peer_port")) || sv_equal(name, SV("native_port")) ||
	    sv_equal(name, SV("preferred_port")))
		return NULL;
	if (sv_equal(name, SV("native_address")))
		return "rpc_address";
	snprintf(buffer, size, "%.*s", (int)name.len, name.p);
	return buffer;
}

static char *column_name(const struct rows *rows, uint32_t column, bool v2)
{
	const struct strview name = rows->columns[column].name;
	char buffer[256];
	const char *old;

	if (!v2)
		return xstrndup(name.p, name.len);
	old = old_name(name, buffer, sizeof(buffer));
	return old ? xstrdup(old) : NULL;
}

static void copy_value(struct host *host, char *column, struct bytesview from)
{
	struct node_value *to = &host->values[host->value_count++];

	to->column = column;
	if (from.is_null)
		return;
	to->len = from.len;
	to->value = xmalloc(MAX(from.len, 1u));
	memcpy(to->value, from.p, from.len);
}

/* A row as a host owns it; the columns keep their order. */
static void copy_values(struct host *host, const struct rows *rows, uint32_t row, bool v2)
{
	host->values = xcalloc(MAX(rows->column_count, 1u), sizeof(*host->values));
	for (uint32_t i = 0; i < rows->column_count; i++) {
		char *name = column_name(rows, i, v2);

		if (name)
			copy_value(host, name, rows->values[(size_t)row * rows->column_count + i]);
	}
}

void topology_rows_columns(struct string_list *out, const struct rows *peers)
{
	const bool v2 = is_v2(peers);

	out->items = xcalloc(MAX(peers->column_count, 1u), sizeof(*out->items));
	for (uint32_t i = 0; i < peers->column_count; i++) {
		char *name = column_name(peers, i, v2);

		if (name)
			out->items[out->count++] = name;
	}
}

/* ---- addresses ---- */

static const struct cluster_settings *settings_of(const struct topology_source *source)
{
	return &source->settings->cluster[source->id];
}

static bool read_address(const struct rows *rows, uint32_t row, const char *column, struct net_address *out)
{
	const struct bytesview v = rows_value(rows, row, column);

	return !v.is_null && net_from_bytes(v.p, v.len, 0, out);
}

/*
 * Where the node says that it speaks CQL; false when it does not say. DSE 6
 * renamed rpc_address and kept the old column, too.
 */
static bool native_address(const struct rows *rows, uint32_t row, struct net_address *out)
{
	return read_address(rows, row, "native_address", out) ||
	       read_address(rows, row, "native_transport_address", out) || read_address(rows, row, "rpc_address", out);
}

/* An [int] that may be a port; 0 when it is none. */
static uint16_t read_port(const struct rows *rows, uint32_t row, const char *column)
{
	const struct bytesview v = rows_value(rows, row, column);
	const uint32_t port = !v.is_null && v.len == 4 ? get_u32(v.p) : 0;

	return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* The port that a row has for our kind of connection; 0 when it has none. */
static uint16_t native_port(const struct topology_source *source, const struct rows *rows, uint32_t row)
{
	static const char *const columns[] = { "native_port", "native_transport_port", "rpc_port" };
	uint16_t port = 0;

	if (settings_of(source)->tls != TLS_NONE)
		port = read_port(rows, row, "native_transport_port_ssl");
	for (unsigned i = 0; port == 0 && i < ARRAY_LEN(columns); i++)
		port = read_port(rows, row, columns[i]);
	return port;
}

static bool same_ip(const struct net_address *a, const struct net_address *b)
{
	uint8_t left[16], right[16];
	const unsigned len = net_to_bytes(a, left);

	return net_to_bytes(b, right) == len && memcmp(left, right, len) == 0;
}

bool topology_translate(const struct address_map *map, struct net_address *a)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct address_mapping *m = &map->items[i];
		const uint16_t port = net_port(a);

		if (!same_ip(&m->from, a))
			continue;
		*a = m->to;
		if (net_port(&m->to) > 0)
			return true;
		net_set_port(a, port);
		return false;
	}
	return false;
}

/*
 * Where the control connection's own node says that it is, without a port.
 * Cassandra 2.0 has no rpc_address in system.local; 0.0.0.0 is what a node says
 * that listens everywhere. False when nothing better is known than how we
 * reached it.
 */
static bool local_address(const struct rows *rows, struct net_address *out)
{
	static const char *const others[] = { "broadcast_address", "listen_address" };

	if (!native_address(rows, 0, out))
		return false;
	for (unsigned i = 0; net_is_any(out) && i < ARRAY_LEN(others); i++) {
		if (!read_address(rows, 0, others[i], out))
			continue;
		if (!net_is_any(out))
			return true;
	}
	return !net_is_any(out);
}

bool topology_rows_believe_ports(const struct topology_source *source, const struct rows *local)
{
	const struct net_address *contact = &source->contact;
	const uint16_t port = native_port(source, local, 0);
	struct net_address a;
	char name[NET_TEXT_MAX];

	if (net_has_node_id(contact) || settings_of(source)->node_ports == NODE_PORTS_CONFIGURED)
		return false;
	if (port == 0 || port == net_port(contact) || !local_address(local, &a))
		return true;
	if (topology_translate(&settings_of(source)->address_map, &a) || !same_ip(&a, contact))
		return true;
	log_limited(LOG_WARN,
		    "%s: node %s says that its port is %u: the ports that the nodes say are not used, but %u for all, "
		    "as with node_ports = configured",
		    cluster_id_name(source->id), net_format(contact, name), port, settings_of(source)->port);
	return false;
}

/*
 * Behind an SNI proxy a node is reached by its host id, and what it says about
 * its address is of no meaning outside. False with the column that is missing.
 */
static bool reach_by_sni(const struct topology_source *source, const struct rows *rows, uint32_t row,
			 struct net_address *out, const char **missing)
{
	const struct bytesview id = rows_value(rows, row, "host_id");

	*missing = "host_id";
	*out = source->contact;
	if (id.is_null || id.len != sizeof(out->node_id))
		return false;
	memcpy(out->node_id, id.p, sizeof(out->node_id));
	return net_has_node_id(out);
}

static void reach_local(const struct topology_source *source, const struct rows *local, bool ports,
			struct net_address *out)
{
	const uint16_t port = ports ? native_port(source, local, 0) : 0;
	const bool discovered = settings_of(source)->node_ports == NODE_PORTS_DISCOVERED;

	if (!local_address(local, out)) {
		*out = source->contact;
		return;
	}
	net_set_port(out, port > 0 ? port : settings_of(source)->port);
	if (topology_translate(&settings_of(source)->address_map, out))
		return;
	/* It answers there. */
	if (discovered && same_ip(out, &source->contact))
		net_set_port(out, net_port(&source->contact));
}

/* False with the column that makes the row unusable. */
static bool reach_peer(const struct topology_source *source, const struct rows *rows, uint32_t row, bool ports,
		       struct net_address *out, const char **missing)
{
	const uint16_t port = ports ? native_port(source, rows, row) : 0;

	if (net_has_node_id(&source->contact))
		return reach_by_sni(source, rows, row, out, missing);
	*missing = is_v2(rows) ? "native_address" : "rpc_address";
	if (!native_address(rows, row, out))
		return false;
	*missing = "peer";
	if (net_is_any(out) && (!read_address(rows, row, "peer", out) || net_is_any(out)))
		return false;
	net_set_port(out, port > 0 ? port : settings_of(source)->port);
	(void)topology_translate(&settings_of(source)->address_map, out);
	return true;
}

/* ---- rows ---- */

static char *copy_text(struct bytesview v)
{
	return v.is_null ? NULL : xstrndup((const char *)v.p, v.len);
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

bool topology_rows_local(struct host *host, const struct topology_source *source, const struct rows *local, bool ports,
			 const char **missing)
{
	*host = (struct host){ .is_local_row = true };
	if (!net_has_node_id(&source->contact))
		reach_local(source, local, ports, &host->address);
	else if (!reach_by_sni(source, local, 0, &host->address, missing))
		return false;
	if (!read_identity(host, local, 0, missing))
		return false;
	net_format(&host->address, host->name);
	copy_values(host, local, 0, false);
	return true;
}

static bool read_peer(struct host *host, const struct topology_source *source, const struct rows *peers, uint32_t row,
		      bool ports, const char **missing)
{
	*host = (struct host){ .is_local_row = false };
	if (!reach_peer(source, peers, row, ports, &host->address, missing) ||
	    !read_identity(host, peers, row, missing))
		return false;
	net_format(&host->address, host->name);
	copy_values(host, peers, row, is_v2(peers));
	return true;
}

struct host *host_list_add(struct host_list *l)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
	}
	return &l->items[l->count++];
}

/* A row that has no identity for us, for a message: its key, as far as it has one. */
static const char *row_name(const struct rows *peers, uint32_t row, char out[NET_TEXT_MAX])
{
	struct net_address a;

	if (read_address(peers, row, "peer", &a))
		return net_format_ip(&a, out);
	snprintf(out, NET_TEXT_MAX, "without an address (row %u)", row + 1);
	return out;
}

unsigned topology_rows_peers(struct host_list *all, const struct topology_source *source, const struct rows *peers,
			     bool ports)
{
	char name[NET_TEXT_MAX];
	const char *missing;
	struct host host;
	unsigned left_out = 0;

	for (uint32_t row = 0; row < peers->row_count; row++) {
		if (read_peer(&host, source, peers, row, ports, &missing)) {
			*host_list_add(all) = host;
			continue;
		}
		left_out++;
		log_limited(LOG_WARN, "%s: peer %s of %s is left out: it has no usable %s", cluster_id_name(source->id),
			    row_name(peers, row, name), table_name(peers), missing);
	}
	return left_out;
}
