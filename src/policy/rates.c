/* rates.c - see rates.h */
#include "policy/rates.h"

#include <pthread.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SHARDS 16
#define WAYS 8 /* the places that a key may have */
#define SETS (RATES_KEYS / SHARDS / WAYS)

struct bucket {
	uint64_t key; /* a hash; 0: empty */
	uint64_t last_ns;
	double tokens;
	double full_after_s; /* behind last_ns */
};

struct shard {
	pthread_mutex_t lock;
	struct bucket sets[SETS][WAYS];
	uint8_t apart[64]; /* the next lock is not in this one's cache line */
};

struct rates {
	struct shard shards[SHARDS];
};

struct rates *rates_new(void)
{
	struct rates *r = xcalloc(1, sizeof(*r));

	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&r->shards[i].lock, NULL);
	return r;
}

void rates_free(struct rates *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&r->shards[i].lock);
	free(r);
}

static double seconds_since(const struct bucket *b, uint64_t now_ns)
{
	return now_ns > b->last_ns ? (double)(now_ns - b->last_ns) / 1e9 : 0;
}

/* The bucket of this key, or the one that makes room for it. */
static struct bucket *find(struct bucket *set, uint64_t key, uint64_t now_ns)
{
	struct bucket *oldest = NULL, *full = NULL, *empty = NULL;

	for (struct bucket *b = set; b < set + WAYS; b++) {
		if (b->key == key)
			return b;
		if (b->key == 0)
			empty = b;
		else if (seconds_since(b, now_ns) >= b->full_after_s)
			full = b;
		if (!oldest || b->last_ns < oldest->last_ns)
			oldest = b;
	}
	return empty ? empty : full ? full : oldest;
}

static bool take(struct bucket *b, uint64_t key, double per_second, uint64_t now_ns)
{
	const double room = MAX(per_second, 1);
	double tokens = b->key == key ? b->tokens + seconds_since(b, now_ns) * per_second : room;
	bool taken;

	tokens = MIN(tokens, room);
	/* A hair less than one is what rounding has left of it. */
	taken = tokens >= 1 - 1e-6;
	if (taken)
		tokens = MAX(tokens - 1, 0);
	b->last_ns = b->key == key ? MAX(b->last_ns, now_ns) : now_ns;
	b->key = key;
	b->tokens = tokens;
	b->full_after_s = (room - tokens) / per_second;
	return taken;
}

bool rates_take(struct rates *r, struct strview key, double per_second, uint64_t now_ns)
{
	const XXH128_hash_t h = XXH3_128bits(key.p, key.len);
	struct shard *shard = &r->shards[h.high64 % SHARDS];
	struct bucket *set = shard->sets[h.high64 / SHARDS % SETS];
	const uint64_t id = h.low64 ? h.low64 : 1;
	bool taken;

	if (per_second <= 0)
		return false;
	pthread_mutex_lock(&shard->lock);
	taken = take(find(set, id, now_ns), id, per_second, now_ns);
	pthread_mutex_unlock(&shard->lock);
	return taken;
}

/* ---- that of the process ---- */

static struct rates *shared;

static void make_shared(void)
{
	shared = rates_new();
}

struct rates *rates_shared(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_shared);
	return shared;
}
