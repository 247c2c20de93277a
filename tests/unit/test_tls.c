/*
 * test_tls.c - both roles over a socket pair, with certificates made on the
 * fly. The cast: "ca" signs what is good, "otherca" is trusted by nobody here.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/tls.h"
#include "pki.h"

static char error[512];

/* ---- two ends of a connection ---- */

struct pair {
	struct tls *client, *server;
	enum tls_status client_status, server_status; /* of the handshake */
	int client_fd, server_fd;
};

static struct tls_context *client_context(const char *ca, const char *cert, bool verify_name)
{
	char cert_file[64], key_file[64];
	struct tls_options o = { .ca = pki_path(ca), .verify_name = verify_name };
	struct tls_context *ctx;

	if (cert) {
		snprintf(cert_file, sizeof(cert_file), "%s.crt", cert);
		snprintf(key_file, sizeof(key_file), "%s.key", cert);
		o.cert = pki_path(cert_file);
		o.key = pki_path(key_file);
	}
	ctx = tls_context_new_client(&o, error, sizeof(error));
	ck_assert_msg(ctx != NULL, "client: %s", error);
	return ctx;
}

static struct tls_context *server_context(const char *cert, const char *ca)
{
	char cert_file[64], key_file[64];
	struct tls_options o = { .ca = ca ? pki_path(ca) : NULL, .require_client_cert = ca != NULL };
	struct tls_context *ctx;

	snprintf(cert_file, sizeof(cert_file), "%s.crt", cert);
	snprintf(key_file, sizeof(key_file), "%s.key", cert);
	o.cert = pki_path(cert_file);
	o.key = pki_path(key_file);
	ctx = tls_context_new_server(&o, error, sizeof(error));
	ck_assert_msg(ctx != NULL, "server: %s", error);
	return ctx;
}

static void make_sockets(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static bool goes_on(enum tls_status status)
{
	return status == TLS_WANT_READ || status == TLS_WANT_WRITE;
}

/* Makes both ends, frees the contexts (sessions must outlive them) and shakes hands as far as it goes. */
static struct pair connect_pair(struct tls_context *client, struct tls_context *server, const char *name)
{
	struct pair p = { .client_status = TLS_WANT_READ, .server_status = TLS_WANT_READ };
	int fds[2];

	make_sockets(fds);
	p.client_fd = fds[0];
	p.server_fd = fds[1];
	p.client = tls_new(client, fds[0], name);
	p.server = tls_new(server, fds[1], NULL);
	ck_assert(p.client && p.server);
	tls_context_free(client);
	tls_context_free(server);
	for (int i = 0; i < 20; i++) {
		if (goes_on(p.client_status))
			p.client_status = tls_handshake(p.client);
		if (goes_on(p.server_status))
			p.server_status = tls_handshake(p.server);
	}
	return p;
}

static void end_pair(struct pair *p)
{
	tls_free(p->client);
	tls_free(p->server);
	close(p->client_fd);
	close(p->server_fd);
}

static void expect_text(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "'%s' should contain '%s'", text, part);
}

static void send_text(struct tls *from, const char *text)
{
	size_t put;

	ck_assert_int_eq(tls_write(from, text, strlen(text), &put), TLS_OK);
	ck_assert_uint_eq(put, strlen(text));
}

static void expect_data(struct tls *to, const char *text)
{
	char buf[256];
	size_t got;

	ck_assert_int_eq(tls_read(to, buf, sizeof(buf), &got), TLS_OK);
	ck_assert_uint_eq(got, strlen(text));
	ck_assert_int_eq(memcmp(buf, text, got), 0);
}

static void expect_open(struct pair *p)
{
	ck_assert_msg(p->client_status == TLS_OK, "client: %s", tls_error(p->client));
	ck_assert_msg(p->server_status == TLS_OK, "server: %s", tls_error(p->server));
	send_text(p->client, "ping");
	expect_data(p->server, "ping");
	send_text(p->server, "pong");
	expect_data(p->client, "pong");
}

/* The client refuses the server's certificate. */
static void expect_refused(struct pair *p, const char *part)
{
	ck_assert_int_eq(p->client_status, TLS_FAILED);
	expect_text(tls_error(p->client), "certificate verify failed: ");
	expect_text(tls_error(p->client), part);
	ck_assert_int_eq(p->server_status, TLS_FAILED);
	expect_text(tls_error(p->server), "the peer refused: ");
}

/* ---- which certificates are good for which names ---- */

