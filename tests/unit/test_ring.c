/* test_ring.c - replicas by hand: what is compared with a driver is in tests/wire/test_ring.py. */
#include "proxy/ring.h"

#include "cql/writer.h"
#include "vectors.h"

static struct topology *t;

static void setup(void)
{
	t = topology_new();
	t->version = 4;
	t->partitioner = xstrdup("org.apache.cassandra.dht.Murmur3Partitioner");
	t->hosts = xcalloc(1100, sizeof(*t->hosts));
	t->keyspaces = xcalloc(100, sizeof(*t->keyspaces));
}

static void teardown(void)
{
	topology_unref(t);
}

static void set_tokens(struct host *h, const uint8_t *value, uint32_t len)
{
	h->values = xcalloc(1, sizeof(*h->values));
	h->value_count = 1;
	h->values[0] = (struct node_value){ .column = xstrdup("tokens"), .value = xmalloc(MAX(len, 1u)), .len = len };
	memcpy(h->values[0].value, value, len);
}

/* Tokens are decimals with blanks between them; NULL: the column is not there. */
static void add_host(uint8_t tier, const char *datacenter, const char *rack, const char *tokens)
{
	struct host *h = &t->hosts[t->all_count++];
	struct writer w;
	uint32_t count = 0;

	h->tier = tier;
	h->datacenter = xstrdup(datacenter);
	h->rack = xstrdup(rack);
	t->local_count += tier == 0;
	t->host_count += tier != HOST_TIER_REMOTE;
	if (!tokens)
		return;
	writer_init(&w);
	write_int(&w, 0);
	while (*tokens) {
		const size_t len = strcspn(tokens, " ");

		write_bytes(&w, tokens, (uint32_t)len);
		count++;
		tokens += len + (tokens[len] == ' ');
	}
	put_u32(w.data, count);
	set_tokens(h, w.data, w.len);
	writer_free(&w);
}

/* Options as "key value key value". */
static void add_keyspace(const char *name, const char *class, const char *options)
{
	struct keyspace_replication *k = &t->keyspaces[t->keyspace_count++];

	k->keyspace = xstrdup(name);
	k->class = class ? xstrdup(class) : NULL;
	k->options = xcalloc(8, sizeof(*k->options));
	while (*options) {
		const size_t key = strcspn(options, " ");
		const size_t value = strcspn(options + key + 1, " ");

		k->options[k->option_count++] = (struct replication_option){
			.key = xstrndup(options, key),
			.value = xstrndup(options + key + 1, value),
		};
		options += key + 1 + value;
		options += *options == ' ';
	}
}

static void build(void)
{
	t->ring = ring_build(t, CLUSTER_ORIGIN);
	ck_assert_ptr_nonnull(t->ring);
}

/* "2 0 1" */
static const char *replicas(const char *keyspace, int64_t token)
{
	static char text[256];
	const uint16_t *hosts;
	unsigned n = ring_replicas(t->ring, ring_table(t->ring, sv_from(keyspace)), token, &hosts);
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i ? " " : "", hosts[i]);
	return text;
}

/* Four nodes with a token each: 0, 100, 200, 300. */
static void four_nodes(void)
{
	add_host(0, "dc1", "a", "0");
	add_host(0, "dc1", "a", "100");
	add_host(0, "dc1", "b", "200");
	add_host(0, "dc1", "b", "300");
}

/* A token belongs to the first node whose own is not below it; behind the last one comes the first. */
START_TEST(owners)
{
	four_nodes();
	add_keyspace("one", "SimpleStrategy", "replication_factor 1");
	add_keyspace("two", "org.apache.cassandra.locator.SimpleStrategy", "replication_factor 2");
	build();
	ck_assert_str_eq(replicas("one", 0), "0");
	ck_assert_str_eq(replicas("one", 1), "1");
	ck_assert_str_eq(replicas("one", 100), "1");
	ck_assert_str_eq(replicas("one", 101), "2");
	ck_assert_str_eq(replicas("one", 300), "3");
	ck_assert_str_eq(replicas("one", 301), "0");
	ck_assert_str_eq(replicas("one", INT64_MIN), "0");
	ck_assert_str_eq(replicas("one", INT64_MAX), "0");
	ck_assert_str_eq(replicas("two", 250), "3 0");
	ck_assert_str_eq(replicas("two", 50), "1 2");
}
END_TEST

