/*
 * schema_watch.h - while a change of the schema is under way, the tables of the
 * nodes are read often, so that drivers that wait for an agreement
 * (schema_state.h) see it soon.
 *
 * Belongs to the main thread; changes are noticed on any.
 */
#ifndef PROXY_SCHEMA_WATCH_H
#define PROXY_SCHEMA_WATCH_H

#include <stdatomic.h>

#include "proxy/control.h"
#include "proxy/proxy.h"
#include "proxy/schema_events.h"

struct schema_watch {
	struct loop *loop;
	struct proxy *proxy;
	struct control *const *controls; /* CLUSTER_COUNT of them, NULL before they are made */
	atomic_bool is_noticed;          /* a message about it is on its way */
};

/* From now on what workers notice in answers (schema_state.h) makes the control connections look. */
void schema_watch_init(struct schema_watch *w, struct loop *loop, struct proxy *proxy, struct control *const *controls);
/* A new snapshot: looks again soon while it does not show what was noticed. */
void schema_watch_look(struct schema_watch *w, enum cluster_id id, const struct topology *t);
/* A SCHEMA_CHANGE event of a cluster; told to `events`, too. */
void schema_watch_report(struct schema_watch *w, enum cluster_id id, struct schema_events *events, const uint8_t *body,
			 uint32_t len);

#endif