static const struct {
	const char *server; /* certificate */
	const char *name;   /* asked for */
	const char *ca;
	bool verify_name;
	const char *refusal; /* NULL: accepted */
} verifications[] = {
	{ "node", "node.example", "ca.crt", true, NULL },
	{ "node", "NODE.Example.", "ca.crt", true, NULL },
	{ "node", "127.0.0.3", "ca.crt", true, NULL },
	{ "node", "fd00::1", "ca.crt", true, NULL },
	{ "node", "a.wild.example", "ca.crt", true, NULL },
	{ "node", "other.example", "ca.crt", true,
	  "the certificate is for node.example, *.wild.example, w*.part.example, 127.0.0.3, fd00::1, not for other.example" },
	{ "node", "127.0.0.4", "ca.crt", true, "not for 127.0.0.4" },
	{ "node", "a.b.wild.example", "ca.crt", true, "not for a.b.wild.example" },
	{ "node", "web.part.example", "ca.crt", true, "not for web.part.example" },
	{ "node", "node.example.org", "ca.crt", true, "not for node.example.org" },
	{ "node", "other.example", "ca.crt", false, NULL },
	{ "node", NULL, "ca.crt", false, NULL },
	/* without a subjectAltName the common name counts, for names only */
	{ "onlycn", "cn.example", "ca.crt", true, NULL },
	{ "onlycn", "x.example", "ca.crt", true, "the certificate is for cn.example, not for x.example" },
	{ "evil", "x.example", "ca.crt", true, "is for evil?name, not for x.example" },
	{ "expired", "node.example", "ca.crt", false, "the certificate of CN=expired has expired on 20" },
	{ "early", "node.example", "ca.crt", false, "the certificate of CN=early is not valid before 20" },
	{ "node", "node.example", "otherca.crt", false,
	  "unable to get local issuer certificate (certificate of CN=node, issued by CN=ca; not by our CA)" },
	{ "selfsigned", "node.example", "ca.crt", false, "self-signed certificate (certificate of CN=selfsigned" },
	{ "selfsigned", "node.example", "selfsigned.crt", true, NULL },
	{ "clientonly", "node.example", "ca.crt", false, "unsuitable certificate purpose" },
	/* an intermediate CA: in the server's chain, missing, or trusted by itself */
	{ "leafchain", "node.example", "ca.crt", true, NULL },
	{ "leaf", "node.example", "ca.crt", true, "issued by CN=middle; not by our CA" },
	{ "leaf", "node.example", "middle.crt", true, NULL },
	/* a file of several CAs, and one with a damaged certificate in front */
	{ "node", "node.example", "bundle.crt", true, NULL },
	{ "node", "node.example", "halfbroken.crt", true, NULL },
};

START_TEST(server_certificates)
{
	struct tls_context *client = client_context(verifications[_i].ca, NULL, verifications[_i].verify_name);
	struct pair p = connect_pair(client, server_context(verifications[_i].server, NULL), verifications[_i].name);

	if (verifications[_i].refusal)
		expect_refused(&p, verifications[_i].refusal);
	else
		expect_open(&p);
	end_pair(&p);
}
END_TEST

/* OpenSSL's default paths, which the environment can move, are not asked. */
START_TEST(system_certificates_do_not_count)
{
	struct pair p;

	setenv("SSL_CERT_FILE", pki_path("ca.crt"), 1);
	p = connect_pair(client_context("otherca.crt", NULL, false), server_context("node", NULL), "node.example");
	expect_refused(&p, "not by our CA");
	end_pair(&p);
}
END_TEST

START_TEST(a_name_that_must_be_checked_cannot_be_missing)
{
	static const char *const names[] = { NULL, "" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct pair p =
			connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), names[i]);
		char byte;

		ck_assert_int_eq(p.client_status, TLS_FAILED);
		expect_text(tls_error(p.client), "no name to check");
		ck_assert_int_eq(p.server_status, TLS_WANT_READ);
		ck_assert_int_eq(recv(p.server_fd, &byte, 1, MSG_DONTWAIT), -1); /* nothing was sent */
		end_pair(&p);
	}
}
END_TEST

/* ---- client certificates ---- */

START_TEST(mutual)
{
	struct pair p = connect_pair(client_context("ca.crt", "client", true), server_context("node", "ca.crt"),
				     "node.example");

	expect_open(&p);
	end_pair(&p);
	/* A server that does not ask does not mind. */
	p = connect_pair(client_context("ca.crt", "client", true), server_context("node", NULL), "node.example");
	expect_open(&p);
	end_pair(&p);
}
END_TEST

static const struct {
	const char *client;
	const char *server_says, *client_says;
} wrong_clients[] = {
	{ NULL, "the peer gave no certificate, and one is required",
	  "it asked for a client certificate and none is configured" },
	{ "stranger", "not by our CA", "does not trust the CA of our certificate" },
	{ "expiredclient", "the certificate of CN=expiredclient has expired", "certificate expired" },
	{ "serveronly", "unsuitable certificate purpose", "unsupported certificate" },
};

