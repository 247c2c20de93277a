/* placement.c - see placement.h */
#include "proxy/placement.h"

#include "cql/routing_key.h"

static bool execute_token(const struct request *rq, const struct routing_key *key, int64_t *token)
{
	return key && routing_key_token(key,
					&(struct bound_values){
						.body = rq->data,
						.len = rq->len,
						.offset = rq->values_offset,
						.count = rq->value_count,
						.is_by_name = rq->values_are_named,
					},
					token);
}

bool placement_token(struct request *rq, unsigned cluster, int64_t *token)
{
	const struct prepared *entry = rq->prepared->entry;

	/* Clusters that count the variables differently are rare enough to be asked each time. */
	if (unlikely(entry->key[CLUSTER_ORIGIN] != entry->key[CLUSTER_TARGET]))
		return execute_token(rq, entry->key[cluster], token);
	if (rq->token_state == TOKEN_NOT_ASKED)
		rq->token_state = execute_token(rq, entry->key[cluster], &rq->token) ? TOKEN_KNOWN : TOKEN_NONE;
	*token = rq->token;
	return rq->token_state == TOKEN_KNOWN;
}

/* Of two, one may have none: the statement was prepared on the other alone, or that one speaks an old version. */
static const struct routing_key *common_key(const struct prepared *entry)
{
	struct routing_key *const *key = entry->key;

	if (key[CLUSTER_ORIGIN] && key[CLUSTER_TARGET] && key[CLUSTER_ORIGIN] != key[CLUSTER_TARGET])
		return NULL;
	return key[CLUSTER_ORIGIN] ? key[CLUSTER_ORIGIN] : key[CLUSTER_TARGET];
}

static uint16_t table_of(struct prepared_ref *ref, unsigned cluster, const struct ring *ring)
{
	if (unlikely(ref->place[cluster].generation != ring_generation(ring))) {
		const char *keyspace = ref->entry->table_keyspace;

		ref->place[cluster].table = keyspace ? ring_table(ring, sv_from(keyspace)) : RING_NO_TABLE;
		ref->place[cluster].generation = ring_generation(ring);
	}
	return ref->place[cluster].table;
}

/* The first statement of a BATCH that is prepared. */
static bool first_prepared(const struct request *rq, struct batch_child *child)
{
	uint32_t offset;
	unsigned count;

	if (!message_batch_begin(rq->data, rq->len, rq->flags, &offset, &count))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (!message_batch_child(rq->data, rq->len, &offset, child))
			return false;
		if (child->is_prepared)
			return true;
	}
	return false;
}

static bool child_token(const struct request *rq, const struct batch_child *child, const struct routing_key *key,
			int64_t *token)
{
	return key && routing_key_token(key,
					&(struct bound_values){
						.body = rq->data,
						.len = rq->len,
						.offset = child->values_offset,
						.count = child->value_count,
					},
					token);
}

/* Asked by a script, so without prepared_find(), which may have to ask scripts. */
static bool batch_token(const struct request *rq, int64_t *token)
{
	struct prepared *entry;
	struct batch_child child;
	bool is_known;

	if (!first_prepared(rq, &child))
		return false;
	entry = prepared_peek(&rq->client->worker->prepared, child.id);
	if (!entry)
		return false;
	is_known = child_token(rq, &child, common_key(entry), token);
	prepared_unref(entry);
	return is_known;
}

bool placement_common_token(struct request *rq, int64_t *token)
{
	const struct routing_key *key;

	if (!rq->prepared)
		return rq->has_prepared_children && batch_token(rq, token);
	key = common_key(rq->prepared->entry);
	return key &&
	       placement_token(rq, key == rq->prepared->entry->key[CLUSTER_ORIGIN] ? CLUSTER_ORIGIN : CLUSTER_TARGET,
			       token);
}

static unsigned batch_replicas(const struct request *rq, unsigned cluster, const struct ring *ring,
			       const uint16_t **hosts)
{
	struct prepared_ref *ref;
	struct batch_child child;
	unsigned n = 0;
	int64_t token;

	if (!first_prepared(rq, &child))
		return 0;
	ref = prepared_find(&rq->client->worker->prepared, child.id);
	if (!ref)
		return 0;
	if (child_token(rq, &child, ref->entry->key[cluster], &token))
		n = ring_replicas(ring, table_of(ref, cluster, ring), token, hosts);
	prepared_release(ref);
	return n;
}

unsigned placement_replicas(struct request *rq, unsigned cluster, const struct ring *ring, const uint16_t **hosts)
{
	uint16_t table;
	int64_t token;

	if (unlikely(!ring))
		return 0;
	if (!rq->prepared)
		return rq->has_prepared_children ? batch_replicas(rq, cluster, ring, hosts) : 0;
	table = table_of(rq->prepared, cluster, ring);
	if (table == RING_NO_TABLE || !placement_token(rq, cluster, &token))
		return 0;
	return ring_replicas(ring, table, token, hosts);
}

bool placement_find(struct request *rq, const struct backends *b, const struct net_address *not_at,
		    struct replicas *out)
{
	const uint16_t *hosts;
	const unsigned n = placement_replicas(rq, b->cluster, b->topology->ring, &hosts);

	out->count = 0;
	for (unsigned i = 0; i < n && out->count < PLACEMENT_NODES; i++) {
		struct backend *backend = b->hosts[hosts[i]];

		/* As far as requests go elsewhere now, a replica there is as good as none. */
		if (backend->state != BACKEND_UP || backend->tier != b->candidates[0]->tier)
			continue;
		if (unlikely(not_at) && net_equal(&backend->address, not_at))
			continue;
		out->nodes[out->count++] = backend;
	}
	return n > 0;
}
