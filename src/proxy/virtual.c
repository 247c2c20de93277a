/*
 * virtual.c - see virtual.h
 *
 * A query is parsed once and answered as often as it is executed. Each time its
 * names are looked up anew, since the columns that there are depend on the
 * clusters. Everything is checked before the first byte of an answer is
 * written, so an answer is either whole or an error.
 *
 *   virtual_eval      the select list
 *   virtual_filter    WHERE
 *   virtual_values    the nodes and their columns
 */
#include "proxy/virtual.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cql/statement.h"
#include "cql/version.h"
#include "proxy/virtual_filter.h"

#define KEYSPACE "system"
/* The widest row: every column, or every item of a select list. */
#define MAX_COLUMNS SELECT_MAX_ITEMS
#define METADATA_ID_LEN 16
/* An answer beyond this is refused: one of normal questions has some KiB. */
#define ANSWER_MAX (16u << 20)
/* A paging state of ours: two bytes that no state of a cluster has at its end and its beginning, the next row. */
#define STATE_LEN 6
#define STATE_MARK 0xCF4C

struct virtual_query {
	enum virtual_table table;
	struct select_query select;
};

/* A column of the answer: an expression, or with SELECT * a column of the table. */
struct out_column {
	unsigned expr;
	const struct virtual_column *column;
	struct bytesview type;
	uint32_t label_at; /* in answer.labels */
	uint32_t label_len;
};

/* One execution. */
struct answer {
	struct virtual_answer v;
	struct virtual_filter filter;
	struct out_column columns[MAX_COLUMNS];
	unsigned column_count;
	struct writer labels;
	uint32_t limit;
	struct virtual_node *nodes; /* those that match */
	unsigned node_count;
};

/* ---- parsing ---- */

bool virtual_is_table(struct strview keyspace, struct strview table)
{
	enum virtual_table ignored;

	return sv_equal(keyspace, SV(KEYSPACE)) && virtual_table_find(table, &ignored);
}

/* Drivers ask for system.peers_v2 by any select list and fall back to system.peers on this very error. */
static bool unconfigured(struct writer *error, struct strview table)
{
	char text[128];

	snprintf(text, sizeof(text), "unconfigured table %.*s", SV_ARG(table));
	error->len = 0;
	error_write(error, CQL_ERR_INVALID, sv_from(text));
	return false;
}

struct virtual_query *virtual_query_new(struct strview text, const struct virtual_source *source, struct writer *error)
{
	struct virtual_query *q;
	struct statement_facts facts;
	enum cql_error_code code;
	char why[256];

	statement_scan(text, &facts);
	if (sv_equal(statement_name_view(&facts.table), virtual_table_name(VIRTUAL_PEERS_V2)) &&
	    !virtual_has_peers_v2(source)) {
		unconfigured(error, virtual_table_name(VIRTUAL_PEERS_V2));
		return NULL;
	}
	q = xcalloc(1, sizeof(*q));
	if (!select_parse(text, &q->select, &code, why, sizeof(why))) {
		error->len = 0;
		error_write(error, code, sv_from(why));
		free(q);
		return NULL;
	}
	if (virtual_table_find(q->select.table, &q->table))
		return q;
	unconfigured(error, q->select.table);
	virtual_query_free(q);
	return NULL;
}

void virtual_query_free(struct virtual_query *q)
{
	if (!q)
		return;
	select_free(&q->select);
	free(q);
}

size_t virtual_query_memory(const struct virtual_query *q)
{
	return q ? sizeof(*q) + strlen(q->select.text) + q->select.expr_count * sizeof(*q->select.exprs) : 0;
}

bool virtual_query_names_schema_version(const struct virtual_query *q)
{
	if (q->table != VIRTUAL_LOCAL)
		return false;
	for (unsigned i = 1; i < q->select.expr_count; i++) {
		if (q->select.exprs[i].kind == SELECT_COLUMN && sv_equal(q->select.exprs[i].name, SV("schema_version")))
			return true;
	}
	return false;
}

/* ---- the select list ---- */

static void end_label(struct answer *a, struct out_column *c)
{
	c->label_len = a->labels.len - c->label_at;
}

static struct strview label_of(const struct answer *a, const struct out_column *c)
{
	return (struct strview){ (const char *)a->labels.data + c->label_at, c->label_len };
}

static struct out_column *add_column(struct answer *a)
{
	struct out_column *c = &a->columns[a->column_count++];

	*c = (struct out_column){ .label_at = a->labels.len };
	return c;
}