START_TEST(wrong_client_certificates)
{
	struct pair p = connect_pair(client_context("ca.crt", wrong_clients[_i].client, true),
				     server_context("node", "ca.crt"), "node.example");
	char buf[16];
	size_t got;

	ck_assert_int_eq(p.server_status, TLS_FAILED);
	expect_text(tls_error(p.server), wrong_clients[_i].server_says);
	/* TLS 1.3: the client believes to be connected until it reads. */
	ck_assert_int_eq(p.client_status, TLS_OK);
	ck_assert_int_eq(tls_read(p.client, buf, sizeof(buf), &got), TLS_FAILED);
	expect_text(tls_error(p.client), wrong_clients[_i].client_says);
	end_pair(&p);
}
END_TEST

/* A server may also just hang up, or reset. */
START_TEST(silent_end_hints_at_the_missing_certificate)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", "ca.crt"), "node.example");
	char buf[4096];
	size_t got;

	ck_assert_int_gt(recv(p.client_fd, buf, sizeof(buf), 0), 0); /* loses the alert */
	close(p.server_fd);
	p.server_fd = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(tls_read(p.client, buf, sizeof(buf), &got), TLS_FAILED);
	expect_text(tls_error(p.client), "closed by the peer; it asked for a client certificate and none is");
	end_pair(&p);
}
END_TEST

/* ---- a peer made of plain OpenSSL, to do what our own end never does ---- */

struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static struct raw raw_new(int fd, bool is_server, int max_version)
{
	struct raw raw = { .fd = fd };

	raw.ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	ck_assert_ptr_nonnull(raw.ctx);
	SSL_CTX_set_security_level(raw.ctx, 0); /* TLS 1.1 signs with SHA-1 */
	SSL_CTX_set_min_proto_version(raw.ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(raw.ctx, max_version);
	if (is_server) {
		ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(raw.ctx, pki_path("node.crt")), 1);
		ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(raw.ctx, pki_path("node.key"), SSL_FILETYPE_PEM), 1);
	}
	raw.ssl = SSL_new(raw.ctx);
	SSL_set_fd(raw.ssl, fd);
	if (is_server)
		SSL_set_accept_state(raw.ssl);
	else
		SSL_set_connect_state(raw.ssl);
	return raw;
}

static void raw_free(struct raw *raw)
{
	SSL_free(raw->ssl);
	SSL_CTX_free(raw->ctx);
	close(raw->fd);
}

static enum tls_status shake(struct tls *ours, struct raw *raw)
{
	enum tls_status status = TLS_WANT_READ;

	for (int i = 0; i < 20 && goes_on(status); i++) {
		SSL_do_handshake(raw->ssl);
		status = tls_handshake(ours);
	}
	SSL_do_handshake(raw->ssl);
	return status;
}

static const struct {
	int max_version;
	bool is_accepted;
} versions[] = {
	{ TLS1_VERSION, false },
	{ TLS1_1_VERSION, false },
	{ TLS1_2_VERSION, true },
	{ TLS1_3_VERSION, true },
};

START_TEST(protocol_versions)
{
	for (int as_server = 0; as_server < 2; as_server++) {
		struct tls_context *ctx = as_server ? server_context("node", NULL)
						    : client_context("ca.crt", NULL, true);
		enum tls_status status;
		struct tls *tls;
		struct raw raw;
		int fds[2];

		make_sockets(fds);
		raw = raw_new(fds[0], !as_server, versions[_i].max_version);
		tls = tls_new(ctx, fds[1], as_server ? NULL : "node.example");
		status = shake(tls, &raw);
		if (versions[_i].is_accepted) {
			ck_assert_int_eq(status, TLS_OK);
			ck_assert_int_eq(SSL_version(raw.ssl), versions[_i].max_version);
		} else {
			ck_assert_int_eq(status, TLS_FAILED);
			expect_text(tls_error(tls), "TLS 1.2");
		}
		tls_free(tls);
		tls_context_free(ctx);
		raw_free(&raw);
		close(fds[1]);
	}
}
END_TEST

