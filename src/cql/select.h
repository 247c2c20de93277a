/*
 * select.h - parses the SELECTs on system.local, system.peers and
 * system.peers_v2 that the proxy answers itself, in the grammar of Cassandra's
 * Parser.g (selectStatement), without what no such table can have:
 *
 *   SELECT [JSON] [DISTINCT] * | selector [AS alias], ... FROM [keyspace.]table
 *   [WHERE relation AND ...] [GROUP BY names] [ORDER BY names] [PER PARTITION LIMIT n|marker] [LIMIT n|marker]
 *   [ALLOW FILTERING] [;]
 *
 *   selector  column | [system.]function(selector, ...) | COUNT(*) | CAST(selector AS type) | literal | marker
 *             | (type) literal or marker
 *   relation  column op term | column IN (terms) or marker | column CONTAINS [KEY] term | token(column) op term
 *
 * What the names mean (columns, functions, types) is the caller's to say.
 * Arithmetic, access to elements and fields, and literals of collections are
 * understood well enough to be refused by name.
 */
#ifndef CQL_SELECT_H
#define CQL_SELECT_H

#include "cql/scanner.h"
#include "cql/tables.h"

enum select_kind {
	SELECT_COLUMN,
	SELECT_CALL,
	SELECT_CAST, /* CAST(first AS name) */
	SELECT_HINT, /* (name) first */
	SELECT_LITERAL,
	SELECT_MARKER,
};

/* X(name, word in messages: Cassandra's) */
#define SELECT_LITERALS(X)                                                                                             \
	X(STRING)                                                                                                      \
	X(INTEGER)                                                                                                     \
	X(FLOAT)                                                                                                       \
	X(BOOLEAN)                                                                                                     \
	X(UUID)                                                                                                        \
	X(HEX)                                                                                                         \
	X(NULL)

enum select_literal {
#define X(name) LITERAL_##name,
	SELECT_LITERALS(X)
#undef X
};

const char *select_literal_name(enum select_literal literal);

/* An expression; those of one list (arguments, values of IN) hang together by `next`. 0 is no expression. */
struct select_expr {
	uint8_t kind;        /* enum select_kind */
	uint8_t literal;     /* enum select_literal */
	bool is_star;        /* the argument of COUNT(*) */
	uint16_t first;      /* of the arguments */
	uint16_t next;       /* in the list that this one stands in */
	uint16_t marker;     /* its number, 0 for the first of the text */
	struct strview name; /* column, function or type, folded; literal without quotes; name of a :marker, else empty */
	struct strview keyspace; /* of a function that was written with one */
};

struct select_item {
	uint16_t expr;
	struct strview alias; /* len 0 without one */
};

enum select_op {
	SELECT_OP_EQ,
	SELECT_OP_NE,
	SELECT_OP_LT,
	SELECT_OP_LE,
	SELECT_OP_GT,
	SELECT_OP_GE,
	SELECT_OP_IN,
	SELECT_OP_CONTAINS,
	SELECT_OP_CONTAINS_KEY,
	SELECT_OP_LIKE,
	SELECT_OP_NOT_NULL,
};

const char *select_op_name(enum select_op op);

struct select_relation {
	uint8_t op;            /* enum select_op */
	bool is_token;         /* token(column) */
	bool is_tuple;         /* (column, ...): nothing behind the first name is kept */
	bool is_in_marker;     /* IN ?: one value, a list */
	unsigned columns;      /* how many there are */
	struct strview column; /* the first */
	uint16_t values;       /* the first of the list; 0 for an empty IN () and for IS NOT NULL */
};

#define SELECT_MAX_ITEMS 64
#define SELECT_MAX_RELATIONS 16
#define SELECT_MAX_NAMES 8   /* of GROUP BY and of ORDER BY */
#define SELECT_MAX_EXPRS 512 /* all together */
#define SELECT_MAX_DEPTH 6   /* of expressions inside each other: toJson() of a text may double it each time */
#define SELECT_MAX_TEXT 65536

struct select_query {
	char *text; /* owned: the statement, changed where names are folded and strings unquoted; all views point here */
	struct select_expr *exprs; /* owned; the first is at 1 */
	unsigned expr_count;       /* with the one at 0 */
	bool is_json;
	bool is_distinct;
	bool is_star;
	bool allows_filtering;
	unsigned item_count;
	struct select_item items[SELECT_MAX_ITEMS];
	unsigned relation_count;
	struct select_relation relations[SELECT_MAX_RELATIONS];
	unsigned group_count;
	struct strview group[SELECT_MAX_NAMES];
	unsigned order_count;
	struct strview order[SELECT_MAX_NAMES];
	uint16_t limit;               /* a literal or a marker; 0: none */
	uint16_t per_partition_limit; /* the same */
	unsigned marker_count;        /* of the whole text */
	struct strview keyspace;      /* len 0 without one */
	struct strview table;
};

/*
 * False: `code` (SYNTAX_ERROR, or INVALID for what is legal but beyond us) and
 * `why` (size `why_size`) say what cannot be answered, as a sentence for the
 * client; nothing is owned then. Otherwise freed by select_free().
 */
MUSTCHECK bool select_parse(struct strview text, struct select_query *out, enum cql_error_code *code, char *why,
			    size_t why_size);
void select_free(struct select_query *q);

#endif
