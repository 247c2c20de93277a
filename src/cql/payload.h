/*
 * payload.h - the custom payload in front of a request's body (flag 0x04): a
 * [bytes map] (native protocol v4 and v5, section 2.2). A key may stand in it
 * more than once; Cassandra then takes the last one.
 */
#ifndef CQL_PAYLOAD_H
#define CQL_PAYLOAD_H

#include "cql/writer.h"

struct payload_entry {
	uint16_t count;         /* entries in the map, of any key */
	uint16_t found;         /* of them with this key */
	struct bytesview value; /* of the last one that was found */
	uint32_t value_offset;  /* of its first byte */
};

/* Looks for the entries of a key. False when the map leaves the body. */
MUSTCHECK bool payload_find(const uint8_t *body, uint32_t len, struct strview key, struct payload_entry *out);

/* Writes the map without the entries of that key; of a map that payload_find() has read. */
void payload_write_without(const uint8_t *body, uint32_t len, struct strview key, struct writer *w);

#endif
