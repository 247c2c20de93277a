/* reply.c - see reply.h */
#include "proxy/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/connect.h"
#include "proxy/failure.h"
#include "proxy/hooked.h"
#include "proxy/supported.h"
#include "proxy/use.h"

/* Of a RESULT its kind, of ROWS also the flags and the column count; of an ERROR its code. */
#define PEEK_LEN 12

bool paging_mark_read(struct bytesview state, enum cluster_id *cluster)
{
	if (state.is_null || state.len < PAGING_MARK_LEN || state.p[state.len - 2] != PAGING_MARK)
		return false;
	if (state.p[state.len - 1] >= CLUSTER_COUNT)
		return false;
	*cluster = (enum cluster_id)state.p[state.len - 1];
	return true;
}

/* ---- a look at an answer ---- */

/*
 * The first bytes of the body proper, without decompressing more than these.
 * Returns how many there are; -1 when that needs plain_open().
 */
static int peek(enum cql_compression compression, const struct frame *f, uint8_t out[PEEK_LEN])
{
	const char *why;
	uint32_t offset = 0;
	uint32_t n;

	if (f->flags & FRAME_COMPRESSED) {
		if (compression != COMPRESSION_LZ4 || (f->flags & ~FRAME_COMPRESSED))
			return -1;
		return compression_peek(compression, f->body, f->length, out, PEEK_LEN, NULL);
	}
	if (f->flags && !message_skip_preamble(f->body, f->length, f->flags, true, &offset, &why))
		return 0;
	n = MIN(f->length - offset, PEEK_LEN);
	memcpy(out, f->body + offset, n);
	return (int)n;
}

static inline bool says_more(uint8_t opcode, const uint8_t *head, int n)
{
	if (n < 0)
		return true;
	if (n < 4)
		return false;
	if (opcode == OP_ERROR)
		return get_u32(head) == CQL_ERR_UNPREPARED;
	switch (get_u32(head)) {
	case RESULT_ROWS:
		return n >= 8 && (get_u32(head + 4) & ROWS_HAS_MORE_PAGES);
	case RESULT_SET_KEYSPACE:
	case RESULT_SCHEMA_CHANGE:
		return true;
	default:
		return false;
	}
}

/* Most answers have nothing in front of the body proper: these are looked at where they lie. */
static inline bool is_interesting(enum cql_compression compression, const struct frame *f)
{
	uint8_t head[PEEK_LEN];

	if (likely(!f->flags))
		return says_more(f->opcode, f->body, (int)MIN(f->length, PEEK_LEN));
	return says_more(f->opcode, head, peek(compression, f, head));
}

/* What a RESULT frame is (enum cql_result_kind), 0 when it cannot be told. */
static uint32_t result_kind(struct loop *loop, enum cql_compression compression, const struct frame *f)
{
	uint8_t head[PEEK_LEN];
	int n = peek(compression, f, head);
	uint32_t offset = 0;
	uint32_t kind = 0;
	const char *why;
	struct plain p;

	if (n >= 0)
		return n >= 4 ? get_u32(head) : 0;
	if (!plain_open(&p, loop, compression, f, UINT32_MAX, &why))
		return 0;
	if (message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why) && p.len - offset >= 4)
		kind = get_u32(p.data + offset);
	plain_close(&p);
	return kind;
}

/* ---- sending ---- */

static void send_pieces(struct client *c, const struct request *rq, const struct frame *f, uint8_t flags,
			const struct wire_piece *pieces, unsigned count, uint32_t length)
{
	wire_send_fields(&c->wire, true, f->version, flags, rq->stream, f->opcode, pieces, count, length);
	client_check_output(c);
}

static ALWAYS_INLINE void send_as_it_is(struct request *rq, const struct frame *f)
{
	struct client *c = rq->client;
	uint8_t *out = wire_begin(&c->wire, true, f->version, f->flags, rq->stream, f->opcode, f->length);

	if (likely(out)) {
		memcpy(out, f->body, f->length);
		client_check_output(c);
	} else {
		const struct wire_piece piece = { .data = f->body, .len = f->length, .chunk = f->chunk };

		send_pieces(c, rq, f, f->flags, &piece, f->length > 0 ? 1 : 0, f->length);
	}
}

