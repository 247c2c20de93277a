/* sbuf.c - see sbuf.h */
#include "base/sbuf.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sbuf_io.h"
#include "base/sbuf_read.h"
#include "base/warm.h"

/* ---- life and death ---- */

static void drop_head(struct sbuf *sb)
{
	struct sbuf_part *part = sb->out_head;

	sb->out_head = part->next;
	if (!sb->out_head)
		sb->out_tail = NULL;
	chunk_unref(part->chunk);
	slab_put(&sb->loop->out_parts, part);
}

static void drop_output(struct sbuf *sb)
{
	while (sb->out_head)
		drop_head(sb);
	sb->out_bytes = 0;
}

static void undirty(struct sbuf *sb)
{
	struct sbuf **at = &sb->loop->dirty;

	if (!sb->is_dirty)
		return;
	while (*at != sb)
		at = &(*at)->next_dirty;
	*at = sb->next_dirty;
	sb->is_dirty = false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* Calls on_writable() once, when the kernel takes bytes. */
static void await_writable(struct sbuf *sb)
{
	if (!sb->ev_write) {
		sb->ev_write = slab_get(&sb->loop->write_events);
		event_assign(sb->ev_write, sb->loop->base, sb->fd, EV_WRITE, on_writable, sb);
	}
	event_add(sb->ev_write, NULL);
}

static void drop_write_event(struct sbuf *sb)
{
	if (!sb->ev_write)
		return;
	event_del(sb->ev_write);
	slab_put(&sb->loop->write_events, sb->ev_write);
	sb->ev_write = NULL;
}

void sbuf_close(struct sbuf *sb)
{
	if (sb->state == SBUF_IDLE)
		return;
	event_del(&sb->ev_read);
	drop_write_event(sb);
	timeout_stop(&sb->write_timeout);
	if (sb->tls) {
		if (sb->state == SBUF_OPEN || sb->state == SBUF_LINGERING)
			tls_shutdown(sb->tls);
		tls_free(sb->tls);
		sb->tls = NULL;
	}
	close(sb->fd);
	sb->fd = -1;
	undirty(sb);
	sbuf_read_drop(sb);
	drop_output(sb);
	sb->write_waits = false;
	sb->prelude = NULL;
	sb->state = SBUF_IDLE;
}

/* `why` may live inside the TLS session, so it is copied first. */
void sbuf_fail(struct sbuf *sb, const char *why)
{
	char text[256];
	size_t n = strnlen(why, sizeof(text) - 1);

	memcpy(text, why, n);
	text[n] = '\0';
	sbuf_close(sb);
	sb->handler->on_closed(sb, text);
}

void sbuf_on_write_timeout(struct timeout_item *item)
{
	struct sbuf *sb = container_of(item, struct sbuf, write_timeout);

	sbuf_fail(sb, "the peer does not take what is sent to it");
}

void sbuf_on_linger_timeout(struct timeout_item *item)
{
	struct sbuf *sb = container_of(item, struct sbuf, write_timeout);

	sbuf_fail(sb, "closed by us");
}

/* ---- to read or not ---- */

void sbuf_drop_input(struct sbuf *sb)
{
	sbuf_read_drop(sb);
	sb->want = 0;
}

void sbuf_pause(struct sbuf *sb)
{
	if (sb->is_paused)
		return;
	sb->is_paused = true;
	if (sb->state == SBUF_OPEN)
		event_del(&sb->ev_read);
}

void sbuf_resume(struct sbuf *sb)
{
	if (!sb->is_paused)
		return;
	sb->is_paused = false;
	if (sb->state != SBUF_OPEN)
		return;
	event_add(&sb->ev_read, NULL);
	if (sb->has_rest)
		loop_task_start(sb->loop, &sb->rest_task);
	else
		sbuf_read_pending(sb);
}

bool sbuf_has_peer_closed(const struct sbuf *sb)
{
	struct pollfd p = { .fd = sb->fd, .events = POLLRDHUP };

	return sb->state == SBUF_OPEN && poll(&p, 1, 0) > 0;
}

/* ---- opening ---- */

static void opened(struct sbuf *sb)
{
	sb->state = SBUF_OPEN;
	if (sb->is_paused)
		event_del(&sb->ev_read);
	else
		event_add(&sb->ev_read, NULL);
	sb->handler->on_open(sb);
	if (sb->state == SBUF_OPEN && sb->out_head)
		sbuf_flush(sb);
	sbuf_read_pending(sb);
}

static void do_handshake(struct sbuf *sb)
{
	switch (tls_handshake(sb->tls)) {
	case TLS_OK:
		opened(sb);
		return;
	case TLS_WANT_READ:
		event_add(&sb->ev_read, NULL);
		return;
	case TLS_WANT_WRITE:
		await_writable(sb);
		return;
	case TLS_EOF:
		sbuf_fail(sb, "closed by the peer during the TLS handshake");
		return;
	case TLS_FAILED:
		sb->rejected_peer = tls_rejected_peer(sb->tls);
		sbuf_fail(sb, tls_error(sb->tls));
		return;
	}
}

static void connected(struct sbuf *sb)
{
	if (!sb->tls) {
		opened(sb);
		return;
	}
	sb->state = SBUF_HANDSHAKE;
	do_handshake(sb);
}

/* One look at a socket in state SBUF_PRELUDE. True when there may be more to see at once. */
static bool look_at_prelude(struct sbuf *sb)
{
	uint8_t *data = sb->loop->read_buffer;
	size_t used = 0;
	ssize_t n;

	do
		n = recv(sb->fd, data, SBUF_PRELUDE_LOOK, MSG_PEEK);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
			sbuf_fail(sb, n == 0 ? "closed by the peer" : strerror(errno));
		return false;
	}
	switch (sb->prelude->take(sb->prelude, data, (size_t)n, &used)) {
	case SBUF_PRELUDE_BAD:
		return false;
	case SBUF_PRELUDE_MORE:
		Assert(used == (size_t)n);
		break;
	case SBUF_PRELUDE_DONE:
		sb->prelude = NULL;
		break;
	}
	Assert(used <= (size_t)n);
	do
		n = recv(sb->fd, data, used, 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)used) { /* they were there a moment ago */
		sbuf_fail(sb, n < 0 ? strerror(errno) : "closed by the peer");
		return false;
	}
	return sb->prelude != NULL;
}

