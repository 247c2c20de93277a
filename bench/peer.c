/* peer.c - see peer.h */
#include "peer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "framing.h"

/* What one read takes at most; larger frames are read into memory of their own. */
#define READ_BUFFER (512 * 1024)
/* An incomplete frame that misses more than this is read where it will lie, instead of being moved for the read. */
#define MISSING_MIN 4096
/* Of one sendmsg(). */
#define MAX_PIECES 64

static uint8_t read_buffer[READ_BUFFER];

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- life ---- */

void peer_set_init(struct peer_set *set, int epoll_fd)
{
	*set = (struct peer_set){ .epoll_fd = epoll_fd };
	set->dirty_end = &set->dirty;
}

void source_add(int epoll_fd, int fd, struct source *source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void set_events(struct peer *p, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = &p->source };

	if (epoll_ctl(p->set->epoll_fd, EPOLL_CTL_MOD, p->fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void undirty(struct peer *p)
{
	struct peer **at = &p->set->dirty;

	if (!p->is_dirty)
		return;
	while (*at != p)
		at = &(*at)->next_dirty;
	*at = p->next_dirty;
	if (p->set->dirty_end == &p->next_dirty)
		p->set->dirty_end = at;
	p->is_dirty = false;
}

void peer_close(struct peer *p)
{
	if (p->fd < 0)
		return;
	undirty(p);
	secure_free(p->tls);
	p->tls = NULL;
	close(p->fd);
	p->fd = -1;
	writer_free(&p->in);
	writer_free(&p->large);
	writer_free(&p->frames);
	outbox_free(&p->out);
}

static void lose(struct peer *p, const char *why)
{
	peer_close(p);
	p->handler->on_closed(p, why);
}

/* After a read or write of n bytes: none at the end, -1 with errno. */
static void lose_by(struct peer *p, ssize_t n)
{
	if (n == 0)
		lose(p, "closed by the other side");
	else
		lose(p, p->tls && errno == EPROTO ? secure_error() : strerror(errno));
}

/* ---- writing ---- */

static void mark_dirty(struct peer *p)
{
	if (p->is_dirty)
		return;
	p->is_dirty = true;
	p->next_dirty = NULL;
	*p->set->dirty_end = p;
	p->set->dirty_end = &p->next_dirty;
}

/* Frames that leave as they are need not be packed. */
static bool is_packed(const struct peer *p)
{
	return p->in_segments || p->compression != COMPRESSION_NONE;
}

uint8_t *peer_room(struct peer *p, uint32_t length)
{
	return is_packed(p) ? writer_reserve(&p->frames, length) : outbox_reserve(&p->out, length);
}

void peer_share(struct peer *p, const uint8_t *data, uint32_t length)
{
	/* TLS would make a record of each piece. */
	if (is_packed(p) || p->tls)
		memcpy(peer_room(p, length), data, length);
	else
		outbox_share(&p->out, data, length);
}

uint8_t *peer_frame(struct peer *p, int16_t stream, uint8_t opcode, uint32_t length)
{
	uint8_t *at = peer_room(p, FRAME_HEAD_LEN + length);

	frame_head_write(at, p->is_node, p->version, 0, stream, opcode, length);
	mark_dirty(p);
	return at + FRAME_HEAD_LEN;
}

uint8_t *peer_copy(struct peer *p, const uint8_t *frame, uint32_t length, int16_t stream)
{
	uint8_t *at = peer_room(p, length);

	memcpy(at, frame, length);
	at[0] = (uint8_t)(p->version | (p->is_node ? FRAME_DIRECTION : 0));
	put_u16(at + 2, (uint16_t)stream);
	mark_dirty(p);
	return at + FRAME_HEAD_LEN;
}

void peer_send(struct peer *p, int16_t stream, uint8_t opcode, const void *body, uint32_t length)
{
	uint8_t *at = peer_frame(p, stream, opcode, length);

	if (length > 0)
		memcpy(at, body, length);
}

void peer_use_segments(struct peer *p)
{
	p->in_segments = true;
}

void peer_use_compression(struct peer *p, enum cql_compression compression)
{
	p->compression = compression;
}

static ssize_t write_pieces(struct peer *p)
{
	struct iovec pieces[MAX_PIECES];
	struct msghdr message = { .msg_iov = pieces };

	if (p->tls || p->out.ref_count == 0) {
		const uint8_t *at = p->out.bytes.data + p->out.sent;
		const size_t len = p->out.bytes.len - p->out.sent;

		return p->tls ? secure_write(p->tls, at, len) : send(p->fd, at, len, MSG_NOSIGNAL);
	}
	message.msg_iovlen = outbox_pieces(&p->out, pieces, MAX_PIECES);
	return sendmsg(p->fd, &message, MSG_NOSIGNAL);
}

static void wait_for_room(struct peer *p, bool waits)
{
	if (p->waits_for_room != waits)
		set_events(p, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
	p->waits_for_room = waits;
}

/* False when the peer was lost: its handler may have freed it. */
static bool flush(struct peer *p)
{
	if (p->frames.len > 0)
		framing_pack(p);
	while (!outbox_is_empty(&p->out)) {
		ssize_t n = write_pieces(p);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			wait_for_room(p, true);
			return true;
		}
		if (n <= 0) {
			lose_by(p, n);
			return false;
		}
		outbox_advance(&p->out, (size_t)n);
	}
	wait_for_room(p, false);
	return true;
}

void peer_set_flush(struct peer_set *set)
{
	while (set->dirty) {
		struct peer *p = set->dirty;

		undirty(p);
		if (!p->is_connecting && !p->is_handshaking && !p->waits_for_room)
			flush(p);
	}
}

/* ---- reading ---- */

static ssize_t take_off(struct peer *p, void *buf, size_t size)
{
	ssize_t n;

	do
		n = p->tls ? secure_read(p->tls, buf, size) : recv(p->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Into the global buffer, what is there already of a frame in front. */
static ssize_t read_and_take(struct peer *p)
{
	const uint32_t old = p->in.len;
	uint32_t used;
	uint32_t len;
	ssize_t n;

	if (old > 0)
		memcpy(read_buffer, p->in.data, old);
	n = take_off(p, read_buffer + old, READ_BUFFER - old);
	if (n <= 0)
		return n;
	len = old + (uint32_t)n;
	used = framing_take(p, read_buffer, len);
	if (p->fd < 0)
		return n;
	p->in.len = 0;
	if (used < len)
		write_raw(&p->in, read_buffer + used, len - used);
	return n;
}

/* The rest of a large frame or segment, and nothing behind it. */
static ssize_t read_rest(struct peer *p, uint32_t missing)
{
	struct writer whole;
	ssize_t n = take_off(p, writer_reserve(&p->in, missing), missing);

	p->in.len -= missing - (n > 0 ? (uint32_t)n : 0);
	if (n < (ssize_t)missing)
		return n;
	/* The peer may be closed meanwhile, its buffers freed. */
	whole = p->in;
	p->in = (struct writer){ 0 };
	framing_take(p, whole.data, whole.len);
	whole.len = 0;
	if (p->fd >= 0)
		p->in = whole;
	else
		writer_free(&whole);
	return n;
}

static void read_some(struct peer *p)
{
	ssize_t n;

	p->set->read_ns = clock_ns();
	do {
		const uint32_t need = p->in.len > 0 ? framing_need(p, p->in.data, p->in.len) : 0;

		if (need > p->in.len + MISSING_MIN || need > READ_BUFFER / 2)
			n = read_rest(p, need - p->in.len);
		else
			n = read_and_take(p);
	} while (n > 0 && p->fd >= 0 && p->tls && secure_has_more(p->tls));
	if (n <= 0 && !(n < 0 && errno == EAGAIN))
		lose_by(p, n);
}

/* ---- coming up ---- */

static void handshake(struct peer *p)
{
	bool wants_write = false;
	int rc = secure_handshake(p->tls, &wants_write);

	if (rc < 0) {
		lose_by(p, -1);
		return;
	}
	wait_for_room(p, rc == 0 && wants_write);
	if (rc == 0)
		return;
	p->is_handshaking = false;
	if (p->handler->on_open)
		p->handler->on_open(p);
	/* What came with the end of the handshake is in OpenSSL's buffer. */
	if (p->fd >= 0 && secure_has_more(p->tls))
		read_some(p);
}

static void finish_connecting(struct peer *p)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		lose(p, strerror(error));
		return;
	}
	p->is_connecting = false;
	set_events(p, EPOLLIN);
	if (p->is_handshaking)
		handshake(p);
	else
		p->handler->on_open(p);
}

static void on_events(struct source *source, uint32_t events)
{
	struct peer *p = container_of(source, struct peer, source);

	if (p->is_connecting) {
		finish_connecting(p);
		return;
	}
	if (p->is_handshaking) {
		handshake(p);
		return;
	}
	if ((events & EPOLLOUT) && !flush(p))
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_some(p);
}

static void init(struct peer *p, struct peer_set *set, const struct peer_handler *handler, int fd, uint8_t version)
{
	*p = (struct peer){ .set = set, .handler = handler, .fd = fd, .version = version };
	p->source.on_events = on_events;
	net_prepare_socket(fd);
	source_add(set->epoll_fd, fd, &p->source);
}

void peer_adopt(struct peer *p, struct peer_set *set, const struct peer_handler *handler, int fd, uint8_t version)
{
	init(p, set, handler, fd, version);
	p->is_node = true;
}

bool peer_connect(struct peer *p, struct peer_set *set, const struct peer_handler *handler,
		  const struct net_address *to, uint8_t version)
{
	bool in_progress;
	int fd = net_connect_start(to, &in_progress);

	if (fd < 0)
		return false;
	init(p, set, handler, fd, version);
	p->is_connecting = true;
	set_events(p, EPOLLOUT);
	return true;
}

void peer_secure(struct peer *p, struct ssl_ctx_st *context)
{
	p->tls = secure_new(context, p->fd);
	p->is_handshaking = true;
}
