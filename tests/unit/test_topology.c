/* test_topology.c - snapshots out of system.local and system.peers: addresses, datacenters, order, shares. */
#include "proxy/topology.h"

#include "system_tables.h"

static struct settings settings;
static struct topology_source source;
static struct table local, peers;
static struct topology *t;
static char error[256];

static void setup(void)
{
	settings = (struct settings){ .topology_num_tokens = 8 };
	settings.cluster[CLUSTER_TARGET].port = 9142;
	source = (struct topology_source){ .id = CLUSTER_TARGET, .settings = &settings };
	ck_assert(net_parse_ip("10.0.0.1", 9142, &source.contact));
	local = local_table();
	peers = peer_table();
	error[0] = '\0';
	t = topology_new();
}

static void teardown(void)
{
	topology_unref(t);
}

static void fill(void)
{
	ck_assert_msg(tables_fill(t, &source, &local, &peers, error, sizeof(error)) == TOPOLOGY_OK, "%s", error);
}

/* The hosts in order, by the last byte of their ids: "1 3 2". */
static const char *order(void)
{
	static char text[256];
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < t->host_count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", i ? " " : "", t->hosts[i].host_id[15]);
	return text;
}

static void expect_name(unsigned i, const char *expected)
{
	char formatted[NET_TEXT_MAX];

	ck_assert_uint_lt(i, t->host_count);
	ck_assert_str_eq(t->hosts[i].name, expected);
	ck_assert_str_eq(net_format(&t->hosts[i].address, formatted), expected);
}

START_TEST(one_node)
{
	fill();
	ck_assert_str_eq(order(), "1");
	expect_name(0, "10.0.0.1:9142");
	ck_assert(t->hosts[0].is_local_row);
	ck_assert_str_eq(t->cluster_name, "ferry");
	ck_assert_str_eq(t->contact_name, "10.0.0.1:9142");
	ck_assert_str_eq(topology_datacenter(t), "dc1");
	ck_assert_uint_eq(t->assigned_count, 1);
	ck_assert_uint_eq(t->peer_columns.count, ARRAY_LEN(peer_table_columns));
	ck_assert_str_eq(t->peer_columns.items[0], "peer");
	ck_assert_uint_eq(t->local.value_count, LOCAL_PORT);
	ck_assert(host_has_column(&t->local, "gossip_generation"));
	ck_assert(!host_has_column(&t->local, "dse_version"));
	ck_assert_uint_eq(get_u32(host_value(&t->local, "gossip_generation").p), 1700000000);
	ck_assert(host_value(&t->local, "dse_version").is_null);
}
END_TEST

/* By rack, then by host id, whatever order the rows came in; other datacenters are left out. */
START_TEST(sorted)
{
	peer_table_add(&peers, "10.0.0.5", "dc1", "5", "b");
	peer_table_add(&peers, "10.0.0.3", "dc1", "3", "a");
	peer_table_add(&peers, "10.0.0.2", "dc2", "2", "a");
	peer_table_add(&peers, "10.0.0.4", "dc1", "4", "B");
	peer_table_add(&peers, "10.0.0.0", "dc1", "0", "a");
	fill();
	ck_assert_str_eq(order(), "4 0 1 3 5");
	expect_name(0, "10.0.0.4:9142");
	ck_assert_str_eq(t->hosts[4].rack, "b");
	ck_assert(t->hosts[2].is_local_row);
	ck_assert(!t->hosts[3].is_local_row);
	ck_assert_uint_eq(host_value(&t->hosts[3], "release_version").len, 5);
}
END_TEST

