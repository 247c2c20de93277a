/* test_loop.c - deadlines in order, what waits for the end of the turn, messages from other threads. */
#include <pthread.h>

#include "loop_helper.h"

static char journal[512];

static void note(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void note(const char *fmt, ...)
{
	size_t n = strlen(journal);
	va_list args;

	va_start(args, fmt);
	vsnprintf(journal + n, sizeof(journal) - n, fmt, args);
	va_end(args);
}

static void setup(void)
{
	journal[0] = '\0';
	helper_loop_start();
}

static void teardown(void)
{
	helper_loop_end();
}

/* ---- deadlines ---- */

struct alarm {
	char name;
	struct timeout_item item;
	uint64_t fired_ns;
};

static struct timeout_queue queue_a, queue_b;
static struct alarm *restart; /* starts anew when it fires */
static struct alarm *victim;  /* is stopped by whichever fires first */

static void on_timeout(struct timeout_item *item)
{
	struct alarm *a = container_of(item, struct alarm, item);

	ck_assert(list_is_empty(&item->node));
	a->fired_ns = loop_clock_ns();
	note("%c", a->name);
	if (a == restart) {
		restart = NULL;
		timeout_start(&loop, &queue_a, item);
	}
	if (victim) {
		timeout_stop(&victim->item);
		victim = NULL;
	}
}

static struct alarm alarm_new(char name)
{
	struct alarm a = { .name = name };

	return a;
}

static void alarms_start(struct alarm *all, unsigned count, struct timeout_queue *q)
{
	for (unsigned i = 0; i < count; i++) {
		timeout_item_init(&all[i].item);
		timeout_start(&loop, q, &all[i].item);
	}
}

START_TEST(deadlines_in_order)
{
	struct alarm all[4] = { alarm_new('a'), alarm_new('b'), alarm_new('c'), alarm_new('d') };
	struct alarm late = alarm_new('z');
	const uint64_t start = loop_clock_ns();

	timeout_queue_init(&loop, &queue_a, 100, on_timeout);
	timeout_queue_init(&loop, &queue_b, 300, on_timeout);
	alarms_start(&late, 1, &queue_b);
	alarms_start(all, 4, &queue_a);
	timeout_start(&loop, &queue_a, &all[1].item); /* starts anew: goes to the end */
	timeout_stop(&all[2].item);
	timeout_stop(&all[2].item);
	loop_until(strlen(journal) == 4);
	ck_assert_str_eq(journal, "adbz");
	/* never before their time */
	ck_assert_uint_ge(all[0].fired_ns - start, 100000000u);
	ck_assert_uint_ge(late.fired_ns - start, 300000000u);
	/* an empty loop has no timer running */
	loop_until(loop.tick_ns == UINT64_MAX);
}
END_TEST

START_TEST(no_tick_before_one_is_due)
{
	struct alarm late = alarm_new('z'), early = alarm_new('a');
	const uint64_t start = loop_clock_ns();
	unsigned turns = 0;

	timeout_queue_init(&loop, &queue_a, 200, on_timeout);
	timeout_queue_init(&loop, &queue_b, 3600000, on_timeout);
	alarms_start(&late, 1, &queue_b);
	ck_assert_uint_ge(loop.tick_ns, late.item.deadline_ns);
	alarms_start(&early, 1, &queue_a);
	ck_assert_uint_ge(loop.tick_ns, early.item.deadline_ns);
	ck_assert_uint_lt(loop.tick_ns, late.item.deadline_ns);
	for (; strlen(journal) == 0; turns++)
		loop_turn(&loop, true);
	ck_assert_str_eq(journal, "a");
	ck_assert_uint_ge(early.fired_ns - start, 200000000u);
	ck_assert_uint_le(turns, 3); /* one for the clock of libevent, which is coarse, and one for anything else */
	timeout_queue_set_duration(&loop, &queue_b, 100);
	ck_assert_uint_lt(loop.tick_ns, start + 3600000000000u);
	loop_until(strlen(journal) == 2);
	ck_assert_str_eq(journal, "az");
}
END_TEST

START_TEST(deadlines_change_the_queue_they_are_on)
{
	struct alarm all[3] = { alarm_new('a'), alarm_new('b'), alarm_new('c') };

	timeout_queue_init(&loop, &queue_a, 60, on_timeout);
	restart = &all[0];
	victim = &all[1];
	alarms_start(all, 3, &queue_a);
	loop_until(strlen(journal) == 3);
	ck_assert_str_eq(journal, "aca");
	ck_assert(list_is_empty(&queue_a.items));
}
END_TEST

START_TEST(a_shorter_duration_counts_at_once)
{
	struct alarm all[3] = { alarm_new('a'), alarm_new('b'), alarm_new('c') };
	const uint64_t start = loop_clock_ns();

	timeout_queue_init(&loop, &queue_a, 50, on_timeout);
	alarms_start(all, 1, &queue_a); /* keeps its deadline, which is early enough */
	timeout_queue_set_duration(&loop, &queue_a, 3600000);
	alarms_start(all + 1, 1, &queue_a);
	timeout_queue_set_duration(&loop, &queue_a, 150);
	alarms_start(all + 2, 1, &queue_a);
	ck_assert_uint_le(all[1].item.deadline_ns, all[2].item.deadline_ns);
	loop_until(strlen(journal) == 3);
	ck_assert_str_eq(journal, "abc");
	ck_assert_uint_ge(all[0].fired_ns - start, 50000000u);
	ck_assert_uint_lt(all[0].item.deadline_ns - start, 150000000u);
	ck_assert_uint_ge(all[1].fired_ns - start, 150000000u);
}
END_TEST

START_TEST(a_longer_duration_is_for_what_comes)
{
	struct alarm all[2] = { alarm_new('a'), alarm_new('b') };
	const uint64_t start = loop_clock_ns();

	timeout_queue_init(&loop, &queue_a, 50, on_timeout);
	alarms_start(all, 1, &queue_a);
	timeout_queue_set_duration(&loop, &queue_a, 200);
	alarms_start(all + 1, 1, &queue_a);
	ck_assert_uint_lt(all[0].item.deadline_ns - start, 200000000u);
	loop_until(strlen(journal) == 2);
	ck_assert_str_eq(journal, "ab");
	ck_assert_uint_ge(all[1].fired_ns - start, 200000000u);
}
END_TEST

/* ---- the end of the turn ---- */

struct waiting {
	char name;
	struct loop_deferred deferred;
	struct waiting *next; /* is deferred by the release of this one */
};

static void on_release(struct loop_deferred *d)
{
	struct waiting *w = container_of(d, struct waiting, deferred);

	note("%c", w->name);
	if (w->next)
		loop_defer(&loop, &w->next->deferred, on_release);
	free(w);
}

static struct waiting *waiting_new(char name, struct waiting *next)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->name = name;
	w->next = next;
	return w;
}

