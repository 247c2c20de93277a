/* test_node_stats.c - counters by node: one entry for each, for ever, and a bound on how many. */
#include "proxy/node_stats.h"

#include "cql/tables.h"
#include "vectors.h"

#define WORKERS 3

static struct settings settings;
static struct node_table table;

static void setup(void)
{
	memset(&settings, 0, sizeof(settings));
	settings.workers = WORKERS;
	settings.buckets[CLUSTER_ORIGIN] = (struct bucket_list){ .ms = { 1, 10 }, .count = 2 };
	settings.buckets[CLUSTER_TARGET] = (struct bucket_list){ .ms = { 2 }, .count = 1 };
	settings.async_buckets = (struct bucket_list){ .ms = { 0.5, 3, 4 }, .count = 3 };
	node_table_init(&table, &settings);
}

static void teardown(void)
{
	node_table_fini(&table);
}

static struct net_address address(unsigned n, uint16_t port)
{
	struct net_address a;
	char text[32];

	snprintf(text, sizeof(text), "10.0.%u.%u", n / 256, n % 256);
	ck_assert(net_parse_ip(text, port, &a));
	return a;
}

START_TEST(empty_at_first)
{
	for (unsigned role = 0; role < NODE_ROLES; role++)
		ck_assert_uint_eq(node_table_count(&table, (enum node_role)role), 0);
}
END_TEST

START_TEST(one_entry_each)
{
	struct net_address a = address(1, 9042), b = address(2, 9042), c = address(1, 9043);
	struct node_stats *first = node_stats_get(&table, NODE_ORIGIN, 0, &a);

	ck_assert_ptr_eq(node_stats_get(&table, NODE_ORIGIN, 0, &a), first);
	ck_assert_uint_eq(node_table_count(&table, NODE_ORIGIN), 1);
	ck_assert_uint_eq(node_table_count(&table, NODE_TARGET), 0);
	/* each worker writes its own */
	ck_assert_ptr_ne(node_stats_get(&table, NODE_ORIGIN, 1, &a), first);
	ck_assert_uint_eq(node_table_count(&table, NODE_ORIGIN), 1);
	ck_assert_ptr_null(atomic_load(&table.nodes[NODE_ORIGIN][0]->stats[2]));
	/* another host, another port, another role */
	ck_assert_ptr_ne(node_stats_get(&table, NODE_ORIGIN, 0, &b), first);
	ck_assert_ptr_ne(node_stats_get(&table, NODE_ORIGIN, 0, &c), first);
	ck_assert_uint_eq(node_table_count(&table, NODE_ORIGIN), 3);
	ck_assert_ptr_ne(node_stats_get(&table, NODE_ASYNC, 0, &a), first);
	ck_assert_uint_eq(node_table_count(&table, NODE_ASYNC), 1);
	ck_assert_str_eq(table.nodes[NODE_ORIGIN][0]->name, "10.0.0.1:9042");
	ck_assert_str_eq(table.nodes[NODE_ORIGIN][2]->name, "10.0.0.1:9043");
}
END_TEST

START_TEST(ipv6_name)
{
	struct net_address a;

	ck_assert(net_parse_ip("2001:db8::7", 9042, &a));
	node_stats_get(&table, NODE_TARGET, 0, &a);
	ck_assert_str_eq(table.nodes[NODE_TARGET][0]->name, "[2001:db8::7]:9042");
}
END_TEST

/* The thousand and first node and those behind it share one series. */
START_TEST(bounded)
{
	struct node_stats *shared;
	struct net_address a;

	for (unsigned i = 0; i < NODE_TABLE_MAX; i++) {
		a = address(i, 9042);
		node_stats_get(&table, NODE_TARGET, i % WORKERS, &a);
	}
	ck_assert_uint_eq(node_table_count(&table, NODE_TARGET), NODE_TABLE_MAX);
	a = address(NODE_TABLE_MAX, 9042);
	shared = node_stats_get(&table, NODE_TARGET, 0, &a);
	a = address(NODE_TABLE_MAX + 1, 9042);
	ck_assert_ptr_eq(node_stats_get(&table, NODE_TARGET, 0, &a), shared);
	ck_assert_ptr_ne(node_stats_get(&table, NODE_TARGET, 1, &a), shared);
	ck_assert_uint_eq(node_table_count(&table, NODE_TARGET), NODE_TABLE_MAX + 1);
	ck_assert_str_eq(table.nodes[NODE_TARGET][NODE_TABLE_MAX]->name, "other");
	/* those that have their own keep it */
	a = address(5, 9042);
	ck_assert_ptr_ne(node_stats_get(&table, NODE_TARGET, 0, &a), shared);
	ck_assert_uint_eq(node_table_count(&table, NODE_TARGET), NODE_TABLE_MAX + 1);
}
END_TEST

