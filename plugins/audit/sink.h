/*
 * sink.h - where lines go: a file (sink_file.c), the socket of syslog or of the
 * journal (sink_socket.c). In the writer's thread, but for sink_reopen().
 */
#ifndef AUDIT_SINK_H
#define AUDIT_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a sink counts; the writer takes it away. */
struct sink_counts {
	uint64_t lines, bytes; /* that have left this process */
	uint64_t errors;
	uint64_t lost; /* lines that this sink will never take */
};

enum sink_level {
	SINK_ERROR,
	SINK_WARN,
	SINK_INFO,
};

/* Whom a sink tells what goes wrong, and when it goes on again. */
struct sink_listener {
	void (*tell)(void *arg, enum sink_level level, const char *text);
	void *arg;
};

struct sink {
	const struct sink_ops *ops;
	struct sink_counts counts;
	struct sink_listener listener;
	uint64_t waiting; /* lines that were put and not flushed yet */
	/* sink_failed() and sink_works() */
	bool was_told;
	int64_t told_at;
	_Atomic bool wants_reopen;
};

struct sink_ops {
	/* Takes a line, its end included. False: there is no room now, it is to be offered again. */
	bool (*put)(struct sink *s, const char *line, size_t len);
	/* All that was put leaves the process. False: not all of it did. */
	bool (*flush)(struct sink *s);
	/* Onto the disk, what was flushed. */
	void (*sync)(struct sink *s);
	/* Ends and frees it. */
	void (*close)(struct sink *s);
};

/* Any thread: what is written to is opened anew before the next line. */
static inline void sink_reopen(struct sink *s)
{
	atomic_store(&s->wants_reopen, true);
}

/* Counts a failure of `name`, and tells of it unless one was told of lately. `error`: an errno. */
void sink_failed(struct sink *s, const char *name, const char *what, int error);
/* Tells that it is over, if it was told. */
void sink_works(struct sink *s, const char *name);
void sink_tell(struct sink *s, enum sink_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
