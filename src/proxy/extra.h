/*
 * extra.h - a further connection to a node for somebody who is logged in
 * already: STARTUP, the log-in that the cluster has accepted before, USE.
 * Repairs prepare statements on one, clients send large requests over one.
 *
 *   extra_open() -> STARTUP -> (AUTH_RESPONSE) -> (USE "keyspace") -> on_ready()
 *          \------------\-------------\------------------\----------> on_failed()
 *
 * Belongs to its worker's thread. Embedded in what it belongs to, empty again
 * after extra_close(), extra_take() and before on_failed().
 */
#ifndef PROXY_EXTRA_H
#define PROXY_EXTRA_H

#include "proxy/login.h"
#include "proxy/worker.h"

struct extra;

struct extra_handler {
	/* Logged in and in its keyspace. */
	void (*on_ready)(struct extra *x);
	/* It cannot be had, or has ended; also after on_ready(), until extra_take(). May free the extra. */
	void (*on_failed)(struct extra *x, const char *why);
};

struct extra_options {
	struct worker *worker;
	enum cluster_id cluster;
	const struct net_address *address;
	uint8_t version;
	enum cql_compression compression;
	const struct credentials *credentials; /* copied; without a user a node that wants a log-in is a failure */
	const char *keyspace;                  /* copied; NULL: none */
};

struct extra {
	struct server *server; /* NULL: empty */
	const struct extra_handler *handler;
	struct login login;
	struct leg use;
	struct credentials credentials;
	char *keyspace;
	uint8_t compression; /* enum cql_compression */
	struct timeout_item timeout;
};

void extra_init(struct extra *x, const struct extra_handler *handler);
/* Ends by one call of the handler, within request_timeout. False when it fails at once; *why is then the reason. */
MUSTCHECK bool extra_open(struct extra *x, const struct extra_options *options, const char **why);
/* Harmless when empty. */
void extra_close(struct extra *x, const char *why);
/* After on_ready(): the connection is the caller's, who gives it a handler and an owner. */
struct server *extra_take(struct extra *x);

/* For worker->extra_timeouts. */
void extra_on_timeout(struct timeout_item *item);

#endif
