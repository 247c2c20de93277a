/* sbuf.c - see sbuf.h */
#include "base/sbuf.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/warm.h"

/* A frame that needs more than this gets a buffer of its exact size, into which the socket is read directly. */
#define EXACT_MIN 32768
/*
 * Up to this size the same call also reads what comes behind that frame, into the loop's buffer: both together are no
 * longer than it.
 */
#define EXACT_MAX (LOOP_READ_BUFFER * 3 / 4)
/* Parts handed to one writev(2): 64 outgoing buffers are 1 MiB, more than a socket takes at once. */
#define MAX_IOV 64

enum io_status {
	IO_OK,
	IO_AGAIN,
	IO_CLOSED, /* `why` says by what */
};

/* ---- raw and TLS input and output ---- */

static enum io_status tls_io_status(const struct sbuf *sb, enum tls_status status, const char **why)
{
	switch (status) {
	case TLS_OK:
		return IO_OK;
	case TLS_WANT_READ:
	case TLS_WANT_WRITE:
		return IO_AGAIN;
	case TLS_EOF:
		*why = "closed by the peer";
		return IO_CLOSED;
	case TLS_FAILED:
		break;
	}
	*why = tls_error(sb->tls);
	return IO_CLOSED;
}

/* With `behind`, which TLS does not know, what does not fit into `buf` goes to the beginning of the loop's buffer. */
static ALWAYS_INLINE enum io_status io_recv_to(struct sbuf *sb, void *buf, size_t size, size_t behind, size_t *got,
					       const char **why)
{
	ssize_t n;

	if (sb->tls)
		return tls_io_status(sb, tls_read(sb->tls, buf, size, got), why);
	do {
		struct iovec iov[] = { { buf, size }, { sb->loop->read_buffer, behind } };
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_LEN(iov) };

		n = behind == 0 ? recv(sb->fd, buf, size, 0) : recvmsg(sb->fd, &msg, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		*got = (size_t)n;
		return IO_OK;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return IO_AGAIN;
	*why = n == 0 ? "closed by the peer" : strerror(errno);
	return IO_CLOSED;
}

static enum io_status io_recv(struct sbuf *sb, void *buf, size_t size, size_t *got, const char **why)
{
	return io_recv_to(sb, buf, size, 0, got, why);
}

/* Writes the first part (TLS) or as many parts as one call takes (raw). */
static enum io_status io_send(struct sbuf *sb, size_t *put, const char **why)
{
	struct iovec iov[MAX_IOV];
	unsigned count = 0;
	ssize_t n;

	if (sb->tls) {
		struct sbuf_part *part = sb->out_head;

		enum tls_status status = tls_write(sb->tls, part->chunk->data + part->off, part->len, put);

		sb->reads_for_write = status == TLS_WANT_READ;
		return tls_io_status(sb, status, why);
	}
	for (struct sbuf_part *part = sb->out_head; part && count < MAX_IOV; part = part->next, count++)
		iov[count] = (struct iovec){ part->chunk->data + part->off, part->len };
	do {
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };

		n = count == 1 ? send(sb->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
			       : sendmsg(sb->fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0) {
		*put = (size_t)n;
		return IO_OK;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return IO_AGAIN;
	*why = strerror(errno);
	return IO_CLOSED;
}

/* ---- life and death ---- */

static void drop_input(struct sbuf *sb)
{
	if (sb->in)
		chunk_unref(sb->in);
	sb->in = NULL;
	sb->in_len = 0;
	sb->has_rest = false;
	loop_task_stop(&sb->rest_task);
}

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
	drop_input(sb);
	drop_output(sb);
	sb->write_waits = false;
	sb->prelude = NULL;
	sb->state = SBUF_IDLE;
}

/* The end that the owner did not ask for. `why` may live inside the TLS session, so it is copied first. */
static void fail(struct sbuf *sb, const char *why)
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

	fail(sb, "the peer does not take what is sent to it");
}

void sbuf_on_linger_timeout(struct timeout_item *item)
{
	struct sbuf *sb = container_of(item, struct sbuf, write_timeout);

	fail(sb, "closed by us");
}

/* ---- reading ---- */

/* Keeps what on_data() did not use. False when memory is exhausted. */
static bool keep_tail(struct sbuf *sb, const uint8_t *data, size_t len)
{
	struct chunk *old = sb->in;
	struct chunk *chunk = NULL;
	uint32_t size = (uint32_t)len;

	if (sb->want > EXACT_MIN)
		size = MAX(size, sb->want);
	if (len > 0) {
		chunk = chunk_try_new(&sb->loop->chunks, size);
		if (!chunk)
			return false;
		chunk->has_secret = sb->hears_secrets;
		memcpy(chunk->data, data, len);
	}
	sb->in = chunk;
	sb->in_len = (uint32_t)len;
	if (old)
		chunk_unref(old);
	return true;
}

/* Hands bytes to the owner; false when the sbuf is not open any more. */
static bool deliver(struct sbuf *sb, uint8_t *data, size_t len, struct chunk *chunk)
{
	size_t used;

	sb->want = 0;
	sb->again = false;
	used = sb->handler->on_data(sb, data, len, chunk);
	if (sb->state != SBUF_OPEN)
		return false;
	Assert(used <= len);
	if (len - used == 0) {
		drop_input(sb);
	} else if (!keep_tail(sb, data + used, len - used)) {
		fail(sb, "out of memory for a frame");
		return false;
	}
	/* With `want` set it is the beginning of a frame, and nothing to come back to. */
	sb->has_rest = sb->again || (len > used && sb->is_paused && sb->want == 0);
	if (unlikely(sb->has_rest) && !sb->is_paused)
		loop_task_start(sb->loop, &sb->rest_task);
	return true;
}

/* So many bytes of the loop's read buffer were in use for what may have had secrets. */
static inline void wipe(const struct sbuf *sb, bool had_secrets, size_t len)
{
	if (unlikely(had_secrets))
		explicit_bzero(sb->loop->read_buffer, len);
}

/* What TLS has read ahead makes no socket readable. */
static void read_pending(struct sbuf *sb)
{
	if (sb->state == SBUF_OPEN && sb->tls && !sb->is_paused && tls_has_pending(sb->tls))
		event_active(&sb->ev_read, EV_READ, 0);
}

/* What on_data() left when it paused or stopped, before anything new. */
static void read_rest(struct loop_task *task)
{
	struct sbuf *sb = container_of(task, struct sbuf, rest_task);
	const uint32_t len = sb->in_len;
	const bool has_secrets = sb->hears_secrets;

	if (sb->state != SBUF_OPEN || sb->is_paused || !sb->has_rest)
		return;
	Assert(len <= LOOP_READ_BUFFER);
	sb->has_rest = false;
	if (len > 0)
		memcpy(sb->loop->read_buffer, sb->in->data, len);
	deliver(sb, sb->loop->read_buffer, len, NULL);
	wipe(sb, has_secrets, len);
	read_pending(sb);
}

/* Hands up `len` bytes of the loop's read buffer that were read together with the frame in front of them. */
static void deliver_behind(struct sbuf *sb, size_t len)
{
	uint8_t *data = sb->loop->read_buffer;

	if (sb->in_len > 0) { /* on_data() has not used all of that frame */
		memmove(data + sb->in_len, data, len);
		memcpy(data, sb->in->data, sb->in_len);
		len += sb->in_len;
	}
	if (likely(!sb->has_rest && !sb->is_paused)) {
		deliver(sb, data, len, NULL);
		return;
	}
	sb->want = 0;
	sb->has_rest = true;
	if (!keep_tail(sb, data, len))
		fail(sb, "out of memory for a frame");
}

/*
 * The kept tail lies in a buffer of its frame's own: what the frame lacks is read into it. Large frames often come one
 * after the other, and then the next ones are there as well.
 */
static void read_exact(struct sbuf *sb)
{
	struct chunk *chunk = sb->in;
	const size_t lacks = sb->want - sb->in_len;
	const size_t room = !sb->tls && sb->want <= EXACT_MAX ? LOOP_READ_BUFFER - sb->want : 0;
	const bool has_secrets = sb->hears_secrets;
	const char *why = NULL;
	size_t got = 0;

	switch (io_recv_to(sb, chunk->data + sb->in_len, lacks, room, &got, &why)) {
	case IO_AGAIN:
		return;
	case IO_CLOSED:
		fail(sb, why);
		return;
	case IO_OK:
		break;
	}
	sb->reads++;
	sb->in_len += (uint32_t)MIN(got, lacks);
	if (got < lacks)
		return;
	chunk_ref(chunk);
	if (deliver(sb, chunk->data, sb->in_len, chunk) && got > lacks)
		deliver_behind(sb, got - lacks);
	chunk_unref(chunk);
	/* What was left over of the frame may have come in front of what is behind it. */
	wipe(sb, has_secrets, got > lacks ? LOOP_READ_BUFFER : 0);
}

/* The kept tail is copied to the beginning of the loop's buffer, and what is read goes behind it. */
static void read_open(struct sbuf *sb)
{
	uint8_t *buf = sb->loop->read_buffer;
	const bool has_secrets = sb->hears_secrets;
	size_t have = sb->in_len;
	const char *why = NULL;
	size_t got = 0;

	if (sb->in && sb->want > EXACT_MIN && sb->in->cap >= sb->want) {
		read_exact(sb);
		return;
	}
	if (have)
		memcpy(buf, sb->in->data, have);
	switch (io_recv(sb, buf + have, LOOP_READ_BUFFER - have, &got, &why)) {
	case IO_AGAIN:
		wipe(sb, has_secrets, have);
		return;
	case IO_CLOSED:
		wipe(sb, has_secrets, have);
		fail(sb, why);
		return;
	case IO_OK:
		break;
	}
	sb->reads++;
	have += got;
	deliver(sb, buf, have, NULL);
	wipe(sb, has_secrets, have);
}

void sbuf_drop_input(struct sbuf *sb)
{
	drop_input(sb);
	sb->want = 0;
}

static void read_lingering(struct sbuf *sb)
{
	const char *why = NULL;
	size_t got = 0;
	enum io_status status = io_recv(sb, sb->loop->read_buffer, LOOP_READ_BUFFER, &got, &why);

	wipe(sb, sb->hears_secrets, got);
	if (status == IO_CLOSED)
		fail(sb, "closed by us");
}

static void do_handshake(struct sbuf *sb);
static void read_prelude(struct sbuf *sb);

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct sbuf *sb = arg;

	(void)fd;
	(void)what;
	if (unlikely(sb->loop->on_turn))
		loop_now(sb->loop); /* what is measured begins before the read */
	if (sb->reads_for_write) {
		sb->reads_for_write = false;
		sbuf_flush(sb);
	}
	switch ((enum sbuf_state)sb->state) {
	case SBUF_PRELUDE:
		read_prelude(sb);
		break;
	case SBUF_HANDSHAKE:
		do_handshake(sb);
		break;
	case SBUF_OPEN:
		if (unlikely(sb->has_rest)) /* its turn comes with rest_task */
			break;
		read_open(sb);
		read_pending(sb);
		break;
	case SBUF_LINGERING:
		read_lingering(sb);
		break;
	case SBUF_IDLE:
	case SBUF_CONNECTING:
	case SBUF_FLUSHING:
		break;
	}
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
		read_pending(sb);
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
	read_pending(sb);
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
		fail(sb, "closed by the peer during the TLS handshake");
		return;
	case TLS_FAILED:
		sb->rejected_peer = tls_rejected_peer(sb->tls);
		fail(sb, tls_error(sb->tls));
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
			fail(sb, n == 0 ? "closed by the peer" : strerror(errno));
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
		fail(sb, n < 0 ? strerror(errno) : "closed by the peer");
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
			fail(sb, strerror(error));
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
	loop_task_init(&sb->rest_task, read_rest);
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
	event_assign(&sb->ev_read, sb->loop->base, fd, EV_READ | EV_PERSIST, on_readable, sb);
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
	drop_input(sb);
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
		enum io_status status = io_send(sb, &put, &why);

		if (status == IO_CLOSED) {
			fail(sb, why);
			return;
		}
		if (status == IO_AGAIN) {
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
		fail(sb, "closed by us");
		return;
	}
	event_del(&sb->ev_read);
	loop_task_stop(&sb->rest_task);
	mark_dirty(sb);
	sb->state = SBUF_FLUSHING;
}
