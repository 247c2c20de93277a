/* local.c - see local.h */
#include "proxy/local.h"

#include "cql/rows.h"
#include "proxy/virtual.h"

/* The most bound values that a read of a system table may come with: it has no more markers than relations and LIMIT. */
#define MAX_VIRTUAL_VALUES 16

struct virtual_values {
	struct bytesview value[MAX_VIRTUAL_VALUES];
	struct strview name[MAX_VIRTUAL_VALUES];
	bool named;
	unsigned count;
};

static bool collect_values(struct arrival *a, const struct query_params *params, struct virtual_values *out)
{
	out->count = MIN(params->value_count, MAX_VIRTUAL_VALUES);
	out->named = (params->flags & QUERY_NAMES_FOR_VALUES) != 0;
	for (unsigned i = 0; i < out->count; i++) {
		if (!message_value(a->plain.data, a->plain.len, params, i, &out->name[i], &out->value[i]))
			return false;
	}
	return true;
}

static void send_written(struct arrival *a, bool ok, struct writer *w)
{
	client_send(a->c, a->f->stream, ok ? OP_RESULT : OP_ERROR, 0, w->data, w->len);
}

/* Rows as the driver expects them: written in the form of v3 to v5, with one answer to one request. */
static void adapt_rows(const struct arrival *a, const struct query_params *params, struct writer *w)
{
	if (unlikely(version_has(a->c->version, VERSION_SHORT_COLLECTIONS)))
		rows_narrow_collections(w, 0);
	if (unlikely(params->flags & QUERY_CONTINUOUS_PAGING))
		rows_make_last_page(w, 0);
}

static void answer_rows(struct arrival *a, const struct virtual_query *q, const struct query_params *params)
{
	struct proxy *proxy = a->c->worker->proxy;
	struct virtual_source source = {
		.settings = proxy->settings,
		.topology = cluster_topology(&proxy->clusters[proxy->settings->system_queries]),
		.local_address = &a->c->local_address,
	};
	struct virtual_values v;
	struct writer w;

	if (!collect_values(a, params, &v)) {
		arrival_refuse(a, "values");
	} else {
		bool ok;

		writer_init(&w);
		ok = virtual_write_rows(q, &source, v.value, v.named ? v.name : NULL, v.count, &w);
		if (ok)
			adapt_rows(a, params, &w);
		send_written(a, ok, &w);
		writer_free(&w);
	}
	topology_unref(source.topology);
}

static bool is_insights(const struct verdict *verdict)
{
	return verdict->class == CLASS_CONTROL;
}

static void answer_void(struct arrival *a)
{
	uint8_t body[4];

	put_u32(body, RESULT_VOID);
	client_send(a->c, a->f->stream, OP_RESULT, 0, body, sizeof(body));
}

void local_query(struct arrival *a, const struct verdict *verdict, struct strview text,
		 const struct query_params *params)
{
	struct writer w;
	struct virtual_query *q;

	if (is_insights(verdict)) {
		answer_void(a);
		return;
	}
	writer_init(&w);
	q = virtual_query_new(text, &w);
	if (q)
		answer_rows(a, q, params);
	else
		send_written(a, false, &w);
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
	struct proxy *proxy = a->c->worker->proxy;
	struct virtual_source source = {
		.settings = proxy->settings,
		.topology = cluster_topology(&proxy->clusters[proxy->settings->system_queries]),
		.local_address = &a->c->local_address,
	};
	bool ok;

	entry->virtual_query = virtual_query_new(text, w);
	ok = entry->virtual_query &&
	     virtual_write_prepared(entry->virtual_query, &source, a->c->version, prepared_client_id(entry), w);
	topology_unref(source.topology);
	return ok;
}

void local_prepare(struct arrival *a, const struct verdict *verdict, struct strview text, struct strview keyspace)
{
	struct prepared *entry = prepared_new(text, keyspace);
	struct writer w;
	/* No cluster knows it, so it gets an id as ZDM makes them. */
	const bool has_id = prepared_id_digest(text, keyspace, &entry->id[CLUSTER_ORIGIN]);
	bool ok = true;

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

void local_execute(struct arrival *a, const struct prepared *entry, const struct query_params *params)
{
	if (is_insights(&entry->verdict))
		answer_void(a);
	else
		answer_rows(a, entry->virtual_query, params);
}
