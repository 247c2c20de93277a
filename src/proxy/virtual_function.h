/*
 * virtual_function.h - the functions that a SELECT answered by us may call:
 * those of Cassandra 4.1 and 5.0 that make sense for a row of system.local.
 */
#ifndef PROXY_VIRTUAL_FUNCTION_H
#define PROXY_VIRTUAL_FUNCTION_H

#include "proxy/virtual_eval.h"

enum virtual_function_kind {
	FUNCTION_MADE,      /* no argument: now(), uuid() ... */
	FUNCTION_PLAIN,     /* of one value */
	FUNCTION_AGGREGATE, /* of all rows of a group */
	FUNCTION_CELL,      /* writetime(), ttl(): of a column itself */
};

struct virtual_function {
	const char *name;
	const char *label; /* what the column is called by; NULL: the name */
	enum virtual_function_kind kind;
	enum cql_type result; /* TYPE_CUSTOM: that of the argument */
	/* Of PLAIN: whether it takes a value of this type. */
	bool (*takes)(const struct virtual_answer *a, struct bytesview type);
	/* Of PLAIN: writes the result as [bytes]; `v` is no null, except for toJson(). */
	void (*run)(struct bytesview type, struct bytesview v, struct writer *out);
};

/* NULL when there is none; `name` is folded. */
const struct virtual_function *virtual_function_find(struct strview name);
static inline const char *virtual_function_label(const struct virtual_function *f)
{
	return f->label ? f->label : f->name;
}

/* The partition key's type, which token() takes. */
struct bytesview virtual_key_type(enum virtual_table table);

/* A new value of a MADE function, [bytes]. */
void virtual_make(const struct virtual_answer *a, const struct virtual_function *f, struct writer *out);
/* An aggregate over the group's rows, [bytes]. `argument` 0: of COUNT(*). */
void virtual_aggregate(const struct virtual_answer *a, const struct virtual_function *f, unsigned argument,
		       const struct virtual_group *group, struct writer *out);
/* Whether the aggregate takes values of that type. */
bool virtual_aggregate_takes(const struct virtual_function *f, struct bytesview type);

#endif
