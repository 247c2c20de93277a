/*
 * client.h - one driver of cqlbench: a connection that logs in, sends requests and checks each answer. A read must bring
 * the value of its own key, from the right cluster; an answer that nobody waits for, or that is another request's, ends
 * the program.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "peer.h"

struct load;

enum request_kind {
	REQUEST_READ,
	REQUEST_WRITE,
	REQUEST_BATCH, /* a write as well */
	REQUEST_KINDS,
};

enum step {
	STEP_CONNECT,
	STEP_STARTUP,
	STEP_LOG_IN,
	STEP_CREATE_KEYSPACE, /* the first client only, and where it is asked for */
	STEP_CREATE_TABLE,
	STEP_USE,
	STEP_PREPARE_READ, /* the first client only, too */
	STEP_PREPARE_WRITE,
	STEP_READY,
};

struct slot {
	uint64_t number;
	uint64_t started_ns;
	enum request_kind kind;
	bool is_out;
};

struct client {
	struct peer peer;
	struct load *load;
	struct client *next; /* among those that leave, or that have to connect again */
	enum step step;
	bool leaves;        /* gets no more requests */
	struct slot *slots; /* by stream id */
	uint16_t *free;     /* a stack of stream ids */
	unsigned free_count;
};

void client_init(struct client *c, struct load *load);
/* Connects and logs in; load_on_ready() follows, or load_on_refused() while nobody listens. */
void client_connect(struct client *c);
/* Only when nothing is in flight. */
void client_close(struct client *c);
/* A request with the next number; its latency counts from started_ns. */
void client_send(struct client *c, uint64_t started_ns);

static inline bool client_can_send(const struct client *c)
{
	return c->free_count > 0 && c->step == STEP_READY && !c->leaves;
}

#endif
