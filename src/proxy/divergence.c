/* divergence.c - see divergence.h */
#include "proxy/divergence.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cql/rows.h"
#include "cql/version.h"
#include "proxy/request.h"

/* Of a BATCH the tables of so many different ones are counted. */
#define MAX_TABLES 4
/*
 * A RESULT/VOID has 4 bytes, compressed about 10. One of ROWS with metadata,
 * which a BATCH always gets, has at least 40 that do not compress well.
 */
#define VOID_MAX 24

/* ---- counters ---- */

void divergences_init(struct divergences *d)
{
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
}

void divergences_fini(struct divergences *d)
{
	pthread_mutex_destroy(&d->lock);
}

static void copy_name(char out[STATEMENT_NAME_MAX + 1], struct strview name)
{
	size_t n = MIN(name.len, (size_t)STATEMENT_NAME_MAX);

	memcpy(out, name.p, n);
	out[n] = '\0';
}

struct divergence_counts *divergences_lock(struct divergences *d, struct strview keyspace, struct strview table)
{
	struct divergence_table wanted = { .keyspace = "" };
	struct divergence_table *t;

	copy_name(wanted.keyspace, keyspace);
	copy_name(wanted.table, table);
	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < d->count; i++) {
		t = &d->tables[i];
		if (strcmp(t->keyspace, wanted.keyspace) == 0 && strcmp(t->table, wanted.table) == 0)
			return &t->counts;
	}
	if (d->count == DIVERGENCE_MAX_TABLES) {
		t = &d->tables[DIVERGENCE_MAX_TABLES];
		copy_name(t->keyspace, SV("other"));
		copy_name(t->table, SV("other"));
		return &t->counts;
	}
	t = &d->tables[d->count++];
	*t = wanted;
	return &t->counts;
}

void divergences_unlock(struct divergences *d)
{
	pthread_mutex_unlock(&d->lock);
}

bool divergences_get(struct divergences *d, unsigned i, struct divergence_table *out)
{
	bool has_more;

	pthread_mutex_lock(&d->lock);
	/* Behind the last one those of all others, which there are only when the table is full. */
	has_more = i < d->count || (i == DIVERGENCE_MAX_TABLES && d->tables[i].keyspace[0]);
	if (has_more)
		*out = d->tables[i];
	pthread_mutex_unlock(&d->lock);
	return has_more;
}

/* ---- which tables a request is about ---- */

struct subject {
	struct statement_name keyspace;
	struct statement_name table;
	enum statement_kind kind;
};

struct subjects {
	struct subject items[MAX_TABLES];
	unsigned count;
};

static bool same_subject(const struct subject *a, const struct subject *b)
{
	return sv_equal(statement_name_view(&a->keyspace), statement_name_view(&b->keyspace)) &&
	       sv_equal(statement_name_view(&a->table), statement_name_view(&b->table));
}

/* The first statement inside of BEGIN BATCH, which names a table; else the text itself. */
static struct strview first_write(struct strview text)
{
	struct scanner s;
	struct token t;

	scanner_init(&s, text);
	do {
		t = scanner_next(&s);
		if (token_is_keyword(&t, "INSERT") || token_is_keyword(&t, "UPDATE") || token_is_keyword(&t, "DELETE"))
			return (struct strview){ text.p + t.offset, text.len - t.offset };
	} while (t.kind != TOKEN_END && t.kind != TOKEN_BAD);
	return text;
}

/* `keyspace`: the one that unqualified names mean. */
static void add_text(struct subjects *list, struct strview text, struct strview keyspace)
{
	struct subject *s = &list->items[list->count];
	struct statement_facts facts;

	if (list->count == MAX_TABLES)
		return;
	statement_scan(text, &facts);
	s->kind = facts.kind;
	if (facts.kind == STATEMENT_BATCH)
		statement_scan(first_write(text), &facts);
	s->table = facts.table;
	s->keyspace = facts.keyspace;
	if (facts.table.len > 0 && facts.keyspace.len == 0) {
		s->keyspace.len = (uint8_t)MIN(keyspace.len, (size_t)STATEMENT_NAME_MAX);
		memcpy(s->keyspace.text, keyspace.p, s->keyspace.len);
	}
	for (unsigned i = 0; i < list->count; i++) {
		if (same_subject(&list->items[i], s))
			return;
	}
	list->count++;
}

static void add_prepared(struct subjects *list, const struct prepared *p)
{
	add_text(list, (struct strview){ p->text, p->text_len }, p->keyspace ? sv_from(p->keyspace) : SV(""));
}

