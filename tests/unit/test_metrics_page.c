/* test_metrics_page.c - the page in Prometheus' text format: numbers, names, sums over the workers. */
#include "control/metrics_page.h"

#include <event2/buffer.h>
#include <math.h>

#include "control/metrics_process.h"
#include "proxy/counters.h"
#include "proxy/divergence.h"
#include "vectors.h"

/* As Go's strconv.FormatFloat(v, 'g', -1, 64) gives them. */
static const struct {
	double value;
	const char *expected;
} numbers[] = {
	{ 0, "0" },
	{ 1, "1" },
	{ 15, "15" },
	{ 100, "100" },
	{ 0.001, "0.001" },
	{ 0.25, "0.25" },
	{ 0.1, "0.1" },
	{ 2.5, "2.5" },
	{ 0.0001, "0.0001" },
	{ 0.00001, "1e-05" },
	{ 1.5e-7, "1.5e-07" },
	{ 123456, "123456" },
	{ 1000000, "1e+06" },
	{ 1234567, "1.234567e+06" },
	{ 123456.5, "123456.5" },
	{ 1e300, "1e+300" },
	{ 0.30000000000000004, "0.30000000000000004" },
	{ -2, "-2" },
	{ INFINITY, "+Inf" },
	{ -INFINITY, "-Inf" },
	{ NAN, "NaN" },
};

START_TEST(number)
{
	char text[METRICS_NUMBER_MAX];

	ck_assert_str_eq(metrics_text_number(numbers[_i].value, text), numbers[_i].expected);
}
END_TEST

/* Of all forms that are read as the number none has fewer digits, whatever the number. */
START_TEST(shortest_number)
{
	uint64_t random = 88172645463325252;
	char text[METRICS_NUMBER_MAX], form[64];

	for (unsigned i = 0; i < 20000; i++) {
		double v;
		int digits = 0;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		if (i % 2)
			v = (double)(random >> (random % 64)) / (i % 4 == 1 ? 1e9 : 1);
		else
			memcpy(&v, &random, sizeof(v));
		if (!isfinite(v))
			continue;
		do
			snprintf(form, sizeof(form), "%.*e", digits, v);
		while (strtod(form, NULL) != v && ++digits < 17);
		snprintf(form, sizeof(form), "%s", metrics_text_number(v, text));
		ck_assert_msg(strtod(form, NULL) == v, "%s is not %.17g", form, v);
		if (strchr(form, 'e'))
			ck_assert_int_eq((int)(strchr(form, 'e') - form), (v < 0) + 1 + (digits ? 1 + digits : 0));
		else if (strchr(form, '.'))
			ck_assert_int_ne(form[strlen(form) - 1], '0');
	}
}
END_TEST

/* ---- pages ---- */

static struct metrics workers[2];
static struct metrics *list[2] = { &workers[0], &workers[1] };
static struct histogram_bounds bounds[REQUEST_TYPES];
static struct metrics_page page;
static char *text;

static void setup(void)
{
	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < REQUEST_TYPES; i++)
		bounds[i] = (struct histogram_bounds){ .ns = { 1000000, 250000000, 15000000000 }, .count = 3 };
	page = (struct metrics_page){
		.prefix = "zdm", .metrics = list, .metrics_count = 2, .bounds = bounds, .prepared_entries = 7
	};
	text = NULL;
}

static void teardown(void)
{
	free(text);
}

static void write_page(void)
{
	struct evbuffer *out = evbuffer_new();
	struct metrics_text sink;
	size_t n;

	metrics_text_init(&sink, out);
	metrics_page_write(&page, &sink.sink);
	metrics_text_end(&sink);
	n = evbuffer_get_length(out);
	free(text);
	text = malloc(n + 1);
	ck_assert_int_eq(evbuffer_remove(out, text, n), (int)n);
	text[n] = '\0';
	evbuffer_free(out);
}

