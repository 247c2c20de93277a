/* test_audit_queue.c - records from a worker to the writer: in order, whole, and what happens when there is no room. */
#include "audit/queue.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "vectors.h"

#define SIZE 4096

static struct queue_bell bell;
static struct queue queue;

static void setup(void)
{
	memset(&queue, 0, sizeof(queue));
	queue_bell_init(&bell);
	ck_assert(queue_init(&queue, SIZE, &bell));
}

static void teardown(void)
{
	queue_fini(&queue);
	queue_bell_fini(&bell);
}

/* A record whose bytes follow from its number. */
static bool put(uint32_t number, uint32_t size)
{
	uint8_t *room = queue_begin(&queue, size);

	if (!room)
		return false;
	if ((uintptr_t)room % 8 != 0)
		ck_abort_msg("not aligned");
	memset(room, (int)(number & 0xFF), size);
	memcpy(room, &number, sizeof(number));
	queue_commit(&queue, size);
	return true;
}

static void expect(uint32_t number, uint32_t size)
{
	uint32_t found_size, found;
	const uint8_t *bytes = queue_next(&queue, &found_size);
	bool is_whole = true;

	ck_assert_ptr_nonnull(bytes);
	ck_assert_uint_eq(found_size, size);
	memcpy(&found, bytes, sizeof(found));
	ck_assert_uint_eq(found, number);
	for (uint32_t i = sizeof(found); i < size; i++)
		is_whole &= bytes[i] == (number & 0xFF);
	ck_assert(is_whole);
	queue_done(&queue);
}

static uint32_t size_of(uint32_t number)
{
	return 4 + number * 37 % 1000;
}

static void expect_empty(void)
{
	uint32_t size;

	ck_assert_ptr_null(queue_next(&queue, &size));
	ck_assert_uint_eq(ring_used(&queue.ring), 0);
	ck_assert_uint_eq(atomic_load(&queue.spilled), 0);
}

START_TEST(in_order_around_the_end)
{
	expect_empty();
	for (uint32_t n = 0; n < 5000; n += 3) {
		for (uint32_t i = n; i < n + 3; i++)
			ck_assert(put(i, size_of(i)));
		for (uint32_t i = n; i < n + 3; i++)
			expect(i, size_of(i));
		expect_empty();
	}
	ck_assert_uint_eq(atomic_load(&queue.dropped), 0);
}
END_TEST

START_TEST(the_largest_always_fits_when_empty)
{
	const uint32_t max = ring_record_max(&queue.ring);

	for (uint32_t n = 0; n < 1000; n++) {
		ck_assert(put(n, n % 2 ? max : 4 + n % 100));
		expect(n, n % 2 ? max : 4 + n % 100);
	}
}
END_TEST

static uint32_t fill(uint32_t size)
{
	uint32_t n = 0;

	while (ring_reserve(&queue.ring, size)) {
		ck_assert(put(n, size));
		n++;
	}
	return n;
}

START_TEST(full_drops)
{
	const uint32_t n = fill(100);

	ck_assert_uint_ge(n, SIZE / 112 - 1);
	ck_assert(!put(n, 100));
	ck_assert(!put(n, 100));
	ck_assert_uint_eq(atomic_load(&queue.dropped), 2);
	for (uint32_t i = 0; i < n; i++)
		expect(i, 100);
	expect_empty();
	ck_assert(put(1, 100));
}
END_TEST

START_TEST(full_waits_only_so_long)
{
	struct timespec before, after;
	int64_t ms;

	queue.on_full = QUEUE_BLOCK;
	queue.block_ms = 30;
	fill(100);
	clock_gettime(CLOCK_MONOTONIC, &before);
	ck_assert(!put(0, 100));
	clock_gettime(CLOCK_MONOTONIC, &after);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	ck_assert_int_ge(ms, 29);
	/* In vain: the next ones do not wait. */
	ck_assert(!put(0, 100));
	ck_assert_uint_eq(atomic_load(&queue.waits), 1);
	ck_assert_uint_eq(atomic_load(&queue.dropped), 2);
	expect(0, 100);
	ck_assert(put(0, 100));
	ck_assert(!put(0, 100));
	ck_assert_uint_eq(atomic_load(&queue.waits), 2);
}
END_TEST

