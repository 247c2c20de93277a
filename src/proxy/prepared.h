/*
 * prepared.h - the statements that drivers have prepared through us: their
 * ids on both clusters, their text, how they are routed.
 *
 * One table for the process (a driver prepares on one connection and executes
 * on another), behind one mutex and bounded by count and memory; in front of
 * it a small direct-mapped cache per worker, so that an EXECUTE costs a hash
 * and a compare and no lock.
 *
 * An entry never changes, except for what it knows of the nodes. When a statement is prepared again and an id has
 * changed, a new entry replaces the old one, which is marked stale; the
 * workers' caches see the mark and ask the table again.
 *
 * What the settings make of a statement can change (reload.h), so it belongs to
 * a worker's hold on the entry, together with the number of the settings it was
 * found out by. prepared_find() compares that number with the worker's, and
 * looks at the text again when they differ.
 */
#ifndef PROXY_PREPARED_H
#define PROXY_PREPARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/list.h"
#include "cql/reader.h"
#include "proxy/route.h"

/* Cassandra's ids are the 16 bytes of an MD5; Scylla's and Astra's as well. Longer ones are refused at PREPARE. */
#define PREPARED_ID_MAX 64

struct prepared_id {
	uint8_t bytes[PREPARED_ID_MAX];
	uint8_t len;
};

/* Nodes of a cluster (node_stats.h) of which an entry remembers whether they have the statement. */
#define PREPARED_NODES 256
#define PREPARED_NODE_WORDS (PREPARED_NODES / 64)

struct virtual_query;
struct generated;
struct policy_cache;
struct policy_statement;
struct routing_key;

/*
 * Three ids belong to an entry: each cluster's, and the client's, which is
 * origin's, with two exceptions. Where origin has given the statement another id
 * since (a repair on a node of another version, CASSANDRA-15252), it is the one
 * that origin had. And where the clusters were sent another text than the client
 * prepared (generated.h), it is one of our own: that text may equal a statement
 * that a client has prepared itself, so the clusters' ids can stand for two
 * entries.
 */
#define PREPARED_CLIENT CLUSTER_COUNT /* index of the client's id among the tables and chains */
#define PREPARED_INDEXES (CLUSTER_COUNT + 1)

struct prepared {
	_Atomic uint32_t refs;
	_Atomic bool is_stale;      /* replaced or evicted */
	_Atomic uint32_t last_used; /* the table's sequence when it was last asked for */
	uint32_t queued; /* the sequence when it was put at the end of the queue; guarded by the table's lock */
	struct prepared_id id[CLUSTER_COUNT]; /* len 0: not prepared on this cluster */
	struct prepared_id own_id;            /* the client's; len 0: it is origin's */
	char *text;                           /* as the clusters have it */
	uint32_t text_len;
	char *keyspace; /* the one it was prepared in (v5 field, else the connection's); NULL for none */
	uint8_t verb;   /* enum statement_kind */
	bool is_qualified;
	bool is_one_sided; /* one of the clusters has not been asked to prepare it */
	uint8_t reported;  /* TO_* bits of the clusters whose result columns drivers may have got with this id */
	uint8_t may_skip;  /* of those whose nodes may leave out the result columns: drivers hold the same ones */
	uint64_t results[CLUSTER_COUNT]; /* a hash of the result columns that each cluster reported; 0: not known */
	uint8_t bound;                   /* enum bound_counter of amend.h */
	/* As it was when it was prepared, with settings of this number. Requests take what struct prepared_ref says;
	 * verdict.to == 0 (ours, see local.h) is so for ever. */
	uint32_t generation;
	/* By the node's index: it has prepared the statement under the id of its cluster, as far as we know. */
	_Atomic uint64_t on[CLUSTER_COUNT][PREPARED_NODE_WORDS];
	struct verdict verdict;
	uint8_t allows;      /* ALLOWS_* bits of amend.h */
	uint8_t idempotence; /* IDEMPOTENT_* bits of idempotence.h; BINDS_COLUMN only if one may be a list */
	struct virtual_query *virtual_query; /* a read of a system table, answered by us; owned */
	struct generated *generated;         /* markers that the client does not know of; owned; NULL: none */
	/* The partition key as each cluster counts the variables, owned, often one for both; NULL: not known. */
	struct routing_key *key[CLUSTER_COUNT];
	/* Keyspace and table of the first variable as the clusters name them, owned; NULL without variables. */
	char *table_keyspace;
	char *table;
	struct list lru;
	struct prepared *chain[PREPARED_INDEXES]; /* hash chains by id */
};