static void add_children(struct subjects *list, struct request *rq, uint32_t offset)
{
	struct client *c = rq->client;
	struct batch_message m;
	const char *why;

	if (!message_parse_batch(rq->data, rq->len, offset, c->version, &m, &why))
		return;
	offset = m.children_offset;
	for (unsigned i = 0; i < m.child_count && list->count < MAX_TABLES; i++) {
		struct prepared_ref *ref;
		struct batch_child child;

		if (!message_batch_child(rq->data, rq->len, &offset, &child))
			return;
		if (!child.is_prepared) {
			add_text(list, child.text, m.keyspace.len > 0 ? m.keyspace : client_keyspace(c));
			continue;
		}
		ref = prepared_find(&c->worker->prepared, child.id);
		if (!ref)
			continue;
		add_prepared(list, ref->entry);
		prepared_release(ref);
	}
}

static void find_subjects(struct request *rq, struct subjects *list)
{
	struct client *c = rq->client;
	struct query_message m;
	uint32_t offset = 0;
	const char *why;

	list->count = 0;
	if (rq->prepared) {
		add_prepared(list, rq->prepared->entry);
		return;
	}
	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why))
		return;
	if (rq->opcode == OP_BATCH)
		add_children(list, rq, offset);
	else if (message_parse_query(rq->data, rq->len, offset, c->version, &m, &why))
		add_text(list, m.text, m.params.keyspace.len > 0 ? m.params.keyspace : client_keyspace(c));
}

/* ---- what happened ---- */

/* For log lines: "insert of ks.t", no values. */
static const char *describe(const struct request *rq, const struct subjects *list, char out[256])
{
	const struct subject *s = &list->items[0];
	const char *kind = rq->opcode == OP_BATCH ? "batch" : list->count > 0 ? statement_kind_name(s->kind) : "write";

	if (list->count == 0 || s->table.len == 0)
		snprintf(out, 256, "%s", kind);
	else
		snprintf(out, 256, "%s of %.*s.%.*s%s", kind, SV_ARG(statement_name_view(&s->keyspace)),
			 SV_ARG(statement_name_view(&s->table)), list->count > 1 ? " and others" : "");
	return out;
}

/* A statement of an unknown table is counted, too. */
static struct divergence_counts *lock_subject(struct divergences *d, const struct subjects *list, unsigned i)
{
	if (list->count == 0)
		return divergences_lock(d, SV(""), SV(""));
	return divergences_lock(d, statement_name_view(&list->items[i].keyspace),
				statement_name_view(&list->items[i].table));
}

static void note_conditional(struct request *rq, enum cluster_id applied)
{
	struct divergences *d = &rq->client->worker->proxy->divergences;
	const enum cluster_id refused = cluster_id_other(applied);
	struct subjects list;
	char text[256];

	find_subjects(rq, &list);
	for (unsigned i = 0; i < MAX(list.count, 1u); i++) {
		lock_subject(d, &list, i)->conditional++;
		divergences_unlock(d);
	}
	log_limited(LOG_WARN, "a conditional %s was applied on %s at %s, but not on %s at %s",
		    describe(rq, &list, text), cluster_id_name(applied), request_node_name(rq, applied),
		    cluster_id_name(refused), request_node_name(rq, refused));
}

static void note_partial(struct request *rq, enum cluster_id missing, bool is_certain, struct strview why)
{
	struct divergences *d = &rq->client->worker->proxy->divergences;
	const enum cluster_id applied = cluster_id_other(missing);
	struct subjects list;
	char text[256];

	find_subjects(rq, &list);
	for (unsigned i = 0; i < MAX(list.count, 1u); i++) {
		lock_subject(d, &list, i)->partial[missing][is_certain]++;
		divergences_unlock(d);
	}
	log_limited(LOG_WARN, "a %s was applied on %s at %s, but %s missing on %s at %s: %.*s",
		    describe(rq, &list, text), cluster_id_name(applied), request_node_name(rq, applied),
		    is_certain ? "is" : "may be", cluster_id_name(missing), request_node_name(rq, missing),
		    SV_ARG(why));
}