struct message {
	struct loop_message message;
	unsigned sender, number;
	void (*action)(void);
};

static void run_action(struct loop_message *m)
{
	struct message *message = container_of(m, struct message, message);

	message->action();
	free(message);
}

static void post_action(void (*action)(void))
{
	struct message *m = xcalloc(1, sizeof(*m));

	m->action = action;
	m->message.run = run_action;
	loop_post(&loop, &m->message);
}

static void defer_two(void)
{
	loop_defer(&loop, &waiting_new('1', waiting_new('3', NULL))->deferred, on_release);
	loop_defer(&loop, &waiting_new('2', NULL)->deferred, on_release);
	note("c");
}

START_TEST(released_at_the_end_of_the_turn)
{
	post_action(defer_two);
	loop_turn(&loop, true);
	ck_assert_str_eq(journal, "c123");
}
END_TEST

START_TEST(what_waits_is_released_by_fini)
{
	loop_defer(&loop, &waiting_new('1', NULL)->deferred, on_release);
	loop_fini(&loop);
	ck_assert_str_eq(journal, "1");
	helper_loop_start(); /* for teardown */
}
END_TEST

/* ---- messages ---- */

enum {
	SENDERS = 4,
	MESSAGES = 2000
};
static unsigned received[SENDERS];
static unsigned received_in_all;
static pthread_t loop_thread;

static void run_message(struct loop_message *m)
{
	struct message *message = container_of(m, struct message, message);

	ck_assert(pthread_equal(pthread_self(), loop_thread));
	ck_assert_uint_eq(message->number, received[message->sender]);
	received[message->sender]++;
	if (++received_in_all == SENDERS * MESSAGES)
		loop_stop(&loop);
	free(message);
}

static void *send_messages(void *arg)
{
	const unsigned sender = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct message *m = xcalloc(1, sizeof(*m));

		m->sender = sender;
		m->number = i;
		m->message.run = run_message;
		loop_post(&loop, &m->message);
	}
	return NULL;
}

