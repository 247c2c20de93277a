/* client.c - see client.h */
#include "proxy/client.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/bulk.h"
#include "proxy/client_hooks.h"
#include "proxy/dispatch.h"
#include "proxy/driver.h"
#include "proxy/handshake.h"
#include "proxy/hooked.h"
#include "proxy/mirror_link.h"
#include "proxy/paging.h"
#include "proxy/plain.h"
#include "proxy/pool.h"
#include "proxy/refusal.h"
#include "proxy/request.h"
#include "proxy/upload.h"
#include "proxy/use.h"

/* The text of an error of our own; longer ones are cut. */
#define ERROR_TEXT_MAX 512

/* A client on shared connections that takes nothing for so long, with more than client_output_limit before it. */
#define STALL_NS (UINT64_C(1000) * 1000000)
/* The most that may wait for such a client: one answer of the largest size, and what it asked for besides. */
#define OUTPUT_MAX ((size_t)320 << 20)

static const struct wire_handler client_wire_handler;
static void run_close(struct loop_task *task);

static const char *close_reason_words(enum client_close_reason reason)
{
	static const char *const words[] = {
#define X(name, text) [CLOSE_##name] = text,
		CLIENT_CLOSE_REASONS(X)
#undef X
	};

	return words[reason];
}

static const uint8_t allowed_next[] = {
	[CLIENT_NEW] = 1 << CLIENT_STARTING | 1 << CLIENT_FINISHING | 1 << CLIENT_CLOSED,
	[CLIENT_STARTING] = 1 << CLIENT_AUTH | 1 << CLIENT_READY | 1 << CLIENT_FINISHING | 1 << CLIENT_CLOSED,
	[CLIENT_AUTH] = 1 << CLIENT_READY | 1 << CLIENT_FINISHING | 1 << CLIENT_CLOSED,
	[CLIENT_READY] = 1 << CLIENT_FINISHING | 1 << CLIENT_CLOSED,
	[CLIENT_FINISHING] = 1 << CLIENT_CLOSED,
	[CLIENT_CLOSED] = 0,
};

void client_set_state(struct client *c, enum client_state next)
{
	Assert(allowed_next[c->state] & 1 << next);
	c->state = (uint8_t)next;
}

/* ---- birth ---- */

void client_set_name(struct client *c, const struct net_address *address)
{
	char ip[NET_TEXT_MAX];

	net_format(address, c->name);
	c->ip_len = (uint8_t)strlen(net_format_ip(address, ip));
}

void client_accept(struct worker *worker, const struct newcomer *n)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->worker = worker;
	c->listener = (uint8_t)n->listener;
	c->number = atomic_fetch_add_explicit(&worker->proxy->next_client, 1, memory_order_relaxed) + 1;
	c->opened_ns = loop_now(&worker->loop);
	c->streams = &c->first_streams;
	c->stream_words = 1;
	list_init(&c->node);
	list_init(&c->requests);
	timeout_item_init(&c->handshake_timeout);
	loop_task_init(&c->close_task, run_close);
	timeout_item_init(&c->last_call);
	client_set_name(c, &n->peer);
	wire_init(&c->wire, &worker->loop, &client_wire_handler, HANDSHAKE_MAX_FRAME);
	list_append(&worker->clients, &c->node);
	if (admission_begin(c, n))
		log_debug("client %s #%llu: accepted by worker %u", c->name, (unsigned long long)c->number,
			  worker->index);
}

void client_listen(struct client *c, uint8_t events)
{
	c->events |= events;
	if (!c->is_listener && events)
		worker_client_listens(c->worker);
	c->is_listener |= events != 0;
}

/* ---- frames before their turn ---- */

struct early_frame {
	struct frame frame;
	struct chunk *chunk;
};

static void early_free(struct early_frame *e)
{
	chunk_unref(e->chunk);
	free(e);
}

