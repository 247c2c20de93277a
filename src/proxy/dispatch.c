/*
 * dispatch.c - see dispatch.h
 *
 * Errors here are answers: the connection goes on after a body that cannot be
 * read, since the frame around it was whole.
 */
#include "proxy/dispatch.h"

#include "proxy/amend.h"
#include "proxy/arrival.h"
#include "proxy/failure.h"
#include "proxy/hooked.h"
#include "proxy/local.h"
#include "proxy/memory.h"
#include "proxy/mirror_link.h"
#include "proxy/paging.h"
#include "proxy/policy.h"
#include "proxy/prepare.h"
#include "proxy/replace.h"
#include "proxy/reply.h"
#include "proxy/request.h"
#include "proxy/rules.h"
#include "proxy/supported.h"

/* What is no read is counted as a write wherever it goes, and a read by the cluster whose answer the client gets. */
static ALWAYS_INLINE void set_type(struct request *rq)
{
	const struct verdict *v = &rq->verdict;

	if (v->class == CLASS_READ) {
		rq->type = v->answer_from == CLUSTER_ORIGIN ? REQUEST_READS_ORIGIN : REQUEST_READS_TARGET;
		return;
	}
	rq->type = REQUEST_WRITES;
}

/* A batch whose tables have different routes; that of an EXECUTE is where it was prepared. */
static void refuse_split(struct request *rq, struct strview text, struct strview keyspace)
{
	const struct rule_list *rules = &rq->client->worker->settings->rules;
	char why[FAILURE_TEXT_MAX];

	if (rq->prepared) {
		const struct prepared *entry = rq->prepared->entry;

		text = (struct strview){ entry->text, entry->text_len };
		keyspace = sv_from(entry->keyspace ? entry->keyspace : "");
	}
	failure_unsent(rq, CQL_ERR_INVALID, "%s", rules_describe_split_text(rules, text, keyspace, why, sizeof(why)));
}

/* ---- paging ---- */

/* A page other than the first comes from the cluster that made the state, whatever the routing says now. */
static void follow_paging_state(struct request *rq, const struct query_params *params)
{
	enum cluster_id cluster;

	/* The secondary cannot go on where the primary stopped, and pages that come unasked have no place to go to. */
	if (!params->paging_state.is_null || params->flags & QUERY_CONTINUOUS_PAGING)
		rq->verdict.mirror = MIRROR_NONE;
	/* One without our mark was made before the proxy stood here, by the cluster that reads go to anyway. */
	if (!paging_mark_read(params->paging_state, &cluster))
		return;
	rq->verdict.decided_by = DECIDED_BY_PROTOCOL;
	rq->paging_offset = params->paging_state_offset;
	rq->paging_len = params->paging_state.len;
	if (rq->verdict.class == CLASS_READ) {
		rq->verdict.to = (uint8_t)(1u << cluster);
		rq->verdict.answer_from = (uint8_t)cluster;
	}
}

/* A trace is read from the cluster that made its id. `text` is empty for EXECUTE. */
static void follow_trace(const struct arrival *a, struct request *rq, struct strview text,
			 const struct query_params *params)
{
	struct proxy *proxy = a->c->worker->proxy;
	enum cluster_id maker;

	if (!traces_asked_for(&proxy->traces, text, a->plain.data, a->plain.len, params, &maker))
		return;
	rq->verdict.to = (uint8_t)(1u << maker);
	rq->verdict.answer_from = (uint8_t)maker;
}

/* ---- one function per opcode ---- */

/* What is rare enough to cost others one branch. False when the request has been answered. */
static bool follow_verdict(const struct arrival *a, struct request *rq, struct strview text,
			   const struct query_params *params)
{
	if (rq->verdict.is_split) {
		refuse_split(rq, text, params->keyspace.len > 0 ? params->keyspace : client_keyspace(rq->client));
		return false;
	}
	follow_trace(a, rq, text, params);
	return true;
}

