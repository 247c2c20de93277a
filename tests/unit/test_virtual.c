/*
 * test_virtual.c - system.local and system.peers as drivers see them: values,
 * select lists, conditions, markers.
 */
#include "virtual_helper.h"

/* ---- made values ---- */

/* The table of the reference: count, tokens, instance, the tokens. */
static const struct {
	unsigned count, num_tokens, i;
	int64_t expected[8];
} token_table[] = {
	{ 1,
	  8,
	  0,
	  { INT64_MIN, -6917529027641081856, -4611686018427387904, -2305843009213693952, 0, 2305843009213693952,
	    4611686018427387904, 6917529027641081856 } },
	{ 3,
	  8,
	  0,
	  { INT64_MIN, -6917529027641081858, -4611686018427387908, -2305843009213693958, -8, 2305843009213693942,
	    4611686018427387892, 6917529027641081842 } },
	{ 3,
	  8,
	  1,
	  { -8454757700450211158, -6148914691236517208, -3843071682022823258, -1537228672809129308, 768614336404564642,
	    3074457345618258592, 5380300354831952542, 7686143364045646492 } },
	{ 3,
	  8,
	  2,
	  { -7686143364045646508, -5380300354831952558, -3074457345618258608, -768614336404564658, 1537228672809129292,
	    3843071682022823242, 6148914691236517192, 8454757700450211142 } },
	{ 2, 1, 0, { INT64_MIN } },
	{ 2, 1, 1, { 0 } },
	{ 1, 1, 0, { INT64_MIN } },
};

START_TEST(tokens)
{
	for (unsigned t = 0; t < token_table[_i].num_tokens; t++)
		ck_assert_int_eq(virtual_token(token_table[_i].count, token_table[_i].num_tokens, token_table[_i].i, t),
				 token_table[_i].expected[t]);
}
END_TEST

static const struct {
	const char *address, *mapped, *plain;
} id_table[] = {
	{ "127.0.0.1", "70ce2f37-9d6d-5010-98d8-80fe51a498ed", "c9308a60-f574-524c-a3f7-02b92ce2a574" },
	{ "127.0.0.2", "3d89fc3f-6076-51b1-9580-24975aa4ba0a", "7433272a-9ebb-540e-a4dd-8c539de36565" },
	{ "127.0.0.3", "1f7b13e3-4795-5e09-983f-378814fb0f2d", "cf57afd8-9f88-523a-af9b-d6682864c9d7" },
	{ "10.0.0.1", "9abffbcc-1c82-54a7-a290-bf0a17776221", "644ea535-a2d4-5aeb-9227-b70051d307ab" },
	{ "0.0.0.0", "ed54025b-cf95-5e02-8398-379071f718f2", "6768033e-2164-5824-bbd0-31a0a2d9876d" },
};

START_TEST(host_ids)
{
	char text[UUID_TEXT_MAX];
	struct net_address a;
	uint8_t bytes[16], id[16];
	unsigned len;

	ck_assert(net_parse_ip(id_table[_i].address, 0, &a));
	len = net_to_bytes(&a, bytes);
	virtual_host_id(bytes, len, true, id);
	ck_assert_str_eq(topology_format_uuid(id, text), id_table[_i].mapped);
	virtual_host_id(bytes, len, false, id);
	ck_assert_str_eq(topology_format_uuid(id, text), id_table[_i].plain);
}
END_TEST

/* ---- the whole tables ---- */

