/*
 * ring.c - see ring.h
 *
 * Each record has a word with its length before it, and is never cut in two: a
 * length with the bit SKIP says that the rest up to the end of the block is
 * empty. Both take no more than a reader can see: the head moves last.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

#define SKIP 0x80000000u
#define WORD 8u

static uint32_t taken_by(uint32_t size)
{
	return WORD + ((size + 7u) & ~7u);
}

bool ring_init(struct ring *r, uint32_t size)
{
	uint32_t rounded = 4096;

	while (rounded < size && rounded < 1u << 30)
		rounded *= 2;
	memset(r, 0, sizeof(*r));
	r->bytes = aligned_alloc(64, rounded);
	r->size = rounded;
	return r->bytes != NULL;
}

void ring_fini(struct ring *r)
{
	free(r->bytes);
	r->bytes = NULL;
}

static void put_length(struct ring *r, uint64_t position, uint32_t length)
{
	memcpy(r->bytes + (position & (r->size - 1)), &length, sizeof(length));
}

uint8_t *ring_reserve(struct ring *r, uint32_t size)
{
	const uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	const uint32_t place = (uint32_t)(head & (r->size - 1));
	const uint32_t taken = taken_by(size);
	const uint32_t skipped = r->size - place < taken ? r->size - place : 0;

	if (head + skipped + taken - r->seen_tail > r->size) {
		r->seen_tail = atomic_load_explicit(&r->tail, memory_order_acquire);
		if (head + skipped + taken - r->seen_tail > r->size)
			return NULL;
	}
	if (skipped)
		put_length(r, head, skipped | SKIP);
	r->reserved = head + skipped;
	return r->bytes + (r->reserved & (r->size - 1)) + WORD;
}

void ring_commit(struct ring *r, uint32_t size)
{
	put_length(r, r->reserved, size);
	atomic_store_explicit(&r->head, r->reserved + taken_by(size), memory_order_release);
}

bool ring_is_half_full(struct ring *r)
{
	const uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head - r->seen_tail <= r->size / 2)
		return false;
	r->seen_tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	return head - r->seen_tail > r->size / 2;
}

uint64_t ring_used(const struct ring *r)
{
	const uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

	return atomic_load_explicit(&r->head, memory_order_acquire) - tail;
}

const uint8_t *ring_peek(struct ring *r, uint32_t *size)
{
	const uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t skipped = 0;
	uint32_t length;
	const uint8_t *at;

	if (tail == r->seen_head) {
		r->seen_head = atomic_load_explicit(&r->head, memory_order_acquire);
		if (tail == r->seen_head)
			return NULL;
	}
	at = r->bytes + (tail & (r->size - 1));
	memcpy(&length, at, sizeof(length));
	if (length & SKIP) {
		skipped = length & ~SKIP;
		at = r->bytes; /* a record always follows: they are committed together */
		memcpy(&length, at, sizeof(length));
	}
	r->peeked = skipped + taken_by(length);
	*size = length;
	return at + WORD;
}

void ring_release(struct ring *r)
{
	const uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	atomic_store_explicit(&r->tail, tail + r->peeked, memory_order_release);
}
