/* options.c - see options.h */
#include "options.h"

#include <string.h>

#include "sink_socket.h"

enum row {
	ROW_SINK,
	ROW_PATH,
	ROW_SOCKET,
	ROW_FACILITY,
	ROW_FORMAT,
	ROW_QUEUE_SIZE,
	ROW_ON_FULL,
	ROW_BLOCK_TIMEOUT,
	ROW_FLUSH_INTERVAL,
	ROW_FSYNC,
	ROW_FSYNC_INTERVAL,
	ROW_ROTATE_SIZE,
	ROW_ROTATE_KEEP,
	ROW_EVENTS,
	ROW_KINDS,
	ROW_KEYSPACES,
	ROW_TABLES,
	ROW_USERS,
	ROW_RESULTS,
	ROW_SAMPLE,
	ROW_STATEMENT,
	ROW_MAX_LENGTH,
	ROW_VALUES,
	ROW_MAX_VALUE,
	ROWS,
};

#define RELOAD CQLFERRY_OPTION_RELOAD
#define HOUR 3600000

_Static_assert(ROWS == OPTIONS_ROWS, "each option has its row");

const struct cqlferry_option options_rows[OPTIONS_ROWS] = {
	[ROW_SINK] = { .name = "sink",
		       .type = CQLFERRY_OPTION_CHOICE,
		       .initial = "file",
		       .choices = "file syslog journal",
		       .help = "where lines go" },
	[ROW_PATH] = { .name = "path",
		       .type = CQLFERRY_OPTION_PATH,
		       .help = "of sink = file: the file that lines are appended to" },
	[ROW_SOCKET] = { .name = "socket",
			 .type = CQLFERRY_OPTION_PATH,
			 .help = "of the other sinks: where the daemon listens; not set: where it usually does" },
	[ROW_FACILITY] = { .name = "facility",
			   .type = CQLFERRY_OPTION_CHOICE,
			   .initial = "authpriv",
			   .choices = SINK_FACILITIES,
			   .help = "of syslog and the journal" },
	[ROW_FORMAT] = { .name = "format",
			 .type = CQLFERRY_OPTION_CHOICE,
			 .initial = "json",
			 .choices = "json csv",
			 .help = "of a line" },
	[ROW_QUEUE_SIZE] = { .name = "queue_size",
			     .type = CQLFERRY_OPTION_SIZE,
			     .initial = "4MiB",
			     .min = 256 << 10,
			     .max = 1 << 30,
			     .help = "of the queue from a worker to the writer" },
	[ROW_ON_FULL] = { .name = "on_full",
			  .type = CQLFERRY_OPTION_CHOICE,
			  .initial = "drop",
			  .choices = "drop block refuse",
			  .flags = RELOAD,
			  .help = "what happens when it is full" },
	[ROW_BLOCK_TIMEOUT] = { .name = "block_timeout",
				.type = CQLFERRY_OPTION_DURATION,
				.initial = "1s",
				.min = 1,
				.max = 60000,
				.flags = RELOAD,
				.help = "of on_full = block: how long a worker waits before it drops" },
	[ROW_FLUSH_INTERVAL] = { .name = "flush_interval",
				 .type = CQLFERRY_OPTION_DURATION,
				 .initial = "100ms",
				 .min = 1,
				 .max = 60000,
				 .flags = RELOAD,
				 .help = "how long a record waits at most before it is written" },
	[ROW_FSYNC] = { .name = "fsync",
			.type = CQLFERRY_OPTION_CHOICE,
			.initial = "interval",
			.choices = "none interval flush",
			.flags = RELOAD,
			.help = "when what was written has to be on the disk" },
	[ROW_FSYNC_INTERVAL] = { .name = "fsync_interval",
				 .type = CQLFERRY_OPTION_DURATION,
				 .initial = "1s",
				 .min = 10,
				 .max = HOUR,
				 .flags = RELOAD,
				 .help = "of fsync = interval" },
	[ROW_ROTATE_SIZE] = { .name = "rotate_size",
			      .type = CQLFERRY_OPTION_SIZE,
			      .initial = "0B",
			      .max = INT64_MAX / 4,
			      .flags = RELOAD,
			      .help = "of a file, before it becomes FILE.1; 0: it grows until somebody moves it away" },
	[ROW_ROTATE_KEEP] = { .name = "rotate_keep",
			      .type = CQLFERRY_OPTION_NUMBER,
			      .initial = "10",
			      .max = 10000,
			      .flags = RELOAD,
			      .help = "how many of FILE.1, FILE.2 ... are kept" },
	[ROW_EVENTS] = { .name = "events",
			 .type = CQLFERRY_OPTION_TEXT,
			 .initial = "request login denial",
			 .flags = RELOAD,
			 .help = "of request, login, denial, connect, disconnect" },
	[ROW_KINDS] = { .name = "kinds",
			.type = CQLFERRY_OPTION_TEXT,
			.initial = "read write schema use unknown",
			.flags = RELOAD,
			.help = "of requests that are written" },
	[ROW_KEYSPACES] = { .name = "keyspaces",
			    .type = CQLFERRY_OPTION_TEXT,
			    .flags = RELOAD,
			    .help = "only requests of these; '*' stands for anything, !NAME excludes" },
	[ROW_TABLES] = { .name = "tables",
			 .type = CQLFERRY_OPTION_TEXT,
			 .flags = RELOAD,
			 .help = "only requests of these, as keyspace.table" },
	[ROW_USERS] = { .name = "users",
			.type = CQLFERRY_OPTION_TEXT,
			.flags = RELOAD,
			.help = "only requests of these" },
	[ROW_RESULTS] = { .name = "results",
			  .type = CQLFERRY_OPTION_TEXT,
			  .initial = "ok error refused denied local abandoned",
			  .flags = RELOAD,
			  .help = "of requests that are written" },
	[ROW_SAMPLE] = { .name = "sample",
			 .type = CQLFERRY_OPTION_NUMBER,
			 .initial = "1",
			 .min = 1,
			 .max = 1000000000,
			 .flags = RELOAD,
			 .help = "one of so many requests" },
	[ROW_STATEMENT] = { .name = "statement",
			    .type = CQLFERRY_OPTION_CHOICE,
			    .initial = "shape",
			    .choices = "full shape hash none",
			    .flags = RELOAD,
			    .help = "its text, that without literals, a hash of the text, nothing" },
	[ROW_MAX_LENGTH] = { .name = "max_length",
			     .type = CQLFERRY_OPTION_SIZE,
			     .initial = "4KiB",
			     .min = 64,
			     .max = 64 << 10,
			     .flags = RELOAD,
			     .help = "of a statement; longer ones are cut" },
	[ROW_VALUES] = { .name = "values",
			 .type = CQLFERRY_OPTION_BOOL,
			 .initial = "off",
			 .flags = RELOAD,
			 .help = "bound values are written" },
	[ROW_MAX_VALUE] = { .name = "max_value",
			    .type = CQLFERRY_OPTION_SIZE,
			    .initial = "256B",
			    .min = 1,
			    .max = 16 << 10,
			    .flags = RELOAD,
			    .help = "of a bound value; longer ones are cut" },
};

