/* counters.c - see counters.h */
#include "proxy/counters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counter {
	char *family;
	char *help;
	char *labels;
	bool is_gauge;
};

struct counters {
	pthread_mutex_t lock;
	_Atomic unsigned count;
	unsigned arrays;
	struct counter items[COUNTERS_MAX];
	_Atomic int64_t *cells[]; /* by worker, then by number */
};

struct counters *counters_new(unsigned workers)
{
	struct counters *c = xcalloc(1, sizeof(*c) + (workers + 1) * sizeof(c->cells[0]));

	pthread_mutex_init(&c->lock, NULL);
	c->arrays = workers + 1;
	for (unsigned i = 0; i < c->arrays; i++)
		c->cells[i] = xcalloc(COUNTERS_MAX + 1, sizeof(*c->cells[i]));
	return c;
}

void counters_free(struct counters *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->count; i++) {
		free(c->items[i].family);
		free(c->items[i].help);
		free(c->items[i].labels);
	}
	for (unsigned i = 0; i < c->arrays; i++)
		free(c->cells[i]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static unsigned find(const struct counters *c, const char *family, const char *labels)
{
	for (unsigned i = 0; i < c->count; i++) {
		if (strcmp(c->items[i].family, family) == 0 && strcmp(c->items[i].labels, labels) == 0)
			return i + 1;
	}
	return 0;
}

unsigned counters_register(struct counters *c, const char *family, const char *help, const char *labels, bool is_gauge)
{
	unsigned number;

	pthread_mutex_lock(&c->lock);
	number = find(c, family, labels);
	if (number == 0 && c->count < COUNTERS_MAX) {
		number = c->count + 1;
		c->items[number - 1] = (struct counter){
			.family = xstrdup(family),
			.help = xstrdup(help),
			.labels = xstrdup(labels),
			.is_gauge = is_gauge,
		};
		c->count++;
	}
	pthread_mutex_unlock(&c->lock);
	return number;
}

void counters_label(char *out, size_t size, const char *name, const char *value)
{
	size_t n = strlen(out);

	n += (size_t)snprintf(out + n, size - n, "%s%s=\"", n > 0 ? "," : "", name);
	for (; *value && n + 4 < size; value++) {
		if (*value == '"' || *value == '\\' || *value == '\n')
			out[n++] = '\\';
		out[n++] = *value == '\n' ? 'n' : *value;
	}
	if (n + 1 < size)
		out[n++] = '"';
	if (n < size)
		out[n] = 0;
}

void counters_add(struct counters *c, unsigned worker, unsigned number, int64_t n)
{
	_Atomic int64_t *cell = &c->cells[worker][number];

	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void counters_set(struct counters *c, unsigned worker, unsigned number, int64_t value)
{
	atomic_store_explicit(&c->cells[worker][number], value, memory_order_relaxed);
}

int64_t counters_value(const struct counters *c, unsigned number)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < c->arrays; i++)
		sum += atomic_load_explicit(&c->cells[i][number], memory_order_relaxed);
	return sum;
}

void counters_visit(struct counters *c,
		    void (*visit)(const char *family, const char *help, const char *labels, bool is_gauge,
				  int64_t value, void *arg),
		    void *arg)
{
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->count; i++) {
		const struct counter *first = &c->items[i];
		unsigned j = 0;

		while (strcmp(c->items[j].family, first->family) != 0)
			j++;
		if (j < i)
			continue; /* told with the first of its family */
		for (; j < c->count; j++) {
			const struct counter *k = &c->items[j];

			if (strcmp(k->family, first->family) == 0)
				visit(first->family, first->help, k->labels, first->is_gauge, counters_value(c, j + 1),
				      arg);
		}
	}
	pthread_mutex_unlock(&c->lock);
}