START_TEST(local_star)
{
	struct rows rows = ask("SELECT * FROM system.local");

	ck_assert_uint_eq(rows.row_count, 1);
	/* In ZDM Proxy's order, reduced to what this cluster has. */
	ck_assert_str_eq(names_of(&rows),
			 "key broadcast_address cluster_name data_center gossip_generation host_id listen_address "
			 "partitioner rack release_version rpc_address schema_version tokens truncated_at");
	expect_text(rows_value(&rows, 0, "key"), "local");
	expect_text(rows_value(&rows, 0, "cluster_name"), "ferry");
	expect_text(rows_value(&rows, 0, "data_center"), "dc1");
	expect_text(rows_value(&rows, 0, "rack"), "rack0");
	expect_text(rows_value(&rows, 0, "release_version"), "4.1.10");
	expect_text(rows_value(&rows, 0, "partitioner"), "org.apache.cassandra.dht.Murmur3Partitioner");
	expect_inet(rows_value(&rows, 0, "rpc_address"), "127.0.0.1");
	expect_inet(rows_value(&rows, 0, "broadcast_address"), "127.0.0.1");
	expect_inet(rows_value(&rows, 0, "listen_address"), "127.0.0.1");
	expect_uuid(rows_value(&rows, 0, "host_id"), "c9308a60-f574-524c-a3f7-02b92ce2a574");
	expect_uuid(rows_value(&rows, 0, "schema_version"), "00000000-0000-0000-0000-000000000063");
	ck_assert(rows_value(&rows, 0, "truncated_at").is_null);
	rows_free(&rows);
}
END_TEST

START_TEST(token_set)
{
	struct rows rows = ask("SELECT tokens FROM system.local");
	struct bytesview v = rows_value(&rows, 0, "tokens");
	struct reader r = reader_over(v.p, v.len);

	ck_assert_mem_eq(rows.columns[0].type.p, rows_type_set_varchar.p, rows_type_set_varchar.len);
	ck_assert_uint_eq(read_int(&r), 8);
	expect_text(read_bytes(&r), "-9223372036854775808");
	expect_text(read_bytes(&r), "-6917529027641081856");
	for (unsigned i = 2; i < 8; i++)
		read_bytes(&r);
	ck_assert(reader_ok(&r));
	ck_assert_uint_eq(reader_left(&r), 0);
	rows_free(&rows);
}
END_TEST

START_TEST(peers_of_one_proxy)
{
	struct rows rows = ask("SELECT * FROM system.peers");

	ck_assert_uint_eq(rows.row_count, 0);
	ck_assert_str_eq(names_of(&rows), "peer data_center host_id preferred_ip rack release_version rpc_address "
					  "schema_version tokens");
	rows_free(&rows);
}
END_TEST

/* Instance i is dressed up as real node i, in order of rack and host id; this instance is left out of its peers. */
START_TEST(peers_of_three_proxies)
{
	struct rows rows;

	three_proxies(1);
	rows = ask("SELECT * FROM system.peers");
	ck_assert_uint_eq(rows.row_count, 2);
	expect_inet(rows_value(&rows, 0, "peer"), "127.0.0.1");
	expect_inet(rows_value(&rows, 0, "rpc_address"), "127.0.0.1");
	expect_inet(rows_value(&rows, 0, "preferred_ip"), "127.0.0.1");
	expect_text(rows_value(&rows, 0, "release_version"), "4.1.10");
	expect_uuid(rows_value(&rows, 0, "host_id"), "70ce2f37-9d6d-5010-98d8-80fe51a498ed");
	expect_inet(rows_value(&rows, 1, "peer"), "127.0.0.3");
	expect_text(rows_value(&rows, 1, "release_version"), "5.0.3");
	expect_uuid(rows_value(&rows, 1, "host_id"), "1f7b13e3-4795-5e09-983f-378814fb0f2d");
	rows_free(&rows);
	rows = ask("SELECT rpc_address, release_version, host_id, key FROM system.local");
	expect_inet(rows_value(&rows, 0, "rpc_address"), "127.0.0.2");
	expect_text(rows_value(&rows, 0, "release_version"), "4.1.9");
	expect_uuid(rows_value(&rows, 0, "host_id"), "3d89fc3f-6076-51b1-9580-24975aa4ba0a");
	expect_text(rows_value(&rows, 0, "key"), "local");
	rows_free(&rows);
}
END_TEST

