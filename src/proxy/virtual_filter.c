/* virtual_filter.c - see virtual_filter.h */
#include "proxy/virtual_filter.h"

#include <stdio.h>

#include "cql/murmur3.h"
#include "cql/version.h"
#include "proxy/virtual_function.h"

#define NEEDS_FILTERING                                                                                                \
	"Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. "   \
	"If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING"

/* ---- what Cassandra takes ---- */

static bool is_lower_bound(uint8_t op)
{
	return op == SELECT_OP_GT || op == SELECT_OP_GE;
}

static bool is_upper_bound(uint8_t op)
{
	return op == SELECT_OP_LT || op == SELECT_OP_LE;
}

static bool is_equal(uint8_t op)
{
	return op == SELECT_OP_EQ || op == SELECT_OP_IN;
}

static bool is_contains(uint8_t op)
{
	return op == SELECT_OP_CONTAINS || op == SELECT_OP_CONTAINS_KEY;
}

/* Relations that no column of ours could have. */
static bool check_op(struct virtual_answer *a, const struct select_relation *r, const char *name)
{
	switch ((enum select_op)r->op) {
	case SELECT_OP_NE:
		return virtual_refuse(a, CQL_ERR_INVALID, "Unsupported \"!=\" relation: %s", name);
	case SELECT_OP_LIKE:
		return virtual_refuse(
			a, CQL_ERR_INVALID,
			"LIKE restriction is only supported on properly indexed columns. %s LIKE is not valid.", name);
	case SELECT_OP_NOT_NULL:
		return virtual_refuse(a, CQL_ERR_INVALID, "Unsupported restriction: %s IS NOT NULL", name);
	default:
		return true;
	}
}

/* Sets c->type: what the values are. */
static bool check_type(struct virtual_answer *a, const struct select_relation *r, struct virtual_condition *c)
{
	const char *name = virtual_column_name(c->column);
	struct bytesview type = virtual_column_type(c->column);
	const bool is_collection = type.len > 2;
	const bool is_map = value_type_id(type) == TYPE_MAP;
	char type_name[48];

	c->type = type;
	if (r->op == SELECT_OP_CONTAINS_KEY && !is_map)
		return virtual_refuse(a, CQL_ERR_INVALID, "Cannot use CONTAINS KEY on non-map column %s", name);
	if (r->op == SELECT_OP_CONTAINS && !is_collection)
		return virtual_refuse(a, CQL_ERR_INVALID, "Cannot use CONTAINS on non-collection column %s", name);
	if (is_contains(r->op)) {
		c->type = value_element_type(type, is_map && r->op == SELECT_OP_CONTAINS);
		return true;
	}
	if (!is_collection)
		return true;
	return virtual_refuse(a, CQL_ERR_INVALID, "Collection column '%s' (%s) cannot be restricted by a '%s' relation",
			      name, value_type_name(type, type_name, sizeof(type_name)),
			      select_op_name((enum select_op)r->op));
}

/* Together with those before it. */
static bool check_others(struct virtual_answer *a, const struct virtual_filter *f, const struct virtual_condition *c)
{
	const char *name = virtual_column_name(c->column);

	for (unsigned i = 0; i < f->count; i++) {
		const struct virtual_condition *other = &f->conditions[i];

		if (other->column != c->column || other->is_token != c->is_token)
			continue;
		if (is_equal(c->op) || is_equal(other->op))
			return virtual_refuse(a, CQL_ERR_INVALID,
					      "%s cannot be restricted by more than one relation if it includes an %s",
					      name,
					      c->op == SELECT_OP_IN || other->op == SELECT_OP_IN ? "IN" : "Equal");
		if ((is_lower_bound(c->op) && is_lower_bound(other->op)) ||
		    (is_upper_bound(c->op) && is_upper_bound(other->op)))
			return virtual_refuse(a, CQL_ERR_INVALID,
					      "More than one restriction was found for the %s bound on %s",
					      is_lower_bound(c->op) ? "start" : "end", name);
	}
	return true;
}

/* ---- values ---- */

static bool null_value(struct virtual_answer *a, const struct virtual_condition *c)
{
	const char *name = virtual_column_name(c->column);

	if (virtual_column_key(c->column, a->table) != KEY_NONE)
		return virtual_refuse(a, CQL_ERR_INVALID, "Invalid null value in condition for column %s", name);
	return virtual_refuse(a, CQL_ERR_INVALID, "Unsupported null value for column %s", name);
}

static bool check_value(struct virtual_answer *a, const struct virtual_condition *c, struct bytesview v)
{
	const char *name = virtual_column_name(c->column);

	if (v.is_null)
		return null_value(a, c);
	if (!value_fits(c->type, v.len))
		return virtual_refuse(a, CQL_ERR_INVALID, "Invalid value for column %s: %u bytes", name, v.len);
	if (v.len == 0 && !c->is_token && virtual_column_key(c->column, a->table) == KEY_PARTITION)
		return virtual_refuse(a, CQL_ERR_INVALID, "Key may not be empty");
	return true;
}

