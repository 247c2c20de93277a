/*
 * wheel.h - a timer wheel for answers that a fake node gives later: one timer in
 * the epoll set, armed for the next of them. Times are those of clock_ns(); an
 * item fires at the tick that is nearest to its time.
 */
#ifndef BENCH_WHEEL_H
#define BENCH_WHEEL_H

#include "peer.h"

struct wheel_item {
	struct wheel_item *next;
	uint64_t due_tick;
};

struct wheel;

/* `fire` gets each item when its time has come; the item is no longer in the wheel. */
struct wheel *wheel_new(int epoll_fd, void (*fire)(struct wheel_item *item));
void wheel_add(struct wheel *w, struct wheel_item *item, uint64_t due_ns);

#endif