static void choose_all(struct answer *a)
{
	const struct virtual_column *column;

	for (unsigned i = 0; (column = virtual_column_at(a->v.table, i)) && a->column_count < MAX_COLUMNS; i++) {
		const char *name = virtual_column_name(column);
		struct out_column *c;

		if (!virtual_column_exists(column, a->v.table, a->v.source))
			continue;
		c = add_column(a);
		c->column = column;
		c->type = virtual_column_type(column);
		write_raw(&a->labels, name, (uint32_t)strlen(name));
		end_label(a, c);
	}
}

static bool choose_columns(struct answer *a)
{
	const struct select_query *s = a->v.select;
	const struct bytesview unknown = { .is_null = true };

	if (s->is_star) {
		choose_all(a);
		return true;
	}
	for (unsigned i = 0; i < s->item_count; i++) {
		const struct select_item *item = &s->items[i];
		struct out_column *c;

		if (!virtual_check(&a->v, item->expr, unknown, ""))
			return false;
		c = add_column(a);
		c->expr = item->expr;
		c->type = a->v.infos[item->expr].type;
		if (item->alias.len > 0)
			write_raw(&a->labels, item->alias.p, (uint32_t)item->alias.len);
		else
			virtual_write_label(&a->v, item->expr, &a->labels);
		end_label(a, c);
	}
	return true;
}

/* ---- the other clauses ---- */

static bool not_distinct(struct answer *a, const char *name)
{
	return virtual_refuse(
		&a->v, CQL_ERR_INVALID,
		"SELECT DISTINCT queries must only request partition key columns and/or static columns (not %s)", name);
}

/* Every column that the select list names must be the partition key, and it must name that. */
static bool check_distinct(struct answer *a)
{
	const struct select_query *s = a->v.select;
	bool has_key = false;

	if (!s->is_distinct)
		return true;
	if (s->per_partition_limit)
		return virtual_refuse(&a->v, CQL_ERR_INVALID,
				      "PER PARTITION LIMIT is not allowed with SELECT DISTINCT queries");
	if (s->is_star)
		return not_distinct(a, virtual_column_name(virtual_column_at(a->v.table, 1)));
	for (unsigned i = 1; i < s->expr_count; i++) {
		const struct virtual_column *column = a->v.infos[i].column;

		if (column && virtual_column_key(column, a->v.table) != KEY_PARTITION)
			return not_distinct(a, virtual_column_name(column));
		has_key |= column != NULL;
	}
	return has_key ||
	       virtual_refuse(&a->v, CQL_ERR_INVALID,
			      "SELECT DISTINCT queries must request all the partition key columns (missing %s)",
			      virtual_column_name(virtual_column_at(a->v.table, 0)));
}

static bool check_group(struct answer *a)
{
	const struct select_query *s = a->v.select;

	for (unsigned i = 0; i < s->group_count; i++) {
		const struct virtual_column *column = virtual_find_column(&a->v, s->group[i]);

		if (!column)
			return false;
		if (virtual_column_key(column, a->v.table) == KEY_NONE)
			return virtual_refuse(
				&a->v, CQL_ERR_INVALID,
				"Group by is currently only supported on the columns of the PRIMARY KEY, got %s",
				virtual_column_name(column));
	}
	return true;
}

/* Rows of one partition are already in order: there is one. */
static bool check_order(struct answer *a)
{
	const struct select_query *s = a->v.select;

	for (unsigned i = 0; i < s->order_count; i++) {
		const struct virtual_column *column = virtual_find_column(&a->v, s->order[i]);

		if (!column)
			return false;
		if (!a->filter.has_partition)
			return virtual_refuse(
				&a->v, CQL_ERR_INVALID,
				"ORDER BY is only supported when the partition key is restricted by an EQ or an IN.");
		if (virtual_column_key(column, a->v.table) != KEY_CLUSTERING)
			return virtual_refuse(
				&a->v, CQL_ERR_INVALID,
				"Order by is currently only supported on the clustered columns of the PRIMARY KEY, got %s",
				virtual_column_name(column));
	}
	return true;
}

