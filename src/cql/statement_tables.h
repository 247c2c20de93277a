/*
 * statement_tables.h - the tables that a statement names, all of them: of a
 * BATCH text those of its children, of DDL the one that it is about. A second
 * look at a text, for those whose route depends on it; what every request needs
 * is in statement.h.
 */
#ifndef CQL_STATEMENT_TABLES_H
#define CQL_STATEMENT_TABLES_H

#include "cql/statement.h"

#define STATEMENT_TABLES_MAX 32

/* Names as Cassandra keeps them: unquoted ones in lower case. len 0: the text does not say. */
struct statement_table {
	struct statement_name keyspace;
	struct statement_name table;
};

struct statement_tables {
	unsigned count;
	/* There may be others: the text was not understood, or there are too many. What is decided by table must then
	 * not rely on those that are here. */
	bool is_incomplete;
	struct statement_table items[STATEMENT_TABLES_MAX]; /* each pair once; a copy may have room for `count` only */
};

/* None; before the first call of those below. What is behind `count` stays as it is. */
static inline void statement_tables_clear(struct statement_tables *t)
{
	t->count = 0;
	t->is_incomplete = false;
}

/* This one alone. */
static inline void statement_tables_set(struct statement_tables *t, const struct statement_table *table)
{
	t->count = 1;
	t->is_incomplete = false;
	t->items[0] = *table;
}

/*
 * Adds the tables of a text to `out`; names
 * without a keyspace get `keyspace` (len 0: none). `facts` is what
 * statement_scan() said about the same text. For USE and statements about a
 * keyspace the pair has no table; for statements about neither (roles, LIST,
 * DESCRIBE, CALL) nothing is added. Never fails.
 */
void statement_tables_scan(struct strview text, const struct statement_facts *facts, struct strview keyspace,
			   struct statement_tables *out);

/* Adds one pair, unless it is there. */
void statement_tables_add(struct statement_tables *t, const struct statement_name *keyspace,
			  const struct statement_name *table);

#endif