START_TEST(missing_client_certificate_in_tls_1_2)
{
	struct tls_context *ctx = client_context("ca.crt", NULL, true);
	struct tls *tls;
	struct raw raw;
	int fds[2];

	make_sockets(fds);
	raw = raw_new(fds[0], true, TLS1_2_VERSION);
	SSL_set_verify(raw.ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	tls = tls_new(ctx, fds[1], "node.example");
	ck_assert_int_eq(shake(tls, &raw), TLS_FAILED);
	expect_text(tls_error(tls), "the peer refused: handshake failure; it asked for a client certificate");
	tls_free(tls);
	tls_context_free(ctx);
	raw_free(&raw);
	close(fds[1]);
}
END_TEST

/* A server that only would have liked to see a certificate: its later end has nothing to do with that. */
START_TEST(no_hint_once_data_has_come)
{
	struct tls_context *ctx = client_context("ca.crt", NULL, true);
	struct tls *tls;
	struct raw raw;
	char buf[16];
	size_t got;
	int fds[2];

	make_sockets(fds);
	raw = raw_new(fds[0], true, TLS1_3_VERSION);
	SSL_set_verify(raw.ssl, SSL_VERIFY_PEER, NULL);
	tls = tls_new(ctx, fds[1], "node.example");
	ck_assert_int_eq(shake(tls, &raw), TLS_OK);
	ck_assert_int_eq(SSL_write(raw.ssl, "welcome", 7), 7);
	expect_data(tls, "welcome");
	raw_free(&raw);
	ck_assert_int_eq(tls_read(tls, buf, sizeof(buf), &got), TLS_EOF);
	tls_free(tls);
	tls_context_free(ctx);
	close(fds[1]);
}
END_TEST

static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(ticket);
	ticket = session;
	return 1;
}

/* A connection to `ctx` that offers the ticket at hand. True when it was used. */
static bool resume(struct tls_context *ctx, int version, enum tls_status *status)
{
	struct tls *tls;
	struct raw raw;
	bool resumed;
	char buf[16];
	int fds[2];

	make_sockets(fds);
	raw = raw_new(fds[0], false, version);
	SSL_CTX_set_session_cache_mode(raw.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(raw.ctx, keep_ticket);
	if (ticket)
		ck_assert_int_eq(SSL_set_session(raw.ssl, ticket), 1);
	tls = tls_new(ctx, fds[1], NULL);
	*status = shake(tls, &raw);
	resumed = SSL_session_reused(raw.ssl);
	if (*status == TLS_OK) {
		/* The tickets of TLS 1.3 come behind the handshake. */
		ck_assert_int_le(SSL_read(raw.ssl, buf, sizeof(buf)), 0);
		ck_assert_ptr_nonnull(ticket);
		/* A session whose connection ends otherwise is not taken up again. */
		SSL_set_shutdown(raw.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	}
	tls_free(tls);
	tls_context_free(ctx);
	raw_free(&raw);
	close(fds[1]);
	return resumed;
}

/* Workers have a context each, and a client comes back to any of them. */
START_TEST(tickets)
{
	static const int tls_versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	int version = tls_versions[_i];
	enum tls_status status;

	ck_assert(!resume(server_context("node", NULL), version, &status));
	ck_assert_int_eq(status, TLS_OK);
	ck_assert(resume(server_context("node", NULL), version, &status));
	ck_assert_int_eq(status, TLS_OK);
	/* A listener with another certificate does not take it, and goes on with a full handshake. */
	ck_assert(!resume(server_context("leafchain", NULL), version, &status));
	ck_assert_int_eq(status, TLS_OK);
	/* One that demands client certificates least of all. */
	ck_assert(!resume(server_context("leafchain", "ca.crt"), version, &status));
	ck_assert_int_eq(status, TLS_FAILED);
	SSL_SESSION_free(ticket);
}
END_TEST

/* ---- SNI ---- */

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* The server name in a ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3), "" without one. */
static void find_sni(const unsigned char *p, size_t len, char *out)
{
	const unsigned char *end = p + len;

	out[0] = '\0';
	ck_assert_uint_ge(len, 60);
	ck_assert_int_eq(p[0], 22); /* record: handshake */
	ck_assert_int_eq(p[5], 1);  /* ClientHello */
	p += 5 + 4 + 2 + 32;        /* record and message headers, version, random */
	p += 1 + p[0];              /* session id */
	p += 2 + get16(p);          /* cipher suites */
	p += 1 + p[0];              /* compression methods */
	for (p += 2; p + 4 <= end; p += 4 + get16(p + 2)) {
		if (get16(p) != 0)
			continue;
		memcpy(out, p + 9, get16(p + 7)); /* extension head 4, list length 2, type 1, name length 2 */
		out[get16(p + 7)] = '\0';
	}
}

static const struct {
	const char *name, *sni;
} snis[] = {
	{ "node.example", "node.example" },
	{ "node.example.", "node.example" },
	{ "localhost", "localhost" },
	{ "127.0.0.3", "" },
	{ "::1", "" },
	{ "[fd00::1]", "" },
	{ NULL, "" },
};

START_TEST(sni_only_for_dns_names)
{
	struct tls_context *ctx = client_context("ca.crt", NULL, false);
	unsigned char hello[4096];
	char found[256];
	struct tls *tls;
	int fds[2];
	ssize_t n;

	make_sockets(fds);
	tls = tls_new(ctx, fds[0], snis[_i].name);
	ck_assert_int_eq(tls_handshake(tls), TLS_WANT_READ);
	n = recv(fds[1], hello, sizeof(hello), 0);
	ck_assert_int_gt(n, 0);
	find_sni(hello, (size_t)n, found);
	ck_assert_str_eq(found, snis[_i].sni);
	tls_free(tls);
	tls_context_free(ctx);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_name_too_long_for_sni)
{
	struct pair p;
	char name[400];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	p = connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), name);
	ck_assert_int_eq(p.client_status, TLS_FAILED);
	expect_text(tls_error(p.client), "cannot be used as the name");
	end_pair(&p);
}
END_TEST

