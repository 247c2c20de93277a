/*
 * test_message.c - requests and answers in all versions: fields, offsets,
 * and every way to be cut short. Over 700 lines, since every parser is shown
 * with the same builders.
 */
#include "cql/message.h"

#include "vectors.h"

#define TEXT "INSERT INTO shop.orders (id, name) VALUES (?, ?)"
#define ID "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"
#define METADATA_ID "\xaa\xbb\xcc\xdd\xee\xff\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99"

/* A frame taken apart: head, body in a block of exactly its size, and where the body proper starts. */
struct parsed {
	struct frame f;
	uint8_t *body;
	uint32_t len;
	uint32_t offset;
};

static bool parsed_init(struct parsed *p, const struct vector *v, size_t body_len, const char **why)
{
	frame_head_read(&p->f, v->data);
	p->len = (uint32_t)body_len;
	p->body = exact_copy(v->data + frame_head_len(v->data[0]), body_len);
	p->offset = 0;
	return message_skip_preamble(p->body, p->len, p->f.flags, p->f.is_response, &p->offset, why);
}

/* The vector of that name, "v4_" and the like in front if version is not 0. */
static struct parsed parsed_get(const char *file, unsigned version, const char *name)
{
	struct vector v;
	struct parsed p;
	char full[64];
	const char *why;

	if (version)
		snprintf(full, sizeof(full), "v%u_%s", version, name);
	else
		snprintf(full, sizeof(full), "%s", name);
	v = vector_get(file, full);
	ck_assert(parsed_init(&p, &v, v.len - frame_head_len(v.data[0]), &why));
	vector_free(&v);
	return p;
}

static void parsed_free(struct parsed *p)
{
	free(p->body);
}

static void expect_bytes(struct bytesview v, const char *expected, size_t len)
{
	ck_assert(!v.is_null && !v.is_unset);
	ck_assert_uint_eq(v.len, len);
	ck_assert_mem_eq(v.p, expected, len);
}

static bool count_pairs(void *arg, struct strview key, struct strview value)
{
	unsigned *count = arg;

	ck_assert_uint_gt(key.len, 0);
	ck_assert_uint_gt(value.len, 0);
	(*count)++;
	return true;
}

/* ---- every vector, whole and cut ---- */

static bool parse_request(const struct parsed *p, const char **why)
{
	union {
		struct query_message query;
		struct prepare_message prepare;
		struct execute_message execute;
		struct batch_message batch;
		struct revise_message revise;
		struct sasl_plain sasl;
		unsigned count;
	} m;
	struct reader r;

	switch (p->f.opcode) {
	case OP_QUERY:
		return message_parse_query(p->body, p->len, p->offset, p->f.version, &m.query, why);
	case OP_PREPARE:
		return message_parse_prepare(p->body, p->len, p->offset, p->f.version, &m.prepare, why);
	case OP_EXECUTE:
		return message_parse_execute(p->body, p->len, p->offset, p->f.version, &m.execute, why);
	case OP_BATCH:
		return message_parse_batch(p->body, p->len, p->offset, p->f.version, &m.batch, why);
	case OP_REVISE:
		return message_parse_revise(p->body, p->len, p->offset, &m.revise, why);
	case OP_REGISTER:
		return message_parse_register(p->body, p->len, &m.count, why);
	case OP_STARTUP:
		*why = "options";
		m.count = 0;
		return message_each_option(p->body, p->len, count_pairs, &m.count) && m.count > 0;
	case OP_AUTH_RESPONSE:
		*why = "token";
		r = reader_over(p->body, p->len);
		return message_parse_sasl_plain(read_bytes(&r), &m.sasl);
	case OP_OPTIONS:
		return true;
	default:
		ck_abort_msg("no parser for opcode %u", p->f.opcode);
		return false;
	}
}

