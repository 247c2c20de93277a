/* write_facts.c - see write_facts.h */
#include "cql/write_facts.h"

/* Attributes of one USING that are looked at: TIMESTAMP, TTL, Scylla's TIMEOUT. */
#define MAX_ATTRIBUTES 8

/*
 * Behind USING: attribute [value] {AND attribute [value]}. Cassandra takes
 * TIMESTAMP and TTL in any order. A word that is no attribute ends the list,
 * and its token is lost for the caller; none that matters can stand there.
 */
static bool using_timestamp(struct scanner *s)
{
	for (unsigned i = 0; i < MAX_ATTRIBUTES; i++) {
		struct token t = scanner_next(s);
		size_t behind;

		if (token_is_keyword(&t, "TIMESTAMP"))
			return true;
		scanner_next(s); /* the value: a number or a marker */
		behind = s->pos;
		t = scanner_next(s);
		if (!token_is_keyword(&t, "AND")) {
			s->pos = behind;
			return false;
		}
	}
	return false;
}

static bool is_name(const struct token *t)
{
	return t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED;
}

static bool is_sign(const struct token *t)
{
	return token_is_symbol(t, '+') || token_is_symbol(t, '-');
}

/* What is added: the scanner stands behind the sign (or behind its "="). */
static enum counter_fact added(struct scanner *s)
{
	size_t before = s->pos;
	struct token t = scanner_next(s);
	enum counter_fact fact = COUNTER_POSSIBLE;

	if (is_sign(&t))
		t = scanner_next(s);
	if (t.kind == TOKEN_NUMBER)
		fact = COUNTER_CERTAIN;
	else if (token_is_symbol(&t, '[') || token_is_symbol(&t, '{'))
		fact = COUNTER_NO;
	s->pos = before;
	return fact;
}

/*
 * Assignments that may count are "c = c + term", "c = c - term", "c = c -1"
 * and "c += term", "c -= term". A name behind "=" with a sign behind it stands
 * nowhere else: terms have no columns in them.
 */
static enum counter_fact counter_at(struct scanner *s, const struct token before[3], const struct token *t)
{
	if (is_sign(t) && is_name(&before[0]) && token_is_symbol(&before[1], '=') && is_name(&before[2]))
		return added(s);
	if (token_is_symbol(t, '=') && is_sign(&before[0]) && is_name(&before[1]))
		return added(s);
	return COUNTER_NO;
}

void write_facts_scan(struct strview text, const struct statement_facts *facts, struct write_facts *out)
{
	struct token before[3] = { { .kind = TOKEN_END }, { .kind = TOKEN_END }, { .kind = TOKEN_END } };
	const bool may_count = facts->kind == STATEMENT_UPDATE || facts->kind == STATEMENT_BATCH;
	struct scanner s;
	struct token t;

	*out = (struct write_facts){ .counter = facts->is_counter_batch ? COUNTER_CERTAIN : COUNTER_NO };
	out->writes_rows = may_count || facts->kind == STATEMENT_INSERT || facts->kind == STATEMENT_DELETE;
	if (!out->writes_rows)
		return;
	scanner_init(&s, text);
	for (t = scanner_next(&s); t.kind != TOKEN_END && t.kind != TOKEN_BAD; t = scanner_next(&s)) {
		if (token_is_keyword(&t, "USING") && using_timestamp(&s)) {
			out->has_timestamp = true;
		} else if (may_count && t.kind == TOKEN_SYMBOL) {
			uint8_t counter = (uint8_t)counter_at(&s, before, &t);

			out->counter = MAX(out->counter, counter);
		}
		before[2] = before[1];
		before[1] = before[0];
		before[0] = t;
	}
}