struct prepared_table {
	pthread_mutex_t lock;
	struct prepared **buckets[PREPARED_INDEXES]; /* by the id of that cluster, or the client's */
	uint32_t bucket_mask;
	struct list lru;
	_Atomic uint64_t count;
	_Atomic uint32_t sequence; /* counts insertions: the clock of the eviction */
	uint64_t memory;
	uint32_t max_count;
	uint64_t max_memory;
};

/* A worker's hold on an entry: counted without atomics, by the cache slot and by the requests in flight. */
struct prepared_ref {
	struct prepared *entry;
	uint32_t refs;
	/* Where a ring has the replicas of the statement's keyspace, once it was asked (placement.h). */
	struct {
		uint32_t generation; /* of that ring; 0: none was asked */
		uint16_t table;
	} place[CLUSTER_COUNT];
	uint32_t generation;    /* of the settings by which the next two were found out */
	struct verdict verdict; /* what a request that executes it starts with */
	uint8_t allows;
	struct policy_statement *policy; /* what hooks have to be asked, owned; NULL: none (policy.h) */
	/* For plugins (policy/plugin_request.c), made when one asks; a block of malloc() each, owned; NULL: nobody has. */
	void *statement;
	uint64_t *slots;
};

#define PREPARED_FRONT_SLOTS 4096
/* Slots keep entries that the table has dropped until they are asked for again, so large ones (long texts, parsed
 * reads of system tables) get none: at most 20 MiB per worker stay beyond the table's bound. */
#define PREPARED_FRONT_MEMORY_MAX 5120

struct prepared_front {
	struct prepared_table *table;
	const struct settings *settings;
	uint32_t generation;         /* of these settings, 1 and up */
	uint8_t amends;              /* AMEND_* bits, of these settings */
	struct policy_cache *policy; /* the worker's; NULL without scripts */
	struct prepared_ref *slots[PREPARED_FRONT_SLOTS];
};

void prepared_table_init(struct prepared_table *t, uint32_t max_count, uint64_t max_memory);
void prepared_table_fini(struct prepared_table *t);
/* Other bounds from now on; entries beyond them go when the next statement is prepared. Any thread. */
void prepared_table_set_bounds(struct prepared_table *t, uint32_t max_count, uint64_t max_memory);

/* An entry to be filled, with one reference. `text` and `keyspace` (len 0: none) are copied. */
struct prepared *prepared_new(struct strview text, struct strview keyspace);
void prepared_unref(struct prepared *p);
/* What `from` knows of the partition key, for an entry that does not and is not in the table yet. */
void prepared_copy_key(struct prepared *p, const struct prepared *from);
/*
 * What a cluster has said about the statement: its id, and the bytes that describe the result columns (len 0: nothing
 * that could be compared). For an entry that is not in the table yet.
 */
void prepared_learn(struct prepared *p, enum cluster_id cluster, struct bytesview id, struct bytesview result_spec);
/*
 * The driver that has prepared it gets the columns of this cluster. `known` is what stands in the table under the
 * client's id, NULL: nothing; what it knows besides goes into the entry, which is not in the table yet: the id of a
 * cluster that was not asked this time, the partition key, the nodes that have the statement.
 */
void prepared_report(struct prepared *p, enum cluster_id cluster, const struct prepared *known);

/* The id that drivers get: own_id where there is one, else origin's, else target's. */
struct bytesview prepared_client_id(const struct prepared *p);
/* The MD5 of both texts one behind the other, as an id. False when the system has no MD5. */
MUSTCHECK bool prepared_id_digest(struct strview first, struct strview second, struct prepared_id *out);

/* Puts a filled entry into the table, in place of one with the same id; takes over the caller's reference. */
void prepared_insert(struct prepared_table *t, struct prepared *p);
/*
 * A copy of `p` with another id for one cluster, or with its first one, goes in its place (a repair gave it); the
 * client's stays. `result_spec` as for prepared_learn().
 */
void prepared_change_id(struct prepared_table *t, const struct prepared *p, enum cluster_id cluster,
			struct bytesview id, struct bytesview result_spec);