/* More replicas than nodes: all of them, each once. */
START_TEST(more_replicas_than_nodes)
{
	four_nodes();
	add_keyspace("s", "SimpleStrategy", "replication_factor 9");
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 9");
	build();
	ck_assert_str_eq(replicas("s", 150), "2 3 0 1");
	ck_assert_str_eq(replicas("n", 150), "2 3 0 1");
}
END_TEST

/* Distinct racks first; a rack is used twice only as often as there are more replicas than racks. */
START_TEST(racks)
{
	four_nodes();
	add_keyspace("two", "NetworkTopologyStrategy", "dc1 2");
	add_keyspace("three", "NetworkTopologyStrategy", "dc1 3");
	build();
	ck_assert_str_eq(replicas("two", 0), "0 2");
	ck_assert_str_eq(replicas("two", 50), "1 2");
	ck_assert_str_eq(replicas("two", 150), "2 0");
	ck_assert_str_eq(replicas("three", 0), "0 1 2");
	ck_assert_str_eq(replicas("three", 50), "1 2 3");
	ck_assert_str_eq(replicas("three", 250), "3 0 1");
}
END_TEST

/* The only node of rack c stands far behind: it is waited for, and the first nodes of the others come before it. */
START_TEST(a_rack_far_behind)
{
	add_host(0, "dc1", "a", "0 40");
	add_host(0, "dc1", "a", "10");
	add_host(0, "dc1", "b", "20");
	add_host(0, "dc1", "a", "30");
	add_host(0, "dc1", "c", "90");
	add_keyspace("three", "NetworkTopologyStrategy", "dc1 3");
	add_keyspace("four", "NetworkTopologyStrategy", "dc1 4");
	build();
	ck_assert_str_eq(replicas("three", 0), "0 2 4");
	ck_assert_str_eq(replicas("four", 0), "0 1 2 4");
	ck_assert_str_eq(replicas("four", 30), "3 0 4 2");
}
END_TEST

/* Two racks of one name in two datacenters are two. */
static void two_datacenters(uint8_t tier)
{
	add_host(0, "dc1", "a", "0");
	add_host(0, "dc1", "a", "200");
	add_host(tier, "dc2", "a", "100");
	add_host(tier, "dc2", "b", "300");
}

START_TEST(datacenters_apart)
{
	two_datacenters(1);
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 1 dc2 1 dc9 3");
	add_keyspace("m", "NetworkTopologyStrategy", "dc2 2");
	build();
	ck_assert_str_eq(replicas("n", 50), "1 2");
	ck_assert_str_eq(replicas("n", 150), "1 3");
	ck_assert_str_eq(replicas("n", 250), "0 3");
	ck_assert_str_eq(replicas("m", 250), "3 2");
}
END_TEST

/* The local datacenter's replicas come first, wherever they stand. */
START_TEST(simple_over_datacenters)
{
	two_datacenters(1);
	add_keyspace("s", "SimpleStrategy", "replication_factor 3");
	build();
	ck_assert_str_eq(replicas("s", 50), "1 2 3");
	ck_assert_str_eq(replicas("s", 150), "1 0 3");
}
END_TEST

/* Nodes that no request goes to hold replicas all the same. */
START_TEST(remote_nodes)
{
	two_datacenters(HOST_TIER_REMOTE);
	add_keyspace("s", "SimpleStrategy", "replication_factor 2");
	add_keyspace("one", "SimpleStrategy", "replication_factor 1");
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 2 dc2 2");
	add_keyspace("m", "NetworkTopologyStrategy", "dc2 2");
	build();
	ck_assert_str_eq(replicas("s", 50), "1");
	ck_assert_str_eq(replicas("s", 150), "1");
	ck_assert_str_eq(replicas("one", 50), "");
	ck_assert_str_eq(replicas("n", 50), "1 0");
	ck_assert_str_eq(replicas("m", 50), "");
}
END_TEST

/* A transient replica may hold nothing: the last of those that the placement finds. */
START_TEST(transient_replicas)
{
	four_nodes();
	add_keyspace("s", "SimpleStrategy", "replication_factor 3/1");
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 3/1");
	add_keyspace("all", "NetworkTopologyStrategy", "dc1 4/1");
	add_keyspace("few", "NetworkTopologyStrategy", "dc1 6/1");
	build();
	ck_assert_str_eq(replicas("s", 50), "1 2");
	ck_assert_str_eq(replicas("n", 0), "0 1");
	ck_assert_str_eq(replicas("all", 0), "0 1 2");
	ck_assert_str_eq(replicas("few", 0), "0 1 2 3");
}
END_TEST

