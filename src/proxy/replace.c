/* replace.c - see replace.h */
#include "proxy/replace.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/edit_list.h"
#include "proxy/request.h"

/* Edits in one BATCH: 65 535 children with several calls each. More would only be memory. */
#define MAX_BATCH_EDITS 1000000u

static bool refuse_memory(struct arrival *a)
{
	client_send_error(a->c, a->f->stream, CQL_ERR_OVERLOADED, "no memory to replace function calls in a %s",
			  cql_opcode_name(a->f->opcode));
	return false;
}

/* Why the body that we have just made cannot be read: never, unless there is a defect in here. */
static bool parsed(struct arrival *a, bool ok, const char *why)
{
	if (unlikely(!ok))
		arrival_refuse(a, why);
	return ok;
}

static void note_kept(struct worker *w, struct strview text)
{
	metric_add(&w->metrics.functions_kept[FUNCTIONS_NOT_REPLACEABLE], 1);
	log_limited(LOG_WARN,
		    "function calls in a statement cannot be replaced, each cluster makes its own values: %.*s",
		    (int)MIN(text.len, 200), text.p);
}

/* ---- texts ---- */

/* How many calls of this text will be replaced by literals. `notes`: what cannot be is counted. */
static uint32_t count_calls(struct worker *w, struct strview text, bool notes)
{
	struct rewrite_facts facts;

	switch (rewrite_scan(text, &facts)) {
	case REWRITE_CALLS:
		return facts.calls;
	case REWRITE_TOO_MUCH:
		if (notes)
			note_kept(w, text);
		return 0;
	case REWRITE_NONE:
		break;
	}
	return 0;
}

/* A text of `body`, of whose calls there is at least one, with literals in their place. */
static void edit_text(struct worker *w, struct edit_list *l, const uint8_t *body, struct strview text)
{
	const uint32_t at = (uint32_t)((const uint8_t *)text.p - body);
	const uint32_t length_edit = l->count;
	uint32_t length = (uint32_t)text.len;
	struct rewrite_call call;
	struct rewrite rw;

	edit_list_add(l, at - 4, 4);
	edit_list_set_length(l, 4);
	rewrite_start(&rw, text);
	while (rewrite_next(&rw, &call)) {
		uint8_t *room = edit_list_add(l, at + call.offset, call.len);
		const uint32_t len = functions_literal(&w->functions, &call, (char *)room);

		edit_list_set_length(l, len);
		length = length - call.len + len;
		metric_add(&w->metrics.functions_replaced, 1);
	}
	put_u32(l->rooms[length_edit], length);
}