START_TEST(full_refuses_and_keeps_what_is_under_way)
{
	uint32_t n, in_ring;

	queue.on_full = QUEUE_REFUSE;
	ck_assert(!queue_is_full(&queue));
	for (n = 0; !queue_is_full(&queue); n++)
		ck_assert(put(n, 100));
	/* There is room for one of any size, still. */
	ck_assert(put(n++, ring_record_max(&queue.ring)));
	in_ring = n + fill(100);
	while (n < in_ring)
		n++;
	for (unsigned i = 0; i < 20; i++, n++)
		ck_assert(put(n, 100));
	ck_assert_uint_eq(atomic_load(&queue.spilled), 2000);
	ck_assert(queue_is_full(&queue));
	/* The list ends, too. */
	for (unsigned i = 20; i < 16 * SIZE / 100; i++)
		ck_assert(put(n, 100));
	ck_assert(!put(n, 100));
	ck_assert_uint_eq(atomic_load(&queue.dropped), 1);
	ck_assert_uint_le(atomic_load(&queue.spilled), 16 * SIZE);
}
END_TEST

START_TEST(what_spilled_comes_behind_the_ring)
{
	uint32_t n, of_ring;

	queue.on_full = QUEUE_REFUSE;
	of_ring = fill(100);
	for (n = of_ring; n < of_ring + 10; n++)
		ck_assert(put(n, 100));
	for (uint32_t i = 0; i < 5; i++)
		expect(i, 100);
	/* There is room in the ring, but what came first is not overtaken. */
	ck_assert(put(n++, 100));
	for (uint32_t i = 5; i < n; i++)
		expect(i, 100);
	expect_empty();
	ck_assert(!queue_is_full(&queue));
	ck_assert(put(0, 100));
	ck_assert_uint_eq(atomic_load(&queue.spilled), 0);
	/* Another way of being full, with records still in the list. */
	fill(100);
	ck_assert(put(0, 100));
	queue.on_full = QUEUE_DROP;
	ck_assert(put(0, 100));
	ck_assert_uint_eq(atomic_load(&queue.dropped), 0);
}
END_TEST

/* ---- two threads ---- */

#define MANY 60000u

static _Atomic bool is_over;

static void *read_all(void *arg)
{
	uint32_t *next = arg;
	uint32_t size;
	const uint8_t *bytes;

	for (;;) {
		const bool was_over = atomic_load(&is_over);

		while ((bytes = queue_next(&queue, &size)) != NULL) {
			uint32_t number;

			memcpy(&number, bytes, sizeof(number));
			/* A ck_assert() for each would take most of the time. */
			if (number == *next && size == size_of(number) &&
			    bytes[size - 1] == (size > 4 ? number & 0xFF : number >> 24))
				(*next)++;
			queue_done(&queue);
		}
		if (was_over)
			return NULL;
		queue_bell_wait(&bell, 1);
	}
}

static void wake_and_wait(void)
{
	queue_bell_ring(&bell);
	sched_yield();
}

static void run_both(enum queue_full on_full)
{
	pthread_t reader;
	uint32_t next = 0;

	queue.on_full = on_full;
	queue.block_ms = 10000;
	atomic_store(&is_over, false);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &next), 0);
	for (uint32_t n = 0; n < MANY; n++) {
		while (on_full == QUEUE_REFUSE && queue_is_full(&queue))
			wake_and_wait();
		if (!put(n, size_of(n)))
			ck_abort_msg("%u was dropped", n);
	}
	atomic_store(&is_over, true);
	queue_bell_ring(&bell);
	pthread_join(reader, NULL);
	ck_assert_uint_eq(next, MANY);
	ck_assert_uint_eq(atomic_load(&queue.dropped), 0);
}

START_TEST(two_threads_with_waiting)
{
	run_both(QUEUE_BLOCK);
}
END_TEST

START_TEST(two_threads_with_refusing)
{
	run_both(QUEUE_REFUSE);
}
END_TEST

/* With a ring that is full most of the time, so that the list is used from both sides. */
START_TEST(two_threads_with_a_list)
{
	pthread_t reader;
	uint32_t next = 0;

	queue.on_full = QUEUE_REFUSE;
	atomic_store(&is_over, false);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &next), 0);
	for (uint32_t n = 0; n < MANY; n++) {
		while (atomic_load(&queue.spilled) > 15 * SIZE)
			wake_and_wait();
		if (!put(n, size_of(n)))
			ck_abort_msg("%u was dropped", n);
	}
	atomic_store(&is_over, true);
	queue_bell_ring(&bell);
	pthread_join(reader, NULL);
	ck_assert_uint_eq(next, MANY);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("audit_queue");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, in_order_around_the_end);
	tcase_add_test(tc, the_largest_always_fits_when_empty);
	tcase_add_test(tc, full_drops);
	tcase_add_test(tc, full_waits_only_so_long);
	tcase_add_test(tc, full_refuses_and_keeps_what_is_under_way);
	tcase_add_test(tc, what_spilled_comes_behind_the_ring);
	tcase_add_test(tc, two_threads_with_waiting);
	tcase_add_test(tc, two_threads_with_refusing);
	tcase_add_test(tc, two_threads_with_a_list);
	return run_tcase("audit_queue", tc);
}
