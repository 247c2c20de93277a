/*
 * ring.h - a bounded queue of records of bytes from one thread to another. The
 * writing thread, a worker, fills a record where it will be read, without a
 * lock, an allocation or a system call.
 */
#ifndef AUDIT_RING_H
#define AUDIT_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring {
	uint8_t *bytes;
	uint32_t size; /* a power of two */
	/* Positions count on and on; the place is the position modulo the size. */
	_Alignas(64) _Atomic uint64_t head; /* behind what was committed; the writer's */
	uint64_t seen_tail;                 /* the writer's last look at the tail */
	uint64_t reserved;                  /* where ring_reserve() has put the record; the writer's */
	_Alignas(64) _Atomic uint64_t tail; /* of what was not released yet; the reader's */
	uint64_t seen_head;
	uint32_t peeked; /* bytes that ring_release() gives back */
};

/* `size` is rounded up to a power of two, and less than a page makes a page. False without memory. */
bool ring_init(struct ring *r, uint32_t size);
void ring_fini(struct ring *r);

/* The largest record that always fits into an empty ring. */
static inline uint32_t ring_record_max(const struct ring *r)
{
	return r->size / 4;
}

/* The writer: room for a record of `size` bytes, at most ring_record_max(), aligned to 8; NULL: the ring is full. */
uint8_t *ring_reserve(struct ring *r, uint32_t size);
/* The writer: the reader may have what was reserved last. */
void ring_commit(struct ring *r, uint32_t size);
/* The writer: more than half of it is taken, as far as it can tell without looking at the reader more than needed. */
bool ring_is_half_full(struct ring *r);
/* Any thread: bytes that wait. */
uint64_t ring_used(const struct ring *r);

/* The reader: the next record, NULL: there is none. It stays there until ring_release(). */
const uint8_t *ring_peek(struct ring *r, uint32_t *size);
void ring_release(struct ring *r);

#endif
