/* supported.h - the answer to OPTIONS: what both clusters offer and we can do. */
#ifndef PROXY_SUPPORTED_H
#define PROXY_SUPPORTED_H

#include "proxy/client.h"

/* Sends SUPPORTED in the given version: PROTOCOL_VERSIONS and COMPRESSION of both clusters, the rest of target's. */
void supported_send(struct client *c, int16_t stream, uint8_t version);

#endif
