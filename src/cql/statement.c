/*
 * statement.c - classifies a text by its first keyword and finds its table.
 *
 * The verb and the name are read as tokens. What lies between (the select list
 * up to FROM) or behind (up to IF, for writes) is swept over: a table says for
 * each byte whether it can matter, so that most bytes cost one look-up.
 */
#include "cql/statement.h"

const char *statement_kind_name(enum statement_kind kind)
{
	switch (kind) {
#define X(name, word)                                                                                                  \
	case STATEMENT_##name:                                                                                         \
		return word;
		STATEMENT_KINDS(X)
#undef X
	}
	return "?";
}

bool statement_keyspace_is_system(struct strview keyspace)
{
	static const struct strview names[] = {
		SV("system"),
		SV("system_schema"),
		SV("system_auth"),
		SV("system_distributed"),
		SV("system_traces"),
		SV("system_views"),
		SV("system_virtual_schema"),
		SV("system_metrics"),
		SV("system_cluster_metadata"),
		SV("dse_advrep"),
		SV("dse_analytics"),
		SV("dse_insights"),
		SV("dse_insights_local"),
		SV("dse_leases"),
		SV("dse_perf"),
		SV("dse_security"),
		SV("dse_system"),
		SV("dse_system_local"),
	};

	if (!sv_starts_with(keyspace, SV("system")) && !sv_starts_with(keyspace, SV("dse_")))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (sv_equal(keyspace, names[i]))
			return true;
	}
	return false;
}

/* ---- sweeping ---- */

enum {
	SWEEP_QUOTE = 1,   /* ' " $ */
	SWEEP_COMMENT = 2, /* - / */
	SWEEP_PAREN = 4,   /* ( ) */
	SWEEP_F = 8,
	SWEEP_I = 16,
};

static const uint8_t sweep_class[256] = {
	['\''] = SWEEP_QUOTE,  ['"'] = SWEEP_QUOTE, ['$'] = SWEEP_QUOTE, ['-'] = SWEEP_COMMENT,
	['/'] = SWEEP_COMMENT, ['('] = SWEEP_PAREN, [')'] = SWEEP_PAREN, ['F'] = SWEEP_F,
	['f'] = SWEEP_F,       ['I'] = SWEEP_I,     ['i'] = SWEEP_I,
};

/*
 * True when the word characters that end before pos are the end of a number, a
 * duration or a uuid: behind these Cassandra's lexer wants no blank, "k=2IF".
 */
static bool number_ends_at(struct strview text, size_t pos)
{
	const char *p = text.p + pos;
	size_t start = pos;

	while (start > 0 && scanner_is_word_char((uint8_t)text.p[start - 1]))
		start--;
	if (text.p[start] >= '0' && text.p[start] <= '9')
		return true;
	/* the last group of a uuid may begin with a letter */
	if (pos - start != 12 || pos < 36 || p[-13] != '-' || p[-18] != '-' || p[-23] != '-' || p[-28] != '-')
		return false;
	for (unsigned i = 29; i <= 36; i++) {
		if (!scanner_is_word_char((uint8_t)p[-(int)i]))
			return false;
	}
	return true;
}

/* True when the keyword (in upper case) stands at pos as a word of its own, and is not the name of a :marker. */
static bool keyword_at(struct strview text, size_t pos, struct strview keyword)
{
	if (text.len - pos < keyword.len)
		return false;
	for (size_t i = 0; i < keyword.len; i++) {
		if ((text.p[pos + i] & ~0x20) != keyword.p[i])
			return false;
	}
	if (text.len - pos > keyword.len && scanner_is_word_char((uint8_t)text.p[pos + keyword.len]))
		return false;
	if (pos == 0 || !scanner_is_word_char((uint8_t)text.p[pos - 1]))
		return pos == 0 || text.p[pos - 1] != ':';
	return number_ends_at(text, pos);
}

/* The scanner stands on a byte of class QUOTE or COMMENT: moves over what it begins, or over that byte alone. */
static void sweep_over(struct scanner *s, uint8_t class)
{
	char c = s->text.p[s->pos];
	char next = s->pos + 1 < s->text.len ? s->text.p[s->pos + 1] : '\0';

	if (class == SWEEP_QUOTE) {
		if (c != '$' || next == '$') {
			(void)scanner_skip_quoted(s);
			return;
		}
	} else if (c == next || (c == '/' && next == '*')) {
		(void)scanner_skip_blank(s);
		return;
	}
	s->pos++;
}

