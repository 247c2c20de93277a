/* figures.c - see figures.h */
#include "proxy/figures.h"

#include <stdlib.h>

#include "proxy/hooks.h"
#include "proxy/metrics.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

const uint64_t figures_bounds[FIGURES_BOUNDS] = {
	10000,   25000,   50000,    100000,   250000,   500000,    1000000,
	2500000, 5000000, 10000000, 25000000, 50000000, 100000000, 1000000000,
};

struct question {
	struct loop_message message;
	struct worker *worker;
};

static void set(uint64_t *figure, uint64_t value)
{
	__atomic_store_n(figure, value, __ATOMIC_RELAXED);
}

/* ---- turns ---- */

static void observe(uint64_t counts[FIGURES_BOUNDS + 1], uint64_t *sum_ns, uint64_t ns, uint64_t n)
{
	unsigned i = 0;

	while (i < FIGURES_BOUNDS && ns > figures_bounds[i])
		i++;
	metric_add(&counts[i], n);
	metric_add(sum_ns, ns * n);
}

/* How many statements came and went is known without counting them: by the hooks' count, and by what is under way. */
static void on_turn(struct loop *loop, uint64_t ns)
{
	struct worker *w = loop->owner;
	struct figures *f = &w->figures;
	const uint64_t arrived = w->hooks->requests;
	const uint64_t came = arrived - f->arrived;
	const int64_t gone = (int64_t)came - (int64_t)w->requests.used + f->under_way;

	f->arrived = arrived;
	f->under_way = w->requests.used;
	metric_add(&f->turns, 1);
	metric_add(&f->busy_ns, ns);
	if (came > 0)
		observe(f->arrivals, &f->arrivals_ns, ns, came);
	if (gone > 0)
		observe(f->answers, &f->answers_ns, ns, (uint64_t)gone);
}

static void measure(struct worker *w)
{
	w->figures.arrived = w->hooks->requests;
	w->figures.under_way = w->requests.used;
	w->loop.on_turn = on_turn;
	set(&w->figures.is_measuring, 1);
}

/* ---- what there is ---- */

static void note_pools(struct worker *w, enum cluster_id cluster)
{
	uint64_t pools = 0, connections = 0, waiting = 0;

	list_for_each_safe(node, tmp, &w->pools[cluster]) {
		const struct pool *pool = list_entry(node, struct pool, node);

		pools++;
		connections += pool->lanes;
		for (const struct list *n = pool->waiting.next; n != &pool->waiting; n = n->next)
			waiting++;
	}
	set(&w->figures.pools[cluster], pools);
	set(&w->figures.pool_connections[cluster], connections);
	set(&w->figures.pool_waiting[cluster], waiting);
}

static void note_memory(struct worker *w)
{
	const struct slab *const slabs[FIGURES_OBJECT_COUNT] = {
		[FIGURES_MIRRORED] = &w->mirrored,
		[FIGURES_PARTS] = &w->loop.out_parts,
		[FIGURES_REQUESTS] = &w->requests,
	};
	struct figures *f = &w->figures;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < FIGURES_OBJECT_COUNT; i++) {
		set(&f->objects_used[i], slabs[i]->used);
		set(&f->objects_free[i], slabs[i]->free_count);
		bytes += slabs[i]->free_count * slabs[i]->object_size;
	}
	set(&f->objects_free_bytes, bytes);
	set(&f->chunks_used, w->loop.chunks.used);
	set(&f->chunks_free, chunk_pool_free_count(&w->loop.chunks));
	set(&f->chunk_free_bytes, chunk_pool_free_bytes(&w->loop.chunks));
}

static void run_question(struct loop_message *message)
{
	struct question *q = container_of(message, struct question, message);
	struct worker *w = q->worker;

	free(q);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		note_pools(w, (enum cluster_id)i);
	note_memory(w);
	if (w->hooks && !w->loop.on_turn)
		measure(w);
	atomic_store_explicit(&w->figures.is_asked, false, memory_order_relaxed);
}

void figures_ask(struct worker *w)
{
	struct question *q;

	/* One that has not come to answer is not asked again. */
	if (atomic_exchange_explicit(&w->figures.is_asked, true, memory_order_relaxed))
		return;
	q = xcalloc(1, sizeof(*q));
	q->worker = w;
	q->message.run = run_question;
	loop_post(&w->loop, &q->message);
}