static bool add_value(struct virtual_answer *a, struct virtual_condition *c, unsigned expr)
{
	const struct virtual_group nothing = { .count = 0 };
	const struct select_expr *e = &a->select->exprs[expr];
	uint32_t at = c->values.len;
	struct bytesview v;

	if (e->kind == SELECT_MARKER) {
		if (!virtual_marker_value(a, e, &v))
			return false;
		if (v.is_unset)
			return virtual_refuse(a, CQL_ERR_INVALID, "Unsupported unset value for column %s",
					      virtual_column_name(c->column));
	}
	virtual_write_expr(a, expr, &nothing, &c->values);
	c->count++;
	v = (struct bytesview){ .p = c->values.data + at + 4, .len = get_u32(c->values.data + at) };
	v.is_null = v.len > INT32_MAX;
	return check_value(a, c, v);
}

/* IN ?: the value is a list. */
static bool add_list(struct virtual_answer *a, struct virtual_condition *c, const struct select_expr *e)
{
	const bool is_short = version_has(a->request->version, VERSION_SHORT_COLLECTIONS);
	struct bytesview list;
	struct reader r;
	uint32_t n;

	if (!virtual_marker_value(a, e, &list))
		return false;
	if (list.is_null || list.is_unset)
		return null_value(a, c);
	r = reader_over(list.p, list.len);
	n = is_short ? read_short(&r) : read_int(&r);
	for (uint32_t i = 0; i < n && reader_ok(&r); i++) {
		struct bytesview v = is_short ? read_short_bytes(&r) : read_bytes(&r);

		if (!reader_ok(&r))
			break;
		if (!check_value(a, c, v))
			return false;
		write_bytes(&c->values, v.p, v.len);
		c->count++;
	}
	return reader_ok(&r) ||
	       virtual_refuse(a, CQL_ERR_INVALID, "Invalid list for column %s", virtual_column_name(c->column));
}

static bool check_list_marker(struct virtual_answer *a, const struct virtual_condition *c, const struct select_expr *e)
{
	struct virtual_marker *m = &a->markers[e->marker];
	char name[MARKER_NAME_MAX];

	put_u16(m->type_bytes, TYPE_LIST);
	memcpy(m->type_bytes + 2, c->type.p, 2);
	snprintf(name, sizeof(name), "in(%s)", virtual_column_name(c->column));
	return virtual_set_marker(a, e, name, (struct bytesview){ .p = m->type_bytes, .len = 4 });
}

static const char *receiver_name(const struct virtual_condition *c, char out[MARKER_NAME_MAX])
{
	const char *name = virtual_column_name(c->column);

	if (c->is_token)
		return "partition key token";
	if (!is_contains(c->op))
		return name;
	snprintf(out, MARKER_NAME_MAX, c->op == SELECT_OP_CONTAINS ? "value(%s)" : "key(%s)", name);
	return out;
}

static bool check_values(struct virtual_answer *a, struct virtual_filter *f, const struct select_relation *r,
			 struct virtual_condition *c)
{
	const struct select_expr *exprs = a->select->exprs;
	bool is_partition = !c->is_token && virtual_column_key(c->column, a->table) == KEY_PARTITION;
	char name[MARKER_NAME_MAX];

	if (r->is_in_marker)
		return check_list_marker(a, c, &exprs[r->values]) && (!a->request || add_list(a, c, &exprs[r->values]));
	for (unsigned i = r->values; i; i = exprs[i].next) {
		if (!virtual_check(a, i, c->type, receiver_name(c, name)))
			return false;
		if (is_partition && is_equal(c->op) && exprs[i].kind == SELECT_MARKER)
			f->partition_marker = exprs[i].marker;
		if (a->request && !add_value(a, c, i))
			return false;
	}
	return true;
}

/* ---- relations ---- */

static bool check_token(struct virtual_answer *a, const struct select_relation *r, struct virtual_condition *c)
{
	c->is_token = true;
	c->type = value_type(TYPE_BIGINT);
	if (r->columns == 1 && virtual_column_key(c->column, a->table) == KEY_PARTITION)
		return true;
	return virtual_refuse(a, CQL_ERR_INVALID,
			      "The token() function must be applied to all partition key components or none of them");
}

