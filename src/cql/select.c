/* select.c - parses the SELECTs that the proxy answers itself; see select.h for the grammar. */
#include "cql/select.h"

#include <stdio.h>

struct parser {
	struct scanner scanner;
	struct token t; /* the current one, not yet taken */
	struct select_query *out;
	char *why;
	size_t why_size;
};

/* How much of a token a message quotes: not all of a long one, and no half of a UTF-8 character. */
static size_t quoted_length(struct strview text)
{
	size_t n = MIN(text.len, (size_t)32);

	while (n > 0 && n < text.len && ((uint8_t)text.p[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* Explains, with the place in the text where it went wrong. Always false. */
static bool refuse(struct parser *p, const char *what)
{
	struct token *t = &p->t;

	if (t->kind == TOKEN_END)
		snprintf(p->why, p->why_size, "%s at the end of a SELECT that the proxy answers itself", what);
	else
		snprintf(p->why, p->why_size, "%s at '%.*s' (byte %u) in a SELECT that the proxy answers itself", what,
			 (int)quoted_length(t->text), t->text.p, (unsigned)t->offset);
	return false;
}

static void advance(struct parser *p)
{
	p->t = scanner_next(&p->scanner);
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

/* The reserved words of the grammar above; as names they have to be quoted. */
static bool is_reserved(const struct token *t)
{
	static const char *const words[] = { "SELECT", "FROM", "WHERE", "AND", "IN", "ORDER", "LIMIT", "ALLOW" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (token_is_keyword(t, words[i]))
			return true;
	}
	return false;
}

/* A name longer than fits is refused: no column or table of ours has one. */
static bool parse_name(struct parser *p, struct statement_name *name, const char *expected)
{
	if (is_reserved(&p->t) || !token_name(&p->t, name) || name->is_cut)
		return refuse(p, expected);
	advance(p);
	return true;
}

/* COUNT has been taken: "( * )" or "( 1 )". */
static bool parse_count(struct parser *p, struct select_item *item)
{
	item->kind = SELECT_COUNT;
	item->column.len = 0;
	advance(p);
	if (!token_is_symbol(&p->t, '*') && !(p->t.kind == TOKEN_NUMBER && sv_equal(p->t.text, SV("1"))))
		return refuse(p, "only COUNT(*) and COUNT(1) are supported, not another argument");
	advance(p);
	return accept_symbol(p, ')') || refuse(p, "expected ')'");
}

static bool parse_item(struct parser *p, struct select_item *item)
{
	bool is_count = token_is_keyword(&p->t, "COUNT");

	*item = (struct select_item){ .kind = SELECT_COLUMN };
	if (!parse_name(p, &item->column, "expected a column name"))
		return false;
	if (token_is_symbol(&p->t, '(')) {
		if (!is_count)
			return refuse(p, "functions are not supported");
		if (!parse_count(p, item))
			return false;
	}
	if (accept(p, "AS"))
		return parse_name(p, &item->alias, "expected a name behind AS");
	return true;
}

static bool parse_items(struct parser *p)
{
	struct select_query *q = p->out;

	if (accept_symbol(p, '*')) {
		q->is_star = true;
		return true;
	}
	do {
		if (q->item_count == SELECT_MAX_ITEMS)
			return refuse(p, "too many columns");
		if (!parse_item(p, &q->items[q->item_count]))
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

/* A number, uuid, true, false ...: the text as it stands, perhaps behind a minus. */
static bool parse_plain_literal(struct parser *p, struct select_relation *r)
{
	const char *sign = "";

	if (accept_symbol(p, '-'))
		sign = "-";
	if (p->t.kind != TOKEN_NUMBER && (p->t.kind != TOKEN_WORD || *sign))
		return refuse(p, "expected a literal or a bind marker");
	snprintf(r->literal, sizeof(r->literal), "%s%.*s", sign, (int)MIN(p->t.text.len, sizeof(r->literal)),
		 p->t.text.p);
	advance(p);
	return true;
}

static bool parse_relation(struct parser *p, struct select_relation *r)
{
	struct select_query *q = p->out;

	*r = (struct select_relation){ 0 };
	if (!parse_name(p, &r->column, "expected a column name"))
		return false;
	if (!accept_symbol(p, '='))
		return refuse(p, "only '=' is supported in WHERE");
	if (token_marker_name(&p->t, &r->marker)) {
		r->is_marker = true;
		r->marker_index = q->marker_count++;
		advance(p);
		return true;
	}
	if (token_string(&p->t, r->literal, sizeof(r->literal))) {
		r->is_string = true;
		advance(p);
		return true;
	}
	return parse_plain_literal(p, r);
}

static bool parse_where(struct parser *p)
{
	struct select_query *q = p->out;

	do {
		if (q->relation_count == SELECT_MAX_RELATIONS)
			return refuse(p, "too many relations");
		if (!parse_relation(p, &q->relations[q->relation_count]))
			return false;
		q->relation_count++;
	} while (accept(p, "AND"));
	return true;
}

static bool parse_limit(struct parser *p)
{
	struct select_query *q = p->out;
	unsigned long long n = 0;

	q->has_limit = true;
	if (token_marker_name(&p->t, &q->limit_marker)) {
		q->limit_is_marker = true;
		q->limit_marker_index = q->marker_count++;
		advance(p);
		return true;
	}
	if (p->t.kind != TOKEN_NUMBER)
		return refuse(p, "expected a number behind LIMIT");
	for (size_t i = 0; i < p->t.text.len && n <= INT32_MAX; i++) {
		char c = p->t.text.p[i];

		if (c < '0' || c > '9')
			return refuse(p, "expected a number behind LIMIT");
		n = n * 10 + (unsigned)(c - '0');
	}
	/* Cassandra's limit is an int above zero. */
	if (n == 0 || n > INT32_MAX)
		return refuse(p, "LIMIT must be from 1 to 2147483647");
	q->limit = (uint32_t)n;
	advance(p);
	return true;
}

/* JSON is no reserved word: it is the option when a selector follows it, else the name of a column. */
static bool is_json_option(const struct parser *p)
{
	struct scanner ahead = p->scanner;
	struct token next = scanner_next(&ahead);

	return token_is_keyword(&p->t, "JSON") && !token_is_symbol(&next, ',') && !token_is_keyword(&next, "FROM") &&
	       !token_is_keyword(&next, "AS");
}

static bool parse_query(struct parser *p)
{
	if (!accept(p, "SELECT"))
		return refuse(p, "expected SELECT");
	if (is_json_option(p))
		return refuse(p, "JSON is not supported");
	accept(p, "DISTINCT");
	if (!parse_items(p))
		return false;
	if (!accept(p, "FROM"))
		return refuse(p, "expected FROM");
	if (!parse_table(p))
		return false;
	if (accept(p, "WHERE") && !parse_where(p))
		return false;
	if (accept(p, "LIMIT") && !parse_limit(p))
		return false;
	if (accept(p, "ALLOW") && !accept(p, "FILTERING"))
		return refuse(p, "expected FILTERING");
	while (accept_symbol(p, ';'))
		;
	return p->t.kind == TOKEN_END || refuse(p, "not supported");
}

bool select_parse(struct strview text, struct select_query *out, char *why, size_t why_size)
{
	struct parser p = { .out = out, .why = why, .why_size = why_size };

	*out = (struct select_query){ 0 };
	scanner_init(&p.scanner, text);
	advance(&p);
	return parse_query(&p);
}
