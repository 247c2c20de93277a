/* test_audit_sinks.c - files, rotated, opened again, full; daemons that come and go; lists of names. */
#include "audit/filter.h"
#include "audit/sink_file.h"
#include "audit/sink_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "vectors.h"

static char folder[64], path[96];
static struct sink *sink;
static char told[4096];

/* In place of the C library's: the inode and size of what was brought onto the disk last. */
static ino_t synced_inode;
static off_t synced_size;
static unsigned syncs;

int fdatasync(int fd)
{
	struct stat st;

	syncs++;
	ck_assert_int_eq(fstat(fd, &st), 0);
	synced_inode = st.st_ino;
	synced_size = st.st_size;
	return 0;
}

static void tell(void *arg, enum sink_level level, const char *text)
{
	(void)arg;
	(void)level;
	strncat(told, text, sizeof(told) - strlen(told) - 2);
	strcat(told, "\n");
}

static const struct sink_listener listener = { tell, NULL };

static void setup(void)
{
	strcpy(folder, "/tmp/audit_sinksXXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/log", folder);
	told[0] = '\0';
	sink = NULL;
}

static void teardown(void)
{
	char command[128];

	if (sink)
		sink->ops->close(sink);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void open_file(const char *head, uint64_t rotate_size, uint32_t rotate_keep)
{
	const struct sink_file_settings settings = { rotate_size, rotate_keep, true };
	char error[256];

	sink = sink_file_open(&listener, path, head, "\n", error, sizeof(error));
	ck_assert_msg(sink != NULL, "%s", error);
	sink_file_set(sink, &settings);
}

static void put(const char *line)
{
	ck_assert(sink->ops->put(sink, line, strlen(line)));
}

static void expect_file(const char *suffix, const char *content)
{
	char name[128], found[4096];
	FILE *f;
	size_t n;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	f = fopen(name, "r");
	if (!content) {
		ck_assert_ptr_null(f);
		return;
	}
	ck_assert_msg(f != NULL, "%s", name);
	n = fread(found, 1, sizeof(found) - 1, f);
	found[n] = '\0';
	fclose(f);
	ck_assert_str_eq(found, content);
}

static void write_file(const char *content)
{
	FILE *f = fopen(path, "w");

	fputs(content, f);
	fclose(f);
}

START_TEST(lines_are_gathered)
{
	struct stat st;

	umask(0);
	open_file("", 0, 0);
	put("one\n");
	put("two\n");
	expect_file("", "");
	ck_assert_uint_eq(sink->waiting, 2);
	ck_assert(sink->ops->flush(sink));
	expect_file("", "one\ntwo\n");
	ck_assert_uint_eq(sink->waiting, 0);
	ck_assert_uint_eq(sink->counts.lines, 2);
	ck_assert_uint_eq(sink->counts.bytes, 8);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_str_eq(told, "");
	sink->ops->sync(sink);
	ck_assert_uint_eq(sink->counts.errors, 0);
}
END_TEST

START_TEST(many_lines_are_written_before_a_flush)
{
	char line[1001];
	struct stat st;

	memset(line, 'x', 999);
	strcpy(line + 999, "\n");
	open_file("", 0, 0);
	for (unsigned i = 0; i < 200; i++)
		put(line);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, 100000);
	ck_assert_int_eq(st.st_size % 1000, 0);
	ck_assert(sink->ops->flush(sink));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 200000);
}
END_TEST

START_TEST(what_is_there_stays)
{
	write_file("old\npart of a li");
	open_file("head\n", 0, 0);
	ck_assert_ptr_nonnull(strstr(told, "ends with a part of a line"));
	ck_assert_ptr_nonnull(strstr(told, "others than its owner may open it"));
	put("new\n");
	ck_assert(sink->ops->flush(sink));
	expect_file("", "old\npart of a li\nnew\n");
}
END_TEST

START_TEST(rotated_by_size)
{
	open_file("h\n", 12, 2);
	for (unsigned i = 1; i <= 9; i++) {
		char line[16];

		snprintf(line, sizeof(line), "a%u\n", i);
		put(line); /* 2 + 3 * 3 bytes a file */
	}
	ck_assert(sink->ops->flush(sink));
	expect_file("", "h\na7\na8\na9\n");
	expect_file(".1", "h\na4\na5\na6\n");
	expect_file(".2", "h\na1\na2\na3\n");
	put("longer than a file\n");
	ck_assert(sink->ops->flush(sink));
	expect_file("", "h\nlonger than a file\n");
	expect_file(".1", "h\na7\na8\na9\n");
	expect_file(".2", "h\na4\na5\na6\n");
	expect_file(".3", NULL);
	ck_assert_uint_eq(sink->counts.errors, 0);
}
END_TEST

