/* virtual_eval.c - see virtual_eval.h */
#include "proxy/virtual_eval.h"

#include <stdarg.h>
#include <stdio.h>

#include "proxy/virtual_function.h"

#define LABEL_MAX 160
/* A longer bound value fits into no column of ours, and toJson() of it may take many times as much. */
#define BOUND_MAX 65536
#define TYPE_NAME_MAX 48

bool virtual_refuse(struct virtual_answer *a, enum cql_error_code code, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	a->out->len = 0;
	error_write(a->out, code, sv_from(text));
	return false;
}

/* How much of a piece of the text a message quotes. */
static int quoted(struct strview v)
{
	return (int)MIN(v.len, (size_t)64);
}

const struct virtual_column *virtual_find_column(struct virtual_answer *a, struct strview name)
{
	const struct virtual_column *column = virtual_column_find(a->table, name);

	if (column && virtual_column_exists(column, a->table, a->source))
		return column;
	virtual_refuse(a, CQL_ERR_INVALID, "Undefined column name %.*s", quoted(name), name.p);
	return NULL;
}

/* ---- labels ---- */

static void append(struct writer *out, const char *text)
{
	write_raw(out, text, (uint32_t)strlen(text));
}

static void append_view(struct writer *out, struct strview v)
{
	write_raw(out, v.p, (uint32_t)v.len);
}

static void label_literal(const struct select_expr *e, struct writer *out)
{
	if (e->literal == LITERAL_NULL) {
		append(out, "NULL");
	} else if (e->literal == LITERAL_STRING) {
		append(out, "'");
		for (size_t i = 0; i < e->name.len; i++) {
			if (e->name.p[i] == '\'')
				append(out, "'");
			write_byte(out, (uint8_t)e->name.p[i]);
		}
		append(out, "'");
	} else {
		append_view(out, e->name);
	}
}

static bool counts_rows(const struct virtual_answer *a, const struct select_expr *e)
{
	return e->is_star || (sv_equal(e->name, SV("count")) && e->first &&
			      a->select->exprs[e->first].kind == SELECT_LITERAL && !a->select->exprs[e->first].next);
}

static void label_call(const struct virtual_answer *a, unsigned expr, struct writer *out)
{
	const struct select_expr *e = &a->select->exprs[expr];
	const struct virtual_function *f = a->infos[expr].function;

	if (counts_rows(a, e)) {
		append(out, "count");
		return;
	}
	if (!f) { /* not checked yet */
		append_view(out, e->name);
	} else {
		append(out, f->kind == FUNCTION_CELL ? "" : "system.");
		append(out, virtual_function_label(f));
	}
	append(out, "(");
	if (e->first)
		virtual_write_label(a, e->first, out);
	append(out, ")");
}

void virtual_write_label(const struct virtual_answer *a, unsigned expr, struct writer *out)
{
	const struct select_expr *e = &a->select->exprs[expr];

	switch ((enum select_kind)e->kind) {
	case SELECT_COLUMN:
		append_view(out, e->name);
		break;
	case SELECT_CALL:
		label_call(a, expr, out);
		break;
	case SELECT_CAST:
		if (a->infos[expr].is_plain_cast) {
			virtual_write_label(a, e->first, out);
			break;
		}
		append(out, "cast(");
		virtual_write_label(a, e->first, out);
		append(out, " as ");
		append_view(out, e->name);
		append(out, ")");
		break;
	case SELECT_HINT:
		append(out, "(");
		append_view(out, e->name);
		append(out, ")");
		virtual_write_label(a, e->first, out);
		break;
	case SELECT_LITERAL:
		label_literal(e, out);
		break;
	case SELECT_MARKER:
		append(out, e->name.len > 0 ? ":" : "?");
		append_view(out, e->name);
		break;
	}
}

/* The label as a C string, for messages. */
static const char *describe(const struct virtual_answer *a, unsigned expr, char out[LABEL_MAX])
{
	struct writer w;

	writer_init(&w);
	virtual_write_label(a, expr, &w);
	snprintf(out, LABEL_MAX, "%.*s", (int)w.len, (const char *)w.data);
	writer_free(&w);
	return out;
}

/* ---- markers ---- */

