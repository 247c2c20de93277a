/*
 * test_tls_data.c - what goes over a TLS connection: bytes and the end of them,
 * and what comes from peers that speak something else.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_pair.h"

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

int main(void)
{
	const struct pki_cert certs[] = {
		{ .file = "ca", .is_ca = true },
		{ .file = "node", .issuer = "ca", .san = "DNS:node.example", .eku = "serverAuth" },
	};
	TCase *tc = tcase_create("tls_data");

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
	return run_with_pki(tc, certs, ARRAY_LEN(certs), NULL);
}
