/*
 * select.c - see select.h
 *
 * Names are folded and strings unquoted in the parser's own copy of the text,
 * always behind the scanner: it never looks back.
 */
#include "cql/select.h"

#include <stdio.h>
#include <stdlib.h>

struct parser {
	struct scanner scanner;
	struct token t; /* the current one, not yet taken */
	struct select_query *out;
	unsigned expr_cap;
	unsigned depth;
	enum cql_error_code *code;
	char *why;
	size_t why_size;
};

static bool parse_expr(struct parser *p, bool is_selector, uint16_t *out);

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

/* ---- errors ---- */

/* How much of a token a message quotes: not all of a long one, and no half of a UTF-8 character. */
static size_t quoted_length(struct strview text)
{
	size_t n = MIN(text.len, (size_t)32);

	while (n > 0 && n < text.len && ((uint8_t)text.p[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* Explains, with the place in the text where it went wrong. Always false. */
static bool stop(struct parser *p, enum cql_error_code code, const char *what)
{
	struct token *t = &p->t;

	*p->code = code;
	if (t->kind == TOKEN_END)
		snprintf(p->why, p->why_size, "%s at the end of a SELECT that the proxy answers itself", what);
	else
		snprintf(p->why, p->why_size, "%s at '%.*s' (byte %u) in a SELECT that the proxy answers itself", what,
			 (int)quoted_length(t->text), t->text.p, (unsigned)t->offset);
	return false;
}

/* The text is no CQL, as far as we know. */
static bool refuse(struct parser *p, const char *what)
{
	return stop(p, CQL_ERR_SYNTAX_ERROR, what);
}

/* It may be CQL, but is beyond us. */
static bool unsupported(struct parser *p, const char *what)
{
	return stop(p, CQL_ERR_INVALID, what);
}

/* ---- tokens ---- */

static void advance(struct parser *p)
{
	p->t = scanner_next(&p->scanner);
}

/* The token behind the current one. */
static struct token peek(const struct parser *p)
{
	struct scanner ahead = p->scanner;

	return scanner_next(&ahead);
}

/* Takes the current token if it is that keyword. */
static bool accept(struct parser *p, const char *keyword)
{
	if (!token_is_keyword(&p->t, keyword))
		return false;
	advance(p);
	return true;
}

static bool accept_symbol(struct parser *p, char c)
{
	if (!token_is_symbol(&p->t, c))
		return false;
	advance(p);
	return true;
}

static bool expect_symbol(struct parser *p, char c)
{
	char what[] = "expected ' '";

	what[sizeof("expected '") - 1] = c;
	return accept_symbol(p, c) || refuse(p, what);
}

/* The reserved words of the grammar above; as names they have to be quoted. */
static bool is_reserved(const struct token *t)
{
	static const char *const words[] = { "SELECT", "FROM",  "WHERE", "AND",  "IN", "ORDER",
					     "LIMIT",  "ALLOW", "IS",    "NULL", "BY", "TOKEN" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (token_is_keyword(t, words[i]))
			return true;
	}
	return false;
}

/* ---- texts, in place ---- */

static char *writable(struct parser *p, struct strview v)
{
	return p->out->text + (v.p - p->out->text);
}

static struct strview fold(struct parser *p, struct strview word)
{
	char *s = writable(p, word);

	for (size_t i = 0; i < word.len; i++) {
		if (s[i] >= 'A' && s[i] <= 'Z')
			s[i] = (char)(s[i] | 0x20);
	}
	return word;
}

/* What stands between quotes, doubled ones made one. `quote` is ' or " or $ (two of them on each side, none doubled). */
static struct strview unquote(struct parser *p, struct strview quoted)
{
	char *s = writable(p, quoted);
	char quote = *s;
	size_t margin = quote == '$' ? 2 : 1;
	size_t n = 0;

	for (size_t i = margin; i < quoted.len - margin; i++) {
		s[n++] = s[i];
		if (s[i] == quote && quote != '$')
			i++;
	}
	return (struct strview){ s, n };
}

/* A word or quoted name, which is taken. */
static struct strview take_name(struct parser *p)
{
	struct token t = p->t;

	advance(p);
	return t.kind == TOKEN_QUOTED ? unquote(p, t.text) : fold(p, t.text);
}

static bool parse_name(struct parser *p, struct strview *name, const char *expected)
{
	if (is_reserved(&p->t) || (p->t.kind != TOKEN_WORD && p->t.kind != TOKEN_QUOTED))
		return refuse(p, expected);
	*name = take_name(p);
	return true;
}

/* ---- expressions ---- */

/* Room for one more, zeroed; NULL when there are too many. */
static struct select_expr *add_expr(struct parser *p, enum select_kind kind, uint16_t *index)
{
	struct select_query *q = p->out;

	if (q->expr_count == SELECT_MAX_EXPRS) {
		unsupported(p, "too many expressions");
		return NULL;
	}
	if (q->expr_count >= p->expr_cap) { /* the one at 0 is counted before there is room */
		p->expr_cap = p->expr_cap ? p->expr_cap * 2 : 16;
		q->exprs = xrealloc(q->exprs, p->expr_cap * sizeof(*q->exprs));
	}
	*index = (uint16_t)q->expr_count++;
	q->exprs[*index] = (struct select_expr){ .kind = (uint8_t)kind, .name = SV(""), .keyspace = SV("") };
	return &q->exprs[*index];
}

static bool is_all(struct strview v, const char *chars)
{
	for (size_t i = 0; i < v.len; i++) {
		if (!strchr(chars, v.p[i]) || v.p[i] == '\0')
			return false;
	}
	return v.len > 0;
}

/* False for a duration, or a number with letters behind it. */
static bool number_kind(struct strview v, enum select_literal *kind)
{
	struct strview digits = v;

	if (v.len > 0 && v.p[0] == '-')
		digits = (struct strview){ v.p + 1, v.len - 1 };
	if (v.len == 36 && v.p[8] == '-')
		*kind = LITERAL_UUID;
	else if (v.len >= 2 && v.p[0] == '0' && (v.p[1] | 0x20) == 'x')
		*kind = LITERAL_HEX;
	else if (is_all(digits, "0123456789"))
		*kind = LITERAL_INTEGER;
	else if (is_all(digits, "0123456789.eE+-"))
		*kind = LITERAL_FLOAT;
	else
		return false;
	return *kind != LITERAL_HEX || v.len == 2 ||
	       is_all((struct strview){ v.p + 2, v.len - 2 }, "0123456789abcdefABCDEF");
}

/* A minus belongs to the number that stands right behind it. */
static bool parse_number(struct parser *p, uint16_t *out)
{
	struct strview v = p->t.text;
	enum select_literal kind;
	struct select_expr *e;

	if (token_is_symbol(&p->t, '-')) {
		struct token next = peek(p);

		if (next.kind != TOKEN_NUMBER || next.text.p != v.p + 1)
			return unsupported(p, "operators are not supported");
		v.len += next.text.len;
		advance(p);
	}
	if (!number_kind(v, &kind))
		return unsupported(p, "this literal is not supported");
	e = add_expr(p, SELECT_LITERAL, out);
	if (!e)
		return false;
	e->literal = (uint8_t)kind;
	e->name = v;
	advance(p);
	return true;
}

static bool parse_string(struct parser *p, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_LITERAL, out);
	struct token t = p->t;

	if (!e)
		return false;
	advance(p);
	e->literal = LITERAL_STRING;
	e->name = unquote(p, t.text);
	return true;
}

static bool parse_marker(struct parser *p, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_MARKER, out);
	struct strview name = { p->t.text.p + 1, p->t.text.len - 1 };

	if (!e)
		return false;
	advance(p);
	if (name.len > 0)
		e->name = name.p[0] == '"' ? unquote(p, name) : fold(p, name);
	e->marker = (uint16_t)p->out->marker_count++;
	return true;
}

/* true, false, null: words that are no names. */
static bool word_literal(const struct token *t, enum select_literal *kind)
{
	if (token_is_keyword(t, "NULL"))
		*kind = LITERAL_NULL;
	else if (token_is_keyword(t, "TRUE") || token_is_keyword(t, "FALSE"))
		*kind = LITERAL_BOOLEAN;
	else
		return false;
	return true;
}

static bool parse_word_literal(struct parser *p, enum select_literal kind, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_LITERAL, out);

	if (!e)
		return false;
	e->literal = (uint8_t)kind;
	e->name = take_name(p);
	return true;
}

/* "(type) term": the parenthesis is the current token. Tuples and groups are not for us. */
static bool parse_hint(struct parser *p, uint16_t *out)
{
	struct select_expr *e;
	struct strview type;
	struct token next;
	uint16_t inner;

	advance(p);
	next = peek(p);
	if (p->t.kind != TOKEN_WORD || !token_is_symbol(&next, ')'))
		return unsupported(p, "tuples and groups are not supported");
	type = take_name(p);
	advance(p);
	if (p->t.kind == TOKEN_END || p->t.kind == TOKEN_QUOTED || token_is_symbol(&p->t, ',') ||
	    token_is_keyword(&p->t, "FROM") || token_is_keyword(&p->t, "AS"))
		return unsupported(p, "groups are not supported");
	if (!parse_expr(p, false, &inner))
		return false;
	e = add_expr(p, SELECT_HINT, out);
	if (!e)
		return false;
	e->name = type;
	e->first = inner;
	return true;
}

/* CAST and its parenthesis have been taken. */
static bool parse_cast(struct parser *p, uint16_t *out)
{
	struct select_expr *e;
	uint16_t inner;

	if (!parse_expr(p, true, &inner))
		return false;
	if (!accept(p, "AS"))
		return refuse(p, "expected AS");
	if (p->t.kind != TOKEN_WORD)
		return refuse(p, "expected a type");
	e = add_expr(p, SELECT_CAST, out);
	if (!e)
		return false;
	e->first = inner;
	e->name = take_name(p);
	return expect_symbol(p, ')');
}

/* The opening parenthesis has been taken. */
static bool parse_arguments(struct parser *p, bool is_selector, uint16_t call)
{
	uint16_t last = 0;
	uint16_t arg;

	if (accept_symbol(p, ')'))
		return true;
	do {
		if (!parse_expr(p, is_selector, &arg))
			return false;
		if (last)
			p->out->exprs[last].next = arg;
		else
			p->out->exprs[call].first = arg;
		last = arg;
	} while (accept_symbol(p, ','));
	return expect_symbol(p, ')');
}

/* The name has been taken, its parenthesis is the current token. */
static bool parse_call(struct parser *p, struct strview keyspace, struct strview name, bool is_selector, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_CALL, out);

	if (!e)
		return false;
	e->name = name;
	e->keyspace = keyspace;
	advance(p);
	if (sv_equal(name, SV("count")) && accept_symbol(p, '*')) {
		e->is_star = true;
		return expect_symbol(p, ')');
	}
	return parse_arguments(p, is_selector, *out);
}