static void read_prelude(struct sbuf *sb)
{
	while (look_at_prelude(sb))
		;
	if (sb->state == SBUF_PRELUDE && !sb->prelude)
		connected(sb);
}

void sbuf_go_on_opening(struct sbuf *sb)
{
	if (sb->state == SBUF_PRELUDE)
		read_prelude(sb);
	else
		do_handshake(sb);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct sbuf *sb = arg;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)what;
	drop_write_event(sb);
	switch ((enum sbuf_state)sb->state) {
	case SBUF_CONNECTING:
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error)
			sbuf_fail(sb, strerror(error));
		else
			connected(sb);
		break;
	case SBUF_HANDSHAKE:
		do_handshake(sb);
		break;
	case SBUF_OPEN:
	case SBUF_FLUSHING:
		sb->write_waits = false;
		sbuf_flush(sb);
		break;
	case SBUF_IDLE:
	case SBUF_PRELUDE:
	case SBUF_LINGERING:
		break;
	}
}

void sbuf_init(struct sbuf *sb, struct loop *loop, const struct sbuf_handler *handler)
{
	memset(sb, 0, sizeof(*sb));
	sb->loop = loop;
	sb->handler = handler;
	sb->fd = -1;
	timeout_item_init(&sb->write_timeout);
	loop_task_init(&sb->rest_task, sbuf_read_rest);
}