bool virtual_set_marker(struct virtual_answer *a, const struct select_expr *e, const char *name, struct bytesview type)
{
	struct virtual_marker *m = &a->markers[e->marker];
	struct bytesview v;

	if (e->name.len > 0)
		snprintf(m->name, sizeof(m->name), "%.*s", (int)e->name.len, e->name.p);
	else
		snprintf(m->name, sizeof(m->name), "%s", name);
	m->type = type;
	if (!a->request)
		return true;
	if (!virtual_marker_value(a, e, &v))
		return false;
	if (v.is_null || v.is_unset || (value_fits(type, v.len) && v.len <= BOUND_MAX))
		return true;
	return virtual_refuse(a, CQL_ERR_INVALID, "Invalid value for %s: %u bytes", m->name, v.len);
}

bool virtual_marker_value(struct virtual_answer *a, const struct select_expr *e, struct bytesview *out)
{
	const struct virtual_request *rq = a->request;
	const char *name = a->markers[e->marker].name;

	if (!rq->names) {
		if (e->marker >= rq->value_count)
			return virtual_refuse(a, CQL_ERR_INVALID, "Invalid amount of bind variables");
		*out = rq->values[e->marker];
		return true;
	}
	for (unsigned i = 0; i < rq->value_count; i++) {
		if (sv_equal(rq->names[i], sv_from(name))) {
			*out = rq->values[i];
			return true;
		}
	}
	return virtual_refuse(a, CQL_ERR_INVALID, "Invalid amount of bind variables: there is no value for %s", name);
}

/* ---- types ---- */

static bool cannot_infer(struct virtual_answer *a, unsigned expr)
{
	char label[LABEL_MAX];

	return virtual_refuse(a, CQL_ERR_INVALID,
			      "Cannot infer type for term %s in selection clause (try using a cast to force a type)",
			      describe(a, expr, label));
}

static bool check_literal(struct virtual_answer *a, unsigned expr, struct bytesview expected, const char *what)
{
	const struct select_expr *e = &a->select->exprs[expr];
	char type[TYPE_NAME_MAX];
	bool is_kind;
	struct writer w;
	bool ok;

	if (expected.len == 0)
		return cannot_infer(a, expr);
	writer_init(&w);
	ok = value_from_literal((enum select_literal)e->literal, e->name, (enum cql_type)value_type_id(expected), &w,
				&is_kind);
	writer_free(&w);
	a->infos[expr].type = expected;
	if (ok)
		return true;
	value_type_name(expected, type, sizeof(type));
	if (is_kind)
		return virtual_refuse(a, CQL_ERR_INVALID, "Invalid %s constant (%.*s) for \"%s\" of type %s",
				      select_literal_name((enum select_literal)e->literal), quoted(e->name), e->name.p,
				      what, type);
	return virtual_refuse(a, CQL_ERR_INVALID, "Unable to make %s%s from '%.*s'", type,
			      value_type_id(expected) == TYPE_INET ? " address" : "", quoted(e->name), e->name.p);
}

static bool check_column(struct virtual_answer *a, unsigned expr)
{
	struct virtual_expr_info *info = &a->infos[expr];

	info->column = virtual_find_column(a, a->select->exprs[expr].name);
	if (!info->column)
		return false;
	info->type = virtual_column_type(info->column);
	return true;
}

static bool check_hint(struct virtual_answer *a, unsigned expr)
{
	const struct select_expr *e = &a->select->exprs[expr];
	char label[LABEL_MAX];
	enum cql_type type;

	if (!value_type_by_name(e->name, &type))
		return virtual_refuse(a, CQL_ERR_INVALID, "Unknown type %.*s", quoted(e->name), e->name.p);
	a->infos[expr].type = value_type(type);
	if (a->select->exprs[e->first].kind == SELECT_MARKER)
		return virtual_check(a, e->first, a->infos[expr].type, "[selection]");
	return virtual_check(a, e->first, a->infos[expr].type, describe(a, expr, label));
}

static bool is_number(uint16_t type)
{
	return type == TYPE_TINYINT || type == TYPE_SMALLINT || type == TYPE_INT || type == TYPE_BIGINT;
}

