/* value.c - types of values: names, literals, order. See value.h; texts are in value_text.c. */
#include "proxy/value.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/net.h"

#define UUID_LEN 16
/* 100 ns steps from 1582-10-15, where version 1 UUIDs begin, to 1970. */
#define UUID_EPOCH INT64_C(0x01b21dd213814000)

/* ---- types ---- */

struct native_type {
	enum cql_type id;
	uint8_t option[2];
	const char *name;
};

static const struct native_type natives[] = {
#define X(name, value, word) { TYPE_##name, { 0, value }, word },
	CQL_NATIVE_TYPES(X)
#undef X
};

struct bytesview value_type(enum cql_type type)
{
	for (size_t i = 0; i < ARRAY_LEN(natives); i++) {
		if (natives[i].id == type)
			return (struct bytesview){ .p = natives[i].option, .len = 2 };
	}
	return (struct bytesview){ .is_null = true };
}

bool value_type_by_name(struct strview name, enum cql_type *out)
{
	if (sv_equal(name, SV("varchar"))) {
		*out = TYPE_VARCHAR;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(natives); i++) {
		if (sv_equal(name, sv_from(natives[i].name))) {
			*out = natives[i].id;
			return true;
		}
	}
	return false;
}

bool value_same_type(struct bytesview a, struct bytesview b)
{
	return a.len == b.len && a.len > 0 && memcmp(a.p, b.p, a.len) == 0;
}

struct bytesview value_element_type(struct bytesview type, bool second)
{
	/* Our collections hold native types only. */
	const uint32_t offset = second ? 4 : 2;

	if (type.len < offset + 2)
		return (struct bytesview){ .is_null = true };
	return (struct bytesview){ .p = type.p + offset, .len = 2 };
}

static const char *native_name(struct bytesview type)
{
	for (size_t i = 0; i < ARRAY_LEN(natives); i++) {
		if (natives[i].id == value_type_id(type))
			return natives[i].name;
	}
	return "?";
}

const char *value_type_name(struct bytesview type, char *out, size_t size)
{
	const char *first = native_name(value_element_type(type, false));

	switch (value_type_id(type)) {
	case TYPE_LIST:
		snprintf(out, size, "list<%s>", first);
		break;
	case TYPE_SET:
		snprintf(out, size, "set<%s>", first);
		break;
	case TYPE_MAP:
		snprintf(out, size, "map<%s, %s>", first, native_name(value_element_type(type, true)));
		break;
	default:
		snprintf(out, size, "%s", native_name(type));
		break;
	}
	return out;
}

const char *value_type_class(struct bytesview type)
{
	switch (value_type_id(type)) {
	case TYPE_DATE:
		return "org.apache.cassandra.db.marshal.SimpleDateType";
	case TYPE_TIME:
		return "org.apache.cassandra.db.marshal.TimeType";
	case TYPE_SMALLINT:
		return "org.apache.cassandra.db.marshal.ShortType";
	case TYPE_TINYINT:
		return "org.apache.cassandra.db.marshal.ByteType";
	default:
		return NULL;
	}
}

bool value_fits(struct bytesview type, uint32_t len)
{
	switch (value_type_id(type)) {
	case TYPE_BOOLEAN:
	case TYPE_TINYINT:
		return len == 1;
	case TYPE_SMALLINT:
		return len == 2;
	case TYPE_INT:
	case TYPE_FLOAT:
	case TYPE_DATE:
		return len == 4;
	case TYPE_BIGINT:
	case TYPE_COUNTER:
	case TYPE_DOUBLE:
	case TYPE_TIMESTAMP:
	case TYPE_TIME:
		return len == 8;
	case TYPE_UUID:
	case TYPE_TIMEUUID:
		return len == UUID_LEN;
	case TYPE_INET:
		return len == 4 || len == 16;
	case TYPE_LIST:
	case TYPE_SET:
	case TYPE_MAP:
		return len >= 4;
	case TYPE_VARINT:
		return len > 0;
	default:
		return true;
	}
}

/* ---- numbers ---- */

bool value_to_integer(struct bytesview type, struct bytesview v, int64_t *out)
{
	uint64_t n = 0;

	switch (value_type_id(type)) {
	case TYPE_TINYINT:
	case TYPE_SMALLINT:
	case TYPE_INT:
	case TYPE_BIGINT:
	case TYPE_COUNTER:
	case TYPE_TIMESTAMP:
	case TYPE_TIME:
		break;
	default:
		return false;
	}
	if (v.len == 0 || v.len > 8)
		return false;
	n = (v.p[0] & 0x80) ? UINT64_MAX : 0;
	for (uint32_t i = 0; i < v.len; i++)
		n = n << 8 | v.p[i];
	*out = (int64_t)n;
	return true;
}

