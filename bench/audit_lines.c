/*
 * audit_lines.c - what the audit plugin costs, without a proxy around it: how
 * many lines a second its writer makes, beyond which records are dropped, and
 * what a worker spends on a record.
 *
 *	make bench/audit_lines plugins/audit.la
 *	bench/audit_lines plugins/.libs/audit.so path=/tmp/audit.log [statement=full ...]
 *
 * With on_full=block (the default here) the worker is as fast as the writer; so
 * the lines per second are those at which dropping begins. The CPU seconds of
 * either thread are told apart, since the machine may have other things to do.
 */
#include <cqlferry/plugin.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define RECORDS 500000
#define TEXT(s)                                                                                                        \
	{                                                                                                              \
		(s), sizeof(s) - 1                                                                                     \
	}

static void *slot;
static uint64_t statement_number;

static const struct cqlferry_client_info client = {
	.size = sizeof(client),
	.port = 50312,
	.version = 5,
	.number = 42,
	.address = TEXT("10.1.2.3"),
	.user = TEXT("billing"),
	.driver = TEXT("DataStax Java driver for Apache Cassandra(R)"),
	.driver_version = TEXT("4.17.0"),
};

static struct cqlferry_request_info info = {
	.size = sizeof(info),
	.opcode = CQLFERRY_OPCODE_EXECUTE,
	.kind = CQLFERRY_WRITE,
	.is_prepared = 1,
	.consistency = 6,
	.body_size = 90,
	.verb = "INSERT",
};

static const struct cqlferry_table table = { TEXT("shop"), TEXT("invoices") };

static const struct cqlferry_statement statement = {
	.size = sizeof(statement),
	.table_count = 1,
	.text = TEXT("INSERT INTO shop.invoices (id, customer, total, issued) VALUES (?, ?, ?, '2026-01-01')"),
	.tables = &table,
	.is_prepared = 1,
};

static const struct cqlferry_response response = {
	.size = sizeof(response),
	.opcode = 8,
	.to = CQLFERRY_TO_BOTH,
	.duration_ns = 1234567,
	.parts = { { CQLFERRY_PART_OK, 0, 1200000 }, { CQLFERRY_PART_OK, 0, 900000 } },
};

