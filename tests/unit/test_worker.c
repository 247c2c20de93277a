/* test_worker.c - who gets the next client, and what lies in whose cache lines. */
#include "proxy/worker.h"

#include <stdlib.h>

#include "vectors.h"

#define MAX_WORKERS 16

static struct worker *workers;

static void setup(void)
{
	workers = xcalloc_apart(MAX_WORKERS, sizeof(*workers));
	for (unsigned i = 0; i < MAX_WORKERS; i++)
		list_init(&workers[i].clients);
}

static void teardown(void)
{
	free(workers);
}

/* ---- balance ---- */

/* As worker_give_client() counts it, whose message nobody would take here. */
static unsigned accept_client(unsigned count)
{
	struct worker *w = worker_least_loaded(workers, count);

	atomic_fetch_add(&w->load, WORKER_LOAD_CLIENT);
	return (unsigned)(w - workers);
}

static unsigned spread(const unsigned *held, unsigned count)
{
	unsigned least = held[0], most = held[0];

	for (unsigned i = 1; i < count; i++) {
		least = MIN(least, held[i]);
		most = MAX(most, held[i]);
	}
	return most - least;
}

static const struct {
	unsigned workers, clients;
} crowds[] = { { 1, 10 }, { 2, 10 }, { 2, 100 }, { 2, 1000 }, { 3, 10 }, { 7, 100 }, { 16, 1000 } };

START_TEST(clients_are_spread_evenly)
{
	unsigned held[MAX_WORKERS] = { 0 };

	for (unsigned i = 0; i < crowds[_i].clients; i++)
		held[accept_client(crowds[_i].workers)]++;
	ck_assert_uint_le(spread(held, crowds[_i].workers), 1);
}
END_TEST

/* Each opens a connection for events, and behind it one or two for requests: these are what has to be even. */
START_TEST(drivers_are_spread_evenly)
{
	for (unsigned each = 1; each <= 2; each++) {
		unsigned busy[MAX_WORKERS] = { 0 };

		for (unsigned i = 0; i < MAX_WORKERS; i++)
			atomic_store(&workers[i].load, 0);
		for (unsigned i = 0; i < crowds[_i].clients; i++) {
			const unsigned w = accept_client(crowds[_i].workers);

			worker_client_listens(&workers[w]);
			for (unsigned k = 0; k < each; k++)
				busy[accept_client(crowds[_i].workers)]++;
		}
		ck_assert_uint_le(spread(busy, crowds[_i].workers), 1);
	}
}
END_TEST

/* Where one has lost its clients, the next ones go, until all have as many again. */
START_TEST(gaps_are_filled)
{
	unsigned held[3] = { 0 };

	for (unsigned i = 0; i < 300; i++)
		held[accept_client(3)]++;
	for (unsigned i = 0; i < 60; i++)
		worker_client_gone(&workers[1], false);
	held[1] -= 60;
	for (unsigned i = 0; i < 60; i++)
		ck_assert_uint_eq(accept_client(3), 1);
	held[1] += 60;
	for (unsigned i = 0; i < 30; i++)
		held[accept_client(3)]++;
	ck_assert_uint_eq(spread(held, 3), 0);
}
END_TEST

START_TEST(what_was_counted_is_given_back)
{
	for (unsigned i = 0; i < 40; i++) {
		const unsigned w = accept_client(4);

		if (i % 3 == 0)
			worker_client_listens(&workers[w]);
		worker_client_gone(&workers[w], i % 3 == 0);
	}
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(atomic_load(&workers[i].load), 0);
}
END_TEST

/* ---- cache lines ---- */

static uintptr_t line_of(const void *at)
{
	return (uintptr_t)at / CACHE_LINE;
}

