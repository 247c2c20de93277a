/*
 * virtual_eval.h - expressions of the SELECTs that we answer (virtual.h):
 * columns, literals, bind markers, casts and functions. An expression is
 * checked once, which gives each of its parts a type, and then written for
 * each row. Wording of errors: Cassandra's.
 */
#ifndef PROXY_VIRTUAL_EVAL_H
#define PROXY_VIRTUAL_EVAL_H

#include "proxy/value.h"
#include "proxy/virtual_values.h"

#define MARKER_NAME_MAX 96

/* What a bind marker stands for. */
struct virtual_marker {
	char name[MARKER_NAME_MAX];
	struct bytesview type;
	uint8_t type_bytes[4]; /* of a list */
};

/* What was found out about an expression. */
struct virtual_expr_info {
	struct bytesview type;
	const struct virtual_column *column;     /* of a column */
	const struct virtual_function *function; /* of a call */
	bool is_plain_cast;                      /* a cast to the type that it has already */
};

/* One answer under way. */
struct virtual_answer {
	const struct select_query *select;
	enum virtual_table table;
	const struct virtual_source *source;
	const struct virtual_request *request; /* NULL: for PREPARE, there are no values */
	struct writer *out;                    /* gets the ERROR body */
	struct virtual_expr_info *infos;       /* by number of the expression */
	struct virtual_marker *markers;        /* by their number */
	bool has_aggregate;
};

/* The rows that one row of the answer is made of; without aggregates one. */
struct virtual_group {
	const struct virtual_node *nodes;
	unsigned count;
};

/* Leaves an ERROR body; always false. */
bool virtual_refuse(struct virtual_answer *a, enum cql_error_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The column, which exists, or NULL and an error. */
const struct virtual_column *virtual_find_column(struct virtual_answer *a, struct strview name);

/*
 * Gives the expression its type. `expected` (may be null): what a literal or a
 * marker is to be; `what` names it in messages, a marker gets it as its name.
 */
MUSTCHECK bool virtual_check(struct virtual_answer *a, unsigned expr, struct bytesview expected, const char *what);

/* Says that the marker stands for a value of this type. Of a `request`, its value is checked. */
MUSTCHECK bool virtual_set_marker(struct virtual_answer *a, const struct select_expr *e, const char *name,
				  struct bytesview type);
/* The value that the request binds; false (and an error) when it binds none. */
MUSTCHECK bool virtual_marker_value(struct virtual_answer *a, const struct select_expr *e, struct bytesview *out);

/* Writes the value as [bytes] for this row of the answer. A group without nodes has nulls for columns. */
void virtual_write_expr(const struct virtual_answer *a, unsigned expr, const struct virtual_group *group,
			struct writer *out);
/* Appends how Cassandra calls the column of this expression: "system.count(key)". */
void virtual_write_label(const struct virtual_answer *a, unsigned expr, struct writer *out);

#endif
