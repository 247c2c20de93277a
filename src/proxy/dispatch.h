/*
 * dispatch.h - takes a ready client's frame apart as far as its opcode needs,
 * and decides: answered by us, refused, or a request for one or both clusters.
 */
#ifndef PROXY_DISPATCH_H
#define PROXY_DISPATCH_H

#include "proxy/client.h"

/* A frame of a client in state READY; where there are plugins, through hooked_frame(). */
void dispatch_frame(struct client *c, struct frame *f);
/* What can be said by the header alone; false when the frame is answered. */
MUSTCHECK bool dispatch_check_header(struct client *c, const struct frame *f);

#endif
