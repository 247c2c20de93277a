/*
 * virtual.c - see virtual.h
 *
 * A query is parsed once and then answered as often as it is executed: its
 * columns are looked up in the table of virtual_values.c, its conditions are
 * compared with the bytes of the values, whatever made them. Everything is
 * checked before the first byte of an answer is written, so an answer is
 * either whole or an error.
 */
#include "proxy/virtual.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/virtual_values.h"

#define KEYSPACE "system"
/* The widest row: every column, or every item of a select list. */
#define MAX_COLUMNS SELECT_MAX_ITEMS
#define UUID_TEXT_LEN 36

struct virtual_query {
	enum virtual_table table;
	struct select_query select;
	/* By item and by relation; NULL for COUNT. */
	const struct virtual_column *items[SELECT_MAX_ITEMS];
	const struct virtual_column *relations[SELECT_MAX_RELATIONS];
};

/* What a bind marker stands for. */
struct marker {
	struct strview name;
	struct bytesview type;
};

/* A condition with its value, ready to be compared. */
struct condition {
	const struct virtual_column *column;
	struct bytesview value;
	uint8_t bytes[STATEMENT_NAME_MAX]; /* of a literal that had to be converted */
};

/* One execution. */
struct answer {
	const struct virtual_query *q;
	const struct virtual_source *source;
	const struct bytesview *values;
	const struct strview *names;
	unsigned value_count;
	struct condition conditions[SELECT_MAX_RELATIONS];
	uint32_t limit;
	const struct virtual_column *columns[MAX_COLUMNS]; /* NULL for COUNT */
	struct strview labels[MAX_COLUMNS];
	unsigned column_count;
	bool counts;
	struct writer *out;
};

/* Leaves an ERROR body; always false. */
static bool PRINTF_LIKE(2, 3) refuse(struct writer *out, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out->len = 0;
	error_write(out, CQL_ERR_INVALID, sv_from(text));
	return false;
}

static bool undefined(struct writer *out, struct strview name)
{
	return refuse(out, "Undefined column name %.*s", SV_ARG(name));
}

/* ---- parsing ---- */

static bool table_from(struct strview name, enum virtual_table *table)
{
	if (sv_equal(name, SV("local")))
		*table = VIRTUAL_LOCAL;
	else if (sv_equal(name, SV("peers")))
		*table = VIRTUAL_PEERS;
	else if (sv_equal(name, SV("peers_v2")))
		*table = VIRTUAL_PEERS_V2;
	else
		return false;
	return true;
}

bool virtual_is_table(struct strview keyspace, struct strview table)
{
	enum virtual_table ignored;

	return sv_equal(keyspace, SV(KEYSPACE)) && table_from(table, &ignored);
}

static bool find_columns(struct virtual_query *q, struct writer *error)
{
	for (unsigned i = 0; i < q->select.item_count; i++) {
		struct strview name = statement_name_view(&q->select.items[i].column);

		if (q->select.items[i].kind == SELECT_COUNT)
			continue;
		q->items[i] = virtual_column_find(q->table, name);
		if (!q->items[i])
			return undefined(error, name);
	}
	for (unsigned i = 0; i < q->select.relation_count; i++) {
		struct strview name = statement_name_view(&q->select.relations[i].column);

		q->relations[i] = virtual_column_find(q->table, name);
		if (!q->relations[i])
			return undefined(error, name);
	}
	return true;
}

static bool parse(struct virtual_query *q, struct strview text, struct writer *error)
{
	struct statement_facts facts;
	char why[192];

	/* Before anything else, for any select list: drivers fall back to system.peers on this very error. */
	statement_scan(text, &facts);
	if (sv_equal(statement_name_view(&facts.table), SV("peers_v2")))
		return refuse(error, "unconfigured table peers_v2");
	if (!select_parse(text, &q->select, why, sizeof(why)))
		return refuse(error, "%s", why);
	if (!table_from(statement_name_view(&q->select.table), &q->table))
		return refuse(error, "unconfigured table %.*s", SV_ARG(statement_name_view(&q->select.table)));
	return find_columns(q, error);
}

struct virtual_query *virtual_query_new(struct strview text, struct writer *error)
{
	struct virtual_query *q = xcalloc(1, sizeof(*q));

