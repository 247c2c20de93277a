/* virtual_values.c - see virtual_values.h */
#include "proxy/virtual_values.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "proxy/topology.h"
#include "proxy/value.h"

/* All instances stand in one rack: nothing is to be learnt from spreading over them. */
#define RACK "rack0"
/* Whatever the cluster has: tokens of ours are Murmur3's, and they only spread drivers over the instances. */
#define PARTITIONER "org.apache.cassandra.dht.Murmur3Partitioner"

/* Where a value comes from. Those above FROM_LAST_OWN exist whatever the real cluster has. */
enum value_source {
	FROM_ADDRESS,
	FROM_PORT,
	FROM_TOKENS,
	FROM_HOST_ID,
	FROM_RACK,
	FROM_PARTITIONER,
	FROM_NOTHING,  /* null */
	FROM_SCHEMA,   /* made of both clusters' versions; zdm: as the next */
	FROM_OWN_HOST, /* the borrowed host's row, but always there */
	FROM_LAST_OWN = FROM_OWN_HOST,
	FROM_ADDRESS_IF, /* the address, if the real cluster has the column */
	FROM_PORT_IF,
	FROM_PORT_BOTH, /* the port, if both clusters have the column and the profile is native */
	FROM_HOST,      /* the borrowed host's row */
	FROM_LOCAL,     /* the row of the node that the control connection is with */
};

struct virtual_column {
	const char *name;
	const struct bytesview *type;
	uint8_t source; /* enum value_source */
};

#define TEXT &rows_type_varchar
#define INET &rows_type_inet
#define UUID &rows_type_uuid
#define INT &rows_type_int
#define BIGINT &rows_type_bigint
#define BOOLEAN &rows_type_boolean
#define TEXTS &rows_type_set_varchar

/* In the order of `SELECT *`, which is ZDM Proxy's. */
static const struct virtual_column local_columns[] = {
	{ "key", TEXT, FROM_LOCAL },
	{ "bootstrapped", TEXT, FROM_LOCAL },
	{ "broadcast_address", INET, FROM_ADDRESS },
	{ "broadcast_port", INT, FROM_PORT_BOTH },
	{ "cluster_name", TEXT, FROM_LOCAL },
	{ "cql_version", TEXT, FROM_LOCAL },
	{ "data_center", TEXT, FROM_OWN_HOST },
	{ "dse_version", TEXT, FROM_HOST },
	{ "gossip_generation", INT, FROM_LOCAL },
	{ "graph", BOOLEAN, FROM_HOST },
	{ "host_id", UUID, FROM_HOST_ID },
	{ "jmx_port", INT, FROM_HOST },
	{ "last_nodesync_checkpoint_time", BIGINT, FROM_LOCAL },
	{ "listen_address", INET, FROM_ADDRESS },
	{ "listen_port", INT, FROM_PORT_BOTH },
	{ "native_protocol_version", TEXT, FROM_LOCAL },
	{ "native_transport_port", INT, FROM_PORT_IF },
	{ "native_transport_port_ssl", INT, FROM_PORT_IF },
	{ "partitioner", TEXT, FROM_PARTITIONER },
	{ "native_transport_address", INET, FROM_ADDRESS_IF },
	{ "rack", TEXT, FROM_RACK },
	{ "release_version", TEXT, FROM_HOST },
	{ "rpc_address", INET, FROM_ADDRESS },
	{ "rpc_port", INT, FROM_PORT_BOTH },
	{ "schema_version", UUID, FROM_SCHEMA },
	{ "server_id", TEXT, FROM_HOST },
	{ "storage_port", INT, FROM_HOST },
	{ "storage_port_ssl", INT, FROM_HOST },
	{ "thrift_version", TEXT, FROM_LOCAL },
	{ "tokens", TEXTS, FROM_TOKENS },
	{ "truncated_at", &rows_type_map_uuid_blob, FROM_NOTHING },
	{ "workload", TEXT, FROM_HOST },
	{ "workloads", TEXTS, FROM_HOST },
};

static const struct virtual_column peer_columns[] = {
	{ "peer", INET, FROM_ADDRESS },
	{ "data_center", TEXT, FROM_OWN_HOST },
	{ "dse_version", TEXT, FROM_HOST },
	{ "graph", BOOLEAN, FROM_HOST },
	{ "host_id", UUID, FROM_HOST_ID },
	{ "jmx_port", INT, FROM_HOST },
	{ "native_transport_address", INET, FROM_ADDRESS_IF },
	{ "native_transport_port", INT, FROM_PORT_IF },
	{ "native_transport_port_ssl", INT, FROM_PORT_IF },
	{ "preferred_ip", INET, FROM_ADDRESS },
	{ "rack", TEXT, FROM_RACK },
	{ "release_version", TEXT, FROM_HOST },
	{ "rpc_address", INET, FROM_ADDRESS },
	{ "schema_version", UUID, FROM_SCHEMA },
	{ "server_id", TEXT, FROM_HOST },
	{ "storage_port", INT, FROM_HOST },
	{ "storage_port_ssl", INT, FROM_HOST },
	{ "tokens", TEXTS, FROM_TOKENS },
	{ "workload", TEXT, FROM_HOST },
	{ "workloads", TEXTS, FROM_HOST },
};

