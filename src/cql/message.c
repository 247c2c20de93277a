/*
 * message.c - views into the bodies of requests (answers: message_result.c).
 *
 * Version 5 is read as Cassandra 4.0 and later write it: QUERY, EXECUTE and
 * BATCH have their flags as an [int], then also a keyspace and "now in
 * seconds"; PREPARE has flags; EXECUTE has the result metadata id behind the
 * prepared id. What the other versions have of this, and of their own, is in
 * cql/version.h.
 */
#include "cql/message.h"

/* Flag of PREPARE in v5 and DSE v2. */
#define PREPARE_KEYSPACE 0x01

static bool fail(const char **why, const char *field)
{
	*why = field;
	return false;
}

static void skip_string_list(struct reader *r)
{
	for (uint16_t n = read_short(r); n > 0 && reader_ok(r); n--)
		read_string(r);
}

static void skip_bytes_map(struct reader *r)
{
	for (uint16_t n = read_short(r); n > 0 && reader_ok(r); n--) {
		read_string(r);
		read_bytes(r);
	}
}

bool message_skip_preamble(const uint8_t *body, uint32_t len, uint8_t flags, bool is_response, uint32_t *offset,
			   const char **why)
{
	struct reader r = reader_over(body, len);

	if (is_response && (flags & FRAME_TRACING))
		reader_take(&r, 16);
	if (!reader_ok(&r))
		return fail(why, "tracing id");
	if (is_response && (flags & FRAME_WARNING))
		skip_string_list(&r);
	if (!reader_ok(&r))
		return fail(why, "warnings");
	if (flags & FRAME_CUSTOM_PAYLOAD)
		skip_bytes_map(&r);
	if (!reader_ok(&r))
		return fail(why, "custom payload");
	*offset = reader_offset(&r);
	return true;
}

/*
 * A bound value. Up to v3 every negative length means null (so Cassandra reads
 * it); v4 brought "unset" and the refusal of what is below it.
 */
static ALWAYS_INLINE struct bytesview read_bound_value(struct reader *r, bool has_unset)
{
	return has_unset ? read_value(r) : read_bytes(r);
}

/* Past n bound values: what requests consist of, so the bounds are looked at without what other reads need. */
static ALWAYS_INLINE void skip_values(struct reader *r, unsigned n, bool has_unset)
{
	const uint8_t *p = r->p;

	for (; n > 0; n--) {
		uint32_t len;

		if (unlikely(r->end - p < 4)) {
			r->bad = true;
			return;
		}
		len = get_u32(p);
		p += 4;
		if (likely(len <= INT32_MAX)) {
			if (unlikely((size_t)(r->end - p) < len)) {
				r->bad = true;
				return;
			}
			p += len;
		} else if (has_unset && len < (uint32_t)-2) {
			r->bad = true;
			return;
		}
	}
	r->p = p;
}

static ALWAYS_INLINE void read_values(struct reader *r, struct query_params *q)
{
	const bool has_unset = version_has(q->version, VERSION_UNSET);
	uint32_t start;

	q->value_count = read_short(r);
	start = reader_offset(r);
	if (likely(!(q->flags & QUERY_NAMES_FOR_VALUES))) {
		skip_values(r, q->value_count, has_unset);
	} else {
		for (uint16_t n = q->value_count; n > 0 && reader_ok(r); n--) {
			read_string(r);
			read_bound_value(r, has_unset);
		}
	}
	if (q->value_count > 0)
		q->values_offset = start;
}

static ALWAYS_INLINE bool read_paging(struct reader *r, struct query_params *q, const char **why)
{
	if (q->flags & QUERY_PAGE_SIZE)
		q->page_size = read_int(r);
	if (!reader_ok(r))
		return fail(why, "page size");
	if (q->flags & QUERY_PAGING_STATE) {
		q->paging_state_offset = reader_offset(r);
		q->paging_state = read_bytes(r);
	}
	return reader_ok(r) || fail(why, "paging state");
}

/* What QUERY, EXECUTE and BATCH end with. */
struct tail {
	uint16_t serial_consistency;
	uint32_t timestamp_offset;
	bool has_timestamp;
	uint64_t timestamp;
	struct strview keyspace;
};

