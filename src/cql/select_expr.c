/* select_expr.c - tokens and expressions of the SELECTs that we answer. See select_parser.h. */
#include "cql/select_parser.h"

#include <stdio.h>

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
static bool stop(struct select_parser *p, enum cql_error_code code, const char *what)
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
bool parser_refuse(struct select_parser *p, const char *what)
{
	return stop(p, CQL_ERR_SYNTAX_ERROR, what);
}

/* It may be CQL, but is beyond us. */
bool parser_unsupported(struct select_parser *p, const char *what)
{
	return stop(p, CQL_ERR_INVALID, what);
}

/* ---- tokens ---- */

void parser_advance(struct select_parser *p)
{
	p->t = scanner_next(&p->scanner);
}

/* The token behind the current one. */
struct token parser_peek(const struct select_parser *p)
{
	struct scanner ahead = p->scanner;

	return scanner_next(&ahead);
}

/* Takes the current token if it is that keyword. */
bool parser_accept(struct select_parser *p, const char *keyword)
{
	if (!token_is_keyword(&p->t, keyword))
		return false;
	parser_advance(p);
	return true;
}

bool parser_accept_symbol(struct select_parser *p, char c)
{
	if (!token_is_symbol(&p->t, c))
		return false;
	parser_advance(p);
	return true;
}

bool parser_expect_symbol(struct select_parser *p, char c)
{
	char what[] = "expected ' '";

	what[sizeof("expected '") - 1] = c;
	return parser_accept_symbol(p, c) || parser_refuse(p, what);
}

/* The reserved words of the grammar above; as names they have to be quoted. */
bool parser_is_reserved(const struct token *t)
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

static char *writable(struct select_parser *p, struct strview v)
{
	return p->out->text + (v.p - p->out->text);
}

static struct strview fold(struct select_parser *p, struct strview word)
{
	char *s = writable(p, word);

	for (size_t i = 0; i < word.len; i++) {
		if (s[i] >= 'A' && s[i] <= 'Z')
			s[i] = (char)(s[i] | 0x20);
	}
	return word;
}

/* What stands between quotes, doubled ones made one. `quote` is ' or " or $ (two of them on each side, none doubled). */
static struct strview unquote(struct select_parser *p, struct strview quoted)
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
static struct strview take_name(struct select_parser *p)
{
	struct token t = p->t;

	parser_advance(p);
	return t.kind == TOKEN_QUOTED ? unquote(p, t.text) : fold(p, t.text);
}

bool parser_name(struct select_parser *p, struct strview *name, const char *expected)
{
	if (parser_is_reserved(&p->t) || (p->t.kind != TOKEN_WORD && p->t.kind != TOKEN_QUOTED))
		return parser_refuse(p, expected);
	*name = take_name(p);
	return true;
}

/* ---- expressions ---- */

/* Room for one more, zeroed; NULL when there are too many. */
static struct select_expr *add_expr(struct select_parser *p, enum select_kind kind, uint16_t *index)
{
	struct select_query *q = p->out;

	if (q->expr_count == SELECT_MAX_EXPRS) {
		parser_unsupported(p, "too many expressions");
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

bool parser_is_all(struct strview v, const char *chars)
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
	else if (parser_is_all(digits, "0123456789"))
		*kind = LITERAL_INTEGER;
	else if (parser_is_all(digits, "0123456789.eE+-"))
		*kind = LITERAL_FLOAT;
	else
		return false;
	return *kind != LITERAL_HEX || v.len == 2 ||
	       parser_is_all((struct strview){ v.p + 2, v.len - 2 }, "0123456789abcdefABCDEF");
}

/* A minus belongs to the number that stands right behind it. */
bool parser_number(struct select_parser *p, uint16_t *out)
{
	struct strview v = p->t.text;
	enum select_literal kind;
	struct select_expr *e;

	if (token_is_symbol(&p->t, '-')) {
		struct token next = parser_peek(p);

		if (next.kind != TOKEN_NUMBER || next.text.p != v.p + 1)
			return parser_unsupported(p, "operators are not supported");
		v.len += next.text.len;
		parser_advance(p);
	}
	if (!number_kind(v, &kind))
		return parser_unsupported(p, "this literal is not supported");
	e = add_expr(p, SELECT_LITERAL, out);
	if (!e)
		return false;
	e->literal = (uint8_t)kind;
	e->name = v;
	parser_advance(p);
	return true;
}

static bool parse_string(struct select_parser *p, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_LITERAL, out);
	struct token t = p->t;

	if (!e)
		return false;
	parser_advance(p);
	e->literal = LITERAL_STRING;
	e->name = unquote(p, t.text);
	return true;
}

bool parser_marker(struct select_parser *p, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_MARKER, out);
	struct strview name = { p->t.text.p + 1, p->t.text.len - 1 };

	if (!e)
		return false;
	parser_advance(p);
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

static bool parse_word_literal(struct select_parser *p, enum select_literal kind, uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_LITERAL, out);

	if (!e)
		return false;
	e->literal = (uint8_t)kind;
	e->name = take_name(p);
	return true;
}