/* What QUERY and EXECUTE have in common once they are routed; `text` is empty for an EXECUTE. */
static ALWAYS_INLINE void start_statement(struct arrival *a, struct request *rq, struct strview text,
					  const struct query_params *params)
{
	if (unlikely(rq->verdict.is_of_traces | rq->verdict.is_split) && !follow_verdict(a, rq, text, params))
		return;
	follow_paging_state(rq, params);
	if (unlikely(params->flags & QUERY_CONTINUOUS_PAGING))
		paging_begin(rq, params);
	set_type(rq);
	if (unlikely(a->amends))
		amend_request(a, rq);
	if (unlikely(rq->verdict.route != NULL))
		route_extras_start(rq, params->consistency_offset);
	else
		request_start(rq);
}

/* Whether it matters that a text depends on the connection's keyspace: on shared ones, and where the clusters differ. */
static bool heeds_keyspace(const struct client *c)
{
	return client_is_pooled(c) || unlikely(c->split != NULL);
}

/* What this text means, if its names do not say so, depends on the connection's keyspace. */
static void need_keyspace(struct request *rq, bool is_independent)
{
	if (is_independent || !heeds_keyspace(rq->client))
		return;
	rq->needs_keyspace = true;
	rq->in_keyspace = rq->client->lane_keyspace;
}

/* A USE goes over a connection that is in that keyspace already, so that no other client's changes. */
static void begin_use(struct request *rq, const struct statement_name *name)
{
	if (!client_is_pooled(rq->client))
		return;
	rq->keyspace = xstrndup(name->text, name->len);
	rq->in_keyspace = rq->keyspace;
	rq->needs_keyspace = true;
	rq->client->waits_for_use = true;
}

/* What unqualified names mean; a view into the body or the client. */
static struct strview query_keyspace(const struct client *c, const struct query_message *m)
{
	return m->params.keyspace.len > 0 ? m->params.keyspace : client_keyspace(c);
}

static void dispatch_query(struct arrival *a)
{
	struct client *c = a->c;
	const struct settings *settings = c->worker->settings;
	struct statement_facts facts;
	struct query_message m;
	struct strview keyspace;
	struct verdict verdict;
	struct request *rq;
	const char *why;

	if (unlikely(!message_parse_query(a->plain.data, a->plain.len, a->offset, c->version, &m, &why))) {
		arrival_refuse(a, why);
		return;
	}
	statement_scan(m.text, &facts);
	keyspace = query_keyspace(c, &m);
	verdict = route_statement(settings, m.text, &facts, keyspace);
	if (unlikely(a->hooked != NULL) && !hooked_query(a, &m.params, &facts, &verdict))
		return;
	if (unlikely(verdict.to == 0)) {
		local_query(a, &verdict, m.text, &m.params);
		return;
	}
	/* In this order: amend.c notes places in the body. */
	if (unlikely(settings->replace_cql_functions)) {
		if (!replace_in_query(a, &m))
			return;
		keyspace = query_keyspace(c, &m);
	}
	if (unlikely(a->amends) &&
	    !amend_query(a, &m, amend_allows(m.text, &facts, keyspace, BOUND_UNKNOWN, a->amends)))
		return;
	rq = request_new(c, a->f, &a->plain);
	if (!rq)
		return;
	rq->verdict = verdict;
	rq->consistency = m.params.consistency;
	if (unlikely(facts.kind == STATEMENT_USE))
		begin_use(rq, &facts.keyspace);
	else
		need_keyspace(rq, facts.is_qualified || m.params.keyspace.len > 0);
	if (unlikely(c->worker->policy != NULL) &&
	    !policy_on_query(rq, &m.params, m.text, &facts, query_keyspace(c, &m)))
		return;
	start_statement(a, rq, m.text, &m.params);
}

static void answer_unprepared(struct arrival *a, struct bytesview id)
{
	struct writer w;

	metric_add(&a->c->worker->metrics.prepared_misses, 1);
	writer_init(&w);
	error_write_unprepared(&w, id);
	client_send(a->c, a->f->stream, OP_ERROR, 0, w.data, w.len);
	writer_free(&w);
}

/* Nothing but USE is prepared and of this class: the keyspace is in its text. */
static void execute_use(struct request *rq)
{
	const struct prepared *entry = rq->prepared->entry;
	struct statement_facts facts;

	statement_scan((struct strview){ entry->text, entry->text_len }, &facts);
	if (facts.kind == STATEMENT_USE)
		begin_use(rq, &facts.keyspace);
}