static ALWAYS_INLINE bool read_tail(struct reader *r, uint32_t flags, struct tail *t, const char **why)
{
	*t = (struct tail){ .keyspace = SV("") };
	if (flags & QUERY_SERIAL_CONSISTENCY)
		t->serial_consistency = read_short(r);
	if (!reader_ok(r))
		return fail(why, "serial consistency");
	t->timestamp_offset = reader_offset(r);
	if (flags & QUERY_TIMESTAMP) {
		t->has_timestamp = true;
		t->timestamp = read_long(r);
	}
	if (!reader_ok(r))
		return fail(why, "timestamp");
	if (flags & QUERY_KEYSPACE)
		t->keyspace = read_string(r);
	if (!reader_ok(r))
		return fail(why, "keyspace");
	if (flags & QUERY_NOW_IN_SECONDS)
		read_int(r);
	return reader_ok(r) || fail(why, "now in seconds");
}

/* The most pages in all, pages in a second, and how many are welcome now (0: any number). */
static bool read_continuous_paging(struct reader *r, uint8_t version, struct query_params *q, const char **why)
{
	read_int(r);
	read_int(r);
	if (version_has(version, VERSION_NEXT_PAGES))
		q->next_pages = read_int(r);
	return reader_ok(r) || fail(why, "continuous paging options");
}

#define FLAGS_V2 (QUERY_VALUES | QUERY_SKIP_METADATA | QUERY_PAGE_SIZE | QUERY_PAGING_STATE | QUERY_SERIAL_CONSISTENCY)
#define FLAGS_V3 (FLAGS_V2 | QUERY_TIMESTAMP | QUERY_NAMES_FOR_VALUES)
#define FLAGS_DSE1 (FLAGS_V3 | QUERY_PAGE_SIZE_BYTES | QUERY_CONTINUOUS_PAGING)

/*
 * Flags that the version does not have mean nothing: a v4 node pays no
 * attention to a keyspace flag, and nothing stands in the body for it.
 */
static const uint32_t known_flags[128] = {
	[2] = FLAGS_V2,
	[3] = FLAGS_V3,
	[4] = FLAGS_V3,
	[5] = FLAGS_V3 | QUERY_KEYSPACE | QUERY_NOW_IN_SECONDS,
	[VERSION_DSE1] = FLAGS_DSE1,
	[VERSION_DSE2] = FLAGS_DSE1 | QUERY_KEYSPACE,
};

static ALWAYS_INLINE uint32_t read_flags(struct reader *r, uint8_t version)
{
	uint32_t flags = version_has(version, VERSION_INT_FLAGS) ? read_int(r) : read_byte(r);

	return flags & known_flags[version & 0x7f];
}

static ALWAYS_INLINE bool read_params(struct reader *r, uint8_t version, struct query_params *q, const char **why)
{
	struct tail tail;

	*q = (struct query_params){ .version = version, .paging_state = { .is_null = true } };
	q->consistency_offset = reader_offset(r);
	q->consistency = read_short(r);
	if (!reader_ok(r))
		return fail(why, "consistency");
	q->flags_offset = reader_offset(r);
	q->flags_size = version_has(version, VERSION_INT_FLAGS) ? 4 : 1;
	q->flags = read_flags(r, version);
	if (!reader_ok(r))
		return fail(why, "query flags");
	if (q->flags & QUERY_VALUES)
		read_values(r, q);
	if (!reader_ok(r))
		return fail(why, "bound values");
	if (!read_paging(r, q, why) || !read_tail(r, q->flags, &tail, why))
		return false;
	if (unlikely(q->flags & QUERY_CONTINUOUS_PAGING) && !read_continuous_paging(r, version, q, why))
		return false;
	q->serial_consistency = tail.serial_consistency;
	q->timestamp_offset = tail.timestamp_offset;
	q->has_timestamp = tail.has_timestamp;
	q->timestamp = tail.timestamp;
	q->keyspace = tail.keyspace;
	return true;
}

bool message_parse_query(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version, struct query_message *out,
			 const char **why)
{
	struct reader r = reader_from(body, len, offset);

	out->text_offset = offset;
	out->text = read_long_string(&r);
	if (!reader_ok(&r))
		return fail(why, "query text");
	return read_params(&r, version, &out->params, why);
}

bool message_parse_prepare(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
			   struct prepare_message *out, const char **why)
{
	struct reader r = reader_from(body, len, offset);

