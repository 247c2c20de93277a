/* route_extras.c - see route_extras.h */
#include "proxy/route_extras.h"

#include "base/log.h"
#include "proxy/counters.h"
#include "proxy/policy.h"
#include "proxy/request.h"

struct timeout_queue *route_timeouts_get(struct route_timeouts *t, struct loop *loop, uint32_t ms,
					 void (*on_timeout)(struct timeout_item *))
{
	const uint64_t duration_ns = ms_to_ns(ms);
	struct timeout_queue *empty = NULL, *longer = NULL;

	for (unsigned i = 0; i < t->count; i++) {
		struct timeout_queue *q = &t->queues[i];

		if (q->duration_ns == duration_ns)
			return q;
		if (list_is_empty(&q->items))
			empty = q;
		else if (q->duration_ns > duration_ns && (!longer || q->duration_ns < longer->duration_ns))
			longer = q;
	}
	if (empty) {
		timeout_queue_set_duration(loop, empty, ms);
		return empty;
	}
	if (t->count == ROUTE_TIMEOUTS_MAX)
		return longer;
	timeout_queue_init(loop, &t->queues[t->count], ms, on_timeout);
	return &t->queues[t->count++];
}

uint64_t route_timeouts_longest_ns(const struct route_timeouts *t)
{
	uint64_t longest = 0;

	for (unsigned i = 0; i < t->count; i++) {
		if (!list_is_empty(&t->queues[i].items))
			longest = MAX(longest, t->queues[i].duration_ns);
	}
	return longest;
}

static struct timeout_queue *queue_for(struct request *rq, uint32_t ms)
{
	struct worker *worker = rq->client->worker;
	struct timeout_queue *q = route_timeouts_get(&worker->route_timeouts, &worker->loop, ms, request_on_timeout);

	if (likely(q && q->duration_ns == ms_to_ns(ms))) {
		rq->timeout_ms = ms;
		return q;
	}
	log_limited(LOG_WARN, "routes have more than %d different time-outs at the same time: %u ms became longer",
		    ROUTE_TIMEOUTS_MAX, ms);
	if (!q)
		return &worker->request_timeouts;
	rq->timeout_ms = (uint32_t)(q->duration_ns / ms_to_ns(1));
	return q;
}

static bool is_serial(uint16_t level)
{
	return level == CL_SERIAL || level == CL_LOCAL_SERIAL;
}

void route_extras_start(struct request *rq, uint32_t consistency_offset)
{
	const struct policy_route *route = rq->verdict.route;
	struct worker *worker = rq->client->worker;
	struct timeout_queue *queue = &worker->request_timeouts;

	rq->verdict.route = NULL;
	/* A serial level asks for another kind of read; a weaker one in its place would break what the client relies on. */
	if (route->consistency != POLICY_KEEP_LEVEL && !is_serial(rq->consistency)) {
		rq->consistency = route->consistency;
		rq->consistency_offset = consistency_offset;
		rq->has_routes_level = true;
	}
	if (route->timeout_ms)
		queue = queue_for(rq, route->timeout_ms);
	if (route->tag) {
		rq->tag = route->tag;
		rq->tag_name = route->tag_name;
		counters_add(worker->proxy->counters, worker->index, route->tag, 1);
	}
	request_start_within(rq, queue);
}

struct timeout_queue *route_extras_queue(const struct request *rq)
{
	struct worker *worker = rq->client->worker;
	struct timeout_queue *q = NULL;

	if (likely(rq->timeout_ms == 0))
		return &worker->request_timeouts;
	q = route_timeouts_get(&worker->route_timeouts, &worker->loop, rq->timeout_ms, request_on_timeout);
	return q ? q : &worker->request_timeouts;
}
