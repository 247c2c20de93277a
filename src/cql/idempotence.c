/*
 * idempotence.c - see idempotence.h
 *
 * A parser by descent over the tokens that says yes or no. It takes less than
 * Cassandra does: texts whose meaning it knows, and nothing else.
 */
#include "cql/idempotence.h"

#include "cql/statement.h"

/* TIMESTAMP and TTL, in any order. */
#define MAX_ATTRIBUTES 2

/* Where a term stands, as far as lists and markers are concerned. */
enum place {
	PLACE_COLUMN, /* it is the whole value of a column */
	PLACE_INSIDE, /* of another value, where a list is frozen; or in WHERE */
};

struct walk {
	struct scanner scanner;
	struct token t; /* the one to be looked at next */
	uint8_t bits;   /* IDEMPOTENT_BINDS_* */
	bool has_timestamp;
	unsigned depth;
};

/* ---- tokens ---- */

static bool advance(struct walk *w)
{
	w->t = scanner_next(&w->scanner);
	return true;
}

static bool at_symbol(const struct walk *w, char c)
{
	return token_is_symbol(&w->t, c);
}

static bool take_symbol(struct walk *w, char c)
{
	return at_symbol(w, c) && advance(w);
}

static bool at_keyword(const struct walk *w, const char *keyword)
{
	return token_is_keyword(&w->t, keyword);
}

static bool take_keyword(struct walk *w, const char *keyword)
{
	return at_keyword(w, keyword) && advance(w);
}

static bool at_name(const struct walk *w)
{
	return w->t.kind == TOKEN_WORD || w->t.kind == TOKEN_QUOTED;
}

static bool take_name(struct walk *w)
{
	return at_name(w) && advance(w);
}

/* The first byte of the token behind the current one; NUL at the end. */
static char peek(const struct walk *w)
{
	struct scanner ahead = w->scanner;
	struct token t = scanner_next(&ahead);

	return t.text.len > 0 ? t.text.p[0] : '\0';
}

/* name [. name]: a table, or a column with a field. */
static bool dotted_name(struct walk *w)
{
	return take_name(w) && (!take_symbol(w, '.') || take_name(w));
}

/* name {, name} */
static bool names(struct walk *w)
{
	do {
		if (!take_name(w))
			return false;
	} while (take_symbol(w, ','));
	return true;
}

/* ---- terms ---- */

static bool term(struct walk *w, enum place place);

static bool is_literal_word(const struct token *t)
{
	static const char *const words[] = { "TRUE", "FALSE", "NULL", "NAN", "INFINITY" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (token_is_keyword(t, words[i]))
			return true;
	}
	return false;
}

/* 'now' and $$now$$: for a timestamp the clock of the node. */
static bool is_now(const struct token *t)
{
	return sv_equal_nocase(t->text, SV("'now'")) || sv_equal_nocase(t->text, SV("$$now$$"));
}

/* {, item} up to `close`, which is taken, too; `has_items`: at least one. */
static bool items(struct walk *w, char close, bool *has_items)
{
	*has_items = false;
	if (take_symbol(w, close))
		return true;
	do {
		if (!term(w, PLACE_INSIDE))
			return false;
	} while (take_symbol(w, ','));
	*has_items = true;
	return take_symbol(w, close);
}

/* A colon between a key and its value. The scanner takes it for the begin of a marker where a word follows, {a:true}. */
static bool take_colon(struct walk *w)
{
	if (w->t.kind == TOKEN_MARKER && w->t.text.p[0] == ':') {
		w->scanner.pos = w->t.offset + 1;
		return advance(w);
	}
	return take_symbol(w, ':');
}

/* A field of a UDT, {name: 1}, or the first half of an entry of a map. */
static bool key(struct walk *w)
{
	return at_name(w) && peek(w) == ':' ? advance(w) : term(w, PLACE_INSIDE);
}