	*out = (struct prepare_message){ .text_offset = offset, .keyspace = SV("") };
	out->text = read_long_string(&r);
	if (!reader_ok(&r))
		return fail(why, "query text");
	if (!version_has(version, VERSION_KEYSPACE))
		return true;
	out->flags = read_int(&r);
	if (!reader_ok(&r))
		return fail(why, "prepare flags");
	if (out->flags & PREPARE_KEYSPACE)
		out->keyspace = read_string(&r);
	return reader_ok(&r) || fail(why, "keyspace");
}

bool message_parse_execute(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version,
			   struct execute_message *out, const char **why)
{
	struct reader r = reader_from(body, len, offset);

	out->id = read_short_bytes(&r);
	out->id_offset = reader_offset(&r) - out->id.len;
	if (version_has(version, VERSION_METADATA_ID))
		out->result_metadata_id = read_short_bytes(&r);
	else
		out->result_metadata_id = (struct bytesview){ .is_null = true };
	if (unlikely(!reader_ok(&r)))
		return fail(why, out->id.p ? "result metadata id" : "prepared id");
	return read_params(&r, version, &out->params, why);
}

/* `from` in a copy of its own, which the compiler can keep in registers while `out` is written. */
static ALWAYS_INLINE bool read_child(struct reader *from, bool has_unset, struct batch_child *out, const char **why)
{
	struct reader r = *from;
	const uint8_t kind = read_byte(&r);

	if (unlikely(!reader_ok(&r) || kind > 1))
		return fail(why, "kind of a batched statement");
	out->is_prepared = kind == 1;
	if (likely(out->is_prepared)) {
		out->id = read_short_bytes(&r);
		out->id_offset = reader_offset(&r) - out->id.len;
		out->text = SV("");
	} else {
		out->text = read_long_string(&r);
		out->id = (struct bytesview){ .is_null = true };
		out->id_offset = 0;
	}
	if (unlikely(!reader_ok(&r)))
		return fail(why, out->is_prepared ? "prepared id in a batch" : "query text in a batch");
	out->value_count = read_short(&r);
	out->values_offset = reader_offset(&r);
	skip_values(&r, out->value_count, has_unset);
	*from = r;
	return likely(reader_ok(&r)) || fail(why, "bound values in a batch");
}

bool message_parse_batch(const uint8_t *body, uint32_t len, uint32_t offset, uint8_t version, struct batch_message *out,
			 const char **why)
{
	const bool has_unset = version_has(version, VERSION_UNSET);
	struct reader r = reader_from(body, len, offset);
	struct batch_child child;
	struct tail tail;

	*out = (struct batch_message){ .keyspace = SV("") };
	out->type = read_byte(&r);
	if (!reader_ok(&r) || out->type > BATCH_COUNTER)
		return fail(why, "batch type");
	out->child_count = read_short(&r);
	if (!reader_ok(&r))
		return fail(why, "number of batched statements");
	out->children_offset = reader_offset(&r);
	for (uint16_t n = out->child_count; n > 0; n--) {
		if (!read_child(&r, has_unset, &child, why))
			return false;
	}
	out->consistency_offset = reader_offset(&r);
	out->consistency = read_short(&r);
	if (!reader_ok(&r))
		return fail(why, "consistency");
	if (!version_has(version, VERSION_BATCH_FLAGS))
		return true;
	out->flags_offset = reader_offset(&r);
	out->flags_size = version_has(version, VERSION_INT_FLAGS) ? 4 : 1;
	out->flags = read_flags(&r, version);
	/* Names would have to be known before the flag that announces them is read (CASSANDRA-10246). */
	if (!reader_ok(&r) || (out->flags & QUERY_NAMES_FOR_VALUES))
		return fail(why, "batch flags");
	if (!read_tail(&r, out->flags, &tail, why))
		return false;
	out->serial_consistency = tail.serial_consistency;
	out->timestamp_offset = tail.timestamp_offset;
	out->has_timestamp = tail.has_timestamp;
	out->timestamp = tail.timestamp;
	out->keyspace = tail.keyspace;
	return true;
}

