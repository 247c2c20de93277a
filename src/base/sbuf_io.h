/*
 * sbuf_io.h - bytes between an sbuf and its socket, raw or by TLS: what
 * sbuf_read.c and sbuf_flush() have in common. Nothing of it waits.
 */
#ifndef BASE_SBUF_IO_H
#define BASE_SBUF_IO_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/sbuf.h"

/* Parts handed to one writev(2): 64 outgoing buffers are 1 MiB, more than a socket takes at once. */
#define SBUF_IO_MAX_IOV 64

enum sbuf_io {
	SBUF_IO_OK,
	SBUF_IO_AGAIN,
	SBUF_IO_CLOSED, /* `why` says by what */
};

static inline enum sbuf_io sbuf_io_of_tls(const struct sbuf *sb, enum tls_status status, const char **why)
{
	switch (status) {
	case TLS_OK:
		return SBUF_IO_OK;
	case TLS_WANT_READ:
	case TLS_WANT_WRITE:
		return SBUF_IO_AGAIN;
	case TLS_EOF:
		*why = "closed by the peer";
		return SBUF_IO_CLOSED;
	case TLS_FAILED:
		break;
	}
	*why = tls_error(sb->tls);
	return SBUF_IO_CLOSED;
}

/* With `behind`, which TLS does not know, what does not fit into `buf` goes to the beginning of the loop's buffer. */
static ALWAYS_INLINE enum sbuf_io sbuf_io_recv_to(struct sbuf *sb, void *buf, size_t size, size_t behind, size_t *got,
						  const char **why)
{
	ssize_t n;

	if (sb->tls)
		return sbuf_io_of_tls(sb, tls_read(sb->tls, buf, size, got), why);
	do {
		struct iovec iov[] = { { buf, size }, { sb->loop->read_buffer, behind } };
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_LEN(iov) };

		n = behind == 0 ? recv(sb->fd, buf, size, 0) : recvmsg(sb->fd, &msg, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		*got = (size_t)n;
		return SBUF_IO_OK;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return SBUF_IO_AGAIN;
	*why = n == 0 ? "closed by the peer" : strerror(errno);
	return SBUF_IO_CLOSED;
}

static ALWAYS_INLINE enum sbuf_io sbuf_io_recv(struct sbuf *sb, void *buf, size_t size, size_t *got, const char **why)
{
	return sbuf_io_recv_to(sb, buf, size, 0, got, why);
}

/* Writes the first part (TLS) or as many parts as one call takes (raw). */
static inline enum sbuf_io sbuf_io_send(struct sbuf *sb, size_t *put, const char **why)
{
	struct iovec iov[SBUF_IO_MAX_IOV];
	unsigned count = 0;
	ssize_t n;

	if (sb->tls) {
		struct sbuf_part *part = sb->out_head;

		enum tls_status status = tls_write(sb->tls, part->chunk->data + part->off, part->len, put);

		sb->reads_for_write = status == TLS_WANT_READ;
		return sbuf_io_of_tls(sb, status, why);
	}
	for (struct sbuf_part *part = sb->out_head; part && count < SBUF_IO_MAX_IOV; part = part->next, count++)
		iov[count] = (struct iovec){ part->chunk->data + part->off, part->len };
	do {
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };

		n = count == 1 ? send(sb->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
			       : sendmsg(sb->fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0) {
		*put = (size_t)n;
		return SBUF_IO_OK;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return SBUF_IO_AGAIN;
	*why = strerror(errno);
	return SBUF_IO_CLOSED;
}

#endif
