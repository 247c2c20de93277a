/*
 * handshake_pooled.h - the handshake of a client whose requests go over pooled
 * connections. No node sees its STARTUP: what the clusters demand is known from
 * their control connections, the dialogue with the driver is played here, and
 * what its SASL PLAIN token says is compared with what was accepted a moment
 * ago or given to the clusters on new connections of a pool. A client with
 * another mechanism goes on with handshake_dedicated_resume().
 *
 * READY or AUTH_SUCCESS is sent when
 *
 *   - no cluster has refused,
 *   - the deciding cluster or the primary has a connection for the client, and
 *   - where a cluster gets the client's own credentials, one has accepted them.
 *
 * A cluster that cannot be reached keeps no client out otherwise: requests that
 * need it are answered UNAVAILABLE.
 */
#ifndef PROXY_HANDSHAKE_POOLED_H
#define PROXY_HANDSHAKE_POOLED_H

#include "proxy/handshake.h"

/* For a client whose STARTUP came. Takes over `startup`; may refuse the client at once. */
void handshake_pooled_start(struct client *c, struct startup *startup, int16_t stream);

#endif
