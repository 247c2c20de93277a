/*
 * loop_helper.h - a loop that a test drives turn by turn, and plain blocking
 * sockets at the other end of what lives on it.
 */
#ifndef TESTS_UNIT_LOOP_HELPER_H
#define TESTS_UNIT_LOOP_HELPER_H

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/net.h"
#include "vectors.h"

/* Nothing that these tests wait for takes longer, whatever else the machine does. */
#define HELPER_PATIENCE_MS 20000
#define HELPER_WRITE_TIMEOUT_MS 800

static struct loop loop;

static inline void helper_loop_start(void)
{
	ck_assert(loop_init(&loop, HELPER_WRITE_TIMEOUT_MS));
}

/* Every reference to a chunk must have been given back: chunk_pool_fini() asserts it, and so does this without cassert. */
static inline void helper_loop_end(void)
{
	loop_turn(&loop, false);
	ck_assert_uint_eq(loop.chunks.used, 0);
	ck_assert_uint_eq(loop.out_parts.used, 0);
	ck_assert_ptr_null(loop.dirty);
	loop_fini(&loop);
}

/* Turns of the loop until the expression is true. */
#define loop_until(expression)                                                                                         \
	do {                                                                                                           \
		for (unsigned waited_ = 0; !(expression); waited_++) {                                                 \
			ck_assert_msg(waited_ < HELPER_PATIENCE_MS, "never came: %s", #expression);                    \
			loop_turn(&loop, false);                                                                       \
			if (!(expression))                                                                             \
				usleep(1000);                                                                          \
		}                                                                                                      \
	} while (0)

/* Two ends of a TCP connection on the loopback interface: [0] for the code under test, [1] for the test. */
static inline void tcp_pair(int fd[2])
{
	char error[256];
	struct net_address at;
	int listener = net_listen("127.0.0.1", 0, &at, error, sizeof(error));

	ck_assert_msg(listener >= 0, "%s", error);
	fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd[1], &at.at.any, at.len), 0);
	fd[0] = accept(listener, NULL, NULL);
	ck_assert_int_ge(fd[0], 0);
	close(listener);
}

static inline void peer_write(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		ck_assert_int_gt(n, 0);
		p += n;
		len -= (size_t)n;
	}
}

/* Reads `len` bytes while the loop turns; returns less than that at the end of the stream. */
static inline size_t peer_read(int fd, void *out, size_t len)
{
	size_t have = 0;

	for (unsigned waited = 0; have < len; waited++) {
		ssize_t n = recv(fd, (uint8_t *)out + have, len - have, MSG_DONTWAIT);

		ck_assert_msg(waited < HELPER_PATIENCE_MS, "only %zu of %zu bytes came", have, len);
		if (n == 0)
			return have;
		if (n > 0) {
			have += (size_t)n;
			continue;
		}
		loop_turn(&loop, false);
		usleep(200);
	}
	return have;
}

/* True when nothing has come for the peer, not even the end. */
static inline bool peer_has_nothing(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (unsigned i = 0; i < 3; i++)
		loop_turn(&loop, false);
	return poll(&p, 1, 20) == 0;
}

/* Lets the loop read everything that was written to its end of the pair. */
static inline void loop_take_all(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int waiting = 0;

	ck_assert_int_eq(poll(&p, 1, HELPER_PATIENCE_MS), 1);
	do {
		loop_turn(&loop, false);
	} while (ioctl(fd, FIONREAD, &waiting) == 0 && waiting > 0);
}

/* A byte for each place: what is missing, doubled or moved shows. */
static inline uint8_t pattern_byte(size_t i)
{
	return (uint8_t)(i * 31 + i / 253 + 7);
}

static inline void pattern_fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = pattern_byte(i);
}

static inline bool pattern_is(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != pattern_byte(i))
			return false;
	}
	return true;
}

#endif