static bool attach(struct sbuf *sb, int fd, struct tls_context *tls, const char *server_name)
{
	Assert(sb->state == SBUF_IDLE);
	if (tls) {
		sb->tls = tls_new(tls, fd, server_name);
		if (!sb->tls) {
			close(fd);
			return false;
		}
		if (!sb->loop->warm_tls)
			sb->loop->warm_tls = warm_set_new(sb->loop);
		tls_keep_warm(sb->tls, sb->loop->warm_tls);
	}
	sb->fd = fd;
	sb->is_paused = false;
	sb->write_waits = false;
	sb->reads_for_write = false;
	event_assign(&sb->ev_read, sb->loop->base, fd, EV_READ | EV_PERSIST, sbuf_read_ready, sb);
	return true;
}

bool sbuf_connect(struct sbuf *sb, const struct net_address *to, struct tls_context *tls, const char *server_name,
		  const char **why)
{
	bool in_progress;
	int fd = net_connect_start(to, &in_progress);

	if (fd < 0) {
		*why = strerror(errno);
		return false;
	}
	net_prepare_socket(fd);
	if (!attach(sb, fd, tls, server_name)) {
		*why = "out of memory for a TLS session";
		return false;
	}
	/* A connect that succeeded at once is announced by the first EV_WRITE as well: on_open() never runs in here. */
	sb->state = SBUF_CONNECTING;
	await_writable(sb);
	return true;
}

void sbuf_set_sni(struct sbuf *sb, const char *sni)
{
	if (sb->tls)
		tls_set_sni(sb->tls, sni);
}

bool sbuf_adopt(struct sbuf *sb, int fd, struct tls_context *tls)
{
	net_prepare_socket(fd);
	if (!attach(sb, fd, tls, NULL))
		return false;
	connected(sb);
	return true;
}

bool sbuf_adopt_behind(struct sbuf *sb, int fd, struct tls_context *tls, struct sbuf_prelude *prelude)
{
	net_prepare_socket(fd);
	if (!attach(sb, fd, tls, NULL))
		return false;
	sb->prelude = prelude;
	sb->state = SBUF_PRELUDE;
	event_add(&sb->ev_read, NULL);
	return true;
}

/* ---- writing ---- */

static inline void mark_dirty(struct sbuf *sb)
{
	if (sb->is_dirty || sb->write_waits || sb->state < SBUF_OPEN)
		return;
	sb->is_dirty = true;
	sb->next_dirty = sb->loop->dirty;
	sb->loop->dirty = sb;
}

static struct sbuf_part *append_part(struct sbuf *sb, struct chunk *chunk, uint32_t off, uint32_t len, bool is_buffer)
{
	struct sbuf_part *part = slab_get(&sb->loop->out_parts);

	*part = (struct sbuf_part){ .chunk = chunk, .off = off, .len = len, .is_buffer = is_buffer };
	if (sb->out_tail)
		sb->out_tail->next = part;
	else
		sb->out_head = part;
	sb->out_tail = part;
	return part;
}

static inline uint32_t buffer_room(const struct sbuf_part *part)
{
	return part->chunk->cap - part->off - part->len;
}

/* A connection's flushes are alike, so the first buffer is as large as the last one needed. TLS: one record each. */
static inline uint32_t buffer_size(const struct sbuf *sb, uint32_t together)
{
	return sb->tls || sb->out_tail ? CHUNK_BUFFER : MAX(sb->last_flush, together);
}

uint8_t *sbuf_reserve_together(struct sbuf *sb, uint32_t n, uint32_t together)
{
	struct sbuf_part *part = sb->out_tail;
	uint8_t *p;

	Assert(n <= together && together <= CHUNK_BUFFER);
	if (!part || !part->is_buffer || buffer_room(part) < together)
		part = append_part(sb, chunk_new(&sb->loop->chunks, buffer_size(sb, together)), 0, 0, true);
	p = part->chunk->data + part->off + part->len;
	part->len += n;
	sb->out_bytes += n;
	mark_dirty(sb);
	return p;
}