START_TEST(messages_of_other_threads)
{
	pthread_t threads[SENDERS];

	received_in_all = 0;
	memset(received, 0, sizeof(received));
	loop_thread = pthread_self();
	for (unsigned i = 0; i < SENDERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, send_messages, (void *)(uintptr_t)i), 0);
	loop_run(&loop);
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(received[i], MESSAGES);
	}
}
END_TEST

static void post_again(void)
{
	note("1");
	if (strlen(journal) < 3)
		post_action(post_again);
}

START_TEST(a_message_posts_another)
{
	post_action(post_again);
	loop_until(strlen(journal) == 3);
	ck_assert_str_eq(journal, "111");
}
END_TEST

/* ---- the clock ---- */

static uint64_t seen[2];

static void read_clock_twice(void)
{
	seen[0] = loop_now(&loop);
	usleep(2000);
	seen[1] = loop_now(&loop);
}

START_TEST(one_reading_of_the_clock_per_turn)
{
	uint64_t first;

	post_action(read_clock_twice);
	loop_turn(&loop, true);
	ck_assert_uint_eq(seen[0], seen[1]);
	first = seen[0];
	usleep(2000);
	post_action(read_clock_twice);
	loop_turn(&loop, true);
	ck_assert_uint_ge(seen[0], first + 4000000u);
}
END_TEST

/* ---- what is given back ---- */

/* So that what is due after LOOP_LOOK_MS is due at once. */
static void let_look(void)
{
	timeout_queue_set_duration(&loop, &loop.looks, 1);
}

/* After a burst there are looks until little is left, then none: a loop without work sleeps. */
START_TEST(a_burst_is_given_back)
{
	static void *objects[1000];
	static struct chunk *chunks[1000];
	struct alarm work = alarm_new('w');
	struct slab own;

	slab_init(&own, 200, 640);
	loop_watch_slab(&loop, &own);
	timeout_queue_init(&loop, &queue_a, 1, on_timeout);
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
		objects[i] = slab_get(&own);
		chunks[i] = chunk_new(&loop.chunks, 100);
	}
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
		slab_put(&own, objects[i]);
		chunk_unref(chunks[i]);
	}
	loop_turn(&loop, false);
	ck_assert_uint_eq(own.free_count, 640);
	ck_assert_uint_eq(loop.tick_ns, UINT64_MAX); /* no tick for this alone */
	alarms_start(&work, 1, &queue_a);
	loop_until(strlen(journal) == 1);
	ck_assert(!list_is_empty(&loop.give_back.item.node));
	let_look();
	loop_until(loop.tick_ns == UINT64_MAX);
	ck_assert(list_is_empty(&loop.give_back.item.node));
	ck_assert_uint_eq(own.free_count, 10);
	ck_assert_uint_le(chunk_pool_free_count(&loop.chunks), 4096 / 64);
	slab_fini(&own);
}
END_TEST

/* A loop that has little does not look. */
START_TEST(little_is_kept)
{
	struct alarm work = alarm_new('w');

	chunk_unref(chunk_new(&loop.chunks, 100));
	timeout_queue_init(&loop, &queue_a, 1, on_timeout);
	alarms_start(&work, 1, &queue_a);
	loop_until(strlen(journal) == 1);
	ck_assert(list_is_empty(&loop.give_back.item.node));
	ck_assert_uint_eq(loop.tick_ns, UINT64_MAX);
	ck_assert_uint_eq(chunk_pool_free_count(&loop.chunks), 1);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("loop");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, deadlines_in_order);
	tcase_add_test(tcase, no_tick_before_one_is_due);
	tcase_add_test(tcase, a_burst_is_given_back);
	tcase_add_test(tcase, little_is_kept);
	tcase_add_test(tcase, deadlines_change_the_queue_they_are_on);
	tcase_add_test(tcase, a_shorter_duration_counts_at_once);
	tcase_add_test(tcase, a_longer_duration_is_for_what_comes);
	tcase_add_test(tcase, released_at_the_end_of_the_turn);
	tcase_add_test(tcase, what_waits_is_released_by_fini);
	tcase_add_test(tcase, messages_of_other_threads);
	tcase_add_test(tcase, a_message_posts_another);
	tcase_add_test(tcase, one_reading_of_the_clock_per_turn);
	return run_tcase("loop", tcase);
}
