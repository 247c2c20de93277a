/*
 * everything.c - uses every hook and every function of 1.0, and says on standard
 * error what it has got. Built with the header beside it: what it does here it
 * does with each later release.
 */
#define _GNU_SOURCE
#include <cqlferry/plugin.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TEXT,
	NUMBER,
	BOOL,
	DURATION,
	SIZE,
	CHOICE,
	PATH,
	SECRET,
	MANY,
	OPTION_COUNT,
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	{ .name = "text",
	  .initial = "a text",
	  .help = "any",
	  .type = CQLFERRY_OPTION_TEXT,
	  .flags = CQLFERRY_OPTION_RELOAD },
	{ .name = "number", .initial = "-5", .min = -10, .max = 10, .type = CQLFERRY_OPTION_NUMBER },
	{ .name = "bool", .initial = "yes", .type = CQLFERRY_OPTION_BOOL },
	{ .name = "duration", .initial = "2s", .max = 5000, .type = CQLFERRY_OPTION_DURATION },
	{ .name = "size", .initial = "4KiB", .type = CQLFERRY_OPTION_SIZE },
	{ .name = "choice", .initial = "block", .choices = "drop block refuse", .type = CQLFERRY_OPTION_CHOICE },
	{ .name = "path", .initial = "a.file", .type = CQLFERRY_OPTION_PATH },
	{ .name = "secret", .type = CQLFERRY_OPTION_SECRET, .flags = CQLFERRY_OPTION_REQUIRED },
	{ .name = "many", .type = CQLFERRY_OPTION_TEXT, .flags = CQLFERRY_OPTION_REPEATED },
};

struct all {
	const struct cqlferry_host *host;
	uint32_t counter, gauge, histogram, route;
	uint32_t ticks;
	struct cqlferry_timer *timer;
	pthread_t thread;
	int jobs[2]; /* a pipe of tickets */
	char text[64], next[64];
};

struct part {
	struct all *all;
	uint32_t worker;
	struct cqlferry_timer *timer;
	char text[64];
};

/* What is kept with a hold, and with a client. */
struct kept {
	const struct cqlferry_host *host;
	char what[32];
};

#define TEXT_OF(t) (int)(t).length, (t).length ? (t).data : ""