/* A peer that cannot be reached, or that nobody can tell apart, is left out; the others stay. */
START_TEST(unusable_peers)
{
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a")[PEER_RPC] = NULL;
	peer_table_add(&peers, "10.0.0.3", NULL, "3", "a");
	peer_table_add(&peers, "10.0.0.4", "dc1", NULL, "a");
	peer_table_add(&peers, "10.0.0.5", "dc1", "5", NULL);
	peer_table_add(&peers, NULL, "dc1", "6", "a")[PEER_RPC] = "0.0.0.0";
	peer_table_add(&peers, "10.0.0.7", "dc1", "7", "a")[PEER_RPC] = "::";
	peer_table_add(&peers, "10.0.0.8", "dc1", "8", "a")[PEER_RPC] = "192.168.0.8";
	fill();
	ck_assert_str_eq(order(), "1 7 8");
	expect_name(1, "10.0.0.7:9142");
	expect_name(2, "192.168.0.8:9142");
}
END_TEST

/* A host_id column of another type (here a text of three bytes) is no host id. */
START_TEST(values_of_wrong_length)
{
	static const struct table_column odd[] = {
		{ "peer", &rows_type_varchar },           { "data_center", &rows_type_varchar },
		{ "host_id", &rows_type_varchar },        { "rack", &rows_type_varchar },
		{ "rpc_address", &rows_type_varchar },    { "release_version", &rows_type_varchar },
		{ "schema_version", &rows_type_varchar },
	};

	peers.columns = odd;
	peer_table_add(&peers, "abcd", "dc1", "xyz", "a");
	peer_table_add(&peers, "abcde", "dc1", "0123456789abcdef", "a");
	fill();
	ck_assert_str_eq(order(), "1");
}
END_TEST

START_TEST(duplicates)
{
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	peer_table_add(&peers, "10.0.0.3", "dc1", "2", "a");
	peer_table_add(&peers, "10.0.0.9", "dc1", "1", "a");
	fill();
	ck_assert_str_eq(order(), "1 2");
	expect_name(0, "10.0.0.1:9142");
	expect_name(1, "10.0.0.3:9142");
}
END_TEST

/* The node that was replaced still has a row. */
START_TEST(two_at_one_address)
{
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	peer_table_add(&peers, "10.0.0.2", "dc1", "3", "a");
	peer_table_add(&peers, "10.0.0.1", "dc1", "4", "a");
	fill();
	ck_assert_str_eq(order(), "1 3");
}
END_TEST

static const struct {
	const char *rpc, *broadcast, *expected;
} addresses[] = {
	{ "10.0.0.1", "10.0.0.9", "10.0.0.1:9142" }, { "0.0.0.0", "10.0.0.9", "10.0.0.9:9142" },
	{ "::", "fd00::9", "[fd00::9]:9142" },       { "0.0.0.0", NULL, "127.0.0.5:9042" },
	{ "0.0.0.0", "0.0.0.0", "127.0.0.5:9042" },  { NULL, "10.0.0.9", "127.0.0.5:9042" },
	{ "fd00::1", NULL, "[fd00::1]:9142" },
};

START_TEST(local_address)
{
	ck_assert(net_parse_ip("127.0.0.5", 9042, &source.contact));
	local.rows[0][LOCAL_RPC] = addresses[_i].rpc;
	local.rows[0][LOCAL_BROADCAST] = addresses[_i].broadcast;
	fill();
	expect_name(0, addresses[_i].expected);
	ck_assert_str_eq(t->contact_name, "127.0.0.5:9042");
}
END_TEST

static const struct {
	unsigned column;
	const char *value;
	enum topology_result expected;
	const char *text;
} bad_local[] = {
	{ LOCAL_DC, NULL, TOPOLOGY_BAD, "data_center" },
	{ LOCAL_RACK, NULL, TOPOLOGY_BAD, "rack" },
	{ LOCAL_ID, NULL, TOPOLOGY_BAD, "host_id" },
	{ LOCAL_PARTITIONER, "org.apache.cassandra.dht.ByteOrderedPartitioner", TOPOLOGY_HOPELESS, "ByteOrdered" },
};

START_TEST(local_that_will_not_do)
{
	local.rows[0][bad_local[_i].column] = bad_local[_i].value;
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	ck_assert_int_eq(tables_fill(t, &source, &local, &peers, error, sizeof(error)), bad_local[_i].expected);
	ck_assert_msg(strstr(error, bad_local[_i].text) != NULL, "%s", error);
}
END_TEST

