/* request_id.c - see request_id.h */
#include "proxy/request_id.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "cql/payload.h"
#include "proxy/amend.h"
#include "proxy/answer.h"
#include "proxy/arrival.h"
#include "proxy/request.h"

#define NS_PER_S 1000000000ull
#define UUID_LEN 16
/* Bytes of an id that the log shows; a client's own may be of any length. */
#define SHOWN_LEN 64

/* ---- the rate ---- */

static uint64_t interval_of(uint32_t per_second)
{
	return per_second > 0 ? NS_PER_S / per_second : 0;
}

void request_ids_init(struct request_ids *ids, uint32_t per_second)
{
	atomic_init(&ids->interval_ns, interval_of(per_second));
	atomic_init(&ids->due_ns, 0);
}

void request_ids_set_rate(struct request_ids *ids, uint32_t per_second)
{
	atomic_store_explicit(&ids->interval_ns, interval_of(per_second), memory_order_relaxed);
}

/*
 * The bucket is kept as the moment when it will be full again: each id moves
 * that moment on by an interval, and an empty bucket is one second from full.
 */
bool request_ids_take(struct request_ids *ids, uint64_t now_ns)
{
	const uint64_t interval = atomic_load_explicit(&ids->interval_ns, memory_order_relaxed);
	uint64_t due, next;

	if (interval == 0)
		return true;
	due = atomic_load_explicit(&ids->due_ns, memory_order_relaxed);
	do {
		next = MAX(due, now_ns) + interval;
		if (next - now_ns > NS_PER_S)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&ids->due_ns, &due, next, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

/* ---- the payload ---- */

/* Random bytes come from the kernel 16 ids at a time; so few are given whole, whatever signals come (getrandom(2)). */
static void write_uuid(struct writer *w)
{
	static _Thread_local uint8_t pool[16 * UUID_LEN];
	static _Thread_local unsigned left;
	uint8_t *uuid = writer_reserve(w, UUID_LEN);

	if (left == 0) {
		if (getrandom(pool, sizeof(pool), 0) != (ssize_t)sizeof(pool))
			abort(); /* a kernel without random bytes does not run TLS either */
		left = sizeof(pool);
	}
	left -= UUID_LEN;
	memcpy(uuid, pool + left, UUID_LEN);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4, RFC 4122 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* A new entry stands in front of the others, behind their number. */
static void add(const struct payload_entry *e, struct strview key, struct writer *front, struct request_id_place *place)
{
	write_short(front, (uint16_t)(e->count + 1));
	write_string(front, key);
	write_int(front, UUID_LEN);
	place->offset = front->len;
	place->len = UUID_LEN;
	write_uuid(front);
}

void request_id_plan(const struct arrival *a, struct writer *front, uint32_t *drop, struct request_id_place *place)
{
	struct worker *worker = a->c->worker;
	const struct strview key = sv_from(worker->settings->tracing_request_id_key);
	const bool has_payload = a->plain.flags & FRAME_CUSTOM_PAYLOAD;
	struct payload_entry e = { .found = 0 };

	*place = (struct request_id_place){ 0, 0 };
	*drop = 0;
	if (has_payload && !payload_find(a->plain.data, a->offset, key, &e))
		return; /* it was read before, so this is not reached */
	if ((a->amends & AMEND_IDS) && request_ids_take(&worker->proxy->request_ids, loop_now(&worker->loop))) {
		if (e.found > 0) {
			*place = (struct request_id_place){ e.value_offset, e.value.len };
		} else if (e.count < UINT16_MAX) {
			*drop = has_payload ? sizeof(uint16_t) : 0;
			add(&e, key, front, place);
		}
	} else if (e.found > 0) {
		*drop = a->offset;
		payload_write_without(a->plain.data, a->offset, key, front);
	}
}

/* ---- the log ---- */

static const char *shown(const struct request *rq, char text[2 * SHOWN_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	const uint32_t len = MIN(rq->request_id.len, SHOWN_LEN);
	const uint8_t *id = rq->data + rq->request_id.offset;

	for (uint32_t i = 0; i < len; i++) {
		text[2 * i] = digits[id[i] >> 4];
		text[2 * i + 1] = digits[id[i] & 15];
	}
	text[2 * (size_t)len] = '\0';
	return text;
}

static void on_answer(struct leg *l, struct frame *f)
{
	const struct request_leg *leg = container_of(l, struct request_leg, leg);
	const struct request *rq = leg->request;
	char id[2 * SHOWN_LEN + 1];

	log_info("request id %s: %s at %s has answered %s on stream %d with %s", shown(rq, id),
		 cluster_id_name((enum cluster_id)leg->cluster), request_node_name(rq, leg->cluster),
		 cql_opcode_name(rq->opcode), rq->stream, cql_opcode_name(f->opcode));
	answer_on_leg(l, f);
}

static const struct leg_ops followed_leg_ops = {
	.on_answer = on_answer,
	.on_lost = request_leg_on_lost,
};

void request_id_follow(struct request *rq, struct request_id_place place)
{
	char id[2 * SHOWN_LEN + 1];

	rq->request_id = place;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		rq->legs[i].leg.ops = &followed_leg_ops;
	log_info("request id %s: %s on stream %d of %s goes to %s", shown(rq, id), cql_opcode_name(rq->opcode),
		 rq->stream, rq->client->name,
		 rq->verdict.to == TO_BOTH
			 ? "both"
			 : cluster_id_name(rq->verdict.to == TO_ORIGIN ? CLUSTER_ORIGIN : CLUSTER_TARGET));
}