/* The first byte from pos on that is of one of the classes, or len. */
static inline size_t sweep_class_from(const char *text, size_t pos, size_t len, uint8_t classes)
{
	const uint8_t *p = (const uint8_t *)text;

	/* Four at a time: most bytes are of no class, and one branch for four is what makes this fast. */
	while (len - pos >= 4 &&
	       !((sweep_class[p[pos]] | sweep_class[p[pos + 1]] | sweep_class[p[pos + 2]] | sweep_class[p[pos + 3]]) &
		 classes))
		pos += 4;
	while (pos < len && !(sweep_class[p[pos]] & classes))
		pos++;
	return pos;
}

/*
 * Moves the scanner behind the next `keyword` that stands outside strings,
 * quoted names, comments and, where `classes` has PAREN, parentheses. False
 * (and the scanner at the end) when there is none. `classes` also names the
 * class of the keyword's first letter.
 */
static bool sweep_to(struct scanner *s, struct strview keyword, uint8_t classes)
{
	const char *p = s->text.p;
	size_t len = s->text.len;
	unsigned depth = 0;
	uint8_t class;

	classes |= SWEEP_QUOTE | SWEEP_COMMENT;
	for (size_t pos = s->pos;; pos++) {
		pos = sweep_class_from(p, pos, len, classes);
		s->pos = pos;
		if (pos == len)
			return false;
		class = sweep_class[(uint8_t)p[pos]] & classes;
		if (class & (SWEEP_QUOTE | SWEEP_COMMENT)) {
			sweep_over(s, class);
			pos = s->pos - 1;
		} else if (class == SWEEP_PAREN) {
			if (p[pos] == '(')
				depth++;
			else if (depth > 0)
				depth--;
		} else if (depth == 0 && keyword_at(s->text, pos, keyword)) {
			s->pos = pos + keyword.len;
			return true;
		}
	}
}

/* ---- the statements ---- */

/* Reads [keyspace.]table where the scanner stands. Leaves the scanner behind it. */
static void read_table(struct scanner *s, struct statement_facts *out)
{
	struct token t = scanner_next(s);
	size_t behind = s->pos;

	if (!token_name(&t, &out->table))
		return;
	if (!scanner_skip_blank(s) || s->pos == s->text.len || s->text.p[s->pos] != '.') {
		s->pos = behind;
		return;
	}
	s->pos++;
	out->keyspace = out->table;
	out->is_qualified = true;
	t = scanner_next(s);
	if (!token_name(&t, &out->table))
		out->table.len = 0;
}

static void scan_condition(struct scanner *s, struct statement_facts *out)
{
	out->is_conditional = sweep_to(s, SV("IF"), SWEEP_I);
}

static void scan_select(struct scanner *s, struct statement_facts *out)
{
	if (!sweep_to(s, SV("FROM"), SWEEP_F | SWEEP_PAREN))
		return;
	if (!scanner_skip_blank(s) || s->pos == s->text.len)
		return;
	out->from_offset = (uint32_t)s->pos;
	read_table(s, out);
}

static void scan_insert(struct scanner *s, struct statement_facts *out)
{
	struct token t = scanner_next(s);

	if (token_is_keyword(&t, "INTO"))
		read_table(s, out);
	scan_condition(s, out);
}

static void scan_update(struct scanner *s, struct statement_facts *out)
{
	read_table(s, out);
	scan_condition(s, out);
}

static void scan_delete(struct scanner *s, struct statement_facts *out)
{
	if (sweep_to(s, SV("FROM"), SWEEP_F | SWEEP_PAREN))
		read_table(s, out);
	scan_condition(s, out);
}

static void scan_truncate(struct scanner *s, struct statement_facts *out)
{
	size_t behind_verb = s->pos;
	struct token t = scanner_next(s);

	/* Both are reserved words and so never the name of a table. */
	if (!token_is_keyword(&t, "TABLE") && !token_is_keyword(&t, "COLUMNFAMILY"))
		s->pos = behind_verb;
	read_table(s, out);
}

static void scan_use(struct scanner *s, struct statement_facts *out)
{
	struct token t = scanner_next(s);

	if (!token_name(&t, &out->keyspace))
		out->keyspace.len = 0;
	out->is_qualified = true;
}

