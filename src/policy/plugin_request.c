/* plugin_request.c - see plugin_request.h */
#include "policy/plugin_request.h"

#include <stdlib.h>
#include <string.h>

#include "cql/rows.h"
#include "policy/plugin_chain.h"
#include "policy/plugin_set.h"
#include "proxy/hooked.h"
#include "proxy/request.h"

/* What of a request is in the scratch: bits of hooks_request.found. */
#define KNOWS_INFO 1u
#define KNOWS_STATEMENT 2u
#define KNOWS_MESSAGE 4u
#define KNOWS_BAD_MESSAGE 8u /* its body cannot be read */

/* The protocol's numbers are the interface's. */
_Static_assert(CQLFERRY_ORIGIN == CLUSTER_ORIGIN && CQLFERRY_TARGET == CLUSTER_TARGET, "clusters");
_Static_assert(CQLFERRY_CLUSTERS == CLUSTER_COUNT, "clusters");
_Static_assert(CQLFERRY_TO_ORIGIN == TO_ORIGIN && CQLFERRY_TO_TARGET == TO_TARGET, "routes");
_Static_assert(CQLFERRY_READ == POLICY_READ && CQLFERRY_WRITE == POLICY_WRITE && CQLFERRY_SCHEMA == POLICY_SCHEMA &&
		       CQLFERRY_USE == POLICY_USE && CQLFERRY_UNKNOWN == POLICY_UNKNOWN,
	       "kinds");
_Static_assert(CQLFERRY_ANSWERED == HOOKS_ANSWERED && CQLFERRY_FAILED == HOOKS_FAILED &&
		       CQLFERRY_REFUSED == HOOKS_REFUSED && CQLFERRY_DENIED == HOOKS_WAS_DENIED &&
		       CQLFERRY_LOCAL == HOOKS_LOCAL && CQLFERRY_ABANDONED == HOOKS_ABANDONED,
	       "outcomes");
_Static_assert(CQLFERRY_BY_DEFAULT == DECIDED_BY_DEFAULT && CQLFERRY_BY_PROTOCOL == DECIDED_BY_PROTOCOL &&
		       CQLFERRY_BY_RULE == DECIDED_BY_RULE && CQLFERRY_BY_SCRIPT == DECIDED_BY_HOOK &&
		       CQLFERRY_BY_PLUGIN == DECIDED_BY_PLUGIN,
	       "deciders");
_Static_assert(CQLFERRY_PART_UNSENT == OUTCOME_NONE && CQLFERRY_PART_PENDING == OUTCOME_PENDING &&
		       CQLFERRY_PART_OK == OUTCOME_OK && CQLFERRY_PART_ERROR == OUTCOME_ERROR,
	       "parts");

struct plugin_scratch {
	struct cqlferry_request_info info;
	/* KNOWS_MESSAGE: of QUERY, PREPARE and EXECUTE. */
	struct strview text;
	struct strview keyspace; /* len 0: the message names none */
	struct query_params params;
	struct batch_message batch;
	/* KNOWS_STATEMENT, unless it is a prepared one's. */
	struct cqlferry_statement statement;
	struct cqlferry_table views[STATEMENT_TABLES_MAX];
	struct statement_tables tables;
	/* The texts of a batch. */
	char *joined;
	size_t joined_len, joined_size;
};

struct plugin_scratch *plugin_scratch_new(void)
{
	return xcalloc(1, sizeof(struct plugin_scratch));
}

void plugin_scratch_free(struct plugin_scratch *s)
{
	free(s->joined);
	free(s);
}

static inline struct hooks_request *of(struct cqlferry_request *request)
{
	struct hooks_request *rq = (struct hooks_request *)request;

	hooked_know(rq);
	return rq;
}

static struct plugin_scratch *scratch_of(const struct hooks_request *rq)
{
	return plugin_chain_scratch(rq->client->worker->hooks);
}

static struct cqlferry_text text_of(struct strview s)
{
	return (struct cqlferry_text){ .data = s.p, .length = s.len };
}

struct cqlferry_client *plugin_request_client(const struct cqlferry_request *request)
{
	return (struct cqlferry_client *)((const struct hooks_request *)request)->client;
}

/* ---- the message ---- */

