/*
 * gate.h - how many clients may shake hands at a time (max_handshakes). An
 * accepted socket that finds no place waits in the order of arrival; whoever
 * ends a handshake, on whatever thread, lets the next one in. While it waits it
 * is a socket and 200 bytes here: nothing is read from it. Its handshake_timeout
 * begins when it is let in; one that has waited for as long is closed.
 *
 * The queue is bounded by max_client_connections, which counts who waits.
 */
#ifndef PROXY_GATE_H
#define PROXY_GATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/net.h"
#include "proxy/limits.h"

struct proxy;
struct worker;

/* An accepted socket on its way to the worker that will serve it, with the places it has taken. */
struct newcomer {
	int fd;
	unsigned listener;           /* index in the settings */
	enum limit_refusal refusal;  /* why it is to be sent away with an ERROR; LIMIT_NONE: it is welcome */
	struct limit_entry *address; /* its place among those of its address, or NULL */
	struct net_address peer;
};

struct gate {
	pthread_mutex_t lock;
	struct list waiting;
	_Atomic uint32_t waiting_count;
	_Atomic uint32_t active; /* handshakes under way; changed under the lock */
	bool is_open;
	struct proxy *proxy;
	struct worker *workers;
	unsigned worker_count;
	struct event sweep;
};

void gate_init(struct gate *gate, struct proxy *proxy);
void gate_fini(struct gate *gate);

/* From the main thread, before the first listener: `base` is the main loop's. */
void gate_open(struct gate *gate, struct event_base *base, struct worker *workers, unsigned worker_count);
/* From the main thread, when the listeners are closed: who waits is sent away. Harmless when it is not open. */
void gate_close(struct gate *gate);

/* From the main thread: hands the newcomer to a worker, now or when its turn comes. */
void gate_enter(struct gate *gate, const struct newcomer *newcomer);
/* From any thread: a handshake is over, well or not. `max` is max_handshakes, 0: no limit. */
void gate_leave(struct gate *gate, uint32_t max);

#endif
