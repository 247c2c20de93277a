/* writer.c - see writer.h */
#include "writer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "sink_file.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* False: the sink has no room, the line is to be offered again. */
static bool offer(struct writer *w, const struct record_view *view)
{
	buffer_clear(&w->line);
	format_line(&w->format, &w->line, view);
	if (w->line.has_failed) {
		w->sink->counts.lost++;
		return true;
	}
	return w->sink->ops->put(w->sink, w->line.data, w->line.len);
}

/* A line that says how many are not there. */
static bool report(struct writer *w, enum record_event event, uint64_t count)
{
	struct record_view view = {
		.head = { .event = (uint8_t)event, .time = clock_ns(CLOCK_REALTIME), .count = count, .rows = -1 }
	};

	if (!offer(w, &view))
		return false;
	if (event == RECORD_DROPPED)
		w->host->log(w->host, CQLFERRY_LOG_WARN, "%llu records were dropped: the queue was full",
			     (unsigned long long)count);
	else
		w->host->log(w->host, CQLFERRY_LOG_WARN, "%llu requests were refused: the queue was full",
			     (unsigned long long)count);
	return true;
}

/* A count that has become a line is taken off; one that found no room is reported later. */
static void report_count(struct writer *w, _Atomic uint64_t *count, enum record_event event, uint32_t counter)
{
	const uint64_t n = atomic_load_explicit(count, memory_order_relaxed);

	if (n == 0 || !report(w, event, n))
		return;
	atomic_fetch_sub_explicit(count, n, memory_order_relaxed);
	w->host->counter_add(w->host, counter, (int64_t)n);
}

/* False: the sink has no room. */
static bool drain(struct writer *w, struct queue *q)
{
	const uint8_t *bytes;
	uint32_t size;

	while ((bytes = queue_next(q, &size)) != NULL) {
		struct record_view view;

		if (record_read(&view, bytes, size) && !offer(w, &view))
			return false;
		queue_done(q);
	}
	report_count(w, &q->dropped, RECORD_DROPPED, w->metrics.dropped);
	report_count(w, &q->refused, RECORD_REFUSED, w->metrics.refused);
	return true;
}

static void take_count(struct writer *w, uint32_t counter, uint64_t *count)
{
	if (*count > 0)
		w->host->counter_add(w->host, counter, (int64_t)*count);
	*count = 0;
}

static void count_all(struct writer *w)
{
	struct sink_counts *c = &w->sink->counts;
	uint64_t queued = 0;

	take_count(w, w->metrics.lines, &c->lines);
	take_count(w, w->metrics.bytes, &c->bytes);
	take_count(w, w->metrics.errors, &c->errors);
	take_count(w, w->metrics.lost, &c->lost);
	for (unsigned i = 0; i < w->queue_count; i++) {
		uint64_t waits = atomic_exchange(&w->queues[i]->waits, 0);

		take_count(w, w->metrics.waits, &waits);
		queued += ring_used(&w->queues[i]->ring) + atomic_load(&w->queues[i]->spilled);
	}
	w->host->gauge_set(w->host, w->metrics.queued, (int64_t)queued);
}

static void sync_sink(struct writer *w)
{
	const uint64_t before = clock_ns(CLOCK_MONOTONIC);

	w->sink->ops->sync(w->sink);
	w->synced_at = clock_ns(CLOCK_MONOTONIC);
	w->is_unsynced = false;
	w->host->histogram_observe(w->host, w->metrics.fsync, w->synced_at - before);
}

static void sync_if_due(struct writer *w)
{
	if (!w->is_file || !w->is_unsynced || w->settings.fsync == WRITER_FSYNC_NONE)
		return;
	if (w->settings.fsync == WRITER_FSYNC_FLUSH ||
	    clock_ns(CLOCK_MONOTONIC) - w->synced_at >= (uint64_t)w->settings.fsync_ms * 1000000u)
		sync_sink(w);
}

/* All that waits. False: the sink takes nothing more now. */
static bool sweep(struct writer *w)
{
	bool is_good = true;

	for (unsigned i = 0; i < w->queue_count; i++)
		is_good &= drain(w, w->queues[i]);
	is_good &= w->sink->ops->flush(w->sink);
	w->is_unsynced |= w->sink->counts.bytes > 0;
	sync_if_due(w);
	count_all(w);
	return is_good;
}

static void take_settings(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	if (w->has_next) {
		w->settings = w->settings_next;
		w->has_next = false;
		if (w->is_file) {
			const struct sink_file_settings file = { w->settings.rotate_size, w->settings.rotate_keep,
								 w->settings.fsync != WRITER_FSYNC_NONE };

			sink_file_set(w->sink, &file);
		}
	}
	pthread_mutex_unlock(&w->lock);
}

static void *run(void *arg)
{
	struct writer *w = arg;

	while (!atomic_load(&w->stops)) {
		take_settings(w);
		sweep(w);
		queue_bell_wait(&w->bell, w->settings.flush_ms);
	}
	return NULL;
}

bool writer_start(struct writer *w)
{
	sigset_t all, before;
	int error;

	pthread_mutex_init(&w->lock, NULL);
	queue_bell_init(&w->bell);
	w->settings_next = w->settings;
	w->has_next = true;
	/* Signals are for the process' other threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	w->is_running = error == 0;
	return w->is_running;
}

void writer_set(struct writer *w, const struct writer_settings *settings)
{
	pthread_mutex_lock(&w->lock);
	w->settings_next = *settings;
	w->has_next = true;
	pthread_mutex_unlock(&w->lock);
	queue_bell_ring(&w->bell);
}

static uint64_t count_left(const struct writer *w)
{
	uint64_t n = w->sink->waiting;

	for (unsigned i = 0; i < w->queue_count; i++) {
		const uint8_t *bytes;
		uint32_t size;

		while ((bytes = queue_next(w->queues[i], &size)) != NULL) {
			queue_done(w->queues[i]);
			n++;
		}
		n += atomic_load(&w->queues[i]->dropped);
	}
	return n;
}

void writer_stop(struct writer *w, uint32_t timeout_ms)
{
	const uint64_t until = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000u;
	const struct timespec pause = { 0, 10 * 1000000 };
	uint64_t left;

	if (w->is_running) {
		atomic_store(&w->stops, true);
		sem_post(&w->bell.sem);
		pthread_join(w->thread, NULL);
		while (!sweep(w) && clock_ns(CLOCK_MONOTONIC) < until)
			nanosleep(&pause, NULL);
		if (w->is_file && w->is_unsynced && w->settings.fsync != WRITER_FSYNC_NONE)
			sync_sink(w);
		left = count_left(w);
		if (left > 0)
			w->host->log(w->host, CQLFERRY_LOG_ERROR, "%llu records were not written before the end",
				     (unsigned long long)left);
	}
	queue_bell_fini(&w->bell);
	pthread_mutex_destroy(&w->lock);
	format_fini(&w->format);
	buffer_free(&w->line);
}
