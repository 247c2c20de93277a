/*
 * statement_tables.c - see statement_tables.h
 *
 * Not the grammar, but what of it decides where names stand. Cassandra's
 * reserved words (INSERT, UPDATE, DELETE, APPLY, FROM, ON ...) are never names
 * unless quoted, so they can be looked for among the tokens.
 */
#include "cql/statement_tables.h"

#include <string.h>

void statement_tables_add(struct statement_tables *t, const struct statement_name *keyspace,
			  const struct statement_name *table)
{
	for (unsigned i = 0; i < t->count; i++) {
		if (statement_name_equal(&t->items[i].keyspace, keyspace) &&
		    statement_name_equal(&t->items[i].table, table))
			return;
	}
	if (t->count == STATEMENT_TABLES_MAX) {
		t->is_incomplete = true;
		return;
	}
	t->items[t->count].keyspace = *keyspace;
	t->items[t->count++].table = *table;
}

static void name_from(struct strview text, struct statement_name *out)
{
	out->len = (uint8_t)MIN(text.len, sizeof(out->text));
	out->is_cut = text.len > sizeof(out->text);
	if (out->len > 0)
		memcpy(out->text, text.p, out->len);
}

/* ---- the walk ---- */

struct walk {
	struct scanner scanner;
	struct token t;          /* the one to be looked at next */
	struct strview keyspace; /* what unqualified names mean */
	struct statement_tables *out;
};

/* Names that are joined by dots, at most three. */
struct path {
	struct statement_name names[3];
	unsigned count;
};

static void advance(struct walk *w)
{
	w->t = scanner_next(&w->scanner);
}

static bool at(const struct walk *w, const char *keyword)
{
	return token_is_keyword(&w->t, keyword);
}

static bool take(struct walk *w, const char *keyword)
{
	if (!at(w, keyword))
		return false;
	advance(w);
	return true;
}

static bool take_symbol(struct walk *w, char c)
{
	if (!token_is_symbol(&w->t, c))
		return false;
	advance(w);
	return true;
}

static bool at_end(const struct walk *w)
{
	return w->t.kind == TOKEN_END || w->t.kind == TOKEN_BAD;
}

/* Moves behind the next such word; false when there is none. */
static bool skip_to(struct walk *w, const char *keyword)
{
	while (!at_end(w) && !at(w, keyword))
		advance(w);
	return take(w, keyword);
}

static bool take_path(struct walk *w, struct path *p)
{
	p->count = 0;
	do {
		if (p->count == ARRAY_LEN(p->names) || !token_name(&w->t, &p->names[p->count]))
			return false;
		p->count++;
		advance(w);
	} while (take_symbol(w, '.'));
	return true;
}

/* Adds a table whose name ends before the last `behind` names of the path. */
static bool add_table(struct walk *w, const struct path *p, unsigned behind)
{
	const unsigned count = p->count - MIN(p->count, behind);
	struct statement_name keyspace;

	if (count == 0 || count > 2)
		return false;
	if (count == 2)
		keyspace = p->names[0];
	else
		name_from(w->keyspace, &keyspace);
	statement_tables_add(w->out, &keyspace, &p->names[count - 1]);
	return true;
}

/* [keyspace.]table */
static bool take_table(struct walk *w)
{
	struct path p;

	return take_path(w, &p) && add_table(w, &p, 0);
}

/* [keyspace.]name of what is no table; `behind` as above. */
static bool take_keyspace_of(struct walk *w, unsigned behind)
{
	static const struct statement_name none;
	struct statement_name keyspace;
	struct path p;
	unsigned count;

	if (!take_path(w, &p) || p.count <= behind)
		return false;
	count = p.count - behind;
	if (count > 2)
		return false;
	if (count == 2)
		keyspace = p.names[0];
	else
		name_from(w->keyspace, &keyspace);
	statement_tables_add(w->out, &keyspace, &none);
	return true;
}

