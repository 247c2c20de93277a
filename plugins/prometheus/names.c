/*
 * names.c - see names.h
 *
 * The lock is for keys, states and the hash table. Workers take it when a name
 * is new to a connection or to a statement, main when it gives numbers back. A
 * number that was taken away is not given to another name before the next
 * period: a worker that has just compared generations has long counted then.
 */
#include "names.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../utf8.h"

/* Numbers for some more names than are shown, so that those who become frequent are noticed. */
#define NUMBERS_PER_SHOWN 4
#define NUMBERS_MIN 16
/* What counts for being shown: what was in the last periods, each a quarter less than the one behind it. */
#define FADE 0.75
/* Somebody who is shown makes room for somebody with so many times his requests. */
#define LEAD 2.0

enum entry_state {
	ENTRY_FREE,
	ENTRY_USED,
	ENTRY_LEAVING, /* nobody gets it any more; free in the next period */
};

struct entry {
	char key[NAMES_KEY_MAX];
	uint16_t len;
	_Atomic uint8_t state; /* enum entry_state; what is above is good once it is USED */
	/* Main alone: */
	bool is_shown;
	bool was_other;  /* a page has had its counts in `other` */
	bool is_rebased; /* LEAVING: `base` has all of its cells */
	uint64_t total;  /* at the end of the last period */
	double score;
	uint64_t *base; /* what of its cells belongs to `other`; NULL: nothing */
};

struct names {
	pthread_mutex_t lock;
	unsigned shown, shown_max;
	unsigned cells, workers;
	unsigned capacity; /* numbers 1 .. capacity */
	unsigned used;     /* of these, up to which they ever were given away */
	unsigned settled;  /* `used` when it was last decided who is shown; main alone */
	uint16_t *free;    /* numbers up to `used` that were given back */
	unsigned free_count;
	uint64_t period_ns; /* begin of this one */
	_Atomic uint32_t *generations;
	struct entry *entries;
	uint16_t *slots; /* numbers by hash, linear probing; 0: free */
	unsigned slot_count;
	uint64_t *_Atomic *columns[]; /* by worker, then by number */
};

/* ---- life ---- */

static uint64_t *column_get(struct names *n, unsigned worker, unsigned id)
{
	uint64_t *cells = atomic_load_explicit(&n->columns[worker][id], memory_order_acquire);

	if (!cells) {
		cells = calloc(n->cells, sizeof(*cells));
		atomic_store_explicit(&n->columns[worker][id], cells, memory_order_release);
	}
	return cells;
}

static bool allocate(struct names *n)
{
	n->generations = calloc(n->capacity + 1, sizeof(*n->generations));
	n->entries = calloc(n->capacity + 1, sizeof(*n->entries));
	n->slots = calloc(n->slot_count, sizeof(*n->slots));
	n->free = calloc(n->capacity + 1, sizeof(*n->free));
	if (!n->generations || !n->entries || !n->slots || !n->free)
		return false;
	for (unsigned i = 0; i < n->workers; i++) {
		n->columns[i] = calloc(n->capacity + 1, sizeof(*n->columns[i]));
		if (!n->columns[i] || !column_get(n, i, 0))
			return false;
	}
	return true;
}

struct names *names_new(unsigned shown, unsigned cells, unsigned workers)
{
	struct names *n = calloc(1, sizeof(*n) + workers * sizeof(n->columns[0]));

