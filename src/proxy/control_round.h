/*
 * control_round.h - the search of a control connection for a node that answers.
 * A round visits every endpoint once (endpoint.h); with a secure connect bundle
 * the metadata service is asked first, where that may help. The connection that
 * is made is handed to the inquiry.
 */
#ifndef PROXY_CONTROL_ROUND_H
#define PROXY_CONTROL_ROUND_H

#include "proxy/control_state.h"

/* Before anything else; control_attempt_wake() then starts a round. */
void control_round_init(struct control *c);

#endif
