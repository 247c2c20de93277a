/* prepared.c - see prepared.h */
#include "proxy/prepared.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cql/routing_key.h"
#include "proxy/amend.h"
#include "proxy/generated.h"
#include "proxy/policy.h"
#include "proxy/virtual.h"

static inline uint64_t hash_id(struct bytesview id)
{
	return XXH3_64bits(id.p, id.len);
}

static struct bytesview id_view(const struct prepared_id *id)
{
	return (struct bytesview){ .p = id->bytes, .len = id->len };
}

/* ---- entries ---- */

static uint8_t verb_of(struct strview text)
{
	struct statement_facts facts;

	statement_scan(text, &facts);
	return (uint8_t)facts.kind;
}

struct prepared *prepared_new(struct strview text, struct strview keyspace)
{
	/* Read by every worker: what its neighbour writes would be waited for by each EXECUTE. */
	struct prepared *p = xcalloc_apart(1, sizeof(*p));

	p->refs = 1;
	p->text = xstrndup(text.p, text.len);
	p->text_len = (uint32_t)text.len;
	p->verb = verb_of(text);
	if (keyspace.len > 0)
		p->keyspace = xstrndup(keyspace.p, keyspace.len);
	list_init(&p->lru);
	return p;
}

void prepared_unref(struct prepared *p)
{
	if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	virtual_query_free(p->virtual_query);
	free(p->generated);
	if (p->key[CLUSTER_TARGET] != p->key[CLUSTER_ORIGIN])
		free(p->key[CLUSTER_TARGET]);
	free(p->key[CLUSTER_ORIGIN]);
	free(p->table_keyspace);
	free(p->table);
	free(p->text);
	free(p->keyspace);
	free(p);
}

void prepared_copy_key(struct prepared *p, const struct prepared *from)
{
	const struct routing_key *origin = from->key[CLUSTER_ORIGIN];
	const struct routing_key *target = from->key[CLUSTER_TARGET];

	p->key[CLUSTER_ORIGIN] = routing_key_copy(origin);
	p->key[CLUSTER_TARGET] = target == origin ? p->key[CLUSTER_ORIGIN] : routing_key_copy(target);
	free(p->table_keyspace);
	free(p->table);
	p->table_keyspace = from->table_keyspace ? xstrdup(from->table_keyspace) : NULL;
	p->table = from->table ? xstrdup(from->table) : NULL;
}

/* What follows from the ids and the result columns. */
static void settle(struct prepared *p)
{
	const bool are_equal = p->results[CLUSTER_ORIGIN] && p->results[CLUSTER_ORIGIN] == p->results[CLUSTER_TARGET];

	p->is_one_sided = (p->id[CLUSTER_ORIGIN].len == 0) != (p->id[CLUSTER_TARGET].len == 0);
	/* A driver may hold columns that it got from origin before this proxy was started: target's have to be equal. */
	if (are_equal)
		p->may_skip = TO_BOTH;
	else
		p->may_skip = p->reported & TO_TARGET ? 0 : TO_ORIGIN;
}

void prepared_learn(struct prepared *p, enum cluster_id cluster, struct bytesview id, struct bytesview result_spec)
{
	memcpy(p->id[cluster].bytes, id.p, id.len);
	p->id[cluster].len = (uint8_t)id.len;
	p->results[cluster] = result_spec.len > 0 ? XXH3_64bits(result_spec.p, result_spec.len) : 0;
	settle(p);
}

static bool is_same_text(const struct prepared *a, const struct prepared *b)
{
	return a->text_len == b->text_len && memcmp(a->text, b->text, a->text_len) == 0;
}

/* `p` was not prepared on this cluster this time, `known` was some time before. */
static void take_id(struct prepared *p, const struct prepared *known, enum cluster_id cluster)
{
	if (cluster == CLUSTER_ORIGIN && p->own_id.len == 0)
		p->own_id = p->id[CLUSTER_TARGET]; /* the one that the driver gets now */
	p->id[cluster] = known->id[cluster];
	p->results[cluster] = known->results[cluster];
}

/* What stands in the table for the client's id of `p` goes on to be known. */
static void take_known(struct prepared *p, const struct prepared *known)
{
	p->reported |= known->reported;
	/* A client of v3, whose PREPARED has no place for it, must not take it from those of v4. */
	if (!p->key[CLUSTER_ORIGIN] && !p->key[CLUSTER_TARGET])
		prepared_copy_key(p, known);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (p->id[i].len == 0 && known->id[i].len > 0 && is_same_text(p, known))
			take_id(p, known, (enum cluster_id)i);
		if (prepared_id_equal(&known->id[i], id_view(&p->id[i])))
			prepared_copy_nodes(p, known, i);
	}
}

