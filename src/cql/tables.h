/*
 * tables.h - the numbers of the native protocol with their names, as X-macros:
 * one row serves the enum, the name function and the documentation.
 *
 * Facts: native protocol v5 specification, sections 2.4 (opcodes), 3 (notations,
 * consistency), 4.1.4 (query flags), 4.2.5 (result kinds), 8 (error codes).
 * 0x1600 and 0x1700 came with CASSANDRA-12151 and CASSANDRA-15350. REVISE, the last
 * query flags and the last rows flags are DSE's (cql/version.h).
 */
#ifndef CQL_TABLES_H
#define CQL_TABLES_H

#include "base/common.h"
#include "cql/version.h"

/* X(name, value, sent by the client?) */
#define CQL_OPCODES(X)                                                                                                 \
	X(ERROR, 0x00, false)                                                                                          \
	X(STARTUP, 0x01, true)                                                                                         \
	X(READY, 0x02, false)                                                                                          \
	X(AUTHENTICATE, 0x03, false)                                                                                   \
	X(OPTIONS, 0x05, true)                                                                                         \
	X(SUPPORTED, 0x06, false)                                                                                      \
	X(QUERY, 0x07, true)                                                                                           \
	X(RESULT, 0x08, false)                                                                                         \
	X(PREPARE, 0x09, true)                                                                                         \
	X(EXECUTE, 0x0A, true)                                                                                         \
	X(REGISTER, 0x0B, true)                                                                                        \
	X(EVENT, 0x0C, false)                                                                                          \
	X(BATCH, 0x0D, true)                                                                                           \
	X(AUTH_CHALLENGE, 0x0E, false)                                                                                 \
	X(AUTH_RESPONSE, 0x0F, true)                                                                                   \
	X(AUTH_SUCCESS, 0x10, false)                                                                                   \
	X(REVISE, 0xFF, true)

enum cql_opcode {
#define X(name, value, request) OP_##name = value,
	CQL_OPCODES(X)
#undef X
};

/* X(name, value, text in messages) */
#define CQL_CONSISTENCIES(X)                                                                                           \
	X(ANY, 0x00)                                                                                                   \
	X(ONE, 0x01)                                                                                                   \
	X(TWO, 0x02)                                                                                                   \
	X(THREE, 0x03)                                                                                                 \
	X(QUORUM, 0x04)                                                                                                \
	X(ALL, 0x05)                                                                                                   \
	X(LOCAL_QUORUM, 0x06)                                                                                          \
	X(EACH_QUORUM, 0x07)                                                                                           \
	X(SERIAL, 0x08)                                                                                                \
	X(LOCAL_SERIAL, 0x09)                                                                                          \
	X(LOCAL_ONE, 0x0A)

enum cql_consistency {
#define X(name, value) CL_##name = value,
	CQL_CONSISTENCIES(X)
#undef X
};

#define CQL_ERRORS(X)                                                                                                  \
	X(SERVER_ERROR, 0x0000)                                                                                        \
	X(PROTOCOL_ERROR, 0x000A)                                                                                      \
	X(BAD_CREDENTIALS, 0x0100)                                                                                     \
	X(UNAVAILABLE, 0x1000)                                                                                         \
	X(OVERLOADED, 0x1001)                                                                                          \
	X(IS_BOOTSTRAPPING, 0x1002)                                                                                    \
	X(TRUNCATE_ERROR, 0x1003)                                                                                      \
	X(WRITE_TIMEOUT, 0x1100)                                                                                       \
	X(READ_TIMEOUT, 0x1200)                                                                                        \
	X(READ_FAILURE, 0x1300)                                                                                        \
	X(FUNCTION_FAILURE, 0x1400)                                                                                    \
	X(WRITE_FAILURE, 0x1500)                                                                                       \
	X(CDC_WRITE_FAILURE, 0x1600)                                                                                   \
	X(CAS_WRITE_UNKNOWN, 0x1700)                                                                                   \
	X(SYNTAX_ERROR, 0x2000)                                                                                        \
	X(UNAUTHORIZED, 0x2100)                                                                                        \
	X(INVALID, 0x2200)                                                                                             \
	X(CONFIG_ERROR, 0x2300)                                                                                        \
	X(ALREADY_EXISTS, 0x2400)                                                                                      \
	X(UNPREPARED, 0x2500)

enum cql_error_code {
#define X(name, value) CQL_ERR_##name = value,
	CQL_ERRORS(X)
#undef X
};

enum cql_result_kind {
	RESULT_VOID = 1,
	RESULT_ROWS = 2,
	RESULT_SET_KEYSPACE = 3,
	RESULT_PREPARED = 4,
	RESULT_SCHEMA_CHANGE = 5,
};

/* Frame header flags, section 2.2. */
enum cql_frame_flag {
	FRAME_COMPRESSED = 0x01,
	FRAME_TRACING = 0x02,
	FRAME_CUSTOM_PAYLOAD = 0x04,
	FRAME_WARNING = 0x08,
	FRAME_USE_BETA = 0x10,
};

