/* select.c - the clauses of a SELECT; expressions are in select_expr.c. See select.h. */
#include "cql/select_parser.h"

#include <stdio.h>
#include <stdlib.h>

const char *select_literal_name(enum select_literal literal)
{
	static const char *const names[] = {
#define X(name) #name,
		SELECT_LITERALS(X)
#undef X
	};

	return names[literal];
}

const char *select_op_name(enum select_op op)
{
	static const char *const names[] = {
		[SELECT_OP_EQ] = "=",
		[SELECT_OP_NE] = "!=",
		[SELECT_OP_LT] = "<",
		[SELECT_OP_LE] = "<=",
		[SELECT_OP_GT] = ">",
		[SELECT_OP_GE] = ">=",
		[SELECT_OP_IN] = "IN",
		[SELECT_OP_CONTAINS] = "CONTAINS",
		[SELECT_OP_CONTAINS_KEY] = "CONTAINS KEY",
		[SELECT_OP_LIKE] = "LIKE",
		[SELECT_OP_NOT_NULL] = "IS NOT",
	};

	return names[op];
}

/* ---- clauses ---- */

static bool parse_items(struct select_parser *p)
{
	struct select_query *q = p->out;

	if (parser_accept_symbol(p, '*')) {
		q->is_star = true;
		return true;
	}
	do {
		struct select_item *item = &q->items[q->item_count];

		if (q->item_count == SELECT_MAX_ITEMS)
			return parser_unsupported(p, "too many columns");
		*item = (struct select_item){ .alias = SV("") };
		if (!parser_expr(p, true, &item->expr))
			return false;
		if (parser_accept(p, "AS") && !parser_name(p, &item->alias, "expected a name behind AS"))
			return false;
		q->item_count++;
	} while (parser_accept_symbol(p, ','));
	return true;
}

static bool parse_table(struct select_parser *p)
{
	struct select_query *q = p->out;

	if (!parser_name(p, &q->table, "expected a table name"))
		return false;
	if (!parser_accept_symbol(p, '.'))
		return true;
	q->keyspace = q->table;
	return parser_name(p, &q->table, "expected a table name");
}

/* The operators that are symbols; false when there is none. */
static bool symbol_op(const struct token *t, uint8_t *op)
{
	static const struct {
		struct strview text;
		enum select_op op;
	} ops[] = {
		{ SV("="), SELECT_OP_EQ },  { SV("!="), SELECT_OP_NE }, { SV("<"), SELECT_OP_LT },
		{ SV("<="), SELECT_OP_LE }, { SV(">"), SELECT_OP_GT },  { SV(">="), SELECT_OP_GE },
	};

	if (t->kind != TOKEN_SYMBOL)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (sv_equal(t->text, ops[i].text)) {
			*op = (uint8_t)ops[i].op;
			return true;
		}
	}
	return false;
}

/* IN has been taken: a list of terms, or a marker for a whole list. */
static bool parse_in(struct select_parser *p, struct select_relation *r)
{
	uint16_t last = 0;
	uint16_t value;

	r->op = SELECT_OP_IN;
	if (p->t.kind == TOKEN_MARKER) {
		r->is_in_marker = true;
		return parser_marker(p, &r->values);
	}
	if (!parser_accept_symbol(p, '('))
		return parser_refuse(p, "expected '(' or a bind marker");
	if (parser_accept_symbol(p, ')'))
		return true;
	do {
		if (!parser_expr(p, false, &value))
			return false;
		if (last)
			p->out->exprs[last].next = value;
		else
			r->values = value;
		last = value;
	} while (parser_accept_symbol(p, ','));
	return parser_expect_symbol(p, ')');
}

/* What stands behind the column. */
static bool parse_condition(struct select_parser *p, struct select_relation *r)
{
	if (symbol_op(&p->t, &r->op)) {
		parser_advance(p);
		return parser_expr(p, false, &r->values);
	}
	if (!r->is_token && parser_accept(p, "IN"))
		return parse_in(p, r);
	if (!r->is_token && parser_accept(p, "CONTAINS")) {
		r->op = parser_accept(p, "KEY") ? SELECT_OP_CONTAINS_KEY : SELECT_OP_CONTAINS;
		return parser_expr(p, false, &r->values);
	}
	if (!r->is_token && parser_accept(p, "LIKE")) {
		r->op = SELECT_OP_LIKE;
		return parser_expr(p, false, &r->values);
	}
	if (!r->is_token && parser_accept(p, "IS")) {
		r->op = SELECT_OP_NOT_NULL;
		return (parser_accept(p, "NOT") && parser_accept(p, "NULL")) || parser_refuse(p, "expected NOT NULL");
	}
	if (token_is_symbol(&p->t, '[') || token_is_symbol(&p->t, '.') || token_is_keyword(&p->t, "NOT") ||
	    token_is_keyword(&p->t, "BETWEEN"))
		return parser_unsupported(p, "this kind of relation is not supported");
	return parser_refuse(p, "expected an operator");
}

/* Names between parentheses; the first is kept, and how many there are. */
static bool parse_columns(struct select_parser *p, struct select_relation *r)
{
	struct strview name;

	if (!parser_expect_symbol(p, '('))
		return false;
	do {
		if (!parser_name(p, &name, "expected a column name"))
			return false;
		if (r->columns++ == 0)
			r->column = name;
	} while (parser_accept_symbol(p, ','));
	return parser_expect_symbol(p, ')');
}