/* With fewer real nodes than proxies the nodes are borrowed in turn. */
START_TEST(more_proxies_than_nodes)
{
	struct rows rows;

	peers = peer_table();
	learn();
	three_proxies(0);
	rows = ask("SELECT release_version FROM system.peers");
	ck_assert_uint_eq(rows.row_count, 2);
	expect_text(rows_value(&rows, 1, "release_version"), "4.1.10");
	rows_free(&rows);
}
END_TEST

static const struct {
	const char *reached, *seen, *host_id;
} reached_at[] = {
	{ "10.0.0.1", "10.0.0.1", "644ea535-a2d4-5aeb-9227-b70051d307ab" },
	/* A listener on :: sees IPv4 drivers so. */
	{ "::ffff:10.0.0.1", "10.0.0.1", "644ea535-a2d4-5aeb-9227-b70051d307ab" },
	{ "fd00::1", "fd00::1", NULL },
	{ "0.0.0.0", "127.0.0.1", "70ce2f37-9d6d-5010-98d8-80fe51a498ed" },
};

START_TEST(own_address)
{
	struct rows rows;

	ck_assert(net_parse_ip(reached_at[_i].reached, 9999, &local_address));
	rows = ask("SELECT rpc_address, host_id FROM system.local");
	expect_inet(rows.values[0], reached_at[_i].seen);
	if (reached_at[_i].host_id)
		expect_uuid(rows.values[1], reached_at[_i].host_id);
	rows_free(&rows);
}
END_TEST

/* What only some clusters have. DSE's columns of another type than ours are null, not garbage. */
START_TEST(columns_of_other_clusters)
{
	static const struct table_column columns[] = {
		{ "key", &rows_type_varchar },
		{ "data_center", &rows_type_varchar },
		{ "host_id", &rows_type_uuid },
		{ "rack", &rows_type_varchar },
		{ "native_transport_port", &rows_type_int },
		{ "native_transport_address", &rows_type_inet },
		{ "dse_version", &rows_type_varchar },
		{ "jmx_port", &rows_type_varchar },
		{ "storage_port", &rows_type_int },
	};
	struct rows rows;

	local = (struct table){
		.columns = columns,
		.column_count = ARRAY_LEN(columns),
		.rows = { { "local", "dc1", "1", "a", "9042", "10.0.0.1", "6.8.0", "no number", "7000" } },
		.row_count = 1,
	};
	peers = peer_table();
	learn();
	rows = ask("SELECT native_transport_port, native_transport_address, dse_version, jmx_port, storage_port "
		   "FROM system.local");
	ck_assert_uint_eq(get_u32(rows.values[0].p), 14002);
	expect_inet(rows.values[1], "127.0.0.1");
	expect_text(rows.values[2], "6.8.0");
	ck_assert(rows.values[3].is_null);
	ck_assert_uint_eq(get_u32(rows.values[4].p), 7000);
	rows_free(&rows);
	/* The peers table of this cluster lacks it. */
	refused_bound("SELECT dse_version FROM system.peers", NULL, NULL, 0, "Undefined column name dse_version");
}
END_TEST

/* ---- select lists ---- */

START_TEST(select_lists)
{
	struct rows rows = ask("select RACK, rack AS Where_It_Stands, \"rack\" as \"Rack\" from SYSTEM.local;");

	ck_assert_str_eq(names_of(&rows), "rack where_it_stands Rack");
	for (unsigned i = 0; i < 3; i++)
		expect_text(rows.values[i], "rack0");
	rows_free(&rows);
	rows = ask("SELECT DISTINCT key FROM \"system\".\"local\"");
	expect_text(rows.values[0], "local");
	rows_free(&rows);
	rows = ask("SELECT key FROM local");
	ck_assert_uint_eq(rows.row_count, 1);
	rows_free(&rows);
}
END_TEST