static void send_edited(struct request *rq, const struct frame *f, const struct plain *p,
			const struct frame_edit *edits, unsigned count)
{
	struct wire_piece pieces[WIRE_MAX_PIECES];
	uint32_t length;
	unsigned n = wire_edit(p->data, p->len, p->chunk, edits, count, pieces, &length);

	send_pieces(rq->client, rq, f, p->flags, pieces, n, length);
}

static void send_rows(struct request *rq, enum cluster_id cluster, const struct frame *f, const struct plain *p,
		      uint32_t offset)
{
	const uint8_t mark[PAGING_MARK_LEN] = { PAGING_MARK, (uint8_t)cluster };
	struct frame_edit edits[2];
	struct rows_head rows;
	uint8_t len[4];

	if (!message_parse_rows_head(p->data, p->len, offset, &rows) || rows.paging_state.is_null) {
		send_as_it_is(rq, f);
		return;
	}
	put_u32(len, rows.paging_state.len + PAGING_MARK_LEN);
	edits[0] = (struct frame_edit){ .offset = rows.paging_state_offset, .drop = 4, .len = 4, .with = len };
	edits[1] = (struct frame_edit){ .offset = rows.paging_state_offset + 4 + rows.paging_state.len,
					.len = PAGING_MARK_LEN,
					.with = mark };
	send_edited(rq, f, p, edits, 2);
}

static void note_keyspace(const struct plain *p, uint32_t offset, char **keyspace)
{
	struct reader r = reader_over(p->data + offset, p->len - offset);
	struct strview name;

	read_int(&r);
	name = read_string(&r);
	if (!reader_ok(&r))
		return;
	free(*keyspace);
	*keyspace = xstrndup(name.p, name.len);
}

/* It is the client's from now on. `to`: TO_* bits of the clusters that were asked. */
static void take_keyspace(struct client *c, unsigned to, const struct plain *p, uint32_t offset)
{
	note_keyspace(p, offset, &c->keyspace);
	if (client_is_pooled(c)) {
		if (c->keyspace)
			c->lane_keyspace = worker_keyspace(c->worker, c->keyspace);
	} else if (unlikely(to != TO_BOTH || c->split)) {
		use_note_split(c);
	}
}

void reply_note_keyspace(struct client *c, unsigned cluster, const struct frame *f, char **keyspace)
{
	const enum cql_compression compression = client_leg_compression(c, cluster);
	struct loop *loop = &c->worker->loop;
	uint32_t offset = 0;
	struct plain p;
	const char *why;

	if (result_kind(loop, compression, f) != RESULT_SET_KEYSPACE ||
	    !plain_open(&p, loop, compression, f, UINT32_MAX, &why))
		return;
	if (message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why))
		note_keyspace(&p, offset, keyspace);
	plain_close(&p);
}

/* The client's id of the child of a BATCH that this cluster knows by `id`; null when there is none. */
static struct bytesview child_id(const struct request *rq, enum cluster_id cluster, struct bytesview id)
{
	const struct bytesview none = { .is_null = true };
	struct batch_message m;
	uint32_t offset = 0;
	const char *why;

	if (!message_skip_preamble(rq->data, rq->len, rq->flags, false, &offset, &why) ||
	    !message_parse_batch(rq->data, rq->len, offset, rq->client->version, &m, &why))
		return none;
	offset = m.children_offset;
	for (unsigned i = 0; i < m.child_count; i++) {
		struct prepared_ref *ref;
		struct batch_child child;
		bool is_it;

		if (!message_batch_child(rq->data, rq->len, &offset, &child))
			break;
		ref = child.is_prepared ? prepared_find(&rq->client->worker->prepared, child.id) : NULL;
		if (!ref)
			continue;
		is_it = prepared_id_equal(&ref->entry->id[cluster], id);
		prepared_release(ref);
		if (is_it)
			return child.id;
	}
	return none;
}

/*
 * An UNPREPARED that could not be repaired: the client must see the id it
 * knows, or it will not prepare again. Two of the client's statements may have
 * one id on a cluster, so it is looked for in the request, not in the table.
 */
static void send_unprepared(struct request *rq, enum cluster_id cluster, const struct frame *f, const struct plain *p,
			    uint32_t offset)
{
	struct bytesview id = { .is_null = true };
	struct error_message error;
	struct writer w;

	/* An EXECUTE names one statement, whatever id the node has put into its error. */
	if (rq->prepared)
		id = prepared_client_id(rq->prepared->entry);
	else if (rq->has_prepared_children && message_parse_error(p->data, p->len, offset, &error))
		id = child_id(rq, cluster, error.unprepared_id);
	if (id.is_null) {
		send_as_it_is(rq, f);
		return;
	}
	writer_init(&w);
	error_write_unprepared(&w, id);
	client_send(rq->client, rq->stream, OP_ERROR, 0, w.data, w.len);
	writer_free(&w);
}

