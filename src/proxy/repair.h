/*
 * repair.h - a node has answered UNPREPARED: the statement is prepared on it
 * again and the request is sent once more, to that cluster only. The client
 * notices nothing, and the cluster that did not lose it executes it once. The
 * same before the first request to a node, or a cluster (demand.h), that was
 * not asked to prepare it.
 *
 * One PREPARE is in flight per host and statement (flight.h); others wait for
 * it. So do those beyond REPAIR_MAX_PER_HOST of one host: a node that is new, or
 * comes back, is not asked for thousands of statements at once.
 * The PREPARE goes out on a connection in the keyspace the statement was first
 * prepared in, since ids depend on it: the request's own connection when it is
 * in that keyspace (or v5 can say the keyspace in the frame), else one that is
 * opened for it with the credentials that the cluster accepted for this client.
 * With shared connections: one of the client's pool to that node, in that keyspace.
 */
#ifndef PROXY_REPAIR_H
#define PROXY_REPAIR_H

#include "proxy/request.h"

/* PREPAREs in flight to one host, of all workers together. */
#define REPAIR_MAX_PER_HOST 64

enum repair_reason {
	REPAIR_LOST, /* the node has said UNPREPARED */
	REPAIR_NEW,  /* the node has not been asked to prepare it yet */
};

/*
 * `entry` is the statement, `host` the node (copied); the leg is off its server and ends by
 * request_leg_resend(), request_leg_refused() or request_leg_hopeless(), which
 * with REPAIR_LOST may happen before this returns. A request that ends meanwhile
 * takes leg->waiting off its list.
 */
void repair_start(struct request_leg *leg, struct prepared *entry, const struct net_address *host,
		  enum repair_reason reason);

/* ---- for mirror.c, which prepares lost statements on its own ---- */

/* By which a statement is known among the flights to a cluster: the id there, or, where it has none yet, the client's. */
struct prepared_id repair_flight_id(const struct prepared *entry, unsigned cluster);

/* Writes the body of a PREPARE of this statement; its keyspace is in it from v5 on. */
void repair_write_prepare(struct writer *w, const struct prepared *p, uint8_t version);
/*
 * A node has prepared the statement again, in the keyspace it was first
 * prepared in: when its id is another one now, the table learns it. False with
 * the reason when the answer cannot be read.
 */
MUSTCHECK bool repair_note_prepared(struct worker *worker, const struct prepared *p, enum cluster_id cluster,
				    enum cql_compression compression, const struct frame *f, bool *changed,
				    const char **why);

/* For worker->repair_timeouts: later requests must not join one that a node never answers. */
void repair_on_timeout(struct timeout_item *item);
/* The worker ends, its clients have gone: frees what is still under way. */
void repairs_drop(struct worker *worker);

#endif
