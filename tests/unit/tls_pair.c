/* tls_pair.c - two ends of a TLS connection in one process. */
#include "tls_pair.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char error[512];

struct tls_context *client_context(const char *ca, const char *cert, bool verify_name)
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

struct tls_context *server_context(const char *cert, const char *ca)
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

void make_sockets(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

bool goes_on(enum tls_status status)
{
	return status == TLS_WANT_READ || status == TLS_WANT_WRITE;
}

struct pair connect_pair(struct tls_context *client, struct tls_context *server, const char *name)
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

void end_pair(struct pair *p)
{
	tls_free(p->client);
	tls_free(p->server);
	close(p->client_fd);
	close(p->server_fd);
}

void expect_text(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "'%s' should contain '%s'", text, part);
}

void send_text(struct tls *from, const char *text)
{
	size_t put;

	ck_assert_int_eq(tls_write(from, text, strlen(text), &put), TLS_OK);
	ck_assert_uint_eq(put, strlen(text));
}

void expect_data(struct tls *to, const char *text)
{
	char buf[256];
	size_t got;

	ck_assert_int_eq(tls_read(to, buf, sizeof(buf), &got), TLS_OK);
	ck_assert_uint_eq(got, strlen(text));
	ck_assert_int_eq(memcmp(buf, text, got), 0);
}

void expect_open(struct pair *p)
{
	ck_assert_msg(p->client_status == TLS_OK, "client: %s", tls_error(p->client));
	ck_assert_msg(p->server_status == TLS_OK, "server: %s", tls_error(p->server));
	send_text(p->client, "ping");
	expect_data(p->server, "ping");
	send_text(p->server, "pong");
	expect_data(p->client, "pong");
}

/* The client refuses the server's certificate. */

int run_with_pki(TCase *tc, const struct pki_cert *certs, unsigned count, void (*more)(void))
{
	Suite *suite = suite_create("tls");
	SRunner *runner;
	int failed;

	signal(SIGPIPE, SIG_IGN); /* as the program does */
	pki_begin();
	for (unsigned i = 0; i < count; i++)
		pki_make(&certs[i]);
	if (more)
		more();
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	pki_end();
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
