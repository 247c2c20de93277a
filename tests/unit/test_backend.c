/* test_backend.c - the nodes as a worker sees them: states, candidates, choice, pauses, and when they are freed. */
#include "proxy/backend.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/worker.h"
#include "vectors.h"

static struct settings *settings;
static struct proxy *proxy;
static struct worker *w;
static struct backends *b;

static void setup(void)
{
	settings = calloc(1, sizeof(*settings));
	settings->workers = 1;
	settings->heartbeat_retry_interval_min_ms = 100;
	settings->heartbeat_retry_interval_max_ms = 1000;
	settings->heartbeat_retry_backoff_factor = 2;
	proxy = xcalloc_apart(1, sizeof(*proxy));
	w = calloc(1, sizeof(*w));
	proxy->workers = w;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		settings->cluster[i].enable_host_assignment = true;
		cluster_init(&proxy->clusters[i], (enum cluster_id)i, &settings->cluster[i]);
		list_init(&w->pools[i]);
	}
	node_table_init(&proxy->nodes, settings);
	w->proxy = proxy;
	w->settings = settings;
	list_init(&w->clients);
	ck_assert(loop_init(&w->loop, 1000));
	b = &w->backends[CLUSTER_ORIGIN];
	backends_init(b, w, CLUSTER_ORIGIN);
}

static void teardown(void)
{
	backends_fini(b);
	loop_fini(&w->loop);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		cluster_fini(&proxy->clusters[i]);
	node_table_fini(&proxy->nodes);
	free(w);
	free(proxy);
	free(settings);
}

static struct net_address address_of(unsigned node)
{
	struct net_address a;
	char text[20];

	snprintf(text, sizeof(text), "127.0.0.%u", node + 1);
	ck_assert(net_parse_ip(text, 9042, &a));
	return a;
}

/* Publishes a topology of these nodes, in this order; `tiers` says the datacenter of each, `local` is the row of system.local. */
static void publish(const char *nodes, const char *tiers, unsigned local)
{
	struct topology *t = topology_new();

	t->host_count = t->all_count = (unsigned)strlen(nodes);
	t->hosts = xcalloc(t->host_count, sizeof(*t->hosts));
	for (unsigned i = 0; i < t->host_count; i++) {
		struct host *h = &t->hosts[i];

		h->address = address_of((unsigned)(nodes[i] - '0'));
		net_format(&h->address, h->name);
		h->datacenter = xstrdup("dc");
		h->rack = xstrdup("r");
		h->tier = (uint8_t)(tiers[i] - '0');
		h->is_local_row = (unsigned)(nodes[i] - '0') == local;
		t->local_count += h->tier == 0;
	}
	cluster_publish(&proxy->clusters[CLUSTER_ORIGIN], t);
	backends_update(b);
}

static struct backend *node(unsigned i)
{
	const struct net_address a = address_of(i);

	return backends_find(b, &a);
}

static bool is_candidate(const struct backend *backend)
{
	for (unsigned i = 0; i < b->candidate_count; i++) {
		if (b->candidates[i] == backend)
			return true;
	}
	return false;
}

START_TEST(nothing_is_known_yet)
{
	ck_assert(backends_are_down(b));
	ck_assert_ptr_null(backends_choose(b, NULL));
	backends_update(b);
	ck_assert(backends_are_down(b));
	backends_settings_changed(b);
	backends_note_status(b, &(struct net_address){ .len = 0 }, true);
}
END_TEST

START_TEST(new_nodes_are_up)
{
	publish("012", "000", 0);
	ck_assert_uint_eq(b->candidate_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(node(i)->state, BACKEND_UP);
		ck_assert(is_candidate(node(i)));
	}
	ck_assert_ptr_null(node(3));
}
END_TEST

START_TEST(one_is_down_until_a_connection_is_ready)
{
	publish("012", "000", 0);
	backend_failed(b, node(1));
	ck_assert_uint_eq(node(1)->state, BACKEND_DOWN);
	ck_assert_uint_eq(b->candidate_count, 2);
	ck_assert(!is_candidate(node(1)));
	for (unsigned i = 0; i < 100; i++)
		ck_assert_ptr_ne(backends_choose(b, NULL), node(1));
	node(1)->is_trying = true;
	backend_succeeded(b, node(1));
	ck_assert_uint_eq(node(1)->state, BACKEND_UP);
	ck_assert(!node(1)->is_trying);
	ck_assert_uint_eq(node(1)->failures, 0);
	ck_assert_uint_eq(b->candidate_count, 3);
}
END_TEST

