/* tables.c - names for the numbers of the native protocol. */
#include "cql/tables.h"
#include "cql/version.h"

const char *cql_compression_name(enum cql_compression c)
{
	switch (c) {
	case COMPRESSION_NONE:
		return "none";
	case COMPRESSION_LZ4:
		return "lz4";
	case COMPRESSION_SNAPPY:
		return "snappy";
	}
	return "?";
}

const char *cql_opcode_name(uint8_t opcode)
{
	switch (opcode) {
#define X(name, value, request)                                                                                        \
	case value:                                                                                                    \
		return #name;
		CQL_OPCODES(X)
#undef X
	default:
		return "?";
	}
}

const char *cql_error_name(uint32_t code)
{
	switch (code) {
#define X(name, value)                                                                                                 \
	case value:                                                                                                    \
		return #name;
		CQL_ERRORS(X)
#undef X
	default:
		return "?";
	}
}

const char *cql_consistency_name(uint16_t consistency)
{
	switch (consistency) {
#define X(name, value)                                                                                                 \
	case value:                                                                                                    \
		return #name;
		CQL_CONSISTENCIES(X)
#undef X
	default:
		return "?";
	}
}
