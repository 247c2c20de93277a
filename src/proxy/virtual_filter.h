/*
 * virtual_filter.h - WHERE of the SELECTs that we answer: which relations
 * Cassandra would take, and which nodes they let through.
 */
#ifndef PROXY_VIRTUAL_FILTER_H
#define PROXY_VIRTUAL_FILTER_H

#include "proxy/virtual_eval.h"

struct virtual_condition {
	const struct virtual_column *column;
	struct bytesview type; /* of the values */
	uint8_t op;            /* enum select_op */
	bool is_token;
	unsigned count;       /* of the values; more than one with IN */
	struct writer values; /* each as [bytes], none null */
};

struct virtual_filter {
	struct virtual_condition conditions[SELECT_MAX_RELATIONS];
	unsigned count;
	bool has_partition;   /* the partition key is restricted by = or IN */
	int partition_marker; /* the marker that stands for the partition key, -1: none */
};

/*
 * Checks all relations; with a request, their values are evaluated. False with
 * an error. Freed by virtual_filter_fini() in both cases.
 */
MUSTCHECK bool virtual_filter_init(struct virtual_filter *f, struct virtual_answer *a);
void virtual_filter_fini(struct virtual_filter *f);

bool virtual_filter_matches(const struct virtual_filter *f, const struct virtual_answer *a,
			    const struct virtual_node *node);

#endif