static const char *const unknown[][2] = {
	{ "LocalStrategy", "" },
	{ "org.apache.cassandra.locator.EverywhereStrategy", "" },
	{ "com.example.MyStrategy", "replication_factor 3" },
	{ "SimpleStrategy", "replication_factor x" },
	{ "SimpleStrategy", "replication_factor -1" },
	{ "SimpleStrategy", "replication_factor 3/4" },
	{ "SimpleStrategy", "replication_factor 3/" },
	{ "SimpleStrategy", "replication_factor 99999999999999999999" },
	{ "NetworkTopologyStrategy", "dc1 many" },
	{ "", "" },
	{ NULL, "" },
};

START_TEST(unknown_placement)
{
	four_nodes();
	add_keyspace("known", "SimpleStrategy", "replication_factor 1");
	add_keyspace("ks", unknown[_i][0], unknown[_i][1]);
	build();
	ck_assert_uint_eq(ring_table(t->ring, SV("ks")), RING_NO_TABLE);
	ck_assert_str_eq(replicas("ks", 50), "");
	ck_assert_str_eq(replicas("known", 50), "1");
}
END_TEST

START_TEST(no_replicas_at_all)
{
	four_nodes();
	add_keyspace("n", "NetworkTopologyStrategy", "dc2 3");
	add_keyspace("zero", "SimpleStrategy", "replication_factor 0");
	build();
	ck_assert_str_eq(replicas("n", 50), "");
	ck_assert_str_eq(replicas("zero", 50), "");
}
END_TEST

START_TEST(keyspace_names)
{
	four_nodes();
	add_keyspace("b", "SimpleStrategy", "replication_factor 1");
	add_keyspace("a", "NetworkTopologyStrategy", "dc1 3 dc7 2");
	add_keyspace("ab", "SimpleStrategy", "replication_factor 2");
	add_keyspace("B", "NetworkTopologyStrategy", "dc1 3");
	build();
	ck_assert_uint_eq(ring_table(t->ring, SV("a")), ring_table(t->ring, SV("B")));
	ck_assert_uint_ne(ring_table(t->ring, SV("a")), ring_table(t->ring, SV("b")));
	ck_assert_uint_ne(ring_table(t->ring, SV("ab")), ring_table(t->ring, SV("b")));
	ck_assert_uint_ne(ring_table(t->ring, SV("ab")), RING_NO_TABLE);
	ck_assert_uint_eq(ring_table(t->ring, SV("abc")), RING_NO_TABLE);
	ck_assert_uint_eq(ring_table(t->ring, SV("")), RING_NO_TABLE);
	ck_assert_uint_eq(ring_table(t->ring, SV("A")), RING_NO_TABLE);
}
END_TEST

/* Nodes without tokens hold nothing; their racks and their number do not count. */
START_TEST(hosts_without_tokens)
{
	four_nodes();
	add_host(0, "dc1", "c", NULL);
	add_host(0, "dc1", "d", "");
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 5");
	add_keyspace("s", "SimpleStrategy", "replication_factor 5");
	build();
	ck_assert_str_eq(replicas("n", 0), "0 1 2 3");
	ck_assert_str_eq(replicas("s", 0), "0 1 2 3");
}
END_TEST

/* Two nodes with one token: the ring has it once, and a node that is left without any takes no part. */
START_TEST(one_token_twice)
{
	four_nodes();
	add_host(0, "dc1", "c", "200");
	add_keyspace("s", "SimpleStrategy", "replication_factor 9");
	build();
	ck_assert_str_eq(replicas("s", 101), "2 3 0 1");
}
END_TEST

static const char *const odd_tokens[] = {
	"abc", "12x", "9223372036854775808", "170141183460469231731687303715884105727", "-", " ", "+5"
};

START_TEST(tokens_that_cannot_be_read)
{
	four_nodes();
	add_host(0, "dc1", "c", odd_tokens[_i]);
	add_keyspace("s", "SimpleStrategy", "replication_factor 9");
	build();
	ck_assert_str_eq(replicas("s", 0), "0 1 2 3");
}
END_TEST

