/*
 * local.h - requests that no cluster sees, since we answer them, unprepared and
 * prepared: reads of system.local, system.peers and system.peers_v2, and CALL
 * InsightsRpc..., by which drivers for DSE report on themselves. The latter are
 * accepted and forgotten: RESULT/VOID.
 */
#ifndef PROXY_LOCAL_H
#define PROXY_LOCAL_H

#include "proxy/arrival.h"

/* Each answers the client, once. `verdict` is route.h's: it says which of the two kinds the statement is. */
void local_query(struct arrival *a, const struct verdict *verdict, struct strview text,
		 const struct query_params *params);
void local_prepare(struct arrival *a, const struct verdict *verdict, struct strview text, struct strview keyspace);
/* The entry is one that local_prepare() made; the reference stays the caller's. */
void local_execute(struct arrival *a, struct prepared_ref *ref, const struct execute_message *m);

/* A QUERY, PREPARE or EXECUTE of a system table once more, from its body; `ref` of an EXECUTE (local_trace.h). */
void local_again(struct arrival *a, struct prepared_ref *ref);

#endif
