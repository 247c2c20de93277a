/*
 * tls.c - TLS by OpenSSL 3: contexts, sessions, and errors in words.
 *
 * What OpenSSL would do by itself and is not wanted here: trust the system's
 * certificates (only the CA file given counts), ask for a key's passphrase on
 * the terminal, renegotiate, keep sessions in a locked cache (tickets carry
 * them instead), and report a failed verification as one number.
 */
#include "base/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/net.h"
#include "base/tls_file.h"
#include "base/tls_socket.h"
#include "base/warm.h"

#define TLS_ERROR_MAX 512
#define TICKET_KEYS_LEN 80

struct tls_context {
	SSL_CTX *ssl_ctx;
	bool is_server;
	bool verify_name;
	struct tls_stats *stats; /* NULL: nobody counts */
};

struct tls {
	SSL *ssl;
	char *name;  /* client role, name verified: what the certificate must be for */
	char *error; /* TLS_ERROR_MAX bytes, made by the first failure */
	struct tls_stats *stats;
	struct warm_item warm; /* keeps its buffers between records */
	bool is_server;
	bool verify_name;
	bool is_open;        /* the handshake is done */
	bool has_failed;     /* nothing more may be sent, not even close_notify */
	bool has_pending;    /* see tls_has_pending() */
	bool has_received;   /* at least one byte of the owner's */
	bool rejected_peer;  /* its certificate did not pass verification */
	bool cert_missing;   /* client role: the peer asked for a certificate and we have none */
	enum tls_status end; /* TLS_OK until the peer's half is over, then TLS_EOF or TLS_FAILED for ever */
};

/* ---- what a failed verification means ---- */

static void set_error(struct tls *tls, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void set_error(struct tls *tls, const char *fmt, ...)
{
	va_list args;

	if (!tls->error)
		tls->error = xmalloc(TLS_ERROR_MAX);
	va_start(args, fmt);
	vsnprintf(tls->error, TLS_ERROR_MAX, fmt, args);
	va_end(args);
}

/* Drains a memory BIO into text; what is no printable ASCII becomes '?', the peer chose these bytes. */
static void bio_to_text(BIO *bio, char *out, size_t size)
{
	int n = BIO_read(bio, out, (int)size - 1);

	out[n > 0 ? n : 0] = '\0';
	for (char *p = out; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	if (BIO_pending(bio) > 0 && size > 4)
		memcpy(out + size - 4, "...", 4);
	BIO_free(bio);
}

static void format_name(const X509_NAME *name, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio)
		X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB & ~XN_FLAG_SPC_EQ);
	bio_to_text(bio, out, size);
}

static void format_time(const ASN1_TIME *time, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio)
		ASN1_TIME_print_ex(bio, time, ASN1_DTFLGS_ISO8601);
	bio_to_text(bio, out, size);
}

/* The names a certificate may be used under: DNS names and addresses, else its common name (RFC 6125, 6.4.4). */
static void format_identities(X509 *cert, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	BIO *bio = BIO_new(BIO_s_mem());
	const char *comma = "";
	char common[128];
	char ip[NET_TEXT_MAX];

	for (int i = 0; bio && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		struct net_address a;

		if (name->type == GEN_DNS) {
			BIO_printf(bio, "%s%.*s", comma, ASN1_STRING_length(name->d.dNSName),
				   (const char *)ASN1_STRING_get0_data(name->d.dNSName));
		} else if (name->type == GEN_IPADD &&
			   net_from_bytes(ASN1_STRING_get0_data(name->d.iPAddress),
					  (unsigned)ASN1_STRING_length(name->d.iPAddress), 0, &a)) {
			BIO_printf(bio, "%s%s", comma, net_format_ip(&a, ip));
		} else {
			continue;
		}
		comma = ", ";
	}
	if (bio && !*comma) {
		const X509_NAME *subject = X509_get_subject_name(cert);
		bool has_one = X509_NAME_get_text_by_NID(subject, NID_commonName, common, sizeof(common)) > 0;

		BIO_printf(bio, "%s", has_one ? common : "no name at all");
	}
	GENERAL_NAMES_free(names);
	bio_to_text(bio, out, size);
}

