/*
 * select.h - parses the SELECTs on system.local and system.peers that the proxy
 * answers itself, far enough for every form that drivers and people send:
 *
 *   SELECT [DISTINCT] *                     | list FROM [system.]table
 *     list: name [AS alias] | COUNT(*|1) [AS alias], ...
 *   [WHERE name = literal|marker [AND ...]] [LIMIT n] [ALLOW FILTERING] [;]
 *
 * What is beyond that (JSON, functions, CAST, IN, ORDER BY ...) makes
 * select_parse() return false with a reason for an INVALID answer.
 */
#ifndef CQL_SELECT_H
#define CQL_SELECT_H

#include "cql/statement.h"

enum select_item_kind {
	SELECT_COLUMN,
	SELECT_COUNT,
};

struct select_item {
	enum select_item_kind kind;
	struct statement_name column; /* of SELECT_COLUMN */
	struct statement_name alias;  /* len 0 without one */
};

struct select_relation {
	struct statement_name column;
	bool is_marker;
	/* The name of a named marker (:name), without the colon, folded; len 0 for '?' */
	struct statement_name marker;
	unsigned marker_index;            /* 0 for the first marker of the text */
	bool is_string;                   /* the literal was quoted */
	char literal[STATEMENT_NAME_MAX]; /* its value without quotes, NUL-terminated; longer ones are cut */
};

#define SELECT_MAX_ITEMS 64
#define SELECT_MAX_RELATIONS 4

struct select_query {
	bool is_star;
	unsigned item_count;
	struct select_item items[SELECT_MAX_ITEMS];
	unsigned relation_count;
	struct select_relation relations[SELECT_MAX_RELATIONS];
	unsigned marker_count; /* of the whole text, LIMIT's included */
	bool has_limit;
	bool limit_is_marker;
	unsigned limit_marker_index;
	struct statement_name limit_marker; /* as select_relation.marker */
	uint32_t limit;
	struct statement_name keyspace;
	struct statement_name table;
};

/* False: `why` (size `why_size`) says what cannot be answered, as a sentence for the client. */
MUSTCHECK bool select_parse(struct strview text, struct select_query *out, char *why, size_t why_size);

#endif