static bool add_relation(struct virtual_answer *a, struct virtual_filter *f, const struct select_relation *r)
{
	struct virtual_condition *c = &f->conditions[f->count];

	*c = (struct virtual_condition){ .op = r->op };
	writer_init(&c->values);
	c->column = virtual_find_column(a, r->column);
	if (!c->column)
		return false;
	if (r->is_tuple)
		return virtual_refuse(
			a, CQL_ERR_INVALID,
			"Multi-column relations are not supported in a SELECT that the proxy answers itself: %s",
			virtual_column_name(c->column));
	if (!check_op(a, r, virtual_column_name(c->column)))
		return false;
	if (r->is_token ? !check_token(a, r, c) : !check_type(a, r, c))
		return false;
	if (!check_others(a, f, c))
		return false;
	f->count++;
	if (!c->is_token && is_equal(c->op) && virtual_column_key(c->column, a->table) == KEY_PARTITION)
		f->has_partition = true;
	return check_values(a, f, r, c);
}

/* Whether Cassandra would have to look at rows that it then throws away. */
static bool needs_filtering(const struct virtual_answer *a, const struct virtual_filter *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		const struct virtual_condition *c = &f->conditions[i];
		enum virtual_key key = virtual_column_key(c->column, a->table);

		if (c->is_token || (key == KEY_PARTITION && is_equal(c->op)))
			continue;
		if (key != KEY_CLUSTERING || !f->has_partition)
			return true;
	}
	return false;
}

static bool check_distinct(struct virtual_answer *a, const struct virtual_filter *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		if (virtual_column_key(f->conditions[i].column, a->table) != KEY_PARTITION)
			return virtual_refuse(a, CQL_ERR_INVALID,
					      "SELECT DISTINCT with WHERE clause only supports restriction by "
					      "partition key and/or static columns.");
	}
	return true;
}

bool virtual_filter_init(struct virtual_filter *f, struct virtual_answer *a)
{
	f->count = 0;
	f->has_partition = false;
	f->partition_marker = -1;
	for (unsigned i = 0; i < a->select->relation_count; i++) {
		unsigned before = f->count;

		if (add_relation(a, f, &a->select->relations[i]))
			continue;
		if (f->count == before)
			writer_free(&f->conditions[before].values);
		return false;
	}
	if (a->select->is_distinct && !check_distinct(a, f))
		return false;
	return a->select->allows_filtering || !needs_filtering(a, f) ||
	       virtual_refuse(a, CQL_ERR_INVALID, "%s", NEEDS_FILTERING);
}

void virtual_filter_fini(struct virtual_filter *f)
{
	for (unsigned i = 0; i < f->count; i++)
		writer_free(&f->conditions[i].values);
	f->count = 0;
}

/* ---- rows ---- */

static bool holds(uint8_t op, int order)
{
	switch (op) {
	case SELECT_OP_LT:
		return order < 0;
	case SELECT_OP_LE:
		return order <= 0;
	case SELECT_OP_GT:
		return order > 0;
	case SELECT_OP_GE:
		return order >= 0;
	default:
		return order == 0;
	}
}

/* Whether an element (or key) of the collection is the value. */
static bool contains(const struct virtual_condition *c, struct bytesview collection, struct bytesview wanted)
{
	const bool is_map = value_type_id(virtual_column_type(c->column)) == TYPE_MAP;
	struct reader r = reader_over(collection.p, collection.len);
	uint32_t n = read_int(&r);

	for (uint32_t i = 0; i < n && reader_ok(&r); i++) {
		struct bytesview first = read_bytes(&r);
		struct bytesview second = is_map ? read_bytes(&r) : first;
		struct bytesview v = c->op == SELECT_OP_CONTAINS ? second : first;

		if (reader_ok(&r) && v.len == wanted.len && (v.len == 0 || memcmp(v.p, wanted.p, v.len) == 0))
			return true;
	}
	return false;
}

/* One of the values will do. */
static bool condition_holds(const struct virtual_condition *c, struct bytesview v)
{
	struct reader r;

	if (c->count == 0) /* IN () */
		return false;
	r = reader_over(c->values.data, c->values.len);
	for (unsigned i = 0; i < c->count; i++) {
		struct bytesview wanted = read_bytes(&r);

		if (is_contains(c->op) ? contains(c, v, wanted) : holds(c->op, value_compare(c->type, v, wanted)))
			return true;
	}
	return false;
}

bool virtual_filter_matches(const struct virtual_filter *f, const struct virtual_answer *a,
			    const struct virtual_node *node)
{
	struct writer w;
	bool matches = true;

	writer_init(&w);
	for (unsigned i = 0; i < f->count && matches; i++) {
		const struct virtual_condition *c = &f->conditions[i];
		struct bytesview v;
		uint8_t token[8];

		w.len = 0;
		virtual_write_value(c->column, a->source, node, &w);
		v = (struct bytesview){ .p = w.data + 4, .len = w.len - 4 };
		if (get_u32(w.data) > INT32_MAX) { /* a null is like nothing */
			matches = false;
			break;
		}
		if (c->is_token) {
			put_u64(token, (uint64_t)murmur3_token(v.p, v.len));
			v = (struct bytesview){ .p = token, .len = sizeof(token) };
		}
		matches = condition_holds(c, v);
	}
	writer_free(&w);
	return matches;
}
