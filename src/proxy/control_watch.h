/*
 * control_watch.h - a control connection while it is up: heartbeats show that
 * it lives; events of the node, schema versions that differ, and time that
 * passes, make it read the tables again. A connection that is lost, or whose
 * node cannot be read any more, is replaced at once, by one to another node if
 * there is one (control_attempt.h).
 */
#ifndef PROXY_CONTROL_WATCH_H
#define PROXY_CONTROL_WATCH_H

#include "proxy/control_state.h"

/* Before anything else. */
void control_watch_init(struct control *c);
/* The connection is up. */
void control_watch_begin(struct control *c);
/* The tables were read: when they will be again. Settled: neither do schema versions differ nor are rows of no use. */
void control_watch_plan(struct control *c, bool is_settled);
/* Reads the tables in `ms`, or when they are being read, after that; urgent: without time for others to settle. */
void control_watch_look(struct control *c, uint32_t ms, bool is_urgent);
/* What differs now is new: it is looked at often again. */
void control_watch_expect_changes(struct control *c);
/*
 * The settings have been `old`, and the connection stays up. other_nodes: the
 * tables mean other nodes now, and are read again at once.
 */
void control_watch_change_settings(struct control *c, const struct settings *old, bool other_nodes);
/* For the server's handler. */
void control_watch_on_event(struct server *server, struct frame *f);

#endif
