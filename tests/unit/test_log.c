/*
 * test_log.c - lines are caught through a datagram socket in place of standard
 * error: each write(2) arrives as one message, so that "one line, one write"
 * can be seen.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

static int real_stderr;
static int catcher;
static char line[8192];

static void catch_begin(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	real_stderr = dup(STDERR_FILENO);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	catcher = fds[0];
}

static void catch_end(void)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(catcher);
	log_set_json(false);
	log_set_level(LOG_INFO);
}

/* The next line that was written, without its newline; NULL when there is none. */
static const char *caught(void)
{
	ssize_t n = recv(catcher, line, sizeof(line) - 1, MSG_DONTWAIT);

	if (n < 0)
		return NULL;
	ck_assert_int_gt(n, 0);
	ck_assert_msg(line[n - 1] == '\n', "the line does not end in a newline");
	line[n - 1] = '\0';
	ck_assert_ptr_null(strchr(line, '\n'));
	return line;
}

static void expect_match(const char *text, const char *pattern)
{
	regex_t re;
	int rc;

	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	rc = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	ck_assert_msg(rc == 0, "'%s' does not match '%s'", text, pattern);
}

#define TIME "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z"

START_TEST(text_form)
{
	log_set_level(LOG_TRACE);
	log_error("one %d", 1);
	expect_match(caught(), "^" TIME " ERROR one 1$");
	log_warn("two");
	expect_match(caught(), "^" TIME " WARN  two$");
	log_info("three");
	expect_match(caught(), "^" TIME " INFO  three$");
	log_debug("four");
	expect_match(caught(), "^" TIME " DEBUG four$");
	log_trace("%s", "");
	expect_match(caught(), "^" TIME " TRACE $");
	ck_assert_ptr_null(caught());
}
END_TEST

START_TEST(json_form)
{
	log_set_json(true);
	log_warn("client %d: \"x\"", 7);
	expect_match(caught(),
		     "^\\{\"time\":\"" TIME "\",\"level\":\"warn\",\"message\":\"client 7: \\\\\"x\\\\\"\"\\}$");
}
END_TEST

/* Everything a message may hold, and how the two forms write it. */
static const struct {
	const char *message, *text, *json;
} escapes[] = {
	{ "plain", "plain", "plain" },
	{ "a\nb\tc", "a\\nb\\tc", "a\\nb\\tc" },
	{ "say \"hi\"", "say \"hi\"", "say \\\"hi\\\"" },
	{ "C:\\x", "C:\\x", "C:\\\\x" },
	{ "\x1b[31m\r\x7f", "\\x1b[31m\\x0d\\x7f", "\\u001b[31m\\u000d\\u007f" },
	{ "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x9a\xa2", "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x9a\xa2",
	  "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x9a\xa2" },
	/* no UTF-8: a lone byte, an overlong form, a surrogate, beyond U+10FFFF, the end in the middle, C1 controls */
	{ "\xff.", "\\xff.", "\\ufffd." },
	{ "\xc0\xaf", "\\xc0\\xaf", "\\ufffd\\ufffd" },
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd" },
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
	{ "\xe2\x82", "\\xe2\\x82", "\\ufffd\\ufffd" },
	{ "\xc2\x9b"
	  "1m",
	  "\\xc2\\x9b1m", "\\ufffd\\ufffd1m" },
};

START_TEST(nothing_in_a_message_breaks_the_line)
{
	const char *message = escapes[_i].message;
	char expected[200];

	log_info("%s", message);
	ck_assert_ptr_nonnull(caught());
	ck_assert_str_eq(line + strlen("2026-11-25T17:50:01.123Z INFO  "), escapes[_i].text);

	log_set_json(true);
	log_info("%s", message);
	ck_assert_ptr_nonnull(caught());
	snprintf(expected, sizeof(expected), "%s\"}", escapes[_i].json);
	ck_assert_str_eq(strstr(line, "\"message\":\"") + strlen("\"message\":\""), expected);
}
END_TEST

