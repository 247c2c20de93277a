/* loop.c - see loop.h */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sbuf.h"
#include "base/warm.h"

/*
 * A deadline is looked at so much later, so that those close to it are looked at together, and none too early:
 * libevent's clock is that of the kernel's timer interrupt, up to 10 ms behind.
 */
#define SLACK_MS (LOOP_TICK_MS / 2)

/* A peer that was told the connection is over gets so long to read it before the socket is closed. */
#define LINGER_MS 2000

struct loop_inbox {
	pthread_mutex_t lock;
	struct list messages;
	int fd; /* eventfd, readable when messages wait */
	struct event event;
};

uint64_t loop_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void loop_run_messages(struct loop *loop)
{
	struct list batch;
	struct list *node;

	list_init(&batch);
	pthread_mutex_lock(&loop->inbox->lock);
	list_splice(&batch, &loop->inbox->messages);
	pthread_mutex_unlock(&loop->inbox->lock);
	while ((node = list_pop(&batch))) {
		struct loop_message *m = list_entry(node, struct loop_message, node);

		m->run(m);
	}
}

static void inbox_on_readable(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	ssize_t n;

	(void)what;
	n = read(fd, &count, sizeof(count));
	(void)n; /* EAGAIN: somebody's earlier wake-up brought the messages already */
	loop_run_messages(arg);
}

void loop_post(struct loop *loop, struct loop_message *message)
{
	const uint64_t one = 1;
	bool was_empty;
	ssize_t n;

	list_init(&message->node);
	pthread_mutex_lock(&loop->inbox->lock);
	was_empty = list_is_empty(&loop->inbox->messages);
	list_append(&loop->inbox->messages, &message->node);
	pthread_mutex_unlock(&loop->inbox->lock);
	if (!was_empty)
		return;
	do
		n = write(loop->inbox->fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

static bool inbox_init(struct loop *loop)
{
	struct loop_inbox *inbox = xcalloc(1, sizeof(*inbox));

	loop->inbox = inbox;
	pthread_mutex_init(&inbox->lock, NULL);
	list_init(&inbox->messages);
	inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (inbox->fd < 0)
		return false;
	event_assign(&inbox->event, loop->base, inbox->fd, EV_READ | EV_PERSIST, inbox_on_readable, loop);
	return event_add(&inbox->event, NULL) == 0;
}

static void queue_expire(struct loop *loop, struct timeout_queue *q)
{
	uint64_t now = loop_now(loop);

	while (!list_is_empty(&q->items)) {
		struct timeout_item *item = list_entry(q->items.next, struct timeout_item, node);

		if (item->deadline_ns > now)
			return;
		list_remove(&item->node);
		q->on_timeout(item);
	}
}

static uint64_t first_deadline(const struct timeout_queue *q)
{
	return list_is_empty(&q->items) ? UINT64_MAX
					: list_entry(q->items.next, struct timeout_item, node)->deadline_ns;
}

static bool keeps_too_much(const struct loop *loop)
{
	for (unsigned i = 0; i < loop->slab_count; i++) {
		if (slab_has_spare(loop->slabs[i]))
			return true;
	}
	return chunk_pool_has_spare(&loop->chunks);
}

static bool give_back(struct loop_poll *poll)
{
	struct loop *loop = poll->loop;
	bool goes_on = chunk_pool_give_back(&loop->chunks);

	for (unsigned i = 0; i < loop->slab_count; i++)
		goes_on |= slab_give_back(loop->slabs[i]);
	return goes_on;
}

void loop_watch_slab(struct loop *loop, struct slab *slab)
{
	Assert(loop->slab_count < LOOP_MAX_SLABS);
	loop->slabs[loop->slab_count++] = slab;
}

static void tick_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	uint64_t first = UINT64_MAX;

	(void)fd;
	(void)what;
	loop->tick_ns = UINT64_MAX;
	/* All work has deadlines, so after any of it there is a tick. */
	if (list_is_empty(&loop->give_back.item.node) && keeps_too_much(loop))
		loop_look_start(loop, &loop->give_back);
	list_for_each_safe(node, tmp, &loop->queues) {
		struct timeout_queue *q = list_entry(node, struct timeout_queue, node);

		queue_expire(loop, q);
		first = MIN(first, first_deadline(q));
	}
	if (first < loop->tick_ns)
		loop_arm_tick(loop, first);
}

void loop_arm_tick(struct loop *loop, uint64_t deadline_ns)
{
	const uint64_t now = loop_now(loop);
	const uint64_t at = MAX(deadline_ns + ms_to_ns(SLACK_MS), now + ms_to_ns(LOOP_TICK_MS));
	const uint64_t us = (at - now) / 1000;
	const struct timeval tv = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };

	if (at >= loop->tick_ns)
		return;
	loop->tick_ns = at;
	event_add(&loop->tick, &tv);
}

void timeout_queue_init(struct loop *loop, struct timeout_queue *q, uint64_t duration_ms,
			void (*on_timeout)(struct timeout_item *))
{
	list_init(&q->node);
	list_init(&q->items);
	q->duration_ns = duration_ms * 1000000u;
	q->on_timeout = on_timeout;
	list_append(&loop->queues, &q->node);
}