void prepared_front_init(struct prepared_front *f, struct prepared_table *t);
/* What counts from now on; `generation` is another number each time. `policy` may be NULL. */
void prepared_front_set(struct prepared_front *f, const struct settings *settings, struct policy_cache *policy,
			uint32_t generation);
/* With the same settings: what a worker has found out about its entries is found out again. */
void prepared_front_renew(struct prepared_front *f);
void prepared_front_fini(struct prepared_front *f);

/*
 * The entry for an id that a client sent: one that it got from us, or target's, which a client may have from a
 * time before the proxy. Held for the caller until prepared_release(); NULL when it is not known. Verdict and `allows`
 * are by the worker's current settings, until the next turn of its loop.
 */
struct prepared_ref *prepared_find(struct prepared_front *f, struct bytesview id);
/*
 * An entry whose id on `cluster` (or PREPARED_CLIENT) this is; always asks the table, the caller unrefs it. When two
 * share an id of a cluster, either may come: their texts there are the same.
 */
struct prepared *prepared_find_on(struct prepared_table *t, unsigned cluster, struct bytesview id);
/* Its entry alone, which the caller unrefs, without a look at the settings: for those who are being asked about them. */
struct prepared *prepared_peek(const struct prepared_front *f, struct bytesview id);
void prepared_release(struct prepared_ref *ref);

/* What was asked for last: the children of a batch often are of one statement. Begins as zeros. */
struct prepared_last {
	struct prepared_ref *ref;
	struct bytesview id; /* it must outlive this */
	/* The last call found what the one before it had: two references cannot be told by their addresses, since one that
	 * leaves the front makes room for the next. */
	bool is_same;
};

static inline void prepared_last_release(struct prepared_last *last)
{
	if (last->ref)
		prepared_release(last->ref);
	last->ref = NULL;
}

/* prepared_find(), without asking again for the id of the last call; the reference stays with `last`. */
static inline struct prepared_ref *prepared_find_again(struct prepared_front *f, struct bytesview id,
						       struct prepared_last *last)
{
	last->is_same = last->ref && last->id.len == id.len && memcmp(last->id.p, id.p, id.len) == 0;
	if (last->is_same)
		return last->ref;
	prepared_last_release(last);
	last->ref = prepared_find(f, id);
	last->id = id;
	return last->ref;
}

/* Whether this node has it; for nodes beyond PREPARED_NODES true: they will say UNPREPARED. From any thread. */
static inline bool prepared_is_on(const struct prepared *p, unsigned cluster, unsigned node)
{
	return unlikely(node >= PREPARED_NODES) ||
	       (atomic_load_explicit(&p->on[cluster][node / 64], memory_order_relaxed) >> (node % 64) & 1);
}

static inline void prepared_note_on(struct prepared *p, unsigned cluster, unsigned node)
{
	if (node < PREPARED_NODES)
		atomic_fetch_or_explicit(&p->on[cluster][node / 64], UINT64_C(1) << (node % 64), memory_order_relaxed);
}

/* It has lost it. */
static inline void prepared_forget(struct prepared *p, unsigned cluster, unsigned node)
{
	if (node < PREPARED_NODES)
		atomic_fetch_and_explicit(&p->on[cluster][node / 64], ~(UINT64_C(1) << (node % 64)),
					  memory_order_relaxed);
}

/* What is known of the nodes of a cluster is true of another entry for the same statement there, too. */
void prepared_copy_nodes(struct prepared *to, const struct prepared *from, unsigned cluster);
/* One more hold on it. */
static inline struct prepared_ref *prepared_ref_hold(struct prepared_ref *ref)
{
	ref->refs++;
	return ref;
}

/* TO_* bits of the cluster that has not been asked to prepare it. */
static inline uint8_t prepared_lacks(const struct prepared *p)
{
	if (likely(!p->is_one_sided))
		return 0;
	return p->id[CLUSTER_ORIGIN].len == 0 ? TO_ORIGIN : TO_TARGET;
}

/* Two ids of this length. Cassandra's have 16 bytes: these are compared without a call. */
static inline bool prepared_id_same(const uint8_t *a, const uint8_t *b, size_t len)
{
	return likely(len == 16) ? memcmp(a, b, 16) == 0 : memcmp(a, b, len) == 0;
}

static inline bool prepared_id_equal(const struct prepared_id *a, struct bytesview b)
{
	return a->len == b.len && prepared_id_same(a->bytes, b.p, b.len);
}

#endif