/* ---- peers that do not speak TLS ---- */

static const struct {
	const char *bytes;
	size_t len;
} plaintexts[] = {
	{ "\x04\x00\x00\x00\x05\x00\x00\x00\x00", 9 }, /* OPTIONS, v4 */
	{ "\x05\x00\x00\x01\x01\x00\x00\x00\x16\x00\x01\x00\x0b"
	  "CQL_VERSION\x00\x05"
	  "3.4.5",
	  31 },                                                                   /* STARTUP, v5 */
	{ "\x84\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x0a\x00\x02no", 17 }, /* ERROR */
	{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27 },
	{ "SSH-2.0-OpenSSH_9.2p1\r\n", 23 },
};

START_TEST(plaintext_peers)
{
	for (int as_server = 0; as_server < 2; as_server++) {
		struct tls_context *ctx = as_server ? server_context("node", NULL)
						    : client_context("ca.crt", NULL, true);
		enum tls_status status;
		struct tls *tls;
		int fds[2];

		make_sockets(fds);
		tls = tls_new(ctx, fds[0], as_server ? NULL : "node.example");
		if (!as_server)
			ck_assert_int_eq(tls_handshake(tls), TLS_WANT_READ);
		ck_assert_int_eq(send(fds[1], plaintexts[_i].bytes, plaintexts[_i].len, 0), plaintexts[_i].len);
		status = tls_handshake(tls);
		ck_assert_int_eq(status, TLS_FAILED);
		expect_text(tls_error(tls), "the peer does not speak TLS");
		tls_free(tls);
		tls_context_free(ctx);
		close(fds[0]);
		close(fds[1]);
	}
}
END_TEST