void prepared_report(struct prepared *p, enum cluster_id cluster, const struct prepared *known)
{
	p->reported = (uint8_t)(1u << cluster);
	if (known)
		take_known(p, known);
	settle(p);
}

static struct prepared *prepared_hold(struct prepared *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct bytesview prepared_client_id(const struct prepared *p)
{
	if (unlikely(p->own_id.len > 0))
		return id_view(&p->own_id);
	return id_view(p->id[CLUSTER_ORIGIN].len > 0 ? &p->id[CLUSTER_ORIGIN] : &p->id[CLUSTER_TARGET]);
}

bool prepared_id_digest(struct strview first, struct strview second, struct prepared_id *out)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned len = 0;

	if (!md || !EVP_DigestInit_ex(md, EVP_md5(), NULL) || !EVP_DigestUpdate(md, first.p, first.len) ||
	    !EVP_DigestUpdate(md, second.p, second.len) || !EVP_DigestFinal_ex(md, out->bytes, &len))
		len = 0;
	EVP_MD_CTX_free(md);
	out->len = (uint8_t)len;
	return len > 0;
}

/* The id by which an entry stands in one of the indexes; len 0: it does not. */
static struct bytesview id_in(const struct prepared *p, unsigned index)
{
	return index == PREPARED_CLIENT ? prepared_client_id(p) : id_view(&p->id[index]);
}

static bool ids_equal(struct bytesview a, struct bytesview b)
{
	return a.len == b.len && prepared_id_same(a.p, b.p, a.len);
}

