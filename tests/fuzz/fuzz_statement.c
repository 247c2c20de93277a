/*
 * fuzz_statement.c - CQL texts: tokens, classification, tables, what writes say of
 * timestamps, counters and repetition, the parser of system table reads.
 * Besides staying inside the text, a scan must not depend on
 * comments and white space in front.
 */
#include "cql/idempotence.h"
#include "cql/select.h"
#include "cql/statement_tables.h"
#include "cql/write_facts.h"
#include "fuzz.h"

static void try_tokens(struct strview text)
{
	struct scanner s;
	size_t behind = 0;

	scanner_init(&s, text);
	for (;;) {
		struct token t = scanner_next(&s);
		struct statement_name name;
		char string[16];

		check_inside(t.text.p, t.text.len, (const uint8_t *)text.p, text.len);
		if (t.kind == TOKEN_END)
			break;
		CHECK(t.text.len > 0 && t.offset >= behind && t.text.p == text.p + t.offset);
		behind = t.offset + t.text.len;
		CHECK(s.pos == behind);
		if (token_name(&t, &name) || token_marker_name(&t, &name))
			CHECK(name.len <= STATEMENT_NAME_MAX && (!name.is_cut || name.len == STATEMENT_NAME_MAX));
		if (token_string(&t, string, sizeof(string)))
			CHECK(strlen(string) < sizeof(string));
	}
	CHECK(s.pos == text.len);
}

static bool same_name(const struct statement_name *a, const struct statement_name *b)
{
	return a->is_cut == b->is_cut && sv_equal(statement_name_view(a), statement_name_view(b));
}

static void try_scan(struct strview text)
{
	static const char front[] = "\t/* SELECT a FROM ks.t */-- x\r\n";
	struct statement_facts a;
	struct statement_facts b;
	struct write_facts writes_a;
	struct write_facts writes_b;
	char *longer;

	statement_scan(text, &a);
	write_facts_scan(text, &a, &writes_a);
	CHECK(writes_a.writes_rows == (a.kind == STATEMENT_INSERT || a.kind == STATEMENT_UPDATE ||
				       a.kind == STATEMENT_DELETE || a.kind == STATEMENT_BATCH));
	CHECK(writes_a.writes_rows || !writes_a.has_timestamp);
	CHECK(a.from_offset < text.len || a.from_offset == 0);
	CHECK(a.from_offset == 0 || a.kind == STATEMENT_SELECT);
	CHECK(!a.is_conditional || a.kind == STATEMENT_INSERT || a.kind == STATEMENT_UPDATE ||
	      a.kind == STATEMENT_DELETE || a.kind == STATEMENT_BATCH);
	longer = malloc(sizeof(front) - 1 + text.len);
	memcpy(longer, front, sizeof(front) - 1);
	if (text.len > 0)
		memcpy(longer + sizeof(front) - 1, text.p, text.len);
	statement_scan((struct strview){ longer, sizeof(front) - 1 + text.len }, &b);
	write_facts_scan((struct strview){ longer, sizeof(front) - 1 + text.len }, &b, &writes_b);
	CHECK(writes_a.has_timestamp == writes_b.has_timestamp && writes_a.counter == writes_b.counter);
	/* what is proven to be repeatable is a write, without conditions, and counts nothing */
	CHECK(idempotence_scan(text) == idempotence_scan((struct strview){ longer, sizeof(front) - 1 + text.len }));
	CHECK(idempotence_scan(text) == 0 ||
	      (writes_a.writes_rows && !a.is_conditional && writes_a.counter == COUNTER_NO));
	CHECK(!(idempotence_scan(text) & IDEMPOTENT_HAS_TIMESTAMP) || writes_a.has_timestamp ||
	      a.kind == STATEMENT_BATCH);
	CHECK(a.kind == b.kind && same_name(&a.keyspace, &b.keyspace) && same_name(&a.table, &b.table));
	CHECK(a.is_conditional == b.is_conditional && a.is_qualified == b.is_qualified);
	CHECK(a.is_insights_call == b.is_insights_call && (!a.is_insights_call || a.kind == STATEMENT_CALL));
	CHECK(a.from_offset == 0 ? b.from_offset == 0 : b.from_offset == a.from_offset + sizeof(front) - 1);
	free(longer);
}

