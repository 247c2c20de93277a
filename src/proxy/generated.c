/* generated.c - see generated.h */
#include "proxy/generated.h"

#include <stdlib.h>
#include <string.h>

#include "base/chunk.h"
#include "cql/frame.h"

uint32_t generated_size(const struct generated *g)
{
	return g ? g->size : 0;
}

struct generated *generated_copy(const struct generated *g)
{
	return g ? memcpy(xcalloc_apart(1, g->size), g, g->size) : NULL;
}

struct bytesview generated_name(const struct generated *g, unsigned index)
{
	const uint8_t *p = (const uint8_t *)&g->markers[g->count] + g->markers[index].name_offset;

	return (struct bytesview){ .p = p, .len = 2u + get_u16(p) };
}

/* ---- finding our variables ---- */

struct found_variable {
	uint16_t position;
	struct strview name;
};

/* Where the next of our variables should be: by its name in a statement with named markers, else by its position. */
static bool is_ours(const struct rewriting *r, unsigned next, uint32_t position, struct strview name)
{
	char expected[REWRITE_MARKER_MAX];
	unsigned len;

	if (next == r->count)
		return false;
	if (!r->is_named)
		return position == r->calls[next].markers_before + next;
	len = rewrite_marker_name(next, expected, sizeof(expected));
	return sv_equal(name, (struct strview){ expected, len });
}

/* True when all were found. A server may report a name once that the client's text has twice, so a count says nothing. */
static bool find_variables(const struct rewriting *r, const struct prepared_answer *a, struct found_variable *out)
{
	const struct prepared_message *m = &a->message;
	uint32_t offset = m->columns_offset;
	unsigned next = 0;

	if (m->bind_count > UINT16_MAX || (!r->is_named && m->bind_count != r->markers + r->count))
		return false;
	for (uint32_t i = 0; i < m->bind_count; i++) {
		struct bind_column column;

		if (!message_bind_column(a->body, a->len, m, &offset, &column))
			return false;
		if (is_ours(r, next, i, column.name))
			out[next++] = (struct found_variable){ .position = (uint16_t)i, .name = column.name };
	}
	return next == r->count;
}

static bool has_name(const struct found_variable *ours, unsigned count, struct strview name)
{
	for (unsigned i = 0; i < count; i++) {
		if (sv_equal(ours[i].name, name))
			return true;
	}
	return false;
}

/* One of the client's variables has the name of one of ours, or two of ours have one. */
static bool has_double_names(const struct rewriting *r, const struct prepared_answer *a,
			     const struct found_variable *ours)
{
	uint32_t offset = a->message.columns_offset;
	unsigned next = 0;

	for (uint32_t i = 0; i < a->message.bind_count; i++) {
		struct bind_column column;

		if (!message_bind_column(a->body, a->len, &a->message, &offset, &column))
			return true;
		if (next < r->count && ours[next].position == i) {
			if (has_name(ours, next, column.name))
				return true;
			next++;
		} else if (has_name(ours, r->count, column.name)) {
			return true;
		}
	}
	return false;
}

static struct generated *build(const struct rewriting *r, const struct found_variable *ours, bool is_ambiguous)
{
	size_t size = offsetof(struct generated, markers) + r->count * sizeof(struct generated_marker);
	struct generated *g;
	uint32_t at = 0;

	for (unsigned i = 0; i < r->count; i++)
		size += 2 + ours[i].name.len;
	g = xcalloc_apart(1, size);
	g->size = (uint32_t)size;
	g->count = r->count;
	g->is_named = r->is_named;
	g->is_ambiguous = is_ambiguous;
	for (unsigned i = 0; i < r->count; i++) {
		uint8_t *name = (uint8_t *)&g->markers[g->count] + at;

		g->markers[i] = (struct generated_marker){
			.position = ours[i].position,
			.kind = r->calls[i].kind,
			.name_offset = at,
		};
		put_u16(name, (uint16_t)ours[i].name.len);
		memcpy(name + 2, ours[i].name.p, ours[i].name.len);
		at += 2 + (uint32_t)ours[i].name.len;
	}
	return g;
}

struct generated *generated_new(const struct rewriting *r, const struct prepared_answer answers[CLUSTER_COUNT])
{
	struct found_variable found[CLUSTER_COUNT][GENERATED_MAX];
	bool is_ambiguous = false;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!find_variables(r, &answers[i], found[i]))
			return NULL;
	}
	for (unsigned i = 0; i < r->count; i++) {
		/* The client binds by origin's positions, and what we bind goes to both. */
		if (found[CLUSTER_ORIGIN][i].position != found[CLUSTER_TARGET][i].position)
			return NULL;
		is_ambiguous |= !sv_equal(found[CLUSTER_ORIGIN][i].name, found[CLUSTER_TARGET][i].name);
	}
	if (!r->is_named)
		is_ambiguous |= has_double_names(r, &answers[CLUSTER_ORIGIN], found[CLUSTER_ORIGIN]);
	return build(r, found[CLUSTER_ORIGIN], is_ambiguous);
}