/* Beside the cast to what it is already. */
static bool can_cast(uint16_t from, uint16_t to)
{
	if (to == TYPE_VARCHAR || to == TYPE_ASCII)
		return from != TYPE_BLOB && from != TYPE_SET && from != TYPE_MAP && from != TYPE_VARCHAR &&
		       from != TYPE_FLOAT && from != TYPE_DOUBLE && from != TYPE_VARINT;
	if (is_number(from))
		return is_number(to) || to == TYPE_FLOAT || to == TYPE_DOUBLE || to == TYPE_VARINT;
	if (from == TYPE_TIMEUUID)
		return to == TYPE_TIMESTAMP || to == TYPE_DATE;
	return (from == TYPE_TIMESTAMP && to == TYPE_DATE) || (from == TYPE_DATE && to == TYPE_TIMESTAMP);
}

static bool check_cast(struct virtual_answer *a, unsigned expr)
{
	const struct select_expr *e = &a->select->exprs[expr];
	const struct bytesview none = { .is_null = true };
	struct virtual_expr_info *info = &a->infos[expr];
	char label[LABEL_MAX];
	enum cql_type type;

	if (!value_type_by_name(e->name, &type))
		return virtual_refuse(a, CQL_ERR_SYNTAX_ERROR, "%.*s is no type that CAST knows", quoted(e->name),
				      e->name.p);
	if (!virtual_check(a, e->first, none, "cast"))
		return false;
	info->type = value_type(type);
	info->is_plain_cast = value_same_type(info->type, a->infos[e->first].type);
	if (info->is_plain_cast || can_cast(value_type_id(a->infos[e->first].type), (uint16_t)type))
		return true;
	return virtual_refuse(a, CQL_ERR_INVALID, "%s cannot be cast to %.*s", describe(a, e->first, label),
			      quoted(e->name), e->name.p);
}

/* writetime(column), ttl(column): the cells are not ours to know, so both are null. */
static bool check_cell(struct virtual_answer *a, unsigned expr)
{
	const struct select_expr *e = &a->select->exprs[expr];
	const struct select_expr *arg = &a->select->exprs[e->first];
	const char *name = a->infos[expr].function->name;

	if (!e->first || arg->next || arg->kind != SELECT_COLUMN)
		return virtual_refuse(a, CQL_ERR_SYNTAX_ERROR, "%s takes one column", name);
	if (!check_column(a, e->first))
		return false;
	if (virtual_column_key(a->infos[e->first].column, a->table) != KEY_NONE)
		return virtual_refuse(a, CQL_ERR_INVALID, "Cannot use selection function %s on PRIMARY KEY part %.*s",
				      name, quoted(arg->name), arg->name.p);
	if (a->infos[e->first].type.len > 2)
		return virtual_refuse(a, CQL_ERR_INVALID,
				      "Cannot use selection function %s on non-frozen collection %.*s", name,
				      quoted(arg->name), arg->name.p);
	return true;
}

/* An argument of the wrong type. */
static bool no_signature(struct virtual_answer *a, unsigned expr)
{
	const struct virtual_function *f = a->infos[expr].function;
	unsigned arg = a->select->exprs[expr].first;
	char label[LABEL_MAX], type[TYPE_NAME_MAX];

	return virtual_refuse(a, CQL_ERR_INVALID,
			      "Invalid call to function %s, none of its type signatures match: %s is of type %s",
			      f->name, describe(a, arg, label),
			      value_type_name(a->infos[arg].type, type, sizeof(type)));
}

static bool check_aggregate(struct virtual_answer *a, unsigned expr)
{
	const struct select_expr *e = &a->select->exprs[expr];
	const struct bytesview none = { .is_null = true };
	struct virtual_expr_info *info = &a->infos[expr];

	if (counts_rows(a, e)) {
		a->has_aggregate = true;
		return true;
	}
	a->has_aggregate = false;
	if (!virtual_check(a, e->first, none, info->function->name))
		return false;
	if (a->has_aggregate)
		return virtual_refuse(a, CQL_ERR_INVALID,
				      "aggregate functions cannot be used as arguments of aggregate functions");
	a->has_aggregate = true;
	if (!virtual_aggregate_takes(info->function, a->infos[e->first].type))
		return no_signature(a, expr);
	if (info->function->result == TYPE_CUSTOM)
		info->type = a->infos[e->first].type;
	return true;
}

