/* rewrite.c - see rewrite.h */
#include "cql/rewrite.h"

#include <stdio.h>

static const struct {
	struct strview name; /* as Cassandra stores it */
	enum rewrite_kind kind;
} functions[] = {
	{ SV("now"), REWRITE_TIMEUUID },
	{ SV("uuid"), REWRITE_UUID },
	{ SV("currenttimeuuid"), REWRITE_TIMEUUID },
	{ SV("currenttimestamp"), REWRITE_TIMESTAMP },
	{ SV("currentdate"), REWRITE_DATE },
	{ SV("currenttime"), REWRITE_TIME },
	{ SV("current_timeuuid"), REWRITE_TIMEUUID },
	{ SV("current_timestamp"), REWRITE_TIMESTAMP },
	{ SV("current_date"), REWRITE_DATE },
	{ SV("current_time"), REWRITE_TIME },
};

/* What an open bracket is. */
enum {
	OPEN_VALUES, /* the parenthesis of VALUES: what stands in it is the value of a column */
	OPEN_BRACE,  /* a set, a map or a UDT: a colon in it may separate a key from its value */
	OPEN_OTHER,
};

const char *rewrite_type_name(enum rewrite_kind kind)
{
	static const char *const names[] = {
		[REWRITE_TIMEUUID] = "timeuuid", [REWRITE_UUID] = "uuid", [REWRITE_TIMESTAMP] = "timestamp",
		[REWRITE_DATE] = "date",         [REWRITE_TIME] = "time",
	};

	return names[kind];
}

/* ---- names ---- */

/* True when the token is this name (given in lower case) as an identifier. */
static bool is_name(const struct token *t, struct strview name)
{
	if (t->kind == TOKEN_WORD)
		return sv_equal_nocase(t->text, name);
	return t->kind == TOKEN_QUOTED && t->text.len == name.len + 2 && memcmp(t->text.p + 1, name.p, name.len) == 0;
}

static bool is_function(const struct token *t, enum rewrite_kind *kind)
{
	const char first = t->text.p[0] | 0x20;

	/* Most words begin otherwise. A quote, 0x22, is its own lower case. */
	if ((t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED) ||
	    (first != 'n' && first != 'u' && first != 'c' && first != '"'))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		if (is_name(t, functions[i].name)) {
			*kind = functions[i].kind;
			return true;
		}
	}
	return false;
}

/* ---- the walk ---- */

void rewrite_start(struct rewrite *rw, struct strview text)
{
	memset(rw, 0, offsetof(struct rewrite, open));
	rw->depth = 0;
	rw->markers = 0;
	rw->has_named_markers = false;
	rw->has_our_names = false;
	rw->is_broken = false;
	scanner_init(&rw->scanner, text);
}

static void remember(struct rewrite *rw, const struct token *t)
{
	rw->before[2] = rw->before[1];
	rw->before[1] = rw->before[0];
	rw->before[0] = *t;
}

static void open_bracket(struct rewrite *rw, const struct token *t)
{
	uint8_t what = OPEN_OTHER;

	if (rw->depth == REWRITE_MAX_DEPTH) {
		rw->is_broken = true;
		return;
	}
	if (t->text.p[0] == '{')
		what = OPEN_BRACE;
	else if (rw->depth == 0 && t->text.p[0] == '(' && token_is_keyword(&rw->before[0], "VALUES"))
		what = OPEN_VALUES;
	rw->open[rw->depth++] = what;
}

static void take_symbol(struct rewrite *rw, const struct token *t)
{
	if (t->text.len != 1)
		return;
	switch (t->text.p[0]) {
	case '(':
	case '[':
	case '{':
		open_bracket(rw, t);
		break;
	case ')':
	case ']':
	case '}':
		if (rw->depth > 0)
			rw->depth--;
		break;
	default:
		break;
	}
}

/* The last tokens are "(text)" or the like: a term follows. */
static bool is_behind_cast(const struct rewrite *rw)
{
	return token_is_symbol(&rw->before[0], ')') && rw->before[1].kind == TOKEN_WORD &&
	       token_is_symbol(&rw->before[2], '(');
}

/*
 * Where a term has just ended, directly inside braces, a colon separates a key
 * from its value and begins no marker: {a:now()}, {'k':now()}.
 */
static bool is_separator(const struct rewrite *rw)
{
	const struct token *last = &rw->before[0];

	return rw->depth > 0 && rw->open[rw->depth - 1] == OPEN_BRACE && !token_is_symbol(last, '{') &&
	       !token_is_symbol(last, ',') && !token_is_symbol(last, ':') && !is_behind_cast(rw);
}

static void take_named_marker(struct rewrite *rw, const struct statement_name *name)
{
	rw->markers++;
	rw->has_named_markers = true;
	if (sv_starts_with(statement_name_view(name), SV(REWRITE_MARKER_NAME)))
		rw->has_our_names = true;
}

/* A lone colon: Cassandra takes blanks between it and the name of a marker. */
static void take_colon(struct rewrite *rw, struct token *t)
{
	struct scanner ahead = rw->scanner;
	struct token next = scanner_next(&ahead);
	struct statement_name name;

	if (is_separator(rw) || !token_name(&next, &name))
		return;
	take_named_marker(rw, &name);
	rw->scanner = ahead;
	*t = next;
	t->kind = TOKEN_MARKER;
}