void sbuf_write(struct sbuf *sb, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		struct sbuf_part *part = sb->out_tail;
		size_t room = part && part->is_buffer ? buffer_room(part) : 0;
		uint32_t n = (uint32_t)MIN(len, room ? room : CHUNK_BUFFER);

		memcpy(sbuf_reserve(sb, n), p, n);
		p += n;
		len -= n;
	}
}

void sbuf_write_ref(struct sbuf *sb, struct chunk *chunk, const uint8_t *data, uint32_t len)
{
	Assert(data >= chunk->data && data + len <= chunk->data + chunk->cap);
	append_part(sb, chunk_ref(chunk), (uint32_t)(data - chunk->data), len, false);
	sb->out_bytes += len;
	mark_dirty(sb);
}

void sbuf_mark_secret(struct sbuf *sb)
{
	for (struct sbuf_part *part = sb->out_head; part; part = part->next)
		part->chunk->has_secret |= part->is_buffer;
}

void sbuf_hear_secrets(struct sbuf *sb, bool hears)
{
	sb->hears_secrets = hears;
	if (sb->tls)
		tls_hear_secrets(sb->tls, hears);
}

void sbuf_want_flush(struct sbuf *sb)
{
	mark_dirty(sb);
}

static void sent(struct sbuf *sb, size_t n)
{
	sb->out_bytes -= n;
	while (n > 0) {
		struct sbuf_part *part = sb->out_head;

		if (n < part->len) {
			part->off += (uint32_t)n;
			part->len -= (uint32_t)n;
			return;
		}
		n -= part->len;
		drop_head(sb);
	}
}

static void start_lingering(struct sbuf *sb)
{
	sb->state = SBUF_LINGERING;
	sbuf_read_drop(sb);
	if (sb->tls)
		tls_shutdown(sb->tls);
	shutdown(sb->fd, SHUT_WR);
	timeout_start(sb->loop, &sb->loop->linger_timeouts, &sb->write_timeout);
	event_add(&sb->ev_read, NULL);
}

/* Everything is written. */
static void flushed(struct sbuf *sb)
{
	timeout_stop(&sb->write_timeout);
	if (sb->state == SBUF_FLUSHING)
		start_lingering(sb);
}

void sbuf_flush(struct sbuf *sb)
{
	bool progress = false;

	if (sb->state != SBUF_OPEN && sb->state != SBUF_FLUSHING)
		return;
	if (sb->handler->before_flush) {
		const bool was_dirty = sb->is_dirty;

		sb->is_dirty = true; /* what is queued now leaves now: no second visit */
		sb->handler->before_flush(sb);
		sb->is_dirty = was_dirty;
	}
	sb->last_flush = (uint32_t)MIN(sb->out_bytes, CHUNK_BUFFER);
	while (sb->out_head) {
		const char *why = NULL;
		size_t put = 0;
		enum sbuf_io status = sbuf_io_send(sb, &put, &why);

		if (status == SBUF_IO_CLOSED) {
			sbuf_fail(sb, why);
			return;
		}
		if (status == SBUF_IO_AGAIN) {
			if (progress || !sb->write_waits)
				timeout_start(sb->loop, &sb->loop->write_timeouts, &sb->write_timeout);
			if (!sb->reads_for_write) {
				sb->write_waits = true;
				await_writable(sb);
			}
			break;
		}
		sent(sb, put);
		sb->writes++;
		progress = true;
	}
	if (!sb->out_head)
		flushed(sb);
	if (progress && sb->handler->on_progress && sb->state == SBUF_OPEN)
		sb->handler->on_progress(sb);
}

void sbuf_finish(struct sbuf *sb)
{
	if (sb->state == SBUF_IDLE || sb->state >= SBUF_FLUSHING)
		return;
	if (sb->state != SBUF_OPEN) {
		sbuf_fail(sb, "closed by us");
		return;
	}
	event_del(&sb->ev_read);
	loop_task_stop(&sb->rest_task);
	mark_dirty(sb);
	sb->state = SBUF_FLUSHING;
}