START_TEST(no_local_row)
{
	local.row_count = 0;
	ck_assert_int_eq(tables_fill(t, &source, &local, &peers, error, sizeof(error)), TOPOLOGY_BAD);
	ck_assert_msg(strstr(error, "system.local") != NULL, "%s", error);
}
END_TEST

static const char *const partitioners[] = { NULL, "org.apache.cassandra.dht.RandomPartitioner", "Murmur3Partitioner" };

START_TEST(partitioner_that_will_do)
{
	local.rows[0][LOCAL_PARTITIONER] = partitioners[_i];
	local.rows[0][LOCAL_NAME] = NULL;
	fill();
	ck_assert_ptr_null(t->cluster_name);
}
END_TEST

/* ---- the datacenter ---- */

static void two_datacenters(void)
{
	peer_table_add(&peers, "10.0.0.2", "dc2", "2", "a");
	peer_table_add(&peers, "10.0.0.3", "dc2", "3", "a");
}

static char *text_of(const char *text)
{
	return (char *)(uintptr_t)text;
}

static void fall_back_to(const char *first)
{
	static char *names[2];

	names[0] = text_of(first);
	names[1] = text_of("dc2");
	settings.cluster[CLUSTER_TARGET].fallback_datacenters = (struct string_list){ .items = names, .count = 1 };
}

START_TEST(configured_datacenter)
{
	settings.cluster[CLUSTER_TARGET].local_datacenter = (char *)(uintptr_t) "dc2";
	source.datacenter = "dc1";
	two_datacenters();
	fill();
	ck_assert_str_eq(order(), "2 3");
	/* The control connection's node is not among them, but known all the same. */
	ck_assert_str_eq(t->local.name, "10.0.0.1:9142");
}
END_TEST

/* A name that no node has: ZDM Proxy takes the contact point's datacenter, we say what there is. */
START_TEST(unknown_datacenter_for_zdm)
{
	settings.profile = PROFILE_ZDM;
	settings.cluster[CLUSTER_TARGET].local_datacenter = text_of("dc3");
	two_datacenters();
	fill();
	ck_assert_str_eq(topology_datacenter(t), "dc1");
	ck_assert_str_eq(order(), "1");
}
END_TEST

START_TEST(unknown_datacenter)
{
	settings.cluster[CLUSTER_TARGET].local_datacenter = text_of("dc3");
	fall_back_to("dc2");
	two_datacenters();
	ck_assert_int_eq(tables_fill(t, &source, &local, &peers, error, sizeof(error)), TOPOLOGY_HOPELESS);
	ck_assert_str_eq(error, "no node is in the configured local_datacenter dc3; the cluster has dc2, dc1");
}
END_TEST

/* What was used once may lose its nodes: then the others must do, or the snapshot that is there. */
START_TEST(configured_datacenter_that_has_gone)
{
	settings.cluster[CLUSTER_TARGET].local_datacenter = text_of("dc3");
	source.datacenter = "dc3";
	two_datacenters();
	if (_i == 0) {
		ck_assert_int_eq(tables_fill(t, &source, &local, &peers, error, sizeof(error)), TOPOLOGY_BAD);
		ck_assert_str_eq(error, "no node is in datacenter dc3; the cluster has dc2, dc1");
		return;
	}
	fall_back_to("dc2");
	fill();
	ck_assert_uint_eq(t->local_count, 0);
	ck_assert_uint_eq(t->assigned_count, 0);
	ck_assert_str_eq(order(), "2 3");
	ck_assert_str_eq(topology_datacenter(t), "dc3");
}
END_TEST

/* In ZDM's twin the datacenter of the first snapshot stays, even if the configured one appears later. */
START_TEST(zdm_keeps_its_first_datacenter)
{
	settings.profile = _i == 0 ? PROFILE_ZDM : PROFILE_NATIVE;
	settings.cluster[CLUSTER_TARGET].local_datacenter = text_of("dc2");
	source.datacenter = "dc1";
	two_datacenters();
	fill();
	ck_assert_str_eq(topology_datacenter(t), _i == 0 ? "dc1" : "dc2");
}
END_TEST

