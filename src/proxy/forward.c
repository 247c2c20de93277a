/* forward.c - see forward.h */
#include "proxy/forward.h"

#include <string.h>

#include "proxy/amend.h"
#include "proxy/demand.h"
#include "proxy/local_trace.h"
#include "proxy/reply.h"

static void add_edit(struct leg_edits *e, uint32_t offset, uint32_t drop, const void *with, uint32_t len)
{
	Assert(e->count < FORWARD_MAX_EDITS);
	e->edits[e->count++] = (struct frame_edit){ .offset = offset, .drop = drop, .len = len, .with = with };
}

/*
 * A body of the request's own gets the id of the leg that is sent now: what is
 * in there is compared anew for each leg, and one piece is cheaper than three.
 * Not where others may look at it: its compressed form, plugins.
 */
static ALWAYS_INLINE void settle_id(struct request *rq, unsigned cluster)
{
	const struct prepared_id *id = &rq->prepared->entry->id[cluster];

	if (likely(rq->data == rq->small_body && !rq->packed && !rq->client->worker->hooked) &&
	    likely(get_u16(rq->data + rq->id_offset - 2) == id->len && id->len == 16))
		memcpy(rq->data + rq->id_offset, id->bytes, 16);
}

static void plan_id(const struct request *rq, unsigned cluster, struct leg_edits *e)
{
	const struct prepared *entry = rq->prepared->entry;
	const struct prepared_id *id = &entry->id[cluster];
	const uint32_t old_len = get_u16(rq->data + rq->id_offset - 2);

	if (old_len != id->len) {
		put_u16(e->id_len, id->len);
		add_edit(e, rq->id_offset - 2, 2, e->id_len, 2);
	}
	if (old_len != id->len || !prepared_id_same(rq->data + rq->id_offset, id->bytes, id->len))
		add_edit(e, rq->id_offset, old_len, id->bytes, id->len);
}

static void plan_level(const struct request *rq, unsigned cluster, struct leg_edits *e)
{
	put_u16(e->level, amend_level(rq, cluster));
	if (memcmp(rq->data + rq->consistency_offset, e->level, sizeof(e->level)) != 0)
		add_edit(e, rq->consistency_offset, sizeof(e->level), e->level, sizeof(e->level));
}

/* A node may only leave out its result columns when they are those that the client holds. */
static void plan_flags(const struct request *rq, unsigned cluster, struct leg_edits *e)
{
	if (rq->flags_offset && !(rq->prepared->entry->may_skip & 1u << cluster)) {
		e->query_flags = rq->data[rq->flags_offset] & (uint8_t)~QUERY_SKIP_METADATA;
		add_edit(e, rq->flags_offset, 1, &e->query_flags, 1);
	}
}

/* Nothing has to change, as for most: found out without a list. */
static ALWAYS_INLINE bool is_as_it_came(const struct request *rq, unsigned cluster)
{
	const struct prepared *entry;

	if (unlikely(rq->consistency_offset | rq->paging_offset))
		return false;
	if (!rq->prepared)
		return true;
	entry = rq->prepared->entry;
	return (!rq->flags_offset || (entry->may_skip & 1u << cluster)) &&
	       prepared_id_equal(&entry->id[cluster],
				 (struct bytesview){ .p = rq->data + rq->id_offset,
						     .len = get_u16(rq->data + rq->id_offset - 2) });
}

static void plan_edits(const struct request *rq, unsigned cluster, struct leg_edits *e)
{
	if (rq->prepared)
		plan_id(rq, cluster, e);
	if (unlikely(rq->consistency_offset))
		plan_level(rq, cluster, e);
	if (rq->prepared)
		plan_flags(rq, cluster, e);
	if (rq->paging_offset) {
		const uint32_t len = rq->paging_len - PAGING_MARK_LEN;

		put_u32(e->paging_len, len);
		add_edit(e, rq->paging_offset, 4, e->paging_len, 4);
		add_edit(e, rq->paging_offset + 4 + len, PAGING_MARK_LEN, NULL, 0);
	}
}