START_TEST(allocated_apart)
{
	static const size_t sizes[] = { 1, 8, 63, 64, 65, 1000 };
	uint8_t *blocks[2 * ARRAY_LEN(sizes)];

	for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
		const size_t size = sizes[i % ARRAY_LEN(sizes)];

		blocks[i] = xcalloc_apart(1, size);
		ck_assert_uint_eq((uintptr_t)blocks[i] % CACHE_LINE, 0);
		for (size_t k = 0; k < size; k++)
			ck_assert_uint_eq(blocks[i][k], 0);
		memset(blocks[i], 0xff, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE); /* all of it is its own */
	}
	for (unsigned i = 0; i < ARRAY_LEN(blocks); i++)
		free(blocks[i]);
}
END_TEST

/* The listener writes the load of both, each thread the rest of one. */
START_TEST(workers_lie_apart)
{
	const struct worker *a = &workers[0], *b = &workers[1];

	ck_assert_uint_eq((uintptr_t)a % CACHE_LINE, 0);
	ck_assert_uint_lt(line_of((const uint8_t *)(a + 1) - 1), line_of(b));
	ck_assert_uint_lt(line_of((const uint8_t *)&a->on_drained_arg + sizeof(a->on_drained_arg) - 1),
			  line_of(&a->load));
}
END_TEST

START_TEST(shared_tables_lie_apart)
{
	struct proxy *p = xcalloc_apart(1, sizeof(*p));
	const uintptr_t read_last = line_of((const uint8_t *)&p->visit_metrics + sizeof(p->visit_metrics) - 1);

	/* What requests read is in lines that nobody writes while they run: */
	ck_assert_uint_lt(read_last, line_of(&p->client_count));
	ck_assert_uint_le(line_of(&p->bounds), read_last);
	ck_assert_uint_ne(line_of(&p->prepared.sequence), line_of(&p->prepared.lock));
	ck_assert_uint_ne(line_of(&p->nodes.bounds), line_of(&p->nodes.lock));
	/* What they write, if asked to, is alone: */
	ck_assert_uint_gt(line_of(&p->request_ids), line_of((const uint8_t *)(&p->prepared + 1) - 1));
	ck_assert_uint_gt(line_of(&p->timestamps), line_of((const uint8_t *)(&p->request_ids + 1) - 1));
	free(p);
}
END_TEST

/* The counters of nodes, and those of scripts, are written by one worker each. */
START_TEST(counters_lie_apart)
{
	struct settings settings = { .workers = 2 };
	struct node_table *table = xcalloc_apart(1, sizeof(*table));
	struct net_address address;
	const struct node_stats *last = NULL;

	node_table_init(table, &settings);
	for (unsigned i = 0; i < 20; i++) {
		const struct node_stats *stats;

		ck_assert(net_parse_ip("10.0.0.1", (uint16_t)(9000 + i / 2), &address));
		stats = node_stats_get(table, NODE_ORIGIN, i % 2, &address);
		ck_assert_uint_eq((uintptr_t)stats % CACHE_LINE, 0);
		ck_assert_ptr_ne(stats, last);
		last = stats;
	}
	node_table_fini(table);
	free(table);
}
END_TEST

/* Every EXECUTE reads what was prepared once: nothing that a worker writes may be beside it. */
START_TEST(statements_lie_apart)
{
	struct prepared *entries[8];

	for (unsigned i = 0; i < ARRAY_LEN(entries); i++) {
		entries[i] = prepared_new(SV("SELECT v FROM ks.t WHERE k = ?"), SV("ks"));
		ck_assert_uint_eq((uintptr_t)entries[i] % CACHE_LINE, 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(entries); i++)
		prepared_unref(entries[i]);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("worker");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, clients_are_spread_evenly, 0, ARRAY_LEN(crowds));
	tcase_add_loop_test(tcase, drivers_are_spread_evenly, 0, ARRAY_LEN(crowds));
	tcase_add_test(tcase, gaps_are_filled);
	tcase_add_test(tcase, what_was_counted_is_given_back);
	tcase_add_test(tcase, allocated_apart);
	tcase_add_test(tcase, workers_lie_apart);
	tcase_add_test(tcase, shared_tables_lie_apart);
	tcase_add_test(tcase, counters_lie_apart);
	tcase_add_test(tcase, statements_lie_apart);
	return run_tcase("worker", tcase);
}
