/*
 * test_fetch.c - an HTTPS call that gets no answer, and one that is given up.
 * What comes of answers is in tests/wire/test_bundle.py, between two programs.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fetch.h"
#include "loop_helper.h"
#include "pki.h"

static struct strview ca;
static char url[128];
static char said[512];
static unsigned calls;

static void on_done(void *arg, const char *body, size_t len, const char *why)
{
	(void)len;
	ck_assert_ptr_eq(arg, &calls);
	ck_assert_ptr_null(body);
	snprintf(said, sizeof(said), "%s", why);
	calls++;
}

static struct fetch *begin(uint16_t port, uint32_t timeout_ms)
{
	ck_assert_uint_gt(ca.len, 0);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/metadata", port);
	return fetch_start(&loop,
			   &(struct fetch_options){ .url = url, .ca = ca, .timeout_ms = timeout_ms, .max_body = 1000 },
			   on_done, &calls);
}

static int listen_mutely(uint16_t *port)
{
	struct net_address at;
	char error[256];
	int fd = net_listen("127.0.0.1", 0, &at, error, sizeof(error));

	ck_assert_msg(fd >= 0, "%s", error);
	*port = net_port(&at);
	return fd;
}

START_TEST(a_mute_server)
{
	uint16_t port;
	int fd = listen_mutely(&port);

	begin(port, 100);
	loop_until(calls == 1);
	ck_assert_msg(strstr(said, "timed out") || strstr(said, "timeout"), "%s", said);
	close(fd);
}
END_TEST

START_TEST(nobody_there)
{
	uint16_t port;

	close(listen_mutely(&port));
	begin(port, 10000);
	loop_until(calls == 1);
	ck_assert_msg(strstr(said, "refused") || strstr(said, "connect"), "%s", said);
}
END_TEST

START_TEST(other_schemes)
{
	static const char *const urls[] = { "http://127.0.0.1:1/", "file:///etc/passwd", "", "nonsense" };

	fetch_start(&loop, &(struct fetch_options){ .url = urls[_i], .ca = ca, .timeout_ms = 1000, .max_body = 1000 },
		    on_done, &calls);
	loop_until(calls == 1);
	ck_assert_str_ne(said, "");
}
END_TEST

/* In every state of the thread: the answer is never told, and nothing is left behind. */
START_TEST(cancelled)
{
	uint64_t begun = loop_clock_ns();
	uint16_t port;
	int fd = listen_mutely(&port);

	for (unsigned i = 0; i < 20; i++) {
		struct fetch *f = begin(port, 60000);

		usleep(i * 500);
		fetch_cancel(f);
	}
	close(fd);
	for (unsigned i = 0; i < 20; i++) {
		struct fetch *f = begin(port, 60000); /* refused: the message may be on the way */

		usleep(i * 500);
		fetch_cancel(f);
		loop_turn(&loop, false);
	}
	ck_assert_uint_eq(calls, 0);
	ck_assert_uint_lt(loop_clock_ns() - begun, UINT64_C(20) * 1000000000);
}
END_TEST

static void make_ca(void)
{
	static char text[8192];
	FILE *f;

	pki_begin();
	pki_make(&(const struct pki_cert){ .file = "ca", .is_ca = true });
	f = fopen(pki_path("ca.crt"), "rb");
	if (f) {
		ca = (struct strview){ text, fread(text, 1, sizeof(text), f) };
		fclose(f);
	}
	pki_end();
}

int main(void)
{
	Suite *suite = suite_create("fetch");
	TCase *tc = tcase_create("fetch");
	SRunner *runner;
	int failed;

	make_ca();
	tcase_add_checked_fixture(tc, helper_loop_start, helper_loop_end);
	tcase_add_test(tc, a_mute_server);
	tcase_add_test(tc, nobody_there);
	tcase_add_loop_test(tc, other_schemes, 0, 4);
	tcase_add_test(tc, cancelled);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