/* Behind "{": a set, a map or a UDT. */
static bool braces(struct walk *w)
{
	if (take_symbol(w, '}'))
		return true;
	do {
		if (!key(w) || (take_colon(w) && !term(w, PLACE_INSIDE)))
			return false;
	} while (take_symbol(w, ','));
	return take_symbol(w, '}');
}

/* The name of a type: name [. name] [< type or dimension {, ...} >] */
static bool type(struct walk *w, unsigned depth)
{
	if (depth == IDEMPOTENCE_MAX_DEPTH || !dotted_name(w))
		return false;
	if (!take_symbol(w, '<'))
		return true;
	do {
		if (w->t.kind == TOKEN_NUMBER)
			advance(w);
		else if (!type(w, depth + 1))
			return false;
	} while (take_symbol(w, ','));
	return take_symbol(w, '>');
}

/* Behind "(": a cast, (int)3, or a tuple. A word that begins a term is a literal or the name of a function. */
static bool parentheses(struct walk *w, enum place place)
{
	bool has_items;

	if (at_name(w) && !is_literal_word(&w->t) && peek(w) != '(')
		return type(w, 0) && take_symbol(w, ')') && term(w, place);
	return items(w, ')', &has_items) && has_items;
}

static const struct {
	const char *name;
	const char *of[4];
} conversions[] = {
	{ "TOTIMESTAMP", { "TIMEUUID", "DATE" } },
	{ "TO_TIMESTAMP", { "TIMEUUID", "DATE" } },
	{ "TODATE", { "TIMEUUID", "TIMESTAMP" } },
	{ "TO_DATE", { "TIMEUUID", "TIMESTAMP" } },
	{ "TOUNIXTIMESTAMP", { "TIMEUUID", "TIMESTAMP", "DATE" } },
	{ "TO_UNIX_TIMESTAMP", { "TIMEUUID", "TIMESTAMP", "DATE" } },
	{ "DATEOF", { "TIMEUUID" } },
	{ "UNIXTIMESTAMPOF", { "TIMEUUID" } },
};

/*
 * "name((type)term)" as replace_cql_functions leaves it of toTimestamp(now()):
 * where the type of the argument is exactly that of a native function,
 * Cassandra takes that one, whatever functions the keyspace has.
 */
static bool conversion(struct walk *w)
{
	const struct token name = w->t;

	advance(w);
	if (!take_symbol(w, '(') || !take_symbol(w, '('))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(conversions); i++) {
		if (!token_is_keyword(&name, conversions[i].name))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(conversions[i].of) && conversions[i].of[k]; k++) {
			if (take_keyword(w, conversions[i].of[k]))
				return take_symbol(w, ')') && term(w, PLACE_INSIDE) && take_symbol(w, ')');
		}
	}
	return false;
}

static bool word(struct walk *w)
{
	return is_literal_word(&w->t) ? advance(w) : conversion(w);
}

static bool marker(struct walk *w, enum place place)
{
	if (place == PLACE_COLUMN)
		w->bits |= IDEMPOTENT_BINDS_COLUMN;
	return advance(w);
}

/* Behind "-". */
static bool negative(struct walk *w)
{
	return (w->t.kind == TOKEN_NUMBER || at_keyword(w, "NAN") || at_keyword(w, "INFINITY")) && advance(w);
}

static bool bracketed(struct walk *w, enum place place)
{
	bool has_items;

	if (take_symbol(w, '{'))
		return braces(w);
	if (take_symbol(w, '('))
		return parentheses(w, place);
	if (take_symbol(w, '['))
		return items(w, ']', &has_items) && !(has_items && place == PLACE_COLUMN);
	return take_symbol(w, '-') && negative(w);
}

