/* server.c - see server.h */
#include "proxy/server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/memory.h"
#include "proxy/pages.h"

/* SUPPORTED, AUTHENTICATE and their like are short; a node that is none must not make us wait for 256 MiB. */
#define LOGIN_MAX_FRAME (128 * 1024)
/* Of a client that has its own connections, they are idle or have little in flight: there may be thousands. */
#define INITIAL_IDS 8
/* With more than these in `legs` it is looked now and then whether so many are needed still. */
#define FEW_IDS 64

static const struct wire_handler server_wire_handler;
static bool poll_memory(struct loop_poll *poll);
static void stop_waiting(struct server *s);

/* Which state may follow which; a move that is not here is a defect of ours. */
static const uint8_t allowed_next[] = {
	[SERVER_CONNECTING] = 1 << SERVER_LOGIN | 1 << SERVER_CLOSED,
	[SERVER_LOGIN] = 1 << SERVER_READY | 1 << SERVER_CLOSED,
	[SERVER_READY] = 1 << SERVER_CLOSED,
	[SERVER_CLOSED] = 0,
};

static void set_state(struct server *s, enum server_state next)
{
	Assert(allowed_next[s->state] & 1 << next);
	s->state = (uint8_t)next;
}

static void release(struct loop_deferred *d)
{
	struct server *s = container_of(d, struct server, deferred);

	free(s->ids_look);
	free(s->legs);
	free(s->free_ids);
	free(s->keyspace);
	free(s);
}

static void heartbeat_on_answer(struct leg *leg, struct frame *f)
{
	(void)leg; /* any answer will do: the connection is alive */
	(void)f;
}

static void heartbeat_on_lost(struct leg *leg, const char *why)
{
	(void)leg; /* the owner is told by on_closed() */
	(void)why;
}

static const struct leg_ops heartbeat_leg_ops = {
	.on_answer = heartbeat_on_answer,
	.on_lost = heartbeat_on_lost,
};

struct server *server_open(const struct server_options *o, const char **why)
{
	/* Control connections are in nobody's counters; all of them belong to the main thread. */
	static const struct histogram_bounds no_bounds;
	static struct node_stats uncounted = { .bounds = &no_bounds };
	struct server *s = xcalloc(1, sizeof(*s));

	wire_init(&s->wire, o->loop, &server_wire_handler, MIN(o->max_frame, LOGIN_MAX_FRAME));
	s->max_frame = o->max_frame;
	s->memory_limit = o->memory_limit;
	loop_poll_init(&s->memory_poll, poll_memory);
	s->handler = o->handler;
	s->owner = o->owner;
	s->stats = o->stats ? o->stats : &uncounted;
	s->cluster = (uint8_t)o->cluster;
	s->version = o->version;
	s->max_streams = MIN(o->max_streams, version_has(o->version, VERSION_SHORT_HEAD) ? SERVER_MAX_SHORT_STREAMS
											 : SERVER_MAX_STREAMS);
	s->address = o->address;
	net_format(&o->address, s->name);
	s->state = SERVER_CONNECTING;
	leg_init(&s->heartbeat, &heartbeat_leg_ops);
	if (!sbuf_connect(&s->wire.sb, &o->address, o->tls, o->server_name, why)) {
		free(s);
		return NULL;
	}
	if (o->sni && *o->sni)
		sbuf_set_sni(&s->wire.sb, o->sni);
	return s;
}

static void ignore_server(struct server *s)
{
	(void)s;
}

static void ignore_end(struct server *s, const char *why)
{
	(void)s;
	(void)why;
}

void server_detach(struct server *s)
{
	static const struct server_handler nobody = { .on_open = ignore_server, .on_closed = ignore_end };

	s->handler = &nobody;
	s->owner = NULL;
}

void server_set_ready(struct server *s)
{
	s->wire.max_frame = s->max_frame;
	set_state(s, SERVER_READY);
}

/* ---- stream ids ---- */

static void resize_ids(struct server *s, uint32_t cap)
{
	s->legs = xrealloc(s->legs, cap * sizeof(*s->legs));
	s->free_ids = xrealloc(s->free_ids, cap * sizeof(*s->free_ids));
	if (cap > s->legs_cap)
		memset(s->legs + s->legs_cap, 0, (cap - s->legs_cap) * sizeof(*s->legs));
	s->legs_cap = cap;
}

