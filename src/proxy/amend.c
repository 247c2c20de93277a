/* amend.c - see amend.h */
#include "proxy/amend.h"

#include <string.h>

#include "cql/version.h"
#include "proxy/request.h"

uint8_t amends_of(const struct settings *settings)
{
	uint8_t amends = 0;

	if (settings->timestamps == TIMESTAMPS_ADD)
		amends |= AMEND_TIMESTAMPS;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (settings->cluster[i].read_consistency.is_set || settings->cluster[i].write_consistency.is_set)
			amends |= AMEND_LEVELS;
	}
	if (settings->tracing_enabled)
		amends |= AMEND_IDS;
	else if (settings->profile == PROFILE_ZDM)
		amends |= AMEND_IDS_STRIP;
	return amends;
}

static bool allows_timestamp(struct strview text, const struct statement_facts *facts, enum bound_counter bound)
{
	struct write_facts w;

	write_facts_scan(text, facts, &w);
	if (w.has_timestamp || w.counter == COUNTER_CERTAIN || bound == BOUND_COUNTER)
		return false;
	return w.writes_rows && (w.counter == COUNTER_NO || bound == BOUND_NONE);
}

uint8_t amend_allows(struct strview text, const struct statement_facts *facts, struct strview keyspace,
		     enum bound_counter bound, uint8_t amends)
{
	switch (facts->kind) {
	case STATEMENT_SELECT:
		if (facts->keyspace.len > 0)
			keyspace = statement_name_view(&facts->keyspace);
		return statement_keyspace_is_system(keyspace) ? 0 : ALLOWS_READ_LEVEL;
	case STATEMENT_INSERT:
	case STATEMENT_UPDATE:
	case STATEMENT_DELETE:
	case STATEMENT_BATCH:
		if ((amends & AMEND_TIMESTAMPS) && allows_timestamp(text, facts, bound))
			return ALLOWS_WRITE_LEVEL | ALLOWS_TIMESTAMP;
		return ALLOWS_WRITE_LEVEL;
	default:
		return 0;
	}
}

/* ---- for both clusters ---- */

/* At most: the payload, the flags, the timestamp. */
struct plan {
	struct frame_edit edits[3];
	unsigned count;
	struct writer front;
	uint32_t dropped; /* of the payload */
	uint8_t flags[4];
	uint8_t timestamp[8];
};

static void plan_edit(struct plan *p, uint32_t offset, uint32_t drop, const void *with, uint32_t len)
{
	p->edits[p->count++] = (struct frame_edit){ .offset = offset, .drop = drop, .len = len, .with = with };
}

static void plan_init(struct plan *p, struct arrival *a)
{
	p->count = 0;
	writer_init(&p->front);
	if (!(a->amends & (AMEND_IDS | AMEND_IDS_STRIP)) || !version_has(a->c->version, VERSION_CUSTOM_PAYLOAD))
		return;
	request_id_plan(a, &p->front, &p->dropped, &a->amended.id);
	if (p->front.len > 0)
		plan_edit(p, 0, p->dropped, p->front.data, p->front.len);
}

/* Sets the flag and puts a timestamp behind the serial consistency (native protocol v5, section 4.1.4). */
static void plan_timestamp(struct plan *p, const struct arrival *a, uint32_t flags_offset, uint8_t flags_size,
			   uint32_t offset)
{
	struct timestamps *timestamps = &a->c->worker->proxy->timestamps;

	memcpy(p->flags, a->plain.data + flags_offset, flags_size); /* also those that we do not know */
	p->flags[flags_size - 1] |= QUERY_TIMESTAMP;
	put_u64(p->timestamp, (uint64_t)timestamps_next(timestamps));
	plan_edit(p, flags_offset, flags_size, p->flags, flags_size);
	plan_edit(p, offset, 0, p->timestamp, sizeof(p->timestamp));
}

/* The flag and the field came with v3. */
static bool wants_timestamp(const struct arrival *a, uint8_t allows)
{
	return (a->amends & AMEND_TIMESTAMPS) && (allows & ALLOWS_TIMESTAMP) &&
	       version_has(a->c->version, VERSION_TIMESTAMP);
}

