/* sink_file.c - see sink_file.h */
#include "sink_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buffer.h"

/* So much is gathered before it is written; more only as one line is long. */
#define GATHERED_MAX 65536u

struct sink_file {
	struct sink sink;
	struct sink_file_settings settings;
	char *path;
	char *head;
	const char *line_end;
	int fd;
	bool is_regular;
	uint64_t size;     /* of the file, as far as it was written by us */
	struct buffer out; /* gathered lines */
	size_t written;    /* of these; behind the last whole line unless the kernel took a part of one */
	bool needs_head;
	uint64_t tried_at; /* to rotate it, in vain: its size then */
};

static struct sink_file *file_of(struct sink *s)
{
	return (struct sink_file *)(void *)((char *)s - offsetof(struct sink_file, sink));
}

static void fail(struct sink_file *f, const char *what, int error)
{
	sink_failed(&f->sink, f->path, what, error);
}

/* True when the file ends with a line's end, or is empty. */
static bool ends_whole(const char *path, off_t size)
{
	char last = '\n';
	const int fd = size > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return true; /* it may be one that we are not to read */
	if (pread(fd, &last, 1, size - 1) != 1)
		last = '\n';
	close(fd);
	return last == '\n';
}

/* Opens the path and takes its place. False, with errno: the old file stays. */
static bool open_anew(struct sink_file *f)
{
	struct stat st;
	int flags = O_WRONLY;
	int fd;

	/* Opened for both, a FIFO without a reader can be opened, and takes what fits into a pipe. */
	if (stat(f->path, &st) == 0 && S_ISFIFO(st.st_mode))
		flags = O_RDWR;
	fd = open(f->path, flags | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return false;
	}
	if (f->fd >= 0) {
		if (f->settings.syncs_old && f->is_regular && fdatasync(f->fd) < 0)
			fail(f, "fdatasync", errno);
		close(f->fd);
	}
	f->fd = fd;
	f->is_regular = S_ISREG(st.st_mode);
	f->size = f->is_regular ? (uint64_t)st.st_size : 0;
	f->tried_at = 0;
	f->needs_head = *f->head && f->size == 0;
	if (f->is_regular && (st.st_mode & 077))
		sink_tell(&f->sink, SINK_WARN, "%s is there already, and others than its owner may open it (mode %04o)",
			  f->path, (unsigned)(st.st_mode & 07777));
	if (f->is_regular && !ends_whole(f->path, st.st_size)) {
		sink_tell(&f->sink, SINK_WARN, "%s ends with a part of a line, which is closed", f->path);
		/* Not counted as a line. What was gathered comes behind it. */
		if (write(fd, f->line_end, strlen(f->line_end)) > 0)
			f->size += strlen(f->line_end);
	}
	return true;
}

/* The first number that no file has, or the last one that may be: only those below it have to move. */
static uint32_t first_free(const struct sink_file *f, char *name, size_t room)
{
	uint32_t n = 1;

	for (; n < f->settings.rotate_keep; n++) {
		snprintf(name, room, "%s.%u", f->path, (unsigned)n);
		if (access(name, F_OK) < 0)
			break;
	}
	return n;
}

/* FILE.1 becomes FILE.2, and so on; the last one is overwritten. */
static bool shift(struct sink_file *f)
{
	const size_t room = strlen(f->path) + 16;
	char *from = malloc(room), *to = malloc(room);
	bool is_good = from && to;

	for (uint32_t n = is_good ? first_free(f, to, room) : 0; is_good && n > 0; n--) {
		snprintf(to, room, "%s.%u", f->path, (unsigned)n);
		if (n > 1)
			snprintf(from, room, "%s.%u", f->path, (unsigned)(n - 1));
		else
			snprintf(from, room, "%s", f->path);
		is_good = rename(from, to) == 0 || errno == ENOENT;
	}
	free(from);
	free(to);
	return is_good;
}

static void rotate(struct sink_file *f)
{
	f->tried_at = f->size;
	if (f->settings.rotate_keep == 0) {
		if (ftruncate(f->fd, 0) < 0) {
			fail(f, "it cannot be emptied", errno);
			return;
		}
		f->size = 0;
		f->needs_head = *f->head != '\0';
		return;
	}
	if (!shift(f))
		fail(f, "it cannot be rotated", errno);
	else if (!open_anew(f))
		fail(f, "it cannot be opened after rotation", errno); /* the renamed file is written to */
}

/* Whether `more` bytes would make the file too large. After a failure it is tried again when it has grown by a half. */
static bool is_too_large(const struct sink_file *f, size_t more)
{
	const uint64_t limit = f->settings.rotate_size;
	const uint64_t head = f->needs_head ? strlen(f->head) : 0;

	return limit > 0 && f->is_regular && f->size + head + more > limit &&
	       (f->tried_at == 0 || f->size > f->tried_at + limit / 2);
}

