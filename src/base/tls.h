/*
 * tls.h - TLS by OpenSSL 3 for sbuf: contexts (one per worker and role, never
 * changed after they are made) and sessions driven over a non-blocking socket.
 * With sbuf.c the only code that calls SSL_*.
 *
 * TLS 1.2 and 1.3. Sessions use a BIO of ours (tls_socket.h) with read-ahead,
 * partial writes, moving write buffers and SSL_MODE_RELEASE_BUFFERS (16 instead
 * of 48 KiB per idle connection), except while they are warm.
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "base/common.h"
#include "base/strview.h"

struct tls_context;
struct tls;
struct warm_set;

/* Counted by the thread of the sessions, with relaxed stores: another thread may read it. */
struct tls_stats {
	uint64_t done;   /* handshakes */
	uint64_t failed; /* those that came to no end: refused by either side, given up */
	uint64_t open;   /* sessions whose handshake is done */
};

struct tls_options {
	const char *ca;   /* PEM file; client role: the only trust anchors. Server role: for client certificates */
	const char *cert; /* PEM chain, may be NULL in the client role */
	const char *key;  /* PEM, unencrypted; NULL exactly when cert is NULL */
	/*
	 * The content of such a file where it is in memory already; the path is then only its name in messages. Not
	 * needed any more when the context is made. NULL in `p`: read the file.
	 */
	struct strview ca_pem, cert_pem, key_pem;
	bool verify_name;         /* client role: the certificate must name the host (or address) */
	bool require_client_cert; /* server role */
	bool ask_client_cert;     /* the same, but who has none is let in; a bad one is not */
};

/* NULL on failure; `error` then names the file, what failed and OpenSSL's reason. */
struct tls_context *tls_context_new_client(const struct tls_options *o, char *error, size_t error_size);
struct tls_context *tls_context_new_server(const struct tls_options *o, char *error, size_t error_size);
void tls_context_free(struct tls_context *ctx);
/* Sessions that are made from now on count here, which outlives them. */
void tls_context_count(struct tls_context *ctx, struct tls_stats *stats);

enum tls_status {
	TLS_OK,
	TLS_WANT_READ,
	TLS_WANT_WRITE,
	TLS_EOF,    /* the peer has closed */
	TLS_FAILED, /* see tls_error() */
};

/*
 * A session on a connected socket. In the client role `server_name` (may be
 * NULL) is the name the certificate is checked against when the context
 * verifies names, and is sent as SNI when it is a DNS name, never when it is
 * an address (RFC 6066, section 3). NULL when memory is exhausted.
 */
struct tls *tls_new(struct tls_context *ctx, int fd, const char *server_name);
/*
 * Before the handshake, client role: sends this SNI name instead of the one
 * that the certificate is checked against. For a proxy in front of several
 * servers that has one certificate, its own, and tells them apart by SNI.
 */
void tls_set_sni(struct tls *tls, const char *sni);
/*
 * Right after tls_new(): after some calls of tls_read(), and as long as there are more, the session keeps its buffers
 * between records, if the set has a place. The set outlives it.
 */
void tls_keep_warm(struct tls *tls, struct warm_set *set);
void tls_free(struct tls *tls);

enum tls_status tls_handshake(struct tls *tls);
enum tls_status tls_read(struct tls *tls, void *buf, size_t size, size_t *got);
enum tls_status tls_write(struct tls *tls, const void *buf, size_t size, size_t *put);
/* Whether what tls_read() has given out is overwritten in the session's own buffer at once. */
void tls_hear_secrets(struct tls *tls, bool hears);
/* True when bytes were read ahead, so that the socket may never become readable for them. */
bool tls_has_pending(const struct tls *tls);
/* Sends close_notify if that is possible at once. */
void tls_shutdown(struct tls *tls);
/* True after a handshake that failed because the peer's certificate is none that we accept: trying again is of no use. */
bool tls_rejected_peer(const struct tls *tls);
/*
 * The subject of the peer's certificate as RFC 2253 writes it (and `openssl x509 -subject -nameopt RFC2253`), after a
 * handshake in which it was checked; also for a session that was resumed. NULL when there was none; else to be freed.
 */
char *tls_peer_subject(const struct tls *tls);
/* Why the last call gave TLS_FAILED, in words a person can act on ("certificate verify failed: self-signed
 * certificate in certificate chain", "peer does not speak TLS"). Valid until the next call on the session. */
const char *tls_error(const struct tls *tls);

#endif