/* A whole line of the page. */
static void expect_line(const char *line)
{
	size_t len = strlen(line);

	for (const char *p = text; (p = strstr(p, line)); p += len) {
		if ((p == text || p[-1] == '\n') && p[len] == '\n')
			return;
	}
	ck_abort_msg("no line \"%s\" in:\n%s", line, text);
}

/* What ZDM Proxy has from the start, with 0. */
START_TEST(series_from_the_start)
{
	static const char *const lines[] = {
		"# TYPE zdm_client_connections_total gauge",
		"zdm_client_connections_total 0",
		"# TYPE zdm_cqlferry_functions_kept_total counter",
		"zdm_cqlferry_functions_kept_total{reason=\"not_replaceable\"} 0",
		"zdm_cqlferry_functions_kept_total{reason=\"refused\"} 0",
		"# TYPE zdm_cqlferry_functions_replaced_total counter",
		"zdm_cqlferry_functions_replaced_total 0",
		"# TYPE zdm_proxy_failed_connections_total counter",
		"zdm_proxy_failed_connections_total{cluster=\"origin\"} 0",
		"zdm_proxy_failed_connections_total{cluster=\"target\"} 0",
		"# TYPE zdm_proxy_failed_reads_total counter",
		"zdm_proxy_failed_reads_total{cluster=\"origin\"} 0",
		"zdm_proxy_failed_reads_total{cluster=\"target\"} 0",
		"# TYPE zdm_proxy_failed_writes_total counter",
		"zdm_proxy_failed_writes_total{failed_on=\"both\"} 0",
		"zdm_proxy_failed_writes_total{failed_on=\"origin\"} 0",
		"zdm_proxy_failed_writes_total{failed_on=\"target\"} 0",
		"# TYPE zdm_proxy_inflight_requests_total gauge",
		"zdm_proxy_inflight_requests_total{type=\"reads_origin\"} 0",
		"zdm_proxy_inflight_requests_total{type=\"reads_target\"} 0",
		"zdm_proxy_inflight_requests_total{type=\"writes\"} 0",
		"# TYPE zdm_proxy_request_duration_seconds histogram",
		"zdm_proxy_request_duration_seconds_bucket{type=\"reads_origin\",le=\"0.001\"} 0",
		"zdm_proxy_request_duration_seconds_bucket{type=\"reads_target\",le=\"0.25\"} 0",
		"zdm_proxy_request_duration_seconds_bucket{type=\"writes\",le=\"15\"} 0",
		"zdm_proxy_request_duration_seconds_bucket{type=\"writes\",le=\"+Inf\"} 0",
		"zdm_proxy_request_duration_seconds_sum{type=\"writes\"} 0",
		"zdm_proxy_request_duration_seconds_count{type=\"writes\"} 0",
		"# TYPE zdm_pscache_entries_total gauge",
		"zdm_pscache_entries_total 7",
		"# TYPE zdm_pscache_miss_total counter",
		"zdm_pscache_miss_total 0",
	};

	write_page();
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		expect_line(lines[i]);
}
END_TEST

/* Every series of a family stands behind its HELP and TYPE, every line ends, names come sorted. */
static void check_shape(unsigned expected_families)
{
	char family[128] = "", previous[128] = "", name[128];
	unsigned families = 0;

	write_page();
	for (char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		ck_assert_ptr_nonnull(end);
		*end = '\0';
		if (sscanf(line, "# HELP %127s", name) == 1) {
			snprintf(previous, sizeof(previous), "%s", family);
			snprintf(family, sizeof(family), "%s", name);
			ck_assert_str_gt(family, previous);
			families++;
			*end = '\n';
			ck_assert(strncmp(end + 1, "# TYPE ", 7) == 0);
			ck_assert(strncmp(end + 8, family, strlen(family)) == 0);
		} else if (line[0] != '#') {
			ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s under %s", line, family);
			ck_assert_ptr_nonnull(strchr(line, ' '));
		}
	}
	ck_assert_uint_eq(families, expected_families);
}

START_TEST(shape)
{
	check_shape(24);
}
END_TEST