static void explain_verification(struct tls *tls, X509_STORE_CTX *store)
{
	int code = X509_STORE_CTX_get_error(store);
	X509 *cert = X509_STORE_CTX_get_current_cert(store);
	char subject[128], issuer[128], detail[256];

	if (!cert) {
		set_error(tls, "certificate verify failed: %s", X509_verify_cert_error_string(code));
		return;
	}
	format_name(X509_get_subject_name(cert), subject, sizeof(subject));
	format_name(X509_get_issuer_name(cert), issuer, sizeof(issuer));
	switch (code) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		format_identities(cert, detail, sizeof(detail));
		set_error(tls, "certificate verify failed: the certificate is for %s, not for %s", detail, tls->name);
		return;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		format_time(X509_get0_notAfter(cert), detail, sizeof(detail));
		set_error(tls, "certificate verify failed: the certificate of %s has expired on %s", subject, detail);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		format_time(X509_get0_notBefore(cert), detail, sizeof(detail));
		set_error(tls, "certificate verify failed: the certificate of %s is not valid before %s", subject,
			  detail);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		set_error(tls, "certificate verify failed: %s (certificate of %s, issued by %s; not by our CA)",
			  X509_verify_cert_error_string(code), subject, issuer);
		return;
	default:
		set_error(tls, "certificate verify failed: %s (certificate of %s, issued by %s)",
			  X509_verify_cert_error_string(code), subject, issuer);
	}
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (!ok)
		explain_verification(SSL_get_app_data(ssl), store);
	return ok;
}

/* Client role without a certificate: the peer asks for one. Returning 0 goes on without. */
static int on_cert_wanted(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
	struct tls *tls = SSL_get_app_data(ssl);

	(void)cert;
	(void)key;
	tls->cert_missing = true;
	return 0;
}

/* ---- contexts ---- */

/* One set for all server contexts of the process, so that a ticket of one worker is good for the others. */
static unsigned char ticket_keys[TICKET_KEYS_LEN];
static bool ticket_keys_made;

static void make_ticket_keys(void)
{
	ticket_keys_made = RAND_priv_bytes(ticket_keys, sizeof(ticket_keys)) == 1;
}

/*
 * A ticket is only good for a listener with the same certificates and demands:
 * without this, one from a listener that asks for no client certificate would
 * pass at one that does.
 */
static bool set_session_id(SSL_CTX *ctx, EVP_MD_CTX *id, const struct tls_options *o)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len;
	unsigned char demands = (unsigned char)(o->require_client_cert | o->ask_client_cert << 1);

	return EVP_DigestUpdate(id, &demands, 1) == 1 && EVP_DigestFinal_ex(id, digest, &digest_len) == 1 &&
	       SSL_CTX_set_session_id_context(ctx, digest, MIN(digest_len, SSL_MAX_SID_CTX_LENGTH)) == 1;
}

static bool set_common(SSL_CTX *ctx)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_max_proto_version(ctx, 0) == 1;
}

static bool set_server(SSL_CTX *ctx, EVP_MD_CTX *id, const struct tls_options *o)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (o->require_client_cert)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
	else if (o->ask_client_cert)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	pthread_once(&once, make_ticket_keys);
	return ticket_keys_made && SSL_CTX_set_tlsext_ticket_keys(ctx, ticket_keys, sizeof(ticket_keys)) == 1 &&
	       set_session_id(ctx, id, o);
}

static const char *wrong_options(const struct tls_options *o, bool is_server)
{
	if (!o->cert != !o->key)
		return "a certificate and a key only work together, one of them is missing";
	if (is_server && !o->cert)
		return "a server needs a certificate and a key";
	if (is_server && (o->require_client_cert || o->ask_client_cert) && !o->ca)
		return "client certificates cannot be asked for without a CA to check them against";
	if (!is_server && !o->ca)
		return "a CA file is needed to check the peer's certificate against";
	return NULL;
}

static struct tls_context *context_new(const struct tls_options *o, bool is_server, char *error, size_t error_size)
{
	const char *wrong = wrong_options(o, is_server);
	struct tls_context *result = NULL;
	SSL_CTX *ctx = NULL;
	EVP_MD_CTX *id = NULL;