/* Cassandra's order; all or none of it exists. */
static const struct virtual_column peer_v2_columns[] = {
	{ "peer", INET, FROM_ADDRESS },
	{ "peer_port", INT, FROM_PORT },
	{ "data_center", TEXT, FROM_OWN_HOST },
	{ "host_id", UUID, FROM_HOST_ID },
	{ "native_address", INET, FROM_ADDRESS },
	{ "native_port", INT, FROM_PORT },
	{ "preferred_ip", INET, FROM_ADDRESS },
	{ "preferred_port", INT, FROM_PORT },
	{ "rack", TEXT, FROM_RACK },
	{ "release_version", TEXT, FROM_OWN_HOST },
	{ "schema_version", UUID, FROM_SCHEMA },
	{ "tokens", TEXTS, FROM_TOKENS },
};

/* ---- columns ---- */

static const struct strview table_names[] = {
	[VIRTUAL_LOCAL] = SV("local"),
	[VIRTUAL_PEERS] = SV("peers"),
	[VIRTUAL_PEERS_V2] = SV("peers_v2"),
};

struct strview virtual_table_name(enum virtual_table table)
{
	return table_names[table];
}

bool virtual_table_find(struct strview name, enum virtual_table *table)
{
	for (unsigned i = 0; i < ARRAY_LEN(table_names); i++) {
		if (sv_equal(name, table_names[i])) {
			*table = (enum virtual_table)i;
			return true;
		}
	}
	return false;
}

static const struct virtual_column *columns_of(enum virtual_table table, unsigned *count)
{
	if (table == VIRTUAL_LOCAL) {
		*count = ARRAY_LEN(local_columns);
		return local_columns;
	}
	if (table == VIRTUAL_PEERS_V2) {
		*count = ARRAY_LEN(peer_v2_columns);
		return peer_v2_columns;
	}
	*count = ARRAY_LEN(peer_columns);
	return peer_columns;
}

const struct virtual_column *virtual_column_find(enum virtual_table table, struct strview name)
{
	unsigned count;
	const struct virtual_column *columns = columns_of(table, &count);

	for (unsigned i = 0; i < count; i++) {
		if (sv_equal(sv_from(columns[i].name), name))
			return &columns[i];
	}
	return NULL;
}

const struct virtual_column *virtual_column_at(enum virtual_table table, unsigned position)
{
	unsigned count;
	const struct virtual_column *columns = columns_of(table, &count);

	return position < count ? &columns[position] : NULL;
}

static bool peers_have(const struct topology *t, const char *name)
{
	/* A cluster whose system.peers told no columns is judged by its other table. */
	if (t->peer_columns.count == 0)
		return host_has_column(&t->local, name);
	for (unsigned i = 0; i < t->peer_columns.count; i++) {
		if (strcmp(t->peer_columns.items[i], name) == 0)
			return true;
	}
	return false;
}

static bool both_have(const struct virtual_source *source, const char *name)
{
	return source->settings->profile != PROFILE_ZDM && source->other &&
	       host_has_column(&source->topology->local, name) && host_has_column(&source->other->local, name);
}

bool virtual_has_peers_v2(const struct virtual_source *source)
{
	return both_have(source, "rpc_port");
}

enum virtual_key virtual_column_key(const struct virtual_column *column, enum virtual_table table)
{
	if (strcmp(column->name, table == VIRTUAL_LOCAL ? "key" : "peer") == 0)
		return KEY_PARTITION;
	return strcmp(column->name, "peer_port") == 0 ? KEY_CLUSTERING : KEY_NONE;
}

bool virtual_column_exists(const struct virtual_column *column, enum virtual_table table,
			   const struct virtual_source *source)
{
	const struct topology *t = source->topology;

	if (column->source <= FROM_LAST_OWN)
		return true;
	if (column->source == FROM_PORT_BOTH)
		return both_have(source, column->name);
	return table == VIRTUAL_LOCAL ? host_has_column(&t->local, column->name) : peers_have(t, column->name);
}

const char *virtual_column_name(const struct virtual_column *column)
{
	return column->name;
}

struct bytesview virtual_column_type(const struct virtual_column *column)
{
	return *column->type;
}

/* ---- nodes ---- */

unsigned virtual_node_count(const struct settings *settings)
{
	return MAX(settings->topology_addresses.count, 1u);
}

void virtual_host_id(const uint8_t *address, unsigned len, bool mapped, uint8_t out[16])
{
	static const uint8_t mapping[12] = { [10] = 0xff, [11] = 0xff };
	uint8_t text[16 + 16] = { 0 }; /* the name space, then the address */
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 16;

	if (len == 4 && mapped) {
		memcpy(text + n, mapping, sizeof(mapping));
		n += sizeof(mapping);
	}
	memcpy(text + n, address, len);
	/* SHA-1 over a few bytes has no reason to fail; an id of zeros would still be answered as one. */
	if (!EVP_Digest(text, n + len, digest, NULL, EVP_sha1(), NULL))
		memset(digest, 0, 16);
	memcpy(out, digest, 16);
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x50);
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