START_TEST(sums)
{
	workers[0].client_connections = 3;
	workers[1].client_connections = 4;
	workers[0].failed_writes[FAILED_ON_BOTH] = 1;
	workers[1].failed_writes[FAILED_ON_TARGET] = 2;
	workers[1].failed_reads[CLUSTER_ORIGIN] = 5;
	workers[1].failed_connections[CLUSTER_TARGET] = 6;
	workers[0].inflight[REQUEST_WRITES] = 8;
	workers[0].prepared_misses = 9;
	workers[0].prepared_repaired[CLUSTER_TARGET] = 10;
	workers[0].memory_refused = 4;
	workers[1].memory_refused = 2;
	workers[0].logins_asked[CLUSTER_TARGET] = 16;
	workers[1].logins_asked[CLUSTER_TARGET] = 1;
	workers[1].logins_refused[CLUSTER_ORIGIN] = 18;
	workers[0].logins_remembered[CLUSTER_TARGET] = 19;
	workers[0].bind_mismatches = 11;
	workers[0].functions_replaced = 5;
	workers[1].functions_replaced = 4;
	workers[1].functions_kept[FUNCTIONS_REFUSED] = 3;
	workers[1].timeouts[CLUSTER_ORIGIN] = 12;
	workers[1].server_connections[CLUSTER_TARGET] = 13;
	workers[0].mirror_dropped[MIRROR_DROP_FULL] = 14;
	workers[0].placed[CLUSTER_TARGET][PLACED_REPLICA] = 20;
	workers[1].placed[CLUSTER_TARGET][PLACED_REPLICA] = 1;
	workers[1].placed[CLUSTER_ORIGIN][PLACED_OTHER] = 2;
	workers[1].mirror_dropped[MIRROR_DROP_KEYSPACE] = 15;
	write_page();
	expect_line("zdm_client_connections_total 7");
	expect_line("zdm_proxy_failed_writes_total{failed_on=\"both\"} 1");
	expect_line("zdm_proxy_failed_writes_total{failed_on=\"target\"} 2");
	expect_line("zdm_proxy_failed_writes_total{failed_on=\"origin\"} 0");
	expect_line("zdm_proxy_failed_reads_total{cluster=\"origin\"} 5");
	expect_line("zdm_proxy_failed_connections_total{cluster=\"target\"} 6");
	expect_line("zdm_proxy_inflight_requests_total{type=\"writes\"} 8");
	expect_line("zdm_pscache_miss_total 9");
	expect_line("zdm_cqlferry_prepared_repaired_total{cluster=\"target\"} 10");
	expect_line("zdm_cqlferry_memory_refused_total 6");
	expect_line("zdm_cqlferry_logins_asked_total{cluster=\"target\"} 17");
	expect_line("zdm_cqlferry_logins_refused_total{cluster=\"origin\"} 18");
	expect_line("zdm_cqlferry_logins_remembered_total{cluster=\"target\"} 19");
	expect_line("zdm_cqlferry_bind_mismatches_total 11");
	expect_line("zdm_cqlferry_functions_replaced_total 9");
	expect_line("zdm_cqlferry_functions_kept_total{reason=\"refused\"} 3");
	expect_line("zdm_cqlferry_functions_kept_total{reason=\"not_replaceable\"} 0");
	expect_line("zdm_cqlferry_timeouts_total{cluster=\"origin\"} 12");
	expect_line("zdm_cqlferry_server_connections{cluster=\"target\"} 13");
	expect_line("zdm_cqlferry_placed_requests_total{cluster=\"target\",node=\"replica\"} 21");
	expect_line("zdm_cqlferry_placed_requests_total{cluster=\"target\",node=\"unknown\"} 0");
	expect_line("zdm_cqlferry_placed_requests_total{cluster=\"origin\",node=\"other\"} 2");
	expect_line("zdm_cqlferry_async_dropped_total{reason=\"full\"} 14\n"
		    "zdm_cqlferry_async_dropped_total{reason=\"keyspace\"} 15\n"
		    "zdm_cqlferry_async_dropped_total{reason=\"no_connection\"} 0");
}
END_TEST

