/*
 * sbuf_read.h - how an sbuf reads: for sbuf.c alone. Frames are handed up
 * where they were read to, in the buffer of the loop; only the tail of one
 * that has not all come is kept in sb->in. A large frame gets a buffer of its
 * size there, and what it lacks is read into that.
 *
 * Belongs to the loop's thread. All that read may end in on_closed().
 */
#ifndef BASE_SBUF_READ_H
#define BASE_SBUF_READ_H

#include <event2/event.h>

#include "base/sbuf.h"

/* For sb->ev_read. */
void sbuf_read_ready(evutil_socket_t fd, short what, void *arg);
/* For sb->rest_task: what on_data() left when it paused or stopped, before anything new. */
void sbuf_read_rest(struct loop_task *task);
/* Frees what is kept, and forgets that there was a rest to come back to. */
void sbuf_read_drop(struct sbuf *sb);

/* When reading goes on: what TLS has read ahead makes no socket readable. */
static inline void sbuf_read_pending(struct sbuf *sb)
{
	if (sb->tls && sb->state == SBUF_OPEN && !sb->is_paused && tls_has_pending(sb->tls))
		event_active(&sb->ev_read, EV_READ, 0);
}

#endif