/* False when the frame has been answered; p->count says whether the body is another one now. */
static bool plan_make(struct plan *p, struct arrival *a)
{
	bool ok = true;

	if (p->count > 0)
		ok = arrival_edit(a, p->edits, p->count);
	if (ok && p->front.len > 0) {
		a->offset = a->offset - p->dropped + p->front.len;
		a->plain.flags |= FRAME_CUSTOM_PAYLOAD;
	}
	writer_free(&p->front);
	return ok;
}

static void note_level(struct arrival *a, uint32_t offset, uint8_t allows)
{
	if (!(a->amends & AMEND_LEVELS) || !(allows & ALLOWS_LEVEL))
		return;
	a->amended.consistency_offset = offset;
	a->amended.is_read = allows & ALLOWS_READ_LEVEL;
}

static bool make_for_params(struct arrival *a, const struct query_params *params, uint8_t allows, bool *changed)
{
	struct plan p;

	plan_init(&p, a);
	if (wants_timestamp(a, allows) && !params->has_timestamp)
		plan_timestamp(&p, a, params->flags_offset, params->flags_size, params->timestamp_offset);
	*changed = p.count > 0;
	return plan_make(&p, a);
}

/* What was read before has been read again, from the changed body; had that failed, we would have broken it. */
static bool read_again(struct arrival *a, bool is_read, const char *why)
{
	if (!is_read)
		arrival_refuse(a, why);
	return is_read;
}

bool amend_query(struct arrival *a, struct query_message *m, uint8_t allows)
{
	const char *why = NULL;
	bool changed;

	if (!make_for_params(a, &m->params, allows, &changed))
		return false;
	if (changed &&
	    !read_again(a, message_parse_query(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why))
		return false;
	note_level(a, m->params.consistency_offset, allows);
	return true;
}

bool amend_execute(struct arrival *a, struct execute_message *m, uint8_t allows)
{
	const char *why = NULL;
	bool changed;

	if (!make_for_params(a, &m->params, allows, &changed))
		return false;
	if (changed &&
	    !read_again(a, message_parse_execute(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why))
		return false;
	note_level(a, m->params.consistency_offset, allows);
	return true;
}

bool amend_prepare(struct arrival *a, struct prepare_message *m)
{
	const char *why = NULL;
	struct plan p;

	plan_init(&p, a);
	return plan_make(&p, a) &&
	       (p.count == 0 ||
		read_again(a, message_parse_prepare(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why),
			   why));
}

bool amend_batch(struct arrival *a, struct batch_message *m, uint8_t allows)
{
	const char *why = NULL;
	struct plan p;

	plan_init(&p, a);
	if (wants_timestamp(a, allows) && !m->has_timestamp && m->type != BATCH_COUNTER)
		plan_timestamp(&p, a, m->flags_offset, m->flags_size, m->timestamp_offset);
	if (!plan_make(&p, a))
		return false;
	if (p.count > 0 &&
	    !read_again(a, message_parse_batch(a->plain.data, a->plain.len, a->offset, a->c->version, m, &why), why))
		return false;
	note_level(a, m->consistency_offset, ALLOWS_WRITE_LEVEL);
	return true;
}

/* ---- for each cluster its own ---- */

void amend_request(const struct arrival *a, struct request *rq)
{
	rq->consistency_offset = a->amended.consistency_offset;
	rq->consistency_of_read = a->amended.is_read;
	if (a->amended.id.len > 0)
		request_id_follow(rq, a->amended.id);
}

uint16_t amend_level(const struct request *rq, unsigned cluster)
{
	const struct cluster_settings *settings = &rq->client->worker->settings->cluster[cluster];
	const struct level_map *map = rq->consistency_of_read ? &settings->read_consistency
							      : &settings->write_consistency;
	const uint16_t level = get_u16(rq->data + rq->consistency_offset);

	if (rq->has_routes_level)
		return rq->consistency;
	return map->is_set && level < SETTINGS_LEVELS ? map->to[level] : level;
}