	if (!n)
		return NULL;
	pthread_mutex_init(&n->lock, NULL);
	n->shown_max = shown;
	n->cells = cells;
	n->workers = workers;
	n->capacity = shown ? shown * NUMBERS_PER_SHOWN + NUMBERS_MIN : 0;
	n->slot_count = 64;
	while (n->slot_count < 2 * n->capacity)
		n->slot_count *= 2;
	if (!allocate(n)) {
		names_free(n);
		return NULL;
	}
	for (unsigned i = 0; i <= n->capacity; i++)
		atomic_store_explicit(&n->generations[i], 1, memory_order_relaxed);
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	for (unsigned i = 0; i < n->workers && n->columns[i]; i++) {
		for (unsigned id = 0; id <= n->capacity; id++)
			free(atomic_load_explicit(&n->columns[i][id], memory_order_relaxed));
		free(n->columns[i]);
	}
	for (unsigned id = 0; n->entries && id <= n->capacity; id++)
		free(n->entries[id].base);
	free(n->generations);
	free(n->entries);
	free(n->slots);
	free(n->free);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

void names_view_init(struct names_view *view, struct names *n, unsigned worker)
{
	view->set = n;
	view->generations = n->generations;
	view->cells = n->columns[worker];
}

/* ---- keys ---- */

static size_t write_part(char *out, const char *part, uint64_t length)
{
	size_t n = 0;

	for (uint64_t i = 0; i < length;) {
		const unsigned len = utf8_length(part + i, length - i);
		const bool is_text = len > 0 && part[i] != '\0';

		if (n + (len ? len : 1) > NAMES_PART_MAX)
			break;
		memcpy(out + n, is_text ? part + i : "?", is_text ? len : 1);
		n += is_text ? len : 1;
		i += len ? len : 1;
	}
	out[n] = '\0';
	return n + 1;
}

size_t names_key(char out[NAMES_KEY_MAX], const char *const *parts, const uint64_t *lengths, unsigned count)
{
	size_t n = 0;

	for (unsigned i = 0; i < count; i++)
		n += write_part(out + n, parts[i], lengths[i]);
	return n;
}

/* FNV-1a; how keys spread over slots is nobody's secret, and the table has room for twice as many. */
static uint32_t hash_of(const char *key, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)key[i]) * 16777619u;
	return h ^ h >> 15;
}

/* Where the key is, or where it would have to be. */
static uint16_t *slot_of(struct names *n, const char *key, size_t len)
{
	for (uint32_t i = hash_of(key, len);; i++) {
		uint16_t *slot = &n->slots[i & (n->slot_count - 1)];
		const struct entry *e = &n->entries[*slot];

		if (*slot == 0 || (e->len == len && memcmp(e->key, key, len) == 0))
			return slot;
	}
}

/* ---- numbers ---- */

/* Somebody who is called as we call the rest belongs to it: no two series have the same labels. */
static bool is_other(const char *key, size_t len)
{
	static const char name[] = "other\0other";

	return (len == sizeof("other") || len == sizeof(name)) && memcmp(key, name, len) == 0;
}

static unsigned take_number(struct names *n)
{
	if (n->free_count > 0)
		return n->free[--n->free_count];
	return n->used < n->capacity ? ++n->used : 0;
}

static unsigned number_of(struct names *n, const char *key, size_t len)
{
	uint16_t *slot = slot_of(n, key, len);
	struct entry *e;

	if (*slot)
		return *slot;
	*slot = (uint16_t)take_number(n);
	if (!*slot)
		return 0;
	e = &n->entries[*slot];
	memcpy(e->key, key, len);
	e->len = (uint16_t)len;
	atomic_store_explicit(&e->state, ENTRY_USED, memory_order_release);
	return *slot;
}

uint32_t names_ref(struct names_view *view, const char *key, size_t len)
{
	struct names *n = view->set;
	uint32_t generation;
	unsigned id = 0;

	if (n->capacity == 0 || len == 0 || is_other(key, len))
		return atomic_load_explicit(&n->generations[0], memory_order_relaxed) << NAMES_ID_BITS;
	pthread_mutex_lock(&n->lock);
	id = number_of(n, key, len);
	if (id) {
		if (!atomic_load_explicit(&view->cells[id], memory_order_relaxed)) {
			uint64_t *cells = calloc(n->cells, sizeof(*cells));

			atomic_store_explicit(&view->cells[id], cells, memory_order_release);
			if (!cells)
				id = 0;
		}
	}
	generation = atomic_load_explicit(&n->generations[id], memory_order_relaxed);
	pthread_mutex_unlock(&n->lock);
	return generation << NAMES_ID_BITS | id;
}

