/*
 * fuzz_message.c - bodies of requests and answers. The input is a frame: its
 * header says which parser gets the body, every version is tried. What a
 * parser accepts must lie in the body, and its parts must agree.
 */
#include "cql/message.h"
#include "cql/murmur3.h"
#include "cql/payload.h"
#include "cql/routing_key.h"
#include "fuzz.h"

struct input {
	const uint8_t *body;
	uint32_t len;
	uint32_t offset; /* behind the preamble */
	uint8_t version;
};

/* A refused body has a reason. */
static bool accepted(bool ok, const char *const *why)
{
	CHECK(ok || (*why && **why));
	return ok;
}

static void check_params(const struct input *in, const struct query_params *q)
{
	struct strview name;
	struct bytesview value;

	CHECK(q->flags_offset + q->flags_size <= in->len);
	CHECK(get_u16(in->body + q->consistency_offset) == q->consistency);
	CHECK(q->timestamp_offset <= in->len);
	CHECK(!q->has_timestamp || get_u64(in->body + q->timestamp_offset) == q->timestamp);
	check_bytes(q->paging_state, in->body, in->len);
	if (q->flags & QUERY_PAGING_STATE)
		CHECK(q->paging_state.is_null || get_u32(in->body + q->paging_state_offset) == q->paging_state.len);
	check_text(q->keyspace, in->body, in->len);
	for (unsigned i = 0; i < q->value_count && i < 100; i++) {
		CHECK(message_value(in->body, in->len, q, i, &name, &value));
		check_text(name, in->body, in->len);
		check_bytes(value, in->body, in->len);
	}
	CHECK(!message_value(in->body, in->len, q, q->value_count, &name, &value));
}

static void try_query(const struct input *in)
{
	struct query_message m;
	const char *why = NULL;

	if (!accepted(message_parse_query(in->body, in->len, in->offset, in->version, &m, &why), &why))
		return;
	check_text(m.text, in->body, in->len);
	CHECK(get_u32(in->body + m.text_offset) == m.text.len);
	check_params(in, &m.params);
}

static void try_prepare(const struct input *in)
{
	struct prepare_message m;
	const char *why = NULL;

	if (!accepted(message_parse_prepare(in->body, in->len, in->offset, in->version, &m, &why), &why))
		return;
	check_text(m.text, in->body, in->len);
	check_text(m.keyspace, in->body, in->len);
}

/* A key of the first value has a token when that value is one that Cassandra takes as a key. */
static void check_token(const struct input *in, const struct query_params *q)
{
	const struct bound_values values = {
		.body = in->body,
		.len = in->len,
		.offset = q->values_offset,
		.count = q->value_count,
	};
	static struct routing_key *key; /* one column, of position 0 */
	struct bytesview value = { .is_null = true };
	struct strview name;
	int64_t token;

	if (!key) {
		key = xcalloc(1, sizeof(*key) + sizeof(key->columns[0]));
		key->count = 1;
	}
	if (q->flags & QUERY_NAMES_FOR_VALUES)
		return;
	if (!message_value(in->body, in->len, q, 0, &name, &value))
		value.is_null = true;
	if (routing_key_token(key, &values, &token)) {
		CHECK(value.len > 0 && value.len <= UINT16_MAX && token == murmur3_token(value.p, value.len));
	} else {
		CHECK(value.is_null || value.is_unset || value.len == 0 || value.len > UINT16_MAX);
	}
}

static void try_execute(const struct input *in)
{
	struct execute_message m;
	const char *why = NULL;

	if (!accepted(message_parse_execute(in->body, in->len, in->offset, in->version, &m, &why), &why))
		return;
	check_bytes(m.id, in->body, in->len);
	CHECK(in->body + m.id_offset == m.id.p);
	check_bytes(m.result_metadata_id, in->body, in->len);
	check_params(in, &m.params);
	check_token(in, &m.params);
}

