/*
 * plugin_timer.c - see plugin_timer.h
 *
 * A timer belongs to the loop of the thread that it was made for. Who frees it
 * elsewhere would pull it away under that thread's feet, so nothing happens then.
 */
#include "policy/plugin_timer.h"

#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/log.h"
#include "policy/plugin_set.h"
#include "proxy/worker.h"

#define INTERVAL_MIN_MS 10

/* In the chain of its instance's part of a worker, or of main. */
struct plugin_timer {
	struct plugin_instance *plugin;
	struct worker *worker; /* NULL: main's */
	struct plugin_timer *next;
	void (*fn)(void *arg);
	void *arg;
	struct event event;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct plugin_timer *t = arg;
	struct plugin_instance *p = t->plugin;
	struct plugin_tally *tally;
	sigset_t signals;

	(void)fd;
	(void)what;
	/* Its function may free it. */
	if (t->worker) {
		tally = &p->workers[t->worker->index].timer_tally;
		plugin_call_enter(p, t->worker, tally);
		t->fn(t->arg);
		plugin_call_leave(tally);
	} else {
		tally = &p->tallies[PLUGIN_TIMER];
		plugin_set_call_begin(p, "a timer", tally, &signals);
		t->fn(t->arg);
		plugin_set_call_end(p, tally, &signals);
	}
}

static struct plugin_timer **chain_of(struct plugin_instance *p, const struct worker *worker)
{
	return worker ? &p->workers[worker->index].timers : &p->timers;
}

struct cqlferry_timer *plugin_timer_new(const struct cqlferry_host *host, uint32_t interval_ms, void (*fn)(void *arg),
					void *arg)
{
	struct plugin_instance *p = plugin_of(host);
	const uint32_t ms = MAX(interval_ms, INTERVAL_MIN_MS);
	const struct timeval interval = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	struct worker *worker = plugin_call.worker;
	struct plugin_timer **chain, *t;

	if (plugin_call.instance != p) {
		host->error(host, "timer_new(): timers are made in open(), worker_open() and hooks");
		return NULL;
	}
	t = xcalloc(1, sizeof(*t));
	chain = chain_of(p, worker);
	*t = (struct plugin_timer){ .plugin = p, .worker = worker, .next = *chain, .fn = fn, .arg = arg };
	*chain = t;
	/* Where a configuration is only checked there is no loop, and no time passes. */
	if (p->proxy) {
		event_assign(&t->event, worker ? worker->loop.base : p->set->loop->base, -1, EV_PERSIST, on_timer, t);
		event_add(&t->event, &interval);
	}
	return (struct cqlferry_timer *)t;
}

static void drop(struct plugin_timer *t)
{
	if (t->plugin->proxy)
		event_del(&t->event);
	free(t);
}

void plugin_timer_free(const struct cqlferry_host *host, struct cqlferry_timer *timer)
{
	struct plugin_instance *p = plugin_of(host);
	const bool is_known = plugin_call.instance == p;

	if (!timer)
		return;
	for (struct plugin_timer **at = is_known ? chain_of(p, plugin_call.worker) : NULL; at && *at;
	     at = &(*at)->next) {
		struct plugin_timer *t = *at;

		if (t == (struct plugin_timer *)timer) {
			*at = t->next;
			drop(t);
			return;
		}
	}
	log_limited(LOG_ERROR, "plugin %s: timer_free(): the timer is none of this thread's; nothing is done", p->name);
}

static void drop_all(struct plugin_timer **chain)
{
	while (*chain) {
		struct plugin_timer *t = *chain;

		*chain = t->next;
		drop(t);
	}
}

void plugin_timer_free_worker(struct plugin_instance *p, unsigned worker)
{
	drop_all(&p->workers[worker].timers);
}

void plugin_timer_free_main(struct plugin_instance *p)
{
	drop_all(&p->timers);
}
