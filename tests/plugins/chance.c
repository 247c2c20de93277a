/*
 * chance.c - decides about requests by the throw of dice, asks all that can be
 * asked, and says at the end whether each request was told of once. on_request
 * and on_response are for all kinds, so each number that is seen in the first is
 * seen in the second.
 */
#define _GNU_SOURCE
#include <cqlferry/plugin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dice.h"

#define QUEUE 4096
#define NUMBERS (1 << 22)

enum {
	SEED,
	WILD,
	OPTION_COUNT
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	[SEED] = { .name = "seed", .type = CQLFERRY_OPTION_NUMBER, .initial = "1", .flags = CQLFERRY_OPTION_RELOAD },
	/* Of ten requests so many are left alone. */
	[WILD] = { .name = "calm", .type = CQLFERRY_OPTION_NUMBER, .initial = "3", .max = 10 },
};

/* What a reload changes. */
struct state {
	unsigned seed;
};

struct chance {
	const struct cqlferry_host *host;
	atomic_uint dice;
	unsigned calm;
	pthread_t thread;
	pthread_mutex_t lock;
	atomic_bool ends;
	uint64_t tickets[QUEUE];
	unsigned count;
	uint32_t routes[3];
	uint32_t metrics[3];
	struct state *state, *next;
	atomic_int kept;
	atomic_uint asked, told, twice, unasked, held, again, outcomes[6];
	atomic_uchar *seen;
};

/* Of one worker. */
struct part {
	struct chance *chance;
	struct state *state;
};

static unsigned dice(struct chance *w, unsigned n)
{
	return dice_throw(&w->dice, n);
}

static void *resume_thread(void *arg)
{
	struct chance *w = arg;

	while (!atomic_load(&w->ends)) {
		uint64_t ticket = 0;

		pthread_mutex_lock(&w->lock);
		if (w->count > 0) {
			const unsigned i = dice(w, w->count);

			ticket = w->tickets[i];
			w->tickets[i] = w->tickets[--w->count];
		}
		pthread_mutex_unlock(&w->lock);
		w->host->resume(w->host, ticket);
		if (ticket && dice(w, 4) == 0)
			w->host->resume(w->host, ticket + (dice(w, 4) == 0));
		w->host->counter_add(w->host, w->metrics[0], 1);
		w->host->gauge_set(w->host, w->metrics[1], 1);
		w->host->histogram_observe(w->host, w->metrics[2], ticket);
		/* For hooks only: nothing may come of it. */
		w->host->deny(w->host, 0, "a thread");
		w->host->error(w->host, "a thread");
		w->host->hold_data(w->host, w, NULL);
		if (w->host->hold(w->host, 1000) || w->host->resumed(w->host) || w->host->resumed_data(w->host) ||
		    w->host->timer_new(w->host, 10, NULL, NULL))
			abort();
		usleep(ticket ? 100 : 1000);
	}
	return NULL;
}

static int32_t chance_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	static const double bounds[] = { 0.001, 0.01, 1 };
	struct cqlferry_route route = { .size = sizeof(route), .to = CQLFERRY_TO_TARGET, .consistency = 4, .tag = "t" };
	struct chance *w = calloc(1, sizeof(*w));

	w->host = host;
	w->calm = (unsigned)values[WILD].number;
	w->seen = calloc(NUMBERS, 1);
	w->state = calloc(1, sizeof(*w->state));
	atomic_store(&w->dice, (unsigned)values[SEED].number * 7919);
	w->routes[0] = host->route_new(host, &route);
	route.to = CQLFERRY_TO_BOTH;
	route.answer_from = CQLFERRY_TARGET;
	route.timeout_ms = 20000;
	w->routes[1] = host->route_new(host, &route);
	w->routes[2] = 999;
	w->metrics[0] = host->counter_new(host, "chance_total", "", "");
	w->metrics[1] = host->gauge_new(host, "chance_gauge", "", "");
	w->metrics[2] = host->histogram_new(host, "chance_seconds", "", "", bounds, 3);
	pthread_mutex_init(&w->lock, NULL);
	pthread_create(&w->thread, NULL, resume_thread, w);
	*self = w;
	return 0;
}