/* Tiers in the order of the option, whatever the order of rows; the other datacenters come last and get nothing. */
START_TEST(fallback_datacenters)
{
	fall_back_to("dc3");
	settings.cluster[CLUSTER_TARGET].fallback_datacenters.count = 2;
	peer_table_add(&peers, "10.0.0.9", "dc9", "9", "a");
	peer_table_add(&peers, "10.0.0.5", "dc2", "5", "a");
	peer_table_add(&peers, "10.0.0.7", "dc3", "7", "b");
	peer_table_add(&peers, "10.0.0.6", "dc1", "6", "b");
	peer_table_add(&peers, "10.0.0.8", "dc3", "8", "a");
	fill();
	ck_assert_str_eq(order(), "1 6 8 7 5");
	ck_assert_uint_eq(t->local_count, 2);
	ck_assert_uint_eq(t->host_count, 5);
	ck_assert_uint_eq(t->all_count, 6);
	ck_assert_uint_eq(t->assigned_count, 2);
	ck_assert_uint_eq(t->hosts[1].tier, 0);
	ck_assert_uint_eq(t->hosts[2].tier, 1);
	ck_assert_uint_eq(t->hosts[3].tier, 1);
	ck_assert_uint_eq(t->hosts[4].tier, 2);
	ck_assert_uint_eq(t->hosts[5].tier, HOST_TIER_REMOTE);
	ck_assert_uint_eq(t->hosts[5].host_id[15], 9);
}
END_TEST

START_TEST(kept_datacenter)
{
	source.datacenter = "dc2";
	two_datacenters();
	fill();
	ck_assert_str_eq(order(), "2 3");
}
END_TEST

START_TEST(kept_datacenter_that_has_gone)
{
	source.datacenter = "dc9";
	two_datacenters();
	ck_assert_int_eq(tables_fill(t, &source, &local, &peers, error, sizeof(error)), TOPOLOGY_BAD);
	ck_assert_msg(strstr(error, "dc9") != NULL, "%s", error);
}
END_TEST

/* ---- schema versions ---- */

START_TEST(schema_versions)
{
	/* Nodes of other datacenters count, too: they have the schema as well, and drivers see it when all have it. */
	const char **row = peer_table_add(&peers, "10.0.0.2", _i < 3 ? "dc1" : "dc2", "2", "a");

	row[PEER_SCHEMA] = _i == 0 ? "99" : _i == 1 ? NULL : "98";
	fill();
	ck_assert_int_eq(topology_schema_agrees(t), _i < 2);
}
END_TEST

/* ---- shares ---- */

/* The table of the reference: instances, own index, hosts, positions. */
static const struct {
	unsigned count, index, hosts;
	const char *expected;
} shares[] = {
	{ 1, 0, 3, "012" }, { 2, 0, 3, "02" },    { 2, 1, 3, "1" },   { 3, 1, 3, "1" },
	{ 4, 0, 3, "0" },   { 4, 1, 3, "1" },     { 4, 3, 3, "0" },   { 12, 10, 3, "1" },
	{ 1, 0, 1, "0" },   { 256, 255, 1, "0" }, { 2, 1, 6, "135" },
};

START_TEST(share_of_an_instance)
{
	char positions[16] = "";
	size_t n = 0;

	for (unsigned i = 0; i < shares[_i].hosts; i++) {
		if (topology_is_assigned(i, shares[_i].hosts, shares[_i].count, shares[_i].index))
			positions[n++] = (char)('0' + i);
	}
	ck_assert_str_eq(positions, shares[_i].expected);
}
END_TEST

/* Every instance has a host, and as long as there are fewer instances every host has one. */
START_TEST(shares_leave_nobody_out)
{
	for (unsigned n = 1; n <= 20; n++) {
		for (unsigned count = 1; count <= 20; count++) {
			unsigned covered = 0;

			for (unsigned index = 0; index < count; index++) {
				unsigned own = 0;

				for (unsigned i = 0; i < n; i++)
					own += topology_is_assigned(i, n, count, index);
				ck_assert_uint_ge(own, 1);
				covered += own;
			}
			ck_assert_uint_ge(covered, n);
		}
	}
}
END_TEST

