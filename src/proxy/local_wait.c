/* local_wait.c - see local_wait.h */
#include "proxy/local_wait.h"

#include "proxy/local_trace.h"
#include "proxy/request.h"
#include "proxy/virtual_values.h"

/* Less than any driver of today allows for such a question (Python's 2 s); gossip needs about as long. */
#define WAIT_MS 1000

static bool is_settled(struct worker *w)
{
	struct proxy *proxy = w->proxy;
	bool settled = true;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct topology *t = cluster_topology(&proxy->clusters[i]);

		settled &= schema_state_is_settled(&proxy->schema, (enum cluster_id)i, t, loop_now(&w->loop));
		topology_unref(t);
	}
	return settled;
}

bool local_wait_begin(struct arrival *a, const struct virtual_query *q, struct prepared_ref *ref)
{
	struct worker *w = a->c->worker;
	struct request *rq;

	if (a->is_late || w->settings->profile == PROFILE_ZDM || virtual_node_count(w->settings) > 1 ||
	    !virtual_query_names_schema_version(q) || is_settled(w))
		return false;
	rq = request_new(a->c, a->f, &a->plain);
	if (!rq)
		return true;
	rq->is_local = true;
	if (ref) {
		ref->refs++;
		rq->prepared = ref;
	}
	list_append(&w->schema_waiters, &rq->legs[0].waiting);
	loop_poll_start(&w->loop, &w->schema_poll);
	return true;
}

/* First come, first served: so the first one's time is over first. */
bool local_wait_poll(struct loop_poll *poll)
{
	struct worker *w = container_of(poll, struct worker, schema_poll);
	const bool settled = is_settled(w);

	while (!list_is_empty(&w->schema_waiters)) {
		struct request_leg *leg = list_entry(w->schema_waiters.next, struct request_leg, waiting);

		if (!settled && loop_now(&w->loop) < leg->request->started_ns + WAIT_MS * UINT64_C(1000000))
			return true;
		list_remove(&leg->waiting);
		local_answer_late(leg->request, NULL);
	}
	return false;
}