/* Errors of a node that had not begun to write. */
static bool is_before_writing(uint32_t code)
{
	switch (code) {
	case CQL_ERR_PROTOCOL_ERROR:
	case CQL_ERR_BAD_CREDENTIALS:
	case CQL_ERR_UNAVAILABLE:
	case CQL_ERR_OVERLOADED:
	case CQL_ERR_IS_BOOTSTRAPPING:
	case CQL_ERR_SYNTAX_ERROR:
	case CQL_ERR_UNAUTHORIZED:
	case CQL_ERR_INVALID:
	case CQL_ERR_CONFIG_ERROR:
	case CQL_ERR_ALREADY_EXISTS:
	case CQL_ERR_UNPREPARED:
		return true;
	default:
		return false;
	}
}

/* ---- [applied] ---- */

/* Reads the metadata up to the rows: true when the first column may be the decision of a conditional write. */
static bool skip_metadata(struct reader *r, uint8_t version)
{
	const uint32_t flags = read_int(r);
	const uint32_t columns = read_int(r);
	bool is_applied = columns > 0;

	if (flags & ROWS_HAS_MORE_PAGES)
		read_bytes(r);
	if ((flags & ROWS_METADATA_CHANGED) && version_has(version, VERSION_METADATA_ID))
		read_short_bytes(r);
	if (flags & ROWS_NO_METADATA) /* the statement is conditional, so it is this column */
		return is_applied && reader_ok(r);
	if (flags & ROWS_GLOBAL_TABLES_SPEC) {
		read_string(r);
		read_string(r);
	}
	for (uint32_t i = 0; i < columns && reader_ok(r); i++) {
		struct strview name;
		const uint8_t *type;

		if (!(flags & ROWS_GLOBAL_TABLES_SPEC)) {
			read_string(r);
			read_string(r);
		}
		name = read_string(r);
		type = r->p;
		if (!rows_skip_type(r))
			return false;
		if (i == 0)
			is_applied = sv_equal(name, SV("[applied]")) && get_u16(type) == TYPE_BOOLEAN;
	}
	return is_applied && reader_ok(r);
}

/* The decision of a conditional write (of a batch: of all its rows, which have the same); -1: the answer has none. */
static int applied_in(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version)
{
	struct reader r = reader_from(body, len, offset);
	struct bytesview v;

	if (read_int(&r) != RESULT_ROWS || !skip_metadata(&r, version) || read_int(&r) == 0)
		return -1;
	v = read_bytes(&r);
	return reader_ok(&r) && !v.is_null && v.len == 1 ? v.p[0] != 0 : -1;
}

static int applied_of(struct request *rq, unsigned cluster, const struct frame *f)
{
	struct client *c = rq->client;
	uint32_t offset = 0;
	int applied = -1;
	const char *why;
	struct plain p;

	if (f->opcode != OP_RESULT ||
	    !plain_open(&p, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why))
		return -1;
	if (message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why))
		applied = applied_in(p.data, p.len, offset, f->version);
	plain_close(&p);
	return applied;
}

static void check_conditional(struct request *rq, const struct frame answers[CLUSTER_COUNT])
{
	const int origin = applied_of(rq, CLUSTER_ORIGIN, &answers[CLUSTER_ORIGIN]);
	const int target = applied_of(rq, CLUSTER_TARGET, &answers[CLUSTER_TARGET]);

	if (origin >= 0 && target >= 0 && origin != target)
		note_conditional(rq, origin ? CLUSTER_ORIGIN : CLUSTER_TARGET);
}

/* ---- for answer.c and failure.c ---- */

void divergence_check(struct request *rq, const struct frame answers[CLUSTER_COUNT])
{
	const bool origin = rq->legs[CLUSTER_ORIGIN].outcome == OUTCOME_OK;
	const bool target = rq->legs[CLUSTER_TARGET].outcome == OUTCOME_OK;

	if (origin && target) {
		if (rq->verdict.write_type == WRITE_CAS ||
		    (rq->opcode == OP_BATCH && answers[CLUSTER_ORIGIN].length > VOID_MAX &&
		     answers[CLUSTER_TARGET].length > VOID_MAX))
			check_conditional(rq, answers);
	} else if (origin || target) {
		const enum cluster_id missing = origin ? CLUSTER_TARGET : CLUSTER_ORIGIN;
		const uint32_t code = rq->legs[missing].error_code;

		note_partial(rq, missing, is_before_writing(code), sv_from(cql_error_name(code)));
	}
}

void divergence_unanswered(struct request *rq, struct strview why)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (rq->legs[i].outcome == OUTCOME_PENDING &&
		    rq->legs[cluster_id_other((enum cluster_id)i)].outcome == OUTCOME_OK)
			note_partial(rq, (enum cluster_id)i, false, why);
	}
}
