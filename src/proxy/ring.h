/*
 * ring.h - which nodes hold which partitions: the tokens of a cluster under
 * Murmur3Partitioner, and for each way in which its keyspaces are replicated a
 * table with the replicas of each token.
 *
 *   keyspace --ring_table()--> table        once per prepared statement and ring
 *   table, token --ring_replicas()--> hosts  per request: a binary search
 *
 * A host here is an index into the `hosts` of the topology that the ring
 * belongs to, below its host_count: nodes of datacenters that no request goes
 * to take part in the placement, but are no answers.
 *
 * Immutable once built, so any thread may ask. A topology that differs from the
 * one before in nothing that matters here has the same ring.
 */
#ifndef PROXY_RING_H
#define PROXY_RING_H

#include "proxy/cluster.h"

/* Above these the ring, or the table, is not built, and requests are not token-aware: 1000 nodes with 256 tokens each,
 * and the replicas of some tens of differently replicated keyspaces. */
#define RING_MAX_TOKENS (1000u * 256u)
#define RING_MAX_MEMORY (64u << 20)

/* The table of a keyspace that is not known, or whose replicas are not. */
#define RING_NO_TABLE UINT16_MAX

struct ring;

/*
 * From a topology whose hosts and keyspaces are complete; `id` is for log
 * lines. NULL when the partitioner is another one, no node tells its tokens,
 * or there are too many. Main thread.
 */
struct ring *ring_build(const struct topology *t, enum cluster_id id);
/* One more reference, for another topology with equal places, tokens and keyspaces; NULL for NULL. */
struct ring *ring_share(struct ring *ring);
/* Gives back a reference; NULL is ignored. */
void ring_unref(struct ring *ring);

/* Of this ring and no other one of the process; never 0. */
uint32_t ring_generation(const struct ring *ring);

/* The table of a keyspace, named as in system_schema. RING_NO_TABLE: its replicas are not known. */
uint16_t ring_table(const struct ring *ring, struct strview keyspace);

/*
 * The replicas of a token, those of the local datacenter first, then those of
 * each fallback datacenter; within one in the order in which the placement
 * found them, which is the same for all who ask. None for RING_NO_TABLE. The
 * hosts live as long as the ring.
 */
unsigned ring_replicas(const struct ring *ring, uint16_t table, int64_t token, const uint16_t **hosts);

#endif
