/*
 * test_sbuf_prelude.c - what comes before TLS and the stream: in pieces, with
 * the rest of the stream in the same packet, cut off, refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>

#include "base/sbuf.h"
#include "loop_helper.h"
#include "tls_pair.h"

/* The prelude of these tests: all up to the first '!'. With an 'x' in it, it is refused. */
struct end {
	struct sbuf sb;
	struct sbuf_prelude prelude;
	int peer;
	char before[2048];
	size_t before_len;
	unsigned looks;
	char got[64];
	size_t got_len;
	unsigned opened, closed;
	bool refused;
	char why[128];
};

static void on_open(struct sbuf *sb)
{
	container_of(sb, struct end, sb)->opened++;
}

static size_t on_data(struct sbuf *sb, uint8_t *data, size_t len, struct chunk *chunk)
{
	struct end *e = container_of(sb, struct end, sb);

	(void)chunk;
	ck_assert_uint_eq(e->opened, 1);
	ck_assert_uint_le(e->got_len + len, sizeof(e->got));
	memcpy(e->got + e->got_len, data, len);
	e->got_len += len;
	return len;
}

static void on_closed(struct sbuf *sb, const char *why)
{
	struct end *e = container_of(sb, struct end, sb);

	e->closed++;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct sbuf_handler handler = { .on_open = on_open, .on_data = on_data, .on_closed = on_closed };

static enum sbuf_prelude_status take(struct sbuf_prelude *prelude, const uint8_t *data, size_t len, size_t *used)
{
	struct end *e = container_of(prelude, struct end, prelude);
	const uint8_t *end = memchr(data, '!', len);

	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, SBUF_PRELUDE_LOOK);
	ck_assert_uint_eq(e->opened, 0);
	e->looks++;
	*used = end ? (size_t)(end - data) + 1 : len;
	if (memchr(data, 'x', *used)) {
		e->refused = true;
		sbuf_close(&e->sb);
		return SBUF_PRELUDE_BAD;
	}
	ck_assert_uint_lt(e->before_len + *used, sizeof(e->before));
	memcpy(e->before + e->before_len, data, *used);
	e->before_len += *used;
	return end ? SBUF_PRELUDE_DONE : SBUF_PRELUDE_MORE;
}

static struct end *end_open(struct tls_context *tls)
{
	struct end *e = calloc(1, sizeof(*e));
	int fd[2], on = 1;

	tcp_pair(fd);
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	e->peer = fd[1];
	e->prelude.take = take;
	sbuf_init(&e->sb, &loop, &handler);
	ck_assert(sbuf_adopt_behind(&e->sb, fd[0], tls, &e->prelude));
	ck_assert_int_eq(e->sb.state, SBUF_PRELUDE);
	return e;
}

static void end_free(struct end *e)
{
	sbuf_close(&e->sb);
	close(e->peer);
	loop_turn(&loop, false);
	free(e);
}

START_TEST(whole_with_the_stream_behind_it)
{
	struct end *e = end_open(NULL);

	peer_write(e->peer, "hello!stream", 12);
	loop_until(e->got_len == 6);
	ck_assert_str_eq(e->before, "hello!");
	ck_assert(memcmp(e->got, "stream", 6) == 0);
	ck_assert_uint_eq(e->looks, 1);
	ck_assert_uint_eq(e->opened, 1);
	ck_assert_ptr_null(e->sb.prelude);
	end_free(e);
}
END_TEST

/* Each piece is taken off the socket at once: one that stays would wake the loop again and again. */
START_TEST(in_pieces)
{
	struct end *e = end_open(NULL);

	for (unsigned i = 0; i < 5; i++) {
		peer_write(e->peer, "hello" + i, 1);
		loop_until(e->before_len == i + 1);
		for (unsigned turn = 0; turn < 3; turn++)
			loop_turn(&loop, false);
		ck_assert_uint_eq(e->looks, i + 1);
		ck_assert_uint_eq(e->opened, 0);
	}
	peer_write(e->peer, "!", 1);
	loop_until(e->opened);
	peer_write(e->peer, "s", 1);
	loop_until(e->got_len == 1);
	ck_assert_str_eq(e->before, "hello!");
	end_free(e);
}
END_TEST

START_TEST(longer_than_a_look)
{
	struct end *e = end_open(NULL);
	char bytes[SBUF_PRELUDE_LOOK * 3];

	memset(bytes, 'a', sizeof(bytes));
	bytes[sizeof(bytes) - 2] = '!';
	peer_write(e->peer, bytes, sizeof(bytes));
	loop_until(e->got_len == 1);
	ck_assert_uint_eq(e->before_len, sizeof(bytes) - 1);
	ck_assert_int_eq(e->got[0], 'a');
	end_free(e);
}
END_TEST