/* "(type) term": the parenthesis is the current token. Tuples and groups are not for us. */
static bool parse_hint(struct select_parser *p, uint16_t *out)
{
	struct select_expr *e;
	struct strview type;
	struct token next;
	uint16_t inner;

	parser_advance(p);
	next = parser_peek(p);
	if (p->t.kind != TOKEN_WORD || !token_is_symbol(&next, ')'))
		return parser_unsupported(p, "tuples and groups are not supported");
	type = take_name(p);
	parser_advance(p);
	if (p->t.kind == TOKEN_END || p->t.kind == TOKEN_QUOTED || token_is_symbol(&p->t, ',') ||
	    token_is_keyword(&p->t, "FROM") || token_is_keyword(&p->t, "AS"))
		return parser_unsupported(p, "groups are not supported");
	if (!parser_expr(p, false, &inner))
		return false;
	e = add_expr(p, SELECT_HINT, out);
	if (!e)
		return false;
	e->name = type;
	e->first = inner;
	return true;
}

/* CAST and its parenthesis have been taken. */
static bool parse_cast(struct select_parser *p, uint16_t *out)
{
	struct select_expr *e;
	uint16_t inner;

	if (!parser_expr(p, true, &inner))
		return false;
	if (!parser_accept(p, "AS"))
		return parser_refuse(p, "expected AS");
	if (p->t.kind != TOKEN_WORD)
		return parser_refuse(p, "expected a type");
	e = add_expr(p, SELECT_CAST, out);
	if (!e)
		return false;
	e->first = inner;
	e->name = take_name(p);
	return parser_expect_symbol(p, ')');
}

/* The opening parenthesis has been taken. */
static bool parse_arguments(struct select_parser *p, bool is_selector, uint16_t call)
{
	uint16_t last = 0;
	uint16_t arg;

	if (parser_accept_symbol(p, ')'))
		return true;
	do {
		if (!parser_expr(p, is_selector, &arg))
			return false;
		if (last)
			p->out->exprs[last].next = arg;
		else
			p->out->exprs[call].first = arg;
		last = arg;
	} while (parser_accept_symbol(p, ','));
	return parser_expect_symbol(p, ')');
}

/* The name has been taken, its parenthesis is the current token. */
static bool parse_call(struct select_parser *p, struct strview keyspace, struct strview name, bool is_selector,
		       uint16_t *out)
{
	struct select_expr *e = add_expr(p, SELECT_CALL, out);

	if (!e)
		return false;
	e->name = name;
	e->keyspace = keyspace;
	parser_advance(p);
	if (sv_equal(name, SV("count")) && parser_accept_symbol(p, '*')) {
		e->is_star = true;
		return parser_expect_symbol(p, ')');
	}
	return parse_arguments(p, is_selector, *out);
}

/* A column, or a function; in a term only the latter. */
static bool parse_named(struct select_parser *p, bool is_selector, uint16_t *out)
{
	bool is_token = token_is_keyword(&p->t, "TOKEN");
	bool is_cast = token_is_keyword(&p->t, "CAST");
	struct strview keyspace = SV("");
	struct token next = parser_peek(p);
	struct select_expr *e;
	struct strview name;

	if (is_cast && is_selector && token_is_symbol(&next, '(')) {
		parser_advance(p);
		parser_advance(p);
		return parse_cast(p, out);
	}
	if (is_token && token_is_symbol(&next, '('))
		name = take_name(p);
	else if (!parser_name(p, &name, is_selector ? "expected a column name" : "expected a literal or a bind marker"))
		return false;
	if (parser_accept_symbol(p, '.')) {
		keyspace = name;
		if (!parser_name(p, &name, "expected a name"))
			return false;
		if (!token_is_symbol(&p->t, '('))
			return parser_unsupported(p, "fields of values are not supported");
	}
	if (token_is_symbol(&p->t, '('))
		return parse_call(p, keyspace, name, is_selector, out);
	if (!is_selector)
		return parser_refuse(p, "expected a literal or a bind marker before this");
	e = add_expr(p, SELECT_COLUMN, out);
	if (e)
		e->name = name;
	return e != NULL;
}

static bool parse_primary(struct select_parser *p, bool is_selector, uint16_t *out)
{
	enum select_literal kind;

	switch (p->t.kind) {
	case TOKEN_STRING:
		return parse_string(p, out);
	case TOKEN_NUMBER:
		return parser_number(p, out);
	case TOKEN_MARKER:
		return parser_marker(p, out);
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
		return parser_number(p, out);
	if (token_is_symbol(&p->t, '('))
		return parse_hint(p, out);
	if (token_is_symbol(&p->t, '[') || token_is_symbol(&p->t, '{'))
		return parser_unsupported(p, "literals of collections are not supported");
	return parser_refuse(p, is_selector ? "expected a column name" : "expected a literal or a bind marker");
}

bool parser_expr(struct select_parser *p, bool is_selector, uint16_t *out)
{
	static const char operators[] = "+-*/%";

	if (++p->depth > SELECT_MAX_DEPTH)
		return parser_unsupported(p, "expressions are nested too deep");
	if (!parse_primary(p, is_selector, out))
		return false;
	for (const char *c = operators; *c; c++) {
		if (token_is_symbol(&p->t, *c))
			return parser_unsupported(p, "operators are not supported");
	}
	if (token_is_symbol(&p->t, '[') || token_is_symbol(&p->t, '.'))
		return parser_unsupported(p, "elements and fields of values are not supported");
	p->depth--;
	return true;
}