static bool parse(const struct hooks_request *rq, struct plugin_scratch *s)
{
	const uint8_t version = rq->client->version;
	struct execute_message execute;
	struct prepare_message prepare;
	struct query_message query;
	const char *why;

	s->text = s->keyspace = SV("");
	s->params = (struct query_params){ .value_count = 0 };
	if (!rq->body)
		return false;
	switch (rq->opcode) {
	case OP_QUERY:
		if (!message_parse_query(rq->body, rq->len, rq->offset, version, &query, &why))
			return false;
		s->text = query.text;
		s->params = query.params;
		s->keyspace = query.params.keyspace;
		return true;
	case OP_PREPARE:
		if (!message_parse_prepare(rq->body, rq->len, rq->offset, version, &prepare, &why))
			return false;
		s->text = prepare.text;
		s->keyspace = prepare.keyspace;
		return true;
	case OP_EXECUTE:
		if (!message_parse_execute(rq->body, rq->len, rq->offset, version, &execute, &why))
			return false;
		s->params = execute.params;
		return true;
	default:
		if (!message_parse_batch(rq->body, rq->len, rq->offset, version, &s->batch, &why))
			return false;
		s->keyspace = s->batch.keyspace;
		return true;
	}
}

/* False when it cannot be read; text and keyspace are empty then. */
static bool know_message(struct hooks_request *rq)
{
	if (!(rq->found & (KNOWS_MESSAGE | KNOWS_BAD_MESSAGE)))
		rq->found |= parse(rq, scratch_of(rq)) ? KNOWS_MESSAGE : KNOWS_BAD_MESSAGE;
	return rq->found & KNOWS_MESSAGE;
}

/* What unqualified names mean. */
static struct strview keyspace_of(const struct hooks_request *rq, const struct plugin_scratch *s)
{
	return s->keyspace.len > 0 ? s->keyspace : client_keyspace(rq->client);
}

/* The children of a batch, one after the other. */
struct child {
	struct strview text;
	struct strview keyspace;
	struct prepared_ref *ref; /* NULL: it is a text */
};

/* Calls back for each; those that are prepared and not known any more have no text. */
static void each_child(const struct hooks_request *rq, struct plugin_scratch *s,
		       void (*each)(struct plugin_scratch *s, const struct child *child))
{
	uint32_t offset = s->batch.children_offset;

	for (unsigned i = 0; i < s->batch.child_count; i++) {
		struct child child = { .keyspace = keyspace_of(rq, s) };
		struct batch_child m;

		if (!message_batch_child(rq->body, rq->len, &offset, &m))
			return;
		child.text = m.text;
		if (m.is_prepared) {
			child.text = SV("");
			child.ref = prepared_find(&rq->client->worker->prepared, m.id);
		}
		if (child.ref) {
			const struct prepared *p = child.ref->entry;

			child.text = (struct strview){ p->text, p->text_len };
			child.keyspace = sv_from(p->keyspace ? p->keyspace : "");
		}
		each(s, &child);
		if (child.ref)
			prepared_release(child.ref);
	}
}

/* ---- info ---- */

static void note_condition(struct plugin_scratch *s, const struct child *child)
{
	struct statement_facts facts;

	statement_scan(child->text, &facts);
	s->info.is_lwt |= facts.is_conditional;
}

/* Of what goes to a cluster the verdict says it. */
static bool is_lwt(struct hooks_request *rq, struct plugin_scratch *s)
{
	struct statement_facts facts;

	if (likely(rq->opcode != OP_BATCH && rq->opcode != OP_PREPARE))
		return rq->verdict && rq->verdict->write_type == WRITE_CAS;
	if (!know_message(rq))
		return false;
	if (rq->opcode == OP_BATCH) {
		s->info.is_lwt = 0;
		each_child(rq, s, note_condition);
		return s->info.is_lwt;
	}
	statement_scan(s->text, &facts);
	return facts.is_conditional;
}

static const char *verb_word(uint8_t verb)
{
	static const char *const words[] = {
#define X(name, word) [STATEMENT_##name] = #name,
		STATEMENT_KINDS(X)
#undef X
	};

	return verb == STATEMENT_UNKNOWN ? "" : words[verb];
}

const struct cqlferry_request_info *plugin_request_info(struct cqlferry_request *request)
{
	struct hooks_request *rq = of(request);
	struct plugin_scratch *s = scratch_of(rq);

	if (rq->found & KNOWS_INFO)
		return &s->info;
	rq->found |= KNOWS_INFO;
	s->info = (struct cqlferry_request_info){
		.size = sizeof(s->info),
		.opcode = rq->opcode,
		.kind = rq->kind,
		.is_prepared = rq->is_prepared,
		.consistency = rq->consistency,
		.body_size = rq->len,
		.number = rq->number,
		.verb = verb_word(rq->verb),
	};
	s->info.is_lwt = is_lwt(rq, s);
	return &s->info;
}