static void take_marker(struct rewrite *rw, struct token *t)
{
	struct statement_name name;

	if (t->text.p[0] == '?') {
		rw->markers++;
	} else if (is_separator(rw)) {
		t->kind = TOKEN_SYMBOL;
		t->text.len = 1;
		rw->scanner.pos = t->offset + 1;
	} else if (token_marker_name(t, &name)) {
		take_named_marker(rw, &name);
	}
}

/*
 * The name of a function was read: true when "()" follows, which the scanner
 * has then passed, and it is qualified with system or not at all.
 */
static bool is_call(struct rewrite *rw, struct token *close)
{
	struct scanner ahead = rw->scanner;
	struct token t = scanner_next(&ahead);

	if (!token_is_symbol(&t, '('))
		return false;
	*close = scanner_next(&ahead);
	if (!token_is_symbol(close, ')'))
		return false;
	if (token_is_symbol(&rw->before[0], '.') && !is_name(&rw->before[1], SV("system")))
		return false;
	rw->scanner = ahead;
	return true;
}

static bool is_glued(char c)
{
	return c == '.' || scanner_is_word_char((uint8_t)c);
}

static bool take_name(struct rewrite *rw, const struct token *t, struct rewrite_call *out)
{
	struct token close;

	if (!is_function(t, &out->kind) || !is_call(rw, &close))
		return false;
	out->offset = token_is_symbol(&rw->before[0], '.') ? rw->before[1].offset : t->offset;
	out->len = close.offset + 1 - out->offset;
	out->markers_before = rw->markers;
	out->needs_cast = out->kind > REWRITE_UUID || rw->depth > 1 || (rw->depth == 1 && rw->open[0] != OPEN_VALUES);
	out->needs_blank = rw->scanner.pos < rw->scanner.text.len && is_glued(rw->scanner.text.p[rw->scanner.pos]);
	remember(rw, &close);
	return true;
}

bool rewrite_next(struct rewrite *rw, struct rewrite_call *out)
{
	while (!rw->is_broken) {
		struct token t = scanner_next(&rw->scanner);

		switch (t.kind) {
		case TOKEN_END:
			return false;
		case TOKEN_BAD:
			rw->is_broken = true;
			return false;
		case TOKEN_WORD:
		case TOKEN_QUOTED:
			if (take_name(rw, &t, out))
				return true;
			break;
		case TOKEN_MARKER:
			take_marker(rw, &t);
			break;
		case TOKEN_SYMBOL:
			if (token_is_symbol(&t, ':'))
				take_colon(rw, &t);
			else
				take_symbol(rw, &t);
			break;
		default:
			break;
		}
		remember(rw, &t);
	}
	return false;
}

/* ---- the whole text ---- */

/* A parenthesis that is closed at once, or a comment in it: most texts have none, and memchr() is fast. */
static bool has_empty_parentheses(struct strview text)
{
	const char *end = text.p + text.len;
	const char *p = text.p;

	while (p < end && (p = memchr(p, '(', (size_t)(end - p)))) {
		do
			p++;
		while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'));
		if (p < end && (*p == ')' || *p == '-' || *p == '/'))
			return true;
	}
	return false;
}

/* INSERT, UPDATE, DELETE, BEGIN [UNLOGGED | COUNTER] BATCH. */
static bool is_write(struct strview text)
{
	struct scanner s;
	struct token t;

	scanner_init(&s, text);
	t = scanner_next(&s);
	if (token_is_keyword(&t, "INSERT") || token_is_keyword(&t, "UPDATE") || token_is_keyword(&t, "DELETE"))
		return true;
	if (!token_is_keyword(&t, "BEGIN"))
		return false;
	t = scanner_next(&s);
	if (token_is_keyword(&t, "UNLOGGED") || token_is_keyword(&t, "COUNTER"))
		t = scanner_next(&s);
	return token_is_keyword(&t, "BATCH");
}

enum rewrite_finding rewrite_scan(struct strview text, struct rewrite_facts *out)
{
	struct rewrite rw;
	struct rewrite_call call;

	*out = (struct rewrite_facts){ 0 };
	if (text.len == 0 || !has_empty_parentheses(text) || !is_write(text))
		return REWRITE_NONE;
	rewrite_start(&rw, text);
	while (rewrite_next(&rw, &call))
		out->calls++;
	out->markers = rw.markers;
	out->has_named_markers = rw.has_named_markers;
	out->has_our_names = rw.has_our_names;
	if (out->calls == 0)
		return REWRITE_NONE;
	if (rw.is_broken)
		return rw.depth == REWRITE_MAX_DEPTH ? REWRITE_TOO_MUCH : REWRITE_NONE;
	return out->calls > REWRITE_MAX_CALLS ? REWRITE_TOO_MUCH : REWRITE_CALLS;
}

/* ---- what stands in place of a call ---- */

unsigned rewrite_marker_name(unsigned index, char *out, size_t size)
{
	if (index == 0)
		return (unsigned)snprintf(out, size, "%s", REWRITE_MARKER_NAME);
	return (unsigned)snprintf(out, size, "%s_%u", REWRITE_MARKER_NAME, index + 1);
}

unsigned rewrite_marker(const struct rewrite_call *call, bool is_named, unsigned index, char out[REWRITE_MARKER_MAX])
{
	unsigned n = 0;

	if (call->needs_cast)
		n = (unsigned)snprintf(out, REWRITE_MARKER_MAX, "(%s)", rewrite_type_name(call->kind));
	out[n++] = is_named ? ':' : '?';
	if (is_named)
		n += rewrite_marker_name(index, out + n, REWRITE_MARKER_MAX - n);
	if (call->needs_blank)
		out[n++] = ' ';
	out[n] = '\0';
	return n;
}