static void dispatch_execute(struct arrival *a)
{
	struct client *c = a->c;
	struct worker *worker = c->worker;
	const struct verdict *verdict;
	struct prepared_ref *ref;
	struct execute_message m;
	struct request *rq;
	const char *why;

	if (unlikely(!message_parse_execute(a->plain.data, a->plain.len, a->offset, c->version, &m, &why))) {
		arrival_refuse(a, why);
		return;
	}
	ref = prepared_find(&worker->prepared, m.id);
	if (unlikely(!ref)) {
		answer_unprepared(a, m.id);
		return;
	}
	verdict = &ref->verdict;
	if (unlikely(a->hooked != NULL) && !hooked_execute(a, ref, &m.params, &verdict)) {
		prepared_release(ref);
		return;
	}
	if (unlikely(ref->entry->verdict.to == 0)) {
		local_execute(a, ref, &m);
		prepared_release(ref);
		return;
	}
	if (unlikely(ref->entry->generated) && !replace_in_execute(a, ref->entry->generated, &m)) {
		prepared_release(ref);
		return;
	}
	if (unlikely(a->amends) && !amend_execute(a, &m, ref->allows)) {
		prepared_release(ref);
		return;
	}
	rq = request_new(c, a->f, &a->plain);
	if (!rq) {
		prepared_release(ref);
		return;
	}
	rq->prepared = ref;
	rq->lacks_ids = ref->entry->is_one_sided;
	rq->verdict = *verdict;
	rq->consistency = m.params.consistency;
	rq->id_offset = m.id_offset;
	rq->values_offset = m.params.values_offset;
	rq->value_count = m.params.value_count;
	rq->values_are_named = (m.params.flags & QUERY_NAMES_FOR_VALUES) != 0;
	if (unlikely(rq->verdict.class == CLASS_CONTROL) && client_is_pooled(c))
		execute_use(rq);
	if (!version_has(c->version, VERSION_METADATA_ID) && (m.params.flags & QUERY_SKIP_METADATA))
		rq->flags_offset = m.params.flags_offset + m.params.flags_size - 1u;
	if (unlikely(ref->policy != NULL) && !policy_on_execute(rq, &m.params))
		return;
	start_statement(a, rq, SV(""), &m.params);
}

/* What the children of a BATCH have in common. */
struct children {
	bool has_prepared;
	uint8_t lack_on;    /* TO_* bits of the clusters on which one of them is not prepared */
	bool are_qualified; /* no text among them depends on the connection's keyspace; only known where that matters */
	uint8_t allows;     /* the ALLOWS_* bits that all of them have */
	bool are_known; /* none of a kind that the scanner does not know; only filled in for those who ask by table */
	struct statement_tables *tables; /* where they are added; NULL: nobody asks */
	bool by_rules;                   /* there are rules, so that `route` is filled in */
	struct route_children route;
};

static void note_tables(struct strview text, const struct statement_facts *facts, struct strview keyspace,
			struct children *out)
{
	out->are_known &= policy_kind_of(facts->kind) == POLICY_WRITE;
	statement_tables_scan(text, facts, keyspace, out->tables);
}

static void note_route(const struct settings *settings, struct strview text, const struct statement_facts *facts,
		       struct strview keyspace, struct children *out)
{
	const struct verdict verdict = route_statement(settings, text, facts, keyspace);

	route_add_child(&out->route, &verdict);
	out->route.is_undecided |= policy_kind_of(facts->kind) != POLICY_WRITE;
}

/* `keyspace` is what unqualified names mean. */
static void note_text(const struct arrival *a, struct strview text, struct strview keyspace, struct children *out)
{
	struct statement_facts facts;

	if (likely(!(a->amends & AMEND_TIMESTAMPS)) && !heeds_keyspace(a->c) && !out->tables && !out->by_rules) {
		out->allows = 0;
		return;
	}
	statement_scan(text, &facts);
	if (unlikely(out->tables != NULL))
		note_tables(text, &facts, keyspace, out);
	if (unlikely(out->by_rules))
		note_route(a->c->worker->settings, text, &facts, keyspace, out);
	out->are_qualified &= facts.is_qualified;
	out->allows &= a->amends & AMEND_TIMESTAMPS ? amend_allows(text, &facts, SV(""), BOUND_UNKNOWN, a->amends) : 0;
}

