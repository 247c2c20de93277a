/* selftest_peer.c - what connections, values and the timer wheel do, without a proxy and without requests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "cql/segment.h"
#include "peer.h"
#include "selftest.h"
#include "value.h"
#include "wheel.h"

#define MAX_WORD 16

/* ---- frames through a pair of connections ---- */

/* Bodies around what changes their form: empty, shared, as large as a segment with and without the head, many segments. */
static const uint32_t lengths[] = { 0,
				    1,
				    100,
				    PEER_SHARE_MIN + 7,
				    SEGMENT_MAX_PAYLOAD - FRAME_HEAD_LEN - 1,
				    SEGMENT_MAX_PAYLOAD - FRAME_HEAD_LEN,
				    SEGMENT_MAX_PAYLOAD - FRAME_HEAD_LEN + 1,
				    2 * SEGMENT_MAX_PAYLOAD,
				    3,
				    700000,
				    VALUE_MAX,
				    64 };
#define ROUNDS 3

static struct pair {
	struct peer_set set;
	struct peer client, node;
	unsigned sent;
	unsigned received[2]; /* by the client, by the node */
	bool is_open;
} pair;

static uint32_t length_of(unsigned number)
{
	return lengths[number % ARRAY_LEN(lengths)];
}

/* A frame whose every byte says where it belongs: a part of the pattern that begins at the number. */
static void send_numbered(struct peer *p, unsigned number)
{
	const uint32_t length = length_of(number);
	const uint32_t shared = length > PEER_SHARE_MIN ? length - PEER_SHARE_MIN : 0;
	const uint32_t copied = length - shared;
	uint8_t head[FRAME_HEAD_LEN];

	frame_head_write(head, false, 4, 0, 0, OP_QUERY, length);
	peer_copy(p, head, FRAME_HEAD_LEN, (int16_t)number);
	if (copied > 0)
		memcpy(peer_room(p, copied), value_pattern() + number % ARRAY_LEN(lengths), copied);
	if (shared > 0)
		peer_share(p, value_pattern() + PEER_SHARE_MIN, shared);
}

static void check_numbered(const struct frame *f, unsigned number)
{
	const uint32_t length = length_of(number);
	const uint32_t copied = MIN(length, (uint32_t)PEER_SHARE_MIN);

	REQUIRE(f->stream == (int16_t)number && f->length == length && f->opcode == OP_QUERY);
	REQUIRE(memcmp(f->body, value_pattern() + number % ARRAY_LEN(lengths), copied) == 0);
	REQUIRE(memcmp(f->body + copied, value_pattern() + PEER_SHARE_MIN, length - copied) == 0);
}

/* The node sends back what it has got. */
static void on_frame(struct peer *p, const struct frame *f)
{
	check_numbered(f, pair.received[p->is_node]++);
	REQUIRE(f->is_response == !p->is_node);
	if (p->is_node)
		send_numbered(p, (unsigned)f->stream);
}

static void on_open(struct peer *p)
{
	pair.is_open |= !p->is_node;
}

static void on_closed(struct peer *p, const char *why)
{
	die("the %s was closed: %s", p->is_node ? "node" : "client", why);
}

static const struct peer_handler handler = { on_open, on_frame, on_closed };

/* A key and its certificate, signed by itself, for both to read. */
static void make_certificate(char path[64])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	FILE *file = tmpfile();

	REQUIRE(key && cert && file);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	REQUIRE(X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
	REQUIRE(PEM_write_X509(file, cert) == 1);
	REQUIRE(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fflush(file) == 0);
	snprintf(path, 64, "/proc/self/fd/%d", fileno(file));
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void connect_pair(bool tls)
{
	const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int fds[2];

	peer_set_init(&pair.set, epoll_fd);
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	peer_adopt(&pair.node, &pair.set, &handler, fds[0], 4);
	peer_adopt(&pair.client, &pair.set, &handler, fds[1], 4);
	pair.client.is_node = false;
	if (tls) {
		char path[64];

		make_certificate(path);
		peer_secure(&pair.node, secure_context_server(path, path));
		peer_secure(&pair.client, secure_context_client(NULL));
	}
	pair.is_open = !tls;
}

static void turn(int timeout_ms)
{
	struct epoll_event events[8];
	int n;

	peer_set_flush(&pair.set);
	n = epoll_wait(pair.set.epoll_fd, events, ARRAY_LEN(events), timeout_ms);
	for (int i = 0; i < n; i++) {
		struct source *source = events[i].data.ptr;

		source->on_events(source, events[i].events);
	}
}

/* Options: version, compression, and "tls" or "plain". */
static void check_frames(const struct selftest *self)
{
	static const char *const names[] = { "none", "lz4", "snappy" };
	char compression[MAX_WORD], tls[MAX_WORD];
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	unsigned version;

	REQUIRE(sscanf(self->options, "%u %15s %15s", &version, compression, tls) == 3);
	connect_pair(strcmp(tls, "tls") == 0);
	if (!pair.is_open) { /* its handshake is begun by an event */
		event.data.ptr = &pair.client.source;
		REQUIRE(epoll_ctl(pair.set.epoll_fd, EPOLL_CTL_MOD, pair.client.fd, &event) == 0);
		turn(1000);
		event.events = EPOLLIN;
		REQUIRE(epoll_ctl(pair.set.epoll_fd, EPOLL_CTL_MOD, pair.client.fd, &event) == 0);
	}
	while (!pair.is_open)
		turn(1000);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], compression) != 0)
			continue;
		peer_use_compression(&pair.client, (enum cql_compression)i);
		peer_use_compression(&pair.node, (enum cql_compression)i);
	}
	if (version >= 5) {
		peer_use_segments(&pair.client);
		peer_use_segments(&pair.node);
	}
	/* All at once, so that the socket takes them in parts. */
	while (pair.sent < ROUNDS * ARRAY_LEN(lengths))
		send_numbered(&pair.client, pair.sent++);
	while (pair.received[0] < pair.sent)
		turn(1000);
	REQUIRE(pair.received[0] == pair.sent && pair.received[1] == pair.sent);
	peer_close(&pair.client);
	peer_close(&pair.node);
}