void client_hold(struct client *c, const struct frame *f)
{
	struct chunk *chunk = chunk_try_new(&c->worker->loop.chunks, f->length);

	Assert(!c->early);
	if (!chunk) {
		client_refuse(c, f->stream, CLOSE_HANDSHAKE, CQL_ERR_OVERLOADED, "no memory for a frame of %u bytes",
			      f->length);
		return;
	}
	chunk->has_secret = f->opcode == OP_AUTH_RESPONSE;
	if (f->length > 0)
		memcpy(chunk->data, f->body, f->length);
	c->early = xcalloc(1, sizeof(*c->early));
	c->early->chunk = chunk;
	c->early->frame = *f;
	c->early->frame.body = chunk->data;
	c->early->frame.chunk = chunk;
	sbuf_pause(&c->wire.sb);
	if (unlikely(c->hooks != NULL)) /* what a plugin holds may take long */
		client_hooks_watch_end(c);
}

static void on_frame(struct wire *w, struct frame *f);

void client_go_on(struct client *c)
{
	struct early_frame *e = c->early;

	if (likely(!e) || c->state >= CLIENT_FINISHING)
		return;
	c->early = NULL;
	on_frame(&c->wire, &e->frame);
	early_free(e);
	if (!c->early && c->state < CLIENT_FINISHING)
		client_adjust_reading(c);
}

/* ---- death ---- */

static void release(struct loop_deferred *d)
{
	struct client *c = container_of(d, struct client, deferred);

	if (c->early)
		early_free(c->early);
	if (c->streams != &c->first_streams)
		free(c->streams);
	free(c->keyspace);
	use_forget_split(c);
	driver_put(&c->worker->drivers, c->driver);
	free(c->bulks);
	free(c->upload);
	free(c->login);
	free(c->reached_at);
	client_hooks_free(c);
	free(c);
}

static void log_end(const struct client *c, const char *detail)
{
	double seconds = (double)(loop_now(&c->worker->loop) - c->opened_ns) / 1e9;

	/* That a limit is reached has been said; a line for each that is refused would be a flood. */
	log_at(c->refusal == LIMIT_NONE ? LOG_INFO : LOG_DEBUG,
	       "client %s #%llu: closed after %.3f s: %s%s%s%s; %s, %s, %llu requests", c->name,
	       (unsigned long long)c->number, seconds, close_reason_words(c->close_reason), *detail ? " (" : "", detail,
	       *detail ? ")" : "", c->version ? version_name(c->version) : "no version",
	       cql_compression_name(c->compression), (unsigned long long)c->request_count);
}

/* Lets go of everything that works for this client, but not of its socket. */
static void stop_working(struct client *c)
{
	timeout_stop(&c->handshake_timeout);
	loop_task_stop(&c->close_task);
	timeout_stop(&c->last_call);
	upload_stop(c);
	handshake_abort(c);
	mirror_link_close(c);
	requests_drop(c);
	if (unlikely(c->early && c->worker->hooks && c->state == CLIENT_READY))
		hooked_dropped(c, &c->early->frame);
	client_hooks_gone(c);
	admission_leave(c);
	bulk_drop(c);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (c->server[i]) {
			server_detach(c->server[i]);
			server_close(c->server[i], "the client has gone");
			metric_sub(&c->worker->metrics.server_connections[i], 1);
			c->server[i] = NULL;
		}
		if (c->login)
			credentials_wipe(&c->login->credentials[i]);
		if (c->pool[i]) {
			pool_leave(c->pool[i]);
			c->pool[i] = NULL;
		}
	}
}

static void close_now(struct client *c, const char *detail)
{
	struct worker *worker = c->worker;

	if (c->state == CLIENT_CLOSED)
		return;
	stop_working(c);
	log_end(c, detail);
	client_set_state(c, CLIENT_CLOSED);
	wire_close(&c->wire);
	admission_end(c);
	list_remove(&c->node);
	loop_defer(&worker->loop, &c->deferred, release);
	worker_client_gone(worker, c->is_listener);
}

