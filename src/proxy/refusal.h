/*
 * refusal.h - a driver speaks a protocol version that is not served: the error
 * that makes it come again with another one.
 */
#ifndef PROXY_REFUSAL_H
#define PROXY_REFUSAL_H

#include "proxy/client.h"

/* PROTOCOL_ERROR on stream 0, then the end. */
void refusal_send(struct client *c, uint8_t version);
/*
 * The same without the end, for a blocked version. As ZDM Proxy does it: every
 * further frame of the connection is refused in the same words, whatever it is,
 * until the client goes away or handshake_timeout is over.
 */
void refusal_repeat(struct client *c, uint8_t version);
/*
 * The version of the frame that says so. Drivers go down to it: it is the
 * highest served one below the refused one, else the highest served one. In the
 * zdm profile it is the lower one of the control connections' versions.
 */
uint8_t refusal_version(const struct client *c, uint8_t refused);

#endif
