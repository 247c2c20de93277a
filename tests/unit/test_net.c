/* test_net.c - addresses in all their forms; sockets on the loopback interface. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/net.h"

static char error[256];
static char text[NET_TEXT_MAX];

static struct net_address ip(const char *literal, uint16_t port)
{
	struct net_address a;

	ck_assert_msg(net_parse_ip(literal, port, &a), "'%s' is an address", literal);
	return a;
}

static const struct {
	const char *literal;
	const char *with_port, *alone;
	unsigned bytes;
} literals[] = {
	{ "127.0.0.1", "127.0.0.1:9042", "127.0.0.1", 4 },
	{ "255.255.255.255", "255.255.255.255:9042", "255.255.255.255", 4 },
	{ "::1", "[::1]:9042", "::1", 16 },
	{ "[::1]", "[::1]:9042", "::1", 16 },
	{ "2001:DB8:0:0:0:0:0:1", "[2001:db8::1]:9042", "2001:db8::1", 16 },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:9042",
	  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 16 },
	{ "::ffff:10.1.2.3", "10.1.2.3:9042", "10.1.2.3", 4 },
};

START_TEST(literal_forms)
{
	struct net_address a = ip(literals[_i].literal, 9042);
	struct net_address again;
	uint8_t bytes[16];

	ck_assert_str_eq(net_format(&a, text), literals[_i].with_port);
	ck_assert_str_eq(net_format_ip(&a, text), literals[_i].alone);
	ck_assert_uint_eq(net_port(&a), 9042);
	ck_assert_uint_eq(net_to_bytes(&a, bytes), literals[_i].bytes);
	ck_assert(net_from_bytes(bytes, literals[_i].bytes, 9042, &again));
	ck_assert(net_equal(&a, &again));
	net_set_port(&again, 1);
	ck_assert_uint_eq(net_port(&again), 1);
	ck_assert(!net_equal(&a, &again));
}
END_TEST

START_TEST(no_literals)
{
	static const char *const names[] = {
		"",
		"localhost",
		"127.1",
		"127.0.0.1.1",
		"0x7f.0.0.1",
		"256.0.0.1",
		"1.2.3.4:9042",
		"[127.0.0.1]",
		"[::1",
		"::1]",
		"[]",
		":::",
		"12345::",
		"[[::1]]",
		" 127.0.0.1",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct net_address a;

		ck_assert_msg(!net_parse_ip(names[i], 1, &a), "'%s' was taken for an address", names[i]);
	}
}
END_TEST

START_TEST(raw_bytes)
{
	static const uint8_t bytes[17] = { 10, 1, 2, 3, 5 };
	struct net_address a;

	for (unsigned len = 0; len <= 17; len++)
		ck_assert_int_eq(net_from_bytes(bytes, len, 1, &a), len == 4 || len == 16);
	ck_assert(net_from_bytes(bytes, 4, 7000, &a));
	ck_assert_str_eq(net_format(&a, text), "10.1.2.3:7000");
}
END_TEST

START_TEST(comparisons)
{
	struct net_address v4 = ip("10.1.2.3", 9042), mapped = ip("::ffff:10.1.2.3", 9042), v6 = ip("a01:203::", 9042);
	struct net_address other = ip("10.1.2.4", 9042);

	/* What a client's address looks like depends on the listener: they are the same. */
	ck_assert(net_equal(&v4, &mapped));
	ck_assert(!net_equal(&v4, &other));
	ck_assert(!net_equal(&v4, &v6)); /* the same first bytes */
	ck_assert(!net_is_any(&v4));
	v4 = ip("0.0.0.0", 1);
	ck_assert(net_is_any(&v4));
	v6 = ip("::", 1);
	ck_assert(net_is_any(&v6));
	v6 = ip("::1", 1);
	ck_assert(!net_is_any(&v6));
}
END_TEST

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void expect_prepared(int fd)
{
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_ne(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_ne(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 15);
	ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
	ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
	ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 75000);
}

static int accept_one(int listener, struct net_address *peer)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	peer->len = sizeof(peer->at);
	return accept(listener, &peer->at.any, &peer->len);
}

static void expect_connection(int listener, const struct net_address *to)
{
	struct net_address peer;
	bool in_progress;
	int client = net_connect_start(to, &in_progress);
	int accepted = accept_one(listener, &peer);
	struct pollfd p = { .fd = client, .events = POLLOUT };

	ck_assert_int_ge(client, 0);
	ck_assert_int_ge(accepted, 0);
	expect_prepared(client);
	net_prepare_socket(accepted);
	expect_prepared(accepted);
	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	ck_assert_int_eq(option(client, SOL_SOCKET, SO_ERROR), 0);
	ck_assert_int_eq(write(client, "x", 1), 1);
	close(client);
	close(accepted);
}

