/* wheel.c - see wheel.h */
#include "wheel.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

/* What is due within so long fires together: short against any delay that is of interest. */
#define TICK_NS 50000u
/* 0.2 s; what is due later stays in its slot for another round. */
#define SLOTS 4096u
#define SECOND_NS 1000000000u

struct wheel {
	struct source source; /* the timer */
	int fd;
	void (*fire)(struct wheel_item *item);
	uint64_t done_tick;  /* all that was due until then has fired */
	uint64_t armed_tick; /* UINT64_MAX: not at all */
	uint64_t count;
	struct wheel_item *slots[SLOTS];
};

/* Also takes back that the timer has expired. */
static void arm(struct wheel *w, uint64_t tick)
{
	const uint64_t ns = tick == UINT64_MAX ? 0 : tick * TICK_NS;
	const struct itimerspec at = { .it_value = { (time_t)(ns / SECOND_NS), (long)(ns % SECOND_NS) } };

	w->armed_tick = tick;
	if (timerfd_settime(w->fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		die("timerfd_settime: %s", strerror(errno));
}

/* Gives out what is due in the slot of one tick. */
static void empty_slot(struct wheel *w, uint64_t tick, uint64_t now_tick)
{
	struct wheel_item *item = w->slots[tick % SLOTS];

	w->slots[tick % SLOTS] = NULL;
	while (item) {
		struct wheel_item *next = item->next;

		if (item->due_tick <= now_tick) {
			w->count--;
			w->fire(item);
		} else {
			item->next = w->slots[tick % SLOTS];
			w->slots[tick % SLOTS] = item;
		}
		item = next;
	}
}

/* A tick before which nothing is due. */
static uint64_t next_tick(const struct wheel *w)
{
	if (w->count == 0)
		return UINT64_MAX;
	for (uint64_t tick = w->done_tick + 1; tick < w->done_tick + SLOTS; tick++) {
		if (w->slots[tick % SLOTS])
			return tick;
	}
	return w->done_tick + SLOTS;
}

static void on_timer(struct source *source, uint32_t events)
{
	struct wheel *w = container_of(source, struct wheel, source);
	const uint64_t now_tick = clock_ns() / TICK_NS;
	uint64_t tick = w->done_tick;

	(void)events;
	if (now_tick > tick + SLOTS)
		tick = now_tick - SLOTS;
	while (tick < now_tick)
		empty_slot(w, ++tick, now_tick);
	w->done_tick = now_tick;
	arm(w, next_tick(w));
}

struct wheel *wheel_new(int epoll_fd, void (*fire)(struct wheel_item *item))
{
	struct wheel *w = xcalloc(1, sizeof(*w));

	w->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->fd < 0)
		die("timerfd_create: %s", strerror(errno));
	w->fire = fire;
	w->source.on_events = on_timer;
	w->done_tick = clock_ns() / TICK_NS;
	w->armed_tick = UINT64_MAX;
	source_add(epoll_fd, w->fd, &w->source);
	return w;
}

void wheel_add(struct wheel *w, struct wheel_item *item, uint64_t due_ns)
{
	const uint64_t tick = MAX((due_ns + TICK_NS / 2) / TICK_NS, w->done_tick + 1);

	item->due_tick = tick;
	item->next = w->slots[tick % SLOTS];
	w->slots[tick % SLOTS] = item;
	w->count++;
	if (tick < w->armed_tick)
		arm(w, tick);
}
