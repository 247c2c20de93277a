/*
 * forward.h - from a client's request to a node's: the few things in a body
 * that differ from what the client sent. The way back is reply.h.
 *
 *   prepared ids    the cluster's own in place of the one the client knows
 *   SKIP_METADATA   cleared in v3 and v4 when the client does not hold this
 *                   cluster's result columns
 *   paging state    without the mark that reply.c appended
 *   consistency     the level that the cluster's settings say (amend.h)
 *
 * The body goes out compressed as it came when nothing changes and the node
 * speaks the client's compression, else plain.
 */
#ifndef PROXY_FORWARD_H
#define PROXY_FORWARD_H

#include "proxy/request.h"

/* Sends the leg's frame on the client's connection to its cluster. False when there is no room; nothing was sent then. */
MUSTCHECK bool forward_leg(struct request_leg *leg);

#endif
