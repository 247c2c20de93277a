/*
 * local.h - requests that no cluster sees, since we answer them: reads of
 * system.local, system.peers and system.peers_v2, unprepared and prepared.
 */
#ifndef PROXY_LOCAL_H
#define PROXY_LOCAL_H

#include "proxy/arrival.h"

/* Each answers the client, once. */
void local_query(struct arrival *a, struct strview text, const struct query_params *params);
void local_prepare(struct arrival *a, struct strview text, struct strview keyspace);
/* `entry` is one that local_prepare() made. */
void local_execute(struct arrival *a, const struct prepared *entry, const struct query_params *params);

#endif
