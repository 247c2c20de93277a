/* gate.c - see gate.h */
#include "proxy/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/worker.h"

/* How often is looked for who has waited too long. */
#define SWEEP_MS 100

struct waiting {
	struct list node;
	uint64_t since_ns;
	struct newcomer newcomer;
};

void gate_init(struct gate *gate, struct proxy *proxy)
{
	memset(gate, 0, sizeof(*gate));
	pthread_mutex_init(&gate->lock, NULL);
	list_init(&gate->waiting);
	gate->proxy = proxy;
}

void gate_fini(struct gate *gate)
{
	Assert(list_is_empty(&gate->waiting));
	pthread_mutex_destroy(&gate->lock);
}

static struct waiting *first_locked(struct gate *gate)
{
	return list_is_empty(&gate->waiting) ? NULL : list_entry(gate->waiting.next, struct waiting, node);
}

static void unlink_locked(struct gate *gate, struct waiting *w)
{
	list_remove(&w->node);
	atomic_fetch_sub_explicit(&gate->waiting_count, 1, memory_order_relaxed);
}

static bool has_room_locked(const struct gate *gate, uint32_t max)
{
	return max == 0 || atomic_load_explicit(&gate->active, memory_order_relaxed) < max;
}

/* The next one whose turn it is, or NULL; it has its place then. */
static struct waiting *call_locked(struct gate *gate, uint32_t max)
{
	struct waiting *w = first_locked(gate);

	if (!w || !has_room_locked(gate, max))
		return NULL;
	unlink_locked(gate, w);
	atomic_fetch_add_explicit(&gate->active, 1, memory_order_relaxed);
	return w;
}

static void let_in(struct gate *gate, struct waiting *w)
{
	worker_give_client(worker_least_loaded(gate->workers, gate->worker_count), &w->newcomer);
	free(w);
}

void gate_enter(struct gate *gate, const struct newcomer *newcomer)
{
	const struct timeval soon = { .tv_usec = SWEEP_MS * 1000 };
	const uint32_t max = gate->proxy->settings->max_handshakes;
	struct waiting *w;

	pthread_mutex_lock(&gate->lock);
	if (list_is_empty(&gate->waiting) && has_room_locked(gate, max)) {
		atomic_fetch_add_explicit(&gate->active, 1, memory_order_relaxed);
		pthread_mutex_unlock(&gate->lock);
		worker_give_client(worker_least_loaded(gate->workers, gate->worker_count), newcomer);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	list_init(&w->node);
	w->newcomer = *newcomer;
	w->since_ns = loop_clock_ns();
	list_append(&gate->waiting, &w->node);
	atomic_fetch_add_explicit(&gate->waiting_count, 1, memory_order_relaxed);
	pthread_mutex_unlock(&gate->lock);
	if (!event_pending(&gate->sweep, EV_TIMEOUT, NULL))
		event_add(&gate->sweep, &soon);
}

void gate_leave(struct gate *gate, uint32_t max)
{
	struct waiting *w;

	pthread_mutex_lock(&gate->lock);
	Assert(atomic_load_explicit(&gate->active, memory_order_relaxed) > 0);
	atomic_fetch_sub_explicit(&gate->active, 1, memory_order_relaxed);
	w = call_locked(gate, max);
	pthread_mutex_unlock(&gate->lock);
	if (w)
		let_in(gate, w);
}

/* The first in the queue when it has waited too long, off the queue. */
static struct waiting *expired(struct gate *gate, uint64_t now)
{
	const uint64_t patience = gate->proxy->settings->handshake_timeout_ms * UINT64_C(1000000);
	struct waiting *w;

	pthread_mutex_lock(&gate->lock);
	w = first_locked(gate);
	if (w && now - w->since_ns >= patience)
		unlink_locked(gate, w);
	else
		w = NULL;
	pthread_mutex_unlock(&gate->lock);
	return w;
}

/* After a reload that has raised max_handshakes there may be room although no handshake has ended. */
static void call_all(struct gate *gate)
{
	struct waiting *w;

	do {
		pthread_mutex_lock(&gate->lock);
		w = call_locked(gate, gate->proxy->settings->max_handshakes);
		pthread_mutex_unlock(&gate->lock);
		if (w)
			let_in(gate, w);
	} while (w);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval soon = { .tv_usec = SWEEP_MS * 1000 };
	struct gate *gate = arg;
	const uint64_t now = loop_clock_ns();
	struct waiting *w;

	(void)fd;
	(void)what;
	while ((w = expired(gate, now)) != NULL) {
		char name[NET_TEXT_MAX];

		log_limited(LOG_WARN,
			    "client %s was turned away: its turn did not come within handshake_timeout (%u ms) while "
			    "max_handshakes (%u) were under way",
			    net_format(&w->newcomer.peer, name), gate->proxy->settings->handshake_timeout_ms,
			    gate->proxy->settings->max_handshakes);
		limits_note_refusal(&gate->proxy->limits, LIMIT_HANDSHAKES);
		admission_drop(gate->proxy, &w->newcomer);
		free(w);
	}
	call_all(gate);
	if (atomic_load_explicit(&gate->waiting_count, memory_order_relaxed) > 0)
		event_add(&gate->sweep, &soon);
}

void gate_open(struct gate *gate, struct event_base *base, struct worker *workers, unsigned worker_count)
{
	if (gate->is_open)
		return;
	gate->workers = workers;
	gate->worker_count = worker_count;
	evtimer_assign(&gate->sweep, base, on_sweep, gate);
	gate->is_open = true;
}

void gate_close(struct gate *gate)
{
	if (!gate->is_open)
		return;
	gate->is_open = false;
	event_del(&gate->sweep);
	for (;;) {
		struct waiting *w;

		pthread_mutex_lock(&gate->lock);
		w = first_locked(gate);
		if (w)
			unlink_locked(gate, w);
		pthread_mutex_unlock(&gate->lock);
		if (!w)
			return;
		admission_drop(gate->proxy, &w->newcomer);
		free(w);
	}
}
