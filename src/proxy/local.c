/* local.c - see local.h */
#include "proxy/local.h"

#include "cql/rows.h"
#include "cql/version.h"
#include "proxy/local_trace.h"
#include "proxy/local_wait.h"
#include "proxy/traces.h"
#include "proxy/virtual.h"

/* More bound values than a statement of ours can have markers (select.h) are not even looked at. */
#define MAX_VIRTUAL_VALUES (SELECT_MAX_EXPRS + SELECT_MAX_RELATIONS)

struct virtual_values {
	struct bytesview value[MAX_VIRTUAL_VALUES];
	struct strview name[MAX_VIRTUAL_VALUES];
};

/* Where the answers come from: the snapshots of both clusters, held until source_fini(), and `reached_at`. */
static void source_init(struct virtual_source *s, const struct arrival *a, struct net_address *reached_at)
{
	struct proxy *proxy = a->c->worker->proxy;
	const struct settings *settings = a->c->worker->settings;
	const enum cluster_id id = settings->system_queries;

	client_local_address(a->c, reached_at);
	*s = (struct virtual_source){
		.settings = settings,
		.topology = cluster_topology(&proxy->clusters[id]),
		.other = cluster_topology(&proxy->clusters[cluster_id_other(id)]),
		.local_address = reached_at,
		.functions = &a->c->worker->functions,
		.schema = &proxy->schema,
		.now_ns = loop_now(&a->c->worker->loop),
	};
	/* With ready_when = primary that cluster may not have been reached yet. A client is ready, so the other has. */
	if (unlikely(!s->topology)) {
		s->topology = s->other;
		s->other = NULL;
	}
}

static void source_fini(struct virtual_source *s)
{
	topology_unref(s->topology);
	if (s->other)
		topology_unref(s->other);
}

/* A tracing id stands in front of the body (native protocol v5, section 2.2). */
static void send_answer(const struct arrival *a, uint8_t opcode, const uint8_t *body, uint32_t len)
{
	struct writer w;

	if (likely(!a->tracing_id)) {
		client_send(a->c, a->f->stream, opcode, 0, body, len);
		return;
	}
	writer_init(&w);
	write_raw(&w, a->tracing_id, TRACE_ID_LEN);
	write_raw(&w, body, len);
	client_send(a->c, a->f->stream, opcode, FRAME_TRACING, w.data, w.len);
	writer_free(&w);
}

static void send_written(const struct arrival *a, bool ok, const struct writer *w)
{
	send_answer(a, ok ? OP_RESULT : OP_ERROR, w->data, w->len);
}

/* ---- rows ---- */

static bool collect_values(const struct arrival *a, const struct query_params *params, struct virtual_values *v,
			   struct virtual_request *out)
{
	if (params->value_count > MAX_VIRTUAL_VALUES)
		return false;
	for (unsigned i = 0; i < params->value_count; i++) {
		if (!message_value(a->plain.data, a->plain.len, params, i, &v->name[i], &v->value[i]))
			return false;
	}
	out->values = v->value;
	out->names = params->flags & QUERY_NAMES_FOR_VALUES ? v->name : NULL;
	out->value_count = params->value_count;
	return true;
}

/* DSE's pages without being asked for are one page here, and so are those that are counted in bytes. */
static bool has_pages(const struct query_params *params)
{
	return !(params->flags & (QUERY_CONTINUOUS_PAGING | QUERY_PAGE_SIZE_BYTES));
}

/* Rows as the driver expects them: written in the form of v3 to v5, with one answer to one request. */
static void adapt_rows(const struct arrival *a, const struct query_params *params, struct writer *w)
{
	if (unlikely(version_has(a->c->version, VERSION_SHORT_COLLECTIONS)))
		rows_narrow_collections(w, 0);
	if (unlikely(params->flags & QUERY_CONTINUOUS_PAGING))
		rows_make_last_page(w, 0);
}

/* `metadata_id`: of an EXECUTE, else NULL. */
static void answer_rows(struct arrival *a, const struct virtual_query *q, const struct query_params *params,
			const struct bytesview *metadata_id)
{
	struct virtual_request rq = {
		.version = a->c->version,
		.page_size = has_pages(params) ? params->page_size : 0,
		.paging_state = params->paging_state,
		.is_execute = metadata_id != NULL,
		.result_metadata_id = metadata_id ? *metadata_id : (struct bytesview){ .is_null = true },
		/* Who changes the form of the rows afterwards has to know their types. */
		.skips_metadata = (params->flags & QUERY_SKIP_METADATA) &&
				  !version_has(a->c->version, VERSION_SHORT_COLLECTIONS),
	};
	struct virtual_source source;
	struct net_address reached_at;
	struct virtual_values v;
	struct writer w;
	bool ok;

	writer_init(&w);
	source_init(&source, a, &reached_at);
	if (collect_values(a, params, &v, &rq)) {
		ok = virtual_write_rows(q, &source, &rq, &w);
		if (ok)
			adapt_rows(a, params, &w);
	} else {
		error_write(&w, CQL_ERR_INVALID, SV("Invalid amount of bind variables"));
		ok = false;
	}
	send_written(a, ok, &w);
	source_fini(&source);
	writer_free(&w);
}