void client_close(struct client *c, enum client_close_reason reason, const char *fmt, ...)
{
	char detail[256];
	va_list args;

	if (c->state < CLIENT_FINISHING)
		c->close_reason = (uint8_t)reason;
	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	if (c->handshake && reason != CLOSE_CONNECTION)
		handshake_refused(c, 0, detail);
	close_now(c, detail);
}

/* Nothing more is read or served; what is queued goes out first. */
static void finish(struct client *c, enum client_close_reason reason)
{
	if (c->state >= CLIENT_FINISHING)
		return;
	c->close_reason = (uint8_t)reason;
	stop_working(c);
	client_set_state(c, CLIENT_FINISHING);
	wire_finish(&c->wire);
}

static void make_last_call(struct client *c)
{
	timeout_start(&c->worker->loop, &c->worker->last_calls, &c->last_call);
}

void client_on_last_call(struct timeout_item *item)
{
	struct client *c = container_of(item, struct client, last_call);

	finish(c, (enum client_close_reason)c->close_reason);
}

void client_drain(struct client *c, enum client_close_reason reason, const char *fmt, ...)
{
	char detail[256];
	va_list args;

	if (c->state >= CLIENT_FINISHING || c->is_draining)
		return;
	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	log_debug("client %s #%llu: draining: %s (%s)", c->name, (unsigned long long)c->number,
		  close_reason_words(reason), detail);
	c->is_draining = true;
	c->close_reason = (uint8_t)reason;
	if (list_is_empty(&c->requests))
		make_last_call(c);
	else
		paging_drain(c);
}

/* ---- answers ---- */

void client_send(struct client *c, int16_t stream, uint8_t opcode, uint8_t flags, const void *body, uint32_t len)
{
	uint8_t head[FRAME_HEAD_LEN];

	frame_head_write(head, true, c->version, flags, stream, opcode, len);
	wire_send_body(&c->wire, head, body, len);
	if (unlikely(c->worker->hooked != NULL))
		hooked_note(c, stream, opcode, flags, body, len);
}

static void send_error(struct client *c, int16_t stream, enum cql_error_code code, const char *fmt, va_list args)
{
	char text[ERROR_TEXT_MAX];
	struct writer w;

	vsnprintf(text, sizeof(text), fmt, args);
	writer_init(&w);
	error_write(&w, code, sv_from(text));
	client_send(c, stream, OP_ERROR, 0, w.data, w.len);
	writer_free(&w);
}

void client_send_error(struct client *c, int16_t stream, enum cql_error_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	send_error(c, stream, code, fmt, args);
	va_end(args);
}

static void refuse(struct client *c, int16_t stream, enum client_close_reason reason, enum cql_error_code code,
		   const char *fmt, va_list args, bool says_so)
{
	char text[ERROR_TEXT_MAX];

	if (c->state >= CLIENT_FINISHING)
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	/* Most drivers find out the version by being refused: no news. The limit or the plugin has been logged. */
	log_limited(reason == CLOSE_VERSION || reason == CLOSE_LIMIT || reason == CLOSE_DENIED ? LOG_DEBUG : LOG_WARN,
		    "client %s #%llu: %s: %s", c->name, (unsigned long long)c->number, close_reason_words(reason),
		    text);
	if (c->version == 0)
		c->version = refusal_version(c, 0);
	if (says_so)
		client_send_error(c, MAX(stream, 0), code, "%s", text);
	if (c->handshake)
		handshake_refused(c, code, text);
	finish(c, reason);
}

void client_refuse(struct client *c, int16_t stream, enum client_close_reason reason, enum cql_error_code code,
		   const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	refuse(c, stream, reason, code, fmt, args, true);
	va_end(args);
}

void client_break_off(struct client *c, int16_t stream, enum client_close_reason reason, enum cql_error_code code,
		      const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	refuse(c, stream, reason, code, fmt, args, c->worker->settings->profile != PROFILE_ZDM);
	va_end(args);
}

