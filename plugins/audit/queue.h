/*
 * queue.h - one worker's way to the writer: a ring, and what happens when it is
 * full (on_full):
 *
 *   drop    the record is lost and counted
 *   block   the worker waits for room, `block_ms` at most; then it drops until there is room again, without waiting
 *   refuse  new requests are denied (queue_is_full()); the records of those under way go into a list besides, of at
 *           most 16 times the bytes of the ring, beyond which they are dropped
 */
#ifndef AUDIT_QUEUE_H
#define AUDIT_QUEUE_H

#include <pthread.h>
#include <semaphore.h>

#include "ring.h"

enum queue_full {
	QUEUE_DROP,
	QUEUE_BLOCK,
	QUEUE_REFUSE,
};

/* How a worker wakes the writer: a system call only when that sleeps. */
struct queue_bell {
	sem_t sem;
	_Atomic bool is_asleep;
};

struct queue_spilled;

struct queue {
	struct ring ring;
	struct queue_bell *bell;
	/* The worker's. */
	enum queue_full on_full;
	uint32_t block_ms;
	bool has_waited;             /* in vain: until there is room it is not tried again */
	struct queue_spilled *begun; /* queue_begin() has put the record there; NULL: in the ring */
	/* Both: the list besides the ring. */
	_Atomic uint64_t spilled; /* bytes in it */
	pthread_mutex_t lock;
	struct queue_spilled *first, **last;
	struct queue_spilled *read; /* the writer's: what queue_next() has given */
	/* Counted by the worker, taken by the writer. */
	_Atomic uint64_t dropped;
	_Atomic uint64_t refused;
	_Atomic uint64_t waits;
};

bool queue_init(struct queue *q, uint32_t size, struct queue_bell *bell);
/* When both threads are done with it. */
void queue_fini(struct queue *q);

/* ---- the worker ---- */

/* Room for a record of `size` bytes (ring_record_max() at most), to be filled and given by queue_commit(). NULL: dropped. */
uint8_t *queue_begin(struct queue *q, uint32_t size);
void queue_commit(struct queue *q, uint32_t size);
/* There would be no room for a record of any size. Cheap while there is much room. */
bool queue_is_full(struct queue *q);
/* A request was denied because it is full. */
void queue_refused(struct queue *q);

/* ---- the writer ---- */

/* The next record, which stays until queue_done(); NULL: none. */
const uint8_t *queue_next(struct queue *q, uint32_t *size);
void queue_done(struct queue *q);

void queue_bell_init(struct queue_bell *bell);
void queue_bell_fini(struct queue_bell *bell);
/* Any thread. */
void queue_bell_ring(struct queue_bell *bell);
/* The writer: until somebody rings, or for so long. */
void queue_bell_wait(struct queue_bell *bell, uint32_t ms);

#endif