/* ---- values ---- */

static void check_values(const struct selftest *self)
{
	static const uint32_t sizes[] = { VALUE_MIN, VALUE_MIN + 1, 64, 4000, 200000 };
	static uint8_t value[200000];
	uint8_t key[KEY_LEN], other[KEY_LEN];

	(void)self;
	key_write(key, 0x0123456789abcdefu);
	REQUIRE(memcmp(key, "0123456789abcdef", KEY_LEN) == 0);
	key_write(other, 0x9a0fa90f00000010u);
	REQUIRE(memcmp(other, "9a0fa90f00000010", KEY_LEN) == 0);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		const uint32_t len = sizes[i];

		value_write(value, len, key, 'o');
		REQUIRE(value_is(value, len, key, 'o') && value_begins(value, len, key, 'o'));
		REQUIRE(!value_is(value, len, key, 't') && !value_is(value, len, other, 'o'));
		REQUIRE(!value_is(value, VALUE_MIN - 1, key, 'o'));
		value[len - 1] ^= 1;
		REQUIRE(!value_is(value, len, key, 'o'));
	}
	/* A part of a large one that has moved. */
	value_write(value, sizeof(value), key, 'o');
	memmove(value + 65536, value + 131072, 65536);
	REQUIRE(!value_is(value, sizeof(value), key, 'o'));
}

/* ---- the wheel ---- */

static uint64_t due_ns[4];
static struct wheel_item items[4];
static unsigned fired;

static void fire(struct wheel_item *item)
{
	const unsigned i = (unsigned)(item - items);

	/* Half a tick of 50 us too early at most. */
	REQUIRE(clock_ns() + 25000 >= due_ns[i]);
	due_ns[i] = UINT64_MAX;
	fired++;
}

/* Out of order, in the past, and one that is more than a round away. */
static void check_wheel(const struct selftest *self)
{
	static const int after_ms[] = { 30, -5, 1, 230 };
	const uint64_t now = clock_ns();
	struct wheel *w;

	(void)self;
	peer_set_init(&pair.set, epoll_create1(EPOLL_CLOEXEC));
	w = wheel_new(pair.set.epoll_fd, fire);
	for (unsigned i = 0; i < ARRAY_LEN(items); i++) {
		due_ns[i] = now + (uint64_t)((int64_t)after_ms[i] * 1000000);
		wheel_add(w, &items[i], due_ns[i]);
	}
	while (fired < ARRAY_LEN(items))
		turn(1000);
	REQUIRE(clock_ns() - now >= 229900000u);
	/* Nothing is armed any more. */
	REQUIRE(epoll_wait(pair.set.epoll_fd, &(struct epoll_event){ 0 }, 1, 1) == 0);
}

const struct selftest selftest_peer[] = {
	{ "frames of v4", check_frames, "4 none plain", 0, NULL },
	{ "frames with lz4", check_frames, "4 lz4 plain", 0, NULL },
	{ "frames with snappy", check_frames, "3 snappy plain", 0, NULL },
	{ "segments", check_frames, "5 none plain", 0, NULL },
	{ "segments with lz4", check_frames, "5 lz4 plain", 0, NULL },
	{ "frames of v4 in TLS", check_frames, "4 none tls", 0, NULL },
	{ "segments with lz4 in TLS", check_frames, "5 lz4 tls", 0, NULL },
	{ "values", check_values, "", 0, NULL },
	{ "the timer wheel", check_wheel, "", 0, NULL },
	{ .name = NULL },
};