START_TEST(histograms)
{
	struct histogram *h = &workers[0].latency[REQUEST_READS_TARGET];

	bounds[REQUEST_WRITES].count = 0;
	histogram_observe(h, &bounds[REQUEST_READS_TARGET], 1000000); /* a bound belongs to its bucket */
	histogram_observe(h, &bounds[REQUEST_READS_TARGET], 1000001);
	histogram_observe(h, &bounds[REQUEST_READS_TARGET], UINT64_C(20000000000));
	histogram_observe(&workers[1].latency[REQUEST_READS_TARGET], &bounds[REQUEST_READS_TARGET], 500000);
	histogram_observe(&workers[1].latency[REQUEST_WRITES], &bounds[REQUEST_WRITES], 250000000);
	write_page();
	expect_line("zdm_proxy_request_duration_seconds_bucket{type=\"reads_target\",le=\"0.001\"} 2");
	expect_line("zdm_proxy_request_duration_seconds_bucket{type=\"reads_target\",le=\"0.25\"} 3");
	expect_line("zdm_proxy_request_duration_seconds_bucket{type=\"reads_target\",le=\"15\"} 3");
	expect_line("zdm_proxy_request_duration_seconds_bucket{type=\"reads_target\",le=\"+Inf\"} 4");
	expect_line("zdm_proxy_request_duration_seconds_sum{type=\"reads_target\"} 20.002500001");
	expect_line("zdm_proxy_request_duration_seconds_count{type=\"reads_target\"} 4");
	expect_line("zdm_proxy_request_duration_seconds_bucket{type=\"writes\",le=\"+Inf\"} 1");
	expect_line("zdm_proxy_request_duration_seconds_sum{type=\"writes\"} 0.25");
	expect_line("zdm_proxy_request_duration_seconds_count{type=\"reads_origin\"} 0");
}
END_TEST

START_TEST(prefixes)
{
	page.prefix = "";
	write_page();
	expect_line("client_connections_total 0");
	page.prefix = NULL;
	write_page();
	expect_line("client_connections_total 0");
	page.prefix = "my_proxy";
	write_page();
	expect_line("my_proxy_client_connections_total 0");
	expect_line("my_proxy_cqlferry_bind_mismatches_total 0");
}
END_TEST

/* ---- by node ---- */

static struct node_table nodes;

static void use_nodes(void)
{
	struct settings settings = {
		.workers = 2,
		.buckets = { { .ms = { 1, 250 }, .count = 2 }, { .ms = { 5 }, .count = 1 } },
		.async_buckets = { .ms = { 0.5 }, .count = 1 },
	};

	node_table_init(&nodes, &settings);
	page.nodes = &nodes;
}

static struct node_stats *stats_of(enum node_role role, unsigned worker, const char *ip)
{
	struct net_address a;

	ck_assert(net_parse_ip(ip, 9042, &a));
	return node_stats_get(&nodes, role, worker, &a);
}

/* Before the first client of a node there is no series of it, and no family. */
START_TEST(no_nodes)
{
	use_nodes();
	write_page();
	ck_assert_ptr_null(strstr(text, "zdm_origin_"));
	ck_assert_ptr_null(strstr(text, "zdm_target_"));
	ck_assert_ptr_null(strstr(text, "zdm_async_"));
	node_table_fini(&nodes);
}
END_TEST