	if (parse(q, text, error))
		return q;
	free(q);
	return NULL;
}

void virtual_query_free(struct virtual_query *q)
{
	free(q);
}

/* ---- bind markers ---- */

/* What the marker is called where the client names its values: by its own name, else by its column's. */
static struct marker relation_marker(const struct virtual_query *q, unsigned i)
{
	const struct select_relation *r = &q->select.relations[i];

	return (struct marker){
		.name = r->marker.len > 0 ? statement_name_view(&r->marker) : statement_name_view(&r->column),
		.type = virtual_column_type(q->relations[i]),
	};
}

static struct marker limit_marker(const struct virtual_query *q)
{
	const struct statement_name *name = &q->select.limit_marker;

	return (struct marker){
		.name = name->len > 0 ? statement_name_view(name) : SV("[limit]"),
		.type = rows_type_int,
	};
}

/* False when the client gave no such value. */
static bool bound_value(const struct answer *a, struct strview name, unsigned index, struct bytesview *out)
{
	if (!a->names) {
		if (index >= a->value_count)
			return false;
		*out = a->values[index];
		return true;
	}
	for (unsigned i = 0; i < a->value_count; i++) {
		if (sv_equal(a->names[i], name)) {
			*out = a->values[i];
			return true;
		}
	}
	return false;
}

/* ---- conditions ---- */

static bool parse_hex(const char *text, uint8_t *out)
{
	unsigned value = 0;

	for (unsigned i = 0; i < 2; i++) {
		char c = text[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (unsigned)((c | 0x20) - 'a') + 10;
		else
			return false;
		value = value << 4 | digit;
	}
	*out = (uint8_t)value;
	return true;
}

static bool parse_uuid(const char *text, uint8_t out[16])
{
	unsigned n = 0;

	if (strlen(text) != UUID_TEXT_LEN)
		return false;
	for (unsigned i = 0; i < UUID_TEXT_LEN;) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i++] != '-')
				return false;
			continue;
		}
		if (!parse_hex(text + i, &out[n++]))
			return false;
		i += 2;
	}
	return true;
}

/* A literal as the bytes of its column's type. */
static bool convert_literal(const struct select_relation *r, uint16_t type, struct condition *c, struct writer *out)
{
	struct net_address a;
	bool ok;

	if (type == TYPE_VARCHAR) {
		ok = r->is_string;
		c->value.len = (uint32_t)strlen(r->literal);
		memcpy(c->bytes, r->literal, c->value.len);
	} else if (type == TYPE_UUID) {
		ok = !r->is_string && parse_uuid(r->literal, c->bytes);
		c->value.len = 16;
	} else {
		ok = r->is_string && net_parse_ip(r->literal, 0, &a);
		c->value.len = ok ? net_to_bytes(&a, c->bytes) : 0;
	}
	c->value.p = c->bytes;
	return ok || refuse(out, "Invalid constant (%s) for \"%s\"", r->literal, virtual_column_name(c->column));
}

static bool take_bound(struct answer *a, unsigned i, uint16_t type, struct condition *c)
{
	const char *name = virtual_column_name(c->column);
	struct marker m = relation_marker(a->q, i);
	uint32_t len;

	if (!bound_value(a, m.name, a->q->select.relations[i].marker_index, &c->value))
		return refuse(a->out, "Invalid amount of bind variables: there is no value for %.*s", SV_ARG(m.name));
	if (c->value.is_null || c->value.is_unset)
		return refuse(a->out, "Invalid %s value for column %s", c->value.is_null ? "null" : "unset", name);
	len = c->value.len;
	if ((type == TYPE_UUID && len != 16) || (type == TYPE_INET && len != 4 && len != 16))
		return refuse(a->out, "Invalid value for column %s: %u bytes", name, len);
	return true;
}

/* Whether a condition on this column can be compared. */
static bool check_condition(const struct virtual_query *q, unsigned i, const struct virtual_source *source,
			    struct writer *out)
{
	const struct virtual_column *column = q->relations[i];
	uint16_t type = get_u16(virtual_column_type(column).p);