START_TEST(garbage_never_opens_a_session)
{
	unsigned char bytes[600];
	unsigned seed = 12345 + (unsigned)_i;
	struct tls_context *ctx = server_context("node", NULL);
	enum tls_status status;
	struct tls *tls;
	int fds[2];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(rand_r(&seed) >> 8);
	memcpy(bytes, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (size_t)(_i % 12)); /* more and more plausible */
	make_sockets(fds);
	tls = tls_new(ctx, fds[0], NULL);
	ck_assert_int_eq(send(fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	shutdown(fds[1], SHUT_WR);
	status = tls_handshake(tls);
	ck_assert_int_eq(status, TLS_FAILED);
	ck_assert_uint_gt(strlen(tls_error(tls)), 0);
	ck_assert_int_eq(tls_handshake(tls), TLS_FAILED); /* and stays so */
	tls_free(tls);
	tls_context_free(ctx);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- data ---- */

#define BIG (3 * 1024 * 1024)

/* More than the socket takes at once, in both directions at the same time. */
START_TEST(much_data_both_ways)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");
	struct tls *ends[2] = { p.client, p.server };
	unsigned char *out = malloc(BIG), *in[2] = { malloc(BIG), malloc(BIG) };
	size_t sent[2] = { 0 }, received[2] = { 0 };
	bool was_full = false;

	expect_open(&p);
	for (size_t i = 0; i < BIG; i++)
		out[i] = (unsigned char)(i * 7 + i / 251);
	for (int turn = 0; turn < 100000 && (received[0] < BIG || received[1] < BIG); turn++) {
		for (int e = 0; e < 2; e++) {
			enum tls_status status = TLS_OK;
			size_t n;

			while (sent[e] < BIG && status == TLS_OK) {
				status = tls_write(ends[e], out + sent[e], MIN(BIG - sent[e], 100000), &n);
				sent[e] += n;
			}
			was_full |= status == TLS_WANT_WRITE;
			ck_assert(status == TLS_OK || status == TLS_WANT_WRITE);
			status = tls_read(ends[!e], in[!e] + received[!e], BIG - received[!e], &n);
			received[!e] += n;
			ck_assert(status == TLS_OK || status == TLS_WANT_READ || received[!e] == BIG);
		}
	}
	ck_assert(was_full);
	for (int e = 0; e < 2; e++) {
		ck_assert_uint_eq(received[e], BIG);
		ck_assert_int_eq(memcmp(in[e], out, BIG), 0);
		free(in[e]);
	}
	free(out);
	end_pair(&p);
}
END_TEST

static bool is_readable(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* Records read ahead make no socket readable: tls_has_pending() must say so, and must not say so for half a record. */
START_TEST(pending_bytes)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");
	char small[4], wire[4096];
	ssize_t n;
	size_t got;
	int reads = 0;

	expect_open(&p);
	for (int i = 0; i < 10; i++)
		send_text(p.client, "sixbyt");
	do {
		ck_assert_int_eq(tls_read(p.server, small, sizeof(small), &got), TLS_OK);
		ck_assert_uint_eq(got, 4);
		reads++;
	} while (tls_has_pending(p.server) || is_readable(p.server_fd));
	ck_assert_int_eq(reads, 15);

	/* One record and a half: the one comes out, the half does not count as pending. */
	send_text(p.client, "one.");
	send_text(p.client, "two.");
	n = recv(p.server_fd, wire, sizeof(wire), 0);
	ck_assert_int_eq(n, 2 * (5 + 4 + 1 + 16)); /* TLS 1.3: head, text, type, tag */
	ck_assert_int_eq(send(p.client_fd, wire, (size_t)n - 10, 0), n - 10);
	ck_assert_int_eq(tls_read(p.server, wire + n, sizeof(wire) - (size_t)n, &got), TLS_OK);
	ck_assert_uint_eq(got, 4);
	ck_assert(!tls_has_pending(p.server));
	ck_assert_int_eq(tls_read(p.server, small, sizeof(small), &got), TLS_WANT_READ);
	ck_assert(!tls_has_pending(p.server));
	ck_assert_int_eq(send(p.client_fd, wire + n - 10, 10, 0), 10);
	expect_data(p.server, "two.");
	ck_assert(!tls_has_pending(p.server));
	end_pair(&p);
}
END_TEST

/* What a client sends behind its Finished may be read ahead by the handshake. */
START_TEST(data_behind_the_handshake)
{
	struct tls_context *client = client_context("ca.crt", NULL, true), *server = server_context("node", NULL);
	struct pair p;
	int fds[2];

	make_sockets(fds);
	p.client_fd = fds[0];
	p.server_fd = fds[1];
	p.client = tls_new(client, fds[0], "node.example");
	p.server = tls_new(server, fds[1], NULL);
	tls_context_free(client);
	tls_context_free(server);
	ck_assert_int_eq(tls_handshake(p.client), TLS_WANT_READ);
	ck_assert_int_eq(tls_handshake(p.server), TLS_WANT_READ);
	ck_assert_int_eq(tls_handshake(p.client), TLS_OK);
	send_text(p.client, "early");
	ck_assert_int_eq(tls_handshake(p.server), TLS_OK);
	ck_assert(tls_has_pending(p.server) || is_readable(p.server_fd));
	expect_data(p.server, "early");
	end_pair(&p);
}
END_TEST

/* ---- the end of a connection ---- */

START_TEST(orderly_end)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");
	char buf[64];
	size_t n;

	expect_open(&p);
	send_text(p.client, "last words");
	tls_shutdown(p.client);
	expect_data(p.server, "last words");
	/* The end was read ahead with the words: without the flag nobody would come to see it. */
	ck_assert(tls_has_pending(p.server) || is_readable(p.server_fd));
	ck_assert_int_eq(tls_read(p.server, buf, sizeof(buf), &n), TLS_EOF);
	ck_assert_int_eq(tls_read(p.server, buf, sizeof(buf), &n), TLS_EOF);
	/* The other half is still open. */
	send_text(p.server, "farewell");
	end_pair(&p);
}
END_TEST

START_TEST(end_without_close_notify)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");
	char buf[64];
	size_t n;

	expect_open(&p);
	send_text(p.client, "last words");
	close(p.client_fd);
	p.client_fd = open("/dev/null", O_RDONLY);
	expect_data(p.server, "last words");
	ck_assert_int_eq(tls_read(p.server, buf, sizeof(buf), &n), TLS_EOF);
	ck_assert_int_eq(tls_write(p.server, "x", 1, &n), TLS_EOF);
	ck_assert_uint_eq(n, 0);
	tls_shutdown(p.server); /* nothing to do, nothing to crash */
	end_pair(&p);
}
END_TEST

