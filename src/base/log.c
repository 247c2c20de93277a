/*
 * log.c - the lines on standard error, or in a file.
 *
 *   2026-11-25T17:50:01.123Z INFO  message
 *   {"time":"2026-11-25T17:50:01.123Z","level":"info","message":"message"}
 *
 * A message may hold what the network sent, so nothing in it can end the line,
 * steer a terminal or break the JSON: control characters and bytes that are no
 * UTF-8 are written as escapes. A line has at most LOG_LINE_MAX bytes, which
 * is what Linux writes to a pipe in one piece (PIPE_BUF), so that lines of
 * several threads never mix; a longer one is cut and marked.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

#define LOG_LINE_MAX 4096
#define LOG_CUT_MARK " ... (cut)"
#define LOG_JSON_END "\"}"
/* Kept free behind the message for the mark, the end of the object and the newline. */
#define LOG_TAIL (sizeof(LOG_CUT_MARK LOG_JSON_END "\n") - 1)

int log_level_now = LOG_INFO;

static bool log_json;
/* Once it is a file's, the number stays for ever: others may be about to write to it. */
static int log_fd = STDERR_FILENO;
/* Not beside the level, which every thread looks at. */
static struct {
	OWN_LINE pthread_mutex_t lock;
} limits = { PTHREAD_MUTEX_INITIALIZER };

static const struct {
	const char *word;
	const char *column;
} levels[] = {
#define X(name, word) [LOG_##name] = { word, #name },
	LOG_LEVELS(X)
#undef X
};

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_level_now, (int)level, __ATOMIC_RELAXED);
}

void log_set_json(bool json)
{
	__atomic_store_n(&log_json, json, __ATOMIC_RELAXED);
}

static int cannot_open(const char *path, char *error, size_t error_size)
{
	snprintf(error, error_size, "cannot write the log to %s: %s", path ? path : "standard error", strerror(errno));
	return -1;
}

bool log_can_open(const char *path, char *error, size_t error_size)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	struct stat st;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			errno = EISDIR;
		else if (access(path, W_OK) == 0)
			return true;
	} else if (errno == ENOENT) {
		/* Of a file in the root folder the slash is all that there is of the folder's name. */
		snprintf(folder, sizeof(folder), "%.*s", slash ? (int)MAX(slash - path, 1) : 1, slash ? path : ".");
		if (access(folder, W_OK | X_OK) == 0)
			return true;
	}
	cannot_open(path, error, error_size);
	return false;
}

int log_open(const char *path, char *error, size_t error_size)
{
	/* Not to wait for a reader when it is a FIFO. */
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = path ? open(path, flags, 0640) : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return cannot_open(path, error, error_size);
	if (path)
		fcntl(fd, F_SETFL, O_APPEND); /* waits from here on: a line must not be lost because a disk is slow */
	return fd;
}

void log_use(int fd)
{
	if (log_fd == STDERR_FILENO) {
		__atomic_store_n(&log_fd, fd, __ATOMIC_RELEASE);
		return;
	}
	dup3(fd, log_fd, O_CLOEXEC);
	close(fd);
}

bool log_go_on_in(const char *path)
{
	char error[512];
	const int fd = log_open(path, error, sizeof(error));

	if (fd < 0) {
		log_error("%s", error);
		return false;
	}
	log_info("the log goes on in %s", path);
	log_use(fd);
	return true;
}

const char *log_level_name(enum log_level level)
{
	return levels[level].word;
}

int log_level_from_name(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (strcasecmp(word, levels[i].word) == 0)
			return (int)i;
	return -1;
}

struct line {
	size_t len;
	bool is_cut;
	char text[LOG_LINE_MAX];
};

/* All of the bytes or, once the line is full, none: an escape or a character is never halved. */
static void line_put(struct line *line, const char *bytes, size_t n)
{
	if (line->is_cut || n > sizeof(line->text) - LOG_TAIL - line->len) {
		line->is_cut = true;
		return;
	}
	memcpy(line->text + line->len, bytes, n);
	line->len += n;
}

static void line_puts(struct line *line, const char *s)
{
	line_put(line, s, strlen(s));
}

