/*
 * writer.h - the thread that takes records out of the workers' queues, makes
 * lines of them and gives these to the sink. It wakes up each flush_interval,
 * or when a queue is half full.
 */
#ifndef AUDIT_WRITER_H
#define AUDIT_WRITER_H

#include "format.h"
#include "queue.h"
#include "sink.h"

enum writer_fsync {
	WRITER_FSYNC_NONE,
	WRITER_FSYNC_INTERVAL,
	WRITER_FSYNC_FLUSH,
};

/* What may change while it runs. */
struct writer_settings {
	uint32_t flush_ms;
	uint32_t fsync_ms;
	enum writer_fsync fsync;
	uint64_t rotate_size;
	uint32_t rotate_keep;
};

/* Numbers of the host's; 0: none. */
struct writer_metrics {
	uint32_t lines, bytes, errors, lost, dropped, refused, waits;
	uint32_t queued; /* gauge, bytes */
	uint32_t fsync;  /* histogram */
};

struct writer {
	const struct cqlferry_host *host;
	struct sink *sink;
	struct format format;
	struct writer_metrics metrics;
	bool is_file;
	/* Queues of workers, added before their threads start. */
	struct queue **queues;
	unsigned queue_count;
	struct queue_bell bell;
	/* Main's for the thread. */
	pthread_mutex_t lock;
	struct writer_settings settings_next;
	bool has_next;
	_Atomic bool stops;
	pthread_t thread;
	bool is_running;
	/* The thread's. */
	struct writer_settings settings;
	struct buffer line;
	bool is_unsynced;
	uint64_t synced_at; /* monotonic, nanoseconds */
};

/* `w` is zeroed but for host, sink, format.kind, metrics, is_file, queues, settings. False, with errno: no thread. */
bool writer_start(struct writer *w);
/* Main. */
void writer_set(struct writer *w, const struct writer_settings *settings);
/*
 * When no worker writes any more: what waits is written, for `timeout_ms` at most, then the thread ends. The sink is
 * closed and the queues stay the caller's.
 */
void writer_stop(struct writer *w, uint32_t timeout_ms);

#endif