	if (!virtual_column_exists(column, q->table, source->topology))
		return undefined(out, sv_from(virtual_column_name(column)));
	return type == TYPE_VARCHAR || type == TYPE_UUID || type == TYPE_INET ||
	       refuse(out, "A condition on column %s is not supported in a SELECT that the proxy answers itself",
		      virtual_column_name(column));
}

static bool prepare_condition(struct answer *a, unsigned i)
{
	const struct select_relation *r = &a->q->select.relations[i];
	struct condition *c = &a->conditions[i];
	uint16_t type;

	if (!check_condition(a->q, i, a->source, a->out))
		return false;
	c->column = a->q->relations[i];
	type = get_u16(virtual_column_type(c->column).p);
	return r->is_marker ? take_bound(a, i, type, c) : convert_literal(r, type, c, a->out);
}

static bool prepare_limit(struct answer *a)
{
	const struct select_query *s = &a->q->select;
	struct bytesview v;

	a->limit = s->has_limit && !s->limit_is_marker ? s->limit : UINT32_MAX;
	if (!s->limit_is_marker)
		return true;
	if (!bound_value(a, limit_marker(a->q).name, s->limit_marker_index, &v))
		return refuse(a->out, "Invalid amount of bind variables: there is no value for LIMIT");
	if (v.is_unset)
		return true;
	if (v.is_null || v.len != 4)
		return refuse(a->out, "Invalid value for LIMIT");
	a->limit = get_u32(v.p);
	if (a->limit == 0 || a->limit > INT32_MAX)
		return refuse(a->out, "LIMIT must be strictly positive");
	return true;
}

/* ---- columns ---- */

static bool add_column(struct answer *a, const struct virtual_column *column, struct strview label)
{
	if (column && !virtual_column_exists(column, a->q->table, a->source->topology))
		return undefined(a->out, sv_from(virtual_column_name(column)));
	a->columns[a->column_count] = column;
	a->labels[a->column_count] = label;
	a->column_count++;
	a->counts |= !column;
	return true;
}

static bool choose_all(struct answer *a)
{
	const struct virtual_column *column;

	for (unsigned i = 0; (column = virtual_column_at(a->q->table, i)); i++) {
		if (virtual_column_exists(column, a->q->table, a->source->topology) &&
		    !add_column(a, column, sv_from(virtual_column_name(column))))
			return false;
	}
	return true;
}

static bool choose_columns(struct answer *a)
{
	const struct select_query *s = &a->q->select;

	if (s->is_star)
		return choose_all(a);
	for (unsigned i = 0; i < s->item_count; i++) {
		const struct select_item *item = &s->items[i];
		struct strview label = item->alias.len > 0          ? statement_name_view(&item->alias)
				       : item->kind == SELECT_COUNT ? SV("count")
								    : statement_name_view(&item->column);

		if (!add_column(a, a->q->items[i], label))
			return false;
	}
	return true;
}

static struct strview table_name(const struct virtual_query *q)
{
	return q->table == VIRTUAL_LOCAL ? SV("local") : SV("peers");
}

static struct bytesview column_type(const struct virtual_column *column)
{
	return column ? virtual_column_type(column) : rows_type_bigint;
}

/* ---- rows ---- */

static bool matches(const struct answer *a, const struct virtual_node *node)
{
	struct writer w;
	bool equal = true;

	writer_init(&w);
	for (unsigned i = 0; i < a->q->select.relation_count && equal; i++) {
		const struct condition *c = &a->conditions[i];

		w.len = 0;
		virtual_write_value(c->column, a->source, node, &w);
		/* The value stands there as [bytes]: its length, negative for null, and itself. */
		equal = get_u32(w.data) == c->value.len &&
			(c->value.len == 0 || memcmp(w.data + 4, c->value.p, c->value.len) == 0);
	}
	writer_free(&w);
	return equal;
}

static void write_row(struct answer *a, const struct virtual_node *node, uint64_t count)
{
	uint8_t number[8];

	for (unsigned i = 0; i < a->column_count; i++) {
		if (!a->columns[i]) {
			put_u64(number, count);
			write_bytes(a->out, number, sizeof(number));
		} else if (node) {
			virtual_write_value(a->columns[i], a->source, node, a->out);
		} else {
			write_bytes(a->out, NULL, 0);
		}
	}
}