static void request_whole_and_cut(const struct vector *v, void *arg)
{
	bool is_bad = strstr(v->name, "_bad_") != NULL;
	struct parsed p;

	(void)arg;
	for (size_t n = 0; n <= v->len - frame_head_len(v->data[0]); n++) {
		bool is_whole = n == v->len - frame_head_len(v->data[0]);
		const char *why = NULL;
		bool ok = parsed_init(&p, v, n, &why) && parse_request(&p, &why);

		ck_assert_msg(ok == (is_whole && !is_bad), "%s: %zu bytes of the body (%s)", v->name, n,
			      why ? why : "");
		ck_assert(ok || (why && *why));
		parsed_free(&p);
	}
}

START_TEST(requests_whole_and_cut)
{
	ck_assert_uint_gt(vectors_each("requests.hex", request_whole_and_cut, NULL), 50);
	ck_assert_uint_gt(vectors_each("versions.hex", request_whole_and_cut, NULL), 25);
}
END_TEST

/* Parses an answer as far as message.h goes; *used is what such a parser needs at least. */
static bool parse_answer(const struct parsed *p, uint32_t *used, const char **why)
{
	union {
		struct error_message error;
		struct prepared_message prepared;
		struct rows_head rows;
		unsigned count;
	} m;
	struct reader r = reader_from(p->body, p->len, p->offset);

	*why = "answer";
	*used = p->len;
	switch (p->f.opcode) {
	case OP_ERROR:
		if (!message_parse_error(p->body, p->len, p->offset, &m.error))
			return false;
		if (m.error.code != CQL_ERR_UNPREPARED)
			*used = m.error.rest_offset;
		return true;
	case OP_SUPPORTED:
		m.count = 0;
		return message_each_supported(p->body, p->len, count_pairs, &m.count) && m.count > 0;
	case OP_EVENT:
		*used = 2 + (uint32_t)read_string(&r).len;
		return message_event_kind(p->body, p->len) != 0;
	case OP_RESULT:
		break;
	default:
		ck_abort_msg("no parser for opcode %u", p->f.opcode);
	}
	switch (read_int(&r)) {
	case RESULT_ROWS:
		if (!message_parse_rows_head(p->body, p->len, p->offset, &m.rows))
			return false;
		*used = p->offset + 12 + (m.rows.paging_state.is_null ? 0 : 4 + m.rows.paging_state.len);
		return true;
	case RESULT_PREPARED:
		return message_parse_prepared(p->body, p->len, p->offset, p->f.version, &m.prepared, why);
	case RESULT_SET_KEYSPACE:
		read_string(&r);
		return reader_ok(&r);
	default:
		return reader_ok(&r);
	}
}

static void answer_whole_and_cut(const struct vector *v, void *arg)
{
	bool is_bad = strncmp(v->name, "bad_prepared", 12) == 0;
	uint32_t whole = (uint32_t)v->len - frame_head_len(v->data[0]);
	uint32_t needed = whole;
	uint32_t used;
	struct parsed p;
	const char *why;

	(void)arg;
	ck_assert(parsed_init(&p, v, whole, &why));
	ck_assert_msg(parse_answer(&p, &needed, &why) == !is_bad, "%s (%s)", v->name, why);
	parsed_free(&p);
	for (uint32_t n = 0; n < whole; n++) {
		bool ok = parsed_init(&p, v, n, &why) && parse_answer(&p, &used, &why);

		ck_assert_msg(ok == (n >= needed && !is_bad), "%s: %u bytes of the body", v->name, n);
		parsed_free(&p);
	}
}

START_TEST(answers_whole_and_cut)
{
	ck_assert_uint_gt(vectors_each("answers.hex", answer_whole_and_cut, NULL), 20);
}
END_TEST

/* ---- requests, field by field ---- */

static void expect_value(const struct parsed *p, const struct query_params *q, unsigned i, const char *name,
			 const char *value, size_t len)
{
	struct strview got_name;
	struct bytesview got;

	ck_assert(message_value(p->body, p->len, q, i, &got_name, &got));
	ck_assert(sv_equal(got_name, sv_from(name)));
	if (value)
		expect_bytes(got, value, len);
	else
		ck_assert(got.is_null && !got.is_unset);
}