static void note_prepared(const struct settings *settings, const struct prepared *entry, struct children *out)
{
	const struct strview text = { entry->text, entry->text_len };
	const struct strview keyspace = sv_from(entry->keyspace ? entry->keyspace : "");
	struct statement_facts facts;

	statement_scan(text, &facts);
	note_tables(text, &facts, keyspace, out);
	if (out->by_rules)
		note_route(settings, text, &facts, keyspace, out);
}

/* Notes what a batch with this prepared child may do. False when it may not be in one, which then has been answered. */
static bool note_child(struct arrival *a, const struct prepared_ref *ref, struct children *out)
{
	out->lack_on |= prepared_lacks(ref->entry);
	out->allows &= ref->allows;
	if (unlikely(out->tables != NULL))
		note_prepared(a->c->worker->settings, ref->entry, out);
	else if (unlikely(out->by_rules))
		route_add_child(&out->route, &ref->verdict);
	if (likely(ref->entry->verdict.to != 0))
		return true;
	client_send_error(a->c, a->f->stream, CQL_ERR_INVALID, /* no cluster knows its id */
			  "a statement that the proxy answers itself (a read of a system table, a call of "
			  "InsightsRpc) cannot be a part of a batch");
	return false;
}

/* All prepared children must be known; the first unknown one is answered. `last` is released by the caller. */
static bool check_each_child(struct arrival *a, const struct batch_message *m, struct children *out,
			     struct prepared_last *last)
{
	uint32_t offset = m->children_offset;

	for (unsigned i = 0; i < m->child_count; i++) {
		const struct prepared_ref *ref;
		struct batch_child child;

		if (!message_batch_child(a->plain.data, a->plain.len, &offset, &child)) {
			arrival_refuse(a, "child statement");
			return false;
		}
		if (!child.is_prepared) {
			note_text(a, child.text, m->keyspace.len > 0 ? m->keyspace : client_keyspace(a->c), out);
			continue;
		}
		ref = prepared_find_again(&a->c->worker->prepared, child.id, last);
		if (!ref) {
			answer_unprepared(a, child.id);
			return false;
		}
		out->has_prepared = true;
		if (!last->is_same && !note_child(a, ref, out))
			return false;
	}
	return true;
}

static bool check_children(struct arrival *a, const struct batch_message *m, struct children *out)
{
	struct prepared_last last = { 0 };
	bool ok;

	out->route = (struct route_children){ .to = 0 };
	out->are_qualified = out->are_known = true;
	out->allows = m->child_count > 0 ? ALLOWS_TIMESTAMP : 0;
	ok = check_each_child(a, m, out, &last);
	prepared_last_release(&last);
	return ok;
}

/*
 * Fills in what is asked for by table. When rules give the children different
 * routes, the tables are wanted for the answer, before the body is changed.
 */
static bool look_at_children(struct arrival *a, const struct batch_message *m, struct statement_tables *tables,
			     struct children *out)
{
	statement_tables_clear(tables);
	out->by_rules = a->c->worker->settings->rules.count > 0;
	if (unlikely(a->c->worker->policy != NULL))
		out->tables = tables;
	if (!check_children(a, m, out))
		return false;
	if (likely(!out->route.is_split) || out->tables)
		return true;
	out->tables = tables;
	return check_children(a, m, out);
}