/* The rest of a relation on several columns, which nobody will look at: up to the next AND outside parentheses. */
static bool skip_condition(struct select_parser *p)
{
	unsigned depth = 0;

	while (p->t.kind != TOKEN_END && p->t.kind != TOKEN_BAD) {
		if (depth == 0 && (parser_is_reserved(&p->t) && !token_is_keyword(&p->t, "IN")))
			break;
		if (token_is_symbol(&p->t, '('))
			depth++;
		else if (token_is_symbol(&p->t, ')') && depth > 0)
			depth--;
		p->out->marker_count += p->t.kind == TOKEN_MARKER;
		parser_advance(p);
	}
	return true;
}

static bool parse_relation(struct select_parser *p, struct select_relation *r)
{
	*r = (struct select_relation){ .column = SV("") };
	if (token_is_keyword(&p->t, "TOKEN")) {
		parser_advance(p);
		r->is_token = true;
		return parse_columns(p, r) && parse_condition(p, r);
	}
	if (token_is_symbol(&p->t, '(')) {
		r->is_tuple = true;
		return parse_columns(p, r) && skip_condition(p);
	}
	r->columns = 1;
	return parser_name(p, &r->column, "expected a column name") && parse_condition(p, r);
}

static bool parse_where(struct select_parser *p)
{
	struct select_query *q = p->out;

	do {
		if (q->relation_count == SELECT_MAX_RELATIONS)
			return parser_unsupported(p, "too many relations");
		if (!parse_relation(p, &q->relations[q->relation_count]))
			return false;
		q->relation_count++;
	} while (parser_accept(p, "AND"));
	return true;
}

/* GROUP or ORDER has been taken. */
static bool parse_names(struct select_parser *p, struct strview *names, unsigned *count, bool has_direction)
{
	if (!parser_accept(p, "BY"))
		return parser_refuse(p, "expected BY");
	do {
		if (*count == SELECT_MAX_NAMES)
			return parser_unsupported(p, "too many names");
		if (!parser_name(p, &names[*count], "expected a column name"))
			return false;
		(*count)++;
		if (has_direction && !parser_accept(p, "ASC"))
			parser_accept(p, "DESC");
		if (token_is_symbol(&p->t, '('))
			return parser_unsupported(p, "functions are not supported here");
	} while (parser_accept_symbol(p, ','));
	return true;
}

static bool parse_limit(struct select_parser *p, uint16_t *out)
{
	bool is_number = p->t.kind == TOKEN_NUMBER || token_is_symbol(&p->t, '-');

	if (p->t.kind == TOKEN_MARKER)
		return parser_marker(p, out);
	if (!is_number)
		return parser_refuse(p, "expected a number behind LIMIT");
	if (p->t.kind == TOKEN_NUMBER && !parser_is_all(p->t.text, "0123456789"))
		return parser_refuse(p, "expected a number behind LIMIT");
	return parser_number(p, out);
}

static bool parse_limits(struct select_parser *p)
{
	if (parser_accept(p, "PER")) {
		if (!parser_accept(p, "PARTITION") || !parser_accept(p, "LIMIT"))
			return parser_refuse(p, "expected PARTITION LIMIT");
		if (!parse_limit(p, &p->out->per_partition_limit))
			return false;
	}
	return !parser_accept(p, "LIMIT") || parse_limit(p, &p->out->limit);
}

/* JSON and DISTINCT are no reserved words: options when a selector follows them, else names of columns. */
static bool accept_option(struct select_parser *p, const char *keyword)
{
	struct token next = parser_peek(p);

	if (token_is_symbol(&next, ',') || token_is_symbol(&next, '.') || token_is_keyword(&next, "FROM") ||
	    token_is_keyword(&next, "AS"))
		return false;
	return parser_accept(p, keyword);
}

static bool parse_query(struct select_parser *p)
{
	struct select_query *q = p->out;

	if (!parser_accept(p, "SELECT"))
		return parser_refuse(p, "expected SELECT");
	q->is_json = accept_option(p, "JSON");
	q->is_distinct = accept_option(p, "DISTINCT");
	if (!parse_items(p))
		return false;
	if (!parser_accept(p, "FROM"))
		return parser_refuse(p, "expected FROM");
	if (!parse_table(p))
		return false;
	if (parser_accept(p, "WHERE") && !parse_where(p))
		return false;
	if (parser_accept(p, "GROUP") && !parse_names(p, q->group, &q->group_count, false))
		return false;
	if (parser_accept(p, "ORDER") && !parse_names(p, q->order, &q->order_count, true))
		return false;
	if (!parse_limits(p))
		return false;
	if (parser_accept(p, "ALLOW")) {
		if (!parser_accept(p, "FILTERING"))
			return parser_refuse(p, "expected FILTERING");
		q->allows_filtering = true;
	}
	while (parser_accept_symbol(p, ';'))
		;
	return p->t.kind == TOKEN_END || parser_refuse(p, "not expected");
}

bool select_parse(struct strview text, struct select_query *out, enum cql_error_code *code, char *why, size_t why_size)
{
	struct select_parser p = { .out = out, .code = code, .why = why, .why_size = why_size };

	*out = (struct select_query){ .expr_count = 1, .keyspace = SV(""), .table = SV("") };
	if (text.len > SELECT_MAX_TEXT) {
		*code = CQL_ERR_INVALID;
		snprintf(why, why_size, "a SELECT that the proxy answers itself may have %u bytes, not %zu",
			 SELECT_MAX_TEXT, text.len);
		return false;
	}
	out->text = xstrndup(text.p, text.len);
	scanner_init(&p.scanner, (struct strview){ out->text, text.len });
	parser_advance(&p);
	if (parse_query(&p))
		return true;
	select_free(out);
	return false;
}

void select_free(struct select_query *q)
{
	free(q->text);
	free(q->exprs);
	q->text = NULL;
	q->exprs = NULL;
}
