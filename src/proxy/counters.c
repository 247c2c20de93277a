/*
 * counters.c - see counters.h
 *
 * Scripts register hundreds of counters, and every worker's VM the same ones
 * again with each reload, so a counter is found by a hash table. Families and
 * the counters of each are chained in the order in which a page shows them, so
 * that it is written in one pass, and sorted once.
 */
#include "proxy/counters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/utf8.h"

/* Twice as many as there can be counters, a power of two. */
#define SLOTS 8192

struct family {
	char *name;
	char *help;
	enum counter_kind kind;
	struct counter *first; /* sorted by labels */
	struct family *next;   /* sorted by name */
};

struct counter {
	char *labels;
	struct family *family;
	struct counter *next;
	struct counter_bounds *bounds; /* of a histogram */
};

/*
 * A counter's number is the place of its cell in each array. A histogram has one
 * for each bound, one for what is above, and the sum; its number is the first's.
 */
struct counters {
	pthread_mutex_t lock; /* of all but the cells */
	unsigned count;
	unsigned cells_used;
	unsigned arrays;
	void (*refresh)(void *arg);
	void *refresh_arg;
	struct family *families;
	struct counter items[COUNTERS_CELLS + 1]; /* by number */
	uint16_t slots[SLOTS];                    /* numbers by hash, linear probing; 0: free */
	_Atomic int64_t *cells;                   /* by thread, CELLS_STRIDE apart, then by number */
	void *block;                              /* they lie in */
};

/* Of one thread, in whole lines. */
#define CELLS_PER_LINE (CACHE_LINE / sizeof(int64_t))
#define CELLS_STRIDE ((COUNTERS_CELLS / CELLS_PER_LINE + 1) * CELLS_PER_LINE)

_Static_assert(CELLS_STRIDE > COUNTERS_CELLS, "numbers begin with 1");
_Static_assert(COUNTERS_CELLS <= UINT16_MAX, "a number fits into a slot");

struct counters *counters_new(unsigned workers)
{
	struct counters *c = xcalloc(1, sizeof(*c));

	pthread_mutex_init(&c->lock, NULL);
	c->arrays = workers + 2;
	/* calloc(): what is not counted in is never touched. A line more, so that the first one can begin where a line does. */
	c->block = xcalloc(c->arrays * CELLS_STRIDE + CELLS_PER_LINE, sizeof(*c->cells));
	c->cells = (void *)(((uintptr_t)c->block + CACHE_LINE - 1) & ~(uintptr_t)(CACHE_LINE - 1));
	return c;
}