/* Copies the body of a BATCH with the ids of one cluster; ids differ in length only between kinds of servers. */
static bool send_batch(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;
	struct worker *worker = rq->client->worker;
	struct batch_message m;
	struct writer w;
	uint32_t offset = 0;
	uint32_t at = 0;
	const char *why;
	bool ok;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_batch(rq->data, rq->len, offset, rq->client->version, &m, &why))
		return false;
	writer_init(&w);
	offset = m.children_offset;
	for (unsigned i = 0; i < m.child_count; i++) {
		struct batch_child child;
		struct prepared_ref *ref;

		if (!message_batch_child(rq->data, rq->len, &offset, &child))
			break;
		if (!child.is_prepared)
			continue;
		ref = prepared_find(&worker->prepared, child.id);
		/* Evicted since the batch was checked, or prepared anew on the other cluster: the node will say UNPREPARED. */
		if (!ref || ref->entry->id[leg->cluster].len == 0) {
			if (ref)
				prepared_release(ref);
			continue;
		}
		write_raw(&w, rq->data + at, child.id_offset - 2 - at);
		write_short_bytes(&w, ref->entry->id[leg->cluster].bytes, ref->entry->id[leg->cluster].len);
		at = child.id_offset + child.id.len;
		prepared_release(ref);
	}
	write_raw(&w, rq->data + at, rq->len - at);
	if (unlikely(rq->consistency_offset)) /* behind the children: as far from the end as in the original */
		put_u16(w.data + w.len - (rq->len - rq->consistency_offset), amend_level(rq, leg->cluster));
	ok = server_send_body(s, &leg->leg, rq->opcode, rq->flags, w.data, w.len);
	writer_free(&w);
	return ok;
}

static ALWAYS_INLINE void build(const struct request *rq, unsigned cluster, enum cql_compression compression,
				struct forward_frame *out)
{
	out->edits.count = 0;
	out->flags = rq->flags;
	if (unlikely(!is_as_it_came(rq, cluster)))
		plan_edits(rq, cluster, &out->edits);
	if (likely(out->edits.count == 0)) {
		const bool packed = rq->packed && compression == rq->client->compression;

		out->pieces[0] = (struct wire_piece){
			.data = packed ? rq->packed_data : rq->data,
			.len = packed ? rq->packed_len : rq->len,
			.chunk = packed ? rq->packed : rq->body,
		};
		out->length = out->pieces[0].len;
		out->count = out->length > 0 ? 1 : 0;
		out->flags |= packed ? FRAME_COMPRESSED : 0;
	} else {
		out->count = wire_edit(rq->data, rq->len, rq->body, out->edits.edits, out->edits.count, out->pieces,
				       &out->length);
	}
}

void forward_build(const struct request *rq, unsigned cluster, enum cql_compression compression,
		   struct forward_frame *out)
{
	build(rq, cluster, compression, out);
}

static ALWAYS_INLINE bool send_plainly(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;
	struct forward_frame f;

	if (rq->prepared)
		settle_id(rq, leg->cluster);
	build(rq, leg->cluster, (enum cql_compression)s->compression, &f);
	return server_send(s, &leg->leg, rq->opcode, f.flags, f.pieces, f.count, f.length);
}

static bool send_specially(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;

	if (rq->is_local)
		return local_trace_send(leg, s);
	if (rq->lacks_ids) {
		const enum demand demand = demand_begin(leg, s);

		if (demand != DEMAND_NONE)
			return demand == DEMAND_BEGUN;
	}
	return rq->has_prepared_children ? send_batch(leg, s) : send_plainly(leg, s);
}

bool forward_leg(struct request_leg *leg, struct server *s)
{
	const struct request *rq = leg->request;

	if (unlikely(!s || !server_has_room(s)))
		return false;
	leg->node = s->stats;
	if (unlikely(rq->has_prepared_children | rq->is_local | rq->lacks_ids))
		return send_specially(leg, s);
	return send_plainly(leg, s);
}