/* Under the lock. References to the number are not current any more. */
static void next_generation(struct names *n, unsigned id)
{
	const uint32_t next = (atomic_load_explicit(&n->generations[id], memory_order_relaxed) + 1) &
			      UINT32_MAX >> NAMES_ID_BITS;

	atomic_store_explicit(&n->generations[id], next ? next : 1, memory_order_relaxed);
}

static enum entry_state state_of(const struct entry *e)
{
	return atomic_load_explicit(&e->state, memory_order_acquire);
}

/* ---- main ---- */

/* Adds what all workers have counted for a number to `sums`. */
static void add_cells(const struct names *n, unsigned id, uint64_t *sums)
{
	for (unsigned w = 0; w < n->workers; w++) {
		const uint64_t *cells = atomic_load_explicit(&n->columns[w][id], memory_order_acquire);

		for (unsigned i = 0; cells && i < n->cells; i++)
			sums[i] += cell_read(&cells[i]);
	}
}

static uint64_t total_of(const struct names *n, unsigned id)
{
	uint64_t total = 0;

	for (unsigned w = 0; w < n->workers; w++) {
		const uint64_t *cells = atomic_load_explicit(&n->columns[w][id], memory_order_acquire);

		for (unsigned i = 0; cells && i < n->cells; i++)
			total += cell_read(&cells[i]);
	}
	return total;
}

/* What its cells have now belongs to `other` from now on. False: no memory. */
static bool rebase(struct names *n, unsigned id)
{
	struct entry *e = &n->entries[id];

	if (!e->base)
		e->base = malloc(n->cells * sizeof(*e->base));
	if (!e->base)
		return false;
	memset(e->base, 0, n->cells * sizeof(*e->base));
	add_cells(n, id, e->base);
	return true;
}

static void show(struct names *n, unsigned id)
{
	struct entry *e = &n->entries[id];

	if (e->was_other && !rebase(n, id))
		return;
	e->is_shown = true;
	n->shown++;
}

static void hide(struct names *n, unsigned id)
{
	n->entries[id].is_shown = false;
	n->entries[id].was_other = true;
	n->shown--;
}

struct candidate {
	unsigned id;
	double score;
};

/* The most frequent first; of equals the older number. */
static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->id < y->id ? -1 : 1;
}

/* Those that are shown, or those that are not, sorted. */
static unsigned rank(struct names *n, unsigned used, bool is_shown, struct candidate *out)
{
	unsigned count = 0;

	for (unsigned id = 1; id <= used; id++) {
		struct entry *e = &n->entries[id];

		if (state_of(e) == ENTRY_USED && e->is_shown == is_shown)
			out[count++] = (struct candidate){ id, e->score + (double)(total_of(n, id) - e->total) };
	}
	qsort(out, count, sizeof(*out), compare);
	return count;
}

static void end_period(struct names *n, unsigned used)
{
	for (unsigned id = 1; id <= used; id++) {
		struct entry *e = &n->entries[id];
		const uint64_t total = total_of(n, id);

		e->score = e->score * FADE + (double)(total - e->total);
		e->total = total;
	}
}

/* Without the lock, since reading all cells takes long and workers would wait: nobody counts under these numbers. */
static void rebase_left(struct names *n, unsigned used)
{
	for (unsigned id = 1; id <= used; id++) {
		if (state_of(&n->entries[id]) == ENTRY_LEAVING)
			n->entries[id].is_rebased = rebase(n, id);
	}
}

