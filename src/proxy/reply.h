/*
 * reply.h - from a node's answer to the client's: the stream id, and the few
 * things in a body that must not pass as they are.
 *
 *   paging state    two bytes are appended: a mark and the cluster that made it,
 *                   since only that cluster can go on with it
 *   UNPREPARED      carries the id that the client knows
 *   SET_KEYSPACE    is noted as the client's keyspace
 *
 * An answer that is compressed in another way than the client's connection
 * goes on without compression; one that cannot be decompressed for that is
 * replaced by an error that names the node. Equal algorithms pass unread.
 */
#ifndef PROXY_REPLY_H
#define PROXY_REPLY_H

#include "proxy/request.h"

#define PAGING_MARK 0xCF
#define PAGING_MARK_LEN 2

/* The cluster that a marked paging state belongs to; false for a state without our mark. */
MUSTCHECK bool paging_mark_read(struct bytesview state, enum cluster_id *cluster);

/* Sends the answer of `cluster` to the client; the request goes on to exist. */
void reply_send(struct request *rq, enum cluster_id cluster, const struct frame *f);

/* A client gets this answer of `cluster` in another form: the id of its trace, if it has one, is noted (traces.h). */
void reply_note_trace(const struct client *c, enum cluster_id cluster, const struct plain *p);

/*
 * When the answer is a RESULT of kind SET_KEYSPACE: puts its keyspace in place
 * of *keyspace, which is freed.
 */
void reply_note_keyspace(struct client *c, unsigned cluster, const struct frame *f, char **keyspace);

#endif