/* The client could not read it either. */
static void send_unreadable(struct request *rq, enum cluster_id cluster, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "%s at %s sent an answer that cannot be decompressed: %s",
		 cluster_id_name(cluster), request_node_name(rq, cluster), why);
	log_limited(LOG_WARN, "%s", text);
	failure_reply(rq, sv_from(text));
}

static void send_interesting(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	struct client *c = rq->client;
	uint32_t offset = 0;
	const char *why;
	struct plain p;

	if (!plain_open(&p, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why)) {
		send_unreadable(rq, cluster, why);
		return;
	}
	if (!message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why) || p.len - offset < 4) {
		send_as_it_is(rq, f);
	} else if (f->opcode == OP_ERROR) {
		if (get_u32(p.data + offset) == CQL_ERR_UNPREPARED)
			send_unprepared(rq, cluster, f, &p, offset);
		else
			send_as_it_is(rq, f);
	} else if (get_u32(p.data + offset) == RESULT_ROWS) {
		send_rows(rq, cluster, f, &p, offset);
	} else {
		if (get_u32(p.data + offset) == RESULT_SET_KEYSPACE)
			take_keyspace(c, rq->verdict.to, &p, offset);
		else if (c->worker->settings->profile != PROFILE_ZDM)
			schema_state_note(&c->worker->proxy->schema, rq->verdict.to, rq->started_ns,
					  loop_now(&c->worker->loop));
		send_as_it_is(rq, f);
	}
	plain_close(&p);
}

/* `f` is compressed as the client is, or not at all. */
static ALWAYS_INLINE void send_readable(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	struct client *c = rq->client;

	if (unlikely(rq->opcode == OP_OPTIONS && f->opcode == OP_SUPPORTED)) {
		supported_send(c, rq->stream, c->version);
		return;
	}
	if (unlikely(rq->opcode == OP_REGISTER && f->opcode == OP_READY))
		client_listen(c, rq->events);
	if ((f->opcode == OP_RESULT || f->opcode == OP_ERROR) && is_interesting(client_leg_compression(c, cluster), f))
		send_interesting(rq, cluster, f);
	else
		send_as_it_is(rq, f);
}

/* Compressed in a way that the client does not use: it gets the plain form, which is allowed frame by frame. */
static void send_transcoded(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	struct worker *worker = rq->client->worker;
	struct frame opened;
	struct plain p;
	const char *why;

	if (!plain_open(&p, &worker->loop, client_leg_compression(rq->client, cluster), f,
			connect_max_answer(worker->settings), &why)) {
		send_unreadable(rq, cluster, why);
		return;
	}
	opened = plain_frame(&p, f);
	send_readable(rq, cluster, &opened);
	plain_close(&p);
}

/* The tracing id is the first that an answer has (native protocol v5, section 2.2). */
void reply_note_trace(const struct client *c, enum cluster_id cluster, const struct plain *p)
{
	if ((p->flags & FRAME_TRACING) && p->len >= TRACE_ID_LEN)
		traces_note(&c->worker->proxy->traces, p->data, cluster);
}

static void note_trace(const struct client *c, enum cluster_id cluster, const struct frame *f)
{
	struct plain p;
	const char *why;

	if (!plain_open(&p, &c->worker->loop, client_leg_compression(c, cluster), f, UINT32_MAX, &why))
		return;
	reply_note_trace(c, cluster, &p);
	plain_close(&p);
}

void reply_send(struct request *rq, enum cluster_id cluster, const struct frame *f)
{
	const struct client *c = rq->client;

	if (unlikely(f->flags & FRAME_TRACING))
		note_trace(c, cluster, f);
	if (unlikely((f->flags & FRAME_COMPRESSED) &&
		     (client_leg_compression(c, cluster) != c->compression || c->compression == COMPRESSION_NONE)))
		send_transcoded(rq, cluster, f);
	else
		send_readable(rq, cluster, f);
	if (unlikely(rq->hook_number))
		hooked_answered(rq, cluster, f);
}