/* ---- the statement ---- */

static void view_tables(const struct statement_tables *tables, struct cqlferry_table *views)
{
	for (unsigned i = 0; i < tables->count; i++) {
		views[i].keyspace = text_of(statement_name_view(&tables->items[i].keyspace));
		views[i].table = text_of(statement_name_view(&tables->items[i].table));
	}
}

static void add_tables(struct statement_tables *tables, struct strview text, struct strview keyspace)
{
	struct statement_facts facts;

	statement_scan(text, &facts);
	statement_tables_scan(text, &facts, keyspace, tables);
	tables->is_incomplete |= facts.kind == STATEMENT_UNKNOWN;
}

/* What lasts as long as the prepared statement: one block. */
struct prepared_statement {
	struct cqlferry_statement statement;
	struct cqlferry_table views[];
};

static const struct cqlferry_statement *statement_of_prepared(struct prepared_ref *ref, struct plugin_scratch *s)
{
	const struct prepared *p = ref->entry;
	const struct strview keyspace = sv_from(p->keyspace ? p->keyspace : "");
	struct prepared_statement *kept;
	struct statement_tables *tables;
	size_t views, names;

	statement_tables_clear(&s->tables);
	add_tables(&s->tables, (struct strview){ p->text, p->text_len }, keyspace);
	views = sizeof(*kept) + s->tables.count * sizeof(kept->views[0]);
	names = offsetof(struct statement_tables, items) + s->tables.count * sizeof(s->tables.items[0]);
	kept = xmalloc(views + names);
	tables = (struct statement_tables *)((uint8_t *)kept + views);
	memcpy(tables, &s->tables, names);
	view_tables(tables, kept->views);
	kept->statement = (struct cqlferry_statement){
		.size = sizeof(kept->statement),
		.table_count = tables->count,
		.text = { p->text, p->text_len },
		.keyspace = text_of(keyspace),
		.tables = kept->views,
		.is_incomplete = tables->is_incomplete,
		.is_prepared = 1,
	};
	ref->statement = kept;
	return &kept->statement;
}

/* Adds as much of the text as there is room for. */
static void join(struct plugin_scratch *s, struct strview text)
{
	const size_t room = PLUGIN_BATCH_TEXT_MAX - s->joined_len;

	if (text.len > room) {
		text.len = room;
		s->tables.is_incomplete = true;
	}
	if (s->joined_len + text.len > s->joined_size) {
		s->joined_size = MIN(MAX(s->joined_size * 2, s->joined_len + text.len + 512), PLUGIN_BATCH_TEXT_MAX);
		s->joined = xrealloc(s->joined, s->joined_size);
	}
	if (text.len > 0)
		memcpy(s->joined + s->joined_len, text.p, text.len);
	s->joined_len += text.len;
}

static void note_child(struct plugin_scratch *s, const struct child *child)
{
	if (s->joined_len > 0)
		join(s, SV("; "));
	join(s, child->text);
	add_tables(&s->tables, child->text, child->keyspace);
}

const struct cqlferry_statement *plugin_request_statement(struct cqlferry_request *request)
{
	struct hooks_request *rq = of(request);
	struct plugin_scratch *s = scratch_of(rq);
	bool is_read;

	if (likely(rq->prepared != NULL)) {
		const struct prepared_statement *kept = rq->prepared->statement;

		return likely(kept != NULL) ? &kept->statement : statement_of_prepared(rq->prepared, s);
	}
	if (rq->found & KNOWS_STATEMENT)
		return &s->statement;
	rq->found |= KNOWS_STATEMENT;
	statement_tables_clear(&s->tables);
	is_read = know_message(rq);
	if (is_read && rq->opcode == OP_BATCH) {
		s->joined_len = 0;
		each_child(rq, s, note_child);
		s->text = (struct strview){ s->joined, s->joined_len };
	} else if (is_read && rq->opcode != OP_EXECUTE) {
		add_tables(&s->tables, s->text, keyspace_of(rq, s));
	} else {
		s->tables.is_incomplete = true;
	}
	view_tables(&s->tables, s->views);
	s->statement = (struct cqlferry_statement){
		.size = sizeof(s->statement),
		.table_count = s->tables.count,
		.text = text_of(s->text),
		.keyspace = text_of(keyspace_of(rq, s)),
		.tables = s->views,
		.is_incomplete = s->tables.is_incomplete,
	};
	return &s->statement;
}