/* The column cut at each byte, and with a number of tokens that it does not have. */
START_TEST(cut_column)
{
	static const uint8_t column[] = { 0, 0, 0, 2, 0, 0, 0, 2, '5', '0', 0, 0, 0, 2, '6', '0' };
	static const uint8_t lying[] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, '5', '0' };

	four_nodes();
	add_host(0, "dc1", "c", NULL);
	add_keyspace("s", "SimpleStrategy", "replication_factor 1");
	for (uint32_t len = 0; len <= sizeof(column); len++) {
		free(t->hosts[4].values ? t->hosts[4].values[0].column : NULL);
		free(t->hosts[4].values ? t->hosts[4].values[0].value : NULL);
		free(t->hosts[4].values);
		set_tokens(&t->hosts[4], column, len);
		build();
		ck_assert_str_eq(replicas("s", 45), len >= 10 ? "4" : "1");
		ck_assert_str_eq(replicas("s", 60), len == sizeof(column) ? "4" : "1");
		ring_unref(t->ring);
	}
	memcpy(t->hosts[4].values[0].value, lying, sizeof(lying));
	t->hosts[4].values[0].len = sizeof(lying);
	build();
	ck_assert_str_eq(replicas("s", 45), "4");
}
END_TEST

/* Protocol v2 has shorter lengths in collections. */
START_TEST(short_collections)
{
	static const uint8_t column[] = { 0, 1, 0, 2, '5', '0' };

	t->version = 2;
	add_host(0, "dc1", "a", NULL);
	set_tokens(&t->hosts[0], column, sizeof(column));
	add_keyspace("s", "SimpleStrategy", "replication_factor 1");
	build();
	ck_assert_str_eq(replicas("s", 45), "0");
}
END_TEST

static const char *const other_partitioners[] = { "org.apache.cassandra.dht.RandomPartitioner",
						  "org.apache.cassandra.dht.ByteOrderedPartitioner", NULL };

START_TEST(no_ring)
{
	four_nodes();
	free(t->partitioner);
	t->partitioner = other_partitioners[_i] ? xstrdup(other_partitioners[_i]) : NULL;
	ck_assert_ptr_null(ring_build(t, CLUSTER_ORIGIN));
}
END_TEST

START_TEST(nobody_has_tokens)
{
	add_host(0, "dc1", "a", NULL);
	ck_assert_ptr_null(ring_build(t, CLUSTER_ORIGIN));
}
END_TEST

START_TEST(generations)
{
	struct ring *a, *b;

	four_nodes();
	a = ring_build(t, CLUSTER_ORIGIN);
	b = ring_build(t, CLUSTER_TARGET);
	ck_assert_uint_ne(ring_generation(a), 0);
	ck_assert_uint_ne(ring_generation(a), ring_generation(b));
	ring_unref(a);
	ring_unref(b);
	ring_unref(NULL);
}
END_TEST

/* One thing that is not as it was; 0 does not matter to the ring. */
static void change(int what)
{
	struct host *h = &t->hosts[3];

	switch (what) {
	case 1:
		h->values[0].value[h->values[0].len - 1] = '1';
		break;
	case 2:
		h->rack[0] = 'c';
		break;
	case 3:
		h->datacenter[2] = '2';
		break;
	case 4:
		h->host_id[15] = 1;
		break;
	case 5:
		h->tier = 1;
		t->local_count--;
		break;
	case 6:
		t->host_count--;
		break;
	case 7:
		t->keyspaces[0].options[0].value[0] = '2';
		break;
	case 8:
		t->keyspaces[0].keyspace[0] = 'x';
		break;
	case 9:
		add_keyspace("more", "LocalStrategy", "");
		break;
	case 10:
		free(t->keyspaces[0].class);
		t->keyspaces[0].class = NULL;
		break;
	case 11:
		t->partitioner[strlen(t->partitioner) - 1] = 'x';
		break;
	default: /* what does not matter here */
		h->is_local_row = !h->is_local_row;
		t->offers_lz4 = true;
		break;
	}
}
#define CHANGES 12

START_TEST(shared)
{
	struct settings settings = { .workers = 1 };
	struct topology *before = NULL, *now;
	struct cluster c;

	cluster_init(&c, CLUSTER_ORIGIN, &settings.cluster[CLUSTER_ORIGIN]);
	for (int i = 0; i < 2; i++) {
		if (i == 1)
			setup();
		four_nodes();
		add_keyspace("ks", "SimpleStrategy", "replication_factor 1");
		if (i == 1)
			change(_i);
		cluster_publish(&c, t);
		if (i == 0)
			before = cluster_topology(&c);
	}
	now = cluster_topology(&c);
	t = NULL;
	ck_assert_ptr_nonnull(before->ring);
	ck_assert_int_eq(before->ring == now->ring, _i == 0);
	topology_unref(before);
	if (now->ring) /* outlives the one that it was made for */
		ck_assert_uint_le(ring_table(now->ring, SV("ks")), RING_NO_TABLE);
	topology_unref(now);
	cluster_fini(&c);
}
END_TEST