void timeout_queue_set_duration(struct loop *loop, struct timeout_queue *q, uint64_t duration_ms)
{
	const uint64_t latest = loop_now(loop) + duration_ms * 1000000u;

	q->duration_ns = duration_ms * 1000000u;
	/* From the end: those in front of one that is early enough are earlier still. */
	for (struct list *node = q->items.prev; node != &q->items; node = node->prev) {
		struct timeout_item *item = list_entry(node, struct timeout_item, node);

		if (item->deadline_ns <= latest)
			break;
		item->deadline_ns = latest;
	}
	if (first_deadline(q) < loop->tick_ns)
		loop_arm_tick(loop, first_deadline(q));
}

static void poll_on_timeout(struct timeout_item *item)
{
	struct loop_poll *poll = container_of(item, struct loop_poll, item);
	struct loop *loop = poll->loop;

	if (poll->run(poll))
		loop_poll_start(loop, poll);
}

static void look_on_timeout(struct timeout_item *item)
{
	struct loop_poll *poll = container_of(item, struct loop_poll, item);
	struct loop *loop = poll->loop;

	if (poll->run(poll))
		loop_look_start(loop, poll);
}

bool loop_init(struct loop *loop, uint32_t write_timeout_ms)
{
	struct event_config *config = event_config_new();

	memset(loop, 0, sizeof(*loop));
	list_init(&loop->deferred);
	list_init(&loop->tasks);
	list_init(&loop->queues);
	loop->tick_ns = UINT64_MAX;
	if (config) {
		/* loop_now() is our clock: libevent need not read one of its own in every turn. */
		event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
		loop->base = event_base_new_with_config(config);
		event_config_free(config);
	}
	if (!loop->base)
		return false;
	loop->read_buffer = xmalloc(LOOP_READ_BUFFER);
	chunk_pool_init(&loop->chunks);
	slab_init(&loop->out_parts, sizeof(struct sbuf_part), 4096);
	slab_init(&loop->write_events, sizeof(struct event), 256);
	loop_watch_slab(loop, &loop->out_parts);
	loop_watch_slab(loop, &loop->write_events);
	event_assign(&loop->tick, loop->base, -1, 0, tick_on_timer, loop);
	timeout_queue_init(loop, &loop->write_timeouts, write_timeout_ms, sbuf_on_write_timeout);
	timeout_queue_init(loop, &loop->polls, LOOP_TICK_MS / 2, poll_on_timeout);
	timeout_queue_init(loop, &loop->looks, LOOP_LOOK_MS, look_on_timeout);
	loop_poll_init(&loop->give_back, give_back);
	timeout_queue_init(loop, &loop->linger_timeouts, LINGER_MS, sbuf_on_linger_timeout);
	return inbox_init(loop);
}

static void loop_reap(struct loop *loop)
{
	struct list *node;

	while ((node = list_pop(&loop->deferred))) {
		struct loop_deferred *d = list_entry(node, struct loop_deferred, node);

		d->release(d);
	}
}

void loop_fini(struct loop *loop)
{
	loop_reap(loop);
	if (loop->inbox) {
		if (loop->inbox->fd >= 0) {
			event_del(&loop->inbox->event);
			close(loop->inbox->fd);
		}
		pthread_mutex_destroy(&loop->inbox->lock);
		free(loop->inbox);
	}
	warm_set_free(loop->warm_tls);
	event_del(&loop->tick);
	event_base_free(loop->base);
	slab_fini(&loop->write_events);
	slab_fini(&loop->out_parts);
	chunk_pool_fini(&loop->chunks);
	free(loop->read_buffer);
}

static void loop_flush(struct loop *loop)
{
	while (loop->dirty) {
		struct sbuf *sb = loop->dirty;

		loop->dirty = sb->next_dirty;
		sb->is_dirty = false;
		sbuf_flush(sb);
	}
}

static void run_tasks(struct list *tasks)
{
	struct list *node;

	while ((node = list_pop(tasks))) {
		struct loop_task *task = list_entry(node, struct loop_task, node);

		task->run(task);
	}
}

void loop_turn(struct loop *loop, bool block)
{
	const bool has_tasks = !list_is_empty(&loop->tasks);
	struct list tasks;

	loop->now_ns = 0;
	if (likely(!has_tasks)) {
		event_base_loop(loop->base, EVLOOP_ONCE | (block ? 0 : EVLOOP_NONBLOCK));
	} else {
		list_init(&tasks);
		list_splice(&tasks, &loop->tasks); /* those that are started now have to wait for the next turn */
		event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		run_tasks(&tasks);
	}
	loop_flush(loop);
	loop_reap(loop);
	if (unlikely(loop->on_turn) && loop->now_ns != 0)
		loop->on_turn(loop, loop_clock_ns() - loop->now_ns);
}

void loop_run(struct loop *loop)
{
	while (!loop->stop)
		loop_turn(loop, true);
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
	event_base_loopbreak(loop->base);
}

void loop_defer(struct loop *loop, struct loop_deferred *d, void (*release)(struct loop_deferred *))
{
	list_init(&d->node);
	d->release = release;
	list_append(&loop->deferred, &d->node);
}
