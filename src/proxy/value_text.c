/* value_text.c - values as texts: for CAST, toJson() and SELECT JSON. See value.h. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/net.h"
#include "proxy/topology.h"
#include "proxy/value.h"

/* Days before 1970 have dates below this. */
#define DATE_EPOCH UINT32_C(0x80000000)
#define DAY_S INT64_C(86400)

static void append(struct writer *out, const char *text)
{
	write_raw(out, text, (uint32_t)strlen(text));
}

static int64_t floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static void append_day(int64_t days, struct writer *out)
{
	time_t seconds = (time_t)(days * DAY_S);
	struct tm tm;
	char text[64];

	if (!gmtime_r(&seconds, &tm))
		return;
	snprintf(text, sizeof(text), "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	append(out, text);
}

/* hh:mm:ss and `digits` digits of the fraction, which has 9. */
static void append_time(int64_t nanos, int digits, struct writer *out)
{
	int64_t seconds = nanos / 1000000000;
	char text[64];

	snprintf(text, sizeof(text), "%02d:%02d:%02d.%09d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
		 (int)(seconds % 60), (int)(nanos % 1000000000));
	write_raw(out, text, (uint32_t)(9 + digits));
}

/* As CAST writes it: 2026-11-25T20:59:50.828Z; as JSON: with a blank for the T. */
static void append_timestamp(int64_t millis, char between, struct writer *out)
{
	const int64_t day_ms = DAY_S * 1000;
	const int64_t days = floor_divide(millis, day_ms);
	const int64_t rest = millis % day_ms; /* the lowest day begins before what an int64_t can hold */

	append_day(days, out);
	write_byte(out, (uint8_t)between);
	append_time((rest < 0 ? rest + day_ms : rest) * 1000000, 3, out);
	write_byte(out, 'Z');
}

static void append_inet(struct bytesview v, struct writer *out)
{
	struct net_address a;
	char text[NET_TEXT_MAX];

	if (net_from_bytes(v.p, v.len, 0, &a))
		append(out, net_format_ip(&a, text));
}

/* Of the types whose text is the same in CAST and, perhaps between quotes, in JSON. */
static bool append_common(struct bytesview type, struct bytesview v, struct writer *out)
{
	char text[64];
	int64_t n;

	switch (value_type_id(type)) {
	case TYPE_VARCHAR:
	case TYPE_ASCII:
		write_raw(out, v.p, v.len);
		return true;
	case TYPE_UUID:
	case TYPE_TIMEUUID:
		append(out, topology_format_uuid(v.p, text));
		return true;
	case TYPE_INET:
		append_inet(v, out);
		return true;
	case TYPE_BOOLEAN:
		append(out, v.p[0] ? "true" : "false");
		return true;
	case TYPE_DATE:
		append_day((int64_t)get_u32(v.p) - (int64_t)DATE_EPOCH, out);
		return true;
	case TYPE_TIME:
		append_time((int64_t)get_u64(v.p), 9, out);
		return true;
	case TYPE_TINYINT:
	case TYPE_SMALLINT:
	case TYPE_INT:
	case TYPE_BIGINT:
	case TYPE_COUNTER:
		if (!value_to_integer(type, v, &n))
			return false;
		snprintf(text, sizeof(text), "%" PRId64, n);
		append(out, text);
		return true;
	default:
		return false;
	}
}

bool value_write_text(struct bytesview type, struct bytesview v, struct writer *out)
{
	if (value_type_id(type) != TYPE_TIMESTAMP)
		return append_common(type, v, out);
	append_timestamp((int64_t)get_u64(v.p), 'T', out);
	return true;
}

/* ---- JSON ---- */

void value_write_json_string(struct strview s, struct writer *out)
{
	static const char special[] = "\"\\\b\f\n\r\t";
	static const char escapes[] = "\"\\bfnrt";
	char text[8];

	write_byte(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		const char c = s.p[i];
		const char *at = c ? strchr(special, c) : NULL;

		if (at) {
			write_byte(out, '\\');
			write_byte(out, (uint8_t)escapes[at - special]);
		} else if ((uint8_t)c < 0x20) {
			snprintf(text, sizeof(text), "\\u%04X", (unsigned)(uint8_t)c);
			append(out, text);
		} else {
			write_byte(out, (uint8_t)c);
		}
	}
	write_byte(out, '"');
}

static void append_blob(struct bytesview v, struct writer *out)
{
	char text[3];

	append(out, "\"0x");
	for (uint32_t i = 0; i < v.len; i++) {
		snprintf(text, sizeof(text), "%02x", v.p[i]);
		append(out, text);
	}
	append(out, "\"");
}

static void append_quoted(struct bytesview type, struct bytesview v, struct writer *out)
{
	write_byte(out, '"');
	if (value_type_id(type) == TYPE_TIMESTAMP)
		append_timestamp((int64_t)get_u64(v.p), ' ', out);
	else
		append_common(type, v, out);
	write_byte(out, '"');
}

/* Keys of maps are strings in JSON, whatever their type. */
static void append_key(struct bytesview type, struct bytesview v, struct writer *out)
{
	struct writer w;

	writer_init(&w);
	value_write_json(type, v, &w);
	if (w.len > 0 && w.data[0] == '"')
		write_raw(out, w.data, w.len);
	else
		value_write_json_string((struct strview){ (const char *)w.data, w.len }, out);
	writer_free(&w);
}

static void append_collection(struct bytesview type, struct bytesview v, struct writer *out)
{
	const bool is_map = value_type_id(type) == TYPE_MAP;
	struct bytesview first = value_element_type(type, false);
	struct reader r = reader_over(v.p, v.len);
	uint32_t count = read_int(&r);

	append(out, is_map ? "{" : "[");
	for (uint32_t i = 0; i < count && reader_ok(&r) && reader_left(&r) >= 4; i++) {
		struct bytesview element = read_bytes(&r);

		if (i > 0)
			append(out, ", ");
		if (is_map) {
			append_key(first, element, out);
			append(out, ": ");
			value_write_json(value_element_type(type, true), read_bytes(&r), out);
		} else {
			value_write_json(first, element, out);
		}
	}
	append(out, is_map ? "}" : "]");
}

void value_write_json(struct bytesview type, struct bytesview v, struct writer *out)
{
	if (v.is_null || !value_fits(type, v.len)) {
		append(out, "null");
		return;
	}
	switch (value_type_id(type)) {
	case TYPE_VARCHAR:
	case TYPE_ASCII:
		value_write_json_string((struct strview){ (const char *)v.p, v.len }, out);
		break;
	case TYPE_LIST:
	case TYPE_SET:
	case TYPE_MAP:
		append_collection(type, v, out);
		break;
	case TYPE_UUID:
	case TYPE_TIMEUUID:
	case TYPE_INET:
	case TYPE_DATE:
	case TYPE_TIME:
	case TYPE_TIMESTAMP:
		append_quoted(type, v, out);
		break;
	case TYPE_BLOB:
		append_blob(v, out);
		break;
	default:
		if (!append_common(type, v, out))
			append(out, "null");
		break;
	}
}
