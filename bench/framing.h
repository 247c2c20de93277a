/*
 * framing.h - between the frames of a peer and the bytes on its connection:
 * compressed bodies (v3, v4), segments and lz4 segments (v5), frames larger than
 * a segment. What does not fit ends the program: then the proxy has a defect.
 */
#ifndef BENCH_FRAMING_H
#define BENCH_FRAMING_H

#include "peer.h"

/* Moves what is in p->frames to p->out, in the form that was agreed on. */
void framing_pack(struct peer *p);

/* Hands up the whole frames in `data`; returns the bytes used. The handler may close the peer. */
uint32_t framing_take(struct peer *p, uint8_t *data, uint32_t len);

/* How many bytes the frame or segment has that begins with these; 0 when they do not say yet. */
uint32_t framing_need(const struct peer *p, const uint8_t *data, uint32_t len);

#endif