/* What is behind a gap does not have to make room. */
START_TEST(rotated_up_to_a_gap)
{
	char third[128];
	FILE *f;

	snprintf(third, sizeof(third), "%s.3", path);
	f = fopen(third, "w");
	fputs("old\n", f);
	fclose(f);
	open_file("", 4, 5);
	for (unsigned i = 1; i <= 3; i++) {
		char line[16];

		snprintf(line, sizeof(line), "a%u\n", i);
		put(line);
	}
	ck_assert(sink->ops->flush(sink));
	expect_file("", "a3\n");
	expect_file(".1", "a2\n");
	expect_file(".2", "a1\n");
	expect_file(".3", "old\n");
	put("a4\n");
	ck_assert(sink->ops->flush(sink));
	expect_file(".3", "a1\n");
	expect_file(".4", "old\n");
	expect_file(".5", NULL);
}
END_TEST

/* Nothing is left behind in a file that nobody will sync any more. */
START_TEST(a_file_that_is_left_is_synced)
{
	struct stat st;
	const unsigned before = syncs;

	open_file("", 12, 2);
	put("one line\n");
	ck_assert(sink->ops->flush(sink));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(syncs, before);
	put("two lines\n");
	ck_assert(sink->ops->flush(sink));
	expect_file(".1", "one line\n");
	ck_assert_uint_eq(syncs, before + 1);
	ck_assert(synced_inode == st.st_ino && synced_size == 9);
	sink_reopen(sink);
	ck_assert(sink->ops->flush(sink));
	ck_assert_uint_eq(syncs, before + 2);
	ck_assert_int_eq(synced_size, 10);
}
END_TEST

START_TEST(rotated_without_keeping)
{
	open_file("h\n", 8, 0);
	put("one\n");
	ck_assert(sink->ops->flush(sink));
	put("two\n");
	ck_assert(sink->ops->flush(sink));
	expect_file("", "h\ntwo\n");
	expect_file(".1", NULL);
}
END_TEST

START_TEST(what_cannot_be_rotated_grows)
{
	char name[128];

	snprintf(name, sizeof(name), "%s.1", path);
	ck_assert_int_eq(mkdir(name, 0700), 0); /* no file can be renamed to a folder */
	open_file("", 4, 1);
	put("one\n");
	put("two\n");
	put("three\n");
	ck_assert(sink->ops->flush(sink));
	expect_file("", "one\ntwo\nthree\n");
	ck_assert_uint_ge(sink->counts.errors, 1);
	ck_assert_ptr_nonnull(strstr(told, "cannot be rotated"));
	ck_assert_int_eq(rmdir(name), 0);
	put("four\n");
	ck_assert(sink->ops->flush(sink));
	expect_file("", "four\n");
	expect_file(".1", "one\ntwo\nthree\n");
}
END_TEST

START_TEST(opened_again)
{
	char name[128];

	snprintf(name, sizeof(name), "%s.moved", path);
	open_file("h\n", 0, 0);
	put("one\n");
	ck_assert(sink->ops->flush(sink));
	ck_assert_int_eq(rename(path, name), 0);
	put("two\n");
	ck_assert(sink->ops->flush(sink));
	expect_file(".moved", "h\none\ntwo\n");
	sink_reopen(sink);
	put("three\n");
	ck_assert(sink->ops->flush(sink));
	expect_file("", "h\nthree\n");
	/* What cannot be opened leaves the old one. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	sink_reopen(sink);
	put("four\n");
	ck_assert(sink->ops->flush(sink));
	ck_assert_uint_eq(sink->counts.errors, 1);
	ck_assert_ptr_nonnull(strstr(told, "cannot be opened again"));
}
END_TEST

START_TEST(a_full_disk)
{
	/* A device that is always full, in the place of the file, until it is opened again. */
	ck_assert_int_eq(symlink("/dev/full", path), 0);
	open_file("", 0, 0);
	put("one\n");
	ck_assert(!sink->ops->flush(sink));
	ck_assert(!sink->ops->flush(sink));
	ck_assert_uint_eq(sink->counts.errors, 2);
	ck_assert_uint_eq(sink->counts.lines, 0);
	ck_assert_ptr_nonnull(strstr(told, "No space left on device"));
	put("two\n");
	ck_assert_int_eq(unlink(path), 0);
	sink_reopen(sink);
	ck_assert(sink->ops->flush(sink));
	expect_file("", "one\ntwo\n");
	ck_assert_uint_eq(sink->counts.lines, 2);
	ck_assert_ptr_nonnull(strstr(told, "it can be written again"));
}
END_TEST

