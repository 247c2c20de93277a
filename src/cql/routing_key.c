/* routing_key.c - see routing_key.h */
#include "cql/routing_key.h"

#include <stdlib.h>

#include "cql/murmur3.h"

/* Cassandra's limit of a partition key (and of each part of it): its length is a [short] on disk. */
#define KEY_MAX UINT16_MAX

/* ---- from the answer to PREPARE ---- */

static uint16_t position_of(const uint8_t *body, const struct prepared_message *m, unsigned column)
{
	return get_u16(body + m->pk_offset + 4 + 2 * column);
}

/* The names of the variables of the key. False when the answer does not hang together. */
static bool find_names(const uint8_t *body, uint32_t len, const struct prepared_message *m,
		       struct strview names[ROUTING_KEY_MAX])
{
	uint32_t offset = m->columns_offset;
	unsigned found = 0;

	for (uint32_t i = 0; i < m->bind_count && found < m->pk_count; i++) {
		struct bind_column column;

		if (!message_bind_column(body, len, m, &offset, &column))
			return false;
		for (unsigned j = 0; j < m->pk_count; j++) {
			if (position_of(body, m, j) == i) {
				names[j] = column.name;
				found++;
			}
		}
	}
	return found == m->pk_count;
}

static struct routing_key *build(const uint8_t *body, const struct prepared_message *m,
				 const struct strview names[ROUTING_KEY_MAX])
{
	size_t size =
		offsetof(struct routing_key, columns) + m->pk_count * sizeof(((struct routing_key *)NULL)->columns[0]);
	struct routing_key *key;
	uint32_t at = 0;
	char *texts;

	for (unsigned i = 0; i < m->pk_count; i++)
		size += names[i].len;
	key = xcalloc_apart(1, size); /* read by all workers with each request that it is for */
	key->size = (uint32_t)size;
	key->count = (uint16_t)m->pk_count;
	texts = (char *)&key->columns[key->count];
	for (unsigned i = 0; i < m->pk_count; i++) {
		key->columns[i].position = position_of(body, m, i);
		key->columns[i].name_len = (uint16_t)names[i].len;
		key->columns[i].name_offset = at;
		memcpy(texts + at, names[i].p, names[i].len);
		at += (uint32_t)names[i].len;
	}
	return key;
}

struct routing_key *routing_key_new(const uint8_t *body, uint32_t len, const struct prepared_message *m)
{
	struct strview names[ROUTING_KEY_MAX];

	if (m->pk_offset == 0 || m->pk_count == 0 || m->pk_count > ROUTING_KEY_MAX || !find_names(body, len, m, names))
		return NULL;
	return build(body, m, names);
}

struct routing_key *routing_key_copy(const struct routing_key *key)
{
	return key ? memcpy(xcalloc_apart(1, key->size), key, key->size) : NULL;
}

uint32_t routing_key_size(const struct routing_key *key)
{
	return key ? key->size : 0;
}

bool routing_key_equal(const struct routing_key *a, const struct routing_key *b)
{
	return a == b || (a && b && a->size == b->size && memcmp(a, b, a->size) == 0);
}

void routing_key_table(const uint8_t *body, uint32_t len, const struct prepared_message *m, struct strview *keyspace,
		       struct strview *table)
{
	struct reader r =
		reader_from(body, len, m->bind_flags & ROWS_GLOBAL_TABLES_SPEC ? m->spec_offset : m->columns_offset);

	*keyspace = *table = SV("");
	if (m->bind_count == 0)
		return;
	*keyspace = read_string(&r);
	*table = read_string(&r);
}

/* ---- the token of bound values ---- */

static int column_at(const struct routing_key *key, unsigned position)
{
	for (unsigned i = 0; i < key->count; i++) {
		if (key->columns[i].position == position)
			return (int)i;
	}
	return -1;
}

static int column_named(const struct routing_key *key, struct strview name)
{
	const char *texts = (const char *)&key->columns[key->count];

	for (unsigned i = 0; i < key->count; i++) {
		if (sv_equal((struct strview){ texts + key->columns[i].name_offset, key->columns[i].name_len }, name))
			return (int)i;
	}
	return -1;
}

/* The values of the key's columns. Of two values with one name the first counts, as in Cassandra. */
static bool find_parts(const struct routing_key *key, const struct bound_values *values,
		       struct bytesview parts[ROUTING_KEY_MAX])
{
	struct reader r = reader_from(values->body, values->len, values->offset);
	uint32_t missing = (uint32_t)((UINT64_C(1) << key->count) - 1);

	for (unsigned i = 0; i < values->count && missing; i++) {
		const int column = values->is_by_name ? column_named(key, read_string(&r)) : column_at(key, i);
		const struct bytesview value = read_bytes(&r); /* unset looks like null: neither is a key */

		if (!reader_ok(&r))
			return false;
		if (column < 0 || !(missing & 1u << column))
			continue;
		if (value.is_null || value.len > KEY_MAX)
			return false;
		parts[column] = value;
		missing &= ~(1u << column);
	}
	return missing == 0;
}

static bool composite_token(const struct bytesview *parts, unsigned count, int64_t *token)
{
	static const uint8_t end = 0;
	struct murmur3 m;

	murmur3_start(&m);
	for (unsigned i = 0; i < count; i++) {
		uint8_t len[2];

		put_u16(len, (uint16_t)parts[i].len);
		murmur3_add(&m, len, sizeof(len));
		murmur3_add(&m, parts[i].p, parts[i].len);
		murmur3_add(&m, &end, 1);
	}
	*token = murmur3_end(&m);
	return m.len <= KEY_MAX;
}

bool routing_key_token(const struct routing_key *key, const struct bound_values *values, int64_t *token)
{
	struct bytesview parts[ROUTING_KEY_MAX];

	if (!find_parts(key, values, parts))
		return false;
	if (key->count > 1)
		return composite_token(parts, key->count, token);
	if (parts[0].len == 0)
		return false;
	*token = murmur3_token(parts[0].p, parts[0].len);
	return true;
}
