/*
 * error.h - ERROR bodies of our own (native protocol v5, section 8). Each
 * function writes the whole body; texts are cut at 65535 bytes.
 */
#ifndef CQL_ERROR_H
#define CQL_ERROR_H

#include "cql/tables.h"
#include "cql/writer.h"

/* Errors without further fields: SERVER_ERROR, PROTOCOL_ERROR, BAD_CREDENTIALS, OVERLOADED, INVALID ... */
void error_write(struct writer *w, enum cql_error_code code, struct strview text);
/* UNAVAILABLE: consistency, required, alive */
void error_write_unavailable(struct writer *w, struct strview text, uint16_t consistency, uint32_t required,
			     uint32_t alive);
/* READ_TIMEOUT with received, block_for, data_present */
void error_write_read_timeout(struct writer *w, struct strview text, uint16_t consistency, uint32_t received,
			      uint32_t block_for, bool data_present);
/* WRITE_TIMEOUT; write_type is SIMPLE, BATCH, UNLOGGED_BATCH, COUNTER or CAS. For CAS v5 adds a [short] of contentions. */
void error_write_write_timeout(struct writer *w, struct strview text, uint16_t consistency, uint32_t received,
			       uint32_t block_for, const char *write_type, uint8_t version);
/* UNPREPARED with the id, and a text that starts as Cassandra's does: "Prepared query with ID <hex> not found". */
void error_write_unprepared(struct writer *w, struct bytesview id);

#endif