static void dispatch_batch(struct arrival *a)
{
	static const uint8_t types[] = {
		[BATCH_LOGGED] = WRITE_BATCH,
		[BATCH_UNLOGGED] = WRITE_UNLOGGED_BATCH,
		[BATCH_COUNTER] = WRITE_COUNTER,
	};
	struct client *c = a->c;
	struct batch_message m;
	struct children children = { 0 };
	struct statement_tables tables;
	char split[FAILURE_TEXT_MAX];
	struct request *rq;
	const char *why;

	if (!message_parse_batch(a->plain.data, a->plain.len, a->offset, c->version, &m, &why)) {
		arrival_refuse(a, why);
		return;
	}
	if (!look_at_children(a, &m, &tables, &children))
		return;
	if (unlikely(a->hooked != NULL) && !hooked_batch(a, &m, children.has_prepared))
		return;
	if (unlikely(c->worker->settings->replace_cql_functions) && !replace_in_batch(a, &m))
		return;
	if (unlikely(a->amends) && !amend_batch(a, &m, children.allows))
		return;
	rq = request_new(c, a->f, &a->plain);
	if (!rq)
		return;
	rq->verdict = route_both(c->worker->settings, CLASS_WRITE,
				 m.type < ARRAY_LEN(types) ? (enum write_type)types[m.type] : WRITE_SIMPLE);
	rq->consistency = m.consistency;
	rq->has_prepared_children = children.has_prepared;
	need_keyspace(rq, children.are_qualified || m.keyspace.len > 0);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) /* each child may have been lost */
		rq->legs[i].repairs_left = (uint16_t)MIN(m.child_count + 1u, UINT16_MAX);
	if (unlikely(children.by_rules))
		route_batch(c->worker->settings, &children.route, &rq->verdict);
	if (unlikely(a->hooked != NULL))
		hooked_route_batch(a, &rq->verdict);
	if (unlikely(c->worker->policy != NULL) && !policy_on_batch(rq, &tables, children.are_known))
		return;
	if (unlikely(rq->verdict.is_split)) {
		failure_unsent(rq, CQL_ERR_INVALID, "%s",
			       rules_describe_split(&c->worker->settings->rules, &tables, split, sizeof(split)));
		return;
	}
	rq->lacks_ids = (children.lack_on & rq->verdict.to) != 0;
	set_type(rq);
	if (unlikely(a->amends))
		amend_request(a, rq);
	if (unlikely(rq->verdict.route != NULL))
		route_extras_start(rq, m.consistency_offset);
	else
		request_start(rq);
}

/*
 * What drivers are told comes from the control connections (schema_events.h),
 * so nothing is sent to the clusters. In the zdm profile the nodes' own events
 * are passed on, from the connections of the client, unless these are shared.
 */
static void dispatch_register(struct arrival *a)
{
	struct request *rq;
	unsigned kinds;
	const char *why;

	if (!message_parse_register(a->plain.data + a->offset, a->plain.len - a->offset, &kinds, &why)) {
		arrival_refuse(a, why);
		return;
	}
	if (!settings_forward_events(a->c->worker->settings)) {
		client_listen(a->c, (uint8_t)kinds);
		client_send(a->c, a->f->stream, OP_READY, 0, NULL, 0);
		return;
	}
	rq = request_new(a->c, a->f, &a->plain);
	if (!rq)
		return;
	rq->verdict = route_both(a->c->worker->settings, CLASS_CONTROL, WRITE_SIMPLE);
	rq->events = (uint8_t)kinds;
	request_start(rq);
}

/* A heartbeat. The connections to the clusters are kept alive by it in the zdm profile, as ZDM does it. */
static void dispatch_options(struct arrival *a)
{
	const struct settings *settings = a->c->worker->settings;
	struct client *c = a->c;
	struct request *rq;

	if (settings->profile != PROFILE_ZDM) {
		for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
			if (c->server[i])
				server_keep_alive(c->server[i], ms_to_ns(settings->heartbeat_interval_ms));
		}
		mirror_link_keep_alive(c, ms_to_ns(settings->heartbeat_interval_ms));
		supported_send(c, a->f->stream, c->version);
		return;
	}
	rq = request_new(c, a->f, &a->plain);
	if (!rq)
		return;
	rq->verdict = route_options(settings);
	request_start(rq);
}

static void dispatch_by_opcode(struct arrival *a)
{
	switch (a->f->opcode) {
	case OP_QUERY:
		dispatch_query(a);
		return;
	case OP_EXECUTE:
		dispatch_execute(a);
		return;
	case OP_BATCH:
		dispatch_batch(a);
		return;
	case OP_PREPARE:
		prepare_dispatch(a);
		return;
	case OP_REGISTER:
		dispatch_register(a);
		return;
	case OP_OPTIONS:
		dispatch_options(a);
		return;
	case OP_REVISE:
		paging_revise(a);
		return;
	default: /* STARTUP, AUTH_RESPONSE */
		client_refuse(a->c, a->f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "%s on a connection that is ready", cql_opcode_name(a->f->opcode));
		return;
	}
}