/* A column, or a function; in a term only the latter. */
static bool parse_named(struct parser *p, bool is_selector, uint16_t *out)
{
	bool is_token = token_is_keyword(&p->t, "TOKEN");
	bool is_cast = token_is_keyword(&p->t, "CAST");
	struct strview keyspace = SV("");
	struct token next = peek(p);
	struct select_expr *e;
	struct strview name;

	if (is_cast && is_selector && token_is_symbol(&next, '(')) {
		advance(p);
		advance(p);
		return parse_cast(p, out);
	}
	if (is_token && token_is_symbol(&next, '('))
		name = take_name(p);
	else if (!parse_name(p, &name, is_selector ? "expected a column name" : "expected a literal or a bind marker"))
		return false;
	if (accept_symbol(p, '.')) {
		keyspace = name;
		if (!parse_name(p, &name, "expected a name"))
			return false;
		if (!token_is_symbol(&p->t, '('))
			return unsupported(p, "fields of values are not supported");
	}
	if (token_is_symbol(&p->t, '('))
		return parse_call(p, keyspace, name, is_selector, out);
	if (!is_selector)
		return refuse(p, "expected a literal or a bind marker before this");
	e = add_expr(p, SELECT_COLUMN, out);
	if (e)
		e->name = name;
	return e != NULL;
}