/* Asked by who only counts, for each request: the rest of hooked_know() is not worth it. */
static struct prepared_ref *prepared_of(const struct hooks_request *rq)
{
	if (rq->is_known)
		return rq->prepared;
	return rq->frame ? rq->frame->prepared : rq->rq->prepared;
}

uint64_t *plugin_request_slot(const struct cqlferry_host *host, struct cqlferry_request *request)
{
	const struct plugin_instance *p = plugin_of(host);
	struct prepared_ref *ref = prepared_of((const struct hooks_request *)request);

	if (!ref)
		return NULL;
	if (unlikely(!ref->slots))
		ref->slots = xcalloc(p->set->count, sizeof(*ref->slots));
	return &ref->slots[p->index];
}

/* ---- values and rows ---- */

bool plugin_request_value(struct cqlferry_request *request, uint32_t index, struct cqlferry_text *value)
{
	struct hooks_request *rq = of(request);
	struct plugin_scratch *s = scratch_of(rq);
	struct bytesview bytes;
	struct strview name;

	/* Of a batch and of PREPARE there are none in `params`. */
	if (!know_message(rq) || !message_value(rq->body, rq->len, &s->params, index, &name, &bytes))
		return false;
	*value = (struct cqlferry_text){ .data = bytes.is_null ? NULL : (const char *)bytes.p,
					 .length = bytes.is_null ? 0 : bytes.len };
	return true;
}

int64_t plugin_request_rows(struct cqlferry_request *request)
{
	struct hooks_request *rq = of(request);
	const struct hooks_answer *a = rq->answer;
	uint32_t offset = 0, count = 0;
	bool is_read;
	struct plain p;
	const char *why;

	if (!a || !a->frame || a->frame->opcode != OP_RESULT)
		return -1;
	if (!plain_open(&p, &rq->client->worker->loop, client_leg_compression(rq->client, a->answered_by), a->frame,
			UINT32_MAX, &why))
		return -1;
	is_read = message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why) &&
		  rows_count(p.data, p.len, offset, a->frame->version, &count);
	plain_close(&p);
	return is_read ? (int64_t)count : -1;
}

/* ---- what became of it ---- */

/* That of the answer that came first; the other one's is this moment's. */
static inline uint64_t end_of_part(const struct request *rq, unsigned cluster, uint64_t now)
{
	return rq->has_kept && rq->kept.cluster == cluster ? rq->kept.came_ns : now;
}

static inline void describe_part(const struct request *rq, unsigned cluster, uint64_t now, uint64_t came_ns,
				 struct cqlferry_response *out)
{
	const struct request_leg *leg = &rq->legs[cluster];
	struct cqlferry_part *part = &out->parts[cluster];

	part->state = leg->outcome;
	part->error_code = 0;
	part->duration_ns = 0;
	if (leg->outcome == OUTCOME_NONE)
		return;
	out->to |= (uint8_t)(1u << cluster);
	if (unlikely(leg->outcome == OUTCOME_PENDING))
		return;
	part->duration_ns = end_of_part(rq, cluster, now) - came_ns;
	if (unlikely(leg->outcome == OUTCOME_ERROR))
		part->error_code = leg->error_code;
}

void plugin_request_describe(const struct hooks_request *about, struct cqlferry_response *out)
{
	const uint64_t now = loop_now(&about->client->worker->loop);
	const struct hooks_answer *a = about->answer;
	const struct request *rq = about->rq;

	out->size = sizeof(*out);
	out->outcome = (uint8_t)a->outcome;
	out->opcode = a->opcode;
	out->to = 0;
	out->answered_by = a->answered_by;
	out->error_code = a->error_code;
	out->decided_by = a->decided_by;
	out->duration_ns = now - about->came_ns;
	out->decider = a->decider;
	out->error = text_of(a->error);
	if (unlikely(!rq)) {
		out->tag = NULL;
		memset(out->parts, 0, sizeof(out->parts));
		return;
	}
	out->tag = rq->tag_name;
	describe_part(rq, CLUSTER_ORIGIN, now, about->came_ns, out);
	describe_part(rq, CLUSTER_TARGET, now, about->came_ns, out);
}
