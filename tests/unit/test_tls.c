/*
 * test_tls.c - who accepts whom: certificates, names, versions, tickets. The
 * cast: "ca" signs what is good, "otherca" is trusted by nobody here.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tls_pair.h"

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

/* A proxy with one certificate, its own, in front of servers that only SNI tells apart. */
static const struct {
	const char *verified;
	const char *refusal;
} proxies[] = {
	{ "node.example", NULL },
	{ "127.0.0.3", NULL },
	{ "elsewhere.example", "not for elsewhere.example" },
};

START_TEST(sni_of_another_name)
{
	static const char sni[] = "01234567-89ab-cdef-0123-456789abcdef";
	struct tls_context *ctx = client_context("ca.crt", NULL, true), *node = server_context("node", NULL);
	unsigned char hello[4096];
	enum tls_status status;
	char found[256];
	struct tls *client, *server;
	int fds[2];
	ssize_t n;

	make_sockets(fds);
	client = tls_new(ctx, fds[0], proxies[_i].verified);
	tls_set_sni(client, sni);
	server = tls_new(node, fds[1], NULL);
	ck_assert_int_eq(tls_handshake(client), TLS_WANT_READ);
	n = recv(fds[1], hello, sizeof(hello), MSG_PEEK);
	ck_assert_int_gt(n, 0);
	find_sni(hello, (size_t)n, found);
	ck_assert_str_eq(found, sni);
	ck_assert(goes_on(tls_handshake(server)));
	status = tls_handshake(client);
	ck_assert_int_eq(status, proxies[_i].refusal ? TLS_FAILED : TLS_OK);
	if (proxies[_i].refusal)
		expect_text(tls_error(client), proxies[_i].refusal);
	tls_free(client);
	tls_free(server);
	tls_context_free(ctx);
	tls_context_free(node);
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

static void make_bundles(void)
{
	pki_join("leafchain.crt", "leaf.crt", "middle.crt", NULL);
	pki_join("leafchain.key", "leaf.key", NULL);
	pki_join("bundle.crt", "otherca.crt", "ca.crt", NULL);
	pki_write("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	pki_join("halfbroken.crt", "broken.crt", "ca.crt", NULL);
}

int main(void)
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
	TCase *tc = tcase_create("tls");

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
	tcase_add_loop_test(tc, sni_of_another_name, 0, (int)ARRAY_LEN(proxies));
	tcase_add_test(tc, a_name_too_long_for_sni);
	return run_with_pki(tc, certs, ARRAY_LEN(certs), make_bundles);
}
