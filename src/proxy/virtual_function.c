/* virtual_function.c - see virtual_function.h */
#include "proxy/virtual_function.h"

#include <string.h>

#include "cql/murmur3.h"
#include "proxy/functions.h"

#define DAY_MS INT64_C(86400000)
#define DATE_EPOCH INT64_C(0x80000000)

/* ---- made values ---- */

void virtual_make(const struct virtual_answer *a, const struct virtual_function *f, struct writer *out)
{
	static const struct {
		enum cql_type type;
		enum rewrite_kind kind;
	} kinds[] = {
		{ TYPE_TIMEUUID, REWRITE_TIMEUUID }, { TYPE_UUID, REWRITE_UUID }, { TYPE_TIMESTAMP, REWRITE_TIMESTAMP },
		{ TYPE_DATE, REWRITE_DATE },         { TYPE_TIME, REWRITE_TIME },
	};
	uint8_t value[FUNCTION_VALUE_MAX];
	size_t i = 0;

	while (kinds[i].type != f->result)
		i++;
	write_bytes(out, value, functions_value(a->source->functions, kinds[i].kind, value));
}

/* ---- of one value ---- */

static void write_u64(int64_t v, struct writer *out)
{
	uint8_t bytes[8];

	put_u64(bytes, (uint64_t)v);
	write_bytes(out, bytes, sizeof(bytes));
}

static void write_day(int64_t millis, struct writer *out)
{
	int64_t days = millis / DAY_MS - (millis % DAY_MS < 0);
	uint8_t bytes[4];

	put_u32(bytes, (uint32_t)(days + DATE_EPOCH));
	write_bytes(out, bytes, sizeof(bytes));
}

static bool takes_moments(const struct virtual_answer *a, struct bytesview type)
{
	(void)a;
	return value_type_id(type) == TYPE_TIMEUUID || value_type_id(type) == TYPE_TIMESTAMP ||
	       value_type_id(type) == TYPE_DATE;
}

static bool takes_timeuuid(const struct virtual_answer *a, struct bytesview type)
{
	(void)a;
	return value_type_id(type) == TYPE_TIMEUUID;
}

static bool takes_all(const struct virtual_answer *a, struct bytesview type)
{
	(void)a;
	(void)type;
	return true;
}

static bool takes_key(const struct virtual_answer *a, struct bytesview type)
{
	return value_same_type(type, virtual_key_type(a->table));
}

static bool takes_text(const struct virtual_answer *a, struct bytesview type)
{
	(void)a;
	return value_type_id(type) == TYPE_VARCHAR;
}

static bool takes_blob(const struct virtual_answer *a, struct bytesview type)
{
	(void)a;
	return value_type_id(type) == TYPE_BLOB;
}

/* Milliseconds since 1970 of a timeuuid, timestamp or date. */
static bool millis_of(struct bytesview type, struct bytesview v, int64_t *out)
{
	switch (value_type_id(type)) {
	case TYPE_TIMEUUID:
		return value_uuid_millis(v.p, out);
	case TYPE_DATE:
		*out = ((int64_t)get_u32(v.p) - DATE_EPOCH) * DAY_MS;
		return true;
	default:
		return value_to_integer(type, v, out);
	}
}

static void run_to_millis(struct bytesview type, struct bytesview v, struct writer *out)
{
	int64_t millis;

	if (millis_of(type, v, &millis))
		write_u64(millis, out);
	else
		write_bytes(out, NULL, 0);
}

static void run_to_date(struct bytesview type, struct bytesview v, struct writer *out)
{
	int64_t millis;

	if (millis_of(type, v, &millis))
		write_day(millis, out);
	else
		write_bytes(out, NULL, 0);
}

static void run_to_json(struct bytesview type, struct bytesview v, struct writer *out)
{
	struct writer w;

	writer_init(&w);
	value_write_json(type, v, &w);
	write_bytes(out, w.data, w.len);
	writer_free(&w);
}

static void run_token(struct bytesview type, struct bytesview v, struct writer *out)
{
	(void)type;
	write_u64(murmur3_token(v.p, v.len), out);
}

static void run_same(struct bytesview type, struct bytesview v, struct writer *out)
{
	(void)type;
	write_bytes(out, v.p, v.len);
}

/* ---- the table ---- */