START_TEST(node_series_begin_at_zero)
{
	use_nodes();
	stats_of(NODE_ORIGIN, 0, "10.0.0.1");
	write_page();
	expect_line("# TYPE zdm_origin_connections_total gauge");
	expect_line("zdm_origin_connections_total{node=\"10.0.0.1:9042\"} 0");
	expect_line("# TYPE zdm_origin_failed_connections_total counter");
	expect_line("zdm_origin_failed_connections_total{node=\"10.0.0.1:9042\"} 0");
	expect_line("# TYPE zdm_origin_requests_failed_total counter");
	for (unsigned i = 0; i < NODE_ERROR_COUNT; i++) {
		char line[128];

		snprintf(line, sizeof(line), "zdm_origin_requests_failed_total{error=\"%s\",node=\"10.0.0.1:9042\"} 0",
			 node_error_label((enum node_error)i));
		expect_line(line);
	}
	expect_line("# TYPE zdm_origin_request_duration_seconds histogram");
	expect_line("zdm_origin_request_duration_seconds_count{node=\"10.0.0.1:9042\",type=\"reads\"} 0");
	expect_line("zdm_origin_request_duration_seconds_count{node=\"10.0.0.1:9042\",type=\"writes\"} 0");
	expect_line("# TYPE zdm_origin_used_stream_ids_total gauge");
	expect_line("zdm_origin_used_stream_ids_total{node=\"10.0.0.1:9042\"} 0");
	ck_assert_ptr_null(strstr(text, "inflight_requests_total{node"));
	ck_assert_ptr_null(strstr(text, "zdm_target_"));
	ck_assert_ptr_null(strstr(text, "zdm_async_"));
	node_table_fini(&nodes);
}
END_TEST

START_TEST(node_sums)
{
	struct node_stats *a, *b, *c;

	use_nodes();
	a = stats_of(NODE_TARGET, 0, "10.0.0.2");
	b = stats_of(NODE_TARGET, 1, "10.0.0.2");
	c = stats_of(NODE_TARGET, 1, "10.0.0.1");
	a->connections = 2;
	b->connections = 3;
	c->connections = 4;
	a->failed[NODE_ERROR_UNPREPARED] = 5;
	b->used_stream_ids = 6;
	c->failed_connections = 7;
	node_observe(a, NODE_READS, 5000000);
	node_observe(b, NODE_READS, 5000001);
	node_observe(b, NODE_WRITES, 1000000);
	write_page();
	expect_line("zdm_target_connections_total{node=\"10.0.0.1:9042\"} 4\n"
		    "zdm_target_connections_total{node=\"10.0.0.2:9042\"} 5");
	expect_line("zdm_target_requests_failed_total{error=\"unprepared\",node=\"10.0.0.1:9042\"} 0\n"
		    "zdm_target_requests_failed_total{error=\"unprepared\",node=\"10.0.0.2:9042\"} 5");
	expect_line("zdm_target_used_stream_ids_total{node=\"10.0.0.2:9042\"} 6");
	expect_line("zdm_target_failed_connections_total{node=\"10.0.0.1:9042\"} 7");
	expect_line("zdm_target_request_duration_seconds_bucket{node=\"10.0.0.2:9042\",type=\"reads\",le=\"0.005\"} 1\n"
		    "zdm_target_request_duration_seconds_bucket{node=\"10.0.0.2:9042\",type=\"reads\",le=\"+Inf\"} 2\n"
		    "zdm_target_request_duration_seconds_sum{node=\"10.0.0.2:9042\",type=\"reads\"} 0.010000001\n"
		    "zdm_target_request_duration_seconds_count{node=\"10.0.0.2:9042\",type=\"reads\"} 2");
	expect_line("zdm_target_request_duration_seconds_count{node=\"10.0.0.2:9042\",type=\"writes\"} 1");
	node_table_fini(&nodes);
}
END_TEST

/* Mirrored reads have a gauge more. Families stay sorted with all three roles on the page. */
START_TEST(node_roles)
{
	use_nodes();
	stats_of(NODE_ORIGIN, 0, "10.0.0.1");
	stats_of(NODE_TARGET, 0, "10.0.0.2");
	stats_of(NODE_ASYNC, 0, "10.0.0.2")->inflight = 3;
	check_shape(24 + 5 + 5 + 6);
	write_page();
	expect_line("zdm_async_inflight_requests_total{node=\"10.0.0.2:9042\"} 3");
	expect_line("zdm_async_request_duration_seconds_bucket{node=\"10.0.0.2:9042\",type=\"reads\",le=\"0.0005\"} 0");
	node_table_fini(&nodes);
}
END_TEST