/* Into the room that line_put() leaves free. */
static void line_put_tail(struct line *line, const char *s)
{
	size_t n = strlen(s);

	memcpy(line->text + line->len, s, n);
	line->len += n;
}

/* How many bytes the character above ASCII at p has, 0 when it has to be written as an escape. */
static unsigned plain_length(const unsigned char *p)
{
	/* U+0080 to U+009F steer terminals as ESC does. */
	return p[0] == 0xc2 && p[1] < 0xa0 ? 0 : utf8_length((const char *)p);
}

/* One character that must not appear as it is. Returns how many bytes of the message that took. */
static unsigned put_escaped(struct line *line, const unsigned char *p, bool json)
{
	char text[8];
	int n;

	if (*p == '\n')
		n = snprintf(text, sizeof(text), "\\n");
	else if (*p == '\t')
		n = snprintf(text, sizeof(text), "\\t");
	else if (*p == '"' || *p == '\\')
		n = snprintf(text, sizeof(text), "\\%c", *p);
	else if (!json)
		n = snprintf(text, sizeof(text), "\\x%02x", *p);
	else if (*p < 0x80)
		n = snprintf(text, sizeof(text), "\\u%04x", *p);
	else
		n = snprintf(text, sizeof(text), "\\ufffd"); /* JSON has no form for a byte that is no character */
	line_put(line, text, (size_t)n);
	return 1;
}

static void put_message(struct line *line, const char *message, bool json)
{
	const unsigned char *p = (const unsigned char *)message;

	while (*p) {
		unsigned n = *p >= 0x80 ? plain_length(p) : *p >= 0x20 && *p != 0x7f;

		if (json && (*p == '"' || *p == '\\'))
			n = 0;
		if (n) {
			line_put(line, (const char *)p, n);
			p += n;
		} else {
			p += put_escaped(line, p, json);
		}
	}
}

static void put_time(struct line *line)
{
	struct timespec now;
	struct tm tm;
	char text[40];
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(now.tv_nsec / 1000000));
	line_puts(line, text);
}

static void put_level(struct line *line, enum log_level level, bool json)
{
	char text[40];

	if (json)
		snprintf(text, sizeof(text), "\",\"level\":\"%s\",\"message\":\"", levels[level].word);
	else
		snprintf(text, sizeof(text), " %-5s ", levels[level].column);
	line_puts(line, text);
}

static void write_whole(const char *p, size_t n)
{
	const int fd = __atomic_load_n(&log_fd, __ATOMIC_ACQUIRE);

	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return; /* nobody is left to tell */
		}
		p += done;
		n -= (size_t)done;
	}
}

void log_write(enum log_level level, const char *fmt, ...)
{
	bool json = __atomic_load_n(&log_json, __ATOMIC_RELAXED);
	int saved_errno = errno;
	/* As long as a line: what vsnprintf() cuts off would not have fitted anyway. */
	char message[LOG_LINE_MAX];
	struct line line;
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);

	line.len = 0;
	line.is_cut = false;
	if (json)
		line_puts(&line, "{\"time\":\"");
	put_time(&line);
	put_level(&line, level, json);
	put_message(&line, message, json);
	if (line.is_cut)
		line_put_tail(&line, LOG_CUT_MARK);
	if (json)
		line_put_tail(&line, LOG_JSON_END);
	line_put_tail(&line, "\n");
	write_whole(line.text, line.len);
	errno = saved_errno;
}

bool log_limit_pass(struct log_limit *limit, enum log_level level, const char *what)
{
	struct timespec now;
	uint32_t left_out = 0;
	bool pass;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	pthread_mutex_lock(&limits.lock);
	if ((uint64_t)now.tv_sec - limit->window_start_s >= LOG_WINDOW_S) {
		left_out = limit->dropped;
		*limit = (struct log_limit){ .window_start_s = (uint64_t)now.tv_sec };
	}
	pass = limit->lines < LOG_BURST;
	if (pass)
		limit->lines++;
	else
		limit->dropped++;
	pthread_mutex_unlock(&limits.lock);

	if (left_out > 0)
		log_write(level, "%s: %u more lines like the next one were left out", what, left_out);
	return pass;
}