/* The instances that the table shows: this one in system.local, the others in system.peers. */
static bool shows(const struct answer *a, unsigned index)
{
	bool is_own = index == a->source->settings->topology_index;

	return a->q->table == VIRTUAL_LOCAL ? is_own : !is_own;
}

static void write_matching(struct answer *a)
{
	unsigned n = virtual_node_count(a->source->settings);
	struct virtual_node node, first;
	uint32_t found = 0;
	uint32_t count_at = a->out->len;

	rows_write_count(a->out, 0);
	for (unsigned i = 0; i < n && (a->counts || found < a->limit); i++) {
		if (!shows(a, i))
			continue;
		virtual_node_get(a->source, i, &node);
		if (!matches(a, &node))
			continue;
		if (found++ == 0)
			first = node;
		if (!a->counts)
			write_row(a, &node, 0);
	}
	if (a->counts)
		write_row(a, found > 0 ? &first : NULL, found);
	/* The number stands in front of the rows, and is known behind them. */
	put_u32(a->out->data + count_at, a->counts ? 1 : found);
}

bool virtual_write_rows(const struct virtual_query *q, const struct virtual_source *source,
			const struct bytesview *values, const struct strview *names, unsigned value_count,
			struct writer *out)
{
	struct answer a = {
		.q = q, .source = source, .values = values, .names = names, .value_count = value_count, .out = out
	};

	if (!choose_columns(&a))
		return false;
	if (!names && value_count != q->select.marker_count)
		return refuse(out, "Invalid amount of bind variables: %u instead of %u", value_count,
			      q->select.marker_count);
	for (unsigned i = 0; i < q->select.relation_count; i++) {
		if (!prepare_condition(&a, i))
			return false;
	}
	if (!prepare_limit(&a))
		return false;
	rows_write_head(out, a.column_count, SV(KEYSPACE), table_name(q));
	for (unsigned i = 0; i < a.column_count; i++)
		rows_write_column(out, a.labels[i], column_type(a.columns[i]));
	write_matching(&a);
	return true;
}

/* ---- PREPARED ---- */

static void write_spec(struct writer *out, const struct virtual_query *q)
{
	write_string(out, SV(KEYSPACE));
	write_string(out, table_name(q));
}

/* Without markers Cassandra names no table either. */
static void write_bind_metadata(const struct virtual_query *q, uint8_t version, struct writer *out)
{
	struct marker markers[SELECT_MAX_RELATIONS + 1];
	unsigned count = q->select.marker_count;

	for (unsigned i = 0; i < q->select.relation_count; i++) {
		if (q->select.relations[i].is_marker)
			markers[q->select.relations[i].marker_index] = relation_marker(q, i);
	}
	if (q->select.limit_is_marker)
		markers[q->select.limit_marker_index] = limit_marker(q);
	write_int(out, count > 0 ? ROWS_GLOBAL_TABLES_SPEC : 0);
	write_int(out, count);
	/* Indexes of the partition key's markers: there is nothing to route by. */
	if (version_has(version, VERSION_PK_INDEXES))
		write_int(out, 0);
	if (count > 0)
		write_spec(out, q);
	for (unsigned i = 0; i < count; i++)
		rows_write_column(out, markers[i].name, markers[i].type);
}

bool virtual_write_prepared(const struct virtual_query *q, const struct virtual_source *source, uint8_t version,
			    struct bytesview id, struct writer *out)
{
	struct answer a = { .q = q, .source = source, .out = out };

	if (!choose_columns(&a))
		return false;
	for (unsigned i = 0; i < q->select.relation_count; i++) {
		if (!check_condition(q, i, source, out))
			return false;
	}
	write_int(out, RESULT_PREPARED);
	write_short_bytes(out, id.p, (uint16_t)id.len);
	if (version_has(version, VERSION_METADATA_ID))
		write_short_bytes(out, id.p, (uint16_t)id.len);
	write_bind_metadata(q, version, out);
	write_int(out, ROWS_GLOBAL_TABLES_SPEC);
	write_int(out, a.column_count);
	write_spec(out, q);
	for (unsigned i = 0; i < a.column_count; i++)
		rows_write_column(out, a.labels[i], column_type(a.columns[i]));
	return true;
}