/* ---- the handshake's end ---- */

void client_switch_framing(struct client *c)
{
	enum wire_framing framing = c->compression == COMPRESSION_LZ4 ? WIRE_SEGMENTS_LZ4 : WIRE_SEGMENTS;

	if (!version_has(c->version, VERSION_SEGMENTS) || c->wire.in_framing != WIRE_PLAIN)
		return;
	wire_set_in_framing(&c->wire, framing);
	wire_set_out_framing(&c->wire, framing);
}

void client_ready(struct client *c)
{
	const struct strview name = driver_name(c->driver), version = driver_version(c->driver);

	timeout_stop(&c->handshake_timeout);
	admission_handshake_over(c);
	sbuf_hear_secrets(&c->wire.sb, false);
	client_set_state(c, CLIENT_READY);
	c->wire.max_frame = c->worker->settings->max_frame_size;
	log_debug("client %s #%llu: ready, %s%s%s, %s, compression %s, origin %s, target %s", c->name,
		  (unsigned long long)c->number, name.len > 0 ? name.p : "driver unknown", version.len > 0 ? " " : "",
		  version.p, version_name(c->version), cql_compression_name(c->compression),
		  cql_compression_name(client_leg_compression(c, CLUSTER_ORIGIN)),
		  cql_compression_name(client_leg_compression(c, CLUSTER_TARGET)));
	if (c->worker->is_draining)
		client_drain(c, CLOSE_SHUTDOWN, "the proxy stops");
}

void client_request_over(struct client *c)
{
	if (unlikely(c->wire.sb.is_paused) && c->state == CLIENT_READY)
		client_adjust_reading(c);
	if (unlikely(c->is_draining) && c->state == CLIENT_READY && list_is_empty(&c->requests))
		make_last_call(c);
}

void client_request_done(struct client *c, int16_t stream)
{
	client_free_stream(c, stream);
	c->in_flight--;
	client_request_over(c);
}

void client_local_address(const struct client *c, struct net_address *out)
{
	if (c->reached_at) {
		*out = *c->reached_at;
		return;
	}
	*out = (struct net_address){ .len = sizeof(out->at) };
	if (getsockname(c->wire.sb.fd, &out->at.any, &out->len) < 0)
		*out = (struct net_address){ .at.v4.sin_family = AF_INET, .len = sizeof(struct sockaddr_in) };
}

/* ---- what it has logged in with ---- */

void client_keep_login(struct client *c, enum cluster_id cluster, const struct credentials *accepted)
{
	if (!c->login)
		c->login = xcalloc(1, sizeof(*c->login));
	credentials_copy(&c->login->credentials[cluster], accepted);
	c->login->is_opaque[cluster] = !accepted->user;
}

const struct credentials *client_credentials(const struct client *c, enum cluster_id cluster)
{
	static const struct credentials none;

	if (client_is_pooled(c))
		return pool_token(c->pool[cluster]);
	return c->login ? &c->login->credentials[cluster] : &none;
}

bool client_login_is_opaque(const struct client *c, enum cluster_id cluster)
{
	return c->login && c->login->is_opaque[cluster];
}

/* ---- back-pressure ---- */

static void hold_server(struct server *s, bool held)
{
	if (s)
		server_hold(s, held);
}

/*
 * Reading from the client stops while it or a cluster does not take what waits
 * for it, while its requests in flight are as many as may be or larger together
 * than the largest frame, or while a large one of it waits for memory; its
 * servers are not read while the client does not read. They serve this client
 * alone, so nobody else waits.
 */