START_TEST(a_fifo_that_nobody_reads)
{
	char line[1001], got[4096];
	unsigned lines = 0;
	size_t total = 0;
	ssize_t n;
	int fd;

	memset(line, 'x', 999);
	strcpy(line + 999, "\n");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	open_file("", 0, 0);
	while (sink->ops->put(sink, line, 1000))
		ck_assert_uint_lt(++lines, 1000);
	ck_assert(!sink->ops->flush(sink));
	fd = open(path, O_RDONLY | O_NONBLOCK);
	ck_assert_int_ge(fd, 0);
	do {
		while ((n = read(fd, got, sizeof(got))) > 0) {
			for (ssize_t i = 0; i < n; i++, total++)
				ck_assert_int_eq(got[i], total % 1000 == 999 ? '\n' : 'x');
		}
	} while (!sink->ops->flush(sink));
	while ((n = read(fd, got, sizeof(got))) > 0)
		total += (size_t)n;
	ck_assert_uint_eq(total, lines * 1000);
	ck_assert_uint_eq(sink->counts.lines, lines);
	close(fd);
}
END_TEST

START_TEST(files_that_cannot_be_opened)
{
	char error[256];

	ck_assert_ptr_null(sink_file_open(&listener, folder, "", "\n", error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, folder));
	ck_assert_ptr_null(sink_file_open(&listener, "/nowhere/at/all", "", "\n", error, sizeof(error)));
	ck_assert_str_eq(error, "cannot open /nowhere/at/all: No such file or directory");
}
END_TEST

/* ---- daemons ---- */

