/* test_hold.c - tickets: each ends once, by whichever comes first; what is kept with them is released once. */
#include "proxy/hold.h"

#include <pthread.h>

#include "loop_helper.h"
#include "proxy/worker.h"

#define LONG_MS 3600000

static struct proxy *proxy;
static struct worker *workers;

static void setup(void)
{
	proxy = xcalloc_apart(1, sizeof(*proxy));
	workers = xcalloc_apart(2, sizeof(*workers));
	proxy->workers = workers;
	proxy->worker_count = 2;
	for (unsigned i = 0; i < 2; i++) {
		workers[i].proxy = proxy;
		workers[i].index = i;
		ck_assert(loop_init(&workers[i].loop, HELPER_WRITE_TIMEOUT_MS));
		holds_init(&workers[i].holds);
	}
}

static void teardown(void)
{
	for (unsigned i = 0; i < 2; i++) {
		loop_run_messages(&workers[i].loop);
		ck_assert_uint_eq(workers[i].holds.held, 0);
		holds_fini(&workers[i].holds);
		loop_fini(&workers[i].loop);
	}
	free(workers);
	free(proxy);
}

/* Something that is held, and what it has heard of that. */
struct thing {
	struct hold hold;
	struct worker *worker;
	unsigned ends[2]; /* by enum hold_end */
	unsigned again;   /* how often it is held again */
	void *data;       /* that it was given at the end */
};

static void on_end(struct hold *hold, enum hold_end how)
{
	struct thing *t = container_of(hold, struct thing, hold);

	ck_assert_uint_eq(hold->ticket, 0);
	t->ends[how]++;
	t->data = t->worker->holds.resumed_data;
	if (t->again > 0) {
		t->again--;
		hold_bind(t->worker, hold, hold_take(t->worker, LONG_MS));
	}
}

static uint64_t hold(struct thing *t, struct worker *w, uint32_t timeout_ms)
{
	const uint64_t ticket = hold_take(w, timeout_ms);

	t->worker = w;
	t->hold.on_end = on_end;
	ck_assert_uint_ne(ticket, 0);
	hold_bind(w, &t->hold, ticket);
	ck_assert_uint_eq(t->hold.ticket, ticket);
	return ticket;
}

