/* test_topology_rows.c - where the nodes of system.local, system.peers and system.peers_v2 are reached. */
#include "proxy/topology_rows.h"

#include "proxy/status_event.h"
#include "system_tables.h"

static struct settings settings;
static struct cluster_settings *cluster = &settings.cluster[CLUSTER_ORIGIN];
static struct topology_source source;
static struct table local, peers;
static struct topology *t;
static struct address_mapping mappings[4];

static void setup(void)
{
	settings = (struct settings){ .topology_num_tokens = 8 };
	cluster->port = 9042;
	cluster->node_ports = NODE_PORTS_DISCOVERED;
	cluster->address_map = (struct address_map){ .items = mappings };
	source = (struct topology_source){ .id = CLUSTER_ORIGIN, .settings = &settings };
	ck_assert(net_parse_ip("10.0.0.1", 9042, &source.contact));
	local = local_table();
	local.column_count = ARRAY_LEN(local_table_columns);
	peers = peer_v2_table();
	t = topology_new();
}

static void teardown(void)
{
	topology_unref(t);
}

/* The addresses of all hosts in their order, by host id as all are in one rack: "10.0.0.1:9042 ...". */
static const char *addresses(void)
{
	static char text[4096];
	char error[256] = "";
	size_t n = 0;

	ck_assert_msg(tables_fill(t, &source, &local, &peers, error, sizeof(error)) == TOPOLOGY_OK, "%s", error);
	text[0] = '\0';
	for (unsigned i = 0; i < t->all_count; i++) {
		char name[NET_TEXT_MAX];

		ck_assert_str_eq(t->hosts[i].name, net_format(&t->hosts[i].address, name));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", name);
	}
	return text;
}

static void map(const char *from, const char *to, uint16_t port)
{
	struct address_mapping *m = &mappings[cluster->address_map.count++];

	ck_assert(net_parse_ip(from, 0, &m->from));
	ck_assert(net_parse_ip(to, port, &m->to));
}

static void expect_text(const struct host *host, const char *column, const char *expected)
{
	const struct bytesview v = host_value(host, column);

	ck_assert(!v.is_null);
	ck_assert_uint_eq(v.len, strlen(expected));
	ck_assert_mem_eq(v.p, expected, v.len);
}

/* ---- peers_v2 ---- */

START_TEST(ports_of_peers_v2)
{
	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	peer_v2_table_add(&peers, "10.0.0.2", "9143", "dc1", "3", "a");
	peer_v2_table_add(&peers, "10.0.0.4", NULL, "dc1", "4", "a");
	peer_v2_table_add(&peers, "10.0.0.5", "0", "dc1", "5", "a");
	peer_v2_table_add(&peers, "10.0.0.6", "70000", "dc1", "6", "a");
	peer_v2_table_add(&peers, "10.0.0.7", "-1", "dc1", "7", "a");
	ck_assert_str_eq(addresses(), "10.0.0.1:9042 10.0.0.2:9142 10.0.0.2:9143 10.0.0.4:9042 10.0.0.5:9042 "
				      "10.0.0.6:9042 10.0.0.7:9042");
}
END_TEST

START_TEST(configured_ports)
{
	cluster->node_ports = NODE_PORTS_CONFIGURED;
	local.rows[0][LOCAL_PORT] = "9142";
	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	ck_assert_str_eq(addresses(), "10.0.0.1:9042 10.0.0.2:9042");
}
END_TEST

/* Everybody else knows the columns of system.peers only. */
START_TEST(names_of_system_peers)
{
	static const char *const expected[] = { "peer",         "data_center", "host_id",         "rpc_address",
						"preferred_ip", "rack",        "release_version", "schema_version" };
	const struct host *host;

	peer_v2_table_add(&peers, "10.0.0.2", "9042", "dc1", "2", "a");
	addresses();
	host = &t->hosts[1];
	ck_assert_uint_eq(t->peer_columns.count, ARRAY_LEN(expected));
	ck_assert_uint_eq(host->value_count, ARRAY_LEN(expected));
	for (unsigned i = 0; i < ARRAY_LEN(expected); i++) {
		ck_assert_str_eq(t->peer_columns.items[i], expected[i]);
		ck_assert_str_eq(host->values[i].column, expected[i]);
	}
	ck_assert_uint_eq(host_value(host, "rpc_address").len, 4);
	expect_text(host, "release_version", "4.1.9");
	ck_assert(host_has_column(host, "preferred_ip") && host_value(host, "preferred_ip").is_null);
}
END_TEST

