/*
 * fake_node.h - the two clusters of cqlbench and cqlorder: one node each, which answers
 * what a driver and the proxy need to come up and to work. Each cluster has
 * prepared ids of its own, so the proxy has to translate them; a request that
 * arrives with the other cluster's id, or with a value that is not its key's,
 * ends the program.
 *
 * One table, ks.t (k blob, v blob): the value of a key is computed from it.
 */
#ifndef BENCH_FAKE_NODE_H
#define BENCH_FAKE_NODE_H

#include "base/list.h"
#include "body.h"
#include "peer.h"
#include "value.h"

struct fake_node {
	struct source source; /* the listening socket */
	int fd;
	char mark; /* 'o' or 't': the first byte of its ids, and behind the key in its values */
	const char *name;
	struct net_address address;
	struct peer_set *set; /* its connections */
	uint8_t max_version;
	uint32_t value_len;
	struct ssl_ctx_st *tls; /* NULL: connections are not encrypted */
	const char *user;       /* NULL: nobody has to log in */
	const char *password;
	/* How long after its arrival a request for ks.t is answered, evenly spread; the second is 0 when at once. */
	uint64_t delay_min_ns, delay_max_ns;
	/* Of 2^32 requests for ks.t, how many are answered with READ_TIMEOUT or WRITE_TIMEOUT. */
	uint64_t error_share;
	/* Requests for ks.t that have arrived. */
	uint64_t reads;
	uint64_t writes;
	/* Looks at a write (QUERY or EXECUTE) that has come, before it is answered; NULL: nobody does. */
	void (*on_write)(struct fake_node *node, const struct frame *f);

	/* Its own. */
	struct list sessions; /* connections to it */
	uint8_t id_read[ID_LEN], id_write[ID_LEN];
	struct writer row;   /* the answer to a read */
	struct wheel *wheel; /* NULL: nothing is delayed */
	uint64_t random;
};

/* Listens on address:port; what comes before `reads`, and `on_write`, is filled in already. */
void fake_node_listen(struct fake_node *node, const char *address, uint16_t port);

/* The statements that may be prepared, and their texts when they are not. */
#define TEXT_READ "SELECT v FROM ks.t WHERE k = ?"
#define TEXT_WRITE "INSERT INTO ks.t (k, v) VALUES (?, ?)"
#define LITERAL_READ "SELECT v FROM ks.t WHERE k = '"
#define LITERAL_WRITE "INSERT INTO ks.t (k, v) VALUES ('"

#endif