static void write_integer(int64_t v, unsigned len, struct writer *out)
{
	uint8_t bytes[8];

	put_u64(bytes, (uint64_t)v);
	write_bytes(out, bytes + 8 - len, len);
}

/* The fewest bytes that keep the sign. */
static void write_varint(int64_t v, struct writer *out)
{
	unsigned len = 8;

	while (len > 1 && v >= -(INT64_C(1) << (8 * (len - 1) - 1)) && v < INT64_C(1) << (8 * (len - 1) - 1))
		len--;
	write_integer(v, len, out);
}

static void write_double(double v, bool is_float, struct writer *out)
{
	float f = (float)v;
	uint64_t bits = 0;
	uint32_t narrow;

	if (is_float) {
		memcpy(&narrow, &f, sizeof(narrow));
		write_integer((int64_t)narrow, 4, out);
	} else {
		memcpy(&bits, &v, sizeof(bits));
		write_integer((int64_t)bits, 8, out);
	}
}

bool value_write_number(enum cql_type type, int64_t v, struct writer *out)
{
	switch (type) {
	case TYPE_TINYINT:
		write_integer(v, 1, out);
		return true;
	case TYPE_SMALLINT:
		write_integer(v, 2, out);
		return true;
	case TYPE_INT:
		write_integer(v, 4, out);
		return true;
	case TYPE_BIGINT:
	case TYPE_TIMESTAMP:
		write_integer(v, 8, out);
		return true;
	case TYPE_VARINT:
		write_varint(v, out);
		return true;
	case TYPE_FLOAT:
	case TYPE_DOUBLE:
		write_double((double)v, type == TYPE_FLOAT, out);
		return true;
	default:
		return false;
	}
}

/* ---- literals ---- */

static bool parse_integer(struct strview text, int64_t *out)
{
	bool is_negative = text.len > 0 && text.p[0] == '-';
	uint64_t n = 0;

	for (size_t i = is_negative; i < text.len; i++) {
		uint64_t digit = (uint64_t)(text.p[i] - '0');

		if (n > (UINT64_C(1) << 63) / 10 || n * 10 > (UINT64_C(1) << 63) - digit)
			return false;
		n = n * 10 + digit;
	}
	if (!is_negative && n > INT64_MAX)
		return false;
	*out = (int64_t)(is_negative ? 0 - n : n);
	return true;
}

static bool integer_in_range(enum cql_type type, int64_t v)
{
	switch (type) {
	case TYPE_TINYINT:
		return v >= INT8_MIN && v <= INT8_MAX;
	case TYPE_SMALLINT:
		return v >= INT16_MIN && v <= INT16_MAX;
	case TYPE_INT:
		return v >= INT32_MIN && v <= INT32_MAX;
	default:
		return true;
	}
}

static bool from_integer(struct strview text, enum cql_type type, struct writer *out, bool *is_kind)
{
	uint32_t before = out->len;
	int64_t v = 0;
	bool fits = parse_integer(text, &v);

	*is_kind = !value_write_number(type, fits ? v : 0, out);
	if (*is_kind)
		return false;
	if (fits && integer_in_range(type, v))
		return true;
	out->len = before;
	return false;
}