START_TEST(peers_v2_without_addresses)
{
	peer_v2_table_add(&peers, "10.0.0.2", "9042", "dc1", "2", "a")[V2_ADDRESS] = NULL;
	peer_v2_table_add(&peers, "10.0.0.3", "9042", "dc1", "3", "a")[V2_ADDRESS] = "0.0.0.0";
	peer_v2_table_add(&peers, NULL, "9042", "dc1", "4", "a")[V2_ADDRESS] = "::";
	peer_v2_table_add(&peers, NULL, "9042", "dc1", "5", "a")[V2_ADDRESS] = "10.0.0.5";
	peer_v2_table_add(&peers, "0.0.0.0", "9042", "dc1", "6", "a");
	ck_assert_str_eq(addresses(), "10.0.0.1:9042 10.0.0.3:9042 10.0.0.5:9042");
}
END_TEST

START_TEST(no_peers)
{
	ck_assert_str_eq(addresses(), "10.0.0.1:9042");
	ck_assert_uint_eq(t->peer_columns.count, 8);
}
END_TEST

/* Forty nodes in two racks, their rows upside down: the order is that of racks and ids. */
START_TEST(forty_hosts)
{
	static char texts[41][2][24];
	char name[NET_TEXT_MAX];

	for (unsigned i = 40; i >= 2; i--) {
		snprintf(texts[i][0], sizeof(texts[i][0]), "10.0.0.%u", i);
		snprintf(texts[i][1], sizeof(texts[i][1]), "%u", i);
		peer_v2_table_add(&peers, texts[i][0], "9042", "dc1", texts[i][1], i % 2 ? "a" : "b");
	}
	addresses();
	ck_assert_uint_eq(t->local_count, 40);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "10.0.0.%u:9042", i < 20 ? 2 * i + 1 : 2 * (i - 20) + 2);
		ck_assert_str_eq(t->hosts[i].name, name);
	}
}
END_TEST

/* ---- the node that was asked ---- */

static const struct {
	const char *contact;
	uint16_t contact_port;
	const char *rpc, *port, *expected;
} locals[] = {
	{ "10.0.0.1", 9042, "10.0.0.1", "9042", "10.0.0.1:9042 10.0.0.2:9142" },
	/* What was reached is right, and a row without a port says nothing against it. */
	{ "10.0.0.1", 9242, "10.0.0.1", NULL, "10.0.0.1:9242 10.0.0.2:9142" },
	/* Another listener of the node answered (TLS on a port of its own): what the rows say is not for us. */
	{ "10.0.0.1", 9242, "10.0.0.1", "9042", "10.0.0.1:9242 10.0.0.2:9042" },
	/* Reached through something in between, the node's own address counts. */
	{ "127.0.0.1", 19042, "10.0.0.1", "9142", "10.0.0.1:9142 10.0.0.2:9142" },
	{ "127.0.0.1", 19042, "10.0.0.1", NULL, "10.0.0.1:9042 10.0.0.2:9142" },
	{ "127.0.0.1", 19042, NULL, "9142", "127.0.0.1:19042 10.0.0.2:9142" },
};

START_TEST(port_of_the_local_row)
{
	ck_assert(net_parse_ip(locals[_i].contact, locals[_i].contact_port, &source.contact));
	local.rows[0][LOCAL_RPC] = locals[_i].rpc;
	local.rows[0][LOCAL_PORT] = locals[_i].port;
	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	ck_assert_str_eq(addresses(), locals[_i].expected);
}
END_TEST

static const struct {
	const char *rpc, *broadcast, *listen, *expected;
} anywhere[] = {
	{ "0.0.0.0", "10.0.0.7", "10.0.0.8", "10.0.0.7:9042" }, { "0.0.0.0", NULL, "10.0.0.8", "10.0.0.8:9042" },
	{ "::", "0.0.0.0", "fd00::8", "[fd00::8]:9042" },       { "0.0.0.0", NULL, NULL, "127.0.0.5:19042" },
	{ "0.0.0.0", "0.0.0.0", "::", "127.0.0.5:19042" },      { NULL, "10.0.0.7", "10.0.0.8", "127.0.0.5:19042" },
};

START_TEST(local_row_that_listens_everywhere)
{
	ck_assert(net_parse_ip("127.0.0.5", 19042, &source.contact));
	local.rows[0][LOCAL_RPC] = anywhere[_i].rpc;
	local.rows[0][LOCAL_BROADCAST] = anywhere[_i].broadcast;
	local.rows[0][LOCAL_LISTEN] = anywhere[_i].listen;
	ck_assert_str_eq(addresses(), anywhere[_i].expected);
}
END_TEST

/* ---- IPv6 ---- */

START_TEST(ipv6)
{
	ck_assert(net_parse_ip("::1", 9042, &source.contact));
	local.rows[0][LOCAL_RPC] = "::1";
	local.rows[0][LOCAL_PORT] = "9042";
	peer_v2_table_add(&peers, "fd00::2", "9142", "dc1", "2", "a");
	peer_v2_table_add(&peers, "2001:db8::3", "9042", "dc1", "3", "a");
	ck_assert_str_eq(addresses(), "[::1]:9042 [fd00::2]:9142 [2001:db8::3]:9042");
}
END_TEST