static bool term(struct walk *w, enum place place)
{
	bool ok;

	switch (w->t.kind) {
	case TOKEN_NUMBER:
		return advance(w);
	case TOKEN_STRING:
		return !is_now(&w->t) && advance(w);
	case TOKEN_MARKER:
		return marker(w, place);
	case TOKEN_WORD:
	case TOKEN_SYMBOL:
		break;
	default:
		return false;
	}
	if (w->depth == IDEMPOTENCE_MAX_DEPTH)
		return false;
	w->depth++;
	ok = w->t.kind == TOKEN_WORD ? word(w) : bracketed(w, place);
	w->depth--;
	return ok;
}

/* ---- what the statements have in common ---- */

/* The value of an attribute. */
static bool number_or_marker(struct walk *w, bool *is_bound)
{
	*is_bound = w->t.kind == TOKEN_MARKER;
	if (*is_bound || w->t.kind == TOKEN_NUMBER)
		return advance(w);
	return take_symbol(w, '-') && w->t.kind == TOKEN_NUMBER && advance(w);
}

/* [USING attribute value {AND attribute value}] */
static bool attributes(struct walk *w)
{
	unsigned count = 0;
	bool is_bound;

	if (!take_keyword(w, "USING"))
		return true;
	do {
		const bool is_timestamp = at_keyword(w, "TIMESTAMP");

		if (count++ == MAX_ATTRIBUTES || (!is_timestamp && !at_keyword(w, "TTL")))
			return false;
		advance(w);
		if (!number_or_marker(w, &is_bound))
			return false;
		if (is_timestamp) {
			w->has_timestamp = true;
			w->bits |= is_bound ? IDEMPOTENT_BINDS_TIMESTAMP : 0;
		}
	} while (take_keyword(w, "AND"));
	return true;
}

static bool operator_of_relation(struct walk *w)
{
	const struct strview text = w->t.text;

	return w->t.kind == TOKEN_SYMBOL && (sv_equal(text, SV("=")) || text.p[0] == '<' || text.p[0] == '>') &&
	       advance(w);
}

/* IN marker, IN (term, ...) */
static bool in_list(struct walk *w)
{
	bool has_items;

	if (w->t.kind == TOKEN_MARKER)
		return marker(w, PLACE_INSIDE);
	return take_symbol(w, '(') && items(w, ')', &has_items);
}

/* name or (name, ...), an operator and what it is compared with */
static bool relation(struct walk *w)
{
	const bool ok = take_symbol(w, '(') ? names(w) && take_symbol(w, ')') : take_name(w);

	if (!ok)
		return false;
	if (take_keyword(w, "IN"))
		return in_list(w);
	return operator_of_relation(w) && term(w, PLACE_INSIDE);
}

/* What follows the last relation, IF for one, is for the caller to find not understood. */
static bool where(struct walk *w)
{
	if (!take_keyword(w, "WHERE"))
		return false;
	do {
		if (!relation(w))
			return false;
	} while (take_keyword(w, "AND"));
	return true;
}

/* ---- the statements ---- */

/* Behind JSON. */
static bool insert_json(struct walk *w)
{
	struct strview text = w->t.text;

	if (w->t.kind == TOKEN_MARKER)
		w->bits |= IDEMPOTENT_BINDS_JSON;
	else if (w->t.kind != TOKEN_STRING || !idempotence_json(text))
		return false;
	advance(w);
	return !take_keyword(w, "DEFAULT") || take_keyword(w, "NULL") || take_keyword(w, "UNSET");
}

static bool insert_values(struct walk *w)
{
	if (!take_symbol(w, '(') || !names(w) || !take_symbol(w, ')') || !take_keyword(w, "VALUES") ||
	    !take_symbol(w, '('))
		return false;
	do {
		if (!term(w, PLACE_COLUMN))
			return false;
	} while (take_symbol(w, ','));
	return take_symbol(w, ')');
}

static bool insert(struct walk *w)
{
	if (!take_keyword(w, "INTO") || !dotted_name(w))
		return false;
	return (take_keyword(w, "JSON") ? insert_json(w) : insert_values(w)) && attributes(w);
}

