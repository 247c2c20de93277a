/* demand.c - see demand.h */
#include "proxy/demand.h"

#include "proxy/repair.h"

/* The first child that this cluster has no id for; held for the caller. NULL: there is none. */
static struct prepared_ref *lacking_child(const struct request *rq, unsigned cluster)
{
	struct batch_message m;
	uint32_t offset = 0;
	const char *why;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_batch(rq->data, rq->len, offset, rq->client->version, &m, &why))
		return NULL;
	offset = m.children_offset;
	for (unsigned i = 0; i < m.child_count; i++) {
		struct prepared_ref *ref;
		struct batch_child child;

		if (!message_batch_child(rq->data, rq->len, &offset, &child))
			break;
		ref = child.is_prepared ? prepared_find(&rq->client->worker->prepared, child.id) : NULL;
		if (ref && ref->entry->id[cluster].len == 0)
			return ref;
		if (ref)
			prepared_release(ref);
	}
	return NULL;
}

static struct prepared_ref *lacking(const struct request *rq, unsigned cluster)
{
	if (rq->opcode == OP_BATCH)
		return lacking_child(rq, cluster);
	return rq->prepared->entry->id[cluster].len == 0 ? prepared_ref_hold(rq->prepared) : NULL;
}

enum demand demand_begin(struct request_leg *leg, const struct server *s)
{
	struct prepared_ref *ref = lacking(leg->request, leg->cluster);

	if (!ref)
		return DEMAND_NONE;
	if (leg->repairs_left == 0) {
		prepared_release(ref);
		return DEMAND_IS_VAIN;
	}
	leg->repairs_left--;
	repair_start(leg, ref->entry, &s->address, REPAIR_NEW);
	prepared_release(ref);
	return DEMAND_BEGUN;
}
