/*
 * http.c - see http.h
 *
 * Pages are made in one go on the main thread. What a connection can cost is
 * bounded: the size of headers and bodies, and the time it may be idle. The
 * port is for operators and their machines; it must not be open to others.
 */
#include "control/http.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/http_page.h"
#include "base/log.h"
#include "control/gzip.h"
#include "control/health.h"
#include "control/health_status.h"
#include "control/metrics_page.h"
#include "control/metrics_process.h"
#include "control/reload.h"
#include "proxy/figures.h"
#include "proxy/worker.h"

#define MAX_HEADERS 16384
#define MAX_BODY 4096
#define IDLE_TIMEOUT_S 10

#define TEXT_TYPE "text/plain; charset=utf-8"

struct http {
	struct http_context context;
	struct evhttp *evhttp;
	struct net_address bound;
};

/* ---- pages ---- */

static void reply(struct evhttp_request *rq, int status, const char *type, struct evbuffer *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(rq);
	char length[24];

	evhttp_add_header(headers, "Content-Type", type);
	/* evhttp would send the body, which the next answer on the connection is then taken for. */
	if (evhttp_request_get_command(rq) == EVHTTP_REQ_HEAD) {
		snprintf(length, sizeof(length), "%zu", body ? evbuffer_get_length(body) : 0);
		evhttp_add_header(headers, "Content-Length", length);
		body = NULL;
	}
	/* Nor would it leave out what these do not have (RFC 9110, sections 15.3.5 and 15.4.5). */
	if (status == 204 || status == 304)
		body = NULL;
	evhttp_send_reply(rq, status, NULL, body);
}

/* A page of some hundred series is ten times as long as it must be. */
static void reply_compressed(struct evhttp_request *rq, int status, const char *type, struct evbuffer *body)
{
	const char *accepted = evhttp_find_header(evhttp_request_get_input_headers(rq), "Accept-Encoding");
	struct evbuffer *packed = body && gzip_is_accepted(accepted) ? gzip_compress(body) : NULL;

	if (packed)
		evhttp_add_header(evhttp_request_get_output_headers(rq), "Content-Encoding", "gzip");
	reply(rq, status, type, packed ? packed : body);
	if (packed)
		evbuffer_free(packed);
}

static void reply_text(struct evhttp_request *rq, int status, const char *text)
{
	struct evbuffer *body = evbuffer_new();

	if (body)
		evbuffer_add(body, text, strlen(text));
	reply(rq, status, TEXT_TYPE, body);
	if (body)
		evbuffer_free(body);
}

static void not_found(struct evhttp_request *rq, void *arg)
{
	(void)arg;
	reply_text(rq, 404, "404 page not found\n");
}

static void liveness(struct evhttp_request *rq, void *arg)
{
	(void)arg;
	reply_text(rq, 200, "OK");
}

static void get_health(const struct http *http, struct health *out)
{
	const struct http_context *c = &http->context;

	out->is_started = *c->is_started;
	out->is_draining = *c->is_draining;
	out->needs_primary_only = c->settings->ready_when == READY_WHEN_PRIMARY;
	out->primary = c->reload ? c->reload->primary : c->settings->primary;
	if (c->reload && c->settings->profile == PROFILE_NATIVE)
		out->epoch = c->reload->epoch;
	out->failure_threshold = c->settings->heartbeat_failure_threshold;
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		out->cluster[i] = (struct control_status){ .address = HEALTH_NOT_CONNECTED };
		if (c->controls[i])
			control_get_status(c->controls[i], &out->cluster[i]);
	}
}

/* ZDM Proxy knows this page for GET alone. */
static void readiness(struct evhttp_request *rq, void *arg)
{
	struct http *http = arg;
	struct evbuffer *body;
	struct health health = { .epoch = 0 };
	int status = 500;

	if (evhttp_request_get_command(rq) != EVHTTP_REQ_GET) {
		not_found(rq, arg);
		return;
	}
	get_health(http, &health);
	body = evbuffer_new();
	if (body)
		status = health_write_readiness(&health, body);
	reply(rq, status, "application/json", body);
	if (body)
		evbuffer_free(body);
}

/* ZDM Proxy does not know this page at all. */
static void status_page(struct evhttp_request *rq, void *arg)
{
	struct http *http = arg;
	const struct http_context *c = &http->context;
	struct policy_hook_status hooks[POLICY_HOOKS_MAX];
	struct health health = { .epoch = 0 };
	struct health_policy policy = { .rules = c->settings->rules.count,
					.scripts = &c->settings->lua.scripts,
					.hooks = hooks };
	struct health_plugins plugins = { .count = 0 };
	struct evbuffer *body;

	if (evhttp_request_get_command(rq) != EVHTTP_REQ_GET || c->settings->profile != PROFILE_NATIVE) {
		not_found(rq, arg);
		return;
	}
	get_health(http, &health);
	policy.hook_count = c->hooks ? c->hooks(hooks) : 0;
	if (c->plugins)
		c->plugins(&plugins);
	body = evbuffer_new();
	if (body)
		health_write_status(&health, c->reload, &policy, &plugins, body);
	reply(rq, body ? 200 : 500, "application/json", body);
	if (body)
		evbuffer_free(body);
}