static void host_log(const struct cqlferry_host *h, int32_t level, const char *fmt, ...)
{
	va_list args;

	(void)h;
	(void)level;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static void host_error(const struct cqlferry_host *h, const char *fmt, ...)
{
	va_list args;

	(void)h;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static uint32_t no_metric(const struct cqlferry_host *h, const char *family, const char *help, const char *labels)
{
	(void)h;
	(void)family;
	(void)help;
	(void)labels;
	return 0;
}

static uint32_t no_histogram(const struct cqlferry_host *h, const char *family, const char *help, const char *labels,
			     const double *bounds, uint32_t count)
{
	(void)bounds;
	(void)count;
	return no_metric(h, family, help, labels);
}

static void no_number(const struct cqlferry_host *h, uint32_t number, int64_t n)
{
	(void)h;
	(void)number;
	(void)n;
}

static void no_time(const struct cqlferry_host *h, uint32_t number, uint64_t ns)
{
	(void)h;
	(void)number;
	(void)ns;
}

static void no_watch(const struct cqlferry_host *h, uint32_t request_kinds, uint32_t response_kinds)
{
	(void)h;
	(void)request_kinds;
	(void)response_kinds;
}

static const struct cqlferry_client_info *client_info(const struct cqlferry_client *c)
{
	(void)c;
	return &client;
}

static struct cqlferry_client *request_client(const struct cqlferry_request *request)
{
	(void)request;
	return (struct cqlferry_client *)&slot;
}

static void **conn_slot(const struct cqlferry_host *h, struct cqlferry_client *c)
{
	(void)h;
	(void)c;
	return &slot;
}

static const struct cqlferry_request_info *request_info(struct cqlferry_request *request)
{
	(void)request;
	info.number++;
	return &info;
}

static const struct cqlferry_statement *request_statement(struct cqlferry_request *request)
{
	(void)request;
	return &statement;
}

static uint64_t *statement_slot(const struct cqlferry_host *h, struct cqlferry_request *request)
{
	(void)h;
	(void)request;
	return &statement_number;
}

static bool bound_value(struct cqlferry_request *request, uint32_t index, struct cqlferry_text *value)
{
	(void)request;
	*value = (struct cqlferry_text)TEXT("16 bytes or more");
	return index < 3;
}

static int64_t row_count(struct cqlferry_request *request)
{
	(void)request;
	return -1;
}

static const struct cqlferry_host host = {
	.size = sizeof(host),
	.instance = "audit",
	.workers = 1,
	.log = host_log,
	.error = host_error,
	.counter_new = no_metric,
	.gauge_new = no_metric,
	.histogram_new = no_histogram,
	.counter_add = no_number,
	.gauge_set = no_number,
	.histogram_observe = no_time,
	.watch = no_watch,
	.client_info = client_info,
	.request_client = request_client,
	.conn_slot = conn_slot,
	.request_info = request_info,
	.statement = request_statement,
	.statement_slot = statement_slot,
	.bound_value = bound_value,
	.row_count = row_count,
};

/* An option's value as the loader would make it, of the few forms that are needed here. */
static void set(struct cqlferry_value *v, const struct cqlferry_option *row, const char *text)
{
	char *end;

	v->text = text;
	if (!text)
		return;
	v->number = strtoll(text, &end, 10);
	if (row->type == CQLFERRY_OPTION_DURATION && strcmp(end, "s") == 0)
		v->number *= 1000;
	if (row->type == CQLFERRY_OPTION_SIZE)
		v->number *= *end == 'K' ? 1 << 10 : *end == 'M' ? 1 << 20 : 1;
	if (row->type == CQLFERRY_OPTION_BOOL)
		v->number = strcmp(text, "on") == 0;
	if (row->type == CQLFERRY_OPTION_CHOICE) {
		const char *word = strstr(row->choices, text);

		v->number = 0;
		for (const char *p = row->choices; word && p < word; p++)
			v->number += *p == ' ';
	}
}

static void set_all(const struct cqlferry_plugin *plugin, struct cqlferry_value *values, char **arguments)
{
	for (uint32_t i = 0; i < plugin->option_count; i++) {
		const struct cqlferry_option *row = &plugin->options[i];
		const char *text = strcmp(row->name, "on_full") == 0 ? "block" : row->initial;

		for (char **a = arguments; *a; a++) {
			const size_t n = strlen(row->name);

			if (strncmp(*a, row->name, n) == 0 && (*a)[n] == '=')
				text = *a + n + 1;
		}
		set(&values[i], row, text);
	}
}

static double seconds_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static struct cqlferry_value values[64];
	const struct cqlferry_plugin *plugin;
	double before, wall, worker, both;
	void *self, *worker_self;
	void *object;

	object = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	plugin = object ? dlsym(object, "cqlferry_plugin") : NULL;
	if (!plugin || plugin->option_count > 64) {
		fprintf(stderr, "usage: audit_lines plugins/.libs/audit.so path=FILE [OPTION=VALUE ...]\n");
		return 2;
	}
	set_all(plugin, values, argv + 2);
	if (plugin->open(&host, values, &self) != 0 || plugin->worker_open(self, 0, &worker_self) != 0)
		return 1;
	before = seconds_of(CLOCK_MONOTONIC);
	worker = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	both = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < RECORDS; i++)
		plugin->on_response(worker_self, (struct cqlferry_request *)&info, &response);
	worker = seconds_of(CLOCK_THREAD_CPUTIME_ID) - worker;
	plugin->on_disconnect(worker_self, (struct cqlferry_client *)&slot);
	plugin->close(self);
	wall = seconds_of(CLOCK_MONOTONIC) - before;
	both = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - both;
	printf("%.0f lines a second, %.0f a CPU second of the writer; a worker's record takes %.0f ns\n",
	       RECORDS / wall, RECORDS / (both - worker), worker / RECORDS * 1e9);
	return 0;
}
