/*
 * repair.c - see repair.h
 *
 * Where the PREPARE goes:
 *
 *   the statement was prepared     the request's connection is in    PREPARE is sent
 *   in keyspace K, protocol v5     any                               on it, with the keyspace in the frame
 *   in K                           K                                 on it
 *   in none                        none                              on it
 *   otherwise                                                        on a connection made for it: STARTUP, log-in,
 *                                                                    USE "K" (if K), PREPARE
 */
#include "proxy/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/deliver.h"
#include "proxy/extra.h"
#include "proxy/pool_pick.h"
#include "proxy/reply.h"

enum repair_step {
	STEP_QUEUED, /* too many others are at this host */
	STEP_WAIT,   /* another worker is at it */
	STEP_EXTRA,  /* a connection is made for it */
	STEP_PREPARE,
};

struct repair {
	struct list node_list; /* on worker->repairs */
	struct list waiters;
	struct timeout_item timeout;
	struct worker *worker;
	struct prepared *entry; /* one reference */
	struct flight_key key;
	struct leg leg;
	const struct server *via; /* the client's connection that the PREPARE went out on, or NULL */
	struct extra extra;       /* the connection made for this repair */
	struct node_stats *node;
	struct loop_task start;
	bool is_counted; /* in node->preparing */
	bool owns_flight;
	bool is_prepared; /* how it ended */
	uint8_t version;
	uint8_t compression; /* of the connection in use */
	uint8_t step;        /* enum repair_step, of what is under way */
};

static const struct leg_ops repair_leg_ops;
static const struct extra_handler repair_extra_handler;

static void begin(struct repair *r);

/* The next one that had to wait for its turn at this host. */
static void begin_queued(struct worker *worker, const struct node_stats *node)
{
	list_for_each_safe(pos, tmp, &worker->repairs) {
		struct repair *r = list_entry(pos, struct repair, node_list);

		if (r->step != STEP_QUEUED || r->node != node || !list_is_empty(&r->start.node))
			continue;
		loop_task_start(&worker->loop, &r->start);
		return;
	}
}

static void repair_free(struct repair *r)
{
	struct worker *worker = r->worker;
	const struct node_stats *node = r->node;
	/* One that was to begin, and does not, passes its turn on. */
	const bool has_turn = r->is_counted || r->step == STEP_QUEUED;

	if (r->is_counted)
		r->node->preparing--;
	loop_task_stop(&r->start);
	timeout_stop(&r->timeout);
	leg_abandon(&r->leg);
	if (r->owns_flight)
		flight_land(&r->worker->proxy->repairs, &r->key, r->is_prepared);
	extra_close(&r->extra, "the repair is over");
	list_remove(&r->node_list);
	prepared_unref(r->entry);
	free(r);
	if (has_turn)
		begin_queued(worker, node);
}

/* Ends the repair; `r` is freed, then every waiter is told. */
static void conclude(struct repair *r, void (*tell)(struct request_leg *, void *), void *arg)
{
	struct list waiters;
	struct list *node;

	list_init(&waiters);
	list_splice(&waiters, &r->waiters);
	repair_free(r);
	while ((node = list_pop(&waiters)))
		tell(list_entry(node, struct request_leg, waiting), arg);
}

/* On shared connections the leg can go to another node: it has not been executed here. */
static void tell_hopeless(struct request_leg *leg, void *arg)
{
	if (client_is_pooled(leg->request->client) && leg->repairs_left > 0) {
		leg->repairs_left--;
		deliver_prepared(leg, NULL);
	} else {
		request_leg_hopeless(leg, arg);
	}
}

/* Waiters may speak other versions than the one whose connection was used. */
static void tell_refused(struct request_leg *leg, void *arg)
{
	struct frame f = *(const struct frame *)arg;

	f.version = leg->request->client->version;
	request_leg_refused(leg, &f);
}

/* The cluster has not got the keyspace that the statement was prepared in. */
static void tell_rejected(struct request_leg *leg, void *arg)
{
	const struct extra_failure *failure = arg;

	request_leg_rejected(leg, failure->error_code, failure->message);
}

struct prepared_there {
	struct net_address host;
	bool changed;
};

