/* pace.c - see pace.h */
#include "pace.h"

#include "load.h"

static void do_nothing(struct load *l, uint64_t now)
{
	(void)l;
	(void)now;
}

static void on_free_nothing(struct load *l, struct client *c, uint64_t now)
{
	(void)l;
	(void)c;
	(void)now;
}

static uint64_t due_never(const struct load *l)
{
	(void)l;
	return UINT64_MAX;
}

const struct pace pace_idle = {
	.begin = do_nothing, .turn = do_nothing, .on_free = on_free_nothing, .due_ns = due_never
};

/* ---- closed loop and lock step ---- */

static void offer(struct load *l, struct client *c, uint64_t now)
{
	l->offered++;
	client_send(c, now);
}

/* Every client gets `depth` requests, as far as this part of the run has so many. */
static void fill(struct load *l, uint64_t now)
{
	for (unsigned d = 0; d < l->options->depth; d++) {
		for (unsigned i = 0; i < l->options->connections && l->offered < l->limit; i++) {
			if (client_can_send(&l->clients[i]))
				offer(l, &l->clients[i], now);
		}
	}
}

/* One request after an answer; all of them after a connection was made anew. */
static void refill(struct load *l, struct client *c, uint64_t now)
{
	while (l->offered < l->limit && client_can_send(c))
		offer(l, c, now);
}

static void next_round(struct load *l, uint64_t now)
{
	if (l->answered == l->started)
		fill(l, now);
}

const struct pace pace_closed = { .begin = fill, .turn = do_nothing, .on_free = refill, .due_ns = due_never };
const struct pace pace_lockstep = {
	.begin = do_nothing, .turn = next_round, .on_free = on_free_nothing, .due_ns = due_never
};

/* ---- open loop ---- */

static void plan(struct load *l, uint64_t now)
{
	l->schedule.begin_ns = now;
	l->schedule.count = 0;
	l->schedule.next_ns = now;
}

/* From the whole, not by adding intervals, whose roundings would add up. Those of one burst have one time. */
static void plan_next(struct load *l)
{
	struct schedule *s = &l->schedule;

	s->count++;
	s->next_ns =
		s->begin_ns + (uint64_t)((double)(s->count - s->count % l->options->burst) * 1e9 / l->options->rate);
}

/* The next connection in turn that has a free stream; the one before while a burst goes on. */
static struct client *next_free(struct load *l)
{
	const unsigned connections = l->options->connections;

	if (l->started - l->answered == (uint64_t)connections * l->options->depth)
		return NULL;
	if (l->schedule.count % l->options->burst > 0) {
		struct client *c = &l->clients[(l->schedule.cursor + connections - 1) % connections];

		if (client_can_send(c))
			return c;
	}
	for (unsigned i = 0; i < connections; i++) {
		struct client *c = &l->clients[l->schedule.cursor];

		l->schedule.cursor = (l->schedule.cursor + 1) % connections;
		if (client_can_send(c))
			return c;
	}
	return NULL;
}

static void send_due(struct load *l, uint64_t now)
{
	while (l->schedule.next_ns <= now && l->offered < l->limit) {
		struct client *c = next_free(l);

		l->offered++;
		if (c)
			client_send(c, l->schedule.next_ns);
		else
			load_on_drop(l, l->schedule.next_ns);
		plan_next(l);
	}
}

static uint64_t next_due(const struct load *l)
{
	return l->offered < l->limit ? l->schedule.next_ns : UINT64_MAX;
}

const struct pace pace_open = {
	.counts_from_due = true, .begin = plan, .turn = send_due, .on_free = on_free_nothing, .due_ns = next_due
};
