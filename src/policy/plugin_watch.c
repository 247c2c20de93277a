/* plugin_watch.c - see plugin_watch.h */
#include "policy/plugin_watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/worker.h"

/* Also with shutdown_timeout = 0: a plugin that has something to write gets the time for it. */
#define TIMEOUT_MIN_MS 1000
/* What nobody else sends: one of those that are waited for would be taken for somebody's, or the other way round. */
#define SIGNAL_STOP SIGRTMIN

struct watched {
	const struct worker *worker;
	_Atomic(const struct plugin_call *) call; /* what it does, in its own memory; NULL: it has not begun */
};

struct plugin_watch {
	/* What the main thread waits for; NULL: nothing of a plugin's. */
	_Atomic(const char *) function;
	_Atomic(const char *) instance;
	unsigned workers;
	struct watched *watched; /* by worker */
	uint32_t timeout_ms;     /* shutdown_timeout */
	bool has_deadline;
	struct timespec deadline;
	int taken;   /* a signal that the main thread has not seen */
	bool is_end; /* the process ends */
	pthread_t thread;
	bool is_running;
	_Atomic bool is_over;
	sigset_t signals, old;
	sigset_t waited; /* by the thread: these, and stop()'s */
};

/*
 * The instance whose hook this worker does not come back from. One that the main thread waits for runs, so its memory is
 * there; others may run while we look, and what we see be old. Atomic stores in each hook would cost what nobody but this
 * last look needs.
 */
__attribute__((no_sanitize_thread)) static const char *blocked_in(const struct watched *watched)
{
	const struct plugin_call *call = atomic_load(&watched->call);
	const struct plugin_instance *p;

	if (!call || !__atomic_load_n(&watched->worker->is_running, __ATOMIC_RELAXED))
		return NULL;
	p = __atomic_load_n(&call->instance, __ATOMIC_RELAXED);
	return p ? p->name : NULL;
}

static void say_who(const struct plugin_watch *w)
{
	const char *function = atomic_load(&w->function);
	bool is_said = false;

	if (function) {
		log_error(
			"plugin %s: %s has not come back within %u ms (shutdown_timeout): the process ends without it",
			atomic_load(&w->instance), function, w->timeout_ms);
		return;
	}
	for (unsigned i = 0; i < w->workers; i++) {
		const char *name = blocked_in(&w->watched[i]);

		if (!name)
			continue;
		log_error(
			"plugin %s: a hook has not come back to worker %u within %u ms (shutdown_timeout): the process "
			"ends without it",
			name, i, w->timeout_ms);
		is_said = true;
	}
	if (!is_said)
		log_error("the end of the process has taken more than %u ms (shutdown_timeout): it ends at once",
			  w->timeout_ms);
}

static void set_deadline(struct plugin_watch *w)
{
	clock_gettime(CLOCK_MONOTONIC, &w->deadline);
	w->deadline.tv_sec += w->timeout_ms / 1000;
	w->deadline.tv_nsec += (long)(w->timeout_ms % 1000) * 1000000;
	if (w->deadline.tv_nsec >= 1000000000) {
		w->deadline.tv_sec++;
		w->deadline.tv_nsec -= 1000000000;
	}
	w->has_deadline = true;
}

/* The number of the next signal; negative: the deadline is over. */
static int wait_for_signal(struct plugin_watch *w)
{
	struct timespec now, left;
	int number;

	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
		left.tv_sec = w->deadline.tv_sec - now.tv_sec;
		left.tv_nsec = w->deadline.tv_nsec - now.tv_nsec;
		if (left.tv_nsec < 0) {
			left.tv_sec--;
			left.tv_nsec += 1000000000;
		}
		if (left.tv_sec < 0)
			left = (struct timespec){ 0, 0 };
		number = w->has_deadline ? sigtimedwait(&w->waited, NULL, &left) : sigwaitinfo(&w->waited, NULL);
	} while (number < 0 && errno == EINTR);
	return number;
}

static void *watch(void *arg)
{
	struct plugin_watch *w = arg;
	int number;

	for (;;) {
		number = wait_for_signal(w);
		if (atomic_load(&w->is_over)) {
			/* Somebody's, who was a moment faster than stop(): it is not lost. */
			if (number > 0 && number != SIGNAL_STOP)
				w->taken = number;
			return NULL;
		}
		if (number == SIGNAL_STOP)
			continue;
		if (number < 0 || w->has_deadline)
			break;
		/* The main thread gets it when the plugin is back, which it may still be in time. */
		w->taken = number;
		set_deadline(w);
	}
	if (number > 0)
		log_warn("second signal: ending at once");
	else
		say_who(w);
	_exit(EXIT_FAILURE);
}

/* With all signals blocked, so that the thread has them blocked, too. */
static void start(struct plugin_watch *w)
{
	atomic_store(&w->is_over, false);
	w->taken = 0;
	w->is_running = pthread_create(&w->thread, NULL, watch, w) == 0;
}

static void stop(struct plugin_watch *w)
{
	if (!w->is_running)
		return;
	atomic_store(&w->is_over, true);
	pthread_kill(w->thread, SIGNAL_STOP); /* it waits for it; blocked, so nothing else comes of it */
	pthread_join(w->thread, NULL);
	w->is_running = false;
}

struct plugin_watch *plugin_watch_new(unsigned workers, uint32_t timeout_ms)
{
	struct plugin_watch *w = xcalloc(1, sizeof(*w));

	plugin_watch_set_timeout(w, timeout_ms);
	sigemptyset(&w->signals);
	sigaddset(&w->signals, SIGTERM);
	sigaddset(&w->signals, SIGINT);
	w->waited = w->signals;
	sigaddset(&w->waited, SIGNAL_STOP);
	w->workers = workers;
	w->watched = xcalloc(workers, sizeof(*w->watched));
	return w;
}

void plugin_watch_set_timeout(struct plugin_watch *w, uint32_t timeout_ms)
{
	w->timeout_ms = MAX(timeout_ms, TIMEOUT_MIN_MS);
}

void plugin_watch_worker(struct plugin_watch *w, const struct worker *worker)
{
	w->watched[worker->index].worker = worker;
	atomic_store(&w->watched[worker->index].call, &plugin_call);
}

void plugin_watch_start(struct plugin_watch *w)
{
	sigset_t all, old;

	w->is_end = true;
	pthread_sigmask(SIG_BLOCK, &w->signals, &w->old);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	set_deadline(w);
	start(w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void plugin_watch_call(struct plugin_watch *w, const struct plugin_instance *p, const char *function)
{
	atomic_store(&w->instance, p->name);
	atomic_store(&w->function, function);
	if (w->is_end)
		return;
	w->has_deadline = false;
	start(w);
}

void plugin_watch_back(struct plugin_watch *w)
{
	atomic_store(&w->function, NULL);
	if (w->is_end)
		return;
	stop(w);
	if (w->taken)
		kill(getpid(), w->taken);
}

void plugin_watch_free(struct plugin_watch *w)
{
	if (!w)
		return;
	stop(w);
	if (w->is_end)
		pthread_sigmask(SIG_SETMASK, &w->old, NULL);
	free(w->watched);
	free(w);
}