/* ---- DSE ---- */

static const struct {
	enum tls_mode tls;
	const char *address, *port, *ssl, *expected;
} dse[] = {
	{ TLS_NONE, "10.0.1.2", "9142", "9143", "10.0.1.2:9142" },
	{ TLS_CA, "10.0.1.2", "9142", "9143", "10.0.1.2:9143" },
	{ TLS_FULL, "10.0.1.2", "9142", NULL, "10.0.1.2:9142" },
	{ TLS_FULL, "10.0.1.2", "9142", "0", "10.0.1.2:9142" },
	{ TLS_CA, NULL, NULL, NULL, "10.0.0.2:9042" },
	{ TLS_NONE, "0.0.0.0", NULL, "9143", "10.0.2.2:9042" },
};

START_TEST(columns_of_dse)
{
	const char **row;

	cluster->tls = dse[_i].tls;
	peers = (struct table){ .columns = dse_table_columns, .column_count = ARRAY_LEN(dse_table_columns) };
	row = peers.rows[peers.row_count++];
	row[DSE_PEER] = "10.0.2.2";
	row[DSE_DC] = "dc1";
	row[DSE_ID] = "2";
	row[DSE_RACK] = "a";
	row[DSE_RPC] = "10.0.0.2";
	row[DSE_ADDRESS] = dse[_i].address;
	row[DSE_PORT] = dse[_i].port;
	row[DSE_PORT_SSL] = dse[_i].ssl;
	addresses();
	ck_assert_str_eq(t->hosts[1].name, dse[_i].expected);
	ck_assert_uint_eq(t->peer_columns.count, ARRAY_LEN(dse_table_columns));
}
END_TEST

/* ---- address translation ---- */

START_TEST(translated)
{
	map("10.0.0.2", "192.0.2.2", 0);
	map("10.0.0.3", "192.0.2.2", 9043);
	map("fd00::4", "2001:db8::4", 0);
	map("10.0.0.1", "192.0.2.1", 0);
	ck_assert(net_parse_ip("192.0.2.1", 9042, &source.contact));
	local.rows[0][LOCAL_PORT] = "9042";
	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	peer_v2_table_add(&peers, "10.0.0.3", "9142", "dc1", "3", "a");
	peer_v2_table_add(&peers, "fd00::4", "9142", "dc1", "4", "a");
	peer_v2_table_add(&peers, "10.0.0.5", "9142", "dc1", "5", "a");
	ck_assert_str_eq(addresses(), "192.0.2.1:9042 192.0.2.2:9142 192.0.2.2:9043 [2001:db8::4]:9142 10.0.0.5:9142");
}
END_TEST

/* All behind one address: the map says the ports, and that the contact's own row has another one means nothing. */
START_TEST(translated_to_ports)
{
	map("10.0.0.1", "127.0.0.1", 19041);
	map("10.0.0.2", "127.0.0.1", 19042);
	ck_assert(net_parse_ip("127.0.0.1", 19041, &source.contact));
	local.rows[0][LOCAL_PORT] = "9042";
	peer_v2_table_add(&peers, "10.0.0.2", "9042", "dc1", "2", "a");
	peer_v2_table_add(&peers, "10.0.0.3", "9142", "dc1", "3", "a");
	ck_assert_str_eq(addresses(), "127.0.0.1:19041 127.0.0.1:19042 10.0.0.3:9142");
}
END_TEST

/* ---- nodes that events speak of ---- */

static const struct {
	const char *ip;
	uint16_t port;
	const char *expected; /* NULL: none */
} found[] = {
	{ "10.0.0.2", 9042, "10.0.0.2:9142" }, /* the only one there */
	{ "10.0.0.3", 9143, "10.0.0.3:9143" }, /* one of two */
	{ "10.0.0.3", 9999, NULL },            /* neither of them */
	{ "10.0.0.9", 9042, NULL },            /* of a datacenter that gets no requests */
	{ "10.0.0.77", 9042, NULL },
};

START_TEST(find_a_node)
{
	const struct host *host;
	struct net_address a;

	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	peer_v2_table_add(&peers, "10.0.0.3", "9142", "dc1", "3", "a");
	peer_v2_table_add(&peers, "10.0.0.3", "9143", "dc1", "4", "a");
	peer_v2_table_add(&peers, "10.0.0.9", "9042", "dc9", "9", "a");
	addresses();
	ck_assert(net_parse_ip(found[_i].ip, found[_i].port, &a));
	host = topology_find(t, &a);
	ck_assert((host != NULL) == (found[_i].expected != NULL));
	if (host)
		ck_assert_str_eq(host->name, found[_i].expected);
	ck_assert(topology_has(t, &a) == (host != NULL && net_port(&a) == net_port(&host->address)));
}
END_TEST

