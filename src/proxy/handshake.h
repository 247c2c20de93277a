/*
 * handshake.h - from a driver's STARTUP to READY: opens the connections to
 * both clusters, carries STARTUP to them, and plays the authentication.
 *
 * Who needs whose credentials (credentials = auto; O, T: the cluster asks for
 * a log-in; "forward" is forward_client_credentials_to_origin):
 *
 *   O    T    forward   the driver's dialogue is with   origin gets    target gets
 *   no   no   -         (none: READY)                   -              -
 *   yes  no   -         origin                          the client's   -
 *   no   yes  -         target                          -              the client's
 *   yes  yes  false     origin                          configured     the client's
 *   yes  yes  true      origin                          the client's   configured
 *
 * `credentials = client` or `configured` in a cluster's section overrides its
 * column. The cluster of the dialogue is the deciding one: its authenticator
 * class, its challenges and its refusals are what the driver sees. READY or
 * AUTH_SUCCESS reaches the driver only when both clusters have accepted.
 */
#ifndef PROXY_HANDSHAKE_H
#define PROXY_HANDSHAKE_H

#include "proxy/client.h"

/* Until a client is ready a frame may be so long (Cassandra's own limit before log-in is 256 KiB for all). */
#define HANDSHAKE_MAX_FRAME (128 * 1024)

/* A frame of a client that is not READY. */
void handshake_on_frame(struct client *c, struct frame *f);
/* handshake_timeout is over. */
void handshake_on_timeout(struct client *c);
/* The process stops: answers what the driver waits for by an error, and ends the client. */
void handshake_on_shutdown(struct client *c);
/* Frees what the handshake holds, its connections included; called when the client ends. */
void handshake_abort(struct client *c);

/* For worker->connect_timeouts: the node did not take the connection in time. */
void handshake_connect_timed_out(struct timeout_item *item);

#endif