static void say(const struct cqlferry_host *host, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct cqlferry_host *host, const char *fmt, ...)
{
	char line[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fprintf(stderr, "everything %s: %s\n", host->instance, line);
}

static int has(const struct cqlferry_host *host, struct cqlferry_request *request, const char *word)
{
	const struct cqlferry_text text = host->statement(request)->text;

	return text.length && memmem(text.data, text.length, word, strlen(word)) != NULL;
}

/* ---- life ---- */

static void on_tick(void *arg)
{
	struct all *a = arg;

	if (++a->ticks == 3) {
		a->host->timer_free(a->host, a->timer);
		say(a->host, "main has ticked");
	}
}

static void on_worker_tick(void *arg)
{
	struct part *p = arg;

	p->all->host->gauge_set(p->all->host, p->all->gauge, 10 + p->worker);
	p->all->host->timer_free(p->all->host, p->timer);
	say(p->all->host, "worker %u has ticked", p->worker);
}

static void count_metric(void *arg, const struct cqlferry_metric *metric)
{
	char *name = arg;

	if (metric->size >= sizeof(*metric) && strstr(metric->family, "everything_answers") && !*metric->suffix)
		snprintf(name, 256, "%s %s{%s} %.0f %s", metric->type, metric->family, metric->labels, metric->value,
			 metric->help);
}

static void on_page(void *arg, struct cqlferry_http *http)
{
	struct all *a = arg;
	const char *host = a->host->http_header(http, "Host");
	char name[256] = "", body[512];
	const int n = (a->host->metrics_visit(a->host, count_metric, name),
		       snprintf(body, sizeof(body), "%s\n%s\n", name,
				host && !a->host->http_header(http, "X-None") ? "ok" : "?"));

	a->host->http_reply(http, 201, "text/plain", body, (uint64_t)n);
}

static void *run(void *arg)
{
	struct all *a = arg;
	uint64_t ticket;

	while (read(a->jobs[0], &ticket, sizeof(ticket)) == sizeof(ticket)) {
		a->host->log(a->host, CQLFERRY_LOG_INFO, "resumes %d", ticket != 0);
		a->host->resume(a->host, ticket);
	}
	return NULL;
}

static int32_t on_open(const struct cqlferry_host *host, const struct cqlferry_value *v, void **self)
{
	static const double bounds[] = { 0.001, 1, 60 };
	const struct cqlferry_route route = { .size = sizeof(route),
					      .to = CQLFERRY_TO_BOTH,
					      .answer_from = CQLFERRY_TARGET,
					      .timeout_ms = 3000,
					      .consistency = 2,
					      .tag = "everything" };
	const struct cqlferry_route wrong = { .size = sizeof(wrong), .to = 8 };
	struct all *a = calloc(1, sizeof(*a));

	*self = a;
	a->host = host;
	snprintf(a->text, sizeof(a->text), "%s", v[TEXT].text);
	say(host, "open: size %d minor %u workers %u", host->size >= sizeof(*host), host->abi_minor, host->workers);
	say(host, "options: %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %s=%" PRId64 " %s %s set %u%u place %d",
	    v[TEXT].text, v[NUMBER].number, v[BOOL].number, v[DURATION].number, v[SIZE].number, v[CHOICE].text,
	    v[CHOICE].number, strrchr(v[PATH].text, '/'), v[SECRET].text, v[TEXT].is_set, v[SECRET].is_set,
	    strchr(v[SECRET].place, ':') != NULL);
	say(host, "many: %zu lines", v[MANY].text ? strlen(v[MANY].text) : 0);
	a->counter = host->counter_new(host, "everything_answers_total", "Answers.", "from=\"everything\"");
	a->gauge = host->gauge_new(host, "everything_shares", "Shares.", "");
	a->histogram = host->histogram_new(host, "everything_seconds", "Time.", "", bounds, 3);
	a->timer = host->timer_new(host, 10, on_tick, a);
	a->route = host->route_new(host, &route);
	if (host->route_new(host, &wrong) != 0 || host->http_route(host, "/metrics", on_page, a) != CQLFERRY_ERROR)
		say(host, "what is wrong was taken");
	if (host->http_route(host, "/everything", on_page, a) != 0 || pipe(a->jobs) != 0)
		return CQLFERRY_ERROR;
	host->watch(host, CQLFERRY_ALL_KINDS, CQLFERRY_ALL_KINDS);
	return pthread_create(&a->thread, NULL, run, a) == 0 ? 0 : CQLFERRY_ERROR;
}

static void on_close(void *self)
{
	struct all *a = self;

	close(a->jobs[1]);
	pthread_join(a->thread, NULL);
	close(a->jobs[0]);
	say(a->host, "close");
	free(a);
}

static int32_t on_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct part *p = calloc(1, sizeof(*p));

	*worker_self = p;
	p->all = self;
	p->worker = worker;
	memcpy(p->text, p->all->text, sizeof(p->text));
	p->timer = p->all->host->timer_new(p->all->host, 10, on_worker_tick, p);
	return 0;
}

static void on_worker_close(void *worker_self)
{
	struct part *p = worker_self;

	say(p->all->host, "worker_close %u", p->worker);
	free(p);
}

static int32_t on_reload(void *self, const struct cqlferry_value *v)
{
	struct all *a = self;

	if (strcmp(v[TEXT].text, "wrong") == 0) {
		a->host->error(a->host, "%s: this text is %s", v[TEXT].place, v[TEXT].text);
		return CQLFERRY_ERROR;
	}
	snprintf(a->next, sizeof(a->next), "%s", v[TEXT].text);
	return 0;
}

static void on_worker_reload(void *worker_self)
{
	struct part *p = worker_self;

	memcpy(p->text, p->all->next, sizeof(p->text));
}