	ERR_clear_error();
	if (wrong) {
		snprintf(error, error_size, "%s", wrong);
		return NULL;
	}
	snprintf(error, error_size, "TLS cannot be set up");
	ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	id = EVP_MD_CTX_new();
	if (!ctx || !id || EVP_DigestInit_ex(id, EVP_sha256(), NULL) != 1 || !set_common(ctx)) {
		snprintf(error, error_size, "TLS cannot be set up: %s", tls_file_reason());
		goto out;
	}
	if (o->ca && !tls_file_load_ca(ctx, o->ca, o->ca_pem, id, error, error_size))
		goto out;
	if (o->cert && !tls_file_load_chain(ctx, o->cert, o->cert_pem, id, error, error_size))
		goto out;
	if (o->key && !tls_file_load_key(ctx, o->key, o->key_pem, o->cert, error, error_size))
		goto out;
	if (is_server && !set_server(ctx, id, o)) {
		snprintf(error, error_size, "TLS cannot be set up: %s", tls_file_reason());
		goto out;
	}
	if (!is_server)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	if (!is_server && !o->cert)
		SSL_CTX_set_client_cert_cb(ctx, on_cert_wanted);
	result = xcalloc(1, sizeof(*result));
	result->ssl_ctx = ctx;
	result->is_server = is_server;
	result->verify_name = !is_server && o->verify_name;
	ctx = NULL;
	error[0] = '\0';
out:
	EVP_MD_CTX_free(id);
	SSL_CTX_free(ctx);
	ERR_clear_error();
	return result;
}

struct tls_context *tls_context_new_client(const struct tls_options *o, char *error, size_t error_size)
{
	return context_new(o, false, error, error_size);
}

struct tls_context *tls_context_new_server(const struct tls_options *o, char *error, size_t error_size)
{
	return context_new(o, true, error, error_size);
}

void tls_context_free(struct tls_context *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl_ctx);
	free(ctx);
}

void tls_context_count(struct tls_context *ctx, struct tls_stats *stats)
{
	if (ctx)
		ctx->stats = stats;
}

/* ---- sessions ---- */

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* What the certificate must say, and SNI. False when OpenSSL refuses the name. */
static bool set_name(struct tls *tls, const char *name)
{
	size_t len = strlen(name);
	struct net_address a;
	uint8_t bytes[16];

	/* The dot that ends a fully qualified name belongs to neither (RFC 6066, section 3). */
	tls->name = xstrndup(name, len > 1 && name[len - 1] == '.' ? len - 1 : len);
	if (net_parse_ip(name, 0, &a)) {
		unsigned n = net_to_bytes(&a, bytes);

		return !tls->verify_name || X509_VERIFY_PARAM_set1_ip(SSL_get0_param(tls->ssl), bytes, n) == 1;
	}
	if (SSL_set_tlsext_host_name(tls->ssl, tls->name) != 1)
		return false;
	SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return !tls->verify_name || SSL_set1_host(tls->ssl, tls->name) == 1;
}

struct tls *tls_new(struct tls_context *ctx, int fd, const char *server_name)
{
	struct tls *tls = xcalloc(1, sizeof(*tls));
	BIO *bio = tls_socket_new(fd);

	ERR_clear_error();
	tls->is_server = ctx->is_server;
	tls->verify_name = ctx->verify_name;
	tls->ssl = SSL_new(ctx->ssl_ctx);
	if (!tls->ssl || !bio) {
		BIO_free(bio);
		tls_free(tls);
		return NULL;
	}
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	tls->stats = ctx->stats;
	if (tls->is_server) {
		SSL_set_accept_state(tls->ssl);
		return tls;
	}
	SSL_set_connect_state(tls->ssl);
	/* A session that cannot check what it must is refused by tls_handshake(), before a byte leaves. */
	if (server_name && *server_name && !set_name(tls, server_name)) {
		tls->end = TLS_FAILED;
		set_error(tls, "'%s' cannot be used as the name of a TLS server", server_name);
	} else if (tls->verify_name && !tls->name) {
		tls->end = TLS_FAILED;
		set_error(tls, "there is no name to check the certificate against");
	}
	tls->has_failed = tls->end == TLS_FAILED;
	return tls;
}

/*
 * Gives the buffers back. SSL_free_buffers() refuses while bytes of a record wait in them; up to OpenSSL 3.0.13 it did
 * not in two cases (CVE-2024-4741), which are asked for here: a record of which only the header has been looked at, and
 * one that was not read to its end. They go back by the mode then, with the end of that record and with the next write.
 */
