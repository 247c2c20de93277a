/* limits.c - see limits.h */
#include "proxy/limits.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FIRST_BUCKETS 64

struct limit_entry {
	struct limit_entry *next;
	uint64_t hash;
	uint32_t count;
	uint32_t len;
	uint8_t key[];
};

static void table_init(struct limit_table *table)
{
	memset(table, 0, sizeof(*table));
	for (unsigned i = 0; i < LIMIT_SHARDS; i++)
		pthread_mutex_init(&table->shards[i].lock, NULL);
	/* Without it keys could be made to share a bucket, but no more than that. */
	if (getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) != (ssize_t)sizeof(table->seed))
		table->seed = (uint64_t)(uintptr_t)table;
}

static void table_fini(struct limit_table *table)
{
	for (unsigned i = 0; i < LIMIT_SHARDS; i++) {
		Assert(table->shards[i].entry_count == 0);
		free(table->shards[i].buckets);
		pthread_mutex_destroy(&table->shards[i].lock);
	}
}

void limits_init(struct limits *limits)
{
	memset(limits, 0, sizeof(*limits));
	table_init(&limits->addresses);
	table_init(&limits->users);
}

void limits_fini(struct limits *limits)
{
	table_fini(&limits->addresses);
	table_fini(&limits->users);
}

static struct limit_shard *shard_of(struct limit_table *table, uint64_t hash)
{
	return &table->shards[hash >> 60 & (LIMIT_SHARDS - 1)];
}

static struct limit_entry **bucket_of(const struct limit_shard *shard, uint64_t hash)
{
	return &shard->buckets[hash & (shard->bucket_count - 1)];
}

static void grow_locked(struct limit_shard *shard)
{
	struct limit_shard larger = { .bucket_count = MAX(shard->bucket_count * 2, FIRST_BUCKETS) };

	larger.buckets = xcalloc(larger.bucket_count, sizeof(struct limit_entry *));
	for (uint32_t i = 0; i < shard->bucket_count; i++) {
		struct limit_entry *next;

		for (struct limit_entry *e = shard->buckets[i]; e; e = next) {
			struct limit_entry **at = bucket_of(&larger, e->hash);

			next = e->next;
			e->next = *at;
			*at = e;
		}
	}
	free(shard->buckets);
	shard->buckets = larger.buckets;
	shard->bucket_count = larger.bucket_count;
}

static struct limit_entry *find_locked(struct limit_shard *shard, uint64_t hash, const void *key, size_t len)
{
	if (shard->bucket_count == 0)
		return NULL;
	for (struct limit_entry *e = *bucket_of(shard, hash); e; e = e->next) {
		if (e->hash == hash && e->len == len && memcmp(e->key, key, len) == 0)
			return e;
	}
	return NULL;
}

static struct limit_entry *add_locked(struct limit_shard *shard, uint64_t hash, const void *key, size_t len)
{
	struct limit_entry *e = xcalloc(1, sizeof(*e) + len);
	struct limit_entry **at;

	if (shard->entry_count >= shard->bucket_count)
		grow_locked(shard);
	e->hash = hash;
	e->len = (uint32_t)len;
	memcpy(e->key, key, len);
	at = bucket_of(shard, hash);
	e->next = *at;
	*at = e;
	shard->entry_count++;
	return e;
}

struct limit_entry *limit_take(struct limit_table *table, const void *key, size_t len, uint32_t max)
{
	const uint64_t hash = XXH3_64bits_withSeed(key, len, table->seed);
	struct limit_shard *shard = shard_of(table, hash);
	struct limit_entry *e;

	pthread_mutex_lock(&shard->lock);
	e = find_locked(shard, hash, key, len);
	if (!e)
		e = add_locked(shard, hash, key, len);
	if (max == 0 || e->count < max)
		e->count++;
	else
		e = NULL;
	pthread_mutex_unlock(&shard->lock);
	return e;
}

void limit_give(struct limit_table *table, struct limit_entry *entry)
{
	struct limit_shard *shard;

	if (!entry)
		return;
	shard = shard_of(table, entry->hash);
	pthread_mutex_lock(&shard->lock);
	Assert(entry->count > 0);
	if (--entry->count == 0) {
		struct limit_entry **at = bucket_of(shard, entry->hash);

		while (*at != entry)
			at = &(*at)->next;
		*at = entry->next;
		shard->entry_count--;
		free(entry);
	}
	pthread_mutex_unlock(&shard->lock);
}

struct strview limit_key(const struct limit_entry *entry)
{
	return (struct strview){ (const char *)entry->key, entry->len };
}

uint32_t limit_count(struct limit_table *table, const void *key, size_t len)
{
	const uint64_t hash = XXH3_64bits_withSeed(key, len, table->seed);
	struct limit_shard *shard = shard_of(table, hash);
	struct limit_entry *e;
	uint32_t count;

	pthread_mutex_lock(&shard->lock);
	e = find_locked(shard, hash, key, len);
	count = e ? e->count : 0;
	pthread_mutex_unlock(&shard->lock);
	return count;
}