static bool is_insights(const struct verdict *verdict)
{
	return verdict->class == CLASS_CONTROL;
}

static void answer_void(const struct arrival *a)
{
	uint8_t body[4];

	put_u32(body, RESULT_VOID);
	send_answer(a, OP_RESULT, body, sizeof(body));
}

void local_query(struct arrival *a, const struct verdict *verdict, struct strview text,
		 const struct query_params *params)
{
	struct virtual_source source;
	struct net_address reached_at;
	struct virtual_query *q;
	struct writer w;

	if (is_insights(verdict)) {
		answer_void(a);
		return;
	}
	if (local_trace_begin(a, NULL))
		return;
	writer_init(&w);
	source_init(&source, a, &reached_at);
	q = virtual_query_new(text, &source, &w);
	source_fini(&source);
	if (!q)
		send_written(a, false, &w);
	else if (!local_wait_begin(a, q, NULL))
		answer_rows(a, q, params, NULL);
	virtual_query_free(q);
	writer_free(&w);
}

/* PREPARED without variables and columns (native protocol v5, section 4.2.5.4): what Cassandra says for a statement
 * that gives no rows. */
static void write_prepared_void(struct writer *w, uint8_t version, struct bytesview id)
{
	write_int(w, RESULT_PREPARED);
	write_short_bytes(w, id.p, (uint16_t)id.len);
	if (version_has(version, VERSION_METADATA_ID))
		write_short_bytes(w, id.p, (uint16_t)id.len);
	write_int(w, 0); /* flags and count of the variables */
	write_int(w, 0);
	if (version_has(version, VERSION_PK_INDEXES))
		write_int(w, 0); /* of the partition key's */
	write_int(w, ROWS_NO_METADATA);
	write_int(w, 0);
}

static bool write_prepared_rows(struct arrival *a, struct prepared *entry, struct strview text, struct writer *w)
{
	struct virtual_source source;
	struct net_address reached_at;
	bool ok;

	source_init(&source, a, &reached_at);
	entry->virtual_query = virtual_query_new(text, &source, w);
	ok = entry->virtual_query &&
	     virtual_write_prepared(entry->virtual_query, &source, a->c->version, prepared_client_id(entry), w);
	source_fini(&source);
	return ok;
}

void local_prepare(struct arrival *a, const struct verdict *verdict, struct strview text, struct strview keyspace)
{
	struct prepared *entry;
	struct writer w;
	bool has_id;
	bool ok = true;

	if (!is_insights(verdict) && local_trace_begin(a, NULL))
		return;
	entry = prepared_new(text, keyspace);
	/* No cluster knows it, so it gets an id as ZDM makes them. */
	has_id = prepared_id_digest(text, keyspace, &entry->id[CLUSTER_ORIGIN]);
	writer_init(&w);
	entry->verdict = *verdict;
	if (is_insights(verdict))
		write_prepared_void(&w, a->c->version, prepared_client_id(entry));
	else
		ok = write_prepared_rows(a, entry, text, &w);
	send_written(a, ok, &w);
	if (ok && has_id)
		prepared_insert(&a->c->worker->proxy->prepared, entry);
	else
		prepared_unref(entry);
	writer_free(&w);
}

void local_execute(struct arrival *a, struct prepared_ref *ref, const struct execute_message *m)
{
	const struct prepared *entry = ref->entry;

	if (is_insights(&entry->verdict))
		answer_void(a);
	else if (!local_trace_begin(a, ref) && !local_wait_begin(a, entry->virtual_query, ref))
		answer_rows(a, entry->virtual_query, &m->params, &m->result_metadata_id);
}

void local_again(struct arrival *a, struct prepared_ref *ref)
{
	static const struct verdict read = { .to = 0, .class = CLASS_READ };
	const uint8_t version = a->c->version;
	struct prepare_message prepare;
	struct execute_message execute;
	struct query_message query;
	const char *why;

	if (ref && message_parse_execute(a->plain.data, a->plain.len, a->offset, version, &execute, &why))
		local_execute(a, ref, &execute);
	else if (a->f->opcode == OP_PREPARE &&
		 message_parse_prepare(a->plain.data, a->plain.len, a->offset, version, &prepare, &why))
		local_prepare(a, &read, prepare.text,
			      prepare.keyspace.len > 0 ? prepare.keyspace : client_keyspace(a->c));
	else if (a->f->opcode == OP_QUERY &&
		 message_parse_query(a->plain.data, a->plain.len, a->offset, version, &query, &why))
		local_query(a, &read, query.text, &query.params);
	else
		arrival_refuse(a, "it was read before"); /* so this cannot be */
}
