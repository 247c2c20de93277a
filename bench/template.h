/* template.h - the requests that cqlbench sends: bodies made once, with gaps for the key. */
#ifndef BENCH_TEMPLATE_H
#define BENCH_TEMPLATE_H

#include "cql/tables.h"
#include "cql/writer.h"

#define BATCH_CHILDREN 10
#define TEMPLATE_MAX_GAPS (2 * BATCH_CHILDREN)

enum form {
	FORM_PREPARED, /* EXECUTE */
	FORM_SIMPLE,   /* QUERY with literals */
	FORM_BATCH,    /* writes: a BATCH of prepared ones; reads are prepared */
};

struct template
{
	uint8_t opcode;
	struct writer body;
	uint32_t gaps[TEMPLATE_MAX_GAPS]; /* offsets in the body */
	unsigned gap_count;
};

/* What was said at PREPARE; metadata_id only since v5. */
struct prepared_ids {
	struct bytesview id;
	struct bytesview metadata_id;
};

void template_make(struct template *t, enum form form, bool is_write, const struct prepared_ids *ids, uint8_t version,
		   uint32_t value_len);

/* Copies the body to `out` with the key of that number in its gaps. */
void template_fill(const struct template *t, uint64_t number, uint8_t *out);

#endif