static void check_everything(const struct parsed *p, const struct query_params *q, unsigned version)
{
	ck_assert_uint_eq(q->flags & 0x3f & ~(unsigned)QUERY_SKIP_METADATA, 0x3d);
	ck_assert_uint_eq(get_u16(p->body + q->consistency_offset), q->consistency);
	ck_assert_uint_eq(q->flags_offset, q->consistency_offset + 2);
	ck_assert_uint_eq(q->flags_size, version == 5 ? 4 : 1);
	ck_assert_uint_eq(version == 5 ? get_u32(p->body + q->flags_offset) : p->body[q->flags_offset], q->flags);
	ck_assert_uint_eq(q->values_offset, q->flags_offset + q->flags_size + 2);
	expect_bytes(q->paging_state, "page-7", 6);
	ck_assert_uint_eq(get_u32(p->body + q->paging_state_offset), 6);
	ck_assert_ptr_eq(p->body + q->paging_state_offset + 4, q->paging_state.p);
	ck_assert_uint_eq(q->serial_consistency, CL_LOCAL_SERIAL);
	ck_assert(q->has_timestamp);
	ck_assert_uint_eq(q->timestamp, 1234567890123456);
	ck_assert_uint_eq(get_u64(p->body + q->timestamp_offset), 1234567890123456);
}