START_TEST(write_to_a_closed_peer)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");
	size_t n;

	expect_open(&p);
	close(p.client_fd);
	p.client_fd = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(tls_write(p.server, "x", 1, &n), TLS_FAILED);
	ck_assert_str_eq(tls_error(p.server), "Broken pipe");
	end_pair(&p);
}
END_TEST

START_TEST(end_in_the_handshake)
{
	struct tls_context *ctx = client_context("ca.crt", NULL, true);
	struct tls *tls;
	int fds[2];

	make_sockets(fds);
	tls = tls_new(ctx, fds[0], "node.example");
	ck_assert_int_eq(tls_handshake(tls), TLS_WANT_READ);
	shutdown(fds[1], SHUT_WR);
	ck_assert_int_eq(tls_handshake(tls), TLS_FAILED);
	ck_assert_str_eq(tls_error(tls), "closed by the peer during the TLS handshake");
	tls_free(tls);
	tls_context_free(ctx);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_damaged_record_ends_the_session)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");
	char wire[256];
	ssize_t n;
	size_t got;

	expect_open(&p);
	send_text(p.client, "whole");
	send_text(p.client, "broken");
	n = recv(p.server_fd, wire, sizeof(wire), 0);
	ck_assert_int_gt(n, 0);
	wire[n - 1] ^= 1;
	ck_assert_int_eq(send(p.client_fd, wire, (size_t)n, 0), n);
	expect_data(p.server, "whole");
	ck_assert(tls_has_pending(p.server));
	ck_assert_int_eq(tls_read(p.server, wire, sizeof(wire), &got), TLS_FAILED);
	ck_assert_uint_eq(got, 0);
	expect_text(tls_error(p.server), "bad record mac");
	end_pair(&p);
}
END_TEST

/* ---- files ---- */

/* NULL: not given; names are below the directory of the certificates. */
static const struct {
	bool is_server;
	const char *ca, *cert, *key;
	bool require;
	const char *refusal[3];
} bad_options[] = {
	{ false, "missing.crt", NULL, NULL, false, { "cannot open ", "missing.crt: No such file or directory" } },
	{ false, "", NULL, NULL, false, { "cannot read ", "Is a directory" } },
	{ false, "empty.crt", NULL, NULL, false, { "empty.crt: no certificate in PEM form" } },
	{ false, "text.crt", NULL, NULL, false, { "text.crt: no certificate in PEM form" } },
	{ false, "ca.key", NULL, NULL, false, { "ca.key: no certificate in PEM form" } },
	{ false, "broken.crt", NULL, NULL, false, { "broken.crt: not a usable certificate: " } },
	{ false, "cut.crt", NULL, NULL, false, { "cut.crt: not a usable certificate: bad end line" } },
	{ false, NULL, NULL, NULL, false, { "a CA file is needed" } },
	{ false, "ca.crt", "client.crt", NULL, false, { "certificate and a key only work together" } },
	{ false, "ca.crt", NULL, "client.key", false, { "certificate and a key only work together" } },
	{ false,
	  "ca.crt",
	  "client.crt",
	  "node.key",
	  false,
	  { "node.key: the key does not belong to the certificate in ", "client.crt: ", "mismatch" } },
	{ true, NULL, "node.crt", "missing.key", false, { "cannot open ", "missing.key: No such file" } },
	{ true, NULL, "missing.crt", "node.key", false, { "cannot open ", "missing.crt: No such file" } },
	{ true, NULL, "node.crt", "node.crt", false, { "node.crt: no private key in PEM form" } },
	{ true, NULL, "node.key", "node.key", false, { "node.key: no certificate in PEM form" } },
	{ true, NULL, "node.crt", "node-encrypted.key", false, { "node-encrypted.key: the key is encrypted" } },
	{ true, NULL, "brokenchain.crt", "leaf.key", false, { "brokenchain.crt: a certificate of the chain is not" } },
	{ true, "empty.crt", "node.crt", "node.key", true, { "empty.crt: no certificate in PEM form" } },
	{ true, NULL, "node.crt", "node.key", true, { "cannot be required without a CA" } },
	{ true, "ca.crt", NULL, NULL, false, { "a server needs a certificate and a key" } },
	{ false, "/dev/zero", NULL, NULL, false, { "/dev/zero is too large for a PEM file" } },
};

static const char *given(const char *name)
{
	return !name || name[0] == '/' ? name : pki_path(name);
}