bool replace_in_query(struct arrival *a, struct query_message *m)
{
	struct worker *w = a->c->worker;
	const uint32_t calls = count_calls(w, m->text, true);
	struct edit_list l;
	const char *why;
	bool ok;

	if (calls == 0)
		return true;
	if (!edit_list_init(&l, calls + 1))
		return refuse_memory(a);
	edit_text(w, &l, a->plain.data, m->text);
	ok = arrival_edit(a, l.edits, l.count);
	edit_list_free(&l);
	return ok &&
	       parsed(a, message_parse_query(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why);
}

/* ---- values ---- */

static void add_value(struct worker *w, struct edit_list *l, uint32_t offset, uint8_t kind)
{
	uint8_t *room = edit_list_add(l, offset, 0);
	const uint32_t len = functions_value(&w->functions, (enum rewrite_kind)kind, room + 4);

	put_u32(room, len);
	edit_list_set_length(l, 4 + len);
	metric_add(&w->metrics.functions_replaced, 1);
}

/*
 * Values without names: ours go between the client's, of which `count` begin at
 * `offset`. With too few or too many of them the cluster will complain.
 */
static void add_positional(struct worker *w, struct edit_list *l, const struct generated *g, const uint8_t *body,
			   uint32_t len, uint32_t offset, uint32_t count)
{
	struct reader r = reader_from(body, len, offset);
	uint32_t given = 0;

	for (unsigned i = 0; i < g->count; i++) {
		const uint32_t before = g->markers[i].position - i;

		while (given < MIN(before, count)) {
			read_bytes(&r);
			given++;
		}
		add_value(w, l, reader_offset(&r), g->markers[i].kind);
	}
}

/* Values with names: the order does not matter, so ours come last. */
static void add_named(struct worker *w, struct edit_list *l, const struct generated *g, const uint8_t *body,
		      uint32_t len, uint32_t offset, uint32_t count)
{
	struct reader r = reader_from(body, len, offset);

	for (uint32_t i = 0; i < count; i++) {
		read_string(&r);
		read_bytes(&r);
	}
	for (unsigned i = 0; i < g->count; i++) {
		const struct bytesview name = generated_name(g, i);

		edit_list_add_bytes(l, reader_offset(&r), 0, name.p, name.len);
		add_value(w, l, reader_offset(&r), g->markers[i].kind);
	}
}

/* Where the values of a QUERY or EXECUTE begin; when it has none yet, they are announced. */
static uint32_t open_values(struct edit_list *l, const uint8_t *body, const struct query_params *params, uint32_t count)
{
	const uint32_t flags_end = params->flags_offset + params->flags_size;

	if (params->flags & QUERY_VALUES) {
		put_u16(edit_list_add(l, flags_end, 2), (uint16_t)count);
		edit_list_set_length(l, 2);
		return flags_end + 2;
	}
	*edit_list_add(l, flags_end - 1, 1) = body[flags_end - 1] | QUERY_VALUES;
	edit_list_set_length(l, 1);
	put_u16(edit_list_add(l, flags_end, 0), (uint16_t)count);
	edit_list_set_length(l, 2);
	return flags_end;
}

bool replace_in_execute(struct arrival *a, const struct generated *g, struct execute_message *m)
{
	const struct query_params *params = &m->params;
	const bool by_name = (params->flags & QUERY_NAMES_FOR_VALUES) != 0;
	const uint32_t count = params->value_count + (uint32_t)g->count;
	struct worker *w = a->c->worker;
	struct edit_list l;
	uint32_t values;
	const char *why;
	bool ok;

	if (by_name && g->is_ambiguous) {
		client_send_error(
			a->c, a->f->stream, CQL_ERR_INVALID,
			"this statement has two variables of one name, one of them in place of a function call; "
			"values must be bound by position");
		return false;
	}
	if (count > UINT16_MAX) /* far more than the statement has: the cluster will say so */
		return true;
	if (!edit_list_init(&l, 2u * g->count + 2))
		return refuse_memory(a);
	values = open_values(&l, a->plain.data, params, count);
	if (by_name)
		add_named(w, &l, g, a->plain.data, a->plain.len, values, params->value_count);
	else
		add_positional(w, &l, g, a->plain.data, a->plain.len, values, params->value_count);
	ok = arrival_edit(a, l.edits, l.count);
	edit_list_free(&l);
	return ok &&
	       parsed(a, message_parse_execute(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why);
}

/* ---- BATCH ---- */

/* The edits that a child needs; 0 for none. Prepared ones are held by *ref. */
static uint32_t count_child(struct worker *w, const struct batch_child *child, bool notes, struct prepared_ref **ref)
{
	const struct generated *g;
	uint32_t calls;

	*ref = NULL;
	if (!child->is_prepared) {
		calls = count_calls(w, child->text, notes);
		return calls > 0 ? calls + 1 : 0;
	}
	*ref = prepared_find(&w->prepared, child->id);
	g = *ref ? (*ref)->entry->generated : NULL;
	return g && child->value_count + (uint32_t)g->count <= UINT16_MAX ? g->count + 1u : 0;
}

static void edit_child(struct worker *w, struct edit_list *l, const struct plain *plain,
		       const struct batch_child *child, const struct prepared_ref *ref)
{
	const struct generated *g;

	if (!ref) {
		edit_text(w, l, plain->data, child->text);
		return;
	}
	g = ref->entry->generated;
	put_u16(edit_list_add(l, child->values_offset - 2, 2), (uint16_t)(child->value_count + g->count));
	edit_list_set_length(l, 2);
	add_positional(w, l, g, plain->data, plain->len, child->values_offset, child->value_count);
}

/* Counts (without `l`) or makes the edits of all children. */
static uint64_t each_child(struct arrival *a, const struct batch_message *m, struct edit_list *l)
{
	struct worker *w = a->c->worker;
	uint32_t offset = m->children_offset;
	uint64_t total = 0;

	for (unsigned i = 0; i < m->child_count; i++) {
		struct batch_child child;
		struct prepared_ref *ref;
		uint32_t edits;

		if (!message_batch_child(a->plain.data, a->plain.len, &offset, &child))
			break;
		edits = count_child(w, &child, !l, &ref);
		/* An entry may become another one between the two passes; then the cluster misses values. */
		if (l && edits > 0 && edits <= l->cap - l->count)
			edit_child(w, l, &a->plain, &child, ref);
		if (ref)
			prepared_release(ref);
		total += edits;
	}
	return total;
}

bool replace_in_batch(struct arrival *a, struct batch_message *m)
{
	const uint64_t edits = each_child(a, m, NULL);
	struct edit_list l;
	const char *why;
	bool ok;

	if (edits == 0)
		return true;
	if (edits > MAX_BATCH_EDITS) {
		client_send_error(a->c, a->f->stream, CQL_ERR_INVALID,
				  "a batch with more than %u function calls to be replaced", MAX_BATCH_EDITS);
		return false;
	}
	if (!edit_list_init(&l, (uint32_t)edits))
		return refuse_memory(a);
	each_child(a, m, &l);
	ok = arrival_edit(a, l.edits, l.count);
	edit_list_free(&l);
	return ok &&
	       parsed(a, message_parse_batch(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why);
}

/* ---- PREPARE ---- */

void replace_free_rewriting(struct rewriting *r)
{
	if (r && r->body)
		chunk_unref(r->body);
	free(r);
}

static struct rewriting *rewriting_new(struct arrival *a, struct strview text, const struct rewrite_facts *facts)
{
	struct rewriting *r = xcalloc(1, sizeof(*r) + facts->calls * sizeof(r->calls[0]));
	struct rewrite rw;
	struct rewrite_call call;

	r->is_named = facts->has_named_markers;
	r->markers = facts->markers;
	rewrite_start(&rw, text);
	while (rewrite_next(&rw, &call)) {
		r->calls[r->count].markers_before = call.markers_before;
		r->calls[r->count++].kind = (uint8_t)call.kind;
	}
	r->len = a->plain.len;
	r->body = request_keep_bytes(&a->c->worker->loop, a->plain.chunk, a->plain.data, a->plain.len,
				     a->plain.owns_chunk, &r->data);
	return r;
}

/* Puts markers in place of the calls. */
static bool put_markers(struct arrival *a, const struct prepare_message *m, const struct rewriting *r)
{
	const uint32_t at = m->text_offset + 4;
	uint32_t length = (uint32_t)m->text.len;
	unsigned index = 0;
	struct rewrite_call call;
	struct rewrite rw;
	struct edit_list l;
	bool ok;

	if (!edit_list_init(&l, r->count + 1u))
		return refuse_memory(a);
	edit_list_add(&l, m->text_offset, 4);
	edit_list_set_length(&l, 4);
	rewrite_start(&rw, m->text);
	while (rewrite_next(&rw, &call)) {
		uint8_t *room = edit_list_add(&l, at + call.offset, call.len);
		const uint32_t len = rewrite_marker(&call, r->is_named, index++, (char *)room);

		edit_list_set_length(&l, len);
		length = length - call.len + len;
	}
	put_u32(l.rooms[0], length);
	ok = arrival_edit(a, l.edits, l.count);
	edit_list_free(&l);
	return ok;
}

/* MD5 of the keyspace, where the text depends on it, and the text. */
static bool make_id(const struct arrival *a, const struct prepare_message *m, bool is_qualified,
		    struct prepared_id *out)
{
	struct strview keyspace = SV("");

	if (!is_qualified)
		keyspace = m->keyspace.len > 0 ? m->keyspace : client_keyspace(a->c);
	return prepared_id_digest(keyspace, m->text, out);
}

bool replace_in_prepare(struct arrival *a, struct prepare_message *m, bool is_qualified, struct rewriting **out)
{
	struct rewrite_facts facts;
	const enum rewrite_finding found = rewrite_scan(m->text, &facts);
	struct prepared_id id;
	struct rewriting *r;
	const char *why;

	*out = NULL;
	if (found == REWRITE_NONE)
		return true;
	if (found == REWRITE_TOO_MUCH || facts.calls > GENERATED_MAX || facts.has_our_names ||
	    !make_id(a, m, is_qualified, &id)) {
		note_kept(a->c->worker, m->text);
		return true;
	}
	r = rewriting_new(a, m->text, &facts);
	r->id = id;
	if (!r->body) {
		free(r);
		return refuse_memory(a);
	}
	if (put_markers(a, m, r) &&
	    parsed(a, message_parse_prepare(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why)) {
		*out = r;
		return true;
	}
	replace_free_rewriting(r);
	return false;
}