/* <query_parameters> and BATCH flags, sections 4.1.4 and 4.1.7; one byte up to v4, an [int] in v5 and DSE's. */
enum cql_query_flag {
	QUERY_VALUES = 0x01,
	QUERY_SKIP_METADATA = 0x02,
	QUERY_PAGE_SIZE = 0x04,
	QUERY_PAGING_STATE = 0x08,
	QUERY_SERIAL_CONSISTENCY = 0x10,
	QUERY_TIMESTAMP = 0x20,
	QUERY_NAMES_FOR_VALUES = 0x40,
	QUERY_KEYSPACE = 0x80,
	QUERY_NOW_IN_SECONDS = 0x100,
	QUERY_PAGE_SIZE_BYTES = 0x40000000, /* the page size counts bytes, not rows */
};
/* Many pages, one request; no enumerator, since those are signed. */
#define QUERY_CONTINUOUS_PAGING 0x80000000u

/* Rows and Prepared metadata flags, section 4.2.5.2. */
enum cql_rows_flag {
	ROWS_GLOBAL_TABLES_SPEC = 0x01,
	ROWS_HAS_MORE_PAGES = 0x02,
	ROWS_NO_METADATA = 0x04,
	ROWS_METADATA_CHANGED = 0x08,
	ROWS_CONTINUOUS_PAGE = 0x40000000, /* one of many answers to one request */
};
#define ROWS_LAST_CONTINUOUS_PAGE 0x80000000u

/* What REVISE asks for. */
enum cql_revision {
	REVISE_CANCEL_PAGING = 1, /* no more pages for this stream id */
	REVISE_MORE_PAGES = 2,    /* DSE v2: so many more are welcome */
};

enum cql_batch_type {
	BATCH_LOGGED = 0,
	BATCH_UNLOGGED = 1,
	BATCH_COUNTER = 2,
};

/* Type ids of column specifications, section 4.2.5.2; X(name, value, name in CQL). */
#define CQL_NATIVE_TYPES(X)                                                                                            \
	X(ASCII, 0x01, "ascii")                                                                                        \
	X(BIGINT, 0x02, "bigint")                                                                                      \
	X(BLOB, 0x03, "blob")                                                                                          \
	X(BOOLEAN, 0x04, "boolean")                                                                                    \
	X(COUNTER, 0x05, "counter")                                                                                    \
	X(DECIMAL, 0x06, "decimal")                                                                                    \
	X(DOUBLE, 0x07, "double")                                                                                      \
	X(FLOAT, 0x08, "float")                                                                                        \
	X(INT, 0x09, "int")                                                                                            \
	X(TIMESTAMP, 0x0B, "timestamp")                                                                                \
	X(UUID, 0x0C, "uuid")                                                                                          \
	X(VARCHAR, 0x0D, "text")                                                                                       \
	X(VARINT, 0x0E, "varint")                                                                                      \
	X(TIMEUUID, 0x0F, "timeuuid")                                                                                  \
	X(INET, 0x10, "inet")                                                                                          \
	X(DATE, 0x11, "date")                                                                                          \
	X(TIME, 0x12, "time")                                                                                          \
	X(SMALLINT, 0x13, "smallint")                                                                                  \
	X(TINYINT, 0x14, "tinyint")                                                                                    \
	X(DURATION, 0x15, "duration")

enum cql_type {
	TYPE_CUSTOM = 0x00,
#define X(name, value, word) TYPE_##name = value,
	CQL_NATIVE_TYPES(X)
#undef X
	TYPE_LIST = 0x20,
	TYPE_MAP = 0x21,
	TYPE_SET = 0x22,
	TYPE_UDT = 0x30,
	TYPE_TUPLE = 0x31,
};

enum cql_compression {
	COMPRESSION_NONE,
	COMPRESSION_LZ4,
	COMPRESSION_SNAPPY,
};

/* The name as the protocol writes it ("none", "lz4", "snappy"). */
const char *cql_compression_name(enum cql_compression c);

/* Names for logs and messages; a number that is not in the table gives "?" or, for errors, its hex form is up to the caller. */
const char *cql_opcode_name(uint8_t opcode);
const char *cql_error_name(uint32_t code);
const char *cql_consistency_name(uint16_t consistency);

/* A bit for each opcode below 32 that a client, and that a node, may send. */
enum {
#define X(name, value, request) | ((value) < 32 && (request) ? 1u << ((value)&31) : 0)
	CQL_REQUEST_OPCODES = 0 CQL_OPCODES(X),
#undef X
#define X(name, value, request) | ((value) < 32 && !(request) ? 1u << ((value)&31) : 0)
	CQL_RESPONSE_OPCODES = 0 CQL_OPCODES(X),
#undef X
};

/* True for the opcodes that a client may send in this protocol version. */
static inline bool cql_opcode_is_request(uint8_t opcode, uint8_t version)
{
	if (unlikely(opcode >= 32))
		return opcode == OP_REVISE && version_has(version, VERSION_CONTINUOUS_PAGING);
	return CQL_REQUEST_OPCODES >> opcode & 1;
}

/* True for the opcodes that a node may send. */
static inline bool cql_opcode_is_response(uint8_t opcode)
{
	return opcode < 32 && (CQL_RESPONSE_OPCODES >> opcode & 1);
}

#endif