/* Behind the last line's end in `data`; 0: there is none. */
static size_t whole_lines(const char *data, size_t len)
{
	const char *end = memrchr(data, '\n', len);

	return end ? (size_t)(end - data) + 1 : 0;
}

/* A disk that became full in the middle of a line: what is there of it is taken back, if nobody else appends there. */
static size_t take_back(struct sink_file *f, const char *data, size_t n)
{
	const size_t whole = whole_lines(data, n);
	struct stat st;

	if (!f->is_regular || whole == n || fstat(f->fd, &st) < 0 || (uint64_t)st.st_size != f->size + n ||
	    ftruncate(f->fd, st.st_size - (off_t)(n - whole)) < 0)
		return n;
	return whole;
}

/* Bytes of `data` that went out, -1: none, and errno. */
static ssize_t write_some(struct sink_file *f, const char *data, size_t len)
{
	ssize_t n;

	do {
		n = write(f->fd, data, len);
	} while (n < 0 && errno == EINTR);
	if (n >= 0 && (size_t)n < len)
		n = (ssize_t)take_back(f, data, (size_t)n);
	if (n > 0) {
		f->size += (uint64_t)n;
		f->sink.counts.bytes += (uint64_t)n;
	}
	return n;
}

static bool write_head(struct sink_file *f)
{
	const size_t len = strlen(f->head);

	if (!f->needs_head)
		return true;
	if (write_some(f, f->head, len) != (ssize_t)len)
		return false;
	f->needs_head = false;
	return true;
}

static bool is_between_lines(const struct sink_file *f)
{
	return f->written == 0 || f->out.data[f->written - 1] == '\n';
}

static bool file_flush(struct sink *s)
{
	struct sink_file *f = file_of(s);

	if (is_between_lines(f) && atomic_exchange(&s->wants_reopen, false)) {
		if (open_anew(f))
			sink_tell(s, SINK_INFO, "%s was opened again", f->path);
		else
			fail(f, "it cannot be opened again, the one opened before is written to", errno);
	}
	if (f->size > 0 && f->out.len > 0 && f->written == 0 && is_too_large(f, f->out.len))
		rotate(f);
	if (f->written < f->out.len && !write_head(f)) {
		fail(f, "write", errno);
		return false;
	}
	while (f->written < f->out.len) {
		const ssize_t n = write_some(f, f->out.data + f->written, f->out.len - f->written);

		if (n <= 0) {
			fail(f, "write", n < 0 ? errno : ENOSPC);
			return false;
		}
		f->written += (size_t)n;
	}
	s->counts.lines += s->waiting;
	s->waiting = 0;
	f->written = 0;
	buffer_clear(&f->out);
	sink_works(s, f->path);
	return true;
}

static bool file_put(struct sink *s, const char *line, size_t len)
{
	struct sink_file *f = file_of(s);

	/* Never more than a file may hold, so that each is of the size that was asked for, if lines allow that. */
	const bool fits = f->out.len == 0 || (f->out.len + len <= GATHERED_MAX && !is_too_large(f, f->out.len + len));

	if (!fits && !file_flush(s))
		return false;
	buffer_add(&f->out, line, len);
	if (f->out.has_failed) {
		f->out.has_failed = false;
		s->counts.lost++;
	} else {
		s->waiting++;
	}
	return true;
}

static void file_sync(struct sink *s)
{
	struct sink_file *f = file_of(s);

	if (f->is_regular && fdatasync(f->fd) < 0)
		fail(f, "fdatasync", errno);
}

static void file_close(struct sink *s)
{
	struct sink_file *f = file_of(s);

	if (f->fd >= 0)
		close(f->fd);
	buffer_free(&f->out);
	free(f->path);
	free(f->head);
	free(f);
}

static const struct sink_ops file_ops = { file_put, file_flush, file_sync, file_close };

struct sink *sink_file_open(const struct sink_listener *listener, const char *path, const char *head,
			    const char *line_end, char *error, size_t size)
{
	struct sink_file *f = calloc(1, sizeof(*f));

	if (!f || !(f->path = strdup(path)) || !(f->head = strdup(head))) {
		snprintf(error, size, "out of memory");
		if (f)
			free(f->path);
		free(f);
		return NULL;
	}
	f->sink.ops = &file_ops;
	f->sink.listener = *listener;
	f->fd = -1;
	f->line_end = line_end;
	if (!open_anew(f)) {
		snprintf(error, size, "cannot open %s: %s", path, strerror(errno));
		file_close(&f->sink);
		return NULL;
	}
	return &f->sink;
}

void sink_file_set(struct sink *s, const struct sink_file_settings *settings)
{
	file_of(s)->settings = *settings;
}