static void tell_prepared(struct request_leg *leg, void *arg)
{
	const struct prepared_there *p = arg;

	request_leg_resend(leg, &p->host, p->changed);
}

static void conclude_prepared(struct repair *r, bool changed)
{
	struct prepared_there p = { .host = r->key.host, .changed = changed };

	conclude(r, tell_prepared, &p);
}

/* The entry that stands for the statement now has it there. */
static void note_node(struct repair *r)
{
	struct prepared *now =
		prepared_find_on(&r->worker->proxy->prepared, PREPARED_CLIENT, prepared_client_id(r->entry));

	prepared_note_on(r->entry, r->key.cluster, r->node->node->index);
	if (!now)
		return;
	prepared_note_on(now, r->key.cluster, r->node->node->index);
	prepared_unref(now);
}

static void give_up(struct repair *r, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "%s", why); /* `why` may die with the connection */
	conclude(r, tell_hopeless, text);
}

/* ---- the PREPARE ---- */

void repair_write_prepare(struct writer *w, const struct prepared *p, uint8_t version)
{
	write_long_string(w, (struct strview){ p->text, p->text_len });
	if (version_has(version, VERSION_KEYSPACE)) {
		write_int(w, p->keyspace ? 0x01 : 0); /* native protocol v5, section 4.1.5: with keyspace */
		if (p->keyspace)
			write_cstring(w, p->keyspace);
	}
}

static void send_prepare(struct repair *r, struct server *s)
{
	struct writer w;
	bool sent;

	writer_init(&w);
	repair_write_prepare(&w, r->entry, r->version);
	r->step = STEP_PREPARE;
	sent = server_send_body(s, &r->leg, OP_PREPARE, 0, w.data, w.len);
	writer_free(&w);
	if (!sent)
		give_up(r, "no stream id is left for PREPARE");
}

bool repair_note_prepared(struct worker *worker, const struct prepared *p, enum cluster_id cluster,
			  enum cql_compression compression, const struct frame *f, bool *changed, const char **why)
{
	struct prepared_message m;
	uint32_t offset = 0;
	struct plain plain;
	const char *field;

	if (!plain_open(&plain, &worker->loop, compression, f, UINT32_MAX, why))
		return false;
	if (!message_skip_preamble(plain.data, plain.len, plain.flags, true, &offset, &field) ||
	    !message_parse_prepared(plain.data, plain.len, offset, f->version, &m, &field) || m.id.len == 0 ||
	    m.id.len > PREPARED_ID_MAX) {
		plain_close(&plain);
		*why = "its answer to PREPARE cannot be read";
		return false;
	}
	metric_add(&worker->metrics.prepared_repaired[cluster], 1);
	*changed = !prepared_id_equal(&p->id[cluster], m.id);
	if (*changed)
		prepared_change_id(&worker->proxy->prepared, p, cluster, m.id, m.result_spec);
	plain_close(&plain);
	return true;
}

/* The node has prepared it. */
static void prepared_again(struct repair *r, const struct frame *f)
{
	const char *why;
	bool changed;

	if (!repair_note_prepared(r->worker, r->entry, r->key.cluster, (enum cql_compression)r->compression, f,
				  &changed, &why)) {
		give_up(r, why);
		return;
	}
	r->is_prepared = true;
	note_node(r);
	conclude_prepared(r, changed);
}

/* The node's error is each waiter's answer: uncompressed, since each has a compression of its own. */
static void refused(struct repair *r, const struct frame *f)
{
	struct frame opened;
	struct plain plain;
	const char *why;

	if (!plain_open(&plain, &r->worker->loop, (enum cql_compression)r->compression, f, UINT32_MAX, &why)) {
		give_up(r, why);
		return;
	}
	opened = plain_frame(&plain, f);
	conclude(r, tell_refused, &opened);
	plain_close(&plain);
}

static void repair_on_answer(struct leg *leg, struct frame *f)
{
	struct repair *r = container_of(leg, struct repair, leg);

	if (f->opcode == OP_ERROR)
		refused(r, f);
	else
		prepared_again(r, f);
}

/* ---- starting ---- */