static const char *const kind_words[] = { "read", "write", "schema", "use", "unknown", NULL };
static const char *const result_words[] = { "ok", "error", "refused", "denied", "local", "abandoned", NULL };
static const char *const event_words[] = { "request", "login", "connect", "disconnect", "denial", NULL };

static const char *place_of(const struct cqlferry_value *v)
{
	return v->place ? v->place : "its default";
}

/* The words of a list as bits, by their place in `words`. False after error(). */
static bool take_words(const struct cqlferry_host *host, const struct cqlferry_value *v, const char *name,
		       const char *const *words, uint32_t *bits)
{
	static const char separators[] = " \t,\n";
	const char *at = v->text ? v->text : "";

	*bits = 0;
	for (at += strspn(at, separators); *at; at += strspn(at, separators)) {
		const size_t len = strcspn(at, separators);
		unsigned i = 0;

		while (words[i] && (strlen(words[i]) != len || memcmp(words[i], at, len) != 0))
			i++;
		if (!words[i]) {
			char allowed[128] = "";

			for (i = 0; words[i]; i++) {
				strncat(allowed, i ? ", " : "", sizeof(allowed) - strlen(allowed) - 1);
				strncat(allowed, words[i], sizeof(allowed) - strlen(allowed) - 1);
			}
			host->error(host, "%s: %s: \"%.*s\" is none of %s", place_of(v), name, (int)len, at, allowed);
			return false;
		}
		*bits |= 1u << i;
		at += len;
	}
	/* An audit log that has nothing in it is found out when it is needed. */
	if (*bits == 0)
		host->error(host, "%s: %s: there has to be a word, or no such line", place_of(v), name);
	return *bits != 0;
}

