/* prepare.c - see prepare.h */
#include "proxy/prepare.h"

#include <string.h>

#include "base/log.h"
#include "proxy/amend.h"
#include "proxy/local.h"

void prepare_dispatch(struct arrival *a)
{
	struct client *c = a->c;
	struct statement_facts facts;
	struct prepare_message m;
	struct strview keyspace;
	struct verdict verdict;
	struct request *rq;
	const char *why;

	if (!message_parse_prepare(a->plain.data, a->plain.len, a->offset, c->version, &m, &why)) {
		arrival_refuse(a, why);
		return;
	}
	keyspace = m.keyspace.len > 0 ? m.keyspace : client_keyspace(c);
	statement_scan(m.text, &facts);
	verdict = route_statement(c->worker->settings, &facts, keyspace);
	if (verdict.to == 0) {
		local_prepare(a, &verdict, m.text, keyspace);
		return;
	}
	if (unlikely(a->amends) && !amend_prepare(a, &m))
		return;
	rq = request_new(c, a->f, &a->plain);
	if (!rq)
		return;
	rq->verdict = route_both(c->worker->settings, CLASS_CONTROL, WRITE_SIMPLE);
	if (unlikely(a->amends))
		amend_request(a, rq);
	request_start(rq);
}

/* ---- the answers ---- */

struct opened_prepared {
	struct plain plain;
	struct prepared_message message;
};

static bool open_prepared(struct request *rq, unsigned cluster, const struct frame *f, struct opened_prepared *o)
{
	struct client *c = rq->client;
	uint32_t offset = 0;
	const char *why;

	if (!plain_open(&o->plain, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why))
		return false;
	if (message_skip_preamble(o->plain.data, o->plain.len, o->plain.flags, true, &offset, &why) &&
	    message_parse_prepared(o->plain.data, o->plain.len, offset, f->version, &o->message, &why) &&
	    o->message.id.len > 0 && o->message.id.len <= PREPARED_ID_MAX)
		return true;
	plain_close(&o->plain);
	return false;
}

static bool bytes_equal(struct bytesview a, struct bytesview b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static enum bound_counter bound_counter(const struct client *c, const struct prepared_message *origin,
					const struct prepared_message *target)
{
	return message_prepared_binds(origin, c->version, TYPE_COUNTER) ||
			       message_prepared_binds(target, c->version, TYPE_COUNTER)
		       ? BOUND_COUNTER
		       : BOUND_NONE;
}

static void enter(struct request *rq, const struct opened_prepared answers[CLUSTER_COUNT])
{
	struct client *c = rq->client;
	struct worker *worker = c->worker;
	const struct prepared_message *origin = &answers[CLUSTER_ORIGIN].message;
	const struct prepared_message *target = &answers[CLUSTER_TARGET].message;
	struct statement_facts facts;
	struct prepare_message m;
	struct prepared *entry, *known;
	struct strview keyspace;
	uint32_t offset = 0;
	const char *why;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_prepare(rq->data, rq->len, offset, c->version, &m, &why))
		return;
	keyspace = m.keyspace.len > 0 ? m.keyspace : client_keyspace(c);
	statement_scan(m.text, &facts);
	entry = prepared_new(m.text, keyspace);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		memcpy(entry->id[i].bytes, answers[i].message.id.p, answers[i].message.id.len);
		entry->id[i].len = (uint8_t)answers[i].message.id.len;
	}
	entry->is_qualified = facts.is_qualified;
	entry->verdict = route_statement(worker->settings, &facts, keyspace);
	entry->allows = amend_allows(m.text, &facts, keyspace, bound_counter(c, origin, target), worker->proxy->amends);
	entry->results_equal = bytes_equal(origin->result_spec, target->result_spec);
	known = prepared_find_on(&worker->proxy->prepared, CLUSTER_ORIGIN, origin->id);
	if (known) {
		prepared_unref(known); /* and said */
	} else if (!bytes_equal(origin->bind_spec, target->bind_spec)) {
		metric_add(&worker->metrics.bind_mismatches, 1);
		log_limited(LOG_WARN, "the bind variables of a statement differ between origin and target: %.*s",
			    (int)MIN(m.text.len, 200), m.text.p);
	}
	prepared_insert(&worker->proxy->prepared, entry);
}

void prepare_note_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT])
{
	struct opened_prepared o[CLUSTER_COUNT];
	unsigned opened = 0;

	while (opened < CLUSTER_COUNT && open_prepared(rq, opened, &answers[opened], &o[opened]))
		opened++;
	if (opened == CLUSTER_COUNT)
		enter(rq, o);
	else
		log_limited(LOG_WARN, "%s answered PREPARE with a result that cannot be read; EXECUTE will be refused",
			    cluster_id_name((enum cluster_id)opened));
	while (opened > 0)
		plain_close(&o[--opened].plain);
}