static bool parse_primary(struct parser *p, bool is_selector, uint16_t *out)
{
	enum select_literal kind;

	switch (p->t.kind) {
	case TOKEN_STRING:
		return parse_string(p, out);
	case TOKEN_NUMBER:
		return parse_number(p, out);
	case TOKEN_MARKER:
		return parse_marker(p, out);
	case TOKEN_WORD:
		if (word_literal(&p->t, &kind))
			return parse_word_literal(p, kind, out);
		return parse_named(p, is_selector, out);
	case TOKEN_QUOTED:
		return parse_named(p, is_selector, out);
	default:
		break;
	}
	if (token_is_symbol(&p->t, '-'))
		return parse_number(p, out);
	if (token_is_symbol(&p->t, '('))
		return parse_hint(p, out);
	if (token_is_symbol(&p->t, '[') || token_is_symbol(&p->t, '{'))
		return unsupported(p, "literals of collections are not supported");
	return refuse(p, is_selector ? "expected a column name" : "expected a literal or a bind marker");
}

static bool parse_expr(struct parser *p, bool is_selector, uint16_t *out)
{
	static const char operators[] = "+-*/%";

	if (++p->depth > SELECT_MAX_DEPTH)
		return unsupported(p, "expressions are nested too deep");
	if (!parse_primary(p, is_selector, out))
		return false;
	for (const char *c = operators; *c; c++) {
		if (token_is_symbol(&p->t, *c))
			return unsupported(p, "operators are not supported");
	}
	if (token_is_symbol(&p->t, '[') || token_is_symbol(&p->t, '.'))
		return unsupported(p, "elements and fields of values are not supported");
	p->depth--;
	return true;
}