static void expect_count(const char *text, uint64_t expected, const char *names)
{
	struct rows rows = ask(text);

	ck_assert_uint_eq(rows.row_count, 1);
	ck_assert_str_eq(names_of(&rows), names);
	ck_assert_mem_eq(rows.columns[0].type.p, rows_type_bigint.p, 2);
	ck_assert_uint_eq(rows.values[0].len, 8);
	ck_assert_uint_eq(get_u64(rows.values[0].p), expected);
	rows_free(&rows);
}

START_TEST(counts)
{
	struct rows rows;

	expect_count("SELECT COUNT(*) FROM system.local", 1, "count");
	expect_count("SELECT count(1) AS N FROM system.local", 1, "n");
	expect_count("SELECT count(*) FROM system.local WHERE key = 'other'", 0, "count");
	expect_count("SELECT count(*) FROM system.peers", 0, "count");
	rows = ask("SELECT count(*), peer FROM system.peers");
	ck_assert_uint_eq(rows.row_count, 1);
	ck_assert(rows.values[1].is_null);
	rows_free(&rows);
	three_proxies(0);
	expect_count("SELECT count(*) FROM system.peers LIMIT 1", 2, "count");
	rows = ask("SELECT peer, count(*) FROM system.peers");
	ck_assert_uint_eq(rows.row_count, 1);
	expect_inet(rows.values[0], "127.0.0.2");
	ck_assert_uint_eq(get_u64(rows.values[1].p), 2);
	rows_free(&rows);
}
END_TEST

START_TEST(columns_that_are_not_there)
{
	refused("SELECT nonsense, key FROM system.local", "Undefined column name nonsense");
	refused("SELECT key, nonsense, other FROM system.local", "Undefined column name nonsense");
	refused("SELECT key FROM system.local WHERE nonsense = 'x'", "Undefined column name nonsense");
	refused("SELECT peer FROM system.local", "Undefined column name peer");
	refused("SELECT key FROM system.peers", "Undefined column name key");
	refused("SELECT broadcast_port FROM system.local", "Undefined column name broadcast_port");
	refused("SELECT \"KEY\" FROM system.local", "Undefined column name KEY");
	/* Known, but this cluster has none: ZDM Proxy never answers. */
	refused_bound("SELECT dse_version FROM system.local", NULL, NULL, 0, "Undefined column name dse_version");
	refused_bound("SELECT key FROM system.local WHERE dse_version = '6' ALLOW FILTERING", NULL, NULL, 0,
		      "Undefined column name dse_version");
}
END_TEST

START_TEST(what_cannot_be_answered)
{
	refused("SELECT gossip_generation + 1 FROM system.local", "operators are not supported");
	refused("SELECT tokens['a'] FROM system.local", "elements");
	refused("SELECT (key, rack) FROM system.local", "tuples");
	refused("SELECT frobnicate(key) FROM system.local", "Unknown function 'frobnicate'");
	refused("SELECT ks.now() FROM system.local", "Unknown function 'ks.now'");
	refused("SELECT key FROM system.local WHERE (key) = ('local')", "Multi-column");
	refused("SELECT 5 FROM system.local", "Cannot infer type for term 5");
	refused("SELECT CAST(key AS int) FROM system.local", "key cannot be cast to int");
	refused("SELECT max(count(*)) FROM system.local", "aggregate");
	refused("SELECT DISTINCT rack FROM system.local", "not rack");
	refused("SELECT DISTINCT count(*) FROM system.local", "missing key");
	refused("SELECT key FROM system.local ORDER BY key", "ORDER BY");
	refused("SELECT key FROM system.local GROUP BY rack", "got rack");
	refused("SELECT * FROM system.peers_v2", "unconfigured table peers_v2");
	refused("SELECT JSON now() FROM system.peers_v2 WHERE x IN (1)", "unconfigured table peers_v2");
	refused("SELECT peer_port FROM \"system\".peers_v2", "unconfigured table peers_v2");
	refused("SELECT key FROM system.local WHERE tokens = 'x'", "'tokens' (set<text>)");
	refused("SELECT key FROM system.local WHERE gossip_generation = 1", "ALLOW FILTERING");
	refused("SELECT key FROM system.local WHERE gossip_generation = 1.5 ALLOW FILTERING", "Invalid FLOAT constant");
	refused("SELECT key FROM system.local WHERE rack = 'a' AND rack = 'b' ALLOW FILTERING",
		"more than one relation");
	refused("SELECT key FROM system.local WHERE rack > 'a' AND rack >= 'b' ALLOW FILTERING", "start bound on rack");
	refused("SELECT key FROM system.local WHERE rack CONTAINS 'x' ALLOW FILTERING", "non-collection column rack");
}
END_TEST