static void chance_close(void *self)
{
	struct chance *w = self;

	atomic_store(&w->ends, true);
	pthread_join(w->thread, NULL);
	fprintf(stderr,
		"chance %s: asked %u told %u twice %u unasked %u kept %d held %u again %u outcomes %u %u %u %u %u %u\n",
		w->host->instance, atomic_load(&w->asked), atomic_load(&w->told), atomic_load(&w->twice),
		atomic_load(&w->unasked), atomic_load(&w->kept), atomic_load(&w->held), atomic_load(&w->again),
		atomic_load(&w->outcomes[0]), atomic_load(&w->outcomes[1]), atomic_load(&w->outcomes[2]),
		atomic_load(&w->outcomes[3]), atomic_load(&w->outcomes[4]), atomic_load(&w->outcomes[5]));
	for (unsigned i = 0; i < NUMBERS; i++) {
		if (w->seen[i] == 1)
			fprintf(stderr, "chance %s: number %u was never told of\n", w->host->instance, i);
	}
	pthread_mutex_destroy(&w->lock);
	free(w->state);
	free(w->seen);
	free(w);
}

static int32_t chance_worker_open(void *self, uint32_t worker, void **part)
{
	struct part *p = calloc(1, sizeof(*p));

	(void)worker;
	p->chance = self;
	p->state = p->chance->state;
	*part = p;
	return 0;
}

static void chance_worker_close(void *part)
{
	free(part);
}

static int32_t chance_reload(void *self, const struct cqlferry_value *values)
{
	struct chance *w = self;

	w->next = calloc(1, sizeof(*w->next));
	w->next->seed = (unsigned)values[SEED].number;
	return 0;
}

static void chance_worker_reload(void *part)
{
	struct part *p = part;

	p->state = p->chance->next;
}

static void chance_reload_end(void *self, uint32_t taken)
{
	struct chance *w = self;

	free(taken ? w->state : w->next);
	if (taken)
		w->state = w->next;
	w->next = NULL;
}

static void release(void *data)
{
	struct chance **of = data;

	atomic_fetch_sub(&(*of)->kept, 1);
	free(of);
}

static int32_t hold(struct chance *w)
{
	const uint64_t ticket = w->host->hold(w->host, 1 + dice(w, 40));
	struct chance **data;

	if (!ticket)
		return CQLFERRY_NEXT;
	atomic_fetch_add(&w->held, 1);
	data = malloc(sizeof(*data));
	*data = w;
	atomic_fetch_add(&w->kept, 1);
	w->host->hold_data(w->host, data, release);
	pthread_mutex_lock(&w->lock);
	if (dice(w, 5) > 0 && w->count < QUEUE)
		w->tickets[w->count++] = ticket;
	pthread_mutex_unlock(&w->lock);
	return dice(w, 30) ? CQLFERRY_HOLD : CQLFERRY_NEXT;
}

static unsigned sum(struct cqlferry_text t)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < t.length; i += 1 + t.length / 16)
		n += (unsigned char)t.data[i];
	return n;
}

