/*
 * counters.c - see counters.h
 *
 * Scripts register hundreds of counters, and every worker's VM the same ones
 * again with each reload, so a counter is found by a hash table. The counters
 * of a family are chained, so that a page is written in one pass.
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
	bool is_gauge;
	unsigned first; /* numbers of counters, chained by `next` */
	unsigned last;
};

struct counter {
	char *labels;
	unsigned family;
	unsigned next; /* 0: the last of its family */
};

struct counters {
	pthread_mutex_t lock; /* of all but the cells */
	unsigned count;
	unsigned family_count;
	unsigned arrays;
	struct family *families[COUNTERS_MAX];
	struct counter items[COUNTERS_MAX + 1]; /* by number */
	uint16_t slots[SLOTS];                  /* numbers by hash, linear probing; 0: free */
	_Atomic int64_t *cells[];               /* by worker, then by number */
};

struct counters *counters_new(unsigned workers)
{
	struct counters *c = xcalloc(1, sizeof(*c) + (workers + 2) * sizeof(c->cells[0]));

	pthread_mutex_init(&c->lock, NULL);
	c->arrays = workers + 2;
	for (unsigned i = 0; i < c->arrays; i++)
		c->cells[i] = xcalloc(COUNTERS_MAX + 1, sizeof(*c->cells[i]));
	return c;
}

void counters_free(struct counters *c)
{
	if (!c)
		return;
	for (unsigned i = 1; i <= c->count; i++)
		free(c->items[i].labels);
	for (unsigned i = 0; i < c->family_count; i++) {
		free(c->families[i]->name);
		free(c->families[i]->help);
		free(c->families[i]);
	}
	for (unsigned i = 0; i < c->arrays; i++)
		free(c->cells[i]);
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

		if (*slot == 0 || (strcmp(c->items[*slot].labels, labels) == 0 &&
				   strcmp(c->families[c->items[*slot].family]->name, family) == 0))
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

static unsigned family_of(struct counters *c, const char *name, const char *help, bool is_gauge)
{
	struct family *f;

	for (unsigned i = 0; i < c->family_count; i++) {
		if (strcmp(c->families[i]->name, name) == 0)
			return i;
	}
	f = xcalloc(1, sizeof(*f));
	f->name = xstrdup(name);
	f->help = escape_help(help);
	f->is_gauge = is_gauge;
	c->families[c->family_count] = f;
	return c->family_count++;
}

static void chain(struct counters *c, unsigned family, unsigned number)
{
	struct family *f = c->families[family];

	if (f->first == 0)
		f->first = number;
	else
		c->items[f->last].next = number;
	f->last = number;
}

unsigned counters_register(struct counters *c, const char *family, const char *help, const char *labels, bool is_gauge)
{
	uint16_t *slot;
	unsigned number;

	pthread_mutex_lock(&c->lock);
	slot = slot_of(c, family, labels);
	if (*slot == 0 && c->count < COUNTERS_MAX) {
		number = ++c->count;
		c->items[number].labels = xstrdup(labels);
		c->items[number].family = family_of(c, family, help, is_gauge);
		chain(c, c->items[number].family, number);
		*slot = (uint16_t)number;
	}
	number = *slot;
	pthread_mutex_unlock(&c->lock);
	return number;
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

/* ---- values ---- */

unsigned counters_others(const struct counters *c)
{
	return c->arrays - 1;
}

void counters_add(struct counters *c, unsigned worker, unsigned number, int64_t n)
{
	_Atomic int64_t *cell = &c->cells[worker][number];
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
	atomic_store_explicit(&c->cells[worker][number], value, memory_order_relaxed);
}

int64_t counters_value(const struct counters *c, unsigned number)
{
	uint64_t sum = 0;

	if (number == 0) /* what could not be registered counts there, all together */
		return 0;
	for (unsigned i = 0; i < c->arrays; i++)
		sum += (uint64_t)atomic_load_explicit(&c->cells[i][number], memory_order_relaxed);
	return (int64_t)sum;
}

void counters_visit(struct counters *c,
		    void (*visit)(const char *family, const char *help, const char *labels, bool is_gauge,
				  int64_t value, void *arg),
		    void *arg)
{
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->family_count; i++) {
		const struct family *f = c->families[i];

		for (unsigned k = f->first; k; k = c->items[k].next)
			visit(f->name, f->help, c->items[k].labels, f->is_gauge, counters_value(c, k), arg);
	}
	pthread_mutex_unlock(&c->lock);
}