START_TEST(all_are_down)
{
	publish("01", "00", 0);
	backend_failed(b, node(0));
	ck_assert(!backends_are_down(b));
	backend_failed(b, node(1));
	ck_assert(backends_are_down(b));
	ck_assert_ptr_null(backends_choose(b, NULL));
	backend_succeeded(b, node(0));
	ck_assert_ptr_eq(backends_choose(b, NULL), node(0));
}
END_TEST

START_TEST(a_fallback_datacenter)
{
	publish("01234", "00112", 0);
	ck_assert_uint_eq(b->candidate_count, 2);
	backend_failed(b, node(0));
	backend_failed(b, node(1));
	ck_assert_uint_eq(b->candidate_count, 2);
	ck_assert(is_candidate(node(2)) && is_candidate(node(3)));
	backend_failed(b, node(2));
	backend_failed(b, node(3));
	ck_assert_uint_eq(b->candidate_count, 1);
	ck_assert(is_candidate(node(4)));
	/* One of its own is enough to go back. */
	backend_succeeded(b, node(1));
	ck_assert_uint_eq(b->candidate_count, 1);
	ck_assert(is_candidate(node(1)));
}
END_TEST

START_TEST(the_order_of_hosts_does_not_matter)
{
	publish("43210", "21100", 0);
	ck_assert_uint_eq(b->candidate_count, 2);
	ck_assert(is_candidate(node(0)) && is_candidate(node(1)));
}
END_TEST

START_TEST(the_contact_point_only)
{
	publish("012", "000", 1);
	settings->load_balancing = BALANCE_CONTACT_POINT;
	backends_settings_changed(b);
	ck_assert_uint_eq(b->candidate_count, 1);
	ck_assert_ptr_eq(backends_choose(b, NULL), node(1));
	settings->load_balancing = BALANCE_TOKEN_AWARE;
	settings->cluster[CLUSTER_ORIGIN].enable_host_assignment = false;
	backends_settings_changed(b);
	ck_assert_ptr_eq(backends_choose(b, NULL), node(1));
	ck_assert_uint_eq(b->candidate_count, 1);
	/* The control connection has moved on. */
	publish("012", "000", 2);
	ck_assert_uint_eq(b->candidate_count, 1);
	ck_assert_ptr_eq(backends_choose(b, NULL), node(2));
}
END_TEST

START_TEST(round_robin)
{
	struct backend *last = NULL;

	publish("012", "000", 0);
	settings->load_balancing = BALANCE_ROUND_ROBIN;
	for (unsigned i = 0; i < 30; i++) {
		struct backend *next = backends_choose(b, NULL);

		ck_assert_ptr_ne(next, last);
		next->failures++;
		last = next;
	}
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(node(i)->failures, 10);
}
END_TEST

START_TEST(the_less_loaded_one)
{
	unsigned counts[3] = { 0 };

	publish("012", "000", 0);
	node(0)->stats->used_stream_ids = 100;
	node(1)->stats->used_stream_ids = 10;
	for (unsigned i = 0; i < 3000; i++) {
		for (unsigned n = 0; n < 3; n++)
			counts[n] += backends_choose(b, NULL) == node(n);
	}
	/* Of any two the busiest is never taken. */
	ck_assert_uint_eq(counts[0], 0);
	ck_assert_uint_gt(counts[2], counts[1]);
	ck_assert_uint_gt(counts[1], 500);
}
END_TEST

START_TEST(not_where_it_was_lost)
{
	const struct net_address first = address_of(0);

	publish("01", "00", 0);
	for (unsigned i = 0; i < 50; i++)
		ck_assert_ptr_eq(backends_choose(b, &first), node(1));
	backend_failed(b, node(1));
	ck_assert_ptr_eq(backends_choose(b, &first), node(0));
}
END_TEST

