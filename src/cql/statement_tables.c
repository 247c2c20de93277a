/* statement_tables.c - see statement_tables.h */
#include "cql/statement_tables.h"

#include <string.h>

static bool names_equal(const struct statement_name *a, const struct statement_name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

void statement_tables_add(struct statement_tables *t, const struct statement_name *keyspace,
			  const struct statement_name *table)
{
	for (unsigned i = 0; i < t->count; i++) {
		if (names_equal(&t->items[i].keyspace, keyspace) && names_equal(&t->items[i].table, table))
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
	memcpy(out->text, text.p, out->len);
}

void statement_tables_scan(struct strview text, const struct statement_facts *facts, struct strview keyspace,
			   struct statement_tables *out)
{
	struct statement_name of_connection;

	(void)text;
	if (facts->kind == STATEMENT_BATCH || facts->kind == STATEMENT_UNKNOWN) {
		out->is_incomplete = true;
		return;
	}
	if (facts->table.len == 0 && facts->keyspace.len == 0)
		return;
	name_from(keyspace, &of_connection);
	statement_tables_add(out, facts->keyspace.len > 0 ? &facts->keyspace : &of_connection, &facts->table);
}
