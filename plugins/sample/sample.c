/* sample.c - a plugin to learn from: SELECT and TRUNCATE without a WHERE are refused on the tables that its section
 * names, and counted. docs/plugins.md walks through it. */
#include <cqlferry/plugin.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One for each worker, for its thread only: so nothing needs a lock. */
struct sample_worker {
	struct sample *sample;
	const char *tables;
};

/* One for each section that loads this file: main's. What workers read of it does not change. */
struct sample {
	const struct cqlferry_host *host; /* what we may call */
	uint32_t denied;                  /* the number of our counter */
	char *tables;                     /* "\nshop.orders\nshop.carts\n" */
	char *next;                       /* the same, in a reload */
	struct sample_worker workers[];
};

/* What its section may have. */
static const struct cqlferry_option options[] = { {
	.name = "table",
	.help = "KEYSPACE.TABLE that is not to be read as a whole; may be repeated",
	.type = CQLFERRY_OPTION_TEXT,
	.flags = CQLFERRY_OPTION_REQUIRED | CQLFERRY_OPTION_REPEATED | CQLFERRY_OPTION_RELOAD,
} };

/* The lines of the option; NULL after error(). */
static char *read_tables(const struct cqlferry_host *host, const struct cqlferry_value *value)
{
	char *tables;

	for (const char *line = value->text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!memchr(line, '.', strcspn(line, "\n"))) {
			host->error(host, "%s: %.*s is no KEYSPACE.TABLE", value->place, (int)strcspn(line, "\n"),
				    line);
			return NULL;
		}
	}
	tables = malloc(strlen(value->text) + 3);
	return tables && sprintf(tables, "\n%s\n", value->text) > 0 ? tables : NULL;
}

/* Whether it has the word WHERE, in a comment, too. A text is not terminated. */
static bool has_where(struct cqlferry_text text)
{
	for (uint64_t i = 1; i + 5 < text.length; i++) {
		if (isspace((unsigned char)text.data[i - 1]) && strncasecmp(text.data + i, "where", 5) == 0)
			return true;
	}
	return false;
}

static int32_t sample_on_request(void *worker_self, struct cqlferry_request *request)
{
	struct sample_worker *w = worker_self;
	const struct cqlferry_host *host = w->sample->host;
	const char *verb = host->request_info(request)->verb;
	const struct cqlferry_statement *s = host->statement(request);
	char name[512];

	if (s->table_count == 0 || (strcmp(verb, "SELECT") != 0 && strcmp(verb, "TRUNCATE") != 0) || has_where(s->text))
		return CQLFERRY_NEXT; /* nothing against it */
	snprintf(name, sizeof(name), "\n%.*s.%.*s\n", (int)s->tables->keyspace.length, s->tables->keyspace.data,
		 (int)s->tables->table.length, s->tables->table.data);
	if (!strstr(w->tables, name))
		return CQLFERRY_NEXT;
	host->counter_add(host, w->sample->denied, 1);
	host->deny(host, 0x2200 /* INVALID */, "%s of %s needs a WHERE", verb, strtok(name, "\n"));
	return CQLFERRY_DENY;
}

static int32_t sample_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct sample *s = calloc(1, sizeof(*s) + host->workers * sizeof(struct sample_worker));

	if (!s || !(s->tables = read_tables(host, &values[0]))) {
		free(s);
		return CQLFERRY_ERROR; /* and close() is not called */
	}
	s->host = host;
	s->denied = host->counter_new(host, "sample_denied_total", "Statements without a WHERE.", "");
	host->watch(host, 1u << CQLFERRY_READ | 1u << CQLFERRY_WRITE, 0); /* on_request of these, on_response of none */
	*self = s;
	return 0;
}

static void sample_close(void *self)
{
	free(((struct sample *)self)->tables);
	free(self);
}

static int32_t sample_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct sample *s = self;

	s->workers[worker] = (struct sample_worker){ s, s->tables };
	*worker_self = &s->workers[worker];
	return 0;
}

/* A reload, first step, in main: make what is new, and keep what is in use. */
static int32_t sample_reload(void *self, const struct cqlferry_value *values)
{
	struct sample *s = self;

	return (s->next = read_tables(s->host, &values[0])) ? 0 : CQLFERRY_ERROR;
}

/* Second step, in each worker. */
static void sample_worker_reload(void *worker_self)
{
	struct sample_worker *w = worker_self;

	w->tables = w->sample->next;
}

/* Last step, in main: the old one is in use nowhere; or, if something failed anywhere, the new one is not. */
static void sample_reload_end(void *self, uint32_t taken)
{
	struct sample *s = self;

	free(taken ? s->tables : s->next);
	s->tables = taken ? s->next : s->tables;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.name = "sample",
	.version = "1.0",
	.open = sample_open,
	.close = sample_close,
	.worker_open = sample_worker_open,
	.reload = sample_reload,
	.worker_reload = sample_worker_reload,
	.reload_end = sample_reload_end,
	.on_request = sample_on_request,
};
