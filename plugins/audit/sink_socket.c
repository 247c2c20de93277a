/* sink_socket.c - see sink_socket.h */
#include "sink_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"

#define IDENTIFIER "cqlferry"

struct sink_socket {
	struct sink sink;
	struct sockaddr_un address;
	unsigned facility;
	char *instance; /* of the journal; NULL: syslog */
	int fd;         /* -1: not connected */
	bool is_failing;
	struct buffer message;
};

static struct sink_socket *socket_of(struct sink *s)
{
	return (struct sink_socket *)(void *)((char *)s - offsetof(struct sink_socket, sink));
}

unsigned sink_facility(unsigned place)
{
	static const unsigned facilities[] = { LOG_AUTH,   LOG_AUTHPRIV, LOG_DAEMON, LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2,
					       LOG_LOCAL3, LOG_LOCAL4,   LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7, LOG_USER };

	return place < sizeof(facilities) / sizeof(facilities[0]) ? facilities[place] : (unsigned)LOG_USER;
}

static bool dial(struct sink_socket *k)
{
	if (k->fd >= 0)
		return true;
	k->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd >= 0 && connect(k->fd, (const struct sockaddr *)&k->address, sizeof(k->address)) < 0) {
		const int error = errno;

		close(k->fd);
		k->fd = -1;
		errno = error;
	}
	return k->fd >= 0;
}

static void hang_up(struct sink_socket *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

/* "<PRI>Mmm dd hh:mm:ss cqlferry[PID]: LINE", in local time: what daemons expect at this socket. */
static void write_syslog(struct sink_socket *k, const char *line, size_t len)
{
	const time_t now = time(NULL);
	char head[96], date[24];
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(date, sizeof(date), "%b %e %H:%M:%S", &tm);
	snprintf(head, sizeof(head), "<%u>%s " IDENTIFIER "[%ld]: ", k->facility | LOG_INFO, date, (long)getpid());
	buffer_text(&k->message, head);
	buffer_add(&k->message, line, len);
}

/* NAME=VALUE lines; a line has no line breaks. */
static void write_journal(struct sink_socket *k, const char *line, size_t len)
{
	char head[96];

	snprintf(head, sizeof(head), "PRIORITY=%d\nSYSLOG_FACILITY=%u\nSYSLOG_IDENTIFIER=" IDENTIFIER "\n", LOG_INFO,
		 k->facility >> 3);
	buffer_text(&k->message, head);
	buffer_text(&k->message, "CQLFERRY_PLUGIN=");
	buffer_text(&k->message, k->instance);
	buffer_text(&k->message, "\nMESSAGE=");
	buffer_add(&k->message, line, len);
	buffer_char(&k->message, '\n');
}

static void fail(struct sink_socket *k, const char *what, int error)
{
	sink_failed(&k->sink, k->address.sun_path, what, error);
	k->is_failing = true;
}

static bool socket_put(struct sink *s, const char *line, size_t len)
{
	struct sink_socket *k = socket_of(s);

	if (atomic_exchange(&s->wants_reopen, false))
		hang_up(k);
	if (!dial(k)) {
		fail(k, "connect", errno);
		return false;
	}
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	buffer_clear(&k->message);
	(k->instance ? write_journal : write_syslog)(k, line, len);
	if (k->message.has_failed) {
		s->counts.lost++;
		return true;
	}
	if (send(k->fd, k->message.data, k->message.len, MSG_NOSIGNAL) < 0) {
		const int error = errno;

		if (error == EMSGSIZE) { /* it never takes this one */
			sink_failed(s, k->address.sun_path, "a line is too long for it, and lost", error);
			s->counts.lost++;
			k->is_failing = false; /* what follows may be taken */
			return true;
		}
		if (error != EAGAIN && error != ENOBUFS && error != EINTR)
			hang_up(k); /* the daemon was started anew */
		fail(k, "send", error);
		return false;
	}
	sink_works(s, k->address.sun_path);
	k->is_failing = false;
	s->counts.lines++;
	s->counts.bytes += k->message.len;
	return true;
}

static bool socket_flush(struct sink *s)
{
	return !socket_of(s)->is_failing;
}

static void socket_sync(struct sink *s)
{
	(void)s; /* the daemon's business */
}

static void socket_close(struct sink *s)
{
	struct sink_socket *k = socket_of(s);

	hang_up(k);
	buffer_free(&k->message);
	free(k->instance);
	free(k);
}

static const struct sink_ops socket_ops = { socket_put, socket_flush, socket_sync, socket_close };

static struct sink *open_socket(const struct sink_listener *listener, const char *path, unsigned facility,
				const char *instance, char *error, size_t size)
{
	struct sink_socket *k = calloc(1, sizeof(*k));

	if (!k || (instance && !(k->instance = strdup(instance)))) {
		snprintf(error, size, "out of memory");
		free(k);
		return NULL;
	}
	k->sink.ops = &socket_ops;
	k->sink.listener = *listener;
	k->facility = facility;
	k->fd = -1;
	k->address.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(k->address.sun_path)) {
		snprintf(error, size, "the path of a socket has at most %zu bytes: %s", sizeof(k->address.sun_path) - 1,
			 path);
		socket_close(&k->sink);
		return NULL;
	}
	strcpy(k->address.sun_path, path);
	if (!dial(k)) {
		snprintf(error, size, "cannot connect to %s: %s", path, strerror(errno));
		socket_close(&k->sink);
		return NULL;
	}
	return &k->sink;
}

struct sink *sink_syslog_open(const struct sink_listener *listener, const char *path, unsigned facility, char *error,
			      size_t size)
{
	return open_socket(listener, path, facility, NULL, error, size);
}

struct sink *sink_journal_open(const struct sink_listener *listener, const char *path, unsigned facility,
			       const char *instance, char *error, size_t size)
{
	return open_socket(listener, path, facility, instance, error, size);
}
