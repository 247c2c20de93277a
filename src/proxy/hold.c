/* hold.c - see hold.h */
#include "proxy/hold.h"

#include <stdlib.h>

#include "proxy/worker.h"

/* A ticket: the worker in the upper 12 bits, the place in 20, its generation in 32. */
#define WORKER_SHIFT 52
#define PLACE_SHIFT 32
#define PLACE_MASK 0xFFFFFu

_Static_assert(HOLDS_MAX <= PLACE_MASK, "a place's number fits into a ticket");

struct hold_place {
	struct worker *worker;
	struct hold *hold; /* NULL between hold_take() and hold_bind() */
	void *data;        /* of hold_keep() */
	void (*release)(void *data);
	struct event deadline;
	uint32_t number;
	uint32_t generation; /* odd: it is taken */
	uint32_t next_free;
};

struct resume_message {
	struct loop_message message;
	struct worker *worker;
	uint64_t ticket;
};

void holds_init(struct holds *h)
{
	*h = (struct holds){ .count = 0 };
}

void holds_fini(struct holds *h)
{
	for (uint32_t i = 0; i < h->count; i++) {
		event_del(&h->places[i]->deadline);
		free(h->places[i]);
	}
	free(h->places);
	holds_init(h);
}

static uint64_t ticket_of(const struct hold_place *p)
{
	return (uint64_t)p->worker->index << WORKER_SHIFT | (uint64_t)p->number << PLACE_SHIFT | p->generation;
}

/* NULL for one that has ended. */
static struct hold_place *find(const struct worker *w, uint64_t ticket)
{
	const uint32_t number = (uint32_t)(ticket >> PLACE_SHIFT) & PLACE_MASK;
	struct hold_place *p;

	if (ticket >> WORKER_SHIFT != w->index || number >= w->holds.count)
		return NULL;
	p = w->holds.places[number];
	return p->generation == (uint32_t)ticket && p->generation % 2 == 1 ? p : NULL;
}

static void release_data(void (*release)(void *data), void *data)
{
	if (release)
		release(data);
}

/* But for what is kept with it. */
static void give_back(struct hold_place *p)
{
	struct holds *h = &p->worker->holds;

	event_del(&p->deadline);
	p->generation++;
	p->hold = NULL;
	p->data = NULL;
	p->release = NULL;
	p->next_free = h->free;
	h->free = p->number + 1;
	metric_sub(&h->held, 1);
}

static void end(struct hold_place *p, enum hold_end how)
{
	struct holds *h = &p->worker->holds;
	struct hold *hold = p->hold;
	void *data = p->data;
	void (*release)(void *data) = p->release;

	if (how == HOLD_TIMED_OUT)
		metric_add(&h->timed_out, 1);
	give_back(p); /* first: when it is asked again, it may be held again */
	if (hold) {   /* without one, a defect of ours, nobody has taken it over, or dropped it */
		h->resumed_data = how == HOLD_RESUMED ? data : NULL;
		hold->ticket = 0;
		hold->on_end(hold, how);
		h->resumed_data = NULL;
	}
	release_data(release, data);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	end(arg, HOLD_TIMED_OUT);
}

static struct hold_place *new_place(struct worker *w)
{
	struct holds *h = &w->holds;
	struct hold_place *p;

	if (h->count == HOLDS_MAX)
		return NULL;
	/* Doubled where it is full: at each power of two. */
	if ((h->count & (h->count - 1)) == 0)
		h->places = xrealloc(h->places, MAX(h->count * 2, 1u) * sizeof(struct hold_place *));
	p = xcalloc(1, sizeof(*p));
	p->worker = w;
	p->number = h->count;
	evtimer_assign(&p->deadline, w->loop.base, on_deadline, p);
	h->places[h->count++] = p;
	return p;
}

uint64_t hold_take(struct worker *w, uint32_t timeout_ms)
{
	const struct timeval timeout = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	struct holds *h = &w->holds;
	struct hold_place *p;

	if (h->free) {
		p = h->places[h->free - 1];
		h->free = p->next_free;
	} else {
		p = new_place(w);
		if (!p)
			return 0;
	}
	p->generation++;
	metric_add(&h->held, 1);
	evtimer_add(&p->deadline, &timeout);
	return ticket_of(p);
}

void hold_keep(struct worker *w, uint64_t ticket, void *data, void (*release)(void *data))
{
	struct hold_place *p = find(w, ticket);

	if (!p)
		return;
	release_data(p->release, p->data);
	p->data = data;
	p->release = release;
}

void hold_bind(struct worker *w, struct hold *hold, uint64_t ticket)
{
	struct hold_place *p = find(w, ticket);

	Assert(p && !p->hold && hold->on_end);
	hold->ticket = ticket;
	p->hold = hold;
}

void hold_drop(struct worker *w, uint64_t ticket)
{
	struct hold_place *p = ticket ? find(w, ticket) : NULL;
	void (*release)(void *data);
	void *data;

	if (!p)
		return;
	data = p->data;
	release = p->release;
	give_back(p);
	release_data(release, data);
}

static void run_resume(struct loop_message *message)
{
	struct resume_message *m = container_of(message, struct resume_message, message);
	struct hold_place *p = find(m->worker, m->ticket);

	if (p)
		end(p, HOLD_RESUMED);
	else
		metric_add(&m->worker->holds.late, 1);
	free(m);
}

void hold_resume(struct proxy *proxy, uint64_t ticket)
{
	const uint64_t worker = ticket >> WORKER_SHIFT;
	struct resume_message *m;

	if (ticket == 0 || worker >= proxy->worker_count)
		return;
	m = xcalloc(1, sizeof(*m));
	m->worker = &proxy->workers[worker];
	m->ticket = ticket;
	m->message.run = run_resume;
	loop_post(&m->worker->loop, &m->message);
}
