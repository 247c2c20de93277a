/*
 * witness.c - says on standard error what on_request and on_response are given.
 * What on_request does stands in the statement, in a comment for this instance:
 *
 *	SELECT ... /+ NAME: word word +/    (with asterisks)
 *
 *	hold        held; a thread resumes it after 20 ms; then the other words count
 *	slowly      the same, after a second
 *	forever     held, and nobody resumes it: 500 ms
 *	deny        INVALID, "no"
 *	silent      denied without deny()
 *	error, wild CQLFERRY_ERROR; a verdict that there is not
 *	origin, target, both, mirror, tagged, none, done
 *	            DONE with this route; with one that there is not; without one
 */
#include <cqlferry/plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	WATCH_REQUESTS,
	WATCH_RESPONSES,
	VALUES,
	OPTION_COUNT,
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	[WATCH_REQUESTS] = { .name = "requests",
			     .type = CQLFERRY_OPTION_NUMBER,
			     .initial = "31",
			     .max = 31,
			     .help = "bits of kinds" },
	[WATCH_RESPONSES] = { .name = "responses", .type = CQLFERRY_OPTION_NUMBER, .initial = "31", .max = 31 },
	[VALUES] = { .name = "values", .type = CQLFERRY_OPTION_BOOL, .initial = "off" },
};

struct witness {
	const struct cqlferry_host *host;
	uint32_t tagged;
	bool says_values;
};

struct hold {
	const struct witness *witness;
	uint64_t ticket;
	uint32_t delay_us;
};

static int32_t witness_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct cqlferry_route route = {
		.size = sizeof(route), .to = CQLFERRY_TO_TARGET, .timeout_ms = 700, .consistency = 2, .tag = "canary"
	};
	struct witness *w = calloc(1, sizeof(*w));

	w->host = host;
	w->says_values = values[VALUES].number;
	host->watch(host, (uint32_t)values[WATCH_REQUESTS].number, (uint32_t)values[WATCH_RESPONSES].number);
	w->tagged = host->route_new(host, &route);
	if (w->tagged == 0)
		return CQLFERRY_ERROR;
	*self = w;
	return 0;
}

static void witness_close(void *self)
{
	free(self);
}

static void say_tables(const struct cqlferry_statement *s, FILE *out)
{
	fputs(" tables=", out);
	for (uint32_t i = 0; i < s->table_count; i++)
		fprintf(out, "%s%.*s.%.*s", i > 0 ? "," : "", (int)s->tables[i].keyspace.length,
			s->tables[i].keyspace.data, (int)s->tables[i].table.length, s->tables[i].table.data);
}

static void say_values(const struct witness *w, struct cqlferry_request *request, FILE *out)
{
	struct cqlferry_text value;

	fputs(" values=", out);
	for (uint32_t i = 0; w->host->bound_value(request, i, &value); i++)
		fprintf(out, "%s%.*s", i > 0 ? "," : "", value.data ? (int)value.length : 4,
			value.data ? value.data : "null");
}

/* One write() a line: several workers. */
static void say(const struct witness *w, struct cqlferry_request *request, const char *hook,
		const struct cqlferry_response *r)
{
	const struct cqlferry_request_info *info = w->host->request_info(request);
	const struct cqlferry_statement *s = w->host->statement(request);
	uint64_t *slot = w->host->statement_slot(w->host, request);
	char *line = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&line, &size);

	fprintf(out, "witness %s: %s number=%llu opcode=%u kind=%u verb=%s prepared=%u lwt=%u level=%u size=%u",
		w->host->instance, hook, (unsigned long long)info->number, info->opcode, info->kind, info->verb,
		info->is_prepared, info->is_lwt, info->consistency, info->body_size);
	if (slot && r)
		fprintf(out, " slot=%llu", (unsigned long long)(*slot)++);
	say_tables(s, out);
	fprintf(out, " keyspace=%.*s incomplete=%u kept=%u", (int)s->keyspace.length, s->keyspace.data,
		s->is_incomplete, s->is_prepared);
	if (w->says_values)
		say_values(w, request, out);
	if (r)
		fprintf(out,
			" outcome=%u answer=%u to=%u by=%u error=%04x decided=%u ms=%llu origin=%u/%04x/%llu "
			"target=%u/%04x/%llu rows=%lld tag=%s decider=\"%s\" message=\"%.*s\"",
			r->outcome, r->opcode, r->to, r->answered_by, r->error_code, r->decided_by,
			(unsigned long long)(r->duration_ns / 1000000), r->parts[0].state, r->parts[0].error_code,
			(unsigned long long)(r->parts[0].duration_ns / 1000000), r->parts[1].state,
			r->parts[1].error_code, (unsigned long long)(r->parts[1].duration_ns / 1000000),
			(long long)w->host->row_count(request), r->tag ? r->tag : "", r->decider ? r->decider : "",
			(int)r->error.length, r->error.data);
	fprintf(out, " text=\"%.*s\"\n", (int)s->text.length, s->text.data);
	fclose(out);
	(void)!write(STDERR_FILENO, line, size);
	free(line);
}

