/*
 * system_tables.h - makes the answers of a cluster about system.local and
 * system.peers, row by row, for the tests of what is read out of them. Values
 * are texts: an [inet] as its literal, a [uuid] as its last byte ("7"), NULL
 * for null.
 */
#ifndef TESTS_UNIT_SYSTEM_TABLES_H
#define TESTS_UNIT_SYSTEM_TABLES_H

#include "cql/rows.h"
#include "proxy/topology.h"
#include "vectors.h"

struct table_column {
	const char *name;
	const struct bytesview *type;
};

#define TABLE_MAX_COLUMNS 16
#define TABLE_MAX_ROWS 64

struct table {
	const struct table_column *columns;
	unsigned column_count;
	const char *rows[TABLE_MAX_ROWS][TABLE_MAX_COLUMNS];
	unsigned row_count;
	/* Made by table_read(): the body, as long as the rows are used. */
	uint8_t *body;
};

static inline void table_write_value(struct writer *w, const struct bytesview *type, const char *text)
{
	struct net_address a;
	uint8_t bytes[16] = { 0 };

	if (!text) {
		write_bytes(w, NULL, 0);
	} else if (type == &rows_type_inet) {
		ck_assert(net_parse_ip(text, 0, &a));
		write_bytes(w, bytes, net_to_bytes(&a, bytes));
	} else if (type == &rows_type_uuid) {
		bytes[15] = (uint8_t)atoi(text);
		write_bytes(w, bytes, 16);
	} else if (type == &rows_type_int) {
		put_u32(bytes, (uint32_t)atoi(text));
		write_bytes(w, bytes, 4);
	} else {
		write_bytes(w, text, (uint32_t)strlen(text));
	}
}

/* As the control connection reads it. */
static inline struct rows table_read(struct table *t)
{
	struct writer w;
	struct rows rows;
	const char *why = "";

	writer_init(&w);
	rows_write_head(&w, t->column_count, SV("system"), SV("t"));
	for (unsigned i = 0; i < t->column_count; i++)
		rows_write_column(&w, sv_from(t->columns[i].name), *t->columns[i].type);
	rows_write_count(&w, t->row_count);
	for (unsigned i = 0; i < t->row_count; i++) {
		for (unsigned j = 0; j < t->column_count; j++)
			table_write_value(&w, t->columns[j].type, t->rows[i][j]);
	}
	t->body = exact_copy(w.data, w.len);
	ck_assert_msg(rows_parse(t->body, w.len, 0, 4, &rows, &why), "%s", why);
	writer_free(&w);
	return rows;
}

/* What a Cassandra has, and no more than the tests need. */
static const struct table_column local_table_columns[] = {
	{ "key", &rows_type_varchar },           { "broadcast_address", &rows_type_inet },
	{ "cluster_name", &rows_type_varchar },  { "data_center", &rows_type_varchar },
	{ "host_id", &rows_type_uuid },          { "partitioner", &rows_type_varchar },
	{ "rack", &rows_type_varchar },          { "release_version", &rows_type_varchar },
	{ "rpc_address", &rows_type_inet },      { "schema_version", &rows_type_uuid },
	{ "gossip_generation", &rows_type_int }, { "rpc_port", &rows_type_int },
	{ "listen_address", &rows_type_inet },
};

enum {
	LOCAL_KEY,
	LOCAL_BROADCAST,
	LOCAL_NAME,
	LOCAL_DC,
	LOCAL_ID,
	LOCAL_PARTITIONER,
	LOCAL_RACK,
	LOCAL_RELEASE,
	LOCAL_RPC,
	LOCAL_SCHEMA,
	LOCAL_GENERATION,
	LOCAL_PORT,
	LOCAL_LISTEN
};

static const struct table_column peer_table_columns[] = {
	{ "peer", &rows_type_inet },           { "data_center", &rows_type_varchar },
	{ "host_id", &rows_type_uuid },        { "rack", &rows_type_varchar },
	{ "rpc_address", &rows_type_inet },    { "release_version", &rows_type_varchar },
	{ "schema_version", &rows_type_uuid },
};

enum {
	PEER_PEER,
	PEER_DC,
	PEER_ID,
	PEER_RACK,
	PEER_RPC,
	PEER_RELEASE,
	PEER_SCHEMA
};

