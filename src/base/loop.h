/*
 * loop.h - one thread's event loop: libevent's raw events, one read buffer for
 * all its sockets, the list of sockets with something to send, coarse timers,
 * and the objects that wait to be freed.
 *
 * A turn of the loop:
 *
 *   event_base_loop(EVLOOP_ONCE)    callbacks read, handle and queue output
 *   tasks of the turn before        what took too long for one turn goes on
 *   flush                           every dirty socket is written once
 *   reap                            what was closed in this turn is freed
 *
 * So answers to all requests that one read brought leave in one write, and a
 * callback may close any object without pulling it away under its caller.
 *
 * All functions are for the loop's own thread, except loop_post().
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/chunk.h"
#include "base/list.h"
#include "base/slab.h"

/* 256 KiB: a read of a busy socket rarely fills it, and it stays in the L2 cache (docs/performance.md). */
#define LOOP_READ_BUFFER (256 * 1024)
/* Time-outs are looked at when the first is due, but no more often than every 50 ms; they last seconds. */
#define LOOP_TICK_MS 50
/* What was not needed for so long is given back; see loop_look_start(). */
#define LOOP_LOOK_MS 10000
/* Of its own and of its owner. */
#define LOOP_MAX_SLABS 4

struct sbuf;
struct timeout_item;
struct warm_set;

/* Something whose memory is given back at the end of the turn. */
struct loop_deferred {
	struct list node;
	void (*release)(struct loop_deferred *);
};

/* Work that goes on in the next turn, so that a single connection cannot keep the loop to itself. */
struct loop_task {
	struct list node;
	void (*run)(struct loop_task *);
};

/*
 * A queue of deadlines of one duration: first in, first out, so that only its
 * head has to be looked at.
 */
struct timeout_queue {
	struct list node; /* on loop->queues */
	struct list items;
	uint64_t duration_ns;
	void (*on_timeout)(struct timeout_item *); /* the item is off the queue */
};

struct timeout_item {
	struct list node;
	uint64_t deadline_ns;
};

/*
 * Something that is looked at until it is stopped: with every tick, a wait for what tells nobody that it has come; or
 * every LOOP_LOOK_MS, what may have become too large.
 */
struct loop_poll {
	struct timeout_item item;
	struct loop *loop;
	/* True: again the next time; false: it is over, and the poll may be gone. */
	bool (*run)(struct loop_poll *);
};

/* A message from another thread; the sender allocates, `run` frees. */
struct loop_message {
	struct list node;
	void (*run)(struct loop_message *);
};

struct loop_inbox;

struct loop {
	struct event_base *base;
	uint8_t *read_buffer;
	struct sbuf *dirty;
	struct list deferred;
	struct list tasks;
	struct list queues;
	struct event tick;
	bool stop;
	uint64_t tick_ns; /* when time-outs are looked at; UINT64_MAX: there are none */
	uint64_t now_ns;  /* valid when not 0; forgotten before the loop sleeps */
	/* Called at the end of each turn in which the clock was looked at, with the time since then; mostly NULL. */
	void (*on_turn)(struct loop *loop, uint64_t ns);
	struct chunk_pool chunks;
	struct slab out_parts;
	struct slab write_events;            /* struct event; few sockets wait to be writable at a time */
	struct timeout_queue write_timeouts; /* sockets whose peer does not take what we write */
	struct timeout_queue linger_timeouts;
	struct timeout_queue polls;
	struct timeout_queue looks;
	struct loop_poll give_back;
	struct slab *slabs[LOOP_MAX_SLABS];
	unsigned slab_count;
	struct warm_set *warm_tls; /* sessions that keep their buffers; made with the first session */
	struct loop_inbox *inbox;
	void *owner; /* the worker, NULL in the main thread */
};