static void *resume_later(void *arg)
{
	struct hold *h = arg;

	usleep(h->delay_us);
	h->witness->host->resume(h->witness->host, h->ticket);
	free(h);
	return NULL;
}

static int32_t hold(const struct witness *w, uint32_t timeout_ms, uint32_t resume_us)
{
	const uint64_t ticket = w->host->hold(w->host, timeout_ms);
	struct hold *h;
	pthread_t thread;

	if (ticket == 0) {
		w->host->error(w->host, "it cannot be held");
		return CQLFERRY_ERROR;
	}
	if (resume_us == 0)
		return CQLFERRY_HOLD;
	h = malloc(sizeof(*h));
	*h = (struct hold){ w, ticket, resume_us };
	pthread_create(&thread, NULL, resume_later, h);
	pthread_detach(thread);
	return CQLFERRY_HOLD;
}

/* True when the comment for this instance has the word. */
static bool has(const char *words, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = strstr(words, word); at; at = strstr(at + 1, word)) {
		if (at[-1] == ' ' && (at[len] == ' ' || at[len] == '\0'))
			return true;
	}
	return false;
}

/* What stands in the comment, with blanks around it; "" without one. */
static void find_words(const struct witness *w, const struct cqlferry_statement *s, char *out, size_t size)
{
	char begin[80], *text = strndup(s->text.data ? s->text.data : "", s->text.length);
	char *at, *end;

	snprintf(begin, sizeof(begin), "/* %s:", w->host->instance);
	at = strstr(text, begin);
	end = at ? strstr(at, "*/") : NULL;
	if (end)
		*end = '\0';
	snprintf(out, size, "%s", end ? at + strlen(begin) : "");
	free(text);
}

static int32_t route(const struct witness *w, struct cqlferry_request *request, const char *words)
{
	const struct {
		const char *word;
		uint32_t number;
	} routes[] = {
		{ "origin", CQLFERRY_ROUTE_ORIGIN },
		{ "target", CQLFERRY_ROUTE_TARGET },
		{ "both", CQLFERRY_ROUTE_BOTH },
		{ "mirror", CQLFERRY_ROUTE_MIRROR },
		{ "tagged", w->tagged },
		{ "none", 999 },
	};

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!has(words, routes[i].word))
			continue;
		w->host->route_set(request, routes[i].number);
		return CQLFERRY_DONE;
	}
	return has(words, "done") ? CQLFERRY_DONE : CQLFERRY_NEXT;
}

static int32_t witness_on_request(void *self, struct cqlferry_request *request)
{
	const struct witness *w = self;
	char words[128];

	say(w, request, w->host->resumed(w->host) ? "resumed" : "request", NULL);
	find_words(w, w->host->statement(request), words, sizeof(words));
	if (has(words, "forever"))
		return hold(w, 500, 0);
	if (has(words, "hold") && !w->host->resumed(w->host))
		return hold(w, 10000, has(words, "slowly") ? 1000000 : 20000);
	if (has(words, "deny")) {
		w->host->deny(w->host, 0x2200, "no, says %s", w->host->instance);
		return CQLFERRY_DENY;
	}
	if (has(words, "silent"))
		return CQLFERRY_DENY;
	if (has(words, "error")) {
		w->host->error(w->host, "told to fail");
		return CQLFERRY_ERROR;
	}
	if (has(words, "wild"))
		return 77;
	return route(w, request, words);
}

static void witness_on_response(void *self, struct cqlferry_request *request, const struct cqlferry_response *response)
{
	say(self, request, "response", response);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.flags = CQLFERRY_ROUTES,
	.name = "witness",
	.version = "1.0",
	.open = witness_open,
	.close = witness_close,
	.on_request = witness_on_request,
	.on_response = witness_on_response,
};