static ALWAYS_INLINE bool check_header(struct client *c, const struct frame *f)
{
	if (unlikely(f->version != c->version)) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "frame of version %u on a connection that began with version %u", f->version, c->version);
		return false;
	}
	if (unlikely(f->stream < 0)) {
		client_send_error(c, f->stream, CQL_ERR_PROTOCOL_ERROR, "negative stream id: %d", f->stream);
		return false;
	}
	if (unlikely(client_stream_is_used(c, f->stream))) {
		client_send_error(c, f->stream, CQL_ERR_PROTOCOL_ERROR,
				  "stream id %d is in use: its earlier request has not been answered", f->stream);
		return false;
	}
	/* REVISE is about a request in flight, which has to end. */
	if (unlikely(c->is_draining) && f->opcode != OP_REVISE) {
		client_send_error(c, f->stream, CQL_ERR_OVERLOADED, "Shutting down, please retry on next host.");
		return false;
	}
	return true;
}

bool dispatch_check_header(struct client *c, const struct frame *f)
{
	return check_header(c, f);
}

/* The frame begins with a custom payload; false when it has been answered. */
static bool open_payload(struct arrival *a)
{
	const char *why;

	if (!version_has(a->c->version, VERSION_CUSTOM_PAYLOAD)) {
		arrival_refuse(a, "a custom payload, which came with protocol v4");
		return false;
	}
	if (!message_skip_preamble(a->plain.data, a->plain.len, a->plain.flags, false, &a->offset, &why)) {
		arrival_refuse(a, why);
		return false;
	}
	a->amends = a->c->worker->amends;
	return true;
}

/* A small body may stand for a large one: false when there is no memory for that and the frame is answered. */
static bool check_memory(struct client *c, const struct frame *f)
{
	const struct settings *settings = c->worker->settings;
	uint32_t len;

	if (!compression_plain_length((enum cql_compression)c->compression, f->body, f->length, &len) ||
	    len <= WIRE_LARGE || len > c->wire.max_frame || memory_takes_request(settings->memory_limit, len))
		return true;
	metric_add(&c->worker->metrics.memory_refused, 1);
	client_send_error(c, f->stream, CQL_ERR_OVERLOADED,
			  "no memory for a request of %u bytes once decompressed: memory_limit is %llu bytes; "
			  "nothing was sent",
			  len, (unsigned long long)settings->memory_limit);
	return false;
}

/* False when the frame is answered. */
static ALWAYS_INLINE bool open_frame(struct arrival *a)
{
	struct client *c = a->c;
	struct frame *f = a->f;
	const char *why;

	if (!check_header(c, f))
		return false;
	/* Inside segments the flag means nothing; some drivers set it (a gocql defect). */
	if (c->wire.in_framing != WIRE_PLAIN)
		f->flags &= (uint8_t)~FRAME_COMPRESSED;
	if (unlikely(f->flags & FRAME_COMPRESSED) && !check_memory(c, f))
		return false;
	if (likely(plain_open(&a->plain, &c->worker->loop, (enum cql_compression)c->compression, f, c->wire.max_frame,
			      &why)))
		return true;
	client_send_error(c, f->stream, CQL_ERR_PROTOCOL_ERROR, "%s: %s", cql_opcode_name(f->opcode), why);
	return false;
}

void dispatch_frame(struct client *c, struct frame *f)
{
	struct arrival a = { .c = c, .f = f, .hooked = c->worker->hooked };

	if (unlikely(a.hooked != NULL) && a.hooked->opened)
		a.plain = *a.hooked->opened;
	else if (!open_frame(&a))
		return;
	if (unlikely(a.hooked != NULL))
		a.hooked->arrival = &a;
	a.amends = c->worker->amends & (uint8_t)~AMEND_IDS_STRIP; /* of no concern without a payload */
	if (likely(!(a.plain.flags & FRAME_CUSTOM_PAYLOAD)) || open_payload(&a))
		dispatch_by_opcode(&a);
	plain_close(&a.plain);
}