/* Behind an SNI proxy all have one address, and events speak of the one that the node has inside. */
START_TEST(find_a_node_by_what_it_says)
{
	struct net_address a;
	const struct host *host;

	ck_assert(net_parse_ip("192.0.2.9", 29042, &source.contact));
	ck_assert(net_parse_node_id("00000000-0000-0000-0000-000000000001", source.contact.node_id));
	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	peer_v2_table_add(&peers, "10.0.0.3", "9142", "dc1", "3", "a");
	peer_v2_table_add(&peers, "10.0.0.3", "9143", "dc1", "4", "a");
	addresses();
	ck_assert(net_parse_ip("10.0.0.2", 9042, &a));
	host = topology_find(t, &a);
	ck_assert(host != NULL);
	ck_assert_str_eq(host->name, "00000000-0000-0000-0000-000000000002");
	ck_assert(net_parse_ip("10.0.0.3", 9142, &a)); /* two of them */
	ck_assert(topology_find(t, &a) == NULL);
	ck_assert(net_parse_ip("192.0.2.9", 29042, &a)); /* the proxy is no node */
	ck_assert(topology_find(t, &a) == NULL);
}
END_TEST

static size_t event(const char *kind, const char *word, const char *ip, uint32_t port, uint8_t *out)
{
	struct net_address a;
	uint8_t bytes[16];
	struct writer w;
	size_t len;

	ck_assert(net_parse_ip(ip, 0, &a));
	writer_init(&w);
	write_cstring(&w, kind);
	write_cstring(&w, word);
	write_byte(&w, (uint8_t)net_to_bytes(&a, bytes));
	write_raw(&w, bytes, net_to_bytes(&a, bytes));
	write_int(&w, port);
	len = w.len;
	memcpy(out, w.data, len);
	writer_free(&w);
	return len;
}

START_TEST(status_events)
{
	struct cluster c;
	struct net_address node;
	char name[NET_TEXT_MAX];
	uint8_t body[128];
	bool is_up;
	size_t len;

	map("10.0.0.2", "192.0.2.2", 0);
	peer_v2_table_add(&peers, "10.0.0.2", "9142", "dc1", "2", "a");
	cluster_init(&c, CLUSTER_ORIGIN, cluster);
	len = event("STATUS_CHANGE", "DOWN", "10.0.0.2", 9042, body);
	ck_assert(!status_event_read(&c, body, (uint32_t)len, &node, &is_up));
	addresses();
	cluster_publish(&c, t);
	t = NULL;
	ck_assert(status_event_read(&c, body, (uint32_t)len, &node, &is_up));
	ck_assert(!is_up);
	ck_assert_str_eq(net_format(&node, name), "192.0.2.2:9142");
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = exact_copy(body, cut);

		ck_assert(!status_event_read(&c, copy, (uint32_t)cut, &node, &is_up));
		free(copy);
	}
	len = event("STATUS_CHANGE", "UP", "10.0.0.1", 9042, body);
	ck_assert(status_event_read(&c, body, (uint32_t)len, &node, &is_up) && is_up);
	len = event("STATUS_CHANGE", "SLEEPY", "10.0.0.1", 9042, body);
	ck_assert(!status_event_read(&c, body, (uint32_t)len, &node, &is_up));
	len = event("STATUS_CHANGE", "UP", "10.0.0.1", 70000, body);
	ck_assert(!status_event_read(&c, body, (uint32_t)len, &node, &is_up));
	len = event("STATUS_CHANGE", "UP", "10.0.0.99", 9042, body);
	ck_assert(!status_event_read(&c, body, (uint32_t)len, &node, &is_up));
	cluster_fini(&c);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("topology_rows");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, ports_of_peers_v2);
	tcase_add_test(tcase, configured_ports);
	tcase_add_test(tcase, names_of_system_peers);
	tcase_add_test(tcase, peers_v2_without_addresses);
	tcase_add_test(tcase, no_peers);
	tcase_add_test(tcase, forty_hosts);
	tcase_add_loop_test(tcase, port_of_the_local_row, 0, ARRAY_LEN(locals));
	tcase_add_loop_test(tcase, local_row_that_listens_everywhere, 0, ARRAY_LEN(anywhere));
	tcase_add_test(tcase, ipv6);
	tcase_add_loop_test(tcase, columns_of_dse, 0, ARRAY_LEN(dse));
	tcase_add_test(tcase, translated);
	tcase_add_test(tcase, translated_to_ports);
	tcase_add_loop_test(tcase, find_a_node, 0, ARRAY_LEN(found));
	tcase_add_test(tcase, find_a_node_by_what_it_says);
	tcase_add_test(tcase, status_events);
	return run_tcase("topology_rows", tcase);
}
