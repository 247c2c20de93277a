/*
 * replace.h - [routing] replace_cql_functions: what changes in requests that
 * write. PREPARE is in prepare.c, what stands in the place of a call in
 * functions.h.
 *
 *   QUERY, texts in a BATCH        literals in place of the calls
 *   EXECUTE, ids in a BATCH        values for the markers that PREPARE put in
 *
 * It is done before a request is made, so both clusters get the same, and so
 * does a node that has to be sent the request once more.
 */
#ifndef PROXY_REPLACE_H
#define PROXY_REPLACE_H

#include "cql/message.h"
#include "proxy/arrival.h"
#include "proxy/generated.h"

/*
 * Each changes the body if there is something to replace, and parses the
 * message again. False: the frame has been answered, with an error.
 */
MUSTCHECK bool replace_in_query(struct arrival *a, struct query_message *m);
MUSTCHECK bool replace_in_execute(struct arrival *a, const struct generated *g, struct execute_message *m);
MUSTCHECK bool replace_in_batch(struct arrival *a, struct batch_message *m);

/*
 * The text of a PREPARE with markers in place of the calls. *out is what has
 * to be known about it until both clusters have answered, malloc'd, or NULL
 * when nothing was changed.
 */
MUSTCHECK bool replace_in_prepare(struct arrival *a, struct prepare_message *m, bool is_qualified,
				  struct rewriting **out);
void replace_free_rewriting(struct rewriting *r);

#endif