void client_adjust_reading(struct client *c)
{
	const uint64_t limit = c->worker->settings->client_output_limit;
	const bool throttled = wire_pending(&c->wire) > (c->is_throttled ? limit / 2 : limit);
	bool blocked = throttled || c->early || c->waits_for_memory ||
		       c->in_flight - c->paging_count >= c->worker->settings->max_requests_per_client ||
		       c->kept_bytes > c->worker->settings->max_frame_size;

	c->is_throttled = throttled;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		hold_server(c->server[i], throttled);
		if (unlikely(c->bulks != NULL))
			hold_server(c->bulks->server[i], throttled);
		/* What waits for a bulk connection is bounded by kept_bytes, and nothing has to wait behind it. */
		blocked |= c->server[i] && wire_pending(&c->server[i]->wire) > limit;
	}
	if (blocked)
		sbuf_pause(&c->wire.sb);
	else
		sbuf_resume(&c->wire.sb);
}

static void run_close(struct loop_task *task)
{
	struct client *c = container_of(task, struct client, close_task);

	client_close(c, CLOSE_SLOW, "%zu bytes wait for it", wire_pending(&c->wire));
}

/*
 * Shared connections are read whatever this client does, so it is the one that
 * has to go: when it stops reading with so much before it, or when its answers
 * come faster than it reads them for too long.
 */
static void check_stall(struct client *c)
{
	const uint64_t now = loop_now(&c->worker->loop);

	if (c->stalled_ns == 0)
		c->stalled_ns = now;
	if (now - c->stalled_ns > STALL_NS || wire_pending(&c->wire) > OUTPUT_MAX)
		loop_task_start(&c->worker->loop, &c->close_task);
}

void client_check_output(struct client *c)
{
	const struct settings *s = c->worker->settings;

	if (unlikely(client_is_pooled(c) && wire_pending(&c->wire) > s->client_output_limit) &&
	    c->state == CLIENT_READY)
		check_stall(c);
	if (unlikely(wire_pending(&c->wire) > s->client_output_limit || c->kept_bytes > s->max_frame_size ||
		     c->in_flight - c->paging_count >= s->max_requests_per_client || c->is_throttled))
		client_adjust_reading(c);
}

/* ---- the client's socket ---- */

static void on_open(struct wire *w)
{
	sbuf_hear_secrets(&w->sb, true);
	client_hooks_open(container_of(w, struct client, wire)); /* else the driver speaks first */
}

static void on_frame(struct wire *w, struct frame *f)
{
	struct client *c = container_of(w, struct client, wire);

	if (likely(c->state == CLIENT_READY)) {
		if (unlikely(c->waits_for_use)) {
			client_hold(c, f);
			return;
		}
		c->request_count++;
		if (unlikely(c->worker->hooks != NULL) && hooks_hear_requests(c->worker->hooks))
			hooked_frame(c, f);
		else
			dispatch_frame(c, f);
		client_check_output(c); /* answers that need no cluster count, too */
		for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
			if (unlikely(c->server[i] &&
				     wire_pending(&c->server[i]->wire) > c->worker->settings->client_output_limit))
				client_adjust_reading(c);
		}
		return;
	}
	if (unlikely(c->refusal != LIMIT_NONE)) {
		if (c->state == CLIENT_NEW)
			admission_refuse(c, f);
		return;
	}
	if (unlikely(client_hooks_is_held(c))) {
		client_hold(c, f);
		return;
	}
	if (c->state < CLIENT_READY) {
		handshake_on_frame(c, f);
		client_check_output(c);
	}
}

static enum wire_large on_large(struct wire *w, const struct frame *f)
{
	return upload_admit(container_of(w, struct client, wire), f);
}

