/* tls_socket.c - see tls_socket.h */
#include "base/tls_socket.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/common.h"

static BIO_METHOD *method; /* of all sessions, for as long as the process */

static inline int fd_of(BIO *bio)
{
	return (int)(intptr_t)BIO_get_data(bio);
}

static inline bool is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static int socket_write(BIO *bio, const char *data, size_t size, size_t *written)
{
	const ssize_t n = send(fd_of(bio), data, size, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (likely(n > 0)) {
		*written = (size_t)n;
		return 1;
	}
	if (n < 0 && is_transient(errno))
		BIO_set_retry_write(bio);
	return -1;
}

static int socket_read(BIO *bio, char *data, size_t size, size_t *got)
{
	const ssize_t n = recv(fd_of(bio), data, size, 0);

	BIO_clear_retry_flags(bio);
	if (likely(n > 0)) {
		*got = (size_t)n;
		return 1;
	}
	if (n == 0) {
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
		return 0;
	}
	if (is_transient(errno))
		BIO_set_retry_read(bio);
	return -1;
}

static long socket_ctrl(BIO *bio, int command, long number, void *data)
{
	(void)number;
	(void)data;
	switch (command) {
	case BIO_CTRL_FLUSH: /* nothing is kept back */
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

static void make_method(void)
{
	BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "non-blocking socket");

	if (made && BIO_meth_set_write_ex(made, socket_write) == 1 && BIO_meth_set_read_ex(made, socket_read) == 1 &&
	    BIO_meth_set_ctrl(made, socket_ctrl) == 1)
		method = made;
	else
		BIO_meth_free(made);
}

BIO *tls_socket_new(int fd)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	pthread_once(&once, make_method);
	bio = method ? BIO_new(method) : NULL;
	if (!bio)
		return NULL;
	BIO_set_data(bio, (void *)(intptr_t)fd);
	BIO_set_init(bio, 1);
	return bio;
}