bool message_batch_begin(const uint8_t *body, uint32_t len, uint8_t flags, uint32_t *children_offset,
			 unsigned *child_count)
{
	uint32_t offset = 0;
	struct reader r;
	const char *why;

	if (!message_skip_preamble(body, len, flags, false, &offset, &why))
		return false;
	r = reader_from(body, len, offset);
	read_byte(&r); /* its type */
	*child_count = read_short(&r);
	*children_offset = reader_offset(&r);
	return reader_ok(&r);
}

bool message_batch_child(const uint8_t *body, uint32_t len, uint32_t *offset, struct batch_child *out)
{
	struct reader r = reader_from(body, len, *offset);
	const char *why;

	/* The batch was checked as a whole; here every negative length may mean "no bytes", as up to v3. */
	if (!read_child(&r, false, out, &why))
		return false;
	*offset = reader_offset(&r);
	return true;
}

bool message_value(const uint8_t *body, uint32_t len, const struct query_params *params, unsigned index,
		   struct strview *name, struct bytesview *value)
{
	struct reader r = reader_from(body, len, params->values_offset);

	if (index >= params->value_count)
		return false;
	for (unsigned i = 0; i <= index; i++) {
		*name = params->flags & QUERY_NAMES_FOR_VALUES ? read_string(&r) : SV("");
		*value = read_bound_value(&r, version_has(params->version, VERSION_UNSET));
	}
	return reader_ok(&r);
}

bool message_parse_revise(const uint8_t *body, uint32_t len, uint32_t offset, struct revise_message *out,
			  const char **why)
{
	struct reader r = reader_from(body, len, offset);

	*out = (struct revise_message){ .kind = read_int(&r) };
	if (!reader_ok(&r) || (out->kind != REVISE_CANCEL_PAGING && out->kind != REVISE_MORE_PAGES))
		return fail(why, "kind of revision");
	out->stream_offset = reader_offset(&r);
	out->stream = read_int(&r);
	if (!reader_ok(&r))
		return fail(why, "stream id");
	if (out->kind == REVISE_MORE_PAGES)
		out->next_pages = read_int(&r);
	return reader_ok(&r) || fail(why, "number of pages");
}

bool message_each_option(const uint8_t *body, uint32_t len,
			 bool (*each)(void *arg, struct strview key, struct strview value), void *arg)
{
	struct reader r = reader_over(body, len);

	for (uint16_t n = read_short(&r); n > 0 && reader_ok(&r); n--) {
		struct strview key = read_string(&r);
		struct strview value = read_string(&r);

		if (reader_ok(&r) && !each(arg, key, value))
			return false;
	}
	return reader_ok(&r);
}

static enum event_kind event_kind_from(struct strview name)
{
	if (sv_equal(name, SV("TOPOLOGY_CHANGE")))
		return EVENT_TOPOLOGY_CHANGE;
	if (sv_equal(name, SV("STATUS_CHANGE")))
		return EVENT_STATUS_CHANGE;
	if (sv_equal(name, SV("SCHEMA_CHANGE")))
		return EVENT_SCHEMA_CHANGE;
	return 0;
}

bool message_parse_register(const uint8_t *body, uint32_t len, unsigned *kinds, const char **why)
{
	struct reader r = reader_over(body, len);

	*kinds = 0;
	for (uint16_t n = read_short(&r); n > 0 && reader_ok(&r); n--) {
		enum event_kind kind = event_kind_from(read_string(&r));

		if (reader_ok(&r) && kind == 0)
			return fail(why, "event type");
		*kinds |= kind;
	}
	return reader_ok(&r) || fail(why, "list of event types");
}

unsigned message_event_kind(const uint8_t *body, uint32_t len)
{
	struct reader r = reader_over(body, len);

	return event_kind_from(read_string(&r));
}

bool message_parse_sasl_plain(struct bytesview token, struct sasl_plain *out)
{
	const char *start = (const char *)token.p;
	const char *end;
	const char *user;
	const char *password;

	if (!start || !(user = memchr(start, '\0', token.len)))
		return false;
	end = start + token.len;
	user++;
	password = memchr(user, '\0', (size_t)(end - user));
	if (!password || memchr(password + 1, '\0', (size_t)(end - password - 1)))
		return false;
	out->authzid = (struct strview){ start, (size_t)(user - 1 - start) };
	out->user = (struct strview){ user, (size_t)(password - user) };
	out->password = (struct strview){ password + 1, (size_t)(end - password - 1) };
	return true;
}
