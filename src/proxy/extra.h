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

enum extra_failure_kind {
	EXTRA_UNREACHABLE, /* no connection, or it ended, or made no sense, or was not ready in time */
	EXTRA_REFUSED, /* STARTUP or the log-in was answered by an ERROR, or the node wants a log-in that we have not */
	EXTRA_USE_REFUSED, /* USE was */
	EXTRA_USE_SILENT,  /* logged in, but USE was not answered in time */
};

/* Why an extra has failed. */
struct extra_failure {
	enum extra_failure_kind kind;
	uint32_t error_code;    /* of the ERROR */
	struct strview message; /* its text */
};

struct extra_handler {
	/* Logged in and in its keyspace. */
	void (*on_ready)(struct extra *x);
	/*
	 * It cannot be had, or has ended; also after on_ready(), until extra_take(). May free the extra. `why` is for
	 * people; it and the failure die with this call.
	 */
	void (*on_failed)(struct extra *x, const char *why, const struct extra_failure *failure);
};

struct extra_options {
	struct worker *worker;
	enum cluster_id cluster;
	const struct net_address *address;
	uint8_t version;
	enum cql_compression compression;
	const struct credentials *credentials; /* copied; without a user a node that wants a log-in is a failure */
	const char *keyspace;                  /* copied; NULL: none */
	bool is_shared; /* by many clients: STARTUP names us, and asks for OVERLOADED where the node would stop to read */
};

struct extra {
	struct server *server; /* NULL: empty */
	const struct extra_handler *handler;
	struct login login;
	struct leg use;
	struct credentials credentials;
	char *keyspace;
	uint8_t compression; /* enum cql_compression */
	bool is_shared;
	bool was_asked; /* the node has demanded the log-in */
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