static void try_batch(const struct input *in)
{
	struct batch_message m;
	struct batch_child child;
	const char *why = NULL;
	uint32_t offset;

	if (!accepted(message_parse_batch(in->body, in->len, in->offset, in->version, &m, &why), &why))
		return;
	check_text(m.keyspace, in->body, in->len);
	offset = m.children_offset;
	for (unsigned i = 0; i < m.child_count; i++) {
		CHECK(message_batch_child(in->body, in->len, &offset, &child));
		check_text(child.text, in->body, in->len);
		check_bytes(child.id, in->body, in->len);
		CHECK(!child.is_prepared || in->body + child.id_offset == child.id.p);
		CHECK(child.values_offset <= offset);
	}
	CHECK(get_u16(in->body + offset) == m.consistency && m.consistency_offset == offset);
	CHECK(m.timestamp_offset <= in->len);
	CHECK(!m.has_timestamp || get_u64(in->body + m.timestamp_offset) == m.timestamp);
	CHECK(m.flags_offset == (version_has(in->version, VERSION_BATCH_FLAGS) ? offset + 2 : 0));
}

static void try_revise(const struct input *in)
{
	struct revise_message m;
	const char *why = NULL;

	if (!accepted(message_parse_revise(in->body, in->len, in->offset, &m, &why), &why))
		return;
	CHECK(get_u32(in->body + m.stream_offset) == m.stream);
	CHECK(m.kind == REVISE_MORE_PAGES || m.next_pages == 0);
}

/* The variables, one behind the other, fill the bind metadata to its end. */
static void try_bind_columns(const struct input *in, const struct prepared_message *m)
{
	uint32_t offset = m->columns_offset;

	CHECK(in->body + m->bind_offset == m->bind_spec.p);
	CHECK(m->spec_offset >= m->bind_offset + 8 && m->columns_offset >= m->spec_offset);
	CHECK(m->pk_offset == 0 || m->pk_offset + 4 + 2 * m->pk_count == m->spec_offset);
	for (uint32_t i = 0; i < m->bind_count; i++) {
		struct bind_column column;

		CHECK(message_bind_column(in->body, in->len, m, &offset, &column));
		check_text(column.name, in->body, in->len);
		CHECK(column.offset < column.end && column.end == offset);
	}
	CHECK(in->body + offset == m->bind_spec.p + m->bind_spec.len);
}

/* The key, and what it finds when these same bytes are taken as values. */
static void try_routing_key(const struct input *in, const struct prepared_message *m)
{
	struct routing_key *key = routing_key_new(in->body, in->len, m);
	struct bound_values values = { .body = in->body, .len = in->len, .offset = m->columns_offset, .count = 40 };
	struct strview keyspace, table;
	int64_t token;

	routing_key_table(in->body, in->len, m, &keyspace, &table);
	check_text(keyspace, in->body, in->len);
	check_text(table, in->body, in->len);
	if (!key)
		return;
	CHECK(key->count == m->pk_count && key->count <= ROUTING_KEY_MAX);
	for (unsigned i = 0; i < key->count; i++)
		CHECK(key->columns[i].position < m->bind_count);
	for (unsigned by_name = 0; by_name < 2; by_name++) {
		values.is_by_name = by_name == 1;
		if (routing_key_token(key, &values, &token))
			CHECK(token != INT64_MIN);
	}
	free(key);
}

static void try_prepared(const struct input *in)
{
	struct prepared_message m;
	const char *why = NULL;

	if (!accepted(message_parse_prepared(in->body, in->len, in->offset, in->version, &m, &why), &why))
		return;
	check_bytes(m.id, in->body, in->len);
	check_bytes(m.result_metadata_id, in->body, in->len);
	check_bytes(m.bind_spec, in->body, in->len);
	check_bytes(m.result_spec, in->body, in->len);
	CHECK(m.bind_spec.p + m.bind_spec.len == m.result_spec.p);
	CHECK(m.bind_spec.len >= 8 && m.result_spec.len >= 8);
	CHECK(m.bind_count <= m.bind_spec.len && m.pk_count <= m.bind_spec.len);
	CHECK(m.bind_count > 0 || !message_prepared_binds(&m, in->version, TYPE_COUNTER));
	try_bind_columns(in, &m);
	try_routing_key(in, &m);
}

