/*
 * amend.h - what the settings change in requests on their way, beside what
 * must change (forward.h):
 *
 *   request ids          request_id.h          the same for both clusters
 *   write timestamps     timestamps.h          the same for both clusters
 *   consistency levels   read_consistency,     for each cluster its own:
 *                        write_consistency     forward.c asks amend_level()
 *
 * Which of these are on is one set of bits, made at the start, so that all of
 * them off cost one branch per request. What a statement allows is a set of
 * bits, too; it is kept with a prepared one.
 */
#ifndef PROXY_AMEND_H
#define PROXY_AMEND_H

#include "cql/write_facts.h"
#include "proxy/arrival.h"

struct request;

/* What is on. */
#define AMEND_TIMESTAMPS 0x01
#define AMEND_LEVELS 0x02
#define AMEND_IDS 0x04       /* request ids are added or kept */
#define AMEND_IDS_STRIP 0x08 /* request ids of clients are removed; only of concern when there is a payload */

uint8_t amends_of(const struct settings *settings);

/* What a statement allows. */
#define ALLOWS_TIMESTAMP 0x01   /* writes rows, counts nothing, has no USING TIMESTAMP */
#define ALLOWS_READ_LEVEL 0x02  /* SELECT, not of a system keyspace */
#define ALLOWS_WRITE_LEVEL 0x04 /* INSERT, UPDATE, DELETE, BATCH */
#define ALLOWS_LEVEL (ALLOWS_READ_LEVEL | ALLOWS_WRITE_LEVEL)

/* Whether a bound value is for a counter. */
enum bound_counter {
	BOUND_UNKNOWN, /* not prepared */
	BOUND_NONE,
	BOUND_COUNTER,
};

/*
 * `facts` are those of the text; `keyspace` is the one that unqualified names
 * mean. ALLOWS_TIMESTAMP costs another look at the text and is found out only
 * with AMEND_TIMESTAMPS in `amends`.
 */
uint8_t amend_allows(struct strview text, const struct statement_facts *facts, struct strview keyspace,
		     enum bound_counter bound, uint8_t amends);

/*
 * Changes the body for both clusters. Called when a->amends is not 0, before
 * the request is made and with what it allows; the message is parsed again.
 * False when the frame has been answered.
 */
MUSTCHECK bool amend_query(struct arrival *a, struct query_message *m, uint8_t allows);
MUSTCHECK bool amend_prepare(struct arrival *a, struct prepare_message *m);
MUSTCHECK bool amend_execute(struct arrival *a, struct execute_message *m, uint8_t allows);
MUSTCHECK bool amend_batch(struct arrival *a, struct batch_message *m, uint8_t allows);

/* What the request has to know of it; its other fields are filled in, it has not been started. */
void amend_request(const struct arrival *a, struct request *rq);

/* The level at which `cluster` is asked: its route's, else what the settings make of its own. */
uint16_t amend_level(const struct request *rq, unsigned cluster);

#endif