/* Cassandra 4's. */
static const struct table_column peer_v2_table_columns[] = {
	{ "peer", &rows_type_inet },           { "peer_port", &rows_type_int },
	{ "data_center", &rows_type_varchar }, { "host_id", &rows_type_uuid },
	{ "native_address", &rows_type_inet }, { "native_port", &rows_type_int },
	{ "preferred_ip", &rows_type_inet },   { "preferred_port", &rows_type_int },
	{ "rack", &rows_type_varchar },        { "release_version", &rows_type_varchar },
	{ "schema_version", &rows_type_uuid },
};

enum {
	V2_PEER,
	V2_PEER_PORT,
	V2_DC,
	V2_ID,
	V2_ADDRESS,
	V2_PORT,
	V2_PREFERRED,
	V2_PREFERRED_PORT,
	V2_RACK,
	V2_RELEASE,
	V2_SCHEMA
};

/* DSE 6's, the columns that matter; its system.local has the same three. */
static const struct table_column dse_table_columns[] = {
	{ "peer", &rows_type_inet },
	{ "data_center", &rows_type_varchar },
	{ "host_id", &rows_type_uuid },
	{ "rack", &rows_type_varchar },
	{ "rpc_address", &rows_type_inet },
	{ "native_transport_address", &rows_type_inet },
	{ "native_transport_port", &rows_type_int },
	{ "native_transport_port_ssl", &rows_type_int },
};

enum {
	DSE_PEER,
	DSE_DC,
	DSE_ID,
	DSE_RACK,
	DSE_RPC,
	DSE_ADDRESS,
	DSE_PORT,
	DSE_PORT_SSL
};

/* The node 10.0.0.1 with host id 1 in dc1, rack a. The columns from rpc_port on are only there when they are counted. */
static inline struct table local_table(void)
{
	return (struct table){
		.columns = local_table_columns,
		.column_count = LOCAL_PORT,
		.rows = { { "local", "10.0.0.1", "ferry", "dc1", "1", "org.apache.cassandra.dht.Murmur3Partitioner",
			    "a", "4.1.10", "10.0.0.1", "99", "1700000000", NULL, NULL } },
		.row_count = 1,
	};
}

static inline struct table peer_table(void)
{
	return (struct table){ .columns = peer_table_columns, .column_count = ARRAY_LEN(peer_table_columns) };
}

/* A peer that is all right: release 4.1.9, schema version 99. */
static inline const char **peer_table_add(struct table *t, const char *address, const char *datacenter,
					  const char *host_id, const char *rack)
{
	const char **row = t->rows[t->row_count++];

	row[PEER_PEER] = address;
	row[PEER_DC] = datacenter;
	row[PEER_ID] = host_id;
	row[PEER_RACK] = rack;
	row[PEER_RPC] = address;
	row[PEER_RELEASE] = "4.1.9";
	row[PEER_SCHEMA] = "99";
	return row;
}

static inline struct table peer_v2_table(void)
{
	return (struct table){ .columns = peer_v2_table_columns, .column_count = ARRAY_LEN(peer_v2_table_columns) };
}

static inline const char **peer_v2_table_add(struct table *t, const char *address, const char *port,
					     const char *datacenter, const char *host_id, const char *rack)
{
	const char **row = t->rows[t->row_count++];

	row[V2_PEER] = address;
	row[V2_PEER_PORT] = "7000";
	row[V2_DC] = datacenter;
	row[V2_ID] = host_id;
	row[V2_ADDRESS] = address;
	row[V2_PORT] = port;
	row[V2_RACK] = rack;
	row[V2_RELEASE] = "4.1.9";
	row[V2_SCHEMA] = "99";
	return row;
}

/* Fills a new snapshot; frees the tables' bodies. */
static inline enum topology_result tables_fill(struct topology *t, const struct topology_source *source,
					       struct table *local, struct table *peers, char *error, size_t size)
{
	struct rows local_rows = table_read(local);
	struct rows peer_rows = table_read(peers);
	enum topology_result result = topology_fill(t, source, &local_rows, &peer_rows, error, size);

	rows_free(&local_rows);
	rows_free(&peer_rows);
	free(local->body);
	free(peers->body);
	return result;
}

#endif