START_TEST(which_tables)
{
	ck_assert(virtual_is_table(SV("system"), SV("local")));
	ck_assert(virtual_is_table(SV("system"), SV("peers")));
	ck_assert(virtual_is_table(SV("system"), SV("peers_v2")));
	ck_assert(!virtual_is_table(SV("system"), SV("locals")));
	ck_assert(!virtual_is_table(SV("system"), SV("paxos")));
	ck_assert(!virtual_is_table(SV("ks"), SV("local")));
	ck_assert(!virtual_is_table(SV(""), SV("local")));
}
END_TEST

/* ---- conditions ---- */

static const struct {
	const char *text;
	unsigned rows;
} conditions[] = {
	{ "SELECT * FROM system.local WHERE key='local'", 1 },
	{ "SELECT * FROM system.local WHERE key='Local'", 0 },
	{ "SELECT * FROM system.local WHERE key='local' AND rack = 'rack0' ALLOW FILTERING", 1 },
	{ "SELECT * FROM system.local WHERE key='local' AND rack = 'a' ALLOW FILTERING", 0 },
	{ "SELECT * FROM system.local WHERE host_id = 70ce2f37-9d6d-5010-98d8-80fe51a498ed ALLOW FILTERING", 1 },
	{ "SELECT * FROM system.local WHERE host_id = 70CE2F37-9D6D-5010-98D8-80FE51A498ED ALLOW FILTERING", 1 },
	{ "SELECT * FROM system.local WHERE host_id = 3d89fc3f-6076-51b1-9580-24975aa4ba0a ALLOW FILTERING", 0 },
	{ "SELECT * FROM system.peers", 2 },
	{ "SELECT peer FROM system.peers WHERE peer = '127.0.0.3'", 1 },
	{ "SELECT peer FROM system.peers WHERE peer = '::ffff:127.0.0.3'", 1 },
	{ "SELECT peer FROM system.peers WHERE peer = '127.0.0.1'", 0 },
	{ "SELECT peer FROM system.peers WHERE peer = '::1'", 0 },
	{ "SELECT peer FROM system.peers WHERE data_center = 'dc1' ALLOW FILTERING", 2 },
	{ "SELECT peer FROM system.peers LIMIT 1", 1 },
	{ "SELECT peer FROM system.peers LIMIT 100", 2 },
	{ "SELECT peer FROM system.peers WHERE peer IN ('127.0.0.1', '127.0.0.2', '127.0.0.3')", 2 },
	{ "SELECT peer FROM system.peers WHERE peer IN ()", 0 },
	{ "SELECT peer FROM system.peers WHERE peer > '127.0.0.2' ALLOW FILTERING", 1 },
	{ "SELECT peer FROM system.peers WHERE peer >= '127.0.0.2' AND peer < '127.0.0.3' ALLOW FILTERING", 1 },
	{ "SELECT peer FROM system.peers WHERE peer <= '127.0.0.3' ALLOW FILTERING", 2 },
	{ "SELECT peer FROM system.peers WHERE release_version < '5' ALLOW FILTERING", 1 },
	{ "SELECT peer FROM system.peers WHERE tokens CONTAINS '-6148914691236517208' ALLOW FILTERING", 1 },
	{ "SELECT key FROM system.local WHERE gossip_generation > 5 ALLOW FILTERING", 1 },
	{ "SELECT key FROM system.local WHERE gossip_generation > -5 AND gossip_generation < 6 ALLOW FILTERING", 0 },
	{ "SELECT key FROM system.local WHERE truncated_at CONTAINS 0xff ALLOW FILTERING", 0 },
	{ "SELECT key FROM system.local WHERE token(key) = token('local')", 1 },
	{ "SELECT key FROM system.local WHERE token(key) = -7564491331177403445", 1 },
	{ "SELECT key FROM system.local WHERE token(key) > 0", 0 },
	{ "SELECT key FROM system.local WHERE key = (text)'local' PER PARTITION LIMIT 1 LIMIT 1", 1 },
};