/* Its value goes to *limit where there is one; UINT32_MAX: no limit. */
static bool check_limit(struct answer *a, uint16_t expr, const char *name, uint32_t *limit)
{
	const struct virtual_group nothing = { .count = 0 };
	struct writer w;
	uint32_t len;

	*limit = UINT32_MAX;
	if (!expr)
		return true;
	if (!virtual_check(&a->v, expr, value_type(TYPE_INT), name))
		return false;
	if (!a->v.request)
		return true;
	if (a->v.select->exprs[expr].kind == SELECT_MARKER) {
		struct bytesview v;

		if (!virtual_marker_value(&a->v, &a->v.select->exprs[expr], &v))
			return false;
		if (v.is_unset)
			return true;
	}
	writer_init(&w);
	virtual_write_expr(&a->v, expr, &nothing, &w);
	len = get_u32(w.data);
	if (len == 4)
		*limit = get_u32(w.data + 4);
	writer_free(&w);
	if (len != 4)
		return virtual_refuse(&a->v, CQL_ERR_INVALID, "Invalid null value of limit");
	return (*limit > 0 && *limit <= INT32_MAX) ||
	       virtual_refuse(&a->v, CQL_ERR_INVALID, "LIMIT must be strictly positive");
}

static bool check_limits(struct answer *a)
{
	uint32_t per_partition; /* every partition has one row */

	return check_limit(a, a->v.select->per_partition_limit, "[per_partition_limit]", &per_partition) &&
	       check_limit(a, a->v.select->limit, "[limit]", &a->limit);
}

/* ---- the whole query ---- */

static bool check_value_count(struct answer *a)
{
	const struct virtual_request *rq = a->v.request;

	if (!rq || rq->names || rq->value_count == a->v.select->marker_count)
		return true;
	return virtual_refuse(&a->v, CQL_ERR_INVALID, "Invalid amount of bind variables: %u values for %u bind markers",
			      rq->value_count, a->v.select->marker_count);
}

/* Markers of a relation on several columns never get here: it is refused. */
static bool check_query(struct answer *a)
{
	if (a->v.table == VIRTUAL_PEERS_V2 && !virtual_has_peers_v2(a->v.source))
		return unconfigured(a->v.out, virtual_table_name(a->v.table));
	return check_value_count(a) && choose_columns(a) && check_distinct(a) &&
	       virtual_filter_init(&a->filter, &a->v) && check_group(a) && check_order(a) && check_limits(a);
}

static void answer_init(struct answer *a, const struct virtual_query *q, const struct virtual_source *source,
			const struct virtual_request *request, struct writer *out)
{
	*a = (struct answer){ .filter = { .count = 0 } };
	a->v.select = &q->select;
	a->v.table = q->table;
	a->v.source = source;
	a->v.request = request;
	a->v.out = out;
	a->v.infos = xcalloc(q->select.expr_count, sizeof(*a->v.infos));
	a->v.markers = xcalloc(MAX(q->select.marker_count, 1u), sizeof(*a->v.markers));
	writer_init(&a->labels);
}

static void answer_fini(struct answer *a)
{
	virtual_filter_fini(&a->filter);
	writer_free(&a->labels);
	free(a->v.infos);
	free(a->v.markers);
	free(a->nodes);
}

/* ---- metadata ---- */

/* A type that the version does not know goes by its class. */
static void write_column(struct writer *out, struct strview label, struct bytesview type, uint8_t version)
{
	const char *class = value_type_class(type);

	if (!version_has(version, VERSION_PK_INDEXES) && class) {
		write_string(out, label);
		write_short(out, TYPE_CUSTOM);
		write_cstring(out, class);
	} else {
		rows_write_column(out, label, type);
	}
}

static void write_table(const struct answer *a, struct writer *out)
{
	write_string(out, SV(KEYSPACE));
	write_string(out, virtual_table_name(a->v.table));
}

static uint32_t result_count(const struct answer *a)
{
	return a->v.select->is_json ? 1 : a->column_count;
}

/* The table and the columns of the result, behind flags and count. */
static void write_columns(const struct answer *a, uint8_t version, struct writer *out)
{
	write_table(a, out);
	if (a->v.select->is_json) {
		write_column(out, SV("[json]"), value_type(TYPE_VARCHAR), version);
		return;
	}
	for (unsigned i = 0; i < a->column_count; i++)
		write_column(out, label_of(a, &a->columns[i]), a->columns[i].type, version);
}

/* Equal for equal columns, whoever answers. Zeros should the library fail: then they differ from what anybody holds. */
static void metadata_id(const struct answer *a, uint8_t version, uint8_t out[METADATA_ID_LEN])
{
	uint8_t digest[EVP_MAX_MD_SIZE] = { 0 };
	struct writer w;

	writer_init(&w);
	write_columns(a, version, &w);
	if (!EVP_Digest(w.data, w.len, digest, NULL, EVP_md5(), NULL))
		memset(digest, 0, sizeof(digest));
	writer_free(&w);
	memcpy(out, digest, METADATA_ID_LEN);
}

