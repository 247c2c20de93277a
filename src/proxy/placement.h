/*
 * placement.h - which nodes hold the partition that a request is about: the
 * token of its key (cql/routing_key.h) looked up in a cluster's ring (ring.h).
 *
 *   EXECUTE   the key among its bound values
 *   BATCH     that of its first prepared statement
 *   others    not known
 *
 * On the way of each pooled request: no malloc, no comparison of texts. The
 * table of the statement's keyspace is looked up once per worker, statement
 * and ring, the token once per request.
 */
#ifndef PROXY_PLACEMENT_H
#define PROXY_PLACEMENT_H

#include "proxy/backend.h"
#include "proxy/request.h"
#include "proxy/ring.h"

/* Of request.token. */
enum token_state {
	TOKEN_NOT_ASKED,
	TOKEN_KNOWN,
	TOKEN_NONE,
};

/*
 * The token of the request's partition key as `cluster` has it. False when it
 * is not known. For EXECUTE.
 */
MUSTCHECK bool placement_token(struct request *rq, unsigned cluster, int64_t *token);

/*
 * The same for those who ask for no cluster in particular; of a BATCH that of
 * its first prepared statement. False where the clusters disagree about what
 * the key is made of.
 */
MUSTCHECK bool placement_common_token(struct request *rq, int64_t *token);

/*
 * The replicas on `cluster`, whose current ring this is (NULL: it has none), as
 * ring_replicas() orders them; 0 when they are not known. *hosts lives as long
 * as the ring.
 */
unsigned placement_replicas(struct request *rq, unsigned cluster, const struct ring *ring, const uint16_t **hosts);

/* So many replicas of a partition are looked at: nobody has more in one datacenter, but to have one on each node. */
#define PLACEMENT_NODES 8

/* The replicas of a request that may be asked now: those among the candidates of its worker's nodes. */
struct replicas {
	struct backend *nodes[PLACEMENT_NODES];
	unsigned count;
};

/*
 * False when the replicas are not known; true with a count of 0 when none of
 * them is up. `not_at`, when not NULL, is left out.
 */
MUSTCHECK bool placement_find(struct request *rq, const struct backends *b, const struct net_address *not_at,
			      struct replicas *out);

/*
 * True for conditional writes and serial reads: all should go to the same
 * replica, the first that is up, since coordinators that propose at the same
 * time get in each other's way.
 */
static inline bool placement_keeps_order(const struct request *rq)
{
	return rq->verdict.write_type == WRITE_CAS || rq->consistency == CL_SERIAL ||
	       rq->consistency == CL_LOCAL_SERIAL;
}

#endif
