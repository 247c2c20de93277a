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
/* `entry` is one that local_prepare() made. */
void local_execute(struct arrival *a, const struct prepared *entry, const struct query_params *params);

#endif