/* What a literal or marker as its argument is taken for. */
static struct bytesview argument_type(const struct virtual_answer *a, const struct virtual_function *f)
{
	if (strcmp(f->name, "token") == 0)
		return virtual_key_type(a->table);
	if (f->result == TYPE_BLOB)
		return value_type(TYPE_VARCHAR);
	if (strncmp(f->name, "blob", 4) == 0)
		return value_type(TYPE_BLOB);
	return (struct bytesview){ .is_null = true };
}

static unsigned count_arguments(const struct virtual_answer *a, const struct select_expr *e)
{
	unsigned n = e->is_star;

	for (unsigned i = e->first; i; i = a->select->exprs[i].next)
		n++;
	return n;
}

static bool unknown_function(struct virtual_answer *a, const struct select_expr *e)
{
	if (sv_equal(e->name, SV("fromjson")) || sv_equal(e->name, SV("from_json")))
		return virtual_refuse(a, CQL_ERR_INVALID,
				      "fromjson() cannot be used in the selection clause of a SELECT statement");
	return virtual_refuse(a, CQL_ERR_INVALID,
			      "Unknown function '%.*s%s%.*s' in a SELECT that the proxy answers itself",
			      quoted(e->keyspace), e->keyspace.p, e->keyspace.len > 0 ? "." : "", quoted(e->name),
			      e->name.p);
}

static bool check_call(struct virtual_answer *a, unsigned expr)
{
	const struct select_expr *e = &a->select->exprs[expr];
	const struct virtual_function *f = virtual_function_find(e->name);
	struct virtual_expr_info *info = &a->infos[expr];
	unsigned wanted, given;

	if (!f || (e->keyspace.len > 0 && !sv_equal(e->keyspace, SV("system"))))
		return unknown_function(a, e);
	info->function = f;
	info->type = value_type(f->result);
	if (f->kind == FUNCTION_CELL)
		return check_cell(a, expr);
	wanted = f->kind != FUNCTION_MADE;
	given = count_arguments(a, e);
	if (given != wanted)
		return virtual_refuse(
			a, CQL_ERR_INVALID,
			"Invalid number of arguments in call to function system.%s: %u required but %u provided",
			f->name, wanted, given);
	if (f->kind == FUNCTION_AGGREGATE)
		return check_aggregate(a, expr);
	if (f->kind == FUNCTION_MADE)
		return true;
	if (!virtual_check(a, e->first, argument_type(a, f), f->name))
		return false;
	return f->takes(a, a->infos[e->first].type) || no_signature(a, expr);
}

/* A call or cast where a value of another type is due. */
static bool check_result(struct virtual_answer *a, unsigned expr, struct bytesview expected, const char *what)
{
	char label[LABEL_MAX], type[TYPE_NAME_MAX];

	if (expected.len == 0 || value_same_type(expected, a->infos[expr].type) ||
	    (value_type_id(expected) == TYPE_UUID && value_type_id(a->infos[expr].type) == TYPE_TIMEUUID))
		return true;
	return virtual_refuse(a, CQL_ERR_INVALID, "Cannot assign value %s to %s of type %s", describe(a, expr, label),
			      what, value_type_name(expected, type, sizeof(type)));
}

bool virtual_check(struct virtual_answer *a, unsigned expr, struct bytesview expected, const char *what)
{
	const struct select_expr *e = &a->select->exprs[expr];

	switch ((enum select_kind)e->kind) {
	case SELECT_LITERAL:
		return check_literal(a, expr, expected, what);
	case SELECT_MARKER:
		if (expected.len == 0)
			return cannot_infer(a, expr);
		a->infos[expr].type = expected;
		return virtual_set_marker(a, e, what, expected);
	case SELECT_COLUMN:
		return check_column(a, expr) && check_result(a, expr, expected, what);
	case SELECT_HINT:
		return check_hint(a, expr) && check_result(a, expr, expected, what);
	case SELECT_CAST:
		return check_cast(a, expr) && check_result(a, expr, expected, what);
	case SELECT_CALL:
		return check_call(a, expr) && check_result(a, expr, expected, what);
	}
	return false;
}

/* ---- values ---- */

static void write_null(struct writer *out)
{
	write_bytes(out, NULL, 0);
}