/* Messages that grow by escaping (one byte to six) or are cut inside a character must be cut between characters. */
START_TEST(long_lines_are_cut)
{
	static const char *const fillers[] = { "a", "\x01", "\"", "\xe2\x82\xac", "\xff" };
	char message[6000];

	for (size_t f = 0; f < ARRAY_LEN(fillers); f++) {
		size_t n = strlen(fillers[f]);

		for (unsigned shift = 0; shift < 6; shift++) {
			size_t len = shift;

			memset(message, 'x', shift);
			for (; len + n < sizeof(message); len += n)
				memcpy(message + len, fillers[f], n);
			message[len] = '\0';

			log_set_json(false);
			log_info("%s", message);
			ck_assert_ptr_nonnull(caught());
			ck_assert_uint_le(strlen(line), 4095);
			ck_assert_uint_ge(strlen(line), 4070);
			expect_match(line, " \\.\\.\\. \\(cut\\)$");

			log_set_json(true);
			log_info("%s", message);
			ck_assert_ptr_nonnull(caught());
			ck_assert_uint_le(strlen(line), 4095);
			ck_assert_uint_ge(strlen(line), 4070);
			expect_match(line, "([x\"a0-9fd]|\xe2\x82\xac) \\.\\.\\. \\(cut\\)\"}$");
		}
	}
	ck_assert_ptr_null(caught());
}
END_TEST

START_TEST(the_longest_line_is_not_cut)
{
	char message[5000];
	size_t longest = 0;

	for (size_t len = 4000; len < 4096; len++) {
		memset(message, 'a', len);
		message[len] = '\0';
		log_info("%s", message);
		ck_assert_ptr_nonnull(caught());
		if (!strstr(line, "(cut)"))
			longest = len;
	}
	/* 31 bytes in front, one newline, and the room that is kept for the mark */
	ck_assert_uint_ge(longest, 4096 - 31 - 1 - 12);
	ck_assert_uint_le(longest, 4096 - 31 - 1);
}
END_TEST

static int evaluated;

static int count_evaluation(void)
{
	return ++evaluated;
}

START_TEST(levels)
{
	log_set_level(LOG_WARN);
	log_info("%d", count_evaluation());
	log_limited(LOG_DEBUG, "%d", count_evaluation());
	ck_assert_ptr_null(caught());
	ck_assert_int_eq(evaluated, 0);
	log_warn("%d", count_evaluation());
	ck_assert_ptr_nonnull(caught());
	ck_assert_int_eq(evaluated, 1);

	ck_assert_int_eq(log_level_from_name("error"), LOG_ERROR);
	ck_assert_int_eq(log_level_from_name("WARN"), LOG_WARN);
	ck_assert_int_eq(log_level_from_name("Trace"), LOG_TRACE);
	ck_assert_int_eq(log_level_from_name("warning"), -1);
	ck_assert_int_eq(log_level_from_name(""), -1);
	ck_assert_str_eq(log_level_name(LOG_DEBUG), "debug");
}
END_TEST

START_TEST(errno_survives)
{
	errno = ENOTDIR;
	log_info("x");
	ck_assert_int_eq(errno, ENOTDIR);
}
END_TEST

static void repeat(int times)
{
	for (int i = 0; i < times; i++)
		log_limited(LOG_INFO, "again %d", i);
}

START_TEST(repeated_lines_are_limited)
{
	int lines = 0;

	repeat(1000);
	while (caught())
		lines++;
	ck_assert_int_eq(lines, LOG_BURST);
}
END_TEST

START_TEST(the_next_window_tells_what_was_left_out)
{
	struct log_limit limit = { 0 };

	for (int i = 0; i < LOG_BURST; i++)
		ck_assert(log_limit_pass(&limit, LOG_WARN, "who"));
	for (int i = 0; i < 5; i++)
		ck_assert(!log_limit_pass(&limit, LOG_WARN, "who"));
	ck_assert_ptr_null(caught());
	limit.window_start_s -= LOG_WINDOW_S;
	ck_assert(log_limit_pass(&limit, LOG_WARN, "who"));
	expect_match(caught(), " WARN  who: 5 more lines like the next one were left out$");

	/* A window without losses says nothing. */
	limit.window_start_s -= LOG_WINDOW_S;
	ck_assert(log_limit_pass(&limit, LOG_WARN, "who"));
	ck_assert_ptr_null(caught());
}
END_TEST