START_TEST(literal_conditions)
{
	three_proxies(0);
	ck_assert_uint_eq(count_rows(conditions[_i].text), conditions[_i].rows);
}
END_TEST

/* A null in the row equals nothing, not even the empty text. */
START_TEST(condition_on_null)
{
	local.rows[0][LOCAL_RELEASE] = NULL;
	learn();
	ck_assert_uint_eq(count_rows("SELECT key FROM system.local WHERE release_version = '' ALLOW FILTERING"), 0);
}
END_TEST

START_TEST(bad_literals)
{
	refused_bound("SELECT * FROM system.local WHERE key = 5", NULL, NULL, 0,
		      "Invalid INTEGER constant (5) for \"key\" of type text");
	refused_bound("SELECT * FROM system.local WHERE host_id = '70ce2f37-9d6d-5010-98d8-80fe51a498ed'", NULL, NULL,
		      0, "Invalid STRING constant");
	refused_bound("SELECT * FROM system.local WHERE host_id = 5", NULL, NULL, 0, "Invalid INTEGER constant");
	refused_bound("SELECT * FROM system.peers WHERE peer = '127.0.0.1.5'", NULL, NULL, 0, "Unable to make inet");
	refused_bound("SELECT * FROM system.peers WHERE peer = 127", NULL, NULL, 0, "Invalid INTEGER constant");
	refused("SELECT * FROM system.local WHERE key = ''", "Key may not be empty");
	refused("SELECT * FROM system.peers LIMIT 0", "LIMIT");
}
END_TEST

START_TEST(bound_by_position)
{
	struct bytesview values[2] = { text_value("local"), { 0 } };
	static const uint8_t peer[4] = { 127, 0, 0, 3 };
	struct rows rows = ask_bound("SELECT key FROM system.local WHERE key = ?", values, NULL, 1);

	ck_assert_uint_eq(rows.row_count, 1);
	rows_free(&rows);
	three_proxies(0);
	values[0] = (struct bytesview){ .p = peer, .len = 4 };
	values[1] = int_value(1);
	rows = ask_bound("SELECT peer FROM system.peers WHERE peer = ? LIMIT ?", values, NULL, 2);
	ck_assert_uint_eq(rows.row_count, 1);
	expect_inet(rows.values[0], "127.0.0.3");
	rows_free(&rows);
	values[0] = int_value(1);
	rows = ask_bound("SELECT peer FROM system.peers LIMIT ?", values, NULL, 1);
	ck_assert_uint_eq(rows.row_count, 1);
	rows_free(&rows);
	values[0] = (struct bytesview){ .is_unset = true };
	rows = ask_bound("SELECT peer FROM system.peers LIMIT ?", values, NULL, 1);
	ck_assert_uint_eq(rows.row_count, 2);
	rows_free(&rows);
}
END_TEST