/* It is tried, while it is down, and not to be had. */
static void try_fails(struct backend *backend)
{
	backend->is_trying = true;
	backend_failed(b, backend);
}

/* The pause is between a half and the whole of min * factor^(failures - 1), at most max. */
START_TEST(pauses_grow)
{
	static const unsigned tops_ms[] = { 100, 200, 400, 800, 1000, 1000, 1000 };

	publish("0", "0", 0);
	for (unsigned turn = 0; turn < 50; turn++) {
		backend_succeeded(b, node(0));
		for (unsigned i = 0; i < ARRAY_LEN(tops_ms); i++) {
			uint64_t pause;

			try_fails(node(0));
			pause = node(0)->retry_ns - loop_now(&w->loop);
			ck_assert_uint_ge(pause, tops_ms[i] * UINT64_C(500000));
			ck_assert_uint_le(pause, tops_ms[i] * UINT64_C(1000000));
		}
	}
}
END_TEST

START_TEST(pauses_with_odd_settings)
{
	publish("0", "0", 0);
	/* A factor below one does not shrink them, a minimum over the maximum is the maximum. */
	settings->heartbeat_retry_backoff_factor = 0.1;
	for (unsigned i = 0; i < 40; i++)
		try_fails(node(0));
	ck_assert_uint_ge(node(0)->retry_ns - loop_now(&w->loop), 50 * UINT64_C(1000000));
	settings->heartbeat_retry_interval_min_ms = 5000;
	try_fails(node(0));
	ck_assert_uint_le(node(0)->retry_ns - loop_now(&w->loop), 1000 * UINT64_C(1000000));
	settings->heartbeat_retry_backoff_factor = 1000000;
	settings->heartbeat_retry_interval_max_ms = 24 * 3600 * 1000;
	node(0)->failures = UINT32_MAX - 1;
	try_fails(node(0));
	ck_assert_uint_le(node(0)->retry_ns - loop_now(&w->loop), UINT64_C(24) * 3600 * 1000 * 1000000);
}
END_TEST

/* Those that were under way when it went down do not make the pause longer. */
START_TEST(failures_at_once_are_one)
{
	uint64_t retry_ns;

	publish("0", "0", 0);
	backend_failed(b, node(0));
	retry_ns = node(0)->retry_ns;
	for (unsigned i = 0; i < 10; i++)
		backend_failed(b, node(0));
	ck_assert_uint_eq(node(0)->failures, 1);
	ck_assert_uint_eq(node(0)->retry_ns, retry_ns);
	try_fails(node(0));
	ck_assert_uint_eq(node(0)->failures, 2);
}
END_TEST

START_TEST(what_the_cluster_says)
{
	const struct net_address first = address_of(0), unknown = address_of(4);

	publish("01", "00", 0);
	backends_note_status(b, &unknown, false);
	ck_assert_uint_eq(b->candidate_count, 2);
	backends_note_status(b, &first, false);
	ck_assert_uint_eq(node(0)->state, BACKEND_DOWN);
	ck_assert_uint_eq(node(0)->failures, 0);
	ck_assert_uint_gt(node(0)->retry_ns, loop_now(&w->loop));
	/* UP only says that it is worth a try now. */
	backends_note_status(b, &first, true);
	ck_assert_uint_eq(node(0)->state, BACKEND_DOWN);
	ck_assert_uint_eq(node(0)->retry_ns, 0);
	/* DOWN says nothing new about one that is down, and takes no try back. */
	backends_note_status(b, &first, false);
	ck_assert_uint_eq(node(0)->retry_ns, 0);
}
END_TEST

/* Nobody has a connection to try with, so the next client finds out. */
START_TEST(without_clients_a_pause_ends_it)
{
	publish("01", "00", 0);
	settings->heartbeat_retry_interval_max_ms = 1;
	backend_failed(b, node(0));
	backend_failed(b, node(1));
	ck_assert(backends_are_down(b));
	for (unsigned i = 0; i < 5000 && b->candidate_count < 2; i++) {
		loop_turn(&w->loop, false);
		usleep(1000);
	}
	ck_assert_uint_eq(b->candidate_count, 2);
}
END_TEST