/* ---- hiding them ---- */

/* How many of ours stand before a position; *is_ours when one stands there. */
static unsigned ours_before(const struct generated *g, uint32_t position, bool *is_ours)
{
	unsigned n = 0;

	while (n < g->count && g->markers[n].position < position)
		n++;
	*is_ours = n < g->count && g->markers[n].position == position;
	return n;
}

static bool key_has_ours(const struct generated *g, const struct prepared_answer *a)
{
	for (uint32_t i = 0; i < a->message.pk_count; i++) {
		bool is_ours;

		ours_before(g, get_u16(a->body + a->message.pk_offset + 4 + 2 * i), &is_ours);
		if (is_ours)
			return true;
	}
	return false;
}

struct hiding {
	struct frame_edit edits[GENERATED_MAX + 4];
	unsigned count;
	bool drops_key;
	bool drops_spec;
	uint8_t id_len[2];
};

static void drop(struct hiding *h, uint32_t from, uint32_t to)
{
	h->edits[h->count++] = (struct frame_edit){ .offset = from, .drop = to - from };
}

/* What is left out or replaced, in order. Numbers are changed in the copy, where they have the same size. */
static bool plan(struct hiding *h, const struct generated *g, const struct prepared_id *id,
		 const struct prepared_answer *a)
{
	const struct prepared_message *m = &a->message;
	const uint32_t id_offset = (uint32_t)(m->id.p - a->body);
	uint32_t offset = m->columns_offset;
	unsigned next = 0;

	put_u16(h->id_len, id->len);
	h->edits[0] = (struct frame_edit){ .offset = id_offset - 2, .drop = 2, .len = 2, .with = h->id_len };
	h->edits[1] = (struct frame_edit){ .offset = id_offset, .drop = m->id.len, .len = id->len, .with = id->bytes };
	h->count = 2;
	h->drops_key = key_has_ours(g, a);
	/* As Cassandra writes it: without variables there is no table to name. */
	h->drops_spec = m->bind_count == g->count && (m->bind_flags & ROWS_GLOBAL_TABLES_SPEC);
	if (h->drops_key)
		drop(h, m->pk_offset + 4, m->spec_offset);
	if (h->drops_spec)
		drop(h, m->spec_offset, m->columns_offset);
	for (uint32_t i = 0; i < m->bind_count && next < g->count; i++) {
		struct bind_column column;

		if (!message_bind_column(a->body, a->len, m, &offset, &column))
			return false;
		if (g->markers[next].position == i) {
			drop(h, column.offset, column.end);
			next++;
		}
	}
	return next == g->count;
}

/* `p` is where the bind metadata begins in the copy. */
static void change_numbers(const struct hiding *h, const struct generated *g, const struct prepared_message *m,
			   uint8_t *p)
{
	if (h->drops_spec)
		put_u32(p, m->bind_flags & ~(uint32_t)ROWS_GLOBAL_TABLES_SPEC);
	put_u32(p + 4, m->bind_count - g->count);
	if (m->pk_offset == 0)
		return;
	p += m->pk_offset - m->bind_offset;
	if (h->drops_key) {
		put_u32(p, 0);
		return;
	}
	for (uint32_t i = 0; i < m->pk_count; i++) {
		uint8_t *index = p + 4 + 2 * i;
		bool is_ours;

		put_u16(index, (uint16_t)(get_u16(index) - ours_before(g, get_u16(index), &is_ours)));
	}
}

struct chunk *generated_hide(const struct generated *g, const struct prepared_id *id,
			     const struct prepared_answer *answer, struct chunk_pool *pool, uint32_t *len)
{
	const struct prepared_message *m = &answer->message;
	struct hiding h;
	struct chunk *out;

	if (!plan(&h, g, id, answer))
		return NULL;
	*len = frame_edited_length(answer->len, h.edits, h.count);
	out = chunk_try_new(pool, *len);
	if (!out)
		return NULL;
	frame_edit_copy(out->data, answer->body, answer->len, h.edits, h.count);
	change_numbers(&h, g, m, out->data + m->bind_offset + id->len - m->id.len);
	return out;
}