/*
 * To twice what is in flight, but no id that is taken may be cut off: an orphan's is until its answer has come. Free
 * ids above are as if they had never been used.
 */
static void shrink_ids(struct server *s)
{
	uint32_t end = s->next_id, cap = INITIAL_IDS, kept = 0;

	while (end > 0 && !s->legs[end - 1])
		end--;
	while (cap < end || cap < s->in_flight * 2)
		cap *= 2;
	if (cap > s->legs_cap / 2)
		return;
	for (uint32_t i = 0; i < s->free_count; i++) {
		if (s->free_ids[i] < end)
			s->free_ids[kept++] = s->free_ids[i];
	}
	s->free_count = kept;
	s->next_id = end;
	resize_ids(s, cap);
}

static bool look_at_ids(struct loop_poll *poll)
{
	struct ids_look *look = container_of(poll, struct ids_look, poll);
	struct server *s = look->server;

	shrink_ids(s);
	if (s->legs_cap > FEW_IDS)
		return true;
	s->ids_look = NULL;
	free(look);
	return false;
}

static void grow_ids(struct server *s)
{
	const uint32_t cap = s->legs_cap ? s->legs_cap * 2 : INITIAL_IDS;

	resize_ids(s, MIN(cap, s->max_streams));
	if (s->legs_cap <= FEW_IDS || s->ids_look)
		return;
	s->ids_look = xmalloc(sizeof(*s->ids_look));
	s->ids_look->server = s;
	loop_poll_init(&s->ids_look->poll, look_at_ids);
	loop_look_start(s->wire.sb.loop, &s->ids_look->poll);
}

static ALWAYS_INLINE bool take_id(struct server *s, struct leg *leg)
{
	uint32_t id;

	if (s->free_count > 0) {
		id = s->free_ids[--s->free_count];
	} else {
		if (unlikely(s->next_id >= s->max_streams))
			return false;
		if (unlikely(s->next_id == s->legs_cap))
			grow_ids(s);
		id = s->next_id++;
	}
	Assert(s->legs[id] == NULL);
	s->legs[id] = leg;
	if (s->in_flight++ == 0)
		s->busy_since_ns = loop_now(s->wire.sb.loop);
	metric_add(&s->stats->used_stream_ids, 1);
	leg->server = s;
	leg->stream = (uint16_t)id;
	leg->writes = s->wire.sb.writes;
	return true;
}

static inline void give_id(struct server *s, uint32_t id)
{
	s->legs[id] = NULL;
	s->free_ids[s->free_count++] = (uint16_t)id;
	s->in_flight--;
	metric_sub(&s->stats->used_stream_ids, 1);
}

static void orphan_answered(struct server *s)
{
	if (--s->orphans <= s->max_streams / SERVER_ORPHAN_SHARE)
		s->crowded_ns = 0;
}

void server_orphan_left(struct server *s)
{
	s->orphans++;
	if (unlikely(!s->crowded_ns && s->orphans > s->max_streams / SERVER_ORPHAN_SHARE))
		s->crowded_ns = loop_now(s->wire.sb.loop);
}

/* It may be what the owner waits for to go on. */
void server_orphan_came(struct server *s)
{
	orphan_answered(s);
	if (s->handler->on_progress)
		s->handler->on_progress(s);
}

void leg_abandon(struct leg *leg)
{
	struct server *s = leg->server;

	if (!s)
		return;
	Assert(s->legs[leg->stream] == leg);
	if (unlikely(leg->takes_pages)) {
		pages_stray(s, leg);
		return;
	}
	s->legs[leg->stream] = LEG_ORPHAN;
	server_orphan_left(s);
	leg->server = NULL;
	/* Its large answer is on its way in: no memory for that any more. */
	if (unlikely(s->wire.has_large && s->wire.large_stream == (int16_t)leg->stream)) {
		wire_skip_large(&s->wire);
		give_id(s, leg->stream);
		orphan_answered(s);
	}
}