START_TEST(node_ids)
{
	struct net_address a = ip("10.1.2.3", 29042), b = ip("10.9.9.9", 1), plain = ip("10.1.2.3", 29042);

	ck_assert(!net_has_node_id(&a));
	ck_assert(net_parse_node_id("01234567-89ab-cdef-0123-456789abcdef", a.node_id));
	ck_assert(net_parse_node_id("01234567-89AB-CDEF-0123-456789ABCDEF", b.node_id));
	ck_assert(net_has_node_id(&a));
	/* The same node behind another address; and what has no id is never it. */
	ck_assert(net_equal(&a, &b));
	ck_assert(!net_equal(&a, &plain));
	ck_assert(!net_equal(&plain, &a));
	b.node_id[15] ^= 1;
	ck_assert(!net_equal(&a, &b));
	ck_assert_str_eq(net_format(&a, text), "01234567-89ab-cdef-0123-456789abcdef");
	ck_assert_str_eq(net_format_ip(&a, text), "10.1.2.3");
	ck_assert_uint_eq(net_port(&a), 29042);
}
END_TEST

START_TEST(no_node_ids)
{
	static const char *const texts[] = {
		"",
		"01234567",
		"01234567-89ab-cdef-0123-456789abcde",
		"01234567-89ab-cdef-0123-456789abcdef0",
		"0123456789abcdef0123456789abcdef",
		"01234567-89ab-cdef-0123456789abcdef-",
		"g1234567-89ab-cdef-0123-456789abcdef",
		"01234567-89ab-cdef-0123-456789abcdeg",
		"00000000-0000-0000-0000-000000000000",
		"{01234567-89ab-cdef-0123-456789abcdef}",
	};
	uint8_t id[NET_NODE_ID];

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		ck_assert_msg(!net_parse_node_id(texts[i], id), "'%s' was taken for a node id", texts[i]);
}
END_TEST

START_TEST(listen_and_connect)
{
	struct net_address bound, again;
	int fd = net_listen("127.0.0.1", 0, &bound, error, sizeof(error));

	ck_assert_msg(fd >= 0, "%s", error);
	ck_assert_uint_ne(net_port(&bound), 0);
	ck_assert_str_eq(net_format_ip(&bound, text), "127.0.0.1");
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_ne(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	/* With SO_REUSEPORT a second process would silently take half of the clients. */
	ck_assert_int_eq(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
	expect_connection(fd, &bound);

	ck_assert_int_eq(net_listen("127.0.0.1", net_port(&bound), &again, error, sizeof(error)), -1);
	ck_assert_ptr_nonnull(strstr(error, net_format(&bound, text)));
	ck_assert_ptr_nonnull(strstr(error, "Address already in use"));
	close(fd);
}
END_TEST

START_TEST(listen_on_a_name)
{
	struct net_address bound;
	int fd = net_listen("localhost", 0, &bound, error, sizeof(error));

	ck_assert_msg(fd >= 0, "%s", error);
	ck_assert_str_eq(net_format_ip(&bound, text), "127.0.0.1"); /* not ::1, whatever comes first */
	expect_connection(fd, &bound);
	close(fd);
	ck_assert_int_eq(net_listen("no..name", 0, NULL, error, sizeof(error)), -1);
	ck_assert_ptr_nonnull(strstr(error, "cannot resolve 'no..name'"));
	ck_assert_int_eq(net_listen("192.0.2.1", 0, NULL, error, sizeof(error)), -1); /* not ours (RFC 5737) */
	ck_assert_ptr_nonnull(strstr(error, "192.0.2.1:0: "));
}
END_TEST

START_TEST(listen_on_all)
{
	static const char *const words[] = { "", "*" };
	struct net_address bound, v4;
	int fd = net_listen(words[_i], 0, &bound, error, sizeof(error));

	ck_assert_msg(fd >= 0, "%s", error);
	ck_assert(net_is_any(&bound));
	v4 = ip("127.0.0.1", net_port(&bound));
	expect_connection(fd, &v4);
	close(fd);
}
END_TEST

START_TEST(connect_refused)
{
	struct net_address bound;
	bool in_progress;
	int fd = net_listen("127.0.0.1", 0, &bound, error, sizeof(error));

	ck_assert_int_ge(fd, 0);
	close(fd); /* the port is free, nobody listens */
	fd = net_connect_start(&bound, &in_progress);
	if (fd < 0) {
		ck_assert_int_eq(errno, ECONNREFUSED);
		ck_assert(!in_progress);
	} else {
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		ck_assert(in_progress);
		ck_assert_int_eq(poll(&p, 1, 5000), 1);
		ck_assert_int_eq(option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
		close(fd);
	}
	bound = ip("255.255.255.255", 1);
	ck_assert_int_eq(net_connect_start(&bound, &in_progress), -1);
	ck_assert_int_ne(errno, 0);
	ck_assert(!in_progress);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("net");
	TCase *tc = tcase_create("net");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, literal_forms, 0, (int)ARRAY_LEN(literals));
	tcase_add_test(tc, no_literals);
	tcase_add_test(tc, raw_bytes);
	tcase_add_test(tc, comparisons);
	tcase_add_test(tc, node_ids);
	tcase_add_test(tc, no_node_ids);
	tcase_add_test(tc, listen_and_connect);
	tcase_add_test(tc, listen_on_a_name);
	tcase_add_loop_test(tc, listen_on_all, 0, 2);
	tcase_add_test(tc, connect_refused);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
