/*
 * arrival.h - a request frame while it is being dispatched: its body without
 * compression, and what may be done to it before a request is made of it.
 */
#ifndef PROXY_ARRIVAL_H
#define PROXY_ARRIVAL_H

#include "proxy/client.h"
#include "proxy/plain.h"
#include "proxy/request_id.h"

/* What amend.c has found or done; request fields are made of it. */
struct amended {
	uint32_t consistency_offset; /* 0: the level stays */
	bool is_read;                /* whose level it is */
	struct request_id_place id;
};

struct hooked;

struct arrival {
	struct client *c;
	struct frame *f;
	struct plain plain;
	uint32_t offset;           /* of the body proper, behind the custom payload */
	const uint8_t *tracing_id; /* 16 bytes that an answer of local.c carries; NULL: none */
	bool is_late;              /* it was kept and is answered now (local.h): it does not wait again */
	uint8_t amends;            /* AMEND_* bits that concern this frame (amend.h); 0: `amended` is of no interest */
	struct amended amended;
	struct hooked *hooked; /* plugins are told of it; NULL: they are not (hooked.h) */
};

/* The body cannot be read: the client gets a PROTOCOL_ERROR naming the field; the connection lives. */
void arrival_refuse(struct arrival *a, const char *field);

/*
 * Makes these edits in the body, for both clusters: plain.data is then another
 * one (views into the old body die), offset stays. The frame counts as
 * uncompressed from then on. False without memory for it: the client has been
 * answered.
 */
MUSTCHECK bool arrival_edit(struct arrival *a, const struct frame_edit *edits, unsigned count);

#endif
