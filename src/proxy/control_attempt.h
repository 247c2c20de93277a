/*
 * control_attempt.h - how an attempt at an endpoint ends, and what follows: the
 * next endpoint, or a pause that grows before the next round. A connection that
 * was up ends here as well.
 *
 * Everything that ends an attempt passes through control_attempt_drop(), which
 * leaves no leg out, and the next one starts from the timer, never inside a
 * callback of the connection that has just ended.
 */
#ifndef PROXY_CONTROL_ATTEMPT_H
#define PROXY_CONTROL_ATTEMPT_H

#include "proxy/control_state.h"

/* The timer of control_round.h goes on with `wake`. */
void control_attempt_wake(struct control *c, enum control_wake wake, uint64_t ms);
/* Ends whatever is under way; afterwards no leg is out and no timer runs. The caller says what is next. */
void control_attempt_drop(struct control *c, const char *why);
/* The connection that was up is over. */
void control_attempt_lost(struct control *c, const char *why);
/* The round is over without a connection; hopeless: the pause is the longest one. */
void control_attempt_end_round(struct control *c, const char *why, bool is_hopeless);
/* The attempt at the current endpoint has failed; hopeless: the other nodes of the cluster would answer the same. */
void control_attempt_fail(struct control *c, bool is_hopeless, const char *why);
/* The connection, whether it was up or not, is over or of no use any more. */
void control_attempt_trouble(struct control *c, bool is_hopeless, const char *why);

#endif