START_TEST(nodes_that_leave)
{
	struct backend *leaving;
	const struct net_address second = address_of(1);

	publish("012", "000", 0);
	leaving = node(1);
	leaving->lanes = 2;
	publish("02", "00", 0);
	ck_assert_ptr_null(node(1));
	ck_assert_uint_eq(leaving->state, BACKEND_GONE);
	ck_assert_uint_eq(b->candidate_count, 2);
	ck_assert(!is_candidate(leaving));
	ck_assert_ptr_eq(b->slots[leaving->slot], leaving);
	/* It is past being up or down. */
	backends_note_status(b, &second, true);
	backend_failed(b, leaving);
	ck_assert_uint_eq(leaving->state, BACKEND_GONE);
	backend_succeeded(b, leaving);
	ck_assert_uint_eq(leaving->state, BACKEND_GONE);
	backend_lane_gone(b, leaving);
	ck_assert_ptr_eq(b->slots[leaving->slot], leaving);
	backend_lane_gone(b, leaving); /* frees it */
	for (unsigned i = 0; i < b->slot_count; i++)
		ck_assert_ptr_ne(b->slots[i], leaving);
}
END_TEST

START_TEST(a_node_that_comes_back_is_a_new_one)
{
	struct backend *before, *after;

	publish("01", "00", 0);
	before = node(1);
	before->lanes = 1;
	backend_failed(b, before);
	publish("0", "0", 0);
	publish("01", "00", 0);
	after = node(1);
	ck_assert_ptr_ne(after, before);
	ck_assert_uint_ne(after->slot, before->slot);
	ck_assert_uint_eq(after->state, BACKEND_UP);
	ck_assert_ptr_eq(after->stats, before->stats); /* the load is the node's */
	backend_lane_gone(b, before);
	ck_assert_ptr_eq(node(1), after);
	/* Its place is free again. */
	publish("012", "000", 0);
	ck_assert_uint_eq(b->slot_count, 3);
	ck_assert_uint_eq(b->candidate_count, 3);
}
END_TEST

START_TEST(states_outlive_a_refresh)
{
	publish("012", "000", 0);
	backend_failed(b, node(1));
	backend_failed(b, node(2));
	publish("2013", "0000", 2);
	ck_assert_uint_eq(node(1)->state, BACKEND_DOWN);
	ck_assert_uint_eq(b->candidate_count, 2);
	ck_assert_uint_gt(node(1)->retry_ns, 0);
	/* The control connection has just reached this one. */
	ck_assert_uint_eq(node(2)->state, BACKEND_DOWN);
	ck_assert_uint_eq(node(2)->retry_ns, 0);
}
END_TEST

START_TEST(a_topology_of_nothing)
{
	publish("01", "00", 0);
	publish("", "", 0);
	ck_assert(backends_are_down(b));
	ck_assert_ptr_null(backends_choose(b, NULL));
	publish("1", "0", 1);
	ck_assert_ptr_eq(backends_choose(b, NULL), node(1));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("backend");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nothing_is_known_yet);
	tcase_add_test(tc, new_nodes_are_up);
	tcase_add_test(tc, one_is_down_until_a_connection_is_ready);
	tcase_add_test(tc, all_are_down);
	tcase_add_test(tc, a_fallback_datacenter);
	tcase_add_test(tc, the_order_of_hosts_does_not_matter);
	tcase_add_test(tc, the_contact_point_only);
	tcase_add_test(tc, round_robin);
	tcase_add_test(tc, the_less_loaded_one);
	tcase_add_test(tc, not_where_it_was_lost);
	tcase_add_test(tc, pauses_grow);
	tcase_add_test(tc, pauses_with_odd_settings);
	tcase_add_test(tc, failures_at_once_are_one);
	tcase_add_test(tc, what_the_cluster_says);
	tcase_add_test(tc, without_clients_a_pause_ends_it);
	tcase_add_test(tc, nodes_that_leave);
	tcase_add_test(tc, a_node_that_comes_back_is_a_new_one);
	tcase_add_test(tc, states_outlive_a_refresh);
	tcase_add_test(tc, a_topology_of_nothing);
	return run_tcase("backend", tc);
}
