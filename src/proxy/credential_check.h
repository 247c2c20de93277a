/*
 * credential_check.h - a cluster is asked whether it accepts a client's
 * credentials: by a log-in on a new connection, one at a time for each of them,
 * so that a thousand clients of one user that connect at once are not a
 * thousand log-ins.
 *
 *   credential_ask() --none under way--> a log-in begins --> on_done() of all that wait
 *                 \--one under way-----> waits for it  /
 *
 * With credentials_validity = 0 each answer must be younger than its question:
 * who comes while a log-in is under way waits for the next one.
 *
 * Belongs to its worker's thread.
 */
#ifndef PROXY_CREDENTIAL_CHECK_H
#define PROXY_CREDENTIAL_CHECK_H

#include "proxy/pool_check.h"

/* Somebody who waits for the answer; zeroed before the first use, and embedded. */
struct credential_waiter {
	struct list node;
	struct credential *credential; /* NULL: it does not wait */
	struct pool *pool;
	/* Called once, never from within credential_ask(). `text` is as that of pool_check. */
	void (*on_done)(struct credential_waiter *waiter, enum pool_outcome outcome, uint32_t error_code,
			const char *text);
};

/* `pool` is one with this credential, which the caller has joined; it need not be the one that is asked. */
void credential_ask(struct credential *credential, struct pool *pool, struct credential_waiter *waiter);
/* Waits no more; harmless when it does not. The log-in ends with the last one that waits. */
void credential_ask_stop(struct credential_waiter *waiter);

#endif