/* ---- clauses ---- */

static bool parse_items(struct parser *p)
{
	struct select_query *q = p->out;

	if (accept_symbol(p, '*')) {
		q->is_star = true;
		return true;
	}
	do {
		struct select_item *item = &q->items[q->item_count];

		if (q->item_count == SELECT_MAX_ITEMS)
			return unsupported(p, "too many columns");
		*item = (struct select_item){ .alias = SV("") };
		if (!parse_expr(p, true, &item->expr))
			return false;
		if (accept(p, "AS") && !parse_name(p, &item->alias, "expected a name behind AS"))
			return false;
		q->item_count++;
	} while (accept_symbol(p, ','));
	return true;
}

static bool parse_table(struct parser *p)
{
	struct select_query *q = p->out;

	if (!parse_name(p, &q->table, "expected a table name"))
		return false;
	if (!accept_symbol(p, '.'))
		return true;
	q->keyspace = q->table;
	return parse_name(p, &q->table, "expected a table name");
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
static bool parse_in(struct parser *p, struct select_relation *r)
{
	uint16_t last = 0;
	uint16_t value;

	r->op = SELECT_OP_IN;
	if (p->t.kind == TOKEN_MARKER) {
		r->is_in_marker = true;
		return parse_marker(p, &r->values);
	}
	if (!accept_symbol(p, '('))
		return refuse(p, "expected '(' or a bind marker");
	if (accept_symbol(p, ')'))
		return true;
	do {
		if (!parse_expr(p, false, &value))
			return false;
		if (last)
			p->out->exprs[last].next = value;
		else
			r->values = value;
		last = value;
	} while (accept_symbol(p, ','));
	return expect_symbol(p, ')');
}

/* What stands behind the column. */
static bool parse_condition(struct parser *p, struct select_relation *r)
{
	if (symbol_op(&p->t, &r->op)) {
		advance(p);
		return parse_expr(p, false, &r->values);
	}
	if (!r->is_token && accept(p, "IN"))
		return parse_in(p, r);
	if (!r->is_token && accept(p, "CONTAINS")) {
		r->op = accept(p, "KEY") ? SELECT_OP_CONTAINS_KEY : SELECT_OP_CONTAINS;
		return parse_expr(p, false, &r->values);
	}
	if (!r->is_token && accept(p, "LIKE")) {
		r->op = SELECT_OP_LIKE;
		return parse_expr(p, false, &r->values);
	}
	if (!r->is_token && accept(p, "IS")) {
		r->op = SELECT_OP_NOT_NULL;
		return (accept(p, "NOT") && accept(p, "NULL")) || refuse(p, "expected NOT NULL");
	}
	if (token_is_symbol(&p->t, '[') || token_is_symbol(&p->t, '.') || token_is_keyword(&p->t, "NOT") ||
	    token_is_keyword(&p->t, "BETWEEN"))
		return unsupported(p, "this kind of relation is not supported");
	return refuse(p, "expected an operator");
}

/* Names between parentheses; the first is kept, and how many there are. */
static bool parse_columns(struct parser *p, struct select_relation *r)
{
	struct strview name;

	if (!expect_symbol(p, '('))
		return false;
	do {
		if (!parse_name(p, &name, "expected a column name"))
			return false;
		if (r->columns++ == 0)
			r->column = name;
	} while (accept_symbol(p, ','));
	return expect_symbol(p, ')');
}

/* The rest of a relation on several columns, which nobody will look at: up to the next AND outside parentheses. */
static bool skip_condition(struct parser *p)
{
	unsigned depth = 0;

	while (p->t.kind != TOKEN_END && p->t.kind != TOKEN_BAD) {
		if (depth == 0 && (is_reserved(&p->t) && !token_is_keyword(&p->t, "IN")))
			break;
		if (token_is_symbol(&p->t, '('))
			depth++;
		else if (token_is_symbol(&p->t, ')') && depth > 0)
			depth--;
		p->out->marker_count += p->t.kind == TOKEN_MARKER;
		advance(p);
	}
	return true;
}

static bool parse_relation(struct parser *p, struct select_relation *r)
{
	*r = (struct select_relation){ .column = SV("") };
	if (token_is_keyword(&p->t, "TOKEN")) {
		advance(p);
		r->is_token = true;
		return parse_columns(p, r) && parse_condition(p, r);
	}
	if (token_is_symbol(&p->t, '(')) {
		r->is_tuple = true;
		return parse_columns(p, r) && skip_condition(p);
	}
	r->columns = 1;
	return parse_name(p, &r->column, "expected a column name") && parse_condition(p, r);
}

static bool parse_where(struct parser *p)
{
	struct select_query *q = p->out;

	do {
		if (q->relation_count == SELECT_MAX_RELATIONS)
			return unsupported(p, "too many relations");
		if (!parse_relation(p, &q->relations[q->relation_count]))
			return false;
		q->relation_count++;
	} while (accept(p, "AND"));
	return true;
}

/* GROUP or ORDER has been taken. */
static bool parse_names(struct parser *p, struct strview *names, unsigned *count, bool has_direction)
{
	if (!accept(p, "BY"))
		return refuse(p, "expected BY");
	do {
		if (*count == SELECT_MAX_NAMES)
			return unsupported(p, "too many names");
		if (!parse_name(p, &names[*count], "expected a column name"))
			return false;
		(*count)++;
		if (has_direction && !accept(p, "ASC"))
			accept(p, "DESC");
		if (token_is_symbol(&p->t, '('))
			return unsupported(p, "functions are not supported here");
	} while (accept_symbol(p, ','));
	return true;
}

static bool parse_limit(struct parser *p, uint16_t *out)
{
	bool is_number = p->t.kind == TOKEN_NUMBER || token_is_symbol(&p->t, '-');

	if (p->t.kind == TOKEN_MARKER)
		return parse_marker(p, out);
	if (!is_number)
		return refuse(p, "expected a number behind LIMIT");
	if (p->t.kind == TOKEN_NUMBER && !is_all(p->t.text, "0123456789"))
		return refuse(p, "expected a number behind LIMIT");
	return parse_number(p, out);
}

static bool parse_limits(struct parser *p)
{
	if (accept(p, "PER")) {
		if (!accept(p, "PARTITION") || !accept(p, "LIMIT"))
			return refuse(p, "expected PARTITION LIMIT");
		if (!parse_limit(p, &p->out->per_partition_limit))
			return false;
	}
	return !accept(p, "LIMIT") || parse_limit(p, &p->out->limit);
}

/* JSON and DISTINCT are no reserved words: options when a selector follows them, else names of columns. */
static bool accept_option(struct parser *p, const char *keyword)
{
	struct token next = peek(p);

	if (token_is_symbol(&next, ',') || token_is_symbol(&next, '.') || token_is_keyword(&next, "FROM") ||
	    token_is_keyword(&next, "AS"))
		return false;
	return accept(p, keyword);
}

static bool parse_query(struct parser *p)
{
	struct select_query *q = p->out;

	if (!accept(p, "SELECT"))
		return refuse(p, "expected SELECT");
	q->is_json = accept_option(p, "JSON");
	q->is_distinct = accept_option(p, "DISTINCT");
	if (!parse_items(p))
		return false;
	if (!accept(p, "FROM"))
		return refuse(p, "expected FROM");
	if (!parse_table(p))
		return false;
	if (accept(p, "WHERE") && !parse_where(p))
		return false;
	if (accept(p, "GROUP") && !parse_names(p, q->group, &q->group_count, false))
		return false;
	if (accept(p, "ORDER") && !parse_names(p, q->order, &q->order_count, true))
		return false;
	if (!parse_limits(p))
		return false;
	if (accept(p, "ALLOW")) {
		if (!accept(p, "FILTERING"))
			return refuse(p, "expected FILTERING");
		q->allows_filtering = true;
	}
	while (accept_symbol(p, ';'))
		;
	return p->t.kind == TOKEN_END || refuse(p, "not expected");
}

bool select_parse(struct strview text, struct select_query *out, enum cql_error_code *code, char *why, size_t why_size)
{
	struct parser p = { .out = out, .code = code, .why = why, .why_size = why_size };

	*out = (struct select_query){ .expr_count = 1, .keyspace = SV(""), .table = SV("") };
	if (text.len > SELECT_MAX_TEXT) {
		*code = CQL_ERR_INVALID;
		snprintf(why, why_size, "a SELECT that the proxy answers itself may have %u bytes, not %zu",
			 SELECT_MAX_TEXT, text.len);
		return false;
	}
	out->text = xstrndup(text.p, text.len);
	scanner_init(&p.scanner, (struct strview){ out->text, text.len });
	advance(&p);
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