/* A keyspace's own name. */
static bool take_keyspace(struct walk *w)
{
	static const struct statement_name none;
	struct path p;

	if (!take_path(w, &p) || p.count != 1)
		return false;
	statement_tables_add(w->out, &p.names[0], &none);
	return true;
}

/* ---- BEGIN BATCH ---- */

static const char *const batch_words[] = { "INSERT", "UPDATE", "DELETE", "APPLY" };

static bool ends_with_batch_word(struct strview text)
{
	for (unsigned i = 0; i < ARRAY_LEN(batch_words); i++) {
		const size_t len = strlen(batch_words[i]);
		size_t same = 0;

		while (len <= text.len && same < len && (text.p[text.len - len + same] & ~0x20) == batch_words[i][same])
			same++;
		if (same == len)
			return true;
	}
	return false;
}

/*
 * Behind a number or a uuid Cassandra's lexer wants no blank, "k=2UPDATE t", but
 * the scanner takes both for one number; and a uuid whose last group of 12
 * begins with a letter for several tokens, the last one a word.
 */
static bool hides_batch_word(const struct token *t)
{
	if (t->kind == TOKEN_WORD && (t->text.len < 12 + 5 || t->text.len > 12 + 6))
		return false;
	return (t->kind == TOKEN_NUMBER || t->kind == TOKEN_WORD) && ends_with_batch_word(t->text);
}

/* The word at which a child begins has been taken. */
static bool take_child(struct walk *w, bool is_insert, bool is_delete)
{
	if (is_insert)
		return take(w, "INTO") && take_table(w);
	while (is_delete && !at(w, "FROM")) {
		if (at_end(w) || at(w, "INSERT") || at(w, "UPDATE") || at(w, "DELETE") || at(w, "APPLY"))
			return false;
		advance(w);
	}
	return (!is_delete || take(w, "FROM")) && take_table(w);
}

/* Whether the token may be a word that is looked for: a table spares most tokens the comparison. */
static bool may_be_batch_word(const struct token *t)
{
	static const bool first[256] = { ['I'] = true, ['i'] = true, ['U'] = true, ['u'] = true,
					 ['D'] = true, ['d'] = true, ['A'] = true, ['a'] = true };

	if (t->kind == TOKEN_WORD)
		return first[(uint8_t)t->text.p[0]] || t->text.len >= 12 + 5;
	return t->kind == TOKEN_NUMBER && t->text.len > 5;
}

/* Nothing but semicolons is left, of which Cassandra takes any number. */
static bool ends_here(struct walk *w)
{
	while (take_symbol(w, ';'))
		continue;
	return w->t.kind == TOKEN_END;
}

/* From behind BATCH on. The children may be separated by semicolons, or by nothing. */
static bool scan_children(struct walk *w)
{
	for (; !at_end(w); advance(w)) {
		bool is_insert, is_delete;

		while (may_be_batch_word(&w->t)) {
			if (hides_batch_word(&w->t))
				return false;
			if (take(w, "APPLY"))
				return take(w, "BATCH") && ends_here(w);
			is_insert = at(w, "INSERT");
			is_delete = at(w, "DELETE");
			if (!is_insert && !is_delete && !at(w, "UPDATE"))
				break;
			advance(w);
			if (!take_child(w, is_insert, is_delete))
				return false;
		}
	}
	return false;
}

static bool scan_batch(struct walk *w)
{
	return skip_to(w, "BATCH") && scan_children(w);
}

/* ---- DDL ---- */

static void skip_if_exists(struct walk *w)
{
	if (take(w, "IF")) {
		(void)take(w, "NOT");
		(void)take(w, "EXISTS");
	}
}

/* [name] ON table: indexes, triggers. */
static bool take_table_behind_on(struct walk *w)
{
	return skip_to(w, "ON") && take_table(w);
}

/* CREATE MATERIALIZED VIEW is about the table that it is a view of; ALTER and DROP do not name that. */
static bool scan_view(struct walk *w, bool is_create)
{
	if (!take(w, "VIEW"))
		return false;
	skip_if_exists(w);
	if (is_create)
		return skip_to(w, "SELECT") && skip_to(w, "FROM") && take_table(w);
	return take_table(w);
}

