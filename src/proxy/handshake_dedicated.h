/*
 * handshake_dedicated.h - the handshake of a client that gets connections of
 * its own: all in dedicated mode, and in pooled mode those whose log-in is not
 * SASL PLAIN and so cannot be repeated on another connection.
 */
#ifndef PROXY_HANDSHAKE_DEDICATED_H
#define PROXY_HANDSHAKE_DEDICATED_H

#include "proxy/handshake.h"

/* Begins to connect for a client whose STARTUP came. Takes over `startup`; may refuse the client at once. */
void handshake_dedicated_start(struct client *c, struct startup *startup, int16_t stream);
/*
 * The same for a client that has been asked for a log-in already: its token,
 * which is copied, is the answer to what the deciding cluster will ask.
 */
void handshake_dedicated_resume(struct client *c, struct startup *startup, int16_t stream, struct bytesview token);

/* For worker->connect_timeouts: the node did not take the connection in time. */
void handshake_dedicated_connect_timed_out(struct timeout_item *item);

#endif