/* Names are whole, pairs are there once, and what the scan itself has found is among them. */
static void check_tables(const struct statement_facts *facts, const struct statement_tables *t)
{
	bool has_own = false;

	CHECK(t->count <= STATEMENT_TABLES_MAX);
	for (unsigned i = 0; i < t->count; i++) {
		const struct statement_table *a = &t->items[i];

		CHECK(a->keyspace.len <= STATEMENT_NAME_MAX && a->table.len <= STATEMENT_NAME_MAX);
		has_own |= same_name(&a->table, &facts->table);
		for (unsigned j = 0; j < i; j++)
			CHECK(!sv_equal(statement_name_view(&a->keyspace),
					statement_name_view(&t->items[j].keyspace)) ||
			      !sv_equal(statement_name_view(&a->table), statement_name_view(&t->items[j].table)));
	}
	CHECK(facts->table.len == 0 || has_own);
	CHECK(facts->kind != STATEMENT_UNKNOWN || t->is_incomplete);
}

/* Comments and white space in front do not change what is found. */
static void try_tables(struct strview text)
{
	static const char front[] = "/* BEGIN BATCH */ ";
	char *longer = malloc(sizeof(front) - 1 + text.len);
	struct statement_facts facts;
	struct statement_tables a = { .count = 0 }, b = { .count = 0 };

	statement_scan(text, &facts);
	statement_tables_scan(text, &facts, SV("ks"), &a);
	check_tables(&facts, &a);
	memcpy(longer, front, sizeof(front) - 1);
	if (text.len > 0)
		memcpy(longer + sizeof(front) - 1, text.p, text.len);
	text = (struct strview){ longer, sizeof(front) - 1 + text.len };
	statement_scan(text, &facts);
	statement_tables_scan(text, &facts, SV("ks"), &b);
	CHECK(a.count == b.count && a.is_incomplete == b.is_incomplete);
	for (unsigned i = 0; i < a.count; i++)
		CHECK(same_name(&a.items[i].keyspace, &b.items[i].keyspace) &&
		      same_name(&a.items[i].table, &b.items[i].table));
	free(longer);
}

/* Every index points at an expression, lists end, no expression is reached twice. */
static unsigned count_exprs(const struct select_query *q, unsigned first, unsigned depth)
{
	unsigned n = 0;

	CHECK(depth <= SELECT_MAX_DEPTH + 1);
	for (unsigned i = first; i; i = q->exprs[i].next) {
		CHECK(i < q->expr_count && ++n <= q->expr_count);
		check_inside(q->exprs[i].name.p, q->exprs[i].name.len, (const uint8_t *)q->text, strlen(q->text) + 1);
		CHECK(q->exprs[i].kind != SELECT_MARKER || q->exprs[i].marker < q->marker_count);
		n += count_exprs(q, q->exprs[i].first, depth + 1);
	}
	return n;
}

static bool is_same(const struct statement_name *a, struct strview b)
{
	/* A name that the scanner cuts is whole here. */
	return a->is_cut ? sv_starts_with(b, statement_name_view(a)) : sv_equal(statement_name_view(a), b);
}

static void check_query(const struct select_query *q, size_t length)
{
	unsigned reached = 1 + (q->limit != 0) + (q->per_partition_limit != 0);

	CHECK(q->item_count <= SELECT_MAX_ITEMS && q->relation_count <= SELECT_MAX_RELATIONS);
	CHECK(q->is_star == (q->item_count == 0));
	CHECK(q->group_count <= SELECT_MAX_NAMES && q->order_count <= SELECT_MAX_NAMES);
	CHECK(q->limit < q->expr_count && q->per_partition_limit < q->expr_count);
	if (memchr(q->text, '\0', length)) /* its views are checked by strlen() */
		return;
	for (unsigned i = 0; i < q->item_count; i++)
		reached += count_exprs(q, q->items[i].expr, 0);
	for (unsigned i = 0; i < q->relation_count; i++)
		reached += count_exprs(q, q->relations[i].values, 0);
	CHECK(reached == q->expr_count);
}

static void try_select(struct strview text)
{
	struct select_query q;
	struct statement_facts facts;
	enum cql_error_code code;
	char why[100];

	if (!select_parse(text, &q, &code, why, sizeof(why))) {
		CHECK(memchr(why, '\0', sizeof(why)) != NULL && why[0] != '\0');
		CHECK(code == CQL_ERR_SYNTAX_ERROR || code == CQL_ERR_INVALID);
		CHECK(q.text == NULL && q.exprs == NULL);
		return;
	}
	check_query(&q, text.len);
	/* what the parser understands, the scanner sees in the same way */
	statement_scan(text, &facts);
	CHECK(facts.kind == STATEMENT_SELECT);
	CHECK(is_same(&facts.keyspace, q.keyspace) && is_same(&facts.table, q.table));
	select_free(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strview text = { (const char *)data, size };

	try_tokens(text);
	try_scan(text);
	try_tables(text);
	(void)idempotence_json(text);
	(void)idempotence_may_be_list((struct bytesview){ .p = data, .len = (uint32_t)size });
	try_select(text);
	return 0;
}