static void on_reload_end(void *self, uint32_t taken)
{
	struct all *a = self;

	if (taken)
		memcpy(a->text, a->next, sizeof(a->text));
	say(a->host, "reload_end %u: %s", taken, a->text);
}

static void on_reopen(void *self)
{
	say(((struct all *)self)->host, "reopen");
}

/* ---- clients ---- */

static void release(void *data)
{
	struct kept *k = data;

	say(k->host, "released %s", k->what);
	free(k);
}

static int32_t hold(struct all *a, const char *what)
{
	const uint64_t ticket = a->host->hold(a->host, 10000);
	struct kept *k = calloc(1, sizeof(*k));

	k->host = a->host;
	snprintf(k->what, sizeof(k->what), "%s", what);
	a->host->hold_data(a->host, k, release);
	return ticket && write(a->jobs[1], &ticket, sizeof(ticket)) == sizeof(ticket) ? CQLFERRY_HOLD : CQLFERRY_ERROR;
}

/* Whether this is the second call, by both ways to know. */
static int is_again(struct all *a, const char *what)
{
	const struct kept *k = a->host->resumed_data(a->host);
	const uint64_t ticket = a->host->resumed(a->host);

	if ((k != NULL) != (ticket != 0) || (k && strcmp(k->what, what) != 0))
		say(a->host, "resumed with something else");
	return k != NULL;
}

static int32_t on_connect(void *worker_self, struct cqlferry_client *client)
{
	struct part *p = worker_self;
	const struct cqlferry_host *host = p->all->host;
	const struct cqlferry_client_info *info = host->client_info(client);

	if (!is_again(p->all, "client"))
		return hold(p->all, "client");
	say(host, "connect: size %d port %d number %d since %d tls %u%.*s address %.*s", info->size >= sizeof(*info),
	    info->port != 0, info->number != 0, info->connected_at > 1700000000000000000u, info->is_tls,
	    TEXT_OF(info->tls_subject), TEXT_OF(info->address));
	*host->conn_slot(host, client) = strdup("slot");
	return CQLFERRY_NEXT;
}

static int32_t on_credentials(void *worker_self, struct cqlferry_client *client, struct cqlferry_login *login)
{
	static const struct cqlferry_text origin = { "at-origin", 9 }, target = { "at-target", 9 },
					  name = { "someone", 7 };
	struct part *p = worker_self;
	const struct cqlferry_host *host = p->all->host;
	const struct cqlferry_client_info *info = host->client_info(client);
	const struct cqlferry_text user = host->login_user(login), password = host->login_password(login);

	if (!user.data) { /* the first step */
		say(host, "startup: version %u driver %.*s %.*s wanted %d%d", info->version, TEXT_OF(info->driver),
		    TEXT_OF(info->driver_version), host->login_wanted(login, CQLFERRY_ORIGIN),
		    host->login_wanted(login, CQLFERRY_TARGET));
		host->login_ask(login);
		return CQLFERRY_NEXT;
	}
	if (!is_again(p->all, "log-in"))
		return hold(p->all, "log-in");
	if (password.length != 6 || memcmp(password.data, "secret", 6) != 0) {
		host->deny(host, 0x0100, "not you, %.*s", TEXT_OF(user));
		return CQLFERRY_DENY;
	}
	host->login_set(login, CQLFERRY_ORIGIN, origin, origin);
	host->login_set(login, CQLFERRY_TARGET, target, target);
	host->login_name(login, name);
	return CQLFERRY_DONE;
}

static void on_login(void *worker_self, struct cqlferry_client *client, const struct cqlferry_login_result *r)
{
	const struct cqlferry_host *host = ((struct part *)worker_self)->all->host;

	say(host, "login: size %d outcome %u cluster %u error 0x%x time %d said %.*s is %.*s: %.*s",
	    r->size >= sizeof(*r), r->outcome, r->cluster, r->error_code, r->duration_ns > 0, TEXT_OF(r->user),
	    TEXT_OF(host->client_info(client)->user), TEXT_OF(r->error));
}