void leg_release(struct leg *leg)
{
	struct server *s = leg->server;

	Assert(s->legs[leg->stream] == leg);
	give_id(s, leg->stream);
	leg->server = NULL;
}

void server_replace_leg(struct server *s, struct leg *leg, struct leg *next)
{
	Assert(s->legs[leg->stream] == leg && !leg_is_out(next));
	s->legs[leg->stream] = next;
	next->server = s;
	next->stream = leg->stream;
	next->takes_pages = leg->takes_pages;
	leg->server = NULL;
}

/* server_send_copy() where the frame has to be put together of pieces. */
static __attribute__((noinline)) void send_with_id(struct server *s, const struct leg *leg, uint8_t opcode,
						   uint8_t flags, const struct wire_piece *body,
						   const struct server_id *id)
{
	const struct frame_edit edit = {
		.offset = id->offset, .drop = SERVER_ID_LEN, .len = SERVER_ID_LEN, .with = id->bytes
	};
	struct wire_piece pieces[3];
	uint32_t length;
	unsigned n;

	n = wire_edit(body->data, body->len, body->chunk, &edit, id->bytes ? 1 : 0, pieces, &length);
	wire_send_fields(&s->wire, false, s->version, flags, (int16_t)leg->stream, opcode, pieces, n, length);
}

bool server_send(struct server *s, struct leg *leg, uint8_t opcode, uint8_t flags, const struct wire_piece *pieces,
		 unsigned count, uint32_t length)
{
	Assert(!leg_is_out(leg));
	if (unlikely(!wire_is_writable(&s->wire) || !take_id(s, leg)))
		return false;
	s->last_used_ns = loop_now(s->wire.sb.loop);
	wire_send_fields(&s->wire, false, s->version, flags, (int16_t)leg->stream, opcode, pieces, count, length);
	return true;
}

bool server_send_copy(struct server *s, struct leg *leg, uint8_t opcode, uint8_t flags, const struct wire_piece *body,
		      const struct server_id *id)
{
	uint8_t *out;

	Assert(!leg_is_out(leg));
	if (unlikely(!wire_is_writable(&s->wire) || !take_id(s, leg)))
		return false;
	s->last_used_ns = loop_now(s->wire.sb.loop);
	out = wire_begin(&s->wire, false, s->version, flags, (int16_t)leg->stream, opcode, body->len);
	if (unlikely(!out)) {
		send_with_id(s, leg, opcode, flags, body, id);
		return true;
	}
	memcpy(out, body->data, body->len);
	if (id->bytes)
		memcpy(out + id->offset, id->bytes, SERVER_ID_LEN);
	return true;
}

bool server_send_body(struct server *s, struct leg *leg, uint8_t opcode, uint8_t flags, const void *body,
		      uint32_t length)
{
	const struct wire_piece piece = { .data = body, .len = length };

	return server_send(s, leg, opcode, flags, &piece, length > 0 ? 1 : 0, length);
}

/* ---- heartbeats ---- */

void server_probe(struct server *s)
{
	const uint64_t last_used_ns = s->last_used_ns;

	if (leg_is_out(&s->heartbeat) || !server_has_room(s))
		return;
	if (!server_send_body(s, &s->heartbeat, OP_OPTIONS, 0, NULL, 0))
		log_debug("%s %s: no heartbeat could be sent", cluster_id_name(s->cluster), s->name);
	s->last_beat_ns = s->last_used_ns;
	s->last_used_ns = last_used_ns;
}

void server_keep_alive(struct server *s, uint64_t interval_ns)
{
	if (unlikely(loop_now(s->wire.sb.loop) - MAX(s->last_used_ns, s->last_beat_ns) >= interval_ns))
		server_probe(s);
}

/* ---- the end ---- */

/* Tells every leg that no answer will come. A leg may close this server again or abandon others meanwhile. */
static void lose_legs(struct server *s, const char *why)
{
	for (uint32_t id = 0; id < s->next_id; id++) {
		struct leg *leg = s->legs[id];

		s->legs[id] = NULL;
		if (!leg || leg == LEG_ORPHAN)
			continue;
		leg->server = NULL;
		leg->was_unsent = leg->writes == s->wire.sb.writes;
		leg->ops->on_lost(leg, why);
	}
}

