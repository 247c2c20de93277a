/*
 * limits.h - what the whole process counts to turn clients away: connections
 * by address and by user, and how many were refused for which reason. Looked
 * at when a client comes, has logged in, and ends, never for a request.
 *
 * Any thread may call.
 */
#ifndef PROXY_LIMITS_H
#define PROXY_LIMITS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/common.h"
#include "base/strview.h"

/* Why a client was refused: X(name, label), sorted by label. */
#define LIMIT_REFUSALS(X)                                                                                              \
	X(ACCESS, "access")                       /* allow and deny of the listener */                                 \
	X(CLIENTS, "max_client_connections")      /* places are given at accept */                                     \
	X(ADDRESS, "max_connections_per_address") /* likewise, or when the PROXY header has come */                    \
	X(USER, "max_connections_per_user")       /* after the log-in */                                               \
	X(HANDSHAKES, "max_handshakes")           /* its turn did not come within handshake_timeout */                 \
	X(PLUGIN, "plugin")                       /* by an on_connect of plugins */                                    \
	X(PROXY_PROTOCOL, "proxy_protocol")       /* from no trusted source, or without a header */

enum limit_refusal {
#define X(name, label) LIMIT_##name,
	LIMIT_REFUSALS(X)
#undef X
	LIMIT_NONE, /* not refused */
};
#define LIMIT_REFUSAL_COUNT LIMIT_NONE

/* Power of two. */
#define LIMIT_SHARDS 16

/* How many connections one key (a user, an address) has; exists while it has any. */
struct limit_entry;

struct limit_shard {
	pthread_mutex_t lock;
	struct limit_entry **buckets;
	uint32_t bucket_count; /* power of two; 0 before the first entry */
	uint32_t entry_count;
};

struct limit_table {
	struct limit_shard shards[LIMIT_SHARDS];
	uint64_t seed; /* keys are chosen by strangers */
};

struct limits {
	struct limit_table addresses;
	struct limit_table users;
	_Atomic uint64_t refused[LIMIT_REFUSAL_COUNT];
	_Atomic uint32_t last_words; /* refused clients whose first frame is awaited, so that they can be told why */
};

void limits_init(struct limits *limits);
/* Every place has been given back. */
void limits_fini(struct limits *limits);

/*
 * Takes a place of this key, of which there are `max` (0: without end). NULL
 * when all are taken; else it is to be given back by limit_give().
 */
struct limit_entry *limit_take(struct limit_table *table, const void *key, size_t len, uint32_t max);
/* Harmless for NULL. */
void limit_give(struct limit_table *table, struct limit_entry *entry);
/* Its key; lives as long as the place. */
struct strview limit_key(const struct limit_entry *entry);
/* How many places of a key are taken. */
uint32_t limit_count(struct limit_table *table, const void *key, size_t len);

static inline void limits_note_refusal(struct limits *limits, enum limit_refusal refusal)
{
	atomic_fetch_add_explicit(&limits->refused[refusal], 1, memory_order_relaxed);
}

#endif
