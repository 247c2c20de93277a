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

#include "cql/segment.h"

/* Larger than any frame or segment that is sent here, so that a read always makes progress. */
#define READ_BUFFER (512 * 1024)

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
	close(p->fd);
	p->fd = -1;
	writer_free(&p->in);
	writer_free(&p->frames);
	writer_free(&p->out);
}

static void lose(struct peer *p, const char *why)
{
	peer_close(p);
	p->handler->on_closed(p, why);
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

uint8_t *peer_frame(struct peer *p, int16_t stream, uint8_t opcode, uint32_t length)
{
	struct writer *w = p->in_segments ? &p->frames : &p->out;
	uint8_t *at = writer_reserve(w, FRAME_HEAD_LEN + length);

	frame_head_write(at, p->is_node, p->version, 0, stream, opcode, length);
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

static void put_segment(struct peer *p, const uint8_t *payload, uint32_t length)
{
	uint8_t *at = writer_reserve(&p->out, SEGMENT_HEAD_PLAIN + length + SEGMENT_TRAILER);

	segment_head_write(at, length, true);
	memcpy(at + SEGMENT_HEAD_PLAIN, payload, length);
	segment_trailer_write(at + SEGMENT_HEAD_PLAIN + length, segment_crc32(segment_crc32_start(), payload, length));
}

/* As many whole frames as fit share a segment. */
static void put_frames_into_segments(struct peer *p)
{
	uint32_t begin = 0;
	uint32_t end = 0;

	while (end < p->frames.len) {
		const uint32_t total = FRAME_HEAD_LEN + get_u32(p->frames.data + end + 5);

		if (total > SEGMENT_MAX_PAYLOAD)
			die("a frame of %u bytes does not fit into a segment", total);
		if (end + total - begin > SEGMENT_MAX_PAYLOAD) {
			put_segment(p, p->frames.data + begin, end - begin);
			begin = end;
		}
		end += total;
	}
	if (end > begin)
		put_segment(p, p->frames.data + begin, end - begin);
	p->frames.len = 0;
}

/* False when the peer was lost: its handler may have freed it. */
static bool flush(struct peer *p)
{
	put_frames_into_segments(p);
	while (p->sent < p->out.len) {
		ssize_t n = send(p->fd, p->out.data + p->sent, p->out.len - p->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!p->waits_for_room)
				set_events(p, EPOLLIN | EPOLLOUT);
			p->waits_for_room = true;
			return true;
		}
		if (n < 0) {
			lose(p, strerror(errno));
			return false;
		}
		p->sent += (uint32_t)n;
	}
	p->sent = 0;
	p->out.len = 0;
	if (p->waits_for_room)
		set_events(p, EPOLLIN);
	p->waits_for_room = false;
	return true;
}

void peer_set_flush(struct peer_set *set)
{
	while (set->dirty) {
		struct peer *p = set->dirty;

		undirty(p);
		if (!p->is_connecting && !p->waits_for_room)
			flush(p);
	}
}

/* ---- reading ---- */

/* Hands up the whole frames; returns the bytes used, stopping where the framing changes. */
static uint32_t take_frames(struct peer *p, uint8_t *data, uint32_t len)
{
	const bool in_segments = p->in_segments;
	uint32_t used = 0;

	while (len - used >= FRAME_HEAD_LEN && p->fd >= 0 && p->in_segments == in_segments) {
		struct frame f;

		frame_head_read(&f, data + used);
		if (f.length > READ_BUFFER / 2)
			die("a frame announces %u bytes", f.length);
		if (len - used - FRAME_HEAD_LEN < f.length)
			break;
		if (f.is_response == p->is_node)
			die("a frame goes the wrong way");
		f.body = data + used + FRAME_HEAD_LEN;
		f.chunk = NULL;
		used += FRAME_HEAD_LEN + f.length;
		p->handler->on_frame(p, &f);
	}
	return used;
}

/* One segment; returns its length, 0 when it is not complete. */
static uint32_t take_segment(struct peer *p, uint8_t *data, uint32_t len)
{
	struct segment s;

	switch (segment_head_read(&s, false, data, len)) {
	case PARSE_AGAIN:
		return 0;
	case PARSE_BAD:
		die("a segment header is damaged");
	case PARSE_OK:
		break;
	}
	if (len < SEGMENT_HEAD_PLAIN + s.wire_len + SEGMENT_TRAILER)
		return 0;
	data += SEGMENT_HEAD_PLAIN;
	if (!segment_payload_ok(data, s.wire_len, data + s.wire_len))
		die("a segment is damaged");
	if (!s.self_contained || take_frames(p, data, s.wire_len) < s.wire_len)
		die("a segment ends within a frame");
	return SEGMENT_HEAD_PLAIN + s.wire_len + SEGMENT_TRAILER;
}

static void take(struct peer *p, uint8_t *data, uint32_t len)
{
	uint32_t used = 0;

	while (used < len && p->fd >= 0) {
		const bool in_segments = p->in_segments;
		uint32_t n = in_segments ? take_segment(p, data + used, len - used)
					 : take_frames(p, data + used, len - used);

		used += n;
		if (n == 0 || (!in_segments && !p->in_segments))
			break;
	}
	if (p->fd < 0)
		return;
	p->in.len = 0;
	if (used < len)
		write_raw(&p->in, data + used, len - used);
}

static void read_some(struct peer *p)
{
	ssize_t n;

	if (p->in.len > 0)
		memcpy(read_buffer, p->in.data, p->in.len);
	do
		n = recv(p->fd, read_buffer + p->in.len, READ_BUFFER - p->in.len, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		take(p, read_buffer, p->in.len + (uint32_t)n);
	else if (n == 0)
		lose(p, "closed by the other side");
	else if (errno != EAGAIN)
		lose(p, strerror(errno));
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
	p->handler->on_open(p);
}

static void on_events(struct source *source, uint32_t events)
{
	struct peer *p = container_of(source, struct peer, source);

	if (p->is_connecting) {
		finish_connecting(p);
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
