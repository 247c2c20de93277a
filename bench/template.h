/* template.h - the requests that cqlbench sends: bodies made once, with gaps for the key. */
#ifndef BENCH_TEMPLATE_H
#define BENCH_TEMPLATE_H

#include "peer.h"

struct options;

#define BATCH_CHILDREN 10
#define TEMPLATE_MAX_GAPS (2 * BATCH_CHILDREN)

enum form {
	FORM_PREPARED, /* EXECUTE */
	FORM_SIMPLE,   /* QUERY with literals */
	FORM_BATCH,    /* writes: a BATCH of prepared ones; reads are prepared */
};

struct template
{
	struct writer frame;              /* header and body, without the patterns of large values */
	uint32_t gaps[TEMPLATE_MAX_GAPS]; /* where keys are in it */
	unsigned gap_count;
	uint32_t patterns[BATCH_CHILDREN]; /* where these patterns belong */
	unsigned pattern_count;
	uint32_t pattern_len;
};

/* What was said at PREPARE; metadata_id only since v5. */
struct prepared_ids {
	struct bytesview id;
	struct bytesview metadata_id;
};

/* As the options say: protocol version, value size, keyspace. */
void template_make(struct template *t, enum form form, bool is_write, const struct prepared_ids *ids,
		   const struct options *o);

/* Queues the request with the key of that number. */
void template_send(const struct template *t, uint64_t number, struct peer *p, int16_t stream);

#endif
