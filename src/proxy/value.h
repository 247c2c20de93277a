/*
 * value.h - values of CQL's types: from literals, compared, as text and as
 * JSON. Only for answers of our own about system tables; what passes through
 * is never looked at.
 *
 * A type is the raw [option] of a column specification (rows.h), a value its
 * serialized bytes (native protocol v5, section 6), of the length that the type
 * demands: value_fits() is asked first.
 */
#ifndef PROXY_VALUE_H
#define PROXY_VALUE_H

#include "cql/reader.h"
#include "cql/select.h"
#include "cql/writer.h"

/* The option of a native type. */
struct bytesview value_type(enum cql_type type);
/* By its name in CQL, varchar included; false when there is no such native type. */
MUSTCHECK bool value_type_by_name(struct strview name, enum cql_type *out);
static inline uint16_t value_type_id(struct bytesview type)
{
	return type.len >= 2 ? get_u16(type.p) : (uint16_t)TYPE_CUSTOM;
}
bool value_same_type(struct bytesview a, struct bytesview b);
/* The element of a list or set, the key of a map; `second`: the value of a map. */
struct bytesview value_element_type(struct bytesview type, bool second);
/* As CQL writes it: "text", "set<text>". Cut to what fits. */
const char *value_type_name(struct bytesview type, char *out, size_t size);
/* The class that stands for a type which a client below v4 does not know (date, time, smallint, tinyint), else NULL. */
const char *value_type_class(struct bytesview type);

/* Whether a value of that length can be one of that type. */
bool value_fits(struct bytesview type, uint32_t len);

/*
 * Writes a literal as a value of `type`, [bytes] with its length. False when
 * it is none: *is_kind then says that this kind of literal never is, else only
 * this one is not.
 */
MUSTCHECK bool value_from_literal(enum select_literal kind, struct strview text, enum cql_type type, struct writer *out,
				  bool *is_kind);

/* Below, equal to or above 0, in the order that Cassandra gives the type. Both of the same type, and no null. */
int value_compare(struct bytesview type, struct bytesview a, struct bytesview b);

/* Appends the text that CAST(... AS text) gives. False for types that have none. */
MUSTCHECK bool value_write_text(struct bytesview type, struct bytesview v, struct writer *out);
/* Appends the value as toJson() gives it. */
void value_write_json(struct bytesview type, struct bytesview v, struct writer *out);
/* Appends a JSON string, with its quotes. */
void value_write_json_string(struct strview s, struct writer *out);

/* An integer type's value; false for other types. */
MUSTCHECK bool value_to_integer(struct bytesview type, struct bytesview v, int64_t *out);
/* [bytes] of a number type, cut as a cast in Java cuts. False for other types. */
MUSTCHECK bool value_write_number(enum cql_type type, int64_t v, struct writer *out);

/* Milliseconds since 1970 of a version 1 UUID; false for another version. */
MUSTCHECK bool value_uuid_millis(const uint8_t uuid[16], int64_t *out);

#endif