START_TEST(assigned_hosts)
{
	bool seen[5] = { false };

	settings.topology_addresses.count = 2;
	settings.topology_index = 1;
	for (unsigned i = 2; i <= 5; i++) {
		static char text[8][16];

		snprintf(text[i], sizeof(text[i]), "10.0.0.%u", i);
		peer_table_add(&peers, text[i], "dc1", text[i] + 7, "a");
	}
	fill();
	ck_assert_uint_eq(t->host_count, 5);
	ck_assert_uint_eq(t->assigned_count, 2);
	for (unsigned i = 0; i < t->assigned_count; i++)
		seen[t->assigned[i]] = true;
	ck_assert(seen[1] && seen[3]);
}
END_TEST

START_TEST(uuid_text)
{
	static const uint8_t uuid[16] = { 0xff, 0xcc, 0x93, 0x7e, 0x52, 0xee, 0x40, 0xf5,
					  0x8e, 0x5f, 0xc6, 0xe4, 0x45, 0xaa, 0xf2, 0x06 };
	char text[UUID_TEXT_MAX];

	ck_assert_str_eq(topology_format_uuid(uuid, text), "ffcc937e-52ee-40f5-8e5f-c6e445aaf206");
}
END_TEST

/* ---- behind an SNI proxy ---- */

#define HOST_ID "00000000-0000-0000-0000-0000000000"

START_TEST(nodes_behind_an_sni_proxy)
{
	ck_assert(net_parse_ip("192.0.2.9", 29042, &source.contact));
	ck_assert(net_parse_node_id(HOST_ID "01", source.contact.node_id));
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	peer_table_add(&peers, NULL, "dc1", "3", "a");      /* its address is of no use, and of no need */
	peer_table_add(&peers, "0.0.0.0", "dc1", "4", "a"); /* nor this one */
	fill();
	ck_assert_str_eq(order(), "1 2 3 4");
	expect_name(0, HOST_ID "01");
	expect_name(3, HOST_ID "04");
	for (unsigned i = 0; i < t->host_count; i++) {
		char ip[NET_TEXT_MAX];

		ck_assert_str_eq(net_format_ip(&t->hosts[i].address, ip), "192.0.2.9");
		ck_assert_uint_eq(net_port(&t->hosts[i].address), 29042);
	}
}
END_TEST

/* The metadata have the last word, over the contact point's datacenter; what nobody is in is no word. */
START_TEST(the_datacenter_of_the_metadata)
{
	ck_assert(net_parse_node_id(HOST_ID "01", source.contact.node_id));
	peer_table_add(&peers, "10.0.0.2", "dc2", "2", "a");
	source.sni_datacenter = _i == 0 ? "dc2" : "elsewhere";
	fill();
	ck_assert_str_eq(order(), _i == 0 ? "2" : "1");
}
END_TEST

/* ---- clusters ---- */

static struct cluster clusters[CLUSTER_COUNT];

static void publish(enum cluster_id id, uint8_t version, uint32_t versions)
{
	struct topology *snapshot = topology_new();

	snapshot->version = version;
	snapshot->versions = versions;
	cluster_publish(&clusters[id], snapshot);
}