/* `count` hosts with `per` tokens each, spread evenly. */
static void many_hosts(unsigned count, unsigned per)
{
	const uint64_t step = UINT64_MAX / ((uint64_t)count * per);

	for (unsigned i = 0; i < count; i++) {
		struct writer w;
		char text[32];

		add_host(0, "dc1", i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", NULL);
		writer_init(&w);
		write_int(&w, per);
		for (unsigned j = 0; j < per; j++) {
			const uint64_t position = ((uint64_t)j * count + i) * step;

			snprintf(text, sizeof(text), "%lld", (long long)(position - ((uint64_t)1 << 63)));
			write_bytes(&w, text, (uint32_t)strlen(text));
		}
		set_tokens(&t->hosts[i], w.data, w.len);
		writer_free(&w);
	}
}

/* The largest ring; one more token is too many. */
START_TEST(largest)
{
	many_hosts(1000, 256);
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 3");
	build();
	ck_assert_str_eq(replicas("n", INT64_MIN), "0 1 2");
	ck_assert_str_eq(replicas("n", INT64_MAX), "0 1 2");
	add_host(0, "dc1", "a", "7");
	ck_assert_ptr_null(ring_build(t, CLUSTER_ORIGIN));
}
END_TEST

/* The only node of its rack has one token, so that every key looks for it all around the ring: this takes no longer. */
START_TEST(a_rack_with_one_token)
{
	many_hosts(999, 256);
	add_host(0, "dc1", "far", "7");
	add_keyspace("n", "NetworkTopologyStrategy", "dc1 4");
	add_keyspace("s", "SimpleStrategy", "replication_factor 2");
	build();
	ck_assert_str_eq(replicas("n", INT64_MIN), "0 1 2 999");
	ck_assert_str_eq(replicas("n", INT64_MAX), "0 1 2 999");
	ck_assert_str_eq(replicas("s", 7), "999 1");
}
END_TEST

/* Differently replicated keyspaces until the bound of memory: the others stay known. */
START_TEST(too_many_replications)
{
	static char names[40][8];
	unsigned known = 0;

	many_hosts(1000, 256);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		char factor[48];

		snprintf(names[i], sizeof(names[i]), "ks%u", i);
		snprintf(factor, sizeof(factor), "replication_factor %u", i + 5);
		add_keyspace(names[i], "SimpleStrategy", factor);
	}
	build();
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		known += ring_table(t->ring, sv_from(names[i])) != RING_NO_TABLE;
	ck_assert_uint_gt(known, 5);
	ck_assert_uint_lt(known, 20);
	ck_assert_str_eq(replicas("ks0", INT64_MIN), "0 1 2 3 4");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("ring");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, owners);
	tcase_add_test(tcase, more_replicas_than_nodes);
	tcase_add_test(tcase, racks);
	tcase_add_test(tcase, a_rack_far_behind);
	tcase_add_test(tcase, datacenters_apart);
	tcase_add_test(tcase, simple_over_datacenters);
	tcase_add_test(tcase, remote_nodes);
	tcase_add_test(tcase, transient_replicas);
	tcase_add_loop_test(tcase, unknown_placement, 0, ARRAY_LEN(unknown));
	tcase_add_test(tcase, no_replicas_at_all);
	tcase_add_test(tcase, keyspace_names);
	tcase_add_test(tcase, hosts_without_tokens);
	tcase_add_test(tcase, one_token_twice);
	tcase_add_loop_test(tcase, tokens_that_cannot_be_read, 0, ARRAY_LEN(odd_tokens));
	tcase_add_test(tcase, cut_column);
	tcase_add_test(tcase, short_collections);
	tcase_add_loop_test(tcase, no_ring, 0, ARRAY_LEN(other_partitioners));
	tcase_add_test(tcase, nobody_has_tokens);
	tcase_add_test(tcase, generations);
	tcase_add_loop_test(tcase, shared, 0, CHANGES);
	tcase_add_test(tcase, largest);
	tcase_add_test(tcase, a_rack_with_one_token);
	tcase_add_test(tcase, too_many_replications);
	return run_tcase("ring", tcase);
}