/* Numbers that were taken away in the last period can be given to others now. */
static void free_left(struct names *n, unsigned used)
{
	bool has_freed = false;

	for (unsigned id = 1; id <= used; id++) {
		struct entry *e = &n->entries[id];

		if (state_of(e) != ENTRY_LEAVING || !e->is_rebased)
			continue;
		e->state = ENTRY_FREE;
		e->len = 0;
		e->was_other = false;
		e->score = 0;
		n->free[n->free_count++] = (uint16_t)id;
		has_freed = true;
	}
	if (has_freed)
		next_generation(n, 0);
}

/* Takes their numbers from the least frequent of those that are not shown. */
static void take_away(struct names *n, const struct candidate *hidden, unsigned count)
{
	const unsigned wanted = n->capacity / 4;

	if (n->capacity - n->used + n->free_count >= wanted)
		return;
	for (unsigned i = 0; i < wanted && i < count; i++) {
		n->entries[hidden[count - 1 - i].id].state = ENTRY_LEAVING;
		next_generation(n, hidden[count - 1 - i].id);
	}
	memset(n->slots, 0, n->slot_count * sizeof(*n->slots));
	for (unsigned id = 1; id <= n->used; id++) {
		if (state_of(&n->entries[id]) == ENTRY_USED)
			*slot_of(n, n->entries[id].key, n->entries[id].len) = (uint16_t)id;
	}
}

static void replace(struct names *n, struct candidate *shown, unsigned shown_count, const struct candidate *hidden,
		    unsigned hidden_count)
{
	for (unsigned i = 0; i < hidden_count && i < shown_count; i++) {
		const struct candidate *last = &shown[shown_count - 1 - i];

		if (hidden[i].score <= LEAD * last->score)
			return;
		hide(n, last->id);
		show(n, hidden[i].id);
	}
}

void names_settle(struct names *n, uint64_t now_ns)
{
	struct candidate *lists = calloc(2 * (size_t)n->capacity + 1, sizeof(*lists));
	struct candidate *hidden = lists, *shown = lists + n->capacity;
	unsigned count, used;

	if (!lists)
		return;
	pthread_mutex_lock(&n->lock);
	used = n->settled = n->used;
	pthread_mutex_unlock(&n->lock);
	count = rank(n, used, false, hidden);
	for (unsigned i = 0; i < count && n->shown < n->shown_max; i++)
		show(n, hidden[i].id);
	if (now_ns - n->period_ns >= NAMES_PERIOD_NS) {
		end_period(n, used);
		count = rank(n, used, false, hidden);
		replace(n, shown, rank(n, used, true, shown), hidden, count);
		count = rank(n, used, false, hidden);
		rebase_left(n, used);
		pthread_mutex_lock(&n->lock);
		free_left(n, used);
		take_away(n, hidden, count);
		pthread_mutex_unlock(&n->lock);
		n->period_ns = now_ns;
	}
	free(lists);
}

void names_visit(struct names *n, void (*visit)(void *arg, const char *key, const uint64_t *counts), void *arg)
{
	uint64_t *counts = calloc(2 * (size_t)n->cells, sizeof(*counts));
	uint64_t *others = counts + n->cells;

	if (!counts)
		return;
	for (unsigned id = 0; id <= n->settled; id++) {
		struct entry *e = &n->entries[id];

		if (!e->is_shown) {
			add_cells(n, id, others);
			/* Of a number that is free only now, all that was added belongs to names that had it before. */
			e->was_other |= state_of(e) != ENTRY_FREE;
			continue;
		}
		memset(counts, 0, n->cells * sizeof(*counts));
		add_cells(n, id, counts);
		for (unsigned i = 0; e->base && i < n->cells; i++) {
			counts[i] -= e->base[i];
			others[i] += e->base[i];
		}
		visit(arg, e->key, counts);
	}
	visit(arg, NULL, others);
	free(counts);
}

unsigned names_count(struct names *n)
{
	unsigned count;

	pthread_mutex_lock(&n->lock);
	count = n->used - n->free_count;
	pthread_mutex_unlock(&n->lock);
	return count;
}