#define turn_until(w, expression)                                                                                      \
	do {                                                                                                           \
		for (unsigned waited_ = 0; !(expression); waited_++) {                                                 \
			ck_assert_msg(waited_ < HELPER_PATIENCE_MS, "never came: %s", #expression);                    \
			loop_turn(&(w)->loop, false);                                                                  \
			if (!(expression))                                                                             \
				usleep(1000);                                                                          \
		}                                                                                                      \
	} while (0)

static unsigned released;

static void release(void *data)
{
	(*(unsigned *)data)++;
	released++;
}

START_TEST(resumed)
{
	struct worker *w = &workers[1];
	struct thing t = { .again = 0 };
	const uint64_t ticket = hold(&t, w, LONG_MS);

	ck_assert_uint_eq(w->holds.held, 1);
	hold_resume(proxy, ticket);
	ck_assert_uint_eq(t.ends[HOLD_RESUMED], 0); /* it comes by its worker's loop */
	hold_resume(proxy, ticket);
	hold_resume(proxy, ticket);
	turn_until(w, w->holds.late == 2);
	ck_assert_uint_eq(t.ends[HOLD_RESUMED], 1);
	ck_assert_uint_eq(w->holds.held, 0);
}
END_TEST

START_TEST(not_resumed)
{
	struct worker *w = &workers[0];
	struct thing t = { .again = 0 };
	const uint64_t ticket = hold(&t, w, 1);

	turn_until(w, t.ends[HOLD_TIMED_OUT] == 1);
	ck_assert_uint_eq(w->holds.timed_out, 1);
	hold_resume(proxy, ticket);
	turn_until(w, w->holds.late == 1);
	ck_assert_uint_eq(t.ends[HOLD_RESUMED], 0);
}
END_TEST

START_TEST(dropped)
{
	struct worker *w = &workers[0];
	struct thing t = { .again = 0 };
	const uint64_t ticket = hold(&t, w, 1), unbound = hold_take(w, 1);

	hold_resume(proxy, ticket); /* it is on its way, and comes too late */
	hold_drop(w, ticket);
	hold_drop(w, unbound);
	ck_assert_uint_eq(w->holds.held, 0);
	hold_drop(w, ticket);
	hold_drop(w, 0);
	hold_drop(w, UINT64_MAX);
	turn_until(w, w->holds.late == 1);
	usleep(3000);
	loop_turn(&w->loop, false);
	ck_assert_uint_eq(t.ends[HOLD_RESUMED] + t.ends[HOLD_TIMED_OUT], 0);
	ck_assert_uint_eq(w->holds.held, 0);
}
END_TEST

/* The same place is another ticket each time, and an old one does nothing about it. */
START_TEST(generations)
{
	struct worker *w = &workers[0];
	struct thing t = { .again = 0 };
	uint64_t old = hold(&t, w, LONG_MS);

	for (unsigned i = 0; i < 100; i++) {
		uint64_t ticket;

		hold_drop(w, old);
		ticket = hold(&t, w, LONG_MS);
		ck_assert_uint_ne(ticket, old);
		hold_resume(proxy, old);
		hold_drop(w, old);
		old = ticket;
	}
	turn_until(w, w->holds.late == 100);
	ck_assert_uint_eq(w->holds.count, 1);
	ck_assert_uint_eq(t.ends[HOLD_RESUMED], 0);
	hold_drop(w, old);
}
END_TEST

/* Of another worker, of a place or a worker that there is not. */
START_TEST(strange_tickets)
{
	struct thing t[2] = { { .again = 0 } };
	const uint64_t first = hold(&t[0], &workers[0], LONG_MS), second = hold(&t[1], &workers[1], LONG_MS);

	ck_assert_uint_ne(first, second);
	hold_drop(&workers[0], second);
	hold_drop(&workers[1], first);
	hold_resume(proxy, 0);
	hold_resume(proxy, UINT64_MAX);
	hold_resume(proxy, (uint64_t)2 << 52 | 1);
	hold_resume(proxy, (uint64_t)12345 << 32 | 1);
	hold_resume(proxy, first + 1);
	turn_until(&workers[0], workers[0].holds.late == 2);
	loop_turn(&workers[1].loop, false);
	ck_assert_uint_eq(workers[1].holds.late, 0);
	ck_assert_uint_eq(workers[0].holds.held, 1);
	ck_assert_uint_eq(workers[1].holds.held, 1);
	hold_drop(&workers[0], first);
	hold_drop(&workers[1], second);
}
END_TEST

START_TEST(held_again)
{
	struct worker *w = &workers[0];
	struct thing t = { .again = 2 };
	uint64_t ticket = hold(&t, w, 1);

	turn_until(w, t.ends[HOLD_TIMED_OUT] == 1);
	for (unsigned i = 1; i <= 2; i++) {
		ck_assert_uint_ne(t.hold.ticket, ticket);
		ticket = t.hold.ticket;
		hold_resume(proxy, ticket);
		turn_until(w, t.ends[HOLD_RESUMED] == i);
	}
	ck_assert_uint_eq(t.hold.ticket, 0);
}
END_TEST

/* What is kept is there when it was resumed, and is released once, however it ends. */
START_TEST(kept)
{
	struct worker *w = &workers[0];
	struct thing t = { .again = 0 };
	unsigned data[5] = { 0 };
	uint64_t ticket;

	released = 0;
	ticket = hold(&t, w, LONG_MS);
	hold_keep(w, ticket, &data[0], release);
	hold_keep(w, ticket, &data[1], release); /* in place of the first */
	ck_assert_uint_eq(data[0], 1);
	hold_resume(proxy, ticket);
	turn_until(w, t.ends[HOLD_RESUMED] == 1);
	ck_assert_ptr_eq(t.data, &data[1]);
	ck_assert_ptr_null(w->holds.resumed_data);

	ticket = hold(&t, w, 1);
	hold_keep(w, ticket, &data[2], release);
	turn_until(w, t.ends[HOLD_TIMED_OUT] == 1);
	ck_assert_ptr_null(t.data);

	ticket = hold(&t, w, LONG_MS);
	hold_keep(w, ticket, &data[3], release);
	hold_drop(w, ticket);
	hold_keep(w, ticket, &data[4], release); /* of a ticket that is over: nothing */
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(data[i], i < 4);
	ck_assert_uint_eq(released, 4);
}
END_TEST

START_TEST(too_many)
{
	struct worker *w = &workers[0];
	uint64_t *tickets = xcalloc(HOLDS_MAX, sizeof(*tickets));

	for (unsigned i = 0; i < HOLDS_MAX; i++) {
		tickets[i] = hold_take(w, LONG_MS);
		ck_assert_uint_ne(tickets[i], 0);
	}
	ck_assert_uint_eq(hold_take(w, LONG_MS), 0);
	ck_assert_uint_ne(hold_take(&workers[1], LONG_MS), 0);
	hold_drop(&workers[1], (uint64_t)1 << 52 | 1);
	hold_drop(w, tickets[17]);
	tickets[17] = hold_take(w, LONG_MS);
	ck_assert_uint_ne(tickets[17], 0);
	ck_assert_uint_eq(hold_take(w, LONG_MS), 0);
	for (unsigned i = 0; i < HOLDS_MAX; i++)
		hold_drop(w, tickets[i]);
	free(tickets);
}
END_TEST

#define THREADS 4
#define THINGS 500

static uint64_t all_tickets[THINGS];

static void *resume_all(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < THINGS; i++)
		hold_resume(proxy, all_tickets[i]);
	return NULL;
}

/* Several threads resume the same tickets while the worker's loop turns: each thing ends once. */
START_TEST(threads)
{
	static struct thing things[THINGS];
	struct worker *w = &workers[1];
	pthread_t all[THREADS];
	unsigned ended = 0;

	for (unsigned i = 0; i < THINGS; i++)
		all_tickets[i] = hold(&things[i], w, LONG_MS);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&all[i], NULL, resume_all, NULL), 0);
	turn_until(w, w->holds.late == (THREADS - 1) * THINGS);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(all[i], NULL);
	for (unsigned i = 0; i < THINGS; i++)
		ended += things[i].ends[HOLD_RESUMED];
	ck_assert_uint_eq(ended, THINGS);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("hold");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, resumed);
	tcase_add_test(tc, not_resumed);
	tcase_add_test(tc, dropped);
	tcase_add_test(tc, generations);
	tcase_add_test(tc, strange_tickets);
	tcase_add_test(tc, held_again);
	tcase_add_test(tc, kept);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, threads);
	return run_tcase("hold", tc);
}