static bool update(struct walk *w)
{
	if (!dotted_name(w) || !attributes(w) || !take_keyword(w, "SET"))
		return false;
	do {
		if (!dotted_name(w) || !take_symbol(w, '=') || !term(w, PLACE_COLUMN))
			return false;
	} while (take_symbol(w, ','));
	return where(w);
}

static bool delete_from(struct walk *w)
{
	if (!at_keyword(w, "FROM")) {
		do {
			if (!dotted_name(w))
				return false;
		} while (take_symbol(w, ','));
	}
	return take_keyword(w, "FROM") && dotted_name(w) && attributes(w) && where(w);
}

static bool modification(struct walk *w)
{
	if (take_keyword(w, "INSERT"))
		return insert(w);
	if (take_keyword(w, "UPDATE"))
		return update(w);
	return take_keyword(w, "DELETE") && delete_from(w);
}

/* Behind BEGIN: [UNLOGGED] BATCH [USING ...] {statement [;]} APPLY BATCH */
static bool batch(struct walk *w)
{
	bool all_have_timestamps = true;
	bool batch_has_timestamp;

	take_keyword(w, "UNLOGGED");
	if (!take_keyword(w, "BATCH") || !attributes(w))
		return false;
	batch_has_timestamp = w->has_timestamp;
	while (!take_keyword(w, "APPLY")) {
		w->has_timestamp = false;
		if (!modification(w))
			return false;
		all_have_timestamps &= w->has_timestamp;
		take_symbol(w, ';');
	}
	w->has_timestamp = batch_has_timestamp || all_have_timestamps;
	return take_keyword(w, "BATCH");
}

uint8_t idempotence_scan(struct strview text)
{
	struct walk w = { 0 };
	struct statement_facts facts;

	statement_scan(text, &facts); /* finds an IF wherever it stands, "k=2IF EXISTS" */
	if (facts.is_conditional)
		return 0;
	scanner_init(&w.scanner, text);
	advance(&w);
	if (!(take_keyword(&w, "BEGIN") ? batch(&w) : modification(&w)))
		return 0;
	take_symbol(&w, ';');
	if (w.t.kind != TOKEN_END)
		return 0;
	return (uint8_t)(IDEMPOTENT_PROVEN | w.bits | (w.has_timestamp ? IDEMPOTENT_HAS_TIMESTAMP : 0));
}

/* ---- values ---- */

/* Also true for a set with elements. [int] number of elements, then each as [bytes] (native protocol v3, section 6); nothing behind them. */
bool idempotence_may_be_list(struct bytesview value)
{
	struct reader r;
	uint32_t count;

	if (value.len < 2 * sizeof(uint32_t)) /* null, unset, or too short for one element */
		return false;
	r = reader_over(value.p, value.len);
	count = read_int(&r);
	if (count == 0 || count > INT32_MAX)
		return false;
	for (uint32_t i = 0; i < count && reader_ok(&r); i++)
		read_bytes(&r);
	return reader_ok(&r) && reader_left(&r) == 0;
}

static bool is_now_at(struct strview json, size_t i)
{
	return i + 3 <= json.len && sv_equal_nocase((struct strview){ json.p + i, 3 }, SV("now")) &&
	       (i == 0 || !scanner_is_word_char((uint8_t)json.p[i - 1])) &&
	       (i + 3 == json.len || !scanner_is_word_char((uint8_t)json.p[i + 3]));
}

/* Cassandra takes a list that is a string with JSON in it, too, so brackets in strings count; and \u can be anything. */
bool idempotence_json(struct strview json)
{
	for (size_t i = 0; i < json.len; i++) {
		const char c = json.p[i];

		if (c == '[' || (c == '\\' && i + 1 < json.len && json.p[i + 1] == 'u'))
			return false;
		if ((c == 'n' || c == 'N') && is_now_at(json, i))
			return false;
	}
	return true;
}
