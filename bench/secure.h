/*
 * secure.h - TLS of cqlbench's connections. The proxy's own layer (base/tls.h)
 * is not used: it has no client that leaves the server unchecked, and what is
 * measured should not measure itself.
 */
#ifndef BENCH_SECURE_H
#define BENCH_SECURE_H

#include <sys/types.h>

#include "base/common.h"

/* SSL_CTX and SSL of OpenSSL. */
struct ssl_ctx_st;
struct ssl_st;

/* Both end the program with a message when a file is of no use. */
struct ssl_ctx_st *secure_context_server(const char *cert, const char *key);
/* `ca`: a PEM file the proxy's certificate is checked against, whatever name it has; NULL: it is not checked. */
struct ssl_ctx_st *secure_context_client(const char *ca);

/* A session on a connected socket. */
struct ssl_st *secure_new(struct ssl_ctx_st *ctx, int fd);
void secure_free(struct ssl_st *ssl);

/*
 * As recv(2) and send(2): what has been read or written, 0 for the end, -1 with errno. A call that OpenSSL cannot finish
 * now is EAGAIN. The handshake comes first: 1 when it is done, 0 when not yet (*wants_write says what it waits for).
 */
int secure_handshake(struct ssl_st *ssl, bool *wants_write);
ssize_t secure_read(struct ssl_st *ssl, void *buf, size_t size);
ssize_t secure_write(struct ssl_st *ssl, const void *buf, size_t size);
/* More has been taken off the socket than was given out: it may not become readable again. */
bool secure_has_more(const struct ssl_st *ssl);
/* After -1 with an errno of EPROTO: what OpenSSL says. */
const char *secure_error(void);

#endif