static void cool(struct warm_item *item)
{
	SSL *ssl = container_of(item, struct tls, warm)->ssl;
	const bool is_between_records = !strcmp(SSL_rstate_string(ssl), "RH") && SSL_pending(ssl) == 0;

	SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	if (is_between_records)
		(void)SSL_free_buffers(ssl);
}

void tls_keep_warm(struct tls *tls, struct warm_set *set)
{
	warm_item_init(&tls->warm, set, cool);
}

void tls_set_sni(struct tls *tls, const char *sni)
{
	/* OpenSSL copies the name, but its macro casts away that it is const. */
	char *name = (char *)(uintptr_t)sni;

	if (tls->end != TLS_OK || SSL_set_tlsext_host_name(tls->ssl, name) == 1)
		return;
	tls->end = TLS_FAILED;
	tls->has_failed = true;
	set_error(tls, "'%s' cannot be used as the name of a TLS server", sni);
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	if (tls->stats && tls->is_open)
		count(&tls->stats->open, (uint64_t)-1);
	else if (tls->stats)
		count(&tls->stats->failed, 1);
	warm_leave(&tls->warm);
	SSL_free(tls->ssl);
	free(tls->name);
	free(tls->error);
	free(tls);
}

/*
 * Servers end a connection whose certificate they miss in many ways: with one
 * of several alerts, with a reset, silently, and under TLS 1.3 only after our
 * handshake is done.
 */
static const char *hint_of_missing_cert(const struct tls *tls)
{
	bool likely_reason = tls->cert_missing && !tls->has_received;

	return likely_reason ? "; it asked for a client certificate and none is configured" : "";
}

/* An alert from the peer: its name, and what to do about it where that is known. */
static void explain_alert(struct tls *tls, int alert)
{
	const char *hint = hint_of_missing_cert(tls);
	const char *name = SSL_alert_desc_string_long(alert);

	if (alert == TLS13_AD_CERTIFICATE_REQUIRED)
		name = "certificate required"; /* OpenSSL 3.0 has no words for this one */
	if (alert == SSL_AD_UNKNOWN_CA)
		hint = "; it does not trust the CA of our certificate";
	else if (alert == SSL_AD_PROTOCOL_VERSION)
		hint = "; it does not speak TLS 1.2 or 1.3";
	set_error(tls, "the peer refused: %s%s", name, hint);
}

static void explain(struct tls *tls, int kind, int saved_errno)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);

	if (kind == SSL_ERROR_SYSCALL || ERR_SYSTEM_ERROR(code)) {
		set_error(tls, "%s%s", saved_errno ? strerror(saved_errno) : "closed by the peer",
			  hint_of_missing_cert(tls));
		return;
	}
	switch (reason) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		tls->rejected_peer = true;
		if (!tls->error) /* else on_verify() has said it better */
			set_error(tls, "certificate verify failed");
		return;
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		set_error(tls, "closed by the peer%s%s", tls->is_open ? "" : " during the TLS handshake",
			  hint_of_missing_cert(tls));
		return;
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_UNKNOWN_PROTOCOL:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
		set_error(tls, "the peer does not speak TLS");
		return;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
		set_error(tls, "the peer speaks neither TLS 1.2 nor 1.3");
		return;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		set_error(tls, "the peer gave no certificate, and one is required");
		return;
	case SSL_R_NO_SHARED_CIPHER:
		set_error(tls, "the peer offers no cipher suite that we accept");
		return;
	default:
		if (reason > SSL_AD_REASON_OFFSET)
			explain_alert(tls, reason - SSL_AD_REASON_OFFSET);
		else
			set_error(tls, "TLS error: %s", ERR_reason_error_string(code));
	}
}

/* The status of a call that returned rc, which was no success. */
static enum tls_status failure(struct tls *tls, int rc)
{
	int saved_errno = errno;
	int kind = SSL_get_error(tls->ssl, rc);