static bool is_in_keyspace(const struct prepared *p, const struct server *s)
{
	if (version_has(s->version, VERSION_KEYSPACE) && p->keyspace)
		return true;
	if (!p->keyspace || !s->keyspace)
		return !p->keyspace && !s->keyspace;
	return strcmp(p->keyspace, s->keyspace) == 0;
}

static void open_extra(struct repair *r, const struct client *c)
{
	const struct extra_options options = {
		.worker = r->worker,
		.cluster = r->key.cluster,
		.address = &r->key.host,
		.version = r->version,
		.compression = (enum cql_compression)r->compression,
		.credentials = client_credentials(c, r->key.cluster),
		.keyspace = version_has(r->version, VERSION_KEYSPACE) ? NULL : r->entry->keyspace,
	};
	const char *why;

	r->step = STEP_EXTRA;
	if (!extra_open(&r->extra, &options, &why))
		give_up(r, why);
}

static void on_landed(void *arg, const struct flight_key *key, bool is_prepared);

/* The connection of the client to this node on which the PREPARE may go; NULL when there is none. */
static struct server *find_connection(const struct repair *r, const struct client *c)
{
	const bool any_keyspace = r->entry->keyspace && version_has(c->version, VERSION_KEYSPACE);

	if (!client_is_pooled(c))
		return c->server[r->key.cluster];
	return pool_find(c->pool[r->key.cluster], &r->key.host, r->entry->keyspace, any_keyspace);
}

/* The node of the repair, for a client on shared connections. */
static bool is_up(const struct repair *r, const struct client *c)
{
	const struct backend *backend = backends_find(pool_backends(c->pool[r->key.cluster]), &r->key.host);

	return backend && backend->state == BACKEND_UP;
}

/* False when it has to wait for its turn. */
static bool take_turn(struct repair *r)
{
	const uint32_t limit = MAX(REPAIR_MAX_PER_HOST / r->worker->settings->workers, 1u);

	if (r->is_counted)
		return true;
	r->is_counted = r->node->preparing < limit;
	r->node->preparing += r->is_counted;
	r->step = STEP_QUEUED;
	return r->is_counted;
}

/* While it waited for its turn another worker has prepared it there. */
static bool is_there_by_now(const struct repair *r)
{
	const unsigned node = r->node->node->index;

	return node < PREPARED_NODES && prepared_is_on(r->entry, r->key.cluster, node);
}

/* Sends the PREPARE for the first waiter's client, on its connection or on one like it, unless another worker does. */
static void begin(struct repair *r)
{
	const struct flight_watcher watcher = { .loop = &r->worker->loop, .on_landed = on_landed, .arg = r->worker };
	struct request_leg *first;
	const struct client *c;
	struct server *s;

	if (list_is_empty(&r->waiters)) {
		repair_free(r);
		return;
	}
	if (!take_turn(r))
		return;
	if (is_there_by_now(r)) {
		conclude_prepared(r, true);
		return;
	}
	first = list_entry(r->waiters.next, struct request_leg, waiting);
	c = first->request->client;
	s = find_connection(r, c);
	if (!r->owns_flight) {
		r->step = STEP_WAIT;
		r->owns_flight = flight_take_off(&r->worker->proxy->repairs, &r->key, &watcher);
		if (!r->owns_flight)
			return;
	}
	if (!s && !client_is_pooled(c)) {
		give_up(r, "the connection was lost");
	} else if (!s && !is_up(r, c)) {
		give_up(r, "it is not up any more"); /* other nodes may be */
	} else if (s && (client_is_pooled(c) || is_in_keyspace(r->entry, s))) {
		r->version = s->version;
		r->compression = s->compression;
		r->via = s;
		send_prepare(r, s);
	} else {
		r->version = c->version;
		r->compression = COMPRESSION_NONE;
		open_extra(r, c);
	}
}

