/*
 * traces.h - where a trace can be read. The session of a traced request stands
 * in system_traces of the cluster that made its id: the one whose answer the
 * driver got. Reads of system keyspaces go to one cluster by configuration,
 * which may change, so who made an id is remembered here, and a read that names
 * one goes there.
 *
 * A ring of the latest ids for the whole process: drivers read a trace soon,
 * and on any of their connections. Tracing is rare and never cheap, so a lock
 * will do.
 */
#ifndef PROXY_TRACES_H
#define PROXY_TRACES_H

#include <pthread.h>
#include <stdatomic.h>

#include "cql/message.h"
#include "proxy/settings.h"

/* More than drivers wait for at a time; 16 KiB. */
#define TRACES_MAX 1024
#define TRACE_ID_LEN 16
/* So many ids of one read are looked up, each under the lock; who waits for a trace names one. */
#define TRACES_LOOKUPS 256

struct traces {
	pthread_mutex_t lock;
	_Atomic uint32_t count; /* ids noted so far, also those that have been overwritten */
	uint8_t ids[TRACES_MAX][TRACE_ID_LEN];
	uint8_t makers[TRACES_MAX]; /* enum cluster_id */
};

void traces_init(struct traces *t);
void traces_fini(struct traces *t);

/* Remembers an id that the cluster has made. Any thread. */
void traces_note(struct traces *t, const uint8_t id[TRACE_ID_LEN], enum cluster_id maker);
/* True when the id is one of the latest TRACES_MAX noted. Any thread. */
bool traces_find(struct traces *t, const uint8_t id[TRACE_ID_LEN], enum cluster_id *maker);

/*
 * True when a read of system_traces asks for a noted id: as a uuid in the text
 * (len 0: none) or as a bound value, among its first TRACES_LOOKUPS. `params`
 * are those of the body. *maker is who made it.
 */
bool traces_asked_for(struct traces *t, struct strview text, const uint8_t *body, uint32_t len,
		      const struct query_params *params, enum cluster_id *maker);

#endif
