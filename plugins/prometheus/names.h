/*
 * names.h - counts by names that strangers choose: tables, users, drivers. The
 * N with the most requests are shown, all others together as `other`, and
 * memory is bounded whatever comes.
 *
 * A set gives names numbers. Workers count in cells of their own by number; who
 * keeps a number (a connection, a prepared statement) keeps a reference, which
 * says whether the number still means that name:
 *
 *   reference   | generation, 20 bits | number, 12 bits |
 *
 * Number 0 stands for all names that got none. When numbers become free again
 * its generation changes, so that those who were sent there ask once more.
 *
 * Counters on a page never fall: cells are never set back. A name that comes
 * to be shown after it was part of `other` starts at 0, and what it had stays
 * in `other`.
 */
#ifndef PROMETHEUS_NAMES_H
#define PROMETHEUS_NAMES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_SHOWN_MAX 1000
#define NAMES_ID_BITS 12
#define NAMES_ID_MASK ((1u << NAMES_ID_BITS) - 1)
/* A part of a name is cut behind so many bytes. */
#define NAMES_PART_MAX 128
#define NAMES_PARTS 2
#define NAMES_KEY_MAX (NAMES_PARTS * (NAMES_PART_MAX + 1))
/* Who is shown, and whose number is free again, is looked at so often at most. */
#define NAMES_PERIOD_NS UINT64_C(10000000000)

struct names;

/* What a worker needs for each request. Belongs to the worker; the set outlives it. */
struct names_view {
	struct names *set;
	const _Atomic uint32_t *generations; /* by number */
	uint64_t *_Atomic *cells;            /* by number; only its own worker writes into them */
};

/* `shown` up to NAMES_SHOWN_MAX; 0: no name gets a number. `cells` are counted for each name. NULL: no memory. */
struct names *names_new(unsigned shown, unsigned cells, unsigned workers);
void names_free(struct names *names);
void names_view_init(struct names_view *view, struct names *names, unsigned worker);

/*
 * The name made of `count` parts, as it is counted and shown: what is no UTF-8
 * becomes '?', what is too long is cut, each part ends with a 0. Returns its length.
 */
size_t names_key(char out[NAMES_KEY_MAX], const char *const *parts, const uint64_t *lengths, unsigned count);

/* A reference to the number of this key. On the worker's thread; takes a lock, which main holds but every 10 seconds. */
uint32_t names_ref(struct names_view *view, const char *key, size_t len);

/* False: names_ref() has to be asked again; always for 0. */
static inline int names_is_current(const struct names_view *view, uint32_t ref)
{
	return atomic_load_explicit(&view->generations[ref & NAMES_ID_MASK], memory_order_relaxed) ==
	       ref >> NAMES_ID_BITS;
}

/* The cells of a current reference of this worker's. */
static inline uint64_t *names_cells(const struct names_view *view, uint32_t ref)
{
	return atomic_load_explicit(&view->cells[ref & NAMES_ID_MASK], memory_order_relaxed);
}

/* For the worker that owns the cell; others may read it meanwhile. */
static inline void cell_add(uint64_t *cell, uint64_t n)
{
	__atomic_store_n(cell, *cell + n, __ATOMIC_RELAXED);
}

static inline uint64_t cell_read(const uint64_t *cell)
{
	return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

/* Main, before names_visit(): who is shown from now on. `now_ns` of any monotonic clock. */
void names_settle(struct names *names, uint64_t now_ns);
/* Main: all that are shown with their counts, then `other` with `key` NULL. */
void names_visit(struct names *names, void (*visit)(void *arg, const char *key, const uint64_t *counts), void *arg);
/* Main: how many names have numbers. */
unsigned names_count(struct names *names);

#endif