static bool see_pair(void *arg, struct strview key, struct strview value)
{
	const struct input *in = arg;

	check_text(key, in->body, in->len);
	check_text(value, in->body, in->len);
	return true;
}

static void try_answers(struct input *in)
{
	struct error_message error;
	struct rows_head rows;

	if (message_parse_error(in->body, in->len, in->offset, &error)) {
		check_text(error.text, in->body, in->len);
		check_bytes(error.unprepared_id, in->body, in->len);
		CHECK(error.rest_offset <= in->len);
	}
	if (message_parse_rows_head(in->body, in->len, in->offset, &rows))
		check_bytes(rows.paging_state, in->body, in->len);
	try_prepared(in);
	if (message_each_supported(in->body, in->len, see_pair, in))
		CHECK(in->len >= 2);
	CHECK(message_event_kind(in->body, in->len) <= EVENT_SCHEMA_CHANGE);
}

static void try_rest(struct input *in)
{
	struct reader r = reader_over(in->body, in->len);
	struct sasl_plain sasl;
	const char *why = NULL;
	unsigned kinds;

	if (message_each_option(in->body, in->len, see_pair, in))
		CHECK(in->len >= 2);
	if (accepted(message_parse_register(in->body, in->len, &kinds, &why), &why))
		CHECK(kinds <= (EVENT_TOPOLOGY_CHANGE | EVENT_STATUS_CHANGE | EVENT_SCHEMA_CHANGE));
	if (message_parse_sasl_plain(read_bytes(&r), &sasl)) {
		check_text(sasl.authzid, in->body, in->len);
		check_text(sasl.user, in->body, in->len);
		check_text(sasl.password, in->body, in->len);
	}
}

/* Without the entries of a key there is none, and as many of the others as before. */
static void try_payload(const struct input *in)
{
	const struct strview key = SV("k");
	struct payload_entry e, rest;
	struct writer w;

	CHECK(payload_find(in->body, in->offset, key, &e));
	check_bytes(e.value, in->body, in->offset);
	CHECK(e.found <= e.count && (e.value.is_null || in->body + e.value_offset == e.value.p));
	writer_init(&w);
	payload_write_without(in->body, in->offset, key, &w);
	CHECK(w.len <= in->offset && (e.found > 0 || memcmp(w.data, in->body, in->offset) == 0));
	CHECK(payload_find(w.data, w.len, key, &rest) && rest.found == 0 && rest.count == e.count - e.found);
	writer_free(&w);
}

static void try_body(const struct frame *f, struct input *in)
{
	const char *why = NULL;

	if (!accepted(message_skip_preamble(in->body, in->len, f->flags, f->is_response, &in->offset, &why), &why))
		return;
	CHECK(in->offset <= in->len);
	if (f->is_response) {
		try_answers(in);
		return;
	}
	if (f->flags & FRAME_CUSTOM_PAYLOAD)
		try_payload(in);
	switch (f->opcode) {
	case OP_QUERY:
		try_query(in);
		break;
	case OP_PREPARE:
		try_prepare(in);
		break;
	case OP_EXECUTE:
		try_execute(in);
		break;
	case OP_BATCH:
		try_batch(in);
		break;
	case OP_REVISE:
		try_revise(in);
		break;
	default:
		try_rest(in);
		break;
	}
}

static const uint8_t fuzz_versions[] = FUZZ_VERSIONS;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;
	uint32_t head;

	if (size < FRAME_HEAD_LEN)
		return 0;
	head = frame_head_read(&f, data);
	for (unsigned i = 0; i < ARRAY_LEN(fuzz_versions); i++) {
		struct input in = { .body = data + head, .len = (uint32_t)(size - head), .version = fuzz_versions[i] };

		try_body(&f, &in);
	}
	return 0;
}
