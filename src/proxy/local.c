/* local.c - see local.h */
#include "proxy/local.h"

#include <openssl/evp.h>

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
		writer_init(&w);
		send_written(a, virtual_write_rows(q, &source, v.value, v.named ? v.name : NULL, v.count, &w), &w);
		writer_free(&w);
	}
	topology_unref(source.topology);
}

void local_query(struct arrival *a, struct strview text, const struct query_params *params)
{
	struct writer w;
	struct virtual_query *q;

	writer_init(&w);
	q = virtual_query_new(text, &w);
	if (q)
		answer_rows(a, q, params);
	else
		send_written(a, false, &w);
	virtual_query_free(q);
	writer_free(&w);
}

/* The id of a statement that no cluster knows: as ZDM makes it, MD5 of the text and the keyspace. */
static void virtual_id(struct strview text, struct strview keyspace, struct prepared_id *out)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned len = 0;

	if (!md || !EVP_DigestInit_ex(md, EVP_md5(), NULL) || !EVP_DigestUpdate(md, text.p, text.len) ||
	    !EVP_DigestUpdate(md, keyspace.p, keyspace.len) || !EVP_DigestFinal_ex(md, out->bytes, &len))
		len = 0;
	EVP_MD_CTX_free(md);
	out->len = (uint8_t)len;
}

void local_prepare(struct arrival *a, struct strview text, struct strview keyspace)
{
	struct worker *worker = a->c->worker;
	struct proxy *proxy = worker->proxy;
	struct virtual_source source = {
		.settings = proxy->settings,
		.topology = cluster_topology(&proxy->clusters[proxy->settings->system_queries]),
		.local_address = &a->c->local_address,
	};
	struct prepared *entry = prepared_new(text, keyspace);
	struct writer w;
	bool ok = false;

	writer_init(&w);
	virtual_id(text, keyspace, &entry->id[CLUSTER_ORIGIN]);
	entry->virtual_query = virtual_query_new(text, &w);
	entry->verdict = (struct verdict){ .to = 0, .class = CLASS_READ };
	if (entry->virtual_query)
		ok = virtual_write_prepared(entry->virtual_query, &source, a->c->version, prepared_client_id(entry),
					    &w);
	send_written(a, ok, &w);
	if (ok && entry->id[CLUSTER_ORIGIN].len > 0)
		prepared_insert(&proxy->prepared, entry);
	else
		prepared_unref(entry);
	writer_free(&w);
	topology_unref(source.topology);
}

void local_execute(struct arrival *a, const struct prepared *entry, const struct query_params *params)
{
	answer_rows(a, entry->virtual_query, params);
}