/* Every byte that is given can be read. */
static void ask_all(struct chance *w, struct cqlferry_request *request)
{
	const struct cqlferry_host *host = w->host;
	const struct cqlferry_statement *s = host->statement(request);
	const struct cqlferry_client_info *c = host->client_info(host->request_client(request));
	const struct cqlferry_request_info *info = host->request_info(request);
	uint64_t *slot = host->statement_slot(host, request);
	void **own = host->conn_slot(host, host->request_client(request));
	struct cqlferry_text value;
	unsigned n = info->consistency + (unsigned)strlen(info->verb);

	*own = w;
	if (slot)
		(*slot)++;
	n += sum(s->text) + sum(s->keyspace) + sum(c->address) + sum(c->user) + sum(c->keyspace) + sum(c->driver);
	for (uint32_t i = 0; i < s->table_count; i++)
		n += sum(s->tables[i].keyspace) + sum(s->tables[i].table);
	for (uint32_t i = 0; i < 4 && host->bound_value(request, i, &value); i++)
		n += value.data ? sum(value) : 0;
	n += (unsigned)host->row_count(request);
	host->counter_add(host, w->metrics[0], n % 2);
	host->gauge_set(host, w->metrics[1], n % 7);
	host->histogram_observe(host, w->metrics[2], n);
}

static int32_t decide(struct chance *w, struct cqlferry_request *request)
{
	const unsigned what = dice(w, 10);

	if (what < w->calm)
		return CQLFERRY_NEXT;
	switch (dice(w, 9)) {
	case 0:
		w->host->deny(w->host, dice(w, 2) ? 0x1001 : 0x2200, "bad luck");
		return CQLFERRY_DENY;
	case 1:
		w->host->error(w->host, "by chance");
		return dice(w, 2) ? CQLFERRY_ERROR : 77;
	case 2:
	case 3:
		w->host->route_set(request, dice(w, 2) ? 1 + dice(w, 4) : w->routes[dice(w, 3)]);
		return CQLFERRY_DONE;
	case 4:
		w->host->timer_free(w->host, w->host->timer_new(w->host, 10, release, NULL));
		return CQLFERRY_DONE;
	case 5:
		return CQLFERRY_HOLD;
	default:
		return hold(w);
	}
}

static int32_t chance_request(void *self, struct cqlferry_request *request)
{
	struct part *p = self;
	struct chance *w = p->chance;
	const uint64_t number = w->host->request_info(request)->number;

	if (number >= NUMBERS)
		abort();
	if (!w->host->resumed(w->host)) {
		if (atomic_fetch_or(&w->seen[number], 1) & 1)
			atomic_fetch_add(&w->twice, 1);
		atomic_fetch_add(&w->asked, 1);
	} else {
		if (*(struct chance **)w->host->resumed_data(w->host) != w)
			abort();
		atomic_fetch_add(&w->again, 1);
	}
	atomic_fetch_add(&w->asked, p->state->seed * 0);
	ask_all(w, request);
	return decide(w, request);
}

static void chance_response(void *self, struct cqlferry_request *request, const struct cqlferry_response *response)
{
	struct part *p = self;
	struct chance *w = p->chance;
	const uint64_t number = w->host->request_info(request)->number;

	if (number >= NUMBERS || w->host->hold(w->host, 100))
		abort();
	atomic_fetch_add(&w->told, 1);
	if (atomic_fetch_or(&w->seen[number], 2) & 2)
		atomic_fetch_add(&w->twice, 1);
	atomic_fetch_add(&w->outcomes[response->outcome], 1);
	if (response->duration_ns > 60000000000u || response->parts[0].duration_ns > response->duration_ns ||
	    response->parts[1].duration_ns > response->duration_ns)
		abort();
	sum(response->error);
	if (response->decider && strlen(response->decider) > 1000)
		abort();
	if (response->tag && strlen(response->tag) > 1000)
		abort();
	ask_all(w, request);
	w->host->route_set(request, 5);
	w->host->deny(w->host, 0, "too late");
	w->host->resume(w->host, number);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.flags = CQLFERRY_ROUTES,
	.name = "chance",
	.version = "1",
	.open = chance_open,
	.close = chance_close,
	.worker_open = chance_worker_open,
	.worker_close = chance_worker_close,
	.reload = chance_reload,
	.worker_reload = chance_worker_reload,
	.reload_end = chance_reload_end,
	.on_request = chance_request,
	.on_response = chance_response,
};
