/*
 * local_wait.h - where drivers see a single row there is nothing that could
 * differ from its schema_version, so a SELECT of it right after a change of the
 * schema waits: until both clusters have taken the change, or for a second.
 *
 * Only SELECTs from system.local that name the column wait: so drivers ask when
 * they wait for agreement. `SELECT *` is what they ask when they connect.
 */
#ifndef PROXY_LOCAL_WAIT_H
#define PROXY_LOCAL_WAIT_H

#include "proxy/arrival.h"
#include "proxy/prepared.h"
#include "proxy/virtual.h"

/*
 * False when it need not wait. Else it is answered later, by local_again().
 * `ref`: of an EXECUTE, stays the caller's.
 */
MUSTCHECK bool local_wait_begin(struct arrival *a, const struct virtual_query *q, struct prepared_ref *ref);

/* For worker->schema_poll. */
bool local_wait_poll(struct loop_poll *poll);

#endif