/* `write_timeout_ms`: a socket whose peer takes nothing for so long is closed. False when libevent gives no base. */
MUSTCHECK bool loop_init(struct loop *loop, uint32_t write_timeout_ms);
/* Call after every socket on the loop was closed. */
void loop_fini(struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
/* One turn; `block` false returns at once when nothing happened. */
void loop_turn(struct loop *loop, bool block);
void loop_stop(struct loop *loop);

uint64_t loop_clock_ns(void);

static inline uint64_t ms_to_ns(uint64_t ms)
{
	return ms * UINT64_C(1000000);
}

/* Monotonic nanoseconds, read at most once per turn. */
static inline uint64_t loop_now(struct loop *loop)
{
	if (unlikely(loop->now_ns == 0))
		loop->now_ns = loop_clock_ns();
	return loop->now_ns;
}

/* Calls release(d) at the end of this turn. */
void loop_defer(struct loop *loop, struct loop_deferred *d, void (*release)(struct loop_deferred *));

static inline void loop_task_init(struct loop_task *task, void (*run)(struct loop_task *))
{
	list_init(&task->node);
	task->run = run;
}

/* Calls task->run(task) in the next turn, which does not sleep; harmless when that is so already. */
static inline void loop_task_start(struct loop *loop, struct loop_task *task)
{
	list_remove(&task->node);
	list_append(&loop->tasks, &task->node);
}

static inline void loop_task_stop(struct loop_task *task)
{
	list_remove(&task->node);
}

void timeout_queue_init(struct loop *loop, struct timeout_queue *q, uint64_t duration_ms,
			void (*on_timeout)(struct timeout_item *));
/*
 * Another duration from now on. What waits on the queue keeps its deadline, but
 * none is further away than the new duration, so that the order stays that of
 * the deadlines.
 */
void timeout_queue_set_duration(struct loop *loop, struct timeout_queue *q, uint64_t duration_ms);
/* A deadline before tick_ns. */
void loop_arm_tick(struct loop *loop, uint64_t deadline_ns);

static inline void timeout_item_init(struct timeout_item *item)
{
	list_init(&item->node);
}

/* Puts the item at the end of the queue; one that is on it already starts anew. */
static inline void timeout_start(struct loop *loop, struct timeout_queue *q, struct timeout_item *item)
{
	list_remove(&item->node);
	item->deadline_ns = loop_now(loop) + q->duration_ns;
	list_append(&q->items, &item->node);
	if (unlikely(item->deadline_ns < loop->tick_ns))
		loop_arm_tick(loop, item->deadline_ns);
}

static inline void timeout_stop(struct timeout_item *item)
{
	list_remove(&item->node);
}

static inline void loop_poll_init(struct loop_poll *poll, bool (*run)(struct loop_poll *))
{
	timeout_item_init(&poll->item);
	poll->run = run;
}

/* From the next tick on; harmless when it runs already. */
static inline void loop_poll_start(struct loop *loop, struct loop_poll *poll)
{
	poll->loop = loop;
	timeout_start(loop, &loop->polls, &poll->item);
}

/* After LOOP_LOOK_MS, and again until it says that it is over. */
static inline void loop_look_start(struct loop *loop, struct loop_poll *poll)
{
	poll->loop = loop;
	timeout_start(loop, &loop->looks, &poll->item);
}

static inline void loop_poll_stop(struct loop_poll *poll)
{
	timeout_stop(&poll->item);
}

/*
 * The loop gives back what this slab keeps without need, as of its own, in its looks: which begin with a tick that comes
 * for something else and end when nothing is left to give back, so that a loop without work sleeps. The owner frees the
 * slab after the loop's last turn.
 */
void loop_watch_slab(struct loop *loop, struct slab *slab);

/* Runs the messages that wait, without a turn: for the end, when the loop has stopped and others have posted still. */
void loop_run_messages(struct loop *loop);

/* From any thread: `message->run` is called on the loop's thread. Messages of one sender keep their order. */
void loop_post(struct loop *loop, struct loop_message *message);

#endif