static void on_disconnect(void *worker_self, struct cqlferry_client *client)
{
	const struct cqlferry_host *host = ((struct part *)worker_self)->all->host;
	char *slot = *host->conn_slot(host, client);

	say(host, "disconnect: %s", slot ? slot : "no slot");
	free(slot);
}

/* ---- requests ---- */

static int32_t on_request(void *worker_self, struct cqlferry_request *request)
{
	struct part *p = worker_self;
	const struct cqlferry_host *host = p->all->host;

	if (has(host, request, "hold") && !is_again(p->all, "request"))
		return hold(p->all, "request");
	if (has(host, request, "deny")) {
		host->deny(host, 0x2100, "denied by %s, text %s", host->instance, p->text);
		return CQLFERRY_DENY;
	}
	if (has(host, request, "fail")) {
		host->error(host, "told to fail");
		return CQLFERRY_ERROR;
	}
	if (has(host, request, "both"))
		host->route_set(request, p->all->route);
	else if (has(host, request, "target"))
		host->route_set(request, CQLFERRY_ROUTE_TARGET);
	else
		return CQLFERRY_NEXT;
	return CQLFERRY_DONE;
}

static void on_response(void *worker_self, struct cqlferry_request *request, const struct cqlferry_response *r)
{
	const struct cqlferry_host *host = ((struct part *)worker_self)->all->host;
	const struct cqlferry_request_info *i = host->request_info(request);
	const struct cqlferry_statement *s = host->statement(request);
	uint64_t *slot = host->statement_slot(host, request);
	struct cqlferry_text value = { "none", 4 };
	const bool bound = host->bound_value(request, 0, &value);

	host->counter_add(host, ((struct part *)worker_self)->all->counter, 1);
	host->histogram_observe(host, ((struct part *)worker_self)->all->histogram, r->duration_ns);
	say(host,
	    "response: sizes %d%d%d opcode %u kind %u verb %s level %u body %d number %d flags %u%u%u"
	    " tables %u %.*s.%.*s outcome %u answer %u to %u by %u error 0x%x decided %u %s tag %s time %d parts %u/%x/%d %u/%x/%d"
	    " rows %" PRId64 " value %d %.*s slot %d client %.*s message %.*s text %.*s",
	    r->size >= sizeof(*r), i->size >= sizeof(*i), s->size >= sizeof(*s), i->opcode, i->kind, i->verb,
	    i->consistency, i->body_size > 0, i->number != 0, i->is_prepared, i->is_lwt,
	    s->is_prepared + 2 * s->is_incomplete, s->table_count,
	    TEXT_OF(s->table_count ? s->tables[0].keyspace : value),
	    TEXT_OF(s->table_count ? s->tables[0].table : value), r->outcome, r->opcode, r->to, r->answered_by,
	    r->error_code, r->decided_by, r->decider ? r->decider : "-", r->tag ? r->tag : "-", r->duration_ns > 0,
	    r->parts[0].state, r->parts[0].error_code, r->parts[0].duration_ns > 0, r->parts[1].state,
	    r->parts[1].error_code, r->parts[1].duration_ns > 0, host->row_count(request), bound, TEXT_OF(value),
	    slot ? (int)(*slot)++ : -1, TEXT_OF(host->client_info(host->request_client(request))->user),
	    TEXT_OF(r->error), TEXT_OF(s->text));
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.flags = CQLFERRY_ROUTES,
	.name = "everything",
	.version = "1.0",
	.depends = "",
	.open = on_open,
	.close = on_close,
	.worker_open = on_worker_open,
	.worker_close = on_worker_close,
	.reload = on_reload,
	.worker_reload = on_worker_reload,
	.reload_end = on_reload_end,
	.reopen = on_reopen,
	.on_connect = on_connect,
	.on_credentials = on_credentials,
	.on_login = on_login,
	.on_request = on_request,
	.on_response = on_response,
	.on_disconnect = on_disconnect,
};