static bool scan_index(struct walk *w, bool is_drop)
{
	skip_if_exists(w);
	return is_drop ? take_keyspace_of(w, 0) : take_table_behind_on(w);
}

/* CREATE, ALTER and DROP; the verb has been taken. */
static bool scan_definition(struct walk *w, bool is_create, bool is_drop)
{
	if (is_create && take(w, "OR"))
		(void)take(w, "REPLACE");
	if (is_create)
		(void)take(w, "CUSTOM");
	if (take(w, "MATERIALIZED"))
		return scan_view(w, is_create);
	if (take(w, "INDEX"))
		return scan_index(w, is_drop);
	/* DSE's SEARCH INDEX [SCHEMA | CONFIG] ON table. */
	if (take(w, "TRIGGER") || take(w, "SEARCH"))
		return take_table_behind_on(w);
	if (take(w, "TABLE") || take(w, "COLUMNFAMILY")) {
		skip_if_exists(w);
		return take_table(w);
	}
	if (take(w, "KEYSPACE") || take(w, "SCHEMA")) {
		skip_if_exists(w);
		return take_keyspace(w);
	}
	if (take(w, "TYPE") || take(w, "FUNCTION") || take(w, "AGGREGATE")) {
		skip_if_exists(w);
		return take_keyspace_of(w, 0);
	}
	return false;
}

/* COMMENT ON ... (CASSANDRA-20943) */
static bool scan_comment(struct walk *w)
{
	struct path p;

	if (!take(w, "ON"))
		return false;
	if (take(w, "KEYSPACE") || take(w, "SCHEMA"))
		return take_keyspace(w);
	if (take(w, "TABLE") || take(w, "COLUMNFAMILY"))
		return take_table(w);
	if (take(w, "COLUMN"))
		return take_path(w, &p) && add_table(w, &p, 1);
	if (take(w, "TYPE"))
		return take_keyspace_of(w, 0);
	return take(w, "FIELD") && take_keyspace_of(w, 1);
}

static bool scan_schema(struct walk *w)
{
	const bool is_create = at(w, "CREATE");
	const bool is_drop = at(w, "DROP");

	if (take(w, "COMMENT"))
		return scan_comment(w);
	advance(w);
	return scan_definition(w, is_create, is_drop);
}

/* ---- all kinds ---- */

/* What statement_scan() has found is all that there is. */
static bool add_from_facts(struct walk *w, const struct statement_facts *facts)
{
	struct statement_name of_connection;

	if (facts->kind == STATEMENT_USE ? facts->keyspace.len == 0 : facts->table.len == 0)
		return false;
	name_from(w->keyspace, &of_connection);
	statement_tables_add(w->out, facts->keyspace.len > 0 ? &facts->keyspace : &of_connection, &facts->table);
	return true;
}

void statement_tables_scan(struct strview text, const struct statement_facts *facts, struct strview keyspace,
			   struct statement_tables *out)
{
	struct walk w = { .keyspace = keyspace, .out = out };
	bool is_understood;

	switch (facts->kind) {
	case STATEMENT_SELECT:
	case STATEMENT_INSERT:
	case STATEMENT_UPDATE:
	case STATEMENT_DELETE:
	case STATEMENT_TRUNCATE:
	case STATEMENT_USE:
		is_understood = add_from_facts(&w, facts);
		break;
	case STATEMENT_BATCH:
	case STATEMENT_SCHEMA:
		scanner_init(&w.scanner, text);
		advance(&w);
		is_understood = facts->kind == STATEMENT_BATCH ? scan_batch(&w) : scan_schema(&w);
		break;
	case STATEMENT_ROLE:
	case STATEMENT_LIST:
	case STATEMENT_DESCRIBE:
	case STATEMENT_CALL:
		is_understood = true;
		break;
	default:
		is_understood = false;
	}
	if (!is_understood)
		out->is_incomplete = true;
}