START_TEST(served_versions)
{
	const uint32_t v3 = version_bit(3), v4 = version_bit(4), v5 = version_bit(5);
	const uint32_t dse1 = version_bit(VERSION_DSE1), dse2 = version_bit(VERSION_DSE2);

	settings.max_protocol_version = VERSION_DSE2;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		cluster_init(&clusters[i], (enum cluster_id)i, &settings.cluster[i]);
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), 0);
	ck_assert_uint_eq(clusters_lower_version(clusters), 0);
	publish(CLUSTER_ORIGIN, 5, v3 | v4 | v5);
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), 0);
	ck_assert_uint_eq(clusters_lower_version(clusters), 0);
	publish(CLUSTER_TARGET, 4, v3 | v4);
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), v3 | v4);
	ck_assert_uint_eq(clusters_lower_version(clusters), 4);
	/* What a DSE node and Cassandra 4 have in common is not what their control connections ended at. */
	publish(CLUSTER_TARGET, VERSION_DSE2, v3 | v4 | dse1 | dse2);
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), v3 | v4);
	ck_assert_uint_eq(clusters_lower_version(clusters), 5);
	publish(CLUSTER_ORIGIN, VERSION_DSE1, v3 | v4 | dse1);
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), v3 | v4 | dse1);
	ck_assert_uint_eq(clusters_lower_version(clusters), VERSION_DSE1);
	settings.blocked_versions = v4 | dse2;
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), v3 | dse1);
	settings.max_protocol_version = 5;
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), v3);
	settings.blocked_versions = v3;
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), v4);
	settings.max_protocol_version = 3;
	ck_assert_uint_eq(clusters_served_versions(clusters, &settings), 0);
	settings.blocked_versions = 0;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		cluster_fini(&clusters[i]);
}
END_TEST

START_TEST(round_robin)
{
	struct cluster *c = &clusters[CLUSTER_TARGET];
	unsigned visits[256] = { 0 };
	struct net_address a;
	uint8_t bytes[16];

	settings.cluster[CLUSTER_TARGET].enable_host_assignment = _i == 0;
	cluster_init(c, CLUSTER_TARGET, &settings.cluster[CLUSTER_TARGET]);
	ck_assert(!cluster_pick_host(c, &a));
	ck_assert(net_parse_ip("10.0.0.77", 9042, &source.contact));
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	peer_table_add(&peers, "10.0.0.3", "dc1", "3", "a");
	fill();
	cluster_publish(c, t);
	t = NULL;
	for (unsigned i = 0; i < 300; i++) {
		ck_assert(cluster_pick_host(c, &a));
		ck_assert_uint_eq(net_to_bytes(&a, bytes), 4);
		visits[bytes[3]]++;
	}
	/* Address translation: the nodes' own addresses may be out of reach, the contact point is not. */
	ck_assert_uint_eq(visits[77], _i == 0 ? 0 : 300);
	for (unsigned i = 1; i <= 3; i++)
		ck_assert_uint_eq(visits[i], _i == 0 ? 100 : 0);
	cluster_fini(c);
}
END_TEST

/* The instance's own hosts, the others of the datacenter, then one fallback datacenter after the other. */
START_TEST(hosts_that_are_down)
{
	static const char *const steps[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.1" };
	struct cluster *c = &clusters[CLUSTER_TARGET];
	struct net_address a;
	char name[NET_TEXT_MAX];

	settings.cluster[CLUSTER_TARGET].enable_host_assignment = true;
	settings.topology_addresses.count = 2;
	fall_back_to("dc3");
	settings.cluster[CLUSTER_TARGET].fallback_datacenters.count = 2;
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	peer_table_add(&peers, "10.0.0.3", "dc3", "3", "a");
	peer_table_add(&peers, "10.0.0.4", "dc2", "4", "a");
	peer_table_add(&peers, "10.0.0.9", "dc9", "9", "a");
	fill();
	cluster_init(c, CLUSTER_TARGET, &settings.cluster[CLUSTER_TARGET]);
	cluster_publish(c, t);
	t = NULL;
	for (unsigned step = 0; step < ARRAY_LEN(steps); step++) {
		for (unsigned i = 0; i < 5; i++) {
			ck_assert(cluster_pick_host(c, &a));
			ck_assert_str_eq(net_format_ip(&a, name), steps[step]);
		}
		cluster_mark_down(c, &a, 60000);
	}
	ck_assert(net_parse_ip("10.0.0.4", 9142, &a));
	cluster_mark_up(c, &a);
	ck_assert(cluster_pick_host(c, &a));
	ck_assert_str_eq(net_format_ip(&a, name), "10.0.0.4");
	cluster_fini(c);
}
END_TEST

/* All nodes of the datacenter have left the cluster. */
START_TEST(no_local_host_is_left)
{
	struct cluster *c = &clusters[CLUSTER_TARGET];
	struct net_address a;
	char name[NET_TEXT_MAX];

	settings.cluster[CLUSTER_TARGET].enable_host_assignment = true;
	source.datacenter = "dc7";
	fall_back_to("dc2");
	two_datacenters();
	fill();
	cluster_init(c, CLUSTER_TARGET, &settings.cluster[CLUSTER_TARGET]);
	cluster_publish(c, t);
	t = NULL;
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(cluster_pick_host(c, &a));
		ck_assert_str_eq(net_format_ip(&a, name), i == 0 ? "10.0.0.3" : "10.0.0.2");
	}
	cluster_fini(c);
}
END_TEST