static void write_cast(struct bytesview from, struct bytesview to, struct bytesview v, struct writer *out)
{
	const struct virtual_function *f;
	struct writer text;
	int64_t number;

	if (value_type_id(to) == TYPE_VARCHAR || value_type_id(to) == TYPE_ASCII) {
		writer_init(&text);
		if (value_write_text(from, v, &text))
			write_bytes(out, text.len > 0 ? text.data : (const uint8_t *)"", text.len);
		else
			write_null(out);
		writer_free(&text);
		return;
	}
	if (value_type_id(to) == TYPE_TIMESTAMP || value_type_id(to) == TYPE_DATE) {
		f = virtual_function_find(value_type_id(to) == TYPE_DATE ? SV("todate") : SV("totimestamp"));
		f->run(from, v, out);
		return;
	}
	if (!value_to_integer(from, v, &number) || !value_write_number((enum cql_type)value_type_id(to), number, out))
		write_null(out);
}

/* The value of an argument, which `w` holds afterwards. */
static struct bytesview argument_value(const struct virtual_answer *a, unsigned arg, const struct virtual_group *group,
				       struct writer *w)
{
	virtual_write_expr(a, arg, group, w);
	if (get_u32(w->data) > INT32_MAX)
		return (struct bytesview){ .is_null = true };
	return (struct bytesview){ .p = w->data + 4, .len = w->len - 4 };
}

static void write_call(const struct virtual_answer *a, unsigned expr, const struct virtual_group *group,
		       struct writer *out)
{
	const struct select_expr *e = &a->select->exprs[expr];
	const struct virtual_function *f = a->infos[expr].function;
	struct bytesview v = { .is_null = true };
	struct writer w;

	if (f->kind == FUNCTION_AGGREGATE) {
		virtual_aggregate(a, f, counts_rows(a, e) ? 0 : e->first, group, out);
		return;
	}
	if (f->kind == FUNCTION_CELL) {
		write_null(out);
		return;
	}
	if (f->kind == FUNCTION_MADE) {
		virtual_make(a, f, out);
		return;
	}
	writer_init(&w);
	v = argument_value(a, e->first, group, &w);
	/* toJson() of a null is the text "null"; everything else of a null is null. */
	if (v.is_null && !sv_equal(sv_from(virtual_function_label(f)), SV("tojson")))
		write_null(out);
	else
		f->run(a->infos[e->first].type, v, out);
	writer_free(&w);
}

static void write_marker(const struct virtual_answer *a, const struct select_expr *e, struct writer *out)
{
	struct virtual_answer copy = *a;
	struct bytesview v;

	/* It is there: virtual_set_marker() has looked. */
	if (!virtual_marker_value(&copy, e, &v) || v.is_null || v.is_unset)
		write_null(out);
	else
		write_bytes(out, v.p, v.len);
}

static void write_cast_expr(const struct virtual_answer *a, unsigned expr, const struct virtual_group *group,
			    struct writer *out)
{
	const struct select_expr *e = &a->select->exprs[expr];
	struct bytesview v;
	struct writer w;

	writer_init(&w);
	v = argument_value(a, e->first, group, &w);
	if (v.is_null || a->infos[expr].is_plain_cast)
		write_raw(out, w.data, w.len);
	else
		write_cast(a->infos[e->first].type, a->infos[expr].type, v, out);
	writer_free(&w);
}

void virtual_write_expr(const struct virtual_answer *a, unsigned expr, const struct virtual_group *group,
			struct writer *out)
{
	const struct select_expr *e = &a->select->exprs[expr];
	bool ignored;

	switch ((enum select_kind)e->kind) {
	case SELECT_COLUMN:
		if (group->count > 0)
			virtual_write_value(a->infos[expr].column, a->source, &group->nodes[0], out);
		else
			write_null(out);
		break;
	case SELECT_LITERAL:
		if (!value_from_literal((enum select_literal)e->literal, e->name,
					(enum cql_type)value_type_id(a->infos[expr].type), out, &ignored))
			write_null(out);
		break;
	case SELECT_MARKER:
		write_marker(a, e, out);
		break;
	case SELECT_HINT:
		virtual_write_expr(a, e->first, group, out);
		break;
	case SELECT_CAST:
		write_cast_expr(a, expr, group, out);
		break;
	case SELECT_CALL:
		write_call(a, expr, group, out);
		break;
	}
}