START_TEST(query)
{
	unsigned version = (unsigned)_i;
	struct query_message m;
	struct strview name;
	struct bytesview value;
	const char *why;
	struct parsed p = parsed_get("requests.hex", version, "query_everything");

	ck_assert(message_parse_query(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert(sv_equal(m.text, SV(TEXT)));
	ck_assert_uint_eq(m.text_offset, 0);
	ck_assert_uint_eq(m.params.consistency, CL_LOCAL_QUORUM);
	ck_assert_uint_eq(m.params.value_count, 3);
	check_everything(&p, &m.params, version);
	ck_assert(sv_equal(m.params.keyspace, version == 5 ? SV("shop") : SV("")));
	expect_value(&p, &m.params, 0, "", "\0\0\0\1", 4);
	expect_value(&p, &m.params, 1, "", NULL, 0);
	expect_value(&p, &m.params, 2, "", "", 0);
	ck_assert(!message_value(p.body, p.len, &m.params, 3, &name, &value));
	parsed_free(&p);

	p = parsed_get("requests.hex", version, "query_plain");
	ck_assert(message_parse_query(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert(sv_equal(m.text, SV("SELECT * FROM t")));
	ck_assert_uint_eq(m.params.flags, 0);
	ck_assert_uint_eq(m.params.value_count, 0);
	ck_assert_uint_eq(m.params.values_offset, 0);
	ck_assert(m.params.paging_state.is_null);
	ck_assert(!m.params.has_timestamp);
	ck_assert_uint_eq(m.params.serial_consistency, 0);
	ck_assert(!message_value(p.body, p.len, &m.params, 0, &name, &value));
	parsed_free(&p);

	p = parsed_get("requests.hex", version, "query_named");
	ck_assert(message_parse_query(p.body, p.len, p.offset, p.f.version, &m, &why));
	expect_value(&p, &m.params, 0, "address", "\x7f\0\0\1", 4);
	parsed_free(&p);
}
END_TEST

START_TEST(query_unset_behind_payload)
{
	struct query_message m;
	struct strview name;
	struct bytesview value;
	const char *why;
	struct parsed p = parsed_get("requests.hex", (unsigned)_i, "query_unset");

	ck_assert(p.f.flags & FRAME_CUSTOM_PAYLOAD);
	/* two entries: "k" with 5 bytes, "n" with none */
	ck_assert_uint_eq(p.offset, 2 + (3 + 4 + 5) + (3 + 4));
	ck_assert(message_parse_query(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_uint_eq(m.text_offset, p.offset);
	ck_assert(sv_equal(m.text, SV(TEXT)));
	expect_value(&p, &m.params, 0, "", "ab", 2);
	ck_assert(message_value(p.body, p.len, &m.params, 1, &name, &value));
	ck_assert(value.is_unset && !value.is_null);
	parsed_free(&p);
}
END_TEST

START_TEST(query_negative_lengths)
{
	struct query_message m;
	const char *why = NULL;
	struct parsed p = parsed_get("requests.hex", 3, "query_minus_two");

	ck_assert(message_parse_query(p.body, p.len, p.offset, 3, &m, &why));
	expect_value(&p, &m.params, 0, "", NULL, 0);
	parsed_free(&p);
	p = parsed_get("requests.hex", 4, "bad_query_minus_three");
	ck_assert(!message_parse_query(p.body, p.len, p.offset, 4, &m, &why));
	ck_assert_str_eq(why, "bound values");
	parsed_free(&p);
}
END_TEST

START_TEST(query_v5_now)
{
	struct query_message m;
	const char *why;
	struct parsed p = parsed_get("requests.hex", 5, "query_now");

	ck_assert(message_parse_query(p.body, p.len, p.offset, 5, &m, &why));
	ck_assert_uint_eq(m.params.flags, QUERY_NOW_IN_SECONDS);
	ck_assert(!message_parse_query(p.body, p.len - 1, p.offset, 5, &m, &why));
	ck_assert_str_eq(why, "now in seconds");
	parsed_free(&p);
}
END_TEST

START_TEST(prepare)
{
	struct prepare_message m;
	const char *why;
	struct parsed p = parsed_get("requests.hex", (unsigned)_i, "prepare");

	/* the tracing flag of a request puts nothing in front of its body */
	ck_assert(p.f.flags & FRAME_TRACING);
	ck_assert_uint_eq(p.offset, 0);
	ck_assert(message_parse_prepare(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert(sv_equal(m.text, SV(TEXT)));
	ck_assert_uint_eq(m.keyspace.len, 0);
	parsed_free(&p);

	p = parsed_get("requests.hex", 5, "prepare_keyspace");
	ck_assert(message_parse_prepare(p.body, p.len, p.offset, 5, &m, &why));
	ck_assert(sv_equal(m.text, SV(TEXT)));
	ck_assert(sv_equal(m.keyspace, SV("shop")));
	parsed_free(&p);
}
END_TEST

START_TEST(execute)
{
	unsigned version = (unsigned)_i;
	struct execute_message m;
	const char *why;
	struct parsed p = parsed_get("requests.hex", version, "execute");

	ck_assert(message_parse_execute(p.body, p.len, p.offset, p.f.version, &m, &why));
	expect_bytes(m.id, ID, 16);
	ck_assert_uint_eq(m.id_offset, 2);
	ck_assert_ptr_eq(p.body + m.id_offset, m.id.p);
	if (version == 5)
		expect_bytes(m.result_metadata_id, METADATA_ID, 16);
	else
		ck_assert(m.result_metadata_id.is_null);
	ck_assert_uint_eq(m.params.consistency, CL_QUORUM);
	/* the driver announces its values only: SKIP_METADATA it keeps to itself in this message */
	ck_assert_uint_eq(m.params.value_count, 2);
	expect_value(&p, &m.params, 1, "", "one", 3);
	parsed_free(&p);

	p = parsed_get("requests.hex", version, "execute_everything");
	ck_assert(message_parse_execute(p.body, p.len, p.offset, p.f.version, &m, &why));
	check_everything(&p, &m.params, version);
	parsed_free(&p);

	p = parsed_get("requests.hex", version, "execute_no_values");
	ck_assert(message_parse_execute(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_uint_eq(m.params.flags, QUERY_VALUES);
	ck_assert_uint_eq(m.params.value_count, 0);
	ck_assert_uint_eq(m.params.values_offset, 0);
	parsed_free(&p);
}
END_TEST

START_TEST(batch)
{
	unsigned version = (unsigned)_i;
	struct batch_message m;
	struct batch_child child;
	const char *why;
	struct parsed p = parsed_get("requests.hex", version, "batch");
	uint32_t offset;
	unsigned count;

	ck_assert(message_parse_batch(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_uint_eq(m.type, BATCH_UNLOGGED);
	ck_assert_uint_eq(m.child_count, 3);
	ck_assert_uint_eq(m.consistency, CL_EACH_QUORUM);
	ck_assert_uint_eq(m.serial_consistency, CL_SERIAL);
	ck_assert(m.has_timestamp);
	ck_assert_uint_eq(m.timestamp, 99);
	ck_assert(sv_equal(m.keyspace, version == 5 ? SV("shop") : SV("")));
	ck_assert_uint_eq(version == 5 ? get_u32(p.body + m.flags_offset) : p.body[m.flags_offset], m.flags);
	ck_assert_uint_eq(m.flags_size, version == 5 ? 4 : 1);
	ck_assert_uint_eq(m.flags_offset, m.consistency_offset + 2);
	ck_assert_uint_eq(get_u16(p.body + m.consistency_offset), CL_EACH_QUORUM);
	ck_assert_uint_eq(get_u64(p.body + m.timestamp_offset), 99);
	offset = m.children_offset;

	ck_assert(message_batch_child(p.body, p.len, &offset, &child));
	ck_assert(!child.is_prepared && child.id.is_null);
	ck_assert(sv_equal(child.text, SV(TEXT)));
	ck_assert_uint_eq(child.value_count, 2);
	ck_assert_uint_eq(get_u32(p.body + child.values_offset), 4);
	ck_assert(message_batch_child(p.body, p.len, &offset, &child));
	ck_assert(child.is_prepared);
	expect_bytes(child.id, ID, 16);
	ck_assert_ptr_eq(p.body + child.id_offset, child.id.p);
	ck_assert_uint_eq(child.value_count, 1);
	ck_assert(message_batch_child(p.body, p.len, &offset, &child));
	expect_bytes(child.id, METADATA_ID, 16);
	ck_assert_uint_eq(child.value_count, 0);
	/* behind the last child stand the consistency and the flags */
	ck_assert_uint_eq(offset + 2, m.flags_offset);
	ck_assert(message_batch_begin(p.body, p.len, p.f.flags, &offset, &count));
	ck_assert_uint_eq(offset, m.children_offset);
	ck_assert_uint_eq(count, 3);
	for (uint32_t len = 0; len < m.children_offset; len++)
		ck_assert(!message_batch_begin(p.body, len, p.f.flags, &offset, &count));
	parsed_free(&p);

	p = parsed_get("requests.hex", version, "batch_empty");
	ck_assert(message_parse_batch(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_uint_eq(m.child_count, 0);
	ck_assert_uint_eq(m.type, BATCH_LOGGED);
	ck_assert(!m.has_timestamp);
	parsed_free(&p);
}
END_TEST

START_TEST(bad_batches)
{
	struct batch_message m;
	const char *why = NULL;
	struct parsed p = parsed_get("requests.hex", (unsigned)_i, "bad_batch_names");

	ck_assert(!message_parse_batch(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_str_eq(why, "batch flags");
	parsed_free(&p);
	p = parsed_get("requests.hex", (unsigned)_i, "bad_batch_kind");
	ck_assert(!message_parse_batch(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_str_eq(why, "kind of a batched statement");
	p.body[0] = 3;
	ck_assert(!message_parse_batch(p.body, p.len, p.offset, p.f.version, &m, &why));
	ck_assert_str_eq(why, "batch type");
	parsed_free(&p);
}
END_TEST

START_TEST(register_events)
{
	unsigned kinds;
	const char *why = NULL;
	struct parsed p = parsed_get("requests.hex", (unsigned)_i, "register");

	ck_assert(message_parse_register(p.body, p.len, &kinds, &why));
	ck_assert_uint_eq(kinds, EVENT_TOPOLOGY_CHANGE | EVENT_STATUS_CHANGE | EVENT_SCHEMA_CHANGE);
	parsed_free(&p);
	p = parsed_get("requests.hex", (unsigned)_i, "register_schema");
	ck_assert(message_parse_register(p.body, p.len, &kinds, &why));
	ck_assert_uint_eq(kinds, EVENT_SCHEMA_CHANGE);
	parsed_free(&p);
	p = parsed_get("requests.hex", 4, "bad_register");
	ck_assert(!message_parse_register(p.body, p.len, &kinds, &why));
	ck_assert_str_eq(why, "event type");
	parsed_free(&p);
}
END_TEST

struct option_check {
	unsigned count;
	bool saw_compression;
	unsigned stop_after;
};

static bool see_option(void *arg, struct strview key, struct strview value)
{
	struct option_check *check = arg;

	if (sv_equal(key, SV("COMPRESSION")) && sv_equal(value, SV("lz4")))
		check->saw_compression = true;
	return ++check->count != check->stop_after;
}

START_TEST(options)
{
	struct option_check check = { 0 };
	struct parsed p = parsed_get("requests.hex", (unsigned)_i, "startup");

	ck_assert(message_each_option(p.body, p.len, see_option, &check));
	ck_assert_uint_eq(check.count, 2);
	ck_assert(check.saw_compression);
	check = (struct option_check){ .stop_after = 1 };
	ck_assert(!message_each_option(p.body, p.len, see_option, &check));
	ck_assert_uint_eq(check.count, 1);
	parsed_free(&p);

	check = (struct option_check){ 0 };
	p = parsed_get("answers.hex", 0, "supported");
	ck_assert(message_each_supported(p.body, p.len, see_option, &check));
	ck_assert_uint_eq(check.count, 3);
	ck_assert(check.saw_compression);
	check = (struct option_check){ .stop_after = 2 };
	ck_assert(!message_each_supported(p.body, p.len, see_option, &check));
	ck_assert_uint_eq(check.count, 2);
	parsed_free(&p);
}
END_TEST

static bool parse_sasl(const char *token, size_t len, struct sasl_plain *out)
{
	return message_parse_sasl_plain((struct bytesview){ .p = (const uint8_t *)token, .len = (uint32_t)len }, out);
}

START_TEST(sasl_plain)
{
	struct sasl_plain sasl;

	ck_assert(parse_sasl("\0user\0secret", 12, &sasl));
	ck_assert_uint_eq(sasl.authzid.len, 0);
	ck_assert(sv_equal(sasl.user, SV("user")));
	ck_assert(sv_equal(sasl.password, SV("secret")));
	ck_assert(parse_sasl("other\0user\0", 11, &sasl));
	ck_assert(sv_equal(sasl.authzid, SV("other")));
	ck_assert(sv_equal(sasl.user, SV("user")));
	ck_assert_uint_eq(sasl.password.len, 0);
	ck_assert(parse_sasl("\0\0", 2, &sasl));
	ck_assert(!parse_sasl("\0user", 5, &sasl));
	ck_assert(!parse_sasl("user", 4, &sasl));
	ck_assert(!parse_sasl("", 0, &sasl));
	ck_assert(!parse_sasl("\0user\0sec\0ret", 13, &sasl));
	ck_assert(!parse_sasl("\0user\0secret\0", 13, &sasl));
	ck_assert(!message_parse_sasl_plain((struct bytesview){ .is_null = true }, &sasl));
}
END_TEST

/* ---- answers, field by field ---- */

START_TEST(prepared)
{
	unsigned version = (unsigned)_i;
	struct prepared_message m;
	const char *why;
	struct parsed p = parsed_get("answers.hex", version, "prepared");
	uint32_t bind_start = 4 + 18 + (version == 5 ? 18 : 0);

	ck_assert_msg(message_parse_prepared(p.body, p.len, p.offset, p.f.version, &m, &why), "%s", why);
	expect_bytes(m.id, ID, 16);
	if (version == 5)
		expect_bytes(m.result_metadata_id, METADATA_ID, 16);
	else
		ck_assert(m.result_metadata_id.is_null);
	ck_assert_uint_eq(m.bind_flags, ROWS_GLOBAL_TABLES_SPEC);
	ck_assert_uint_eq(m.bind_count, 2);
	/* int, and map<int, ...> with texts in it, which do not count */
	ck_assert(message_prepared_binds(&m, p.f.version, TYPE_INT));
	ck_assert(message_prepared_binds(&m, p.f.version, TYPE_MAP));
	ck_assert(!message_prepared_binds(&m, p.f.version, TYPE_VARCHAR));
	ck_assert(!message_prepared_binds(&m, p.f.version, TYPE_COUNTER));
	ck_assert_uint_eq(m.pk_count, version == 3 ? 0 : 2);
	/* the two specs touch each other and fill the body to its end */
	ck_assert_ptr_eq(m.bind_spec.p, p.body + bind_start);
	ck_assert_ptr_eq(m.bind_spec.p + m.bind_spec.len, m.result_spec.p);
	ck_assert_ptr_eq(m.result_spec.p + m.result_spec.len, p.body + p.len);
	ck_assert_uint_eq(get_u32(m.result_spec.p + 4), 3);
	parsed_free(&p);
}
END_TEST

START_TEST(prepared_forms)
{
	struct prepared_message m;
	const char *why = NULL;
	struct parsed p = parsed_get("answers.hex", 4, "prepared_write");

	ck_assert(message_parse_prepared(p.body, p.len, p.offset, 4, &m, &why));
	expect_bytes(m.result_spec, "\0\0\0\4\0\0\0\0", 8);
	parsed_free(&p);
	p = parsed_get("answers.hex", 4, "prepared_no_binds");
	ck_assert(message_parse_prepared(p.body, p.len, p.offset, 4, &m, &why));
	ck_assert_uint_eq(m.bind_count, 0);
	ck_assert_uint_eq(m.bind_spec.len, 12);
	ck_assert(!message_prepared_binds(&m, 4, TYPE_INT));
	parsed_free(&p);
	p = parsed_get("answers.hex", 4, "prepared_local_spec");
	ck_assert(message_parse_prepared(p.body, p.len, p.offset, 4, &m, &why));
	ck_assert_uint_eq(m.bind_flags, 0);
	ck_assert_uint_eq(m.bind_spec.len, 12 + 3 + 3 + 3 + 2);
	ck_assert(message_prepared_binds(&m, 4, TYPE_VARCHAR));
	ck_assert(!message_prepared_binds(&m, 4, TYPE_INT));
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "bad_prepared_many_keys");
	ck_assert(!message_parse_prepared(p.body, p.len, p.offset, 4, &m, &why));
	ck_assert_str_eq(why, "bind metadata");
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "bad_prepared_many_binds");
	ck_assert(!message_parse_prepared(p.body, p.len, p.offset, 4, &m, &why));
	ck_assert_str_eq(why, "bind metadata");
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "void");
	ck_assert(!message_parse_prepared(p.body, p.len, p.offset, 4, &m, &why));
	ck_assert_str_eq(why, "result kind");
	parsed_free(&p);
}
END_TEST

START_TEST(errors)
{
	struct error_message m;
	struct parsed p = parsed_get("answers.hex", 0, "error_unavailable");

	ck_assert(message_parse_error(p.body, p.len, p.offset, &m));
	ck_assert_uint_eq(m.code, CQL_ERR_UNAVAILABLE);
	ck_assert(sv_equal(m.text, SV("no")));
	ck_assert_uint_eq(m.text_offset, 4);
	ck_assert_uint_eq(m.rest_offset, 8);
	ck_assert_uint_eq(get_u16(p.body + m.rest_offset), CL_QUORUM);
	ck_assert(m.unprepared_id.is_null);
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "error_unprepared");
	ck_assert(message_parse_error(p.body, p.len, p.offset, &m));
	ck_assert_uint_eq(m.code, CQL_ERR_UNPREPARED);
	expect_bytes(m.unprepared_id, ID, 16);
	parsed_free(&p);
}
END_TEST

START_TEST(rows_heads)
{
	struct rows_head m;
	struct parsed p = parsed_get("answers.hex", 0, "rows_page");

	/* tracing id, warnings "careful" and "slow", payload { "k": "v" } */
	ck_assert_uint_eq(p.offset, 16 + (2 + 9 + 6) + (2 + 3 + 5));
	ck_assert(message_parse_rows_head(p.body, p.len, p.offset, &m));
	ck_assert_uint_eq(m.flags, ROWS_HAS_MORE_PAGES);
	ck_assert_uint_eq(m.column_count, 2);
	expect_bytes(m.paging_state, "more", 4);
	ck_assert_ptr_eq(p.body + m.paging_state_offset + 4, m.paging_state.p);
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "rows_no_metadata");
	ck_assert(message_parse_rows_head(p.body, p.len, p.offset, &m));
	ck_assert_uint_eq(m.flags, ROWS_NO_METADATA);
	ck_assert(m.paging_state.is_null);
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "void");
	ck_assert(!message_parse_rows_head(p.body, p.len, p.offset, &m));
	parsed_free(&p);
}
END_TEST

START_TEST(events)
{
	struct parsed p = parsed_get("answers.hex", 0, "event_schema");

	ck_assert_uint_eq(message_event_kind(p.body, p.len), EVENT_SCHEMA_CHANGE);
	p.body[2] = 'X';
	ck_assert_uint_eq(message_event_kind(p.body, p.len), 0);
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "event_topology");
	ck_assert_uint_eq(message_event_kind(p.body, p.len), EVENT_TOPOLOGY_CHANGE);
	parsed_free(&p);
	p = parsed_get("answers.hex", 0, "event_status");
	ck_assert_uint_eq(message_event_kind(p.body, p.len), EVENT_STATUS_CHANGE);
	parsed_free(&p);
}
END_TEST

START_TEST(offset_beyond_the_body)
{
	const uint8_t *body = (const uint8_t *)"\0\0\0\1";
	struct query_message m;
	struct error_message error;
	struct batch_child child;
	uint32_t offset = 5;
	const char *why = NULL;

	ck_assert(!message_parse_query(body, 4, offset, 4, &m, &why));
	ck_assert_str_eq(why, "query text");
	ck_assert(!message_parse_error(body, 4, UINT32_MAX, &error));
	ck_assert(!message_batch_child(body, 4, &offset, &child));
	ck_assert_uint_eq(offset, 5);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("message");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, requests_whole_and_cut);
	tcase_add_test(tcase, answers_whole_and_cut);
	/* the argument of a loop test is the protocol version */
	tcase_add_loop_test(tcase, query, 3, 6);
	tcase_add_loop_test(tcase, query_unset_behind_payload, 4, 6);
	tcase_add_test(tcase, query_negative_lengths);
	tcase_add_test(tcase, query_v5_now);
	tcase_add_loop_test(tcase, prepare, 3, 6);
	tcase_add_loop_test(tcase, execute, 3, 6);
	tcase_add_loop_test(tcase, batch, 3, 6);
	tcase_add_loop_test(tcase, bad_batches, 3, 6);
	tcase_add_loop_test(tcase, register_events, 3, 6);
	tcase_add_loop_test(tcase, options, 3, 6);
	tcase_add_test(tcase, sasl_plain);
	tcase_add_loop_test(tcase, prepared, 3, 6);
	tcase_add_test(tcase, prepared_forms);
	tcase_add_test(tcase, errors);
	tcase_add_test(tcase, rows_heads);
	tcase_add_test(tcase, events);
	tcase_add_test(tcase, offset_beyond_the_body);
	return run_tcase("message", tcase);
}
