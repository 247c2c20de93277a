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

static void plan_edits(const struct request *rq, unsigned cluster, struct leg_edits *e)
{
	e->count = 0;
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

static ALWAYS_INLINE void build(const struct request *rq, unsigned cluster, enum cql_compression compression,
				struct forward_frame *out)
{
	plan_edits(rq, cluster, &out->edits);
	out->flags = rq->flags;
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

static __attribute__((noinline)) bool send_edited(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;
	struct forward_frame f;

	build(rq, leg->cluster, (enum cql_compression)s->compression, &f);
	return server_send(s, &leg->leg, rq->opcode, f.flags, f.pieces, f.count, f.length);
}

/*
 * Nothing but the prepared id may have to change, and that by one of Cassandra's length. Fills in what is put in its
 * place: always, since that costs less than the look whether it must be.
 */
static ALWAYS_INLINE bool is_plain(const struct request *rq, unsigned cluster, struct server_id *id)
{
	const struct prepared *entry;

	id->bytes = NULL;
	id->offset = rq->id_offset;
	if (unlikely((rq->consistency_offset | rq->paging_offset) != 0 || rq->packed))
		return false;
	if (!rq->prepared)
		return true;
	entry = rq->prepared->entry;
	id->bytes = entry->id[cluster].bytes;
	return likely(entry->id[cluster].len == SERVER_ID_LEN &&
		      get_u16(rq->data + rq->id_offset - 2) == SERVER_ID_LEN) &&
	       (!rq->flags_offset || (entry->may_skip & 1u << cluster));
}

static ALWAYS_INLINE bool send_plainly(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;
	const struct wire_piece body = { .data = rq->data, .len = rq->len, .chunk = rq->body };
	struct server_id id;

	if (unlikely(!is_plain(rq, leg->cluster, &id)))
		return send_edited(leg, s);
	return server_send_copy(s, &leg->leg, rq->opcode, rq->flags, &body, &id);
}

/* The children of a BATCH, one after the other, with what their prepared ids stand for on one cluster. */
struct children {
	const struct request *rq;
	unsigned cluster;
	uint32_t offset;
	unsigned left;
	struct prepared_last last;
	struct batch_child child;
	const struct prepared_id *id; /* of the child, on the cluster */
};

static bool children_begin(struct children *c, const struct request *rq, unsigned cluster)
{
	*c = (struct children){ .rq = rq, .cluster = cluster };
	return message_batch_begin(rq->data, rq->len, rq->flags, &c->offset, &c->left);
}

/*
 * To the next child whose id may have to be changed. Not to one that was evicted since the batch was checked, or
 * prepared anew on the other cluster: the node will say UNPREPARED.
 */
static bool children_next(struct children *c)
{
	const struct prepared_ref *ref;

	for (; c->left > 0; c->left--) {
		if (!message_batch_child(c->rq->data, c->rq->len, &c->offset, &c->child))
			return false;
		if (!c->child.is_prepared)
			continue;
		ref = prepared_find_again(&c->rq->client->worker->prepared, c->child.id, &c->last);
		if (!ref || ref->entry->id[c->cluster].len == 0)
			continue;
		c->id = &ref->entry->id[c->cluster];
		c->left--;
		return true;
	}
	return false;
}

static void children_end(struct children *c)
{
	prepared_last_release(&c->last);
}

enum batch_ids {
	BATCH_AS_IT_CAME, /* its ids are those of the cluster */
	BATCH_CHANGED,
	BATCH_OF_OTHER_LENGTH, /* ids differ in length, which they only do between kinds of servers */
	BATCH_NO_MEMORY,
};

/* A copy of the body, made for the first id that differs, which gets the ids of a cluster in place. */
static enum batch_ids change_ids(const struct request *rq, unsigned cluster, struct chunk **copy)
{
	enum batch_ids result = BATCH_AS_IT_CAME;
	struct children c;

	*copy = NULL;
	if (!children_begin(&c, rq, cluster))
		return result;
	while (children_next(&c)) {
		if (unlikely(c.id->len != c.child.id.len)) {
			result = BATCH_OF_OTHER_LENGTH;
			break;
		}
		if (memcmp(c.id->bytes, c.child.id.p, c.id->len) == 0)
			continue;
		if (!*copy) {
			*copy = chunk_try_new(&rq->client->worker->loop.chunks, rq->len);
			result = *copy ? BATCH_CHANGED : BATCH_NO_MEMORY;
			if (!*copy)
				break;
			memcpy((*copy)->data, rq->data, rq->len);
		}
		memcpy((*copy)->data + c.child.id_offset, c.id->bytes, c.id->len);
	}
	children_end(&c);
	return result;
}

/* The same where the body becomes longer or shorter. */
static void rewrite_ids(const struct request *rq, unsigned cluster, struct writer *w)
{
	struct children c;
	uint32_t at = 0;

	if (children_begin(&c, rq, cluster)) {
		while (children_next(&c)) {
			write_raw(w, rq->data + at, c.child.id_offset - 2 - at);
			write_short_bytes(w, c.id->bytes, c.id->len);
			at = c.child.id_offset + c.child.id.len;
		}
		children_end(&c);
	}
	write_raw(w, rq->data + at, rq->len - at);
}

/* It stands behind the children: as far from the end as in the original. */
static void put_level(const struct request *rq, unsigned cluster, uint8_t *body, uint32_t len)
{
	if (unlikely(rq->consistency_offset))
		put_u16(body + len - (rq->len - rq->consistency_offset), amend_level(rq, cluster));
}

/* The body of a BATCH with the ids of one cluster. */
static bool send_batch(struct request_leg *leg, struct server *s)
{
	struct request *rq = leg->request;
	struct wire_piece piece;
	struct chunk *copy;
	struct writer w;
	bool ok = false;

	switch (change_ids(rq, leg->cluster, &copy)) {
	case BATCH_AS_IT_CAME:
		return send_plainly(leg, s);
	case BATCH_CHANGED:
		put_level(rq, leg->cluster, copy->data, rq->len);
		piece = (struct wire_piece){ .data = copy->data, .len = rq->len, .chunk = copy };
		ok = server_send(s, &leg->leg, rq->opcode, rq->flags, &piece, 1, rq->len);
		break;
	case BATCH_OF_OTHER_LENGTH:
		writer_init(&w);
		rewrite_ids(rq, leg->cluster, &w);
		put_level(rq, leg->cluster, w.data, w.len);
		ok = server_send_body(s, &leg->leg, rq->opcode, rq->flags, w.data, w.len);
		writer_free(&w);
		break;
	case BATCH_NO_MEMORY:
		break;
	}
	if (copy)
		chunk_unref(copy);
	return ok;
}

static __attribute__((noinline)) bool send_specially(struct request_leg *leg, struct server *s)
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