/* All that /metrics shows, whether that page is switched on or not. */
void http_visit_metrics(const struct http *http, struct metrics_sink *sink)
{
	const struct http_context *c = &http->context;
	const struct metrics_page page = {
		.prefix = c->settings->metrics_prefix,
		.metrics = c->metrics,
		.metrics_count = c->metrics_count,
		.bounds = c->bounds,
		.nodes = c->nodes,
		.divergences = c->divergences,
		.reload = c->reload,
		.gate = c->gate,
		.counters = c->counters,
		.large_bytes = chunk_large_bytes(),
		.prepared_entries = c->prepared_entries ? c->prepared_entries() : 0,
	};

	for (unsigned i = 0; c->gate && i < c->gate->proxy->worker_count; i++)
		figures_ask(&c->gate->proxy->workers[i]);
	metrics_page_write(&page, sink);
	metrics_process_write(sink);
}

static void metrics(struct evhttp_request *rq, void *arg)
{
	const struct http *http = arg;
	const struct http_context *c = &http->context;
	struct metrics_text text;
	struct evbuffer *body;

	if (!*c->is_started) {
		reply_text(rq, 503, "Proxy metrics haven't been initialized yet.\n");
		return;
	}
	if (!c->settings->metrics_enabled) {
		reply_text(rq, 404, "Metrics are disabled on this proxy instance.\n");
		return;
	}
	body = evbuffer_new();
	if (body) {
		metrics_text_init(&text, body);
		http_visit_metrics(http, &text.sink);
		metrics_text_end(&text);
	}
	reply_compressed(rq, body ? 200 : 500, METRICS_TEXT_TYPE, body);
	if (body)
		evbuffer_free(body);
}

/* ---- pages of plugins ---- */

struct exchange {
	struct http_page page;
	struct evhttp_request *rq;
	bool is_answered;
};

static const char *get_header(struct http_page *page, const char *name)
{
	struct exchange *x = container_of(page, struct exchange, page);

	return evhttp_find_header(evhttp_request_get_input_headers(x->rq), name);
}

static void answer(struct http_page *page, unsigned status, const char *type, const void *body, size_t len)
{
	struct exchange *x = container_of(page, struct exchange, page);
	struct evbuffer *out;

	if (x->is_answered)
		return;
	x->is_answered = true;
	out = evbuffer_new();
	if (out)
		evbuffer_add(out, body, len);
	/* What is no status of HTTP would be no answer at all. */
	reply_compressed(x->rq, status >= 200 && status <= 599 ? (int)status : 500, type ? type : TEXT_TYPE, out);
	if (out)
		evbuffer_free(out);
}

static void other_page(struct evhttp_request *rq, void *arg)
{
	const struct http_context *c = &((struct http *)arg)->context;
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(rq));
	struct http_handler *handler = c->find_page && path ? c->find_page(path) : NULL;
	const enum evhttp_cmd_type method = evhttp_request_get_command(rq);
	struct exchange x = { .page = { .header = get_header, .reply = answer }, .rq = rq };

	if (!handler) {
		not_found(rq, arg);
	} else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		evhttp_add_header(evhttp_request_get_output_headers(rq), "Allow", "GET, HEAD");
		reply_text(rq, 405, "405 method not allowed\n");
	} else {
		handler->serve(handler, &x.page);
		if (!x.is_answered)
			reply_text(rq, 500, "500 the page has no content\n");
	}
}

/* ---- life ---- */

/* A request target may also be a whole URL; evhttp takes the path out of it and leaves a query aside. */
static void set_pages(struct http *http)
{
	struct evhttp *e = http->evhttp;

	evhttp_set_allowed_methods(e, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
					      EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_max_headers_size(e, MAX_HEADERS);
	evhttp_set_max_body_size(e, MAX_BODY);
	evhttp_set_timeout(e, IDLE_TIMEOUT_S);
	evhttp_set_cb(e, "/health/liveness", liveness, http);
	evhttp_set_cb(e, "/health/readiness", readiness, http);
	evhttp_set_cb(e, "/health/status", status_page, http);
	evhttp_set_cb(e, "/metrics", metrics, http);
	evhttp_set_gencb(e, other_page, http);
}

static bool start(struct http *http, char *error, size_t error_size)
{
	const struct settings *s = http->context.settings;
	int fd = net_listen(s->http_address, s->http_port, &http->bound, error, error_size);

	if (fd < 0)
		return false;
	http->evhttp = evhttp_new(http->context.base);
	if (!http->evhttp || evhttp_accept_socket(http->evhttp, fd) < 0) {
		close(fd);
		snprintf(error, error_size, "out of memory for the HTTP server");
		return false;
	}
	set_pages(http);
	return true;
}

struct http *http_start(const struct http_context *context, char *error, size_t error_size)
{
	struct http *http = xcalloc(1, sizeof(*http));
	char text[NET_TEXT_MAX];

	http->context = *context;
	if (!start(http, error, error_size)) {
		http_stop(http);
		return NULL;
	}
	log_info("HTTP: health and metrics at http://%s", net_format(&http->bound, text));
	return http;
}

uint16_t http_port(const struct http *http)
{
	return net_port(&http->bound);
}

void http_set_settings(struct http *http, const struct settings *settings)
{
	http->context.settings = settings;
}

void http_stop(struct http *http)
{
	if (!http)
		return;
	if (http->evhttp)
		evhttp_free(http->evhttp);
	free(http);
}