	switch (kind) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		tls->end = TLS_EOF;
		return TLS_EOF;
	default:
		break;
	}
	tls->has_failed = true;
	/* Peers close without close_notify all the time; frames carry their lengths, so nothing is cut unnoticed. */
	if (tls->is_open && !*hint_of_missing_cert(tls) &&
	    ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		tls->end = TLS_EOF;
	} else {
		tls->end = TLS_FAILED;
		explain(tls, kind, saved_errno);
	}
	return tls->end;
}

enum tls_status tls_handshake(struct tls *tls)
{
	int rc;

	if (tls->end != TLS_OK)
		return tls->end;
	ERR_clear_error();
	errno = 0;
	rc = SSL_do_handshake(tls->ssl);
	if (rc != 1)
		return failure(tls, rc);
	tls->is_open = true;
	tls->has_pending = SSL_has_pending(tls->ssl);
	if (tls->stats) {
		count(&tls->stats->done, 1);
		count(&tls->stats->open, 1);
	}
	return TLS_OK;
}

/*
 * Before each call whose failure SSL_get_error() is to explain, which takes
 * what lies in the thread's queue for its own. ERR_clear_error() walks over all
 * its places even when they are empty, so it is asked first.
 */
static inline void forget_errors(void)
{
	if (unlikely(ERR_peek_error() != 0))
		ERR_clear_error();
}

enum tls_status tls_read(struct tls *tls, void *buf, size_t size, size_t *got)
{
	enum tls_status status = TLS_OK;
	size_t total = 0;

	*got = 0;
	tls->has_pending = false;
	if (tls->end != TLS_OK)
		return tls->end;
	/*
	 * One record a call; go on as long as bytes of further ones were read
	 * ahead, for which the socket never becomes readable. Without such bytes
	 * another call would only cost a read(2) that finds nothing.
	 */
	do {
		size_t n = 0;
		int rc;

		forget_errors();
		errno = 0;
		rc = SSL_read_ex(tls->ssl, (uint8_t *)buf + total, size - total, &n);
		if (rc != 1) {
			status = failure(tls, rc);
			break;
		}
		total += n;
	} while (total < size && SSL_has_pending(tls->ssl));
	*got = total;
	if (total == 0)
		return status;
	tls->has_received = true;
	if (warm_use(&tls->warm))
		SSL_clear_mode(tls->ssl, SSL_MODE_RELEASE_BUFFERS);
	/* After TLS_WANT_READ there may be half a record left, which is no reason to call again. */
	tls->has_pending = tls->end != TLS_OK || (status == TLS_OK && SSL_has_pending(tls->ssl));
	return TLS_OK;
}

enum tls_status tls_write(struct tls *tls, const void *buf, size_t size, size_t *put)
{
	int rc;

	*put = 0;
	if (tls->has_failed)
		return tls->end;
	if (size == 0) /* nothing to OpenSSL means something else than to write(2) */
		return TLS_OK;
	forget_errors();
	errno = 0;
	rc = SSL_write_ex(tls->ssl, buf, size, put);
	return rc == 1 ? TLS_OK : failure(tls, rc);
}

bool tls_has_pending(const struct tls *tls)
{
	return tls->has_pending;
}

void tls_shutdown(struct tls *tls)
{
	if (!tls->is_open || tls->has_failed)
		return;
	ERR_clear_error();
	(void)SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

bool tls_rejected_peer(const struct tls *tls)
{
	return tls->rejected_peer;
}

void tls_hear_secrets(struct tls *tls, bool hears)
{
	if (hears)
		SSL_set_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
	else
		SSL_clear_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

char *tls_peer_subject(const struct tls *tls)
{
	X509 *cert = tls->is_open ? SSL_get0_peer_certificate(tls->ssl) : NULL;
	char *subject = NULL;
	const char *text;
	BIO *out;
	long len;

	/* Without SSL_VERIFY_PEER nobody has looked at it. */
	if (!cert || !(SSL_get_verify_mode(tls->ssl) & SSL_VERIFY_PEER) || SSL_get_verify_result(tls->ssl) != X509_V_OK)
		return NULL;
	out = BIO_new(BIO_s_mem());
	if (out && X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
		len = BIO_get_mem_data(out, &text);
		subject = xstrndup(text, (size_t)len);
	}
	BIO_free(out);
	ERR_clear_error();
	return subject;
}

const char *tls_error(const struct tls *tls)
{
	return tls->error ? tls->error : "the connection is closed";
}