/* BEGIN [UNLOGGED|COUNTER] BATCH; anything else behind BEGIN (TRANSACTION) is not known. */
static void scan_begin(struct scanner *s, struct statement_facts *out)
{
	struct token t = scanner_next(s);
	bool is_unlogged = token_is_keyword(&t, "UNLOGGED");
	bool is_counter = token_is_keyword(&t, "COUNTER");

	if (is_unlogged || is_counter)
		t = scanner_next(s);
	if (!token_is_keyword(&t, "BATCH")) {
		out->kind = STATEMENT_UNKNOWN;
		return;
	}
	out->is_unlogged_batch = is_unlogged;
	out->is_counter_batch = is_counter;
	scan_condition(s, out);
}

/* CREATE, ALTER, DROP: of roles, or of anything else. */
static void scan_definition(struct scanner *s, struct statement_facts *out)
{
	static const char *const of_roles[] = { "ROLE", "USER", "IDENTITY", "GENERATED" };
	struct token t = scanner_next(s);

	for (size_t i = 0; i < ARRAY_LEN(of_roles); i++) {
		if (token_is_keyword(&t, of_roles[i]))
			out->kind = STATEMENT_ROLE;
	}
}

/* ADD IDENTITY 'x' TO ROLE r */
static void scan_add(struct scanner *s, struct statement_facts *out)
{
	struct token t = scanner_next(s);

	if (!token_is_keyword(&t, "IDENTITY"))
		out->kind = STATEMENT_UNKNOWN;
}

/* CALL name.name(...) */
static void scan_call(struct scanner *s, struct statement_facts *out)
{
	struct token t = scanner_next(s);

	if (!token_is_keyword(&t, "INSIGHTSRPC"))
		return;
	t = scanner_next(s);
	out->is_insights_call = token_is_symbol(&t, '.');
}

struct verb {
	const char *word;
	enum statement_kind kind;
	void (*scan)(struct scanner *s, struct statement_facts *out); /* may change the kind; NULL: no more to find */
};

/* In the order in which they are likely. */
static const struct verb verbs[] = {
	{ "SELECT", STATEMENT_SELECT, scan_select },
	{ "INSERT", STATEMENT_INSERT, scan_insert },
	{ "UPDATE", STATEMENT_UPDATE, scan_update },
	{ "DELETE", STATEMENT_DELETE, scan_delete },
	{ "BEGIN", STATEMENT_BATCH, scan_begin },
	{ "USE", STATEMENT_USE, scan_use },
	{ "TRUNCATE", STATEMENT_TRUNCATE, scan_truncate },
	{ "CREATE", STATEMENT_SCHEMA, scan_definition },
	{ "ALTER", STATEMENT_SCHEMA, scan_definition },
	{ "DROP", STATEMENT_SCHEMA, scan_definition },
	{ "COMMENT", STATEMENT_SCHEMA, NULL },
	{ "GRANT", STATEMENT_ROLE, NULL },
	{ "REVOKE", STATEMENT_ROLE, NULL },
	{ "ADD", STATEMENT_ROLE, scan_add },
	{ "LIST", STATEMENT_LIST, NULL },
	{ "DESCRIBE", STATEMENT_DESCRIBE, NULL },
	{ "DESC", STATEMENT_DESCRIBE, NULL },
	{ "CALL", STATEMENT_CALL, scan_call },
};

/* Everything but the texts of the names, whose lengths say that there is none. */
static void facts_clear(struct statement_facts *f)
{
	f->kind = STATEMENT_UNKNOWN;
	f->keyspace.len = 0;
	f->keyspace.is_cut = false;
	f->table.len = 0;
	f->table.is_cut = false;
	f->is_counter_batch = false;
	f->is_unlogged_batch = false;
	f->is_conditional = false;
	f->is_qualified = false;
	f->is_insights_call = false;
	f->from_offset = 0;
}

void statement_scan(struct strview text, struct statement_facts *out)
{
	struct scanner s;
	struct token t;

	facts_clear(out);
	scanner_init(&s, text);
	t = scanner_next(&s);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		const struct verb *v = &verbs[i];

		if (!token_is_keyword(&t, v->word))
			continue;
		out->kind = v->kind;
		if (v->scan)
			v->scan(&s, out);
		return;
	}
}
