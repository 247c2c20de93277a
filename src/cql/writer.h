/*
 * writer.h - builds bodies of frames of our own (answers from system tables,
 * errors, STARTUP, PREPARE ...) in a buffer that grows. Never used for frames
 * that only pass through: those are patched, not rebuilt.
 *
 * A writer owns its buffer until writer_free(). Running out of memory ends the
 * process (xrealloc): what we write is small, its size never comes from a
 * length field of the network.
 */
#ifndef CQL_WRITER_H
#define CQL_WRITER_H

#include "base/strview.h"
#include "cql/reader.h"

struct writer {
	uint8_t *data;
	uint32_t len;
	uint32_t cap;
};

void writer_init(struct writer *w);
void writer_free(struct writer *w);

/* n bytes to be filled by the caller; valid until the next write. */
uint8_t *writer_reserve(struct writer *w, uint32_t n);

void write_byte(struct writer *w, uint8_t v);
void write_short(struct writer *w, uint16_t v);
void write_int(struct writer *w, uint32_t v);
void write_long(struct writer *w, uint64_t v);
void write_raw(struct writer *w, const void *p, uint32_t n);
/* [string]; a text over 65535 bytes is cut there. */
void write_string(struct writer *w, struct strview s);
void write_cstring(struct writer *w, const char *s);
/* [long string] */
void write_long_string(struct writer *w, struct strview s);
/* [bytes]; p NULL writes null. */
void write_bytes(struct writer *w, const void *p, uint32_t n);
/* [short bytes] */
void write_short_bytes(struct writer *w, const void *p, uint16_t n);

#endif
