/* secure.c - see secure.h */
#include "secure.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "peer.h"

const char *secure_error(void)
{
	const unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	/* A file that cannot be read: errno is in it, and OpenSSL has no words for that. */
	if (ERR_SYSTEM_ERROR(error))
		return strerror(ERR_GET_REASON(error));
	return reason ? reason : "TLS error";
}

static SSL_CTX *context_new(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		die("TLS: %s", secure_error());
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

SSL_CTX *secure_context_server(const char *cert, const char *key)
{
	SSL_CTX *ctx = context_new(TLS_server_method());

	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		die("%s: %s", cert, secure_error());
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die("%s: %s", key, secure_error());
	return ctx;
}

SSL_CTX *secure_context_client(const char *ca)
{
	SSL_CTX *ctx = context_new(TLS_client_method());

	if (ca && SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1)
		die("%s: %s", ca, secure_error());
	SSL_CTX_set_verify(ctx, ca ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	return ctx;
}

SSL *secure_new(SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	if (!ssl || SSL_set_fd(ssl, fd) != 1)
		die("TLS: %s", secure_error());
	if (SSL_is_server(ssl))
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

void secure_free(SSL *ssl)
{
	SSL_free(ssl);
}

/* What a call that gave rc, no success, comes to: 0 or -1 with errno. */
static int failure(SSL *ssl, int rc)
{
	const int saved_errno = errno;

	switch (SSL_get_error(ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		errno = saved_errno ? saved_errno : ECONNRESET;
		return -1;
	default:
		if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return 0;
		errno = EPROTO;
		return -1;
	}
}

int secure_handshake(SSL *ssl, bool *wants_write)
{
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_do_handshake(ssl);
	if (rc == 1)
		return 1;
	*wants_write = SSL_get_error(ssl, rc) == SSL_ERROR_WANT_WRITE;
	rc = failure(ssl, rc);
	if (rc == 0) {
		errno = ECONNRESET;
		return -1;
	}
	return errno == EAGAIN ? 0 : -1;
}

ssize_t secure_read(SSL *ssl, void *buf, size_t size)
{
	size_t total = 0;

	/* A call gives one record at most. */
	do {
		size_t n = 0;
		int rc;

		ERR_clear_error();
		errno = 0;
		rc = SSL_read_ex(ssl, (uint8_t *)buf + total, size - total, &n);
		if (rc != 1)
			return total > 0 ? (ssize_t)total : failure(ssl, rc);
		total += n;
	} while (total < size && SSL_has_pending(ssl));
	return (ssize_t)total;
}

ssize_t secure_write(SSL *ssl, const void *buf, size_t size)
{
	size_t n = 0;
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_write_ex(ssl, buf, size, &n);
	return rc == 1 ? (ssize_t)n : failure(ssl, rc);
}

bool secure_has_more(const SSL *ssl)
{
	return SSL_has_pending(ssl);
}
