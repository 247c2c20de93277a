/*
 * write_facts.h - what a text says that decides whether its request may be
 * given a timestamp (proxy/timestamps.h): whether it writes rows, whether it
 * has timestamps of its own, whether it may count.
 *
 * A second look at a text, token by token, for those who need it; what every
 * request needs is in statement.h. Grammar: Cassandra's Parser.g of 3.11 to
 * 5.0.
 */
#ifndef CQL_WRITE_FACTS_H
#define CQL_WRITE_FACTS_H

#include "cql/statement.h"

enum counter_fact {
	COUNTER_NO,
	/* Something that is neither a number nor a collection literal is added to a column: it may be a counter, a
	 * list, a set or a map. The types of the bound values tell, where they are known. */
	COUNTER_POSSIBLE,
	/* A counter batch, or a number is added to a column (c = c + 1, c += 1). */
	COUNTER_CERTAIN,
};

struct write_facts {
	/* INSERT, UPDATE, DELETE, BEGIN BATCH; false for TRUNCATE, schema changes and what is not understood. */
	bool writes_rows;
	/* USING TIMESTAMP, of the statement, the batch, or any statement in it. */
	bool has_timestamp;
	uint8_t counter; /* enum counter_fact */
};

/* `facts` is what statement_scan() said about the same text. Never fails. */
void write_facts_scan(struct strview text, const struct statement_facts *facts, struct write_facts *out);

#endif