static bool from_float(struct strview text, enum cql_type type, struct writer *out, bool *is_kind)
{
	char copy[64];

	*is_kind = type != TYPE_FLOAT && type != TYPE_DOUBLE;
	if (*is_kind || text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	write_double(strtod(copy, NULL), type == TYPE_FLOAT, out);
	return true;
}

static bool hex_digit(char c, uint8_t *out)
{
	char low = (char)(c | 0x20);

	if (c >= '0' && c <= '9')
		*out = (uint8_t)(c - '0');
	else if (low >= 'a' && low <= 'f')
		*out = (uint8_t)(low - 'a' + 10);
	else
		return false;
	return true;
}

static bool hex_byte(const char *p, uint8_t *out)
{
	uint8_t high, low;

	if (!hex_digit(p[0], &high) || !hex_digit(p[1], &low))
		return false;
	*out = (uint8_t)(high << 4 | low);
	return true;
}

/* The scanner has seen that it is one. */
static bool from_uuid(struct strview text, enum cql_type type, struct writer *out, bool *is_kind)
{
	uint8_t bytes[UUID_LEN];
	unsigned n = 0;

	*is_kind = type != TYPE_UUID && type != TYPE_TIMEUUID;
	for (size_t i = 0; !*is_kind && i + 1 < text.len && n < UUID_LEN; i++) {
		if (text.p[i] == '-')
			continue;
		if (!hex_byte(text.p + i++, &bytes[n++]))
			return false;
	}
	if (n != UUID_LEN || (type == TYPE_TIMEUUID && bytes[6] >> 4 != 1))
		return false;
	write_bytes(out, bytes, sizeof(bytes));
	return true;
}

static bool from_hex(struct strview text, enum cql_type type, struct writer *out, bool *is_kind)
{
	uint32_t len = (uint32_t)(text.len - 2) / 2;
	uint32_t before = out->len;

	*is_kind = type != TYPE_BLOB;
	if (*is_kind || text.len % 2)
		return false;
	write_int(out, len);
	for (uint32_t i = 0; i < len; i++) {
		uint8_t byte;

		if (!hex_byte(text.p + 2 + i * 2, &byte)) {
			out->len = before;
			return false;
		}
		write_byte(out, byte);
	}
	return true;
}

static bool from_string(struct strview text, enum cql_type type, struct writer *out, bool *is_kind)
{
	char copy[64];
	uint8_t bytes[16];
	struct net_address a;

	*is_kind = false;
	if (type == TYPE_VARCHAR || type == TYPE_ASCII) {
		write_int(out, (uint32_t)text.len);
		write_raw(out, text.p, (uint32_t)text.len);
		return true;
	}
	*is_kind = type != TYPE_INET;
	if (*is_kind || text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	if (!net_parse_ip(copy, 0, &a))
		return false;
	write_bytes(out, bytes, net_to_bytes(&a, bytes));
	return true;
}

bool value_from_literal(enum select_literal kind, struct strview text, enum cql_type type, struct writer *out,
			bool *is_kind)
{
	uint8_t yes;

	switch (kind) {
	case LITERAL_STRING:
		return from_string(text, type, out, is_kind);
	case LITERAL_INTEGER:
		return from_integer(text, type, out, is_kind);
	case LITERAL_FLOAT:
		return from_float(text, type, out, is_kind);
	case LITERAL_UUID:
		return from_uuid(text, type, out, is_kind);
	case LITERAL_HEX:
		return from_hex(text, type, out, is_kind);
	case LITERAL_BOOLEAN:
		*is_kind = type != TYPE_BOOLEAN;
		yes = text.len == 4; /* "true" */
		if (!*is_kind)
			write_bytes(out, &yes, 1);
		return !*is_kind;
	case LITERAL_NULL:
		*is_kind = false;
		write_bytes(out, NULL, 0);
		return true;
	}
	*is_kind = true;
	return false;
}

/* ---- order ---- */

static int compare_bytes(struct bytesview a, struct bytesview b)
{
	uint32_t n = MIN(a.len, b.len);
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static uint64_t uuid_ticks(const uint8_t *u)
{
	return (uint64_t)(get_u16(u + 6) & 0x0fff) << 48 | (uint64_t)get_u16(u + 4) << 32 | get_u32(u);
}

/* By version, then version 1 by its time, then by the bytes. */
static int compare_uuids(struct bytesview a, struct bytesview b)
{
	uint64_t x, y;

	if (a.len != UUID_LEN || b.len != UUID_LEN)
		return compare_bytes(a, b);
	if (a.p[6] >> 4 != b.p[6] >> 4)
		return (int)(a.p[6] >> 4) - (int)(b.p[6] >> 4);
	if (a.p[6] >> 4 != 1)
		return compare_bytes(a, b);
	x = uuid_ticks(a.p);
	y = uuid_ticks(b.p);
	return x != y ? (x > y) - (x < y) : memcmp(a.p + 8, b.p + 8, 8);
}

int value_compare(struct bytesview type, struct bytesview a, struct bytesview b)
{
	int64_t x, y;

	if (value_to_integer(type, a, &x) && value_to_integer(type, b, &y))
		return (x > y) - (x < y);
	if (value_type_id(type) == TYPE_UUID || value_type_id(type) == TYPE_TIMEUUID)
		return compare_uuids(a, b);
	return compare_bytes(a, b);
}

bool value_uuid_millis(const uint8_t uuid[16], int64_t *out)
{
	if (uuid[6] >> 4 != 1)
		return false;
	*out = ((int64_t)uuid_ticks(uuid) - UUID_EPOCH) / 10000;
	return true;
}
