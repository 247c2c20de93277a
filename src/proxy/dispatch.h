/*
 * dispatch.h - takes a ready client's frame apart as far as its opcode needs,
 * and decides: answered by us, refused, or a request for one or both clusters.
 */
#ifndef PROXY_DISPATCH_H
#define PROXY_DISPATCH_H

#include "proxy/client.h"

struct arrival;
struct hooked;

/* A frame of a client in state READY. */
void dispatch_frame(struct client *c, struct frame *f);
/* A frame that was held (held.h): its body is open, its header was looked at. */
void dispatch_again(struct arrival *a, struct hooked *hooked);
/* What can be said by the header alone; false when the frame is answered. */
MUSTCHECK bool dispatch_check_header(struct client *c, const struct frame *f);

#endif