int64_t virtual_token(unsigned count, unsigned num_tokens, unsigned i, unsigned t)
{
	/* One token alone makes the step 2^64, which needs more than 64 bits. */
	unsigned __int128 step = ((unsigned __int128)1 << 64) / ((unsigned __int128)num_tokens * count);
	unsigned __int128 offset = step * ((unsigned __int128)t * count + i);

	/* Subtracting 2^63 is turning the highest bit round. */
	return (int64_t)((uint64_t)offset ^ UINT64_C(1) << 63);
}

/*
 * Without configured addresses a driver sees the address at which it reached
 * us. That is the listener's own one, except where it listens everywhere:
 * ZDM Proxy then says 0.0.0.0, which helps no driver. As ZDM Proxy does it, the
 * id of a configured address is made from its 16-byte form, that of a
 * listener's from the 4-byte form, and 127.0.0.1 stands in for none at all.
 */
void virtual_node_place(const struct settings *s, const struct net_address *local, unsigned index,
			struct virtual_node *out)
{
	struct net_address a;
	bool mapped = true;

	*out = (struct virtual_node){ .index = index, .port = net_port(local) };
	if (index < s->topology_addresses.count && net_parse_ip(s->topology_addresses.items[index], 0, &a)) {
		out->address_len = net_to_bytes(&a, out->address);
	} else if (!net_is_any(local)) {
		out->address_len = net_to_bytes(local, out->address);
		mapped = false;
	} else {
		memcpy(out->address, (const uint8_t[]){ 127, 0, 0, 1 }, 4);
		out->address_len = 4;
	}
	virtual_host_id(out->address, out->address_len, mapped, out->host_id);
}

void virtual_node_get(const struct virtual_source *source, unsigned index, struct virtual_node *out)
{
	const struct topology *t = source->topology;

	virtual_node_place(source->settings, source->local_address, index, out);
	out->real = t->local_count > 0 ? &t->hosts[index % t->local_count] : &t->local;
}

/* ---- values ---- */

/* A value of another length than its type has is a column that only shares the name: null. */
static void write_real(const struct virtual_column *column, const struct host *host, struct writer *out)
{
	struct bytesview v = host_value(host, column->name);

	if (v.is_null || !value_fits(*column->type, v.len))
		write_bytes(out, NULL, 0);
	else
		write_bytes(out, v.p, v.len);
}

/* A set of texts; Cassandra sorts it as texts, drivers take any order. */
static void write_tokens(const struct settings *s, unsigned index, struct writer *out)
{
	unsigned count = virtual_node_count(s);
	struct writer set;
	char text[24];

	writer_init(&set);
	write_int(&set, s->topology_num_tokens);
	for (unsigned t = 0; t < s->topology_num_tokens; t++) {
		int n = snprintf(text, sizeof(text), "%" PRId64,
				 virtual_token(count, s->topology_num_tokens, index, t));

		write_bytes(&set, text, (uint32_t)n);
	}
	write_bytes(out, set.data, set.len);
	writer_free(&set);
}

static void write_schema_version(const struct virtual_source *source, unsigned index, struct writer *out)
{
	const enum cluster_id id = source->settings->system_queries;
	const struct topology *t[CLUSTER_COUNT];
	uint8_t version[16];

	t[id] = source->topology;
	t[cluster_id_other(id)] = source->other;
	if (schema_state_version(source->schema, t, index, source->now_ns, version))
		write_bytes(out, version, sizeof(version));
	else
		write_bytes(out, NULL, 0);
}

void virtual_write_value(const struct virtual_column *column, const struct virtual_source *source,
			 const struct virtual_node *node, struct writer *out)
{
	uint8_t port[4];

	switch (column->source) {
	case FROM_ADDRESS:
	case FROM_ADDRESS_IF:
		write_bytes(out, node->address, node->address_len);
		break;
	case FROM_TOKENS:
		write_tokens(source->settings, node->index, out);
		break;
	case FROM_HOST_ID:
		write_bytes(out, node->host_id, sizeof(node->host_id));
		break;
	case FROM_RACK:
		write_bytes(out, RACK, sizeof(RACK) - 1);
		break;
	case FROM_PARTITIONER:
		write_bytes(out, PARTITIONER, sizeof(PARTITIONER) - 1);
		break;
	case FROM_PORT:
	case FROM_PORT_IF:
	case FROM_PORT_BOTH:
		put_u32(port, node->port);
		write_bytes(out, port, sizeof(port));
		break;
	case FROM_SCHEMA:
		if (source->settings->profile == PROFILE_ZDM)
			write_real(column, node->real, out);
		else
			write_schema_version(source, node->index, out);
		break;
	case FROM_OWN_HOST:
	case FROM_HOST:
		write_real(column, node->real, out);
		break;
	case FROM_LOCAL:
		write_real(column, &source->topology->local, out);
		break;
	default:
		write_bytes(out, NULL, 0);
		break;
	}
}