void counters_free(struct counters *c)
{
	if (!c)
		return;
	for (struct family *f = c->families, *next; f; f = next) {
		next = f->next;
		free(f->name);
		free(f->help);
		free(f);
	}
	for (unsigned i = 1; i <= c->cells_used; i++) {
		free(c->items[i].labels);
		free(c->items[i].bounds);
	}
	free(c->block);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- registering ---- */

/* Where it is, or where it would have to be. */
static uint16_t *slot_of(struct counters *c, const char *family, const char *labels)
{
	const uint64_t seed = XXH3_64bits(family, strlen(family));
	uint64_t i = XXH3_64bits_withSeed(labels, strlen(labels), seed);

	for (;; i++) {
		uint16_t *slot = &c->slots[i % SLOTS];

		if (*slot == 0 ||
		    (strcmp(c->items[*slot].labels, labels) == 0 && strcmp(c->items[*slot].family->name, family) == 0))
			return slot;
	}
}

/* The text format has two escapes in a line of HELP. */
static char *escape_help(const char *help)
{
	char *text = xmalloc(2 * strlen(help) + 1), *to = text;

	for (; *help; help++) {
		if (*help == '\\' || *help == '\n')
			*to++ = '\\';
		*to++ = *help == '\n' ? 'n' : *help;
	}
	*to = '\0';
	return text;
}

/* NULL when there is one of another kind. */
static struct family *family_of(struct counters *c, const char *name, const char *help, enum counter_kind kind)
{
	struct family **at = &c->families, *f;

	while (*at && strcmp((*at)->name, name) < 0)
		at = &(*at)->next;
	if (*at && strcmp((*at)->name, name) == 0)
		return (*at)->kind == kind ? *at : NULL;
	f = xcalloc(1, sizeof(*f));
	f->name = xstrdup(name);
	f->help = escape_help(help);
	f->kind = kind;
	f->next = *at;
	*at = f;
	return f;
}

static void chain(struct family *f, struct counter *k)
{
	struct counter **at = &f->first;

	while (*at && strcmp((*at)->labels, k->labels) < 0)
		at = &(*at)->next;
	k->family = f;
	k->next = *at;
	*at = k;
}

/* Its number, 0 when there is no room. */
static unsigned add(struct counters *c, struct family *f, const char *labels, const struct counter_bounds *bounds)
{
	const unsigned cells = bounds ? bounds->count + 2 : 1;
	const unsigned number = c->cells_used + 1;
	struct counter *k = &c->items[number];

	if (c->count == COUNTERS_MAX || cells > COUNTERS_CELLS - c->cells_used)
		return 0;
	c->count++;
	c->cells_used += cells;
	k->labels = xstrdup(labels);
	if (bounds) {
		k->bounds = xmalloc(sizeof(*bounds));
		*k->bounds = *bounds;
	}
	chain(f, k);
	return number;
}

static unsigned find_or_add(struct counters *c, const char *family, const char *help, const char *labels,
			    enum counter_kind kind, const struct counter_bounds *bounds)
{
	unsigned number;
	struct family *f;
	uint16_t *slot;

	pthread_mutex_lock(&c->lock);
	slot = slot_of(c, family, labels);
	if (*slot == 0) {
		f = c->count < COUNTERS_MAX ? family_of(c, family, help, kind) : NULL;
		if (f)
			*slot = (uint16_t)add(c, f, labels, bounds);
	}
	number = *slot && c->items[*slot].family->kind == kind ? *slot : 0;
	pthread_mutex_unlock(&c->lock);
	return number;
}

unsigned counters_register(struct counters *c, const char *family, const char *help, const char *labels,
			   enum counter_kind kind)
{
	return find_or_add(c, family, help, labels, kind, NULL);
}

unsigned counters_register_histogram(struct counters *c, const char *family, const char *help, const char *labels,
				     const struct counter_bounds *bounds)
{
	return find_or_add(c, family, help, labels, COUNTER_HISTOGRAM, bounds);
}

/* ---- labels ---- */

void counters_label(char *out, size_t size, const char *name, const char *value)
{
	size_t n = strlen(out);

	/* A comma, an equals sign, two quotes and the end. */
	if (n + strlen(name) + 5 > size)
		return;
	n += (size_t)snprintf(out + n, size - n, "%s%s=\"", n > 0 ? "," : "", name);
	while (*value) {
		const unsigned len = utf8_length(value);
		char text[5] = "?";

		if (*value == '"' || *value == '\\' || *value == '\n')
			snprintf(text, sizeof(text), "\\%c", *value == '\n' ? 'n' : *value);
		else if (len > 0)
			memcpy(text, value, len);
		if (n + strlen(text) + 2 > size)
			break;
		n += (size_t)snprintf(out + n, size - n, "%s", text);
		value += MAX(len, 1);
	}
	snprintf(out + n, size - n, "\"");
}

/* ---- counting ---- */

static inline _Atomic int64_t *cell_of(const struct counters *c, unsigned worker, unsigned number)
{
	return &c->cells[worker * CELLS_STRIDE + number];
}

unsigned counters_main(const struct counters *c)
{
	return c->arrays - 2;
}

unsigned counters_others(const struct counters *c)
{
	return c->arrays - 1;
}

void counters_add(struct counters *c, unsigned worker, unsigned number, int64_t n)
{
	_Atomic int64_t *cell = cell_of(c, worker, number);
	int64_t old;

	if (unlikely(worker == counters_others(c))) {
		atomic_fetch_add_explicit(cell, n, memory_order_relaxed);
		return;
	}
	old = atomic_load_explicit(cell, memory_order_relaxed);
	/* Scripts may add as much as they like: beyond the end it begins anew, as counters do. */
	atomic_store_explicit(cell, (int64_t)((uint64_t)old + (uint64_t)n), memory_order_relaxed);
}

void counters_set(struct counters *c, unsigned worker, unsigned number, int64_t value)
{
	atomic_store_explicit(cell_of(c, worker, number), value, memory_order_relaxed);
}

void counters_observe(struct counters *c, unsigned worker, unsigned number, uint64_t ns)
{
	const struct counter_bounds *b = c->items[number].bounds;
	unsigned i = 0;

	if (!b)
		return;
	while (i < b->count && ns > b->ns[i])
		i++;
	counters_add(c, worker, number + i, 1);
	counters_add(c, worker, number + b->count + 1, (int64_t)ns);
}

/* ---- values ---- */

int64_t counters_value(const struct counters *c, unsigned number)
{
	uint64_t sum = 0;

	if (number == 0) /* what could not be registered counts there, all together */
		return 0;
	for (unsigned i = 0; i < c->arrays; i++)
		sum += (uint64_t)atomic_load_explicit(cell_of(c, i, number), memory_order_relaxed);
	return (int64_t)sum;
}

uint64_t counters_buckets(const struct counters *c, const struct counter_series *histogram,
			  uint64_t out[COUNTERS_BOUNDS_MAX + 1])
{
	const unsigned above = histogram->bounds->count;

	for (unsigned i = 0; i <= above; i++)
		out[i] = (uint64_t)counters_value(c, histogram->number + i);
	return (uint64_t)counters_value(c, histogram->number + above + 1);
}

void counters_on_list(struct counters *c, void (*refresh)(void *arg), void *arg)
{
	c->refresh = refresh;
	c->refresh_arg = arg;
}

unsigned counters_list(struct counters *c, struct counter_series **out)
{
	unsigned n = 0;

	if (c->refresh)
		c->refresh(c->refresh_arg);
	pthread_mutex_lock(&c->lock);
	*out = xcalloc(c->count, sizeof(**out));
	for (const struct family *f = c->families; f; f = f->next) {
		for (const struct counter *k = f->first; k; k = k->next)
			(*out)[n++] = (struct counter_series){
				f->name, f->help, k->labels, f->kind, (unsigned)(k - c->items), k->bounds
			};
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}
