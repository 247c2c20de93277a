/*
 * plugin_host.c - see plugin_host.h
 *
 * What plugins ask for may be wrong, too: a number that there is not, a function
 * that does not belong into the hook or the thread. None of it may harm anybody
 * else, so each function that could checks who calls it, and does nothing then.
 */
#include "policy/plugin_host.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cql/error.h"
#include "policy/plugin_client.h"
#include "policy/plugin_http.h"
#include "policy/plugin_log.h"
#include "policy/plugin_login.h"
#include "policy/plugin_metrics.h"
#include "policy/plugin_request.h"
#include "policy/plugin_route.h"
#include "policy/plugin_timer.h"
#include "proxy/worker.h"

/* ---- texts ---- */

static void host_error(const struct cqlferry_host *host, const char *fmt, ...)
{
	va_list args;

	(void)host;
	va_start(args, fmt);
	vsnprintf(plugin_call.error, sizeof(plugin_call.error), fmt, args);
	va_end(args);
}

/* ---- verdicts ---- */

static void host_watch(const struct cqlferry_host *host, uint32_t request_kinds, uint32_t response_kinds)
{
	struct plugin_instance *p = plugin_of(host);

	/* Only open() and reload() run in the main thread when this is an instance's turn. */
	if (plugin_call.instance != p || plugin_call.worker)
		return;
	p->watched_next[0] = request_kinds & CQLFERRY_ALL_KINDS;
	p->watched_next[1] = response_kinds & CQLFERRY_ALL_KINDS;
}

/* Codes of the protocol whose errors have no fields behind the text (native protocol v5, section 8). */
static enum cql_error_code code_of(uint32_t code)
{
	static const enum cql_error_code codes[] = {
		CQL_ERR_SERVER_ERROR, CQL_ERR_BAD_CREDENTIALS, CQL_ERR_OVERLOADED,   CQL_ERR_SYNTAX_ERROR,
		CQL_ERR_UNAUTHORIZED, CQL_ERR_INVALID,         CQL_ERR_CONFIG_ERROR,
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		if (code == (uint32_t)codes[i])
			return codes[i];
	}
	return CQL_ERR_SERVER_ERROR;
}

static void host_deny(const struct cqlferry_host *host, uint32_t code, const char *fmt, ...)
{
	va_list args;

	(void)host;
	va_start(args, fmt);
	vsnprintf(plugin_call.denial_text, sizeof(plugin_call.denial_text), fmt, args);
	va_end(args);
	plugin_call.denial.code = code_of(code);
	plugin_call.denial.text = plugin_call.denial_text;
}

static uint64_t host_hold(const struct cqlferry_host *host, uint32_t timeout_ms)
{
	if (plugin_call.instance != plugin_of(host) || !plugin_call.may_hold)
		return 0;
	hold_drop(plugin_call.worker, plugin_call.ticket); /* the last one counts */
	plugin_call.ticket = hold_take(plugin_call.worker, timeout_ms);
	return plugin_call.ticket;
}

static void host_resume(const struct cqlferry_host *host, uint64_t ticket)
{
	struct proxy *proxy = plugin_of(host)->proxy;

	if (proxy)
		hold_resume(proxy, ticket);
}

static uint64_t host_resumed(const struct cqlferry_host *host)
{
	return plugin_call.instance == plugin_of(host) ? plugin_call.resumed : 0;
}

static void host_hold_data(const struct cqlferry_host *host, void *data, void (*release)(void *data))
{
	if (plugin_call.instance == plugin_of(host) && plugin_call.ticket)
		hold_keep(plugin_call.worker, plugin_call.ticket, data, release);
}

static void *host_resumed_data(const struct cqlferry_host *host)
{
	return host_resumed(host) ? plugin_call.worker->holds.resumed_data : NULL;
}

/* ---- all of them ---- */

void plugin_host_init(struct plugin_instance *p)
{
	p->host = (struct cqlferry_host){
		.size = sizeof(p->host),
		.abi_minor = CQLFERRY_ABI_MINOR,
		.instance = p->name,
		.workers = p->proxy ? p->proxy->settings->workers : 1,
		.log = plugin_log,
		.error = host_error,
		.counter_new = plugin_metrics_counter_new,
		.gauge_new = plugin_metrics_gauge_new,
		.histogram_new = plugin_metrics_histogram_new,
		.counter_add = plugin_metrics_add,
		.gauge_set = plugin_metrics_set,
		.histogram_observe = plugin_metrics_observe,
		.metrics_visit = plugin_metrics_visit,
		.timer_new = plugin_timer_new,
		.timer_free = plugin_timer_free,
		.http_route = plugin_http_route,
		.http_header = plugin_http_header,
		.http_reply = plugin_http_reply,
		.watch = host_watch,
		.route_new = plugin_route_new,
		.client_info = plugin_client_info,
		.request_client = plugin_request_client,
		.conn_slot = plugin_client_slot,
		.request_info = plugin_request_info,
		.statement = plugin_request_statement,
		.statement_slot = plugin_request_slot,
		.bound_value = plugin_request_value,
		.row_count = plugin_request_rows,
		.route_set = plugin_route_set,
		.deny = host_deny,
		.hold = host_hold,
		.resume = host_resume,
		.resumed = host_resumed,
		.hold_data = host_hold_data,
		.resumed_data = host_resumed_data,
		.login_user = plugin_login_user,
		.login_password = plugin_login_password,
		.login_wanted = plugin_login_wanted,
		.login_set = plugin_login_set,
		.login_name = plugin_login_name,
		.login_ask = plugin_login_ask,
	};
	if (p->proxy)
		plugin_metrics_init(p);
	for (unsigned i = 0; i < 2; i++)
		p->watched[i] = p->watched_next[i] = CQLFERRY_ALL_KINDS;
}