START_TEST(bad_files)
{
	struct tls_options o = {
		.ca = given(bad_options[_i].ca),
		.cert = given(bad_options[_i].cert),
		.key = given(bad_options[_i].key),
		.require_client_cert = bad_options[_i].require,
	};
	struct tls_context *ctx = bad_options[_i].is_server ? tls_context_new_server(&o, error, sizeof(error))
							    : tls_context_new_client(&o, error, sizeof(error));

	ck_assert_ptr_null(ctx);
	for (int i = 0; i < 3 && bad_options[_i].refusal[i]; i++)
		expect_text(error, bad_options[_i].refusal[i]);
}
END_TEST

/* ---- the cast ---- */

static void make_certificates(void)
{
	static const char *const names =
		"DNS:node.example,DNS:*.wild.example,DNS:w*.part.example,IP:127.0.0.3,IP:fd00::1";
	const struct pki_cert certs[] = {
		{ .file = "ca", .is_ca = true },
		{ .file = "otherca", .is_ca = true },
		{ .file = "node", .issuer = "ca", .san = names, .eku = "serverAuth" },
		{ .file = "onlycn", .issuer = "ca", .cn = "cn.example" },
		{ .file = "evil", .issuer = "ca", .cn = "evil\nname" },
		{ .file = "expired", .issuer = "ca", .san = names, .from_days = -10, .to_days = -1 },
		{ .file = "early", .issuer = "ca", .san = names, .from_days = 1, .to_days = 10 },
		{ .file = "selfsigned", .san = names },
		{ .file = "clientonly", .issuer = "ca", .san = names, .eku = "clientAuth" },
		{ .file = "serveronly", .issuer = "ca", .eku = "serverAuth" },
		{ .file = "client", .issuer = "ca", .eku = "clientAuth" },
		{ .file = "expiredclient", .issuer = "ca", .from_days = -10, .to_days = -1 },
		{ .file = "stranger", .issuer = "otherca" },
		{ .file = "middle", .issuer = "ca", .is_ca = true },
		{ .file = "leaf", .issuer = "middle", .san = names },
	};

	for (size_t i = 0; i < ARRAY_LEN(certs); i++)
		pki_make(&certs[i]);
	pki_join("leafchain.crt", "leaf.crt", "middle.crt", NULL);
	pki_join("leafchain.key", "leaf.key", NULL);
	pki_join("bundle.crt", "otherca.crt", "ca.crt", NULL);
	pki_encrypt_key("node");
	pki_write("empty.crt", "");
	pki_write("text.crt", "this is not a certificate\n");
	pki_write("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	pki_write("cut.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n");
	pki_join("halfbroken.crt", "broken.crt", "ca.crt", NULL);
	pki_join("brokenchain.crt", "leaf.crt", "broken.crt", NULL);
}

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, server_certificates, 0, (int)ARRAY_LEN(verifications));
	tcase_add_test(tc, system_certificates_do_not_count);
	tcase_add_test(tc, a_name_that_must_be_checked_cannot_be_missing);
	tcase_add_test(tc, mutual);
	tcase_add_loop_test(tc, wrong_client_certificates, 0, (int)ARRAY_LEN(wrong_clients));
	tcase_add_test(tc, silent_end_hints_at_the_missing_certificate);
	tcase_add_loop_test(tc, protocol_versions, 0, (int)ARRAY_LEN(versions));
	tcase_add_test(tc, missing_client_certificate_in_tls_1_2);
	tcase_add_test(tc, no_hint_once_data_has_come);
	tcase_add_loop_test(tc, tickets, 0, 2);
	tcase_add_loop_test(tc, sni_only_for_dns_names, 0, (int)ARRAY_LEN(snis));
	tcase_add_test(tc, a_name_too_long_for_sni);
	tcase_add_loop_test(tc, plaintext_peers, 0, (int)ARRAY_LEN(plaintexts));
	tcase_add_loop_test(tc, garbage_never_opens_a_session, 0, 36);
	tcase_add_test(tc, much_data_both_ways);
	tcase_add_test(tc, pending_bytes);
	tcase_add_test(tc, data_behind_the_handshake);
	tcase_add_test(tc, orderly_end);
	tcase_add_test(tc, end_without_close_notify);
	tcase_add_test(tc, write_to_a_closed_peer);
	tcase_add_test(tc, end_in_the_handshake);
	tcase_add_test(tc, a_damaged_record_ends_the_session);
	tcase_add_loop_test(tc, bad_files, 0, (int)ARRAY_LEN(bad_options));
}

int main(void)
{
	Suite *suite = suite_create("tls");
	TCase *tc = tcase_create("tls");
	SRunner *runner;
	int failed;

	signal(SIGPIPE, SIG_IGN); /* as the program does */
	pki_begin();
	make_certificates();
	add_tests(tc);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	pki_end();
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