/* ---- rows ---- */

/* The instances that the table shows: this one in system.local, the others in system.peers. */
static bool shows(const struct answer *a, unsigned index)
{
	bool is_own = index == a->v.source->settings->topology_index;

	return a->v.table == VIRTUAL_LOCAL ? is_own : !is_own;
}

static void find_nodes(struct answer *a)
{
	unsigned n = virtual_node_count(a->v.source->settings);

	a->nodes = xcalloc(n, sizeof(*a->nodes));
	for (unsigned i = 0; i < n; i++) {
		struct virtual_node *node = &a->nodes[a->node_count];

		if (!shows(a, i))
			continue;
		virtual_node_get(a->v.source, i, node);
		if (virtual_filter_matches(&a->filter, &a->v, node))
			a->node_count++;
	}
}

/* Aggregates without GROUP BY make one row of all, even of none; every partition, and so every group, has one row. */
static bool is_one_row(const struct answer *a)
{
	return a->v.has_aggregate && a->v.select->group_count == 0;
}

static void write_cell(const struct answer *a, const struct out_column *c, const struct virtual_group *group,
		       struct writer *out)
{
	if (c->expr)
		virtual_write_expr(&a->v, c->expr, group, out);
	else
		virtual_write_value(c->column, a->v.source, &group->nodes[0], out);
}

/* Names with capitals keep their quotes in JSON. */
static void write_json_key(struct strview label, struct writer *out)
{
	bool has_capital = false;
	struct writer w;

	for (size_t i = 0; i < label.len; i++)
		has_capital |= label.p[i] >= 'A' && label.p[i] <= 'Z';
	if (!has_capital) {
		value_write_json_string(label, out);
		return;
	}
	writer_init(&w);
	write_byte(&w, '"');
	write_raw(&w, label.p, (uint32_t)label.len);
	write_byte(&w, '"');
	value_write_json_string((struct strview){ (const char *)w.data, w.len }, out);
	writer_free(&w);
}

static void write_json_row(const struct answer *a, const struct virtual_group *group)
{
	struct writer json, cell;

	writer_init(&json);
	writer_init(&cell);
	for (unsigned i = 0; i < a->column_count && json.len <= ANSWER_MAX; i++) {
		struct bytesview v;

		write_raw(&json, i ? ", " : "{", i ? 2 : 1);
		write_json_key(label_of(a, &a->columns[i]), &json);
		write_raw(&json, ": ", 2);
		cell.len = 0;
		write_cell(a, &a->columns[i], group, &cell);
		v = (struct bytesview){ .p = cell.data + 4, .len = cell.len - 4 };
		v.is_null = get_u32(cell.data) > INT32_MAX;
		value_write_json(a->columns[i].type, v, &json);
	}
	write_byte(&json, '}');
	write_bytes(a->v.out, json.data, json.len);
	writer_free(&cell);
	writer_free(&json);
}

/* Stops in the middle when the answer is too large. */
static void write_row(const struct answer *a, const struct virtual_group *group)
{
	if (a->v.select->is_json) {
		write_json_row(a, group);
		return;
	}
	for (unsigned i = 0; i < a->column_count && a->v.out->len <= ANSWER_MAX; i++)
		write_cell(a, &a->columns[i], group, a->v.out);
}

/* Of `total` rows those of this page. */
struct page {
	uint32_t from;
	uint32_t to;
	bool has_more;
	uint8_t state[STATE_LEN]; /* of the next page */
};

static bool read_state(struct bytesview state, uint32_t total, uint32_t *from)
{
	if (state.len != STATE_LEN || get_u16(state.p) != STATE_MARK)
		return false;
	*from = get_u32(state.p + 2);
	return *from <= total;
}

static bool find_page(struct answer *a, struct page *p)
{
	const struct virtual_request *rq = a->v.request;
	uint32_t total = is_one_row(a) ? 1 : MIN(a->node_count, a->limit);

	*p = (struct page){ .to = total };
	if (!rq->paging_state.is_null && !read_state(rq->paging_state, total, &p->from))
		return virtual_refuse(&a->v, CQL_ERR_PROTOCOL_ERROR, "Invalid value for the paging state");
	if (rq->page_size == 0 || rq->page_size > INT32_MAX || total - p->from <= rq->page_size)
		return true;
	p->to = p->from + rq->page_size;
	p->has_more = true;
	put_u16(p->state, STATE_MARK);
	put_u32(p->state + 2, p->to);
	return true;
}

