/*
 * fuzz_topology.c - snapshots out of system tables whose values are the input:
 * columns that exist, with values of any length and content, in rows of any
 * number. The first byte chooses settings and table.
 */
#include "base/log.h"
#include "cql/message.h"
#include "fuzz.h"
#include "proxy/keyspaces.h"
#include "proxy/ring.h"
#include "proxy/topology.h"

static const char *const local_columns[] = {
	"key",
	"rpc_address",
	"rpc_port",
	"broadcast_address",
	"listen_address",
	"host_id",
	"data_center",
	"rack",
	"partitioner",
	"tokens",
	"cluster_name",
	"schema_version",
	"native_transport_port_ssl",
};
static const char *const v2_columns[] = { "peer",        "native_address", "native_port", "host_id",
					  "data_center", "rack",           "tokens",      "schema_version" };
static const char *const old_columns[] = {
	"peer", "rpc_address", "native_transport_address", "native_transport_port", "host_id", "data_center",
	"rack", "tokens",      "schema_version",
};
static const char *const keyspace_columns[] = { "keyspace_name", "replication" };

static char *fallbacks[] = { (char *)(uintptr_t) "a", (char *)(uintptr_t) "b" };

struct input {
	const uint8_t *p;
	size_t left;
};

static uint8_t next(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

/* Small numbers are kinds of values that mean something; all others are lengths of raw ones. */
static void put_value(struct input *in, struct writer *w)
{
	static const uint8_t zeros[16];
	const uint8_t kind = next(in);
	uint8_t bytes[256];
	size_t len;

	if (kind == 0) {
		write_bytes(w, NULL, 0);
	} else if (kind < 4) { /* short texts, ports and addresses that come up again and again */
		memset(bytes, 'a', sizeof(bytes));
		bytes[0] = next(in);
		write_bytes(w, bytes, kind == 1 ? 1 : kind == 2 ? 4 : 16);
	} else if (kind == 4) {
		write_bytes(w, zeros, next(in) % 2 ? 4 : 16);
	} else if (kind == 5) {
		write_bytes(w, "org.apache.cassandra.dht.Murmur3Partitioner", 43);
	} else if (kind == 6) {
		put_u32(bytes, 9042u - 82 + next(in));
		write_bytes(w, bytes, 4);
	} else {
		len = MIN((size_t)kind, in->left);
		write_bytes(w, in->p, (uint32_t)len);
		in->p += len;
		in->left -= len;
	}
}

static uint8_t *make_body(struct input *in, const char *const *columns, uint32_t column_count, uint32_t row_count,
			  uint32_t *len)
{
	struct writer w;

	writer_init(&w);
	rows_write_head(&w, column_count, SV("system"), SV("t"));
	for (uint32_t i = 0; i < column_count; i++)
		rows_write_column(&w, sv_from(columns[i]), rows_type_varchar);
	rows_write_count(&w, row_count);
	for (uint32_t i = 0; i < row_count * column_count; i++)
		put_value(in, &w);
	*len = w.len;
	return w.data;
}

static void check_hosts(const struct topology *t)
{
	CHECK(t->local_count <= t->host_count && t->host_count <= t->all_count && t->assigned_count <= t->local_count);
	CHECK(t->datacenter && t->all_count > 0);
	for (unsigned i = 0; i < t->all_count; i++) {
		const struct host *host = &t->hosts[i];
		char name[NET_TEXT_MAX];

		CHECK((i < t->local_count) == (host->tier == 0));
		CHECK((i < t->host_count) == (host->tier != HOST_TIER_REMOTE));
		CHECK(i == 0 || host->tier >= t->hosts[i - 1].tier);
		CHECK(strcmp(host->name, net_format(&host->address, name)) == 0);
		CHECK(net_port(&host->address) != 0 && !net_is_any(&host->address));
		CHECK(i >= t->host_count || topology_find(t, &host->address) == host);
		for (unsigned j = 0; j < i; j++)
			CHECK(!net_equal(&host->address, &t->hosts[j].address) &&
			      memcmp(host->host_id, t->hosts[j].host_id, 16) != 0);
	}
	for (unsigned i = 0; i < t->assigned_count; i++)
		CHECK(t->assigned[i] < t->local_count);
}

static void add_keyspaces(struct topology *t, struct input *in)
{
	uint32_t len;
	uint8_t *body = make_body(in, keyspace_columns, ARRAY_LEN(keyspace_columns), next(in) % 8, &len);
	const char *why;
	struct rows rows;

	CHECK(rows_parse(body, len, 0, 4, &rows, &why));
	CHECK(keyspaces_add(t, &rows, next(in) % 2 ? 4 : 2));
	keyspaces_sort(t);
	for (unsigned i = 0; i < t->keyspace_count; i++)
		CHECK(keyspaces_find(t, sv_from(t->keyspaces[i].keyspace)));
	rows_free(&rows);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	const uint8_t choice = next(&in);
	const bool v2 = choice & 1;
	struct settings settings = { .profile = choice & 2 ? PROFILE_ZDM : PROFILE_NATIVE };
	struct cluster_settings *cs = &settings.cluster[CLUSTER_ORIGIN];
	struct topology_source source = { .id = CLUSTER_ORIGIN, .settings = &settings };
	struct topology *t = topology_new();
	uint8_t *local_body, *peers_body;
	uint32_t local_len, peers_len;
	struct rows local, peers;
	const char *why;
	char error[512] = "";

	log_set_level(LOG_ERROR); /* what is odd in the rows is said as a warning */
	cs->port = 9042;
	cs->node_ports = choice & 4 ? NODE_PORTS_CONFIGURED : NODE_PORTS_DISCOVERED;
	cs->tls = choice & 8 ? TLS_CA : TLS_NONE;
	if (choice & 16)
		cs->fallback_datacenters = (struct string_list){ fallbacks, ARRAY_LEN(fallbacks) };
	source.datacenter = choice & 32 ? "a" : NULL;
	CHECK(net_parse_ip(choice & 64 ? "::1" : "97.97.97.97", 9042, &source.contact));
	local_body = make_body(&in, local_columns, ARRAY_LEN(local_columns), 1, &local_len);
	peers_body = v2 ? make_body(&in, v2_columns, ARRAY_LEN(v2_columns), next(&in) % 32, &peers_len)
			: make_body(&in, old_columns, ARRAY_LEN(old_columns), next(&in) % 32, &peers_len);
	CHECK(rows_parse(local_body, local_len, 0, 4, &local, &why));
	CHECK(rows_parse(peers_body, peers_len, 0, 4, &peers, &why));
	if (topology_fill(t, &source, &local, &peers, error, sizeof(error)) == TOPOLOGY_OK) {
		check_hosts(t);
		add_keyspaces(t, &in);
		t->ring = ring_build(t, CLUSTER_ORIGIN);
	} else {
		CHECK(error[0]);
	}
	rows_free(&local);
	rows_free(&peers);
	free(local_body);
	free(peers_body);
	topology_unref(t);
	return 0;
}