/* Each role has the buckets that are set for it. */
START_TEST(buckets)
{
	static const unsigned expected[NODE_ROLES] = { [NODE_ORIGIN] = 2, [NODE_TARGET] = 1, [NODE_ASYNC] = 3 };
	struct net_address a = address(1, 9042);

	for (unsigned role = 0; role < NODE_ROLES; role++) {
		struct node_stats *stats = node_stats_get(&table, (enum node_role)role, 0, &a);

		ck_assert_uint_eq(stats->bounds->count, expected[role]);
		node_observe(stats, NODE_WRITES, UINT64_C(2500000)); /* 2.5 ms */
		node_observe(stats, NODE_WRITES, UINT64_C(2500000));
		ck_assert_uint_eq(stats->latency[NODE_WRITES].counts[1], 2);
		ck_assert_uint_eq(stats->latency[NODE_WRITES].sum_ns, 5000000);
		ck_assert_uint_eq(stats->latency[NODE_READS].sum_ns, 0);
	}
}
END_TEST

static const struct {
	uint32_t code;
	enum node_error error;
	const char *label;
} codes[] = {
	{ CQL_ERR_READ_TIMEOUT, NODE_ERROR_READ_TIMEOUT, "read_timeout" },
	{ CQL_ERR_READ_FAILURE, NODE_ERROR_READ_FAILURE, "read_failure" },
	{ CQL_ERR_WRITE_TIMEOUT, NODE_ERROR_WRITE_TIMEOUT, "write_timeout" },
	{ CQL_ERR_WRITE_FAILURE, NODE_ERROR_WRITE_FAILURE, "write_failure" },
	{ CQL_ERR_OVERLOADED, NODE_ERROR_OVERLOADED, "overloaded" },
	{ CQL_ERR_UNAVAILABLE, NODE_ERROR_UNAVAILABLE, "unavailable" },
	{ CQL_ERR_UNPREPARED, NODE_ERROR_UNPREPARED, "unprepared" },
	{ CQL_ERR_SERVER_ERROR, NODE_ERROR_OTHER, "other" },
	{ CQL_ERR_INVALID, NODE_ERROR_OTHER, "other" },
	{ 0x1700, NODE_ERROR_OTHER, "other" },
	{ 0xffffffff, NODE_ERROR_OTHER, "other" },
};

START_TEST(error_classes)
{
	struct net_address a = address(1, 9042);
	struct node_stats *stats = node_stats_get(&table, NODE_ORIGIN, 0, &a);

	ck_assert_int_eq(node_error_from(codes[_i].code), codes[_i].error);
	ck_assert_str_eq(node_error_label(codes[_i].error), codes[_i].label);
	node_count_error(stats, codes[_i].code);
	for (unsigned i = 0; i < NODE_ERROR_COUNT; i++)
		ck_assert_uint_eq(stats->failed[i], i == codes[_i].error);
}
END_TEST

/* The page lists series by label: the table is written in that order. */
START_TEST(labels_are_sorted)
{
	for (unsigned i = 1; i < NODE_ERROR_COUNT; i++)
		ck_assert_str_lt(node_error_label((enum node_error)(i - 1)), node_error_label((enum node_error)i));
}
END_TEST

/* ---- several threads ---- */

static void *open_many(void *arg)
{
	const unsigned worker = *(const unsigned *)arg;

	for (unsigned i = 0; i < 400; i++) {
		struct net_address a = address((i * 7 + worker) % 200, 9042);

		metric_add(&node_stats_get(&table, NODE_ORIGIN, worker, &a)->failed_connections, 1);
	}
	return NULL;
}

START_TEST(threads)
{
	static const unsigned numbers[WORKERS] = { 0, 1, 2 };
	pthread_t running[WORKERS];
	uint64_t total = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_create(&running[i], NULL, open_many, (void *)(uintptr_t)&numbers[i]), 0);
	/* a reader meanwhile: what it sees is whole */
	while (node_table_count(&table, NODE_ORIGIN) < 200) {
		for (unsigned i = 0; i < node_table_count(&table, NODE_ORIGIN); i++)
			ck_assert_int_eq(table.nodes[NODE_ORIGIN][i]->name[0], '1');
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(running[i], NULL);
	ck_assert_uint_eq(node_table_count(&table, NODE_ORIGIN), 200);
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned w = 0; w < WORKERS; w++) {
			const struct node_stats *stats = atomic_load(&table.nodes[NODE_ORIGIN][i]->stats[w]);

			total += stats ? metric_read(&stats->failed_connections) : 0;
		}
	}
	ck_assert_uint_eq(total, WORKERS * 400);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("node_stats");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, empty_at_first);
	tcase_add_test(tcase, one_entry_each);
	tcase_add_test(tcase, ipv6_name);
	tcase_add_test(tcase, bounded);
	tcase_add_test(tcase, buckets);
	tcase_add_loop_test(tcase, error_classes, 0, ARRAY_LEN(codes));
	tcase_add_test(tcase, labels_are_sorted);
	tcase_add_test(tcase, threads);
	return run_tcase("node_stats", tcase);
}