/* A marker is known by its name, a '?' by its column's, whatever order the values come in. */
START_TEST(bound_by_name)
{
	struct bytesview values[2] = { text_value("rack0"), text_value("local") };
	struct strview names[2] = { SV("rack"), SV("k") };
	struct rows rows =
		ask_bound("SELECT key FROM system.local WHERE key = :k AND rack = ? ALLOW FILTERING", values, names, 2);

	ck_assert_uint_eq(rows.row_count, 1);
	rows_free(&rows);
	values[0] = int_value(1);
	names[0] = SV("n");
	rows = ask_bound("SELECT key FROM system.local WHERE key = :k LIMIT :N", values, names, 2);
	ck_assert_uint_eq(rows.row_count, 1);
	rows_free(&rows);
	names[0] = SV("[limit]");
	rows = ask_bound("SELECT key FROM system.local WHERE key = :k LIMIT ?", values, names, 2);
	ck_assert_uint_eq(rows.row_count, 1);
	rows_free(&rows);
	refused_bound("SELECT key FROM system.local WHERE key = :other", values, names, 2,
		      "there is no value for other");
}
END_TEST

START_TEST(bad_bound_values)
{
	struct bytesview values[2] = { text_value("abc"), text_value("abc") };
	const char *by_peer = "SELECT peer FROM system.peers WHERE peer = ?";

	refused_bound(by_peer, values, NULL, 0, "Invalid amount of bind variables");
	refused_bound(by_peer, values, NULL, 2, "Invalid amount of bind variables");
	refused_bound("SELECT peer FROM system.peers", values, NULL, 1, "Invalid amount of bind variables");
	refused_bound(by_peer, values, NULL, 1, "3 bytes");
	refused_bound("SELECT key FROM system.local WHERE host_id = ? ALLOW FILTERING", values, NULL, 1, "3 bytes");
	refused_bound("SELECT key FROM system.local LIMIT ?", values, NULL, 1, "[limit]");
	values[0] = int_value(0);
	refused_bound("SELECT key FROM system.local LIMIT ?", values, NULL, 1, "LIMIT");
	values[0] = int_value((uint32_t)-1);
	refused_bound("SELECT key FROM system.local LIMIT ?", values, NULL, 1, "LIMIT");
	values[0] = (struct bytesview){ .is_null = true };
	refused_bound(by_peer, values, NULL, 1, "null");
	refused_bound("SELECT key FROM system.local LIMIT ?", values, NULL, 1, "limit");
	values[0] = (struct bytesview){ .is_unset = true };
	refused_bound(by_peer, values, NULL, 1, "unset");
}
END_TEST

/* ---- PREPARED ---- */

static const uint8_t id[16] = "sixteen bytes id";

static void prepare(const char *text, uint8_t version, struct prepared_message *m)
{
	struct virtual_query *q = query(text);
	const char *why = "";

	out.len = 0;
	ck_assert(virtual_write_prepared(q, &source, version, (struct bytesview){ .p = id, .len = sizeof(id) }, &out));
	virtual_query_free(q);
	ck_assert_uint_eq(get_u32(out.data), RESULT_PREPARED);
	ck_assert_msg(message_parse_prepared(out.data, out.len, 0, version, m, &why), "%s", why);
	ck_assert_uint_eq(m->id.len, sizeof(id));
	ck_assert_mem_eq(m->id.p, id, sizeof(id));
	if (version >= 5)
		ck_assert_uint_eq(m->result_metadata_id.len, 16);
}

static void expect_column(struct reader *r, const char *name, const struct bytesview *type)
{
	struct strview got = read_string(r);
	const uint8_t *p = reader_take(r, type->len);

	ck_assert(sv_equal(got, sv_from(name)));
	ck_assert_mem_eq(p, type->p, type->len);
}

static void expect_spec(struct reader *r, const char *table)
{
	ck_assert(sv_equal(read_string(r), SV("system")));
	ck_assert(sv_equal(read_string(r), sv_from(table)));
}

