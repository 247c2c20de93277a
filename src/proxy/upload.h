/*
 * upload.h - a client's frames that are so large that their memory has to be
 * asked for: one waits while there is none, and one that makes no progress must
 * not hold it while it is short (memory.h).
 */
#ifndef PROXY_UPLOAD_H
#define PROXY_UPLOAD_H

#include "proxy/client.h"

/* For the client's wire_handler.on_large(). */
enum wire_large upload_admit(struct client *c, const struct frame *f);
/* Nothing of the client is read any more. */
void upload_stop(struct client *c);
/* For worker->upload_timeouts. */
void upload_on_timeout(struct timeout_item *item);

#endif
