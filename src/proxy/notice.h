/*
 * notice.h - events for the drivers that have registered for them: made once on
 * the main thread, written by every worker to its clients, each in the version
 * of the client.
 *
 *   notice_new -> notice_add_* ... -> worker_notify() for each worker -> notice_unref
 *
 * Only in the native profile: with ZDM's, the nodes' own events are passed on.
 */
#ifndef PROXY_NOTICE_H
#define PROXY_NOTICE_H

#include <stdatomic.h>

#include "cql/schema_change.h"

struct client;
struct settings;

/* The forms in which a change is told, see schema_change.h. */
enum notice_form {
	NOTICE_V2,
	NOTICE_V3,
	NOTICE_V4, /* and up */
	NOTICE_FORMS,
};

/* Immutable once it is shared. */
struct notice {
	_Atomic uint32_t refs;
	uint32_t count;
	struct writer bodies[NOTICE_FORMS]; /* of SCHEMA_CHANGE events, each behind its length */
};

/* With one reference and nothing in it. */
struct notice *notice_new(void);
struct notice *notice_ref(struct notice *n);
void notice_unref(struct notice *n);
void notice_add_schema_change(struct notice *n, const struct schema_change *change);

/*
 * Queues the events for a client that is READY and has registered for schema
 * changes; nothing for others. A client that reads so little that events pile
 * up behind its answers is closed: it would miss changes otherwise.
 */
void notice_send(const struct notice *n, struct client *c);

/*
 * STATUS_CHANGE DOWN about this instance, under the address at which its row of
 * system.local shows it, for a client that has registered for such events. Told
 * once.
 */
void notice_send_down(struct client *c);

/*
 * TOPOLOGY_CHANGE for each instance of the proxy that is in the
 * topology_addresses of only one of the two: NEW_NODE or REMOVED_NODE, for a
 * client that has registered for such events.
 */
void notice_send_instances(struct client *c, const struct settings *before, const struct settings *after);

#endif