/* A pattern that can match nothing is an error: of tables one without a dot. False after error(). */
static bool take_patterns(struct filter *filter, const struct cqlferry_host *host, const struct cqlferry_value *v,
			  const char *name, bool has_dot)
{
	static const char separators[] = " \t,\n";

	for (const char *at = v->text ? v->text : ""; *(at += strspn(at, separators)); at += strcspn(at, separators)) {
		const size_t len = strcspn(at, separators);
		const bool is_empty = *at == '!' && len == 1;

		if (!is_empty && (!has_dot || memchr(at, '.', len) || memchr(at, '*', len)))
			continue;
		host->error(host, "%s: %s: \"%.*s\" is no %s", place_of(v), name, (int)len, at,
			    has_dot ? "keyspace.table" : "name");
		return false;
	}
	if (filter_init(filter, v->text))
		return true;
	host->error(host, "out of memory");
	return false;
}

static bool take_lists(struct options *o, const struct cqlferry_host *host, const struct cqlferry_value *values)
{
	uint32_t events;

	if (!take_words(host, &values[ROW_KINDS], "kinds", kind_words, &o->kinds) ||
	    !take_words(host, &values[ROW_RESULTS], "results", result_words, &o->results) ||
	    !take_words(host, &values[ROW_EVENTS], "events", event_words, &events))
		return false;
	o->events = (events & 0xFu) | (events & 0x10u ? OPTIONS_DENIALS : 0);
	return take_patterns(&o->keyspaces, host, &values[ROW_KEYSPACES], "keyspaces", false) &&
	       take_patterns(&o->tables, host, &values[ROW_TABLES], "tables", true) &&
	       take_patterns(&o->users, host, &values[ROW_USERS], "users", false);
}

static bool take_sink(struct options *o, const struct cqlferry_host *host, const struct cqlferry_value *values)
{
	const struct cqlferry_value *path = &values[ROW_PATH], *socket = &values[ROW_SOCKET];

	o->sink = (enum options_sink)values[ROW_SINK].number;
	o->format = (enum format_kind)values[ROW_FORMAT].number;
	o->facility = sink_facility((unsigned)values[ROW_FACILITY].number);
	o->queue_size = (uint32_t)values[ROW_QUEUE_SIZE].number;
	if (o->sink == OPTIONS_FILE && !path->text) {
		host->error(host, "%s: sink = file needs path, the file that lines are appended to", place_of(path));
		return false;
	}
	if (o->sink != OPTIONS_FILE && path->text) {
		host->error(host, "%s: path belongs to sink = file, and sink is %s", place_of(path),
			    values[ROW_SINK].text);
		return false;
	}
	if (o->sink == OPTIONS_FILE && socket->text) {
		host->error(host, "%s: socket belongs to the other sinks, and sink is file", place_of(socket));
		return false;
	}
	if ((path->text && !(o->path = strdup(path->text))) || (socket->text && !(o->socket = strdup(socket->text)))) {
		host->error(host, "out of memory");
		return false;
	}
	return true;
}

static void take_numbers(struct options *o, const struct cqlferry_value *values)
{
	o->writer = (struct writer_settings){
		.flush_ms = (uint32_t)values[ROW_FLUSH_INTERVAL].number,
		.fsync_ms = (uint32_t)values[ROW_FSYNC_INTERVAL].number,
		.fsync = (enum writer_fsync)values[ROW_FSYNC].number,
		.rotate_size = (uint64_t)values[ROW_ROTATE_SIZE].number,
		.rotate_keep = (uint32_t)values[ROW_ROTATE_KEEP].number,
	};
	o->statement = (enum record_statement)values[ROW_STATEMENT].number;
	o->max_length = (uint32_t)values[ROW_MAX_LENGTH].number;
	o->max_value = values[ROW_VALUES].number ? (uint32_t)values[ROW_MAX_VALUE].number : 0;
	o->on_full = (enum queue_full)values[ROW_ON_FULL].number;
	o->block_ms = (uint32_t)values[ROW_BLOCK_TIMEOUT].number;
	o->sample = (uint64_t)values[ROW_SAMPLE].number;
}

struct options *options_new(const struct cqlferry_host *host, const struct cqlferry_value *values)
{
	struct options *o = calloc(1, sizeof(*o));

	if (!o) {
		host->error(host, "out of memory");
		return NULL;
	}
	take_numbers(o, values);
	if (take_lists(o, host, values) && take_sink(o, host, values))
		return o;
	options_free(o);
	return NULL;
}

void options_free(struct options *o)
{
	if (!o)
		return;
	filter_fini(&o->keyspaces);
	filter_fini(&o->tables);
	filter_fini(&o->users);
	free(o->path);
	free(o->socket);
	free(o);
}