START_TEST(what_is_queued_leaves_behind_it)
{
	struct end *e = end_open(NULL);
	char back[6];

	sbuf_write(&e->sb, "answer", 6);
	ck_assert(peer_has_nothing(e->peer));
	peer_write(e->peer, "!", 1);
	ck_assert_uint_eq(peer_read(e->peer, back, 6), 6);
	ck_assert(memcmp(back, "answer", 6) == 0);
	end_free(e);
}
END_TEST

START_TEST(refused)
{
	struct end *e = end_open(NULL);
	char back;

	peer_write(e->peer, "hex!", 4);
	loop_until(e->refused);
	ck_assert_int_eq(e->sb.state, SBUF_IDLE);
	ck_assert_uint_eq(e->opened, 0);
	ck_assert_uint_eq(e->closed, 0); /* the owner closed it itself */
	/* unread bytes make it a reset */
	ck_assert_int_le(recv(e->peer, &back, 1, 0), 0);
	end_free(e);
}
END_TEST

START_TEST(cut_off)
{
	struct end *e = end_open(NULL);

	if (_i == 1)
		peer_write(e->peer, "hel", 3);
	shutdown(e->peer, SHUT_WR);
	loop_until(e->closed);
	ck_assert_str_eq(e->why, "closed by the peer");
	ck_assert_uint_eq(e->opened, 0);
	end_free(e);
}
END_TEST

START_TEST(ended_by_the_owner)
{
	struct end *e = end_open(NULL);

	if (_i == 0) {
		sbuf_finish(&e->sb);
		ck_assert_uint_eq(e->closed, 1);
	} else {
		sbuf_close(&e->sb);
		ck_assert_uint_eq(e->closed, 0);
	}
	ck_assert_int_eq(e->sb.state, SBUF_IDLE);
	end_free(e);
}
END_TEST

/* The client's first TLS record is in the same packet as the prelude: OpenSSL reads it off the socket itself. */
START_TEST(before_tls)
{
	struct tls_context *server = server_context("node", NULL), *client = client_context("ca.crt", NULL, true);
	struct end *e = end_open(server);
	struct tls *tls = tls_new(client, e->peer, "node.example");
	enum tls_status status;
	size_t put;
	int cork = 1;

	ck_assert_ptr_nonnull(tls);
	ck_assert_int_eq(fcntl(e->peer, F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(setsockopt(e->peer, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork)), 0);
	peer_write(e->peer, "to!", 3);
	status = tls_handshake(tls);
	cork = 0;
	ck_assert_int_eq(setsockopt(e->peer, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork)), 0);
	for (unsigned waited = 0; goes_on(status) || !e->opened; waited++) {
		ck_assert_uint_lt(waited, HELPER_PATIENCE_MS);
		ck_assert_msg(status == TLS_OK || goes_on(status), "%s; %s", tls_error(tls), e->why);
		loop_turn(&loop, false);
		usleep(1000);
		if (goes_on(status))
			status = tls_handshake(tls);
	}
	ck_assert_int_eq(status, TLS_OK);
	ck_assert_str_eq(e->before, "to!");
	ck_assert_int_eq(tls_write(tls, "secret", 6, &put), TLS_OK);
	loop_until(e->got_len == 6);
	ck_assert(memcmp(e->got, "secret", 6) == 0);
	tls_free(tls);
	end_free(e);
	tls_context_free(server);
	tls_context_free(client);
}
END_TEST

/* TLS where the prelude should be goes to take() like anything else. */
START_TEST(tls_without_it)
{
	struct tls_context *server = server_context("node", NULL);
	struct end *e = end_open(server);

	peer_write(e->peer, "\x16\x03\x01x", 4);
	loop_until(e->refused);
	end_free(e);
	tls_context_free(server);
}
END_TEST

int main(void)
{
	static const struct pki_cert certs[] = {
		{ .file = "ca", .is_ca = true },
		{ .file = "node", .issuer = "ca", .san = "DNS:node.example" },
	};
	TCase *tcase = tcase_create("sbuf_prelude");

	tcase_add_checked_fixture(tcase, helper_loop_start, helper_loop_end);
	tcase_add_test(tcase, whole_with_the_stream_behind_it);
	tcase_add_test(tcase, in_pieces);
	tcase_add_test(tcase, longer_than_a_look);
	tcase_add_test(tcase, what_is_queued_leaves_behind_it);
	tcase_add_test(tcase, refused);
	tcase_add_loop_test(tcase, cut_off, 0, 2);
	tcase_add_loop_test(tcase, ended_by_the_owner, 0, 2);
	tcase_add_test(tcase, before_tls);
	tcase_add_test(tcase, tls_without_it);
	return run_with_pki(tcase, certs, ARRAY_LEN(certs), NULL);
}