/* ---- by table ---- */

static struct divergences parted;

static void note(const char *keyspace, const char *table, unsigned conditional, unsigned missing, unsigned certain)
{
	struct divergence_counts *c = divergences_lock(&parted, sv_from(keyspace), sv_from(table));

	c->conditional += conditional;
	c->partial[missing][certain]++;
	divergences_unlock(&parted);
}

START_TEST(tables)
{
	divergences_init(&parted);
	page.divergences = &parted;
	write_page();
	ck_assert_ptr_null(strstr(text, "partial_writes"));
	ck_assert_ptr_null(strstr(text, "conditional_divergences"));
	note("ks", "t2", 0, CLUSTER_TARGET, 1);
	note("ks", "t1", 2, CLUSTER_ORIGIN, 0);
	note("ks", "t1", 1, CLUSTER_ORIGIN, 0);
	note("a\\b", "c\"d\ne", 0, CLUSTER_TARGET, 0);
	write_page();
	expect_line("# TYPE zdm_cqlferry_conditional_divergences_total counter");
	expect_line("zdm_cqlferry_conditional_divergences_total{keyspace=\"ks\",table=\"t1\"} 3");
	expect_line("# TYPE zdm_cqlferry_partial_writes_total counter");
	expect_line(
		"zdm_cqlferry_partial_writes_total{keyspace=\"ks\",table=\"t1\",missing=\"origin\",certain=\"no\"} 2");
	expect_line(
		"zdm_cqlferry_partial_writes_total{keyspace=\"ks\",table=\"t2\",missing=\"target\",certain=\"yes\"} 1");
	expect_line("zdm_cqlferry_partial_writes_total{keyspace=\"a\\\\b\",table=\"c\\\"d\\ne\",missing=\"target\","
		    "certain=\"no\"} 1");
	ck_assert_ptr_null(strstr(text, "table=\"t2\"} "));
	ck_assert(strstr(text, "table=\"t1\",missing") < strstr(text, "table=\"t2\",missing"));
	divergences_fini(&parted);
}
END_TEST

/* Tables beyond the bound share one series; a long name is cut. */
START_TEST(tables_are_bounded)
{
	struct divergence_table t = { .keyspace = "" };
	char name[200];
	unsigned n = 0;

	divergences_init(&parted);
	for (unsigned i = 0; i < DIVERGENCE_MAX_TABLES + 50; i++) {
		/* As many as there is room for, and no series of the others yet. */
		if (i == DIVERGENCE_MAX_TABLES)
			ck_assert(!divergences_get(&parted, i, &t));
		snprintf(name, sizeof(name), "t%u", i);
		note("ks", name, 1, CLUSTER_ORIGIN, 1);
	}
	note("ks", "t0", 1, CLUSTER_ORIGIN, 1);
	while (divergences_get(&parted, n, &t))
		n++;
	ck_assert_uint_eq(n, DIVERGENCE_MAX_TABLES + 1);
	ck_assert_str_eq(t.keyspace, "other");
	ck_assert_uint_eq(t.counts.conditional, 50);
	ck_assert(divergences_get(&parted, 0, &t));
	ck_assert_uint_eq(t.counts.conditional, 2);
	divergences_fini(&parted);
	divergences_init(&parted);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	note(name, "t", 1, CLUSTER_ORIGIN, 1);
	ck_assert(divergences_get(&parted, 0, &t));
	ck_assert_uint_eq(strlen(t.keyspace), STATEMENT_NAME_MAX);
	divergences_fini(&parted);
}
END_TEST