static const struct virtual_function functions[] = {
	{ "now", NULL, FUNCTION_MADE, TYPE_TIMEUUID, NULL, NULL },
	{ "currenttimeuuid", NULL, FUNCTION_MADE, TYPE_TIMEUUID, NULL, NULL },
	{ "current_timeuuid", NULL, FUNCTION_MADE, TYPE_TIMEUUID, NULL, NULL },
	{ "uuid", NULL, FUNCTION_MADE, TYPE_UUID, NULL, NULL },
	{ "currenttimestamp", NULL, FUNCTION_MADE, TYPE_TIMESTAMP, NULL, NULL },
	{ "current_timestamp", NULL, FUNCTION_MADE, TYPE_TIMESTAMP, NULL, NULL },
	{ "currentdate", NULL, FUNCTION_MADE, TYPE_DATE, NULL, NULL },
	{ "current_date", NULL, FUNCTION_MADE, TYPE_DATE, NULL, NULL },
	{ "currenttime", NULL, FUNCTION_MADE, TYPE_TIME, NULL, NULL },
	{ "current_time", NULL, FUNCTION_MADE, TYPE_TIME, NULL, NULL },
	{ "totimestamp", NULL, FUNCTION_PLAIN, TYPE_TIMESTAMP, takes_moments, run_to_millis },
	{ "to_timestamp", NULL, FUNCTION_PLAIN, TYPE_TIMESTAMP, takes_moments, run_to_millis },
	{ "todate", NULL, FUNCTION_PLAIN, TYPE_DATE, takes_moments, run_to_date },
	{ "to_date", NULL, FUNCTION_PLAIN, TYPE_DATE, takes_moments, run_to_date },
	{ "tounixtimestamp", NULL, FUNCTION_PLAIN, TYPE_BIGINT, takes_moments, run_to_millis },
	{ "to_unix_timestamp", NULL, FUNCTION_PLAIN, TYPE_BIGINT, takes_moments, run_to_millis },
	{ "dateof", NULL, FUNCTION_PLAIN, TYPE_TIMESTAMP, takes_timeuuid, run_to_millis },
	{ "unixtimestampof", NULL, FUNCTION_PLAIN, TYPE_BIGINT, takes_timeuuid, run_to_millis },
	{ "tojson", NULL, FUNCTION_PLAIN, TYPE_VARCHAR, takes_all, run_to_json },
	{ "to_json", "tojson", FUNCTION_PLAIN, TYPE_VARCHAR, takes_all, run_to_json },
	{ "token", NULL, FUNCTION_PLAIN, TYPE_BIGINT, takes_key, run_token },
	{ "textasblob", NULL, FUNCTION_PLAIN, TYPE_BLOB, takes_text, run_same },
	{ "text_as_blob", NULL, FUNCTION_PLAIN, TYPE_BLOB, takes_text, run_same },
	{ "blobastext", NULL, FUNCTION_PLAIN, TYPE_VARCHAR, takes_blob, run_same },
	{ "blob_as_text", NULL, FUNCTION_PLAIN, TYPE_VARCHAR, takes_blob, run_same },
	{ "count", NULL, FUNCTION_AGGREGATE, TYPE_BIGINT, NULL, NULL },
	{ "min", NULL, FUNCTION_AGGREGATE, TYPE_CUSTOM, NULL, NULL },
	{ "max", NULL, FUNCTION_AGGREGATE, TYPE_CUSTOM, NULL, NULL },
	{ "sum", NULL, FUNCTION_AGGREGATE, TYPE_CUSTOM, NULL, NULL },
	{ "avg", NULL, FUNCTION_AGGREGATE, TYPE_CUSTOM, NULL, NULL },
	{ "writetime", NULL, FUNCTION_CELL, TYPE_BIGINT, NULL, NULL },
	{ "ttl", NULL, FUNCTION_CELL, TYPE_INT, NULL, NULL },
};

const struct virtual_function *virtual_function_find(struct strview name)
{
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		if (sv_equal(name, sv_from(functions[i].name)))
			return &functions[i];
	}
	return NULL;
}

struct bytesview virtual_key_type(enum virtual_table table)
{
	return value_type(table == VIRTUAL_LOCAL ? TYPE_VARCHAR : TYPE_INET);
}

/* ---- aggregates ---- */

static bool is_number_function(const struct virtual_function *f)
{
	return strcmp(f->name, "sum") == 0 || strcmp(f->name, "avg") == 0;
}

bool virtual_aggregate_takes(const struct virtual_function *f, struct bytesview type)
{
	return !is_number_function(f) || value_type_id(type) == TYPE_INT || value_type_id(type) == TYPE_BIGINT;
}

/* The lowest or highest value of the group, which moves to `best`. */
static void keep_extreme(struct bytesview type, bool is_max, const struct writer *value, struct writer *best)
{
	if (best->len > 0) { /* an empty writer has no bytes to point into */
		const struct bytesview a = { .p = value->data + 4, .len = value->len - 4 };
		const struct bytesview b = { .p = best->data + 4, .len = best->len - 4 };
		const int order = value_compare(type, a, b);

		if (is_max ? order <= 0 : order >= 0)
			return;
	}
	best->len = 0;
	write_raw(best, value->data, value->len);
}

static void write_number(const struct virtual_function *f, struct bytesview type, int64_t sum, uint64_t n,
			 struct writer *out)
{
	bool is_avg = strcmp(f->name, "avg") == 0;

	/* Of no rows both are 0. */
	if (is_avg && n > 0)
		sum /= (int64_t)n;
	if (!value_write_number((enum cql_type)value_type_id(type), sum, out))
		write_bytes(out, NULL, 0);
}

void virtual_aggregate(const struct virtual_answer *a, const struct virtual_function *f, unsigned argument,
		       const struct virtual_group *group, struct writer *out)
{
	struct bytesview type = a->infos[argument].type;
	struct writer value, best;
	uint64_t n = 0;
	uint64_t sum = 0;
	int64_t number;

	writer_init(&value);
	writer_init(&best);
	for (unsigned i = 0; i < group->count; i++) {
		const struct virtual_group one = { .nodes = group->nodes + i, .count = 1 };

		if (argument == 0) {
			n++;
			continue;
		}
		value.len = 0;
		virtual_write_expr(a, argument, &one, &value);
		if (get_u32(value.data) > INT32_MAX) /* null */
			continue;
		n++;
		if (is_number_function(f)) {
			struct bytesview v = { .p = value.data + 4, .len = value.len - 4 };

			sum += value_to_integer(type, v, &number) ? (uint64_t)number : 0;
		} else {
			keep_extreme(type, strcmp(f->name, "max") == 0, &value, &best);
		}
	}
	if (strcmp(f->name, "count") == 0)
		write_u64((int64_t)n, out);
	else if (is_number_function(f))
		write_number(f, type, (int64_t)sum, n, out);
	else if (best.len > 0)
		write_raw(out, best.data, best.len);
	else
		write_bytes(out, NULL, 0);
	writer_free(&value);
	writer_free(&best);
}
