/*
 * held.h - requests that a plugin holds until it has made up its mind (hold.h).
 *
 * A held request is a struct request like any other: it has its stream id, it
 * counts, it keeps its body, the drain waits for it, it ends with its client.
 * But nothing of it was sent, and its verdict is not the last word: when the
 * hold ends it is made an arrival again and dispatched from the start, by the
 * settings of that time, with the plugins' pass going on where it stopped.
 *
 * Behind a USE that is held nothing of its client is dispatched, in both modes.
 */
#ifndef PROXY_HELD_H
#define PROXY_HELD_H

#include "proxy/hooked.h"

/*
 * Makes a request of the arrival and binds the hold of its call to it. `verdict`
 * is what is known of its way so far; NULL: nothing. Without memory for the body
 * the frame is answered.
 */
void held_begin(struct arrival *a, const struct verdict *verdict);
/* It ends before the hold: for release(). */
void held_drop(struct request *rq);

#endif
