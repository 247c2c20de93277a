/*
 * relay.h - a proxy for the self-test of cqlbench, in the same loop: sends reads to origin and writes to both clusters,
 * with the prepared ids of each. It can be told to do one thing wrong, once, and cqlbench has to notice.
 */
#ifndef BENCH_RELAY_H
#define BENCH_RELAY_H

#include "peer.h"

enum fault {
	FAULT_NONE,
	/* Of a read. */
	FAULT_SWAP_ANSWERS,  /* with another read's */
	FAULT_ALTER_ANSWER,  /* one byte of its key */
	FAULT_WRONG_CLUSTER, /* sent to the target */
	FAULT_REPEAT_READ,   /* origin gets it twice */
	FAULT_STALL,         /* nothing moves for RELAY_STALL_MS */
	/* Of a write. */
	FAULT_LOSE_ANSWER,
	FAULT_REPEAT_ANSWER,
	FAULT_ANSWER_ERROR,
	FAULT_LOSE_WRITE,   /* the target does not get it */
	FAULT_REPEAT_WRITE, /* it gets it twice */
	FAULT_ALTER_WRITE,  /* one byte of the value */
	FAULT_FOREIGN_ID,   /* it gets it with the other cluster's id */
	FAULT_CLOSE,        /* the client's connection */
};

#define RELAY_STALL_MS 100

struct relay {
	struct source source; /* the listening socket */
	int fd;
	struct net_address address;
	struct peer_set *set;
	const struct net_address *clusters[2]; /* origin, target */
	uint8_t version;                       /* of the protocol, 3 to 5, on both sides */
	enum fault fault;
	unsigned countdown; /* requests of its kind until it befalls one */
};

/* Listens on a free port. `set`, `clusters`, `version` and `fault` are filled in already. */
void relay_listen(struct relay *r);

#endif