static uint64_t size_of_text(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static uint64_t memory_of(const struct prepared *p)
{
	return sizeof(*p) + p->text_len + size_of_text(p->keyspace) + size_of_text(p->table_keyspace) +
	       size_of_text(p->table) + routing_key_size(p->key[CLUSTER_ORIGIN]) + generated_size(p->generated) +
	       virtual_query_memory(p->virtual_query);
}

/* ---- the table ---- */

static uint32_t bucket_count_for(uint32_t entries)
{
	uint32_t n = 64;

	while (n < entries && n < 1u << 20)
		n *= 2;
	return n;
}

void prepared_table_init(struct prepared_table *t, uint32_t max_count, uint64_t max_memory)
{
	const uint32_t buckets = bucket_count_for(max_count);

	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	list_init(&t->lru);
	t->bucket_mask = buckets - 1;
	t->max_count = max_count;
	t->max_memory = max_memory;
	for (unsigned i = 0; i < PREPARED_INDEXES; i++)
		t->buckets[i] = xcalloc(buckets, sizeof(struct prepared *));
}

void prepared_table_set_bounds(struct prepared_table *t, uint32_t max_count, uint64_t max_memory)
{
	pthread_mutex_lock(&t->lock);
	t->max_count = max_count;
	t->max_memory = max_memory;
	pthread_mutex_unlock(&t->lock);
}

static struct prepared **bucket_of(struct prepared_table *t, unsigned index, struct bytesview id)
{
	return &t->buckets[index][hash_id(id) & t->bucket_mask];
}

static struct prepared *find_locked(struct prepared_table *t, unsigned index, struct bytesview id)
{
	struct prepared *p = *bucket_of(t, index, id);

	while (p && !ids_equal(id_in(p, index), id))
		p = p->chain[index];
	return p;
}

static void unchain(struct prepared_table *t, struct prepared *p, unsigned index)
{
	struct prepared **at = bucket_of(t, index, id_in(p, index));

	if (id_in(p, index).len == 0)
		return;
	while (*at != p)
		at = &(*at)->chain[index];
	*at = p->chain[index];
}

static void remove_locked(struct prepared_table *t, struct prepared *p)
{
	for (unsigned i = 0; i < PREPARED_INDEXES; i++)
		unchain(t, p, i);
	list_remove(&p->lru);
	t->memory -= memory_of(p);
	atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
	atomic_store_explicit(&p->is_stale, true, memory_order_release);
	prepared_unref(p);
}

/*
 * Second chance: the oldest entry goes unless it was used since it was queued,
 * in which case it is queued again. Near enough to least-recently-used, and
 * constant work per insertion.
 */
static void evict_locked(struct prepared_table *t, uint64_t incoming)
{
	while (!list_is_empty(&t->lru) && (t->count >= t->max_count || t->memory + incoming > t->max_memory)) {
		struct prepared *p = list_entry(t->lru.next, struct prepared, lru);
		uint32_t used = atomic_load_explicit(&p->last_used, memory_order_relaxed);

		if ((int32_t)(used - p->queued) > 0) {
			list_remove(&p->lru);
			p->queued = used;
			list_append(&t->lru, &p->lru);
			continue;
		}
		remove_locked(t, p);
	}
}

/*
 * Only the client's id replaces an entry. Two entries may share an id of a
 * cluster: a qualified text prepared in two keyspaces has one id on a
 * Cassandra 5.0 and two on an early 4.0 (CASSANDRA-15252, CASSANDRA-17248);
 * and a text that we have rewritten may be one that a client has written.
 */
static void insert_locked(struct prepared_table *t, struct prepared *p)
{
	struct prepared *old = find_locked(t, PREPARED_CLIENT, prepared_client_id(p));

	if (old)
		remove_locked(t, old);
	evict_locked(t, memory_of(p));
	p->queued = atomic_fetch_add_explicit(&t->sequence, 1, memory_order_relaxed) + 1;
	atomic_store_explicit(&p->last_used, p->queued, memory_order_relaxed);
	for (unsigned i = 0; i < PREPARED_INDEXES; i++) {
		struct prepared **bucket;

		if (id_in(p, i).len == 0)
			continue;
		bucket = bucket_of(t, i, id_in(p, i));
		p->chain[i] = *bucket;
		*bucket = p;
	}
	list_append(&t->lru, &p->lru);
	t->memory += memory_of(p);
	atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
}

void prepared_insert(struct prepared_table *t, struct prepared *p)
{
	pthread_mutex_lock(&t->lock);
	insert_locked(t, p);
	pthread_mutex_unlock(&t->lock);
}

void prepared_change_id(struct prepared_table *t, const struct prepared *p, enum cluster_id cluster,
			struct bytesview id, struct bytesview result_spec)
{
	struct prepared *copy =
		prepared_new((struct strview){ p->text, p->text_len }, p->keyspace ? sv_from(p->keyspace) : SV(""));
	struct prepared *known;

	memcpy(copy->id, p->id, sizeof(copy->id));
	memcpy(copy->results, p->results, sizeof(copy->results));
	copy->reported = p->reported;
	copy->own_id = p->own_id;
	prepared_learn(copy, cluster, id, result_spec);
	/* Drivers keep the id that they got, and some give up when they prepare again and get another one. */
	if (cluster == CLUSTER_ORIGIN && copy->own_id.len == 0)
		copy->own_id = p->id[CLUSTER_ORIGIN].len > 0 ? p->id[CLUSTER_ORIGIN] : p->id[CLUSTER_TARGET];
	copy->generated = generated_copy(p->generated);
	prepared_copy_key(copy, p);
	copy->is_qualified = p->is_qualified;
	copy->bound = p->bound;
	copy->generation = p->generation;
	copy->verdict = p->verdict;
	copy->allows = p->allows;
	copy->idempotence = p->idempotence;
	prepared_copy_nodes(copy, p, cluster_id_other(cluster));
	/* While it was under way the statement may have been prepared anew. */
	known = p->is_stale ? prepared_find_on(t, PREPARED_CLIENT, prepared_client_id(copy)) : NULL;
	if (known) {
		take_known(copy, known);
		settle(copy);
		prepared_unref(known);
	}
	prepared_insert(t, copy);
}

void prepared_copy_nodes(struct prepared *to, const struct prepared *from, unsigned cluster)
{
	for (unsigned i = 0; i < PREPARED_NODE_WORDS; i++)
		atomic_fetch_or_explicit(&to->on[cluster][i],
					 atomic_load_explicit(&from->on[cluster][i], memory_order_relaxed),
					 memory_order_relaxed);
}

struct prepared *prepared_find_on(struct prepared_table *t, unsigned cluster, struct bytesview id)
{
	struct prepared *p;

	if (id.len == 0 || id.len > PREPARED_ID_MAX)
		return NULL;
	pthread_mutex_lock(&t->lock);
	p = find_locked(t, cluster, id);
	if (p)
		prepared_hold(p);
	pthread_mutex_unlock(&t->lock);
	return p;
}

void prepared_table_fini(struct prepared_table *t)
{
	while (!list_is_empty(&t->lru))
		remove_locked(t, list_entry(t->lru.next, struct prepared, lru));
	for (unsigned i = 0; i < PREPARED_INDEXES; i++)
		free(t->buckets[i]);
	pthread_mutex_destroy(&t->lock);
}

/* ---- a worker's cache ---- */

void prepared_front_init(struct prepared_front *f, struct prepared_table *t)
{
	memset(f, 0, sizeof(*f));
	f->table = t;
}

void prepared_front_set(struct prepared_front *f, const struct settings *settings, struct policy_cache *policy,
			uint32_t generation)
{
	f->settings = settings;
	f->policy = policy;
	f->generation = generation;
	f->amends = amends_of(settings);
}

/* Numbers of settings rise by 1. */
void prepared_front_renew(struct prepared_front *f)
{
	f->generation += UINT32_C(1) << 16;
}

void prepared_release(struct prepared_ref *ref)
{
	Assert(ref->refs > 0);
	if (--ref->refs > 0)
		return;
	prepared_unref(ref->entry);
	policy_statement_free(ref->policy);
	free(ref->statement);
	free(ref->slots);
	free(ref);
}

void prepared_front_fini(struct prepared_front *f)
{
	for (unsigned i = 0; i < PREPARED_FRONT_SLOTS; i++) {
		if (f->slots[i])
			prepared_release(f->slots[i]);
	}
}

static bool ref_serves(const struct prepared_ref *ref, struct bytesview id)
{
	const struct prepared *p = ref->entry;

	return (ids_equal(prepared_client_id(p), id) ||
		(!p->generated && prepared_id_equal(&p->id[CLUSTER_TARGET], id))) &&
	       !atomic_load_explicit(&p->is_stale, memory_order_acquire);
}

static struct prepared *find_for_client(struct prepared_table *t, struct bytesview id)
{
	struct prepared *p;

	pthread_mutex_lock(&t->lock);
	p = find_locked(t, PREPARED_CLIENT, id);
	if (!p) {
		/* Of a rewritten statement only we know what the client's values mean. */
		p = *bucket_of(t, CLUSTER_TARGET, id);
		while (p && (p->generated || !prepared_id_equal(&p->id[CLUSTER_TARGET], id)))
			p = p->chain[CLUSTER_TARGET];
	}
	if (p)
		prepared_hold(p);
	pthread_mutex_unlock(&t->lock);
	return p;
}

struct prepared *prepared_peek(const struct prepared_front *f, struct bytesview id)
{
	const struct prepared_ref *ref;

	if (unlikely(id.len == 0 || id.len > PREPARED_ID_MAX))
		return NULL;
	ref = f->slots[hash_id(id) % PREPARED_FRONT_SLOTS];
	return ref && ref_serves(ref, id) ? prepared_hold(ref->entry) : find_for_client(f->table, id);
}

/* Asks the table and puts the answer into the slot; the reference is the caller's. */
static struct prepared_ref *refill(struct prepared_front *f, struct prepared_ref **slot, struct bytesview id)
{
	struct prepared_ref *ref;
	struct prepared *p = find_for_client(f->table, id);

	if (!p)
		return NULL;
	if (*slot)
		prepared_release(*slot);
	ref = xmalloc(sizeof(*ref));
	*ref = (struct prepared_ref){
		.entry = p,
		.refs = 1,
		/* What scripts say is not in the entry: each worker asks its own. */
		.generation = f->policy ? 0 : p->generation,
		.verdict = p->verdict,
		.allows = p->allows,
	};
	*slot = NULL;
	if (memory_of(p) <= PREPARED_FRONT_MEMORY_MAX) {
		*slot = ref;
		ref->refs++;
	}
	return ref;
}

/* The settings are others than those by which it was looked at. */
static void look_again(const struct prepared_front *f, struct prepared_ref *ref)
{
	const struct prepared *p = ref->entry;
	const struct strview text = { p->text, p->text_len };
	const struct strview keyspace = sv_from(p->keyspace ? p->keyspace : "");
	struct statement_facts facts;

	ref->generation = f->generation;
	policy_statement_free(ref->policy);
	ref->policy = NULL;
	if (p->verdict.to == 0)
		return;
	statement_scan(text, &facts);
	ref->verdict = route_statement(f->settings, text, &facts, keyspace);
	ref->allows = amend_allows(text, &facts, keyspace, (enum bound_counter)p->bound, f->amends);
	if (f->policy)
		ref->policy = policy_statement_new(f->policy, text, &facts, keyspace, &ref->verdict);
}

struct prepared_ref *prepared_find(struct prepared_front *f, struct bytesview id)
{
	struct prepared_ref **slot;
	struct prepared_ref *ref;
	uint32_t now;

	if (unlikely(id.len == 0 || id.len > PREPARED_ID_MAX))
		return NULL;
	slot = &f->slots[hash_id(id) % PREPARED_FRONT_SLOTS];
	ref = *slot;
	if (unlikely(!ref || !ref_serves(ref, id))) {
		ref = refill(f, slot, id);
		if (!ref)
			return NULL;
	} else {
		ref->refs++;
	}
	if (unlikely(ref->generation != f->generation))
		look_again(f, ref);
	/* Written only after something was prepared: else EXECUTEs of all workers would fight for the line. */
	now = atomic_load_explicit(&f->table->sequence, memory_order_relaxed);
	if (unlikely(atomic_load_explicit(&ref->entry->last_used, memory_order_relaxed) != now))
		atomic_store_explicit(&ref->entry->last_used, now, memory_order_relaxed);
	return ref;
}