/* Of the process; who watches takes another value for another start. */
START_TEST(one_start)
{
	char first[64] = "";

	for (unsigned i = 0; i < 2000; i++) {
		struct evbuffer *out = evbuffer_new();
		struct metrics_text sink;
		char *line;

		metrics_text_init(&sink, out);
		metrics_process_write(&sink.sink);
		metrics_text_end(&sink);
		evbuffer_add(out, "", 1);
		line = strstr((char *)evbuffer_pullup(out, -1), "\nprocess_start_time_seconds ");
		ck_assert_ptr_nonnull(line);
		*strchr(line + 1, '\n') = '\0';
		if (i == 0)
			snprintf(first, sizeof(first), "%s", line);
		ck_assert_str_eq(line, first);
		evbuffer_free(out);
	}
}
END_TEST

/* Families of scripts stand sorted among ours, with their series together. */
START_TEST(counters_of_scripts)
{
	struct counters *c = counters_new(1);
	unsigned n;

	counters_register(c, "policy_tagged_requests_total", "Requests by tag", "tag=\"b\"", COUNTER_PLAIN);
	n = counters_register(c, "policy_hook_off", "1 while it is off", "hook=\"a\\\"\"", COUNTER_GAUGE);
	counters_set(c, 0, n, 1);
	n = counters_register(c, "policy_tagged_requests_total", "", "tag=\"a\"", COUNTER_PLAIN);
	counters_add(c, 0, n, 2);
	counters_add(c, 1, n, 1);
	counters_register(c, "policy_plain_total", "Without labels", "", COUNTER_PLAIN);
	page.counters = c;
	write_page();
	ck_assert_ptr_nonnull(strstr(text, "# HELP zdm_cqlferry_policy_hook_off 1 while it is off\n"
					   "# TYPE zdm_cqlferry_policy_hook_off gauge\n"
					   "zdm_cqlferry_policy_hook_off{hook=\"a\\\"\"} 1\n"
					   "# HELP zdm_cqlferry_policy_plain_total Without labels\n"
					   "# TYPE zdm_cqlferry_policy_plain_total counter\n"
					   "zdm_cqlferry_policy_plain_total 0\n"
					   "# HELP zdm_cqlferry_policy_tagged_requests_total Requests by tag\n"
					   "# TYPE zdm_cqlferry_policy_tagged_requests_total counter\n"
					   "zdm_cqlferry_policy_tagged_requests_total{tag=\"a\"} 3\n"
					   "zdm_cqlferry_policy_tagged_requests_total{tag=\"b\"} 0\n"
					   "# HELP zdm_cqlferry_prepared_repaired_total"));
	page.prefix = "";
	write_page();
	expect_line("cqlferry_policy_plain_total 0");
	counters_free(c);
}
END_TEST

/* Families of plugins stand where their names belong; what is called like one of ours is left out. */
START_TEST(counters_of_plugins)
{
	static const struct counter_bounds b = { .count = 2, .ns = { 1000000, 2500000000 } };
	struct counters *c = counters_new(1);
	unsigned n;

	counters_register(c, "a_total", "First", "", COUNTER_PLAIN);
	counters_register(c, "placed_requests_total", "Taken", "", COUNTER_PLAIN);
	counters_register(c, "zz_total", "Last", "", COUNTER_PLAIN);
	n = counters_register(c, "time_seconds_total", "Seconds", "x=\"1\"", COUNTER_SECONDS);
	counters_add(c, 0, n, 1500000000);
	n = counters_register_histogram(c, "wait_seconds", "Waiting", "", &b);
	counters_observe(c, 0, n, 1000000);
	n = counters_register_histogram(c, "wait_seconds", "Waiting", "to=\"x\"", &b);
	counters_observe(c, 0, n, 1000001);
	counters_observe(c, 1, n, 4000000000);
	page.counters = c;
	write_page();
	ck_assert_ptr_nonnull(strstr(text, "zdm_cqlferry_a_total 0\n# HELP zdm_cqlferry_async_dropped_total"));
	ck_assert_ptr_null(strstr(text, "Taken"));
	ck_assert_ptr_null(strstr(text, "\nzdm_cqlferry_placed_requests_total 0"));
	expect_line("zdm_cqlferry_time_seconds_total{x=\"1\"} 1.5");
	ck_assert_ptr_nonnull(strstr(text, "# HELP zdm_cqlferry_wait_seconds Waiting\n"
					   "# TYPE zdm_cqlferry_wait_seconds histogram\n"
					   "zdm_cqlferry_wait_seconds_bucket{le=\"0.001\"} 1\n"
					   "zdm_cqlferry_wait_seconds_bucket{le=\"2.5\"} 1\n"
					   "zdm_cqlferry_wait_seconds_bucket{le=\"+Inf\"} 1\n"
					   "zdm_cqlferry_wait_seconds_sum 0.001\n"
					   "zdm_cqlferry_wait_seconds_count 1\n"
					   "zdm_cqlferry_wait_seconds_bucket{to=\"x\",le=\"0.001\"} 0\n"
					   "zdm_cqlferry_wait_seconds_bucket{to=\"x\",le=\"2.5\"} 1\n"
					   "zdm_cqlferry_wait_seconds_bucket{to=\"x\",le=\"+Inf\"} 2\n"
					   "zdm_cqlferry_wait_seconds_sum{to=\"x\"} 4.001000001\n"
					   "zdm_cqlferry_wait_seconds_count{to=\"x\"} 2\n"
					   "# HELP zdm_cqlferry_zz_total Last\n"));
	counters_free(c);
}
END_TEST