/* Nodes that went down and never came back must not take all the places for ever. */
START_TEST(many_nodes_down)
{
	struct cluster *c = &clusters[CLUSTER_TARGET];
	struct net_address a;
	char ip[32];

	settings.cluster[CLUSTER_TARGET].enable_host_assignment = true;
	cluster_init(c, CLUSTER_TARGET, &settings.cluster[CLUSTER_TARGET]);
	for (unsigned i = 0; i < CLUSTER_MAX_DOWN; i++) {
		snprintf(ip, sizeof(ip), "10.9.0.%u", i);
		ck_assert(net_parse_ip(ip, 9042, &a));
		cluster_mark_down(c, &a, 0); /* its time is over at once */
	}
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	fill();
	cluster_publish(c, t);
	t = NULL;
	ck_assert(net_parse_ip("10.0.0.2", 9142, &a));
	cluster_mark_down(c, &a, 60000);
	for (unsigned i = 0; i < 10; i++) {
		struct net_address picked;

		ck_assert(cluster_pick_host(c, &picked));
		ck_assert(!net_equal(&picked, &a));
	}
	cluster_fini(c);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("topology");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, one_node);
	tcase_add_test(tcase, sorted);
	tcase_add_test(tcase, unusable_peers);
	tcase_add_test(tcase, values_of_wrong_length);
	tcase_add_test(tcase, duplicates);
	tcase_add_test(tcase, two_at_one_address);
	tcase_add_loop_test(tcase, local_address, 0, ARRAY_LEN(addresses));
	tcase_add_loop_test(tcase, local_that_will_not_do, 0, ARRAY_LEN(bad_local));
	tcase_add_test(tcase, no_local_row);
	tcase_add_loop_test(tcase, partitioner_that_will_do, 0, ARRAY_LEN(partitioners));
	tcase_add_test(tcase, configured_datacenter);
	tcase_add_test(tcase, unknown_datacenter_for_zdm);
	tcase_add_test(tcase, unknown_datacenter);
	tcase_add_loop_test(tcase, configured_datacenter_that_has_gone, 0, 2);
	tcase_add_loop_test(tcase, zdm_keeps_its_first_datacenter, 0, 2);
	tcase_add_test(tcase, fallback_datacenters);
	tcase_add_test(tcase, kept_datacenter);
	tcase_add_test(tcase, kept_datacenter_that_has_gone);
	tcase_add_loop_test(tcase, schema_versions, 0, 4);
	tcase_add_loop_test(tcase, share_of_an_instance, 0, ARRAY_LEN(shares));
	tcase_add_test(tcase, shares_leave_nobody_out);
	tcase_add_test(tcase, assigned_hosts);
	tcase_add_test(tcase, uuid_text);
	tcase_add_test(tcase, nodes_behind_an_sni_proxy);
	tcase_add_loop_test(tcase, the_datacenter_of_the_metadata, 0, 2);
	tcase_add_test(tcase, served_versions);
	tcase_add_loop_test(tcase, round_robin, 0, 2);
	tcase_add_test(tcase, many_nodes_down);
	tcase_add_test(tcase, hosts_that_are_down);
	tcase_add_test(tcase, no_local_host_is_left);
	return run_tcase("topology", tcase);
}
