/* queue.c - see queue.h */
#include "queue.h"

#include <stdlib.h>
#include <time.h>

/* A record that found no room in the ring. */
struct queue_spilled {
	struct queue_spilled *next;
	uint32_t size;
	_Alignas(8) uint8_t bytes[];
};

/* So many times the bytes of the ring may be in the list: what is under way when requests begin to be refused. */
#define LIST_TIMES 16u
/* How often a worker that waits looks for room. */
#define LOOK_NS 100000

void queue_bell_init(struct queue_bell *bell)
{
	sem_init(&bell->sem, 0, 0);
	atomic_init(&bell->is_asleep, false);
}

void queue_bell_fini(struct queue_bell *bell)
{
	sem_destroy(&bell->sem);
}

void queue_bell_ring(struct queue_bell *bell)
{
	if (atomic_load_explicit(&bell->is_asleep, memory_order_relaxed) && atomic_exchange(&bell->is_asleep, false))
		sem_post(&bell->sem);
}

void queue_bell_wait(struct queue_bell *bell, uint32_t ms)
{
	struct timespec until;

	/* Not the wall clock: set back by an hour, that would let the writer sleep for an hour. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	atomic_store(&bell->is_asleep, true);
	/* Woken by a signal or too early, the writer looks once more than needed. */
	sem_clockwait(&bell->sem, CLOCK_MONOTONIC, &until);
	atomic_store(&bell->is_asleep, false);
}

bool queue_init(struct queue *q, uint32_t size, struct queue_bell *bell)
{
	if (!ring_init(&q->ring, size))
		return false;
	q->bell = bell;
	q->on_full = QUEUE_DROP;
	pthread_mutex_init(&q->lock, NULL);
	q->last = &q->first;
	return true;
}

void queue_fini(struct queue *q)
{
	while (q->first) {
		struct queue_spilled *s = q->first;

		q->first = s->next;
		free(s);
	}
	free(q->read);
	pthread_mutex_destroy(&q->lock);
	ring_fini(&q->ring);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint8_t *wait_for_room(struct queue *q, uint32_t size)
{
	const struct timespec pause = { 0, LOOK_NS };
	const uint64_t until = now_ns() + (uint64_t)q->block_ms * 1000000u;
	uint8_t *room = NULL;

	if (q->has_waited)
		return NULL;
	atomic_fetch_add_explicit(&q->waits, 1, memory_order_relaxed);
	while (!room && now_ns() < until) {
		queue_bell_ring(q->bell);
		nanosleep(&pause, NULL);
		room = ring_reserve(&q->ring, size);
	}
	q->has_waited = !room;
	return room;
}

static uint8_t *spill(struct queue *q, uint32_t size)
{
	struct queue_spilled *s;

	if (atomic_load_explicit(&q->spilled, memory_order_relaxed) + size > (uint64_t)LIST_TIMES * q->ring.size)
		return NULL;
	s = malloc(sizeof(*s) + size);
	if (!s)
		return NULL;
	s->next = NULL;
	s->size = size;
	q->begun = s;
	return s->bytes;
}

static bool has_spilled(const struct queue *q)
{
	return atomic_load_explicit(&q->spilled, memory_order_relaxed) > 0;
}

uint8_t *queue_begin(struct queue *q, uint32_t size)
{
	uint8_t *room = NULL;

	q->begun = NULL;
	/* What came first is written first: no way around those in the list. */
	if (__builtin_expect(!has_spilled(q), 1))
		room = ring_reserve(&q->ring, size);
	if (__builtin_expect(room != NULL, 1)) {
		q->has_waited = false;
		return room;
	}
	if (q->on_full == QUEUE_BLOCK)
		room = wait_for_room(q, size);
	else if (q->on_full == QUEUE_REFUSE || has_spilled(q))
		room = spill(q, size);
	queue_bell_ring(q->bell);
	if (!room)
		atomic_fetch_add_explicit(&q->dropped, 1, memory_order_relaxed);
	return room;
}

void queue_commit(struct queue *q, uint32_t size)
{
	struct queue_spilled *s = q->begun;

	if (!s) {
		ring_commit(&q->ring, size);
		if (__builtin_expect(ring_is_half_full(&q->ring), 0))
			queue_bell_ring(q->bell);
		return;
	}
	q->begun = NULL;
	pthread_mutex_lock(&q->lock);
	*q->last = s;
	q->last = &s->next;
	atomic_fetch_add(&q->spilled, s->size);
	pthread_mutex_unlock(&q->lock);
}

bool queue_is_full(struct queue *q)
{
	if (has_spilled(q))
		return true;
	if (!ring_is_half_full(&q->ring))
		return false;
	/* A record of the largest size, and what may be lost at the end of the block before it. */
	return ring_used(&q->ring) + 2 * (uint64_t)ring_record_max(&q->ring) > q->ring.size;
}

void queue_refused(struct queue *q)
{
	atomic_fetch_add_explicit(&q->refused, 1, memory_order_relaxed);
	queue_bell_ring(q->bell);
}

const uint8_t *queue_next(struct queue *q, uint32_t *size)
{
	const uint8_t *bytes = q->read ? NULL : ring_peek(&q->ring, size);

	if (bytes)
		return bytes;
	if (!q->read && has_spilled(q)) {
		/* The worker puts nothing into the ring while there is a list: the ring comes first. */
		bytes = ring_peek(&q->ring, size);
		if (bytes)
			return bytes;
		pthread_mutex_lock(&q->lock);
		q->read = q->first;
		q->first = q->read->next;
		if (!q->first)
			q->last = &q->first;
		pthread_mutex_unlock(&q->lock);
	}
	if (!q->read)
		return NULL;
	*size = q->read->size;
	return q->read->bytes;
}

void queue_done(struct queue *q)
{
	if (!q->read) {
		ring_release(&q->ring);
		return;
	}
	atomic_fetch_sub(&q->spilled, q->read->size);
	free(q->read);
	q->read = NULL;
}
