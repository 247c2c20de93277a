/*
 * forward.h - from a client's request to a node's: the few things in a body
 * that differ from what the client sent. The way back is reply.h.
 *
 *   prepared ids    the cluster's own in place of the one the client knows
 *   SKIP_METADATA   cleared in v3 and v4 when the client does not hold this
 *                   cluster's result columns
 *   paging state    without the mark that reply.c appended
 *   consistency     the level that the cluster's settings say (amend.h)
 *
 * The body goes out compressed as it came when nothing changes and the node
 * speaks the client's compression, else plain.
 */
#ifndef PROXY_FORWARD_H
#define PROXY_FORWARD_H

#include "proxy/request.h"

/* Of an EXECUTE: the length of the id, the id, the level, the flags, the length of the paging state, its mark. */
#define FORWARD_MAX_EDITS 6

/* What has to change in the body for one cluster. The bytes put in live in here or in the prepared entry. */
struct leg_edits {
	struct frame_edit edits[FORWARD_MAX_EDITS];
	unsigned count;
	uint8_t id_len[2];
	uint8_t level[2];
	uint8_t query_flags;
	uint8_t paging_len[4];
};

/* A request as one cluster gets it. Lives as long as the request, and must not be copied: pieces point into it. */
struct forward_frame {
	struct wire_piece pieces[WIRE_MAX_PIECES];
	unsigned count;
	uint32_t length; /* of all pieces together */
	uint8_t flags;
	struct leg_edits edits;
};

/*
 * Puts the frame for this cluster together, for a connection that is compressed
 * like this. Not for a BATCH with prepared children.
 */
void forward_build(const struct request *rq, unsigned cluster, enum cql_compression compression,
		   struct forward_frame *out);

/*
 * Sends the leg's frame on this connection, behind a PREPARE where the cluster lacks a statement (demand.h). False when
 * it has no room (or is NULL), or when there is no memory for a body that has to be changed; nothing was sent then.
 */
MUSTCHECK bool forward_leg(struct request_leg *leg, struct server *s);

#endif