/*
 * A client that holds the columns gets none (native protocol v5, section
 * 4.2.5.2). In v5 it says which ones it holds. Before that nobody knows: those
 * of SELECT * may have changed since it prepared.
 */
static void write_metadata(const struct answer *a, const struct page *p)
{
	const struct virtual_request *rq = a->v.request;
	uint8_t id[METADATA_ID_LEN];
	bool has_id = rq->is_execute && version_has(rq->version, VERSION_METADATA_ID);
	bool may_skip = rq->skips_metadata && (has_id || !rq->is_execute || !a->v.select->is_star);
	bool has_changed = false;
	uint32_t flags;

	if (has_id) {
		metadata_id(a, rq->version, id);
		has_changed = rq->result_metadata_id.len != sizeof(id) ||
			      memcmp(rq->result_metadata_id.p, id, sizeof(id)) != 0;
		may_skip &= !has_changed;
	}
	flags = may_skip ? ROWS_NO_METADATA : ROWS_GLOBAL_TABLES_SPEC;
	flags |= (p->has_more ? ROWS_HAS_MORE_PAGES : 0u) | (has_changed ? ROWS_METADATA_CHANGED : 0u);
	write_int(a->v.out, RESULT_ROWS);
	write_int(a->v.out, flags);
	write_int(a->v.out, result_count(a));
	if (p->has_more)
		write_bytes(a->v.out, p->state, sizeof(p->state));
	if (has_changed)
		write_short_bytes(a->v.out, id, sizeof(id));
	if (!may_skip)
		write_columns(a, rq->version, a->v.out);
}

static bool write_rows(struct answer *a, const struct page *p)
{
	write_metadata(a, p);
	rows_write_count(a->v.out, p->to - p->from);
	for (uint32_t i = p->from; i < p->to; i++) {
		const struct virtual_group one = { .nodes = a->nodes + i, .count = 1 };
		const struct virtual_group all = { .nodes = a->nodes, .count = a->node_count };

		write_row(a, is_one_row(a) ? &all : &one);
		if (a->v.out->len > ANSWER_MAX)
			return virtual_refuse(&a->v, CQL_ERR_INVALID,
					      "The answer is too large for a SELECT that the proxy answers itself");
	}
	return true;
}

bool virtual_write_rows(const struct virtual_query *q, const struct virtual_source *source,
			const struct virtual_request *request, struct writer *out)
{
	struct answer a;
	struct page page;
	bool ok;

	answer_init(&a, q, source, request, out);
	ok = check_query(&a);
	if (ok) {
		find_nodes(&a);
		ok = find_page(&a, &page);
	}
	if (ok)
		ok = write_rows(&a, &page);
	answer_fini(&a);
	return ok;
}

/* ---- PREPARED ---- */

/* Without markers Cassandra names no table either. */
static void write_bind_metadata(const struct answer *a, uint8_t version, struct writer *out)
{
	unsigned count = a->v.select->marker_count;
	bool has_key = a->filter.partition_marker >= 0;

	write_int(out, count > 0 ? ROWS_GLOBAL_TABLES_SPEC : 0);
	write_int(out, count);
	if (version_has(version, VERSION_PK_INDEXES)) {
		write_int(out, has_key);
		if (has_key)
			write_short(out, (uint16_t)a->filter.partition_marker);
	}
	if (count > 0)
		write_table(a, out);
	for (unsigned i = 0; i < count; i++)
		write_column(out, sv_from(a->v.markers[i].name), a->v.markers[i].type, version);
}

bool virtual_write_prepared(const struct virtual_query *q, const struct virtual_source *source, uint8_t version,
			    struct bytesview id, struct writer *out)
{
	uint8_t result_id[METADATA_ID_LEN];
	struct answer a;
	bool ok;

	answer_init(&a, q, source, NULL, out);
	ok = check_query(&a);
	if (ok) {
		write_int(out, RESULT_PREPARED);
		write_short_bytes(out, id.p, (uint16_t)id.len);
		metadata_id(&a, version, result_id);
		if (version_has(version, VERSION_METADATA_ID))
			write_short_bytes(out, result_id, sizeof(result_id));
		write_bind_metadata(&a, version, out);
		write_int(out, ROWS_GLOBAL_TABLES_SPEC);
		write_int(out, result_count(&a));
		write_columns(&a, version, out);
	}
	answer_fini(&a);
	return ok;
}