static int listen_at_path(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	unlink(path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static char *receive(int fd)
{
	static char message[4096];
	const ssize_t n = recv(fd, message, sizeof(message) - 1, 0);

	ck_assert_int_gt(n, 0);
	message[n] = '\0';
	return message;
}

START_TEST(syslog_messages)
{
	const int fd = listen_at_path();
	char error[256], expected[64], *message;

	sink = sink_syslog_open(&listener, path, LOG_LOCAL3, error, sizeof(error));
	ck_assert_msg(sink != NULL, "%s", error);
	put("{\"a\":1}\n");
	message = receive(fd);
	snprintf(expected, sizeof(expected), " cqlferry[%ld]: {\"a\":1}", (long)getpid());
	ck_assert_int_eq(memcmp(message, "<158>", 5), 0); /* 19 * 8 + 6 */
	ck_assert_str_eq(message + 5 + strlen("Jan  1 00:00:00"), expected);
	ck_assert_uint_eq(sink->counts.lines, 1);
	close(fd);
}
END_TEST

START_TEST(journal_messages)
{
	const int fd = listen_at_path();
	char error[256];

	sink = sink_journal_open(&listener, path, LOG_AUTHPRIV, "mine", error, sizeof(error));
	ck_assert_msg(sink != NULL, "%s", error);
	put("a=b\r\n");
	ck_assert_str_eq(receive(fd), "PRIORITY=6\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=cqlferry\n"
				      "CQLFERRY_PLUGIN=mine\nMESSAGE=a=b\n");
	close(fd);
}
END_TEST

START_TEST(a_daemon_that_is_slow_and_one_that_is_started_anew)
{
	int fd = listen_at_path();
	char error[256];
	unsigned sent = 0;

	sink = sink_syslog_open(&listener, path, LOG_USER, error, sizeof(error));
	ck_assert_ptr_nonnull(sink);
	while (sink->ops->put(sink, "line\n", 5))
		ck_assert_uint_lt(++sent, 100000);
	ck_assert(!sink->ops->flush(sink));
	ck_assert_uint_eq(sink->counts.lines, sent);
	receive(fd);
	put("line\n");
	ck_assert(sink->ops->flush(sink));
	close(fd);
	ck_assert(!sink->ops->put(sink, "line\n", 5));
	ck_assert(!sink->ops->put(sink, "line\n", 5));
	fd = listen_at_path();
	put("new\n");
	ck_assert_ptr_nonnull(strstr(receive(fd), ": new"));
	ck_assert_ptr_nonnull(strstr(told, "it can be written again"));
	close(fd);
}
END_TEST

START_TEST(a_line_that_is_too_long_for_a_datagram)
{
	const int fd = listen_at_path();
	const size_t len = 8 << 20;
	char error[256];
	char *line = malloc(len);

	memset(line, 'x', len);
	sink = sink_syslog_open(&listener, path, LOG_USER, error, sizeof(error));
	ck_assert(sink->ops->put(sink, line, len));
	ck_assert_uint_eq(sink->counts.lost, 1);
	ck_assert_uint_eq(sink->counts.errors, 1);
	ck_assert_ptr_nonnull(strstr(told, "a line is too long for it, and lost"));
	ck_assert_ptr_null(strstr(told, "it is tried again"));
	ck_assert_msg(sink->ops->flush(sink), "the end of the process has nothing to wait for");
	put("short\n");
	ck_assert_ptr_nonnull(strstr(receive(fd), ": short"));
	free(line);
	close(fd);
}
END_TEST

START_TEST(daemons_that_are_not_there)
{
	char error[256], longer[200];

	ck_assert_ptr_null(sink_syslog_open(&listener, path, LOG_USER, error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "No such file"));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_ptr_null(sink_journal_open(&listener, longer, LOG_USER, "mine", error, sizeof(error)));
	ck_assert_ptr_nonnull(strstr(error, "107 bytes"));
}
END_TEST

/* ---- lists ---- */

static const struct {
	const char *list, *name;
	bool has;
} lists[] = {
	{ NULL, "a", true },
	{ "", "", true },
	{ " , ", "a", true },
	{ "a", "a", true },
	{ "a", "b", false },
	{ "a", "aa", false },
	{ "a, b c", "c", true },
	{ "*", "", true },
	{ "app_*", "app_", true },
	{ "app_*", "app", false },
	{ "*.log*", "ks.catalog", false },
	{ "*.log*", "ks.log_2026", true },
	{ "*a*b", "xaxbxb", true },
	{ "*a*b", "xaxbx", false },
	{ "!a", "a", false },
	{ "!a", "b", true },
	{ "app_*,!app_test", "app_test", false },
	{ "!app_test app_*", "app_live", true },
	{ "!app_test app_*", "other", false },
	{ "A", "a", false },
};

START_TEST(names_in_lists)
{
	struct filter f;

	ck_assert(filter_init(&f, lists[_i].list));
	ck_assert_msg(filter_has(&f, lists[_i].name, strlen(lists[_i].name)) == lists[_i].has, "%s in %s",
		      lists[_i].name, lists[_i].list);
	filter_fini(&f);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("audit_sinks");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, lines_are_gathered);
	tcase_add_test(tc, many_lines_are_written_before_a_flush);
	tcase_add_test(tc, what_is_there_stays);
	tcase_add_test(tc, rotated_by_size);
	tcase_add_test(tc, rotated_up_to_a_gap);
	tcase_add_test(tc, a_file_that_is_left_is_synced);
	tcase_add_test(tc, rotated_without_keeping);
	tcase_add_test(tc, what_cannot_be_rotated_grows);
	tcase_add_test(tc, opened_again);
	tcase_add_test(tc, a_full_disk);
	tcase_add_test(tc, a_fifo_that_nobody_reads);
	tcase_add_test(tc, files_that_cannot_be_opened);
	tcase_add_test(tc, syslog_messages);
	tcase_add_test(tc, journal_messages);
	tcase_add_test(tc, a_daemon_that_is_slow_and_one_that_is_started_anew);
	tcase_add_test(tc, a_line_that_is_too_long_for_a_datagram);
	tcase_add_test(tc, daemons_that_are_not_there);
	tcase_add_loop_test(tc, names_in_lists, 0, sizeof(lists) / sizeof(lists[0]));
	return run_tcase("audit_sinks", tc);
}