static struct log_limit shared_limit;
static int passed;

static void *hammer(void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++)
		if (log_limit_pass(&shared_limit, LOG_INFO, "hammer"))
			__atomic_add_fetch(&passed, 1, __ATOMIC_RELAXED);
	return NULL;
}

START_TEST(the_limit_holds_across_threads)
{
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(passed, LOG_BURST);
	ck_assert_uint_eq(shared_limit.dropped, 4000 - LOG_BURST);
}
END_TEST

/* ---- files ---- */

static char folder[] = "/tmp/cqlferry-log-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void use(const char *path)
{
	char error[512];
	int fd = log_open(path, error, sizeof(error));

	ck_assert_msg(fd >= 0, "%s", error);
	log_use(fd);
}

static unsigned lines_in(const char *name)
{
	FILE *f = fopen(path_of(name), "r");
	unsigned lines = 0;
	char text[256];

	ck_assert_ptr_nonnull(f);
	while (fgets(text, sizeof(text), f)) {
		ck_assert_ptr_nonnull(strstr(text, "INFO  line\n"));
		lines++;
	}
	fclose(f);
	return lines;
}

static void *write_lines(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2000; i++)
		log_info("line");
	return NULL;
}

/* Threads write all the time while the file is opened anew: no line is lost, cut or in two files. */
START_TEST(a_file_changes_under_way)
{
	pthread_t threads[4];
	char name[16];
	unsigned lines = 0;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	use(path_of("0"));
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, NULL), 0);
	for (unsigned i = 1; i < 50; i++) {
		snprintf(name, sizeof(name), "%u", i);
		use(path_of(name));
	}
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	use(NULL);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "%u", i);
		lines += lines_in(name);
		unlink(path_of(name));
	}
	ck_assert_uint_eq(lines, 4 * 2000);
	rmdir(folder);
	ck_assert_ptr_null(caught());
	log_info("line");
	ck_assert_ptr_nonnull(strstr(caught(), "INFO  line"));
}
END_TEST

START_TEST(files_that_cannot_be_opened)
{
	static const char *const wrong[] = { "/tmp", "/nowhere/at/all", "/proc/version/x", "" };
	char error[512];

	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		error[0] = '\0';
		ck_assert_int_eq(log_open(wrong[i], error, sizeof(error)), -1);
		ck_assert_ptr_nonnull(strstr(error, wrong[i]));
		error[0] = '\0';
		ck_assert(!log_can_open(wrong[i], error, sizeof(error)) || !wrong[i][0]);
	}
	ck_assert(log_can_open("/tmp/cqlferry-log-that-is-not-there", error, sizeof(error)));
	ck_assert_int_ne(access("/tmp/cqlferry-log-that-is-not-there", F_OK), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, catch_begin, catch_end);
	tcase_add_test(tc, text_form);
	tcase_add_test(tc, json_form);
	tcase_add_loop_test(tc, nothing_in_a_message_breaks_the_line, 0, (int)ARRAY_LEN(escapes));
	tcase_add_test(tc, long_lines_are_cut);
	tcase_add_test(tc, the_longest_line_is_not_cut);
	tcase_add_test(tc, levels);
	tcase_add_test(tc, errno_survives);
	tcase_add_test(tc, repeated_lines_are_limited);
	tcase_add_test(tc, the_next_window_tells_what_was_left_out);
	tcase_add_test(tc, the_limit_holds_across_threads);
	tcase_add_test(tc, a_file_changes_under_way);
	tcase_add_test(tc, files_that_cannot_be_opened);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