START_TEST(prepared_with_markers)
{
	uint8_t version = (uint8_t)_i;
	struct prepared_message m;
	struct reader r;

	prepare("SELECT peer, host_id AS h, count(*) FROM system.peers WHERE peer = :Address AND host_id = ? LIMIT ? ALLOW FILTERING",
		version, &m);
	ck_assert_uint_eq(m.bind_count, 3);
	ck_assert_uint_eq(m.bind_flags, ROWS_GLOBAL_TABLES_SPEC);
	ck_assert_uint_eq(m.pk_count, version >= 4);
	r = reader_over(m.result_spec.p, m.result_spec.len);
	ck_assert_uint_eq(read_int(&r), ROWS_GLOBAL_TABLES_SPEC);
	ck_assert_uint_eq(read_int(&r), 3);
	expect_spec(&r, "peers");
	expect_column(&r, "peer", &rows_type_inet);
	expect_column(&r, "h", &rows_type_uuid);
	expect_column(&r, "count", &rows_type_bigint);
	ck_assert(reader_ok(&r));
	ck_assert_uint_eq(reader_left(&r), 0);
	/* The bind columns end where the result's begin. */
	r = reader_over(out.data, (size_t)(m.result_spec.p - out.data));
	r.p = m.result_spec.p - (2 + 7 + 2 + 2 + 7 + 2 + 2 + 7 + 2) - (2 + 6 + 2 + 5);
	expect_spec(&r, "peers");
	expect_column(&r, "address", &rows_type_inet);
	expect_column(&r, "host_id", &rows_type_uuid);
	expect_column(&r, "[limit]", &rows_type_int);
	ck_assert_uint_eq(reader_left(&r), 0);
}
END_TEST

START_TEST(prepared_without_markers)
{
	uint8_t version = (uint8_t)_i;
	struct prepared_message m;

	prepare("SELECT key FROM system.local WHERE key='local'", version, &m);
	ck_assert_uint_eq(m.bind_count, 0);
	ck_assert_uint_eq(m.bind_flags, 0);
	ck_assert_uint_eq(m.pk_count, 0);
	ck_assert_uint_eq(get_u32(m.result_spec.p + 4), 1);
}
END_TEST

START_TEST(prepared_refused)
{
	static const char *const texts[] = {
		"SELECT dse_version FROM system.local",
		"SELECT key FROM system.local WHERE dse_version = ?",
		"SELECT key FROM system.local WHERE tokens = ?",
	};
	static const char *const expected[] = { "Undefined column name dse_version",
						"Undefined column name dse_version", "column 'tokens'" };
	struct virtual_query *q = query(texts[_i]);

	ck_assert(!virtual_write_prepared(q, &source, 4, (struct bytesview){ .p = id, .len = sizeof(id) }, &out));
	expect_error(&out, texts[_i], expected[_i]);
	virtual_query_free(q);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtual");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, tokens, 0, ARRAY_LEN(token_table));
	tcase_add_loop_test(tcase, host_ids, 0, ARRAY_LEN(id_table));
	tcase_add_test(tcase, local_star);
	tcase_add_test(tcase, token_set);
	tcase_add_test(tcase, peers_of_one_proxy);
	tcase_add_test(tcase, peers_of_three_proxies);
	tcase_add_test(tcase, more_proxies_than_nodes);
	tcase_add_loop_test(tcase, own_address, 0, ARRAY_LEN(reached_at));
	tcase_add_test(tcase, columns_of_other_clusters);
	tcase_add_test(tcase, select_lists);
	tcase_add_test(tcase, counts);
	tcase_add_test(tcase, columns_that_are_not_there);
	tcase_add_test(tcase, what_cannot_be_answered);
	tcase_add_test(tcase, which_tables);
	tcase_add_loop_test(tcase, literal_conditions, 0, ARRAY_LEN(conditions));
	tcase_add_test(tcase, condition_on_null);
	tcase_add_test(tcase, bad_literals);
	tcase_add_test(tcase, bound_by_position);
	tcase_add_test(tcase, bound_by_name);
	tcase_add_test(tcase, bad_bound_values);
	tcase_add_loop_test(tcase, prepared_with_markers, 3, 6);
	tcase_add_loop_test(tcase, prepared_without_markers, 3, 6);
	tcase_add_loop_test(tcase, prepared_refused, 0, 3);
	return run_tcase("virtual", tcase);
}
