/* repeat.c - see repeat.h */
#include "proxy/repeat.h"

#include "cql/idempotence.h"
#include "cql/version.h"
#include "proxy/prepared.h"
#include "proxy/request.h"

/* The bound values of one statement. */
struct values {
	const struct request *rq;
	uint32_t offset;
	uint16_t count;
	bool has_names;
};

/* One of these bits, if set, makes the values matter. */
#define BINDS (IDEMPOTENT_BINDS_TIMESTAMP | IDEMPOTENT_BINDS_COLUMN | IDEMPOTENT_BINDS_JSON)

static bool value_is_safe(const struct bytesview *value, uint8_t bits)
{
	const struct strview text = { value->p ? (const char *)value->p : "", value->len };

	/* Which of the values is the timestamp is not known. */
	if ((bits & IDEMPOTENT_BINDS_TIMESTAMP) && value->is_unset)
		return false;
	if ((bits & (IDEMPOTENT_BINDS_COLUMN | IDEMPOTENT_BINDS_JSON)) && idempotence_may_be_list(*value))
		return false;
	return !(bits & IDEMPOTENT_BINDS_JSON) || idempotence_json(text);
}

static bool values_are_safe(const struct values *v, uint8_t bits)
{
	const uint8_t version = v->rq->client->version;
	struct reader r = reader_from(v->rq->data, v->rq->len, v->offset);

	if (!(bits & BINDS))
		return true;
	if (version_has(version, VERSION_SHORT_COLLECTIONS))
		return false;
	for (unsigned i = 0; i < v->count; i++) {
		struct bytesview value;

		if (v->has_names)
			read_string(&r);
		value = version_has(version, VERSION_UNSET) ? read_value(&r) : read_bytes(&r);
		if (!reader_ok(&r) || !value_is_safe(&value, bits))
			return false;
	}
	return true;
}

/* A statement with these IDEMPOTENT_* bits and values; `has_timestamp`: its request has one, behind which an own one comes. */
static bool statement_is_safe(uint8_t bits, const struct values *v, bool has_timestamp)
{
	if (!(bits & IDEMPOTENT_PROVEN))
		return false;
	if (has_timestamp)
		bits &= (uint8_t)~IDEMPOTENT_BINDS_TIMESTAMP;
	else if (!(bits & IDEMPOTENT_HAS_TIMESTAMP))
		return false;
	return values_are_safe(v, bits);
}

static bool params_are_safe(const struct request *rq, uint8_t bits, const struct query_params *params)
{
	const struct values v = {
		.rq = rq,
		.offset = params->values_offset,
		.count = params->value_count,
		.has_names = (params->flags & QUERY_NAMES_FOR_VALUES) != 0,
	};

	return statement_is_safe(bits, &v, params->has_timestamp);
}

static bool query_is_safe(const struct request *rq, uint32_t offset)
{
	struct query_message m;
	const char *why;

	return message_parse_query(rq->data, rq->len, offset, rq->client->version, &m, &why) &&
	       params_are_safe(rq, idempotence_scan(m.text), &m.params);
}

static bool execute_is_safe(const struct request *rq, uint32_t offset)
{
	struct execute_message m;
	const char *why;

	return rq->prepared && message_parse_execute(rq->data, rq->len, offset, rq->client->version, &m, &why) &&
	       params_are_safe(rq, rq->prepared->entry->idempotence, &m.params);
}

/* 0 as well for a prepared statement that is not known any more. */
static uint8_t child_bits(const struct request *rq, const struct batch_child *child)
{
	struct prepared_ref *ref;
	uint8_t bits;

	if (!child->is_prepared)
		return idempotence_scan(child->text);
	ref = prepared_find(&rq->client->worker->prepared, child->id);
	if (!ref)
		return 0;
	bits = ref->entry->idempotence;
	prepared_release(ref);
	return bits;
}

static bool batch_is_safe(const struct request *rq, uint32_t offset)
{
	struct batch_message m;
	const char *why;

	if (!message_parse_batch(rq->data, rq->len, offset, rq->client->version, &m, &why) ||
	    (m.type != BATCH_LOGGED && m.type != BATCH_UNLOGGED))
		return false;
	offset = m.children_offset;
	for (unsigned i = 0; i < m.child_count; i++) {
		struct batch_child child;
		struct values v;

		if (!message_batch_child(rq->data, rq->len, &offset, &child))
			return false;
		v = (struct values){ .rq = rq, .offset = child.values_offset, .count = child.value_count };
		if (!statement_is_safe(child_bits(rq, &child), &v, m.has_timestamp))
			return false;
	}
	return true;
}

static bool write_is_safe(const struct request *rq)
{
	uint32_t offset = 0;
	const char *why;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why))
		return false;
	switch (rq->opcode) {
	case OP_QUERY:
		return query_is_safe(rq, offset);
	case OP_EXECUTE:
		return execute_is_safe(rq, offset);
	case OP_BATCH:
		return batch_is_safe(rq, offset);
	default:
		return false;
	}
}

bool repeat_is_safe(const struct request *rq)
{
	if (rq->opcode == OP_OPTIONS || rq->opcode == OP_PREPARE)
		return true;
	if (rq->paging || rq->verdict.class == CLASS_CONTROL) /* REVISE, USE, REGISTER: about one connection */
		return false;
	return rq->verdict.class == CLASS_READ || write_is_safe(rq);
}