/* Families are sorted, and none is there twice. */
START_TEST(families_are_sorted)
{
	char last[256] = "", name[256];

	write_page();
	for (const char *p = text; (p = strstr(p, "# TYPE ")); p += strlen("# TYPE ")) {
		ck_assert_int_eq(sscanf(p, "# TYPE %255s", name), 1);
		ck_assert_int_lt(strcmp(last, name), 0);
		snprintf(last, sizeof(last), "%s", name);
	}
	ck_assert_str_ne(last, "");
}
END_TEST

struct visited {
	unsigned count;
	char line[512];
};

static void note_sample(void *arg, const char *family, const char *type, const char *help, const char *suffix,
			const char *labels, double value)
{
	struct visited *v = arg;

	v->count++;
	if (strcmp(family, "zdm_proxy_request_duration_seconds") == 0 && strcmp(suffix, "_bucket") == 0 &&
	    strstr(labels, "le=\"0.25\""))
		snprintf(v->line, sizeof(v->line), "%s|%s|%s|%g", type, help, labels, value);
}

/* A visitor gets each line of the page. */
START_TEST(visited)
{
	struct visited v = { .count = 0 };
	struct metrics_visitor visitor;
	unsigned lines = 0;

	workers[0].latency[REQUEST_WRITES].counts[0] = 1;
	workers[1].latency[REQUEST_WRITES].counts[1] = 4;
	metrics_visitor_init(&visitor, note_sample, &v);
	metrics_page_write(&page, &visitor.sink);
	ck_assert_str_eq(v.line, "histogram|Time from the arrival of a request to its end, in seconds|"
				 "type=\"writes\",le=\"0.25\"|5");
	write_page();
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines += p[1] && p[1] != '#';
	ck_assert_uint_eq(v.count, lines);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("metrics_page");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, shortest_number);
	tcase_add_loop_test(tcase, number, 0, ARRAY_LEN(numbers));
	tcase_add_test(tcase, counters_of_scripts);
	tcase_add_test(tcase, counters_of_plugins);
	tcase_add_test(tcase, families_are_sorted);
	tcase_add_test(tcase, visited);
	tcase_add_test(tcase, series_from_the_start);
	tcase_add_test(tcase, shape);
	tcase_add_test(tcase, sums);
	tcase_add_test(tcase, histograms);
	tcase_add_test(tcase, prefixes);
	tcase_add_test(tcase, no_nodes);
	tcase_add_test(tcase, node_series_begin_at_zero);
	tcase_add_test(tcase, node_sums);
	tcase_add_test(tcase, node_roles);
	tcase_add_test(tcase, tables);
	tcase_add_test(tcase, tables_are_bounded);
	tcase_add_test(tcase, one_start);
	return run_tcase("metrics_page", tcase);
}