/* The connection it went out on is lost; other waiters may have theirs still. */
static void repair_on_lost(struct leg *leg, const char *why)
{
	struct repair *r = container_of(leg, struct repair, leg);

	if (r->extra.server) {
		give_up(r, why);
		return;
	}
	/* Those on the lost connection are told by their own server; those with shared ones go on by another one. */
	list_for_each_safe(node, tmp, &r->waiters) {
		struct request_leg *w = list_entry(node, struct request_leg, waiting);

		if (w->request->client->server[r->key.cluster] == r->via)
			list_remove(node);
	}
	if (list_is_empty(&r->waiters))
		repair_free(r);
	else
		begin(r);
}

static const struct leg_ops repair_leg_ops = {
	.on_answer = repair_on_answer,
	.on_lost = repair_on_lost,
};

static struct repair *find_repair(struct worker *worker, const struct flight_key *key)
{
	list_for_each_safe(node, tmp, &worker->repairs) {
		struct repair *r = list_entry(node, struct repair, node_list);

		if (flight_key_equal(&r->key, key))
			return r;
	}
	return NULL;
}

/* Another worker's PREPARE is over. */
static void on_landed(void *arg, const struct flight_key *key, bool is_prepared)
{
	struct repair *r = find_repair(arg, key);

	if (!r || r->step != STEP_WAIT)
		return;
	if (list_is_empty(&r->waiters))
		repair_free(r);
	else if (is_prepared)
		conclude_prepared(r, true); /* it may have: each waiter looks its statement up again */
	else
		begin(r);
}

struct prepared_id repair_flight_id(const struct prepared *entry, unsigned cluster)
{
	const struct bytesview id = prepared_client_id(entry);
	struct prepared_id out = entry->id[cluster];

	if (out.len > 0)
		return out;
	memcpy(out.bytes, id.p, id.len);
	out.len = (uint8_t)id.len;
	return out;
}

static void run_start(struct loop_task *task)
{
	begin(container_of(task, struct repair, start));
}

void repair_start(struct request_leg *leg, struct prepared *entry, const struct net_address *host,
		  enum repair_reason reason)
{
	const struct client *c = leg->request->client;
	const struct flight_key key = { .cluster = (enum cluster_id)leg->cluster,
					.host = *host,
					.id = repair_flight_id(entry, leg->cluster) };
	struct repair *r;

	if (reason == REPAIR_LOST)
		log_limited(LOG_INFO, "%s at %s has lost a prepared statement, preparing it again: %.*s",
			    cluster_id_name(key.cluster), leg->node->node->name, (int)MIN(entry->text_len, 200),
			    entry->text);
	r = find_repair(c->worker, &key);
	if (r) {
		list_append(&r->waiters, &leg->waiting);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	r->worker = c->worker;
	r->entry = entry;
	atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
	r->key = key;
	r->node = leg->node;
	loop_task_init(&r->start, run_start);
	leg_init(&r->leg, &repair_leg_ops);
	extra_init(&r->extra, &repair_extra_handler);
	list_init(&r->node_list);
	list_init(&r->waiters);
	list_append(&r->waiters, &leg->waiting);
	list_append(&c->worker->repairs, &r->node_list);
	timeout_item_init(&r->timeout);
	timeout_start(&c->worker->loop, &c->worker->repair_timeouts, &r->timeout);
	if (reason == REPAIR_LOST)
		begin(r);
	else
		loop_task_start(&c->worker->loop, &r->start);
}

void repair_on_timeout(struct timeout_item *item)
{
	give_up(container_of(item, struct repair, timeout), "no answer in time");
}

void repairs_drop(struct worker *worker)
{
	while (!list_is_empty(&worker->repairs))
		repair_free(list_entry(worker->repairs.next, struct repair, node_list));
}

/* ---- a connection made for it ---- */

static void extra_on_ready(struct extra *x)
{
	struct repair *r = container_of(x, struct repair, extra);

	send_prepare(r, x->server);
}

static void extra_on_failed(struct extra *x, const char *why, const struct extra_failure *failure)
{
	struct repair *r = container_of(x, struct repair, extra);
	struct extra_failure refused = *failure;

	if (failure->kind == EXTRA_USE_REFUSED)
		conclude(r, tell_rejected, &refused);
	else
		give_up(r, why);
}

static const struct extra_handler repair_extra_handler = {
	.on_ready = extra_on_ready,
	.on_failed = extra_on_failed,
};
