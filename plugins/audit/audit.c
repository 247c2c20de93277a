/*
 * audit.c - the plugin: who did what, from where, and what became of it, as
 * lines of JSON or CSV. README.md is for its users.
 *
 *   worker.c   decides what is written --> queue.c, ring.c --> writer.c, a thread of its own
 *   record.c   the form on the way          format.c, field.c, memo.c, shape.c: lines --> sink_file.c, sink_socket.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink_file.h"
#include "sink_socket.h"
#include "worker.h"

/* How long the end of the process waits for a sink that takes nothing. */
#define STOP_MS 2000

struct audit {
	const struct cqlferry_host *host;
	struct options *options, *options_next;
	struct worker *workers;
	struct queue **queues;
	struct writer writer;
};

static void tell(void *arg, enum sink_level level, const char *text)
{
	static const int32_t levels[] = { CQLFERRY_LOG_ERROR, CQLFERRY_LOG_WARN, CQLFERRY_LOG_INFO };
	const struct audit *a = arg;

	a->host->log(a->host, levels[level], "%s", text);
}

static struct sink *open_sink(struct audit *a, char *error, size_t size)
{
	const struct sink_listener listener = { tell, a };
	const struct options *o = a->options;
	const struct format format = { .kind = o->format };
	struct buffer head = { 0 };
	struct sink *sink;

	if (o->sink == OPTIONS_SYSLOG)
		return sink_syslog_open(&listener, o->socket ? o->socket : SINK_SYSLOG_PATH, o->facility, error, size);
	if (o->sink == OPTIONS_JOURNAL)
		return sink_journal_open(&listener, o->socket ? o->socket : SINK_JOURNAL_PATH, o->facility,
					 a->host->instance, error, size);
	format_head(&format, &head);
	buffer_char(&head, '\0');
	sink = sink_file_open(&listener, o->path, head.data ? head.data : "", format_line_end(&format), error, size);
	buffer_free(&head);
	return sink;
}

static void make_metrics(struct audit *a)
{
	static const double bounds[] = { 0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0 };
	const struct cqlferry_host *h = a->host;
	struct writer_metrics *m = &a->writer.metrics;
	char labels[128];

	snprintf(labels, sizeof(labels), "plugin=\"%.100s\"", h->instance);
	m->lines = h->counter_new(h, "audit_lines_total", "Lines that were written", labels);
	m->bytes = h->counter_new(h, "audit_bytes_total", "Bytes that were written", labels);
	m->errors = h->counter_new(h, "audit_write_errors_total", "Failures of the file or the socket", labels);
	m->lost = h->counter_new(h, "audit_lost_total", "Lines that could not be written at all", labels);
	m->dropped = h->counter_new(h, "audit_dropped_total", "Records that found no room in the queue", labels);
	m->refused = h->counter_new(h, "audit_refused_total", "Requests denied because the queue was full", labels);
	m->waits = h->counter_new(h, "audit_waits_total", "Times that a worker waited for room in the queue", labels);
	m->queued = h->gauge_new(h, "audit_queued_bytes", "Bytes of records that wait to be written", labels);
	m->fsync = h->histogram_new(h, "audit_fsync_duration_seconds", "How long the disk took", labels, bounds,
				    sizeof(bounds) / sizeof(bounds[0]));
}

static void say_what_is_written(const struct audit *a)
{
	const struct options *o = a->options;

	if (o->max_value > 0)
		a->host->log(a->host, CQLFERRY_LOG_WARN, "values = on: the audit log has the values of statements");
}

static void watch(const struct cqlferry_host *host, const struct options *options)
{
	host->watch(host, worker_request_kinds(options), worker_response_kinds(options));
}

static void audit_close(void *self)
{
	struct audit *a = self;

	if (a->writer.sink) {
		writer_stop(&a->writer, STOP_MS);
		a->writer.sink->ops->close(a->writer.sink);
	}
	for (uint32_t i = 0; a->workers && i < a->host->workers; i++)
		worker_fini(&a->workers[i]);
	free(a->workers);
	free(a->queues);
	options_free(a->options);
	options_free(a->options_next);
	free(a);
}

/* All queues are there before the thread is. */
static bool make_workers(struct audit *a)
{
	const uint32_t n = a->host->workers;

	a->workers = calloc(n ? n : 1, sizeof(*a->workers));
	a->queues = calloc(n ? n : 1, sizeof(struct queue *));
	if (!a->workers || !a->queues)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!worker_init(&a->workers[i], a->host, a->options, &a->writer.bell))
			return false;
		a->queues[i] = &a->workers[i].queue;
	}
	a->writer.queues = a->queues;
	a->writer.queue_count = n;
	return true;
}

static int32_t audit_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct audit *a = calloc(1, sizeof(*a));
	char error[512] = "out of memory";

	if (!a) {
		host->error(host, "out of memory");
		return CQLFERRY_ERROR;
	}
	a->host = host;
	a->options = options_new(host, values);
	if (!a->options)
		goto fail;
	if (!make_workers(a) || !(a->writer.sink = open_sink(a, error, sizeof(error)))) {
		host->error(host, "%s", error);
		goto fail;
	}
	a->writer.host = host;
	a->writer.is_file = a->options->sink == OPTIONS_FILE;
	a->writer.format.kind = a->options->format;
	a->writer.settings = a->options->writer;
	make_metrics(a);
	watch(host, a->options);
	if (!writer_start(&a->writer)) {
		host->error(host, "no thread for the writer: %s", strerror(errno));
		goto fail;
	}
	say_what_is_written(a);
	*self = a;
	return 0;
fail:
	audit_close(a);
	return CQLFERRY_ERROR;
}

static int32_t audit_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct audit *a = self;

	*worker_self = &a->workers[worker];
	return 0;
}

static int32_t audit_reload(void *self, const struct cqlferry_value *values)
{
	struct audit *a = self;

	options_free(a->options_next);
	a->options_next = options_new(a->host, values);
	if (!a->options_next)
		return CQLFERRY_ERROR;
	for (uint32_t i = 0; i < a->host->workers; i++)
		a->workers[i].options_next = a->options_next;
	watch(a->host, a->options_next);
	return 0;
}

static void audit_worker_reload(void *worker_self)
{
	struct worker *w = worker_self;

	worker_use(w, w->options_next);
}

static void audit_reload_end(void *self, uint32_t taken)
{
	struct audit *a = self;

	if (taken) {
		options_free(a->options);
		a->options = a->options_next;
		writer_set(&a->writer, &a->options->writer);
		say_what_is_written(a);
	} else {
		options_free(a->options_next);
	}
	a->options_next = NULL;
}

static void audit_reopen(void *self)
{
	struct audit *a = self;

	sink_reopen(a->writer.sink);
	queue_bell_ring(&a->writer.bell);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = 0,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options_rows,
	.option_count = OPTIONS_ROWS,
	.name = "audit",
	.version = "1.0",
	.open = audit_open,
	.close = audit_close,
	.worker_open = audit_worker_open,
	.reload = audit_reload,
	.worker_reload = audit_worker_reload,
	.reload_end = audit_reload_end,
	.reopen = audit_reopen,
	.on_connect = worker_on_connect,
	.on_login = worker_on_login,
	.on_request = worker_on_request,
	.on_response = worker_on_response,
	.on_disconnect = worker_on_disconnect,
};
