/* test_route_extras.c - queues for the time-outs of routes: one for each duration, used again when empty, bounded. */
#include "proxy/route_extras.h"

#include "loop_helper.h"

static struct route_timeouts timeouts;
static struct timeout_item items[ROUTE_TIMEOUTS_MAX + 1];
static unsigned fired;

static void on_timeout(struct timeout_item *item)
{
	(void)item;
	fired++;
}

static void other_on_timeout(struct timeout_item *item)
{
	(void)item;
	ck_abort_msg("it is another queue's");
}

static void setup(void)
{
	memset(&timeouts, 0, sizeof(timeouts));
	fired = 0;
	helper_loop_start();
	for (unsigned i = 0; i < ARRAY_LEN(items); i++)
		timeout_item_init(&items[i]);
}

static void teardown(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(items); i++)
		timeout_stop(&items[i]);
	helper_loop_end();
}

static struct timeout_queue *get(uint32_t ms)
{
	return route_timeouts_get(&timeouts, &loop, ms, on_timeout);
}

static struct timeout_queue *wait_for(uint32_t ms, struct timeout_item *item)
{
	struct timeout_queue *q = get(ms);

	timeout_start(&loop, q, item);
	return q;
}

START_TEST(one_for_each_duration)
{
	struct timeout_queue *second = wait_for(1000, &items[0]), *minute = wait_for(60000, &items[1]);

	ck_assert_ptr_ne(second, minute);
	ck_assert_uint_eq(second->duration_ns, 1000000000);
	ck_assert_uint_eq(minute->duration_ns, 60000000000);
	ck_assert_ptr_eq(get(1000), second);
	ck_assert_ptr_eq(get(60000), minute);
	ck_assert_uint_eq(items[1].deadline_ns - items[0].deadline_ns, 59000000000);
	ck_assert_uint_eq(timeouts.count, 2);
}
END_TEST

START_TEST(an_empty_one_is_used_again)
{
	struct timeout_queue *q = wait_for(1000, &items[0]);

	timeout_stop(&items[0]);
	ck_assert_ptr_eq(get(1000), q); /* for the same, even while it is empty */
	ck_assert_ptr_eq(wait_for(7000, &items[1]), q);
	ck_assert_uint_eq(q->duration_ns, 7000000000);
	ck_assert_ptr_ne(wait_for(1000, &items[0]), q);
	ck_assert_uint_eq(timeouts.count, 2);
}
END_TEST

/* An empty one does not hide the one that has this duration already: its items would be out of order else. */
START_TEST(the_one_in_use_comes_first)
{
	struct timeout_queue *a = wait_for(1000, &items[0]), *b = wait_for(2000, &items[1]);

	timeout_stop(&items[0]);
	ck_assert_ptr_eq(get(2000), b);
	ck_assert_ptr_eq(get(3000), a);
}
END_TEST

START_TEST(all_in_use)
{
	struct timeout_queue *longest = NULL;

	for (unsigned i = 0; i < ROUTE_TIMEOUTS_MAX; i++)
		longest = wait_for(10000 * (i + 1), &items[i]);
	ck_assert_uint_eq(timeouts.count, ROUTE_TIMEOUTS_MAX);
	ck_assert_uint_eq(get(1)->duration_ns, 10000000000);
	ck_assert_uint_eq(get(10001)->duration_ns, 20000000000);
	ck_assert_ptr_eq(get(10000 * ROUTE_TIMEOUTS_MAX - 1), longest);
	ck_assert_ptr_null(get(10000 * ROUTE_TIMEOUTS_MAX + 1));
	timeout_stop(&items[3]);
	ck_assert_uint_eq(get(1)->duration_ns, 1000000);
	ck_assert_uint_eq(timeouts.count, ROUTE_TIMEOUTS_MAX);
}
END_TEST

START_TEST(longest)
{
	ck_assert_uint_eq(route_timeouts_longest_ns(&timeouts), 0);
	wait_for(1000, &items[0]);
	wait_for(9000, &items[1]);
	wait_for(5000, &items[2]);
	ck_assert_uint_eq(route_timeouts_longest_ns(&timeouts), 9000000000);
	timeout_stop(&items[1]);
	ck_assert_uint_eq(route_timeouts_longest_ns(&timeouts), 5000000000);
}
END_TEST

START_TEST(they_fire)
{
	static struct timeout_queue other; /* the loop knows it for as long as it lives */

	timeout_queue_init(&loop, &other, 60000, other_on_timeout);
	timeout_start(&loop, &other, &items[0]);
	wait_for(50, &items[1]);
	wait_for(1, &items[2]);
	wait_for(60000, &items[3]);
	loop_until(fired == 2);
	ck_assert(list_is_empty(&items[1].node));
	ck_assert(list_is_empty(&items[2].node));
	ck_assert(!list_is_empty(&items[3].node));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("route_extras");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, one_for_each_duration);
	tcase_add_test(tcase, an_empty_one_is_used_again);
	tcase_add_test(tcase, the_one_in_use_comes_first);
	tcase_add_test(tcase, all_in_use);
	tcase_add_test(tcase, longest);
	tcase_add_test(tcase, they_fire);
	return run_tcase("route_extras", tcase);
}
