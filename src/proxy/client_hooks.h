/*
 * client_hooks.h - a client and the plugins (hooks.h): its coming, before it
 * may say anything, and its going.
 *
 *   on_open() of its socket, after a PROXY header and TLS
 *      |-- hooks_connect: nobody objects --> the first frame is served
 *      |-- HELD: one frame is taken, and waits; handshake_timeout goes on
 *      '-- DENIED: admission_deny()
 *   stop_working() -- hooks_disconnect, behind the last answer of its requests
 *
 * What plugins are asked about its log-in is in handshake_ask.h.
 */
#ifndef PROXY_CLIENT_HOOKS_H
#define PROXY_CLIENT_HOOKS_H

#include "proxy/client.h"
#include "proxy/hooks.h"

/* What only clients have that plugins are told about: client->hooks, from on_open() to the end. */
struct client_hooks {
	struct client *client;
	struct hooks_call call; /* of hooks_connect */
	struct hold hold;       /* the same: what waits is the client */
	uint64_t connected_at;  /* nanoseconds since 1970 */
	char *tls_subject;      /* of its certificate, checked; NULL: none */
	void **slots;           /* a pointer of each plugin's, in memory of malloc(); NULL before the first (policy) */
	struct loop_poll end;   /* while nothing is read: whether it is there still */
	char *denial;           /* what it is told in place of being served, or NULL */
	enum cql_error_code code; /* of the denial */
	bool is_tls;
	bool is_accepted; /* by all of them */
	bool has_gone;    /* plugins know that */
};

/* The socket is open: makes client->hooks where there are plugins, and asks them. May end the client. */
void client_hooks_open(struct client *c);
/* It waits for what a plugin says about it. */
static inline bool client_hooks_is_held(const struct client *c)
{
	return c->hooks && c->hooks->hold.ticket;
}

/* Before it is READY nothing is read for now, so that its end would not be seen: it is looked for until then. */
void client_hooks_watch_end(struct client *c);
/* handshake_timeout is over: true when the client was held, which then has its answer. */
bool client_hooks_on_timeout(struct client *c);
/* It serves nobody any more. Harmless when repeated. */
void client_hooks_gone(struct client *c);
void client_hooks_free(struct client *c);

#endif