static void on_bad(struct wire *w, enum wire_bad bad, const struct frame *f)
{
	struct client *c = container_of(w, struct client, wire);
	const int16_t stream = MAX(f->stream, 0);

	if (c->version == 0 && bad != WIRE_BAD_VERSION && bad != WIRE_BAD_SEGMENT)
		c->version = f->version;
	switch (bad) {
	case WIRE_BAD_VERSION:
		refusal_send(c, f->version);
		return;
	case WIRE_BAD_DIRECTION:
		client_break_off(c, stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
				 "wrong protocol direction: expected a request, got an answer");
		return;
	case WIRE_BAD_OPCODE:
		client_break_off(c, stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR, "opcode 0x%02x is not a request",
				 f->opcode);
		return;
	case WIRE_BAD_LENGTH:
		if (f->length > INT32_MAX)
			client_break_off(c, stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR, "negative frame length %d",
					 (int)f->length);
		else
			client_refuse(c, stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
				      "frame of %u bytes is over the limit of %u bytes%s", f->length, w->max_frame,
				      c->state == CLIENT_READY ? "" : " before log-in");
		return;
	case WIRE_BAD_SEGMENT:
		client_break_off(c, 0, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
				 "damaged segment: checksum mismatch or undecodable lz4");
		return;
	case WIRE_BAD_MEMORY:
		client_refuse(c, stream, CLOSE_PROTOCOL, CQL_ERR_OVERLOADED, "no memory for a frame of %u bytes",
			      f->length);
		return;
	}
}

static void client_on_progress(struct wire *w)
{
	struct client *c = container_of(w, struct client, wire);

	c->stalled_ns = 0;
	if (unlikely(c->is_throttled || c->wire.sb.is_paused))
		client_adjust_reading(c);
}

static void client_on_closed(struct wire *w, const char *why)
{
	struct client *c = container_of(w, struct client, wire);

	if (c->state == CLIENT_FINISHING)
		close_now(c, "");
	else
		client_close(c, CLOSE_CONNECTION, "%s", why);
}

static const struct wire_handler client_wire_handler = {
	.expects_requests = true,
	.on_open = on_open,
	.on_large = on_large,
	.on_frame = on_frame,
	.on_bad = on_bad,
	.on_progress = client_on_progress,
	.on_closed = client_on_closed,
};

/* ---- its dedicated servers ---- */

static void server_on_event(struct server *server, struct frame *f)
{
	struct client *c = server->owner;
	struct plain p;
	const char *why;

	/* Not registered for on these connections but in the zdm profile. One cluster's view of the schema is enough,
	 * and the other events name nodes that drivers must not see. */
	if (c->worker->settings->profile != PROFILE_ZDM || server->cluster != c->worker->settings->primary ||
	    !(c->events & EVENT_SCHEMA_CHANGE))
		return;
	if (!plain_open(&p, &c->worker->loop, server->compression, f, server->wire.max_frame, &why))
		return;
	if (message_event_kind(p.data, p.len) == EVENT_SCHEMA_CHANGE)
		client_send(c, -1, OP_EVENT, p.flags, p.data, p.len);
	plain_close(&p);
	client_check_output(c);
}

static void server_on_closed(struct server *server, const char *why)
{
	struct client *c = server->owner;

	/* First, since the end of the last request ends a client that is being drained. */
	c->server[server->cluster] = NULL;
	metric_sub(&c->worker->metrics.server_connections[server->cluster], 1);
	requests_lost(c, server->cluster, server->name, why);
	bulk_main_lost(c, (enum cluster_id)server->cluster, why);
	log_limited(LOG_WARN, "client %s #%llu: connection to %s at %s: %s", c->name, (unsigned long long)c->number,
		    cluster_id_name(server->cluster), server->name, why);
	client_drain(c, CLOSE_SERVER_LOST, "%s at %s: %s", cluster_id_name(server->cluster), server->name, why);
}

static void server_on_progress(struct server *server)
{
	struct client *c = server->owner;

	if (unlikely(c->wire.sb.is_paused))
		client_adjust_reading(c);
}

static void server_on_open(struct server *server)
{
	(void)server; /* open long since: the handshake was before */
}

const struct server_handler client_server_handler = {
	.on_open = server_on_open,
	.on_event = server_on_event,
	.on_closed = server_on_closed,
	.on_progress = server_on_progress,
};