static void end(struct server *s, const char *why)
{
	struct loop *loop = s->wire.sb.loop;

	if (s->state != SERVER_CONNECTING)
		metric_sub(&s->stats->connections, 1);
	metric_sub(&s->stats->used_stream_ids, s->in_flight);
	set_state(s, SERVER_CLOSED);
	stop_waiting(s);
	if (s->ids_look)
		loop_poll_stop(&s->ids_look->poll);
	wire_close(&s->wire);
	loop_defer(loop, &s->deferred, release);
	lose_legs(s, why);
}

void server_close(struct server *s, const char *why)
{
	if (s->state != SERVER_CLOSED)
		end(s, why);
}

static void lost(struct server *s, const char *why)
{
	if (s->state == SERVER_CLOSED)
		return;
	end(s, why);
	s->handler->on_closed(s, why);
}

/* The node broke the protocol: only this connection pays for it. */
static void misbehaved(struct server *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void misbehaved(struct server *s, const char *fmt, ...)
{
	char why[160];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	log_limited(LOG_WARN, "%s %s: %s: connection closed", cluster_id_name(s->cluster), s->name, why);
	lost(s, why);
}

/* ---- from the wire ---- */

static void on_open(struct wire *w)
{
	struct server *s = container_of(w, struct server, wire);

	set_state(s, SERVER_LOGIN);
	metric_add(&s->stats->connections, 1);
	s->handler->on_open(s);
}

/* v5: everything behind READY or AUTHENTICATE is in segments, in both directions (native protocol v5, section 2). */
static void switch_framing(struct server *s)
{
	enum wire_framing framing = s->compression == COMPRESSION_LZ4 ? WIRE_SEGMENTS_LZ4 : WIRE_SEGMENTS;

	s->switched = true;
	wire_set_in_framing(&s->wire, framing);
	wire_set_out_framing(&s->wire, framing);
}

static __attribute__((noinline)) void note_unknown_stream(const struct server *s, const struct frame *f)
{
	log_limited(LOG_WARN, "%s %s: answer %s on stream %d, which no request waits for", cluster_id_name(s->cluster),
		    s->name, cql_opcode_name(f->opcode), f->stream);
}

static ALWAYS_INLINE bool is_known_stream(const struct server *s, const struct frame *f)
{
	if (likely(f->stream >= 0 && (uint32_t)f->stream < s->next_id && s->legs[f->stream]))
		return true;
	note_unknown_stream(s, f);
	return false;
}

/* What the answer behind this one belongs to has been out of use since it was sent. */
static ALWAYS_INLINE void fetch_next(const struct server *s, const struct frame *f)
{
	uint32_t stream;

	if (!f->next_head)
		return;
	stream = get_u16(f->next_head + 2);
	if (likely(stream < s->next_id) && s->legs[stream])
		leg_fetch(s->legs[stream]);
}

static void on_frame(struct wire *w, struct frame *f)
{
	struct server *s = container_of(w, struct server, wire);
	struct leg *leg;

	fetch_next(s, f);

	s->last_heard_ns = loop_now(w->sb.loop);
	/* During log-in a node may still say that it speaks another version. */
	if (unlikely(f->version != s->version && s->state == SERVER_READY)) {
		misbehaved(s, "sent a frame of protocol version %u on a connection of version %u", f->version,
			   s->version);
		return;
	}
	if (unlikely(f->opcode == OP_EVENT)) {
		if (f->stream >= 0)
			misbehaved(s, "sent an event on stream %d", f->stream);
		else if (s->handler->on_event)
			s->handler->on_event(s, f);
		return;
	}
	/* A frame with a compressed flag inside a segment: known from some drivers' servers, the body is plain. */
	if (s->switched)
		f->flags &= (uint8_t)~FRAME_COMPRESSED;
	if (unlikely(!is_known_stream(s, f)))
		return;
	leg = s->legs[f->stream];
	if (unlikely(leg != LEG_ORPHAN && leg->takes_pages) && page_goes_on(s, f)) {
		leg->ops->on_answer(leg, f);
		return;
	}
	give_id(s, (uint32_t)f->stream);
	if (unlikely(leg == LEG_ORPHAN)) {
		server_orphan_came(s);
		return;
	}
	if (unlikely(version_has(s->version, VERSION_SEGMENTS) && !s->switched && f->version == s->version) &&
	    (f->opcode == OP_READY || f->opcode == OP_AUTHENTICATE))
		switch_framing(s);
	leg->server = NULL;
	leg->ops->on_answer(leg, f);
}

/* ---- large answers and memory ---- */

void server_hold(struct server *s, bool held)
{
	s->is_held = held;
	if (held || s->waits)
		sbuf_pause(&s->wire.sb);
	else
		sbuf_resume(&s->wire.sb);
}

static void stop_waiting(struct server *s)
{
	if (!s->waits)
		return;
	s->waits = false;
	loop_poll_stop(&s->memory_poll);
	memory_wait_end();
}

static bool poll_memory(struct loop_poll *poll)
{
	struct server *s = container_of(poll, struct server, memory_poll);

	if (!memory_takes_answer(s->memory_limit) && s->legs[s->waiting_stream] != LEG_ORPHAN)
		return true;
	stop_waiting(s);
	server_hold(s, s->is_held); /* on_large() is asked again */
	return false;
}

/* An answer whose body nobody needs is not read into memory; others wait while the limit is reached. */
static enum wire_large on_large(struct wire *w, const struct frame *f)
{
	struct server *s = container_of(w, struct server, wire);
	struct leg *leg;

	if (f->opcode == OP_EVENT)
		return WIRE_TAKE;
	/* Taken, it would be the answer to a request that is given this id before all of it has come. */
	if (!is_known_stream(s, f))
		return WIRE_SKIP;
	leg = s->legs[f->stream];
	if (leg == LEG_ORPHAN) {
		give_id(s, (uint32_t)f->stream);
		server_orphan_came(s);
		return WIRE_SKIP;
	}
	if (leg->ops->on_large && f->opcode != OP_ERROR) {
		give_id(s, (uint32_t)f->stream);
		leg->server = NULL;
		leg->ops->on_large(leg);
		return WIRE_SKIP;
	}
	if (memory_takes_answer(s->memory_limit))
		return WIRE_TAKE;
	if (!s->waits)
		memory_wait_begin();
	s->waits = true;
	s->waiting_stream = f->stream;
	sbuf_pause(&w->sb);
	loop_poll_start(w->sb.loop, &s->memory_poll);
	return WIRE_WAIT;
}

static void on_bad(struct wire *w, enum wire_bad bad, const struct frame *f)
{
	struct server *s = container_of(w, struct server, wire);

	switch (bad) {
	case WIRE_BAD_VERSION:
		s->foreign_version = f->version;
		misbehaved(s, "sent a frame of the unknown protocol version %u", f->version);
		return;
	case WIRE_BAD_DIRECTION:
		misbehaved(s, "sent a request (opcode 0x%02x) instead of an answer", f->opcode);
		return;
	case WIRE_BAD_OPCODE:
		misbehaved(s, "sent a frame of the unknown opcode 0x%02x", f->opcode);
		return;
	case WIRE_BAD_LENGTH:
		misbehaved(s, "announced a body of %u bytes, more than the %u that are taken", f->length, w->max_frame);
		return;
	case WIRE_BAD_SEGMENT:
		misbehaved(s, "sent a damaged segment (checksum or lz4)");
		return;
	case WIRE_BAD_MEMORY:
		misbehaved(s, "out of memory for an answer of %u bytes", f->length);
		return;
	}
}

static void on_progress(struct wire *w)
{
	struct server *s = container_of(w, struct server, wire);

	if (s->handler->on_progress)
		s->handler->on_progress(s);
}

static void on_closed(struct wire *w, const char *why)
{
	lost(container_of(w, struct server, wire), why);
}

static const struct wire_handler server_wire_handler = {
	.expects_requests = false,
	.on_open = on_open,
	.on_large = on_large,
	.on_frame = on_frame,
	.on_bad = on_bad,
	.on_progress = on_progress,
	.on_closed = on_closed,
};
