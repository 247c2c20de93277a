/*
 * plugin_chain.c - see plugin_chain.h
 *
 * Hooks that may decide are asked one after the other until one has an opinion;
 * the others are called in any case. A pass that was interrupted by a hold goes
 * on at the plugin that holds.
 */
#include "policy/plugin_chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "policy/plugin_login.h"
#include "policy/plugin_metrics.h"
#include "policy/plugin_request.h"
#include "policy/plugin_route.h"
#include "proxy/client.h"
#include "proxy/client_hooks.h"
#include "proxy/worker.h"

_Thread_local struct plugin_call plugin_call;

/* One instance's part of a hook: what it is called with. */
struct link {
	struct plugin_instance *plugin;
	void *self;
	struct plugin_tally tally;
	uint32_t kinds;   /* for which it is called, as bits */
	unsigned connect; /* on_disconnect: the place of its on_connect, or NO_PLACE */
};

#define NO_PLACE PLUGINS_MAX

struct links {
	struct link items[PLUGINS_MAX];
	unsigned count;
	enum plugin_hook hook;
};

struct plugin_chain {
	struct hooks hooks;
	struct plugin_set *set;
	struct plugin_scratch *scratch;
	/* Those that have the hook. */
	struct links connect, credentials, login, request, response, disconnect;
};

static struct plugin_chain *chain_of(struct hooks *h)
{
	return container_of(h, struct plugin_chain, hooks);
}

struct plugin_scratch *plugin_chain_scratch(struct hooks *h)
{
	return chain_of(h)->scratch;
}

/* ---- what calls cost ---- */

/* Of requests, whose hooks are often done in less time than it takes to look at the clock, one of so many is measured. */
#define MEASURED 64

static inline uint64_t start_rare(struct link *link)
{
	metric_add(&link->tally.calls, 1);
	return loop_clock_ns();
}

static inline void end_rare(struct link *link, uint64_t start)
{
	metric_add(&link->tally.ns, loop_clock_ns() - start);
}

static inline uint64_t start_frequent(struct link *link)
{
	metric_add(&link->tally.calls, 1);
	return likely(link->tally.calls % MEASURED != 0) ? 0 : loop_clock_ns();
}

static inline void end_frequent(struct link *link, uint64_t start)
{
	if (unlikely(start != 0))
		metric_add(&link->tally.ns, (loop_clock_ns() - start) * MEASURED);
}

/* ---- hooks that may decide ---- */

/* Calls the hook of one instance. */
typedef int32_t (*hook_invoke)(struct link *link, void *arg);

struct question {
	const char *name; /* of the hook */
	struct links *links;
	hook_invoke invoke;
	void *arg;
	enum cql_error_code code; /* of a denial that names none */
};

static void deny(const struct link *link, const struct question *q, struct hooks_call *call, const char *why)
{
	call->by = link->plugin->name;
	call->denial = plugin_call.denial;
	plugin_metrics_denied(link->plugin);
	if (call->denial.text)
		return;
	snprintf(plugin_call.denial_text, sizeof(plugin_call.denial_text), "refused by plugin %s%s%s",
		 link->plugin->name, *why ? ": " : "", why);
	call->denial = (struct policy_denial){ .code = q->code, .text = plugin_call.denial_text };
}

/* What went wrong decides nothing: on_error does. True to go on. */
static bool forgive(const struct link *link, const struct question *q, struct hooks_call *call, enum plugin_error error,
		    const char *why)
{
	plugin_metrics_failed(link->plugin, q->links->hook, error);
	log_limited(LOG_WARN, "plugin %s: %s: %s; on_error = %s", link->plugin->name, q->name, why,
		    link->plugin->denies ? "deny" : "pass");
	if (!link->plugin->denies)
		return true;
	plugin_call.denial.text = NULL; /* it may have been set before the error */
	deny(link, q, call, "it failed");
	return false;
}

/* A hook that may decide. */
static void begin(const struct link *link, struct worker *worker, uint64_t resumed)
{
	plugin_call.instance = link->plugin;
	plugin_call.worker = worker;
	plugin_call.may_hold = true;
	plugin_call.ticket = 0;
	plugin_call.resumed = resumed;
	plugin_call.has_route = false;
	plugin_call.denial.text = NULL;
	plugin_call.error[0] = '\0';
}

/* What hooks that are told find there, too. */
static void end(void)
{
	plugin_call.instance = NULL;
	plugin_call.may_hold = false;
	plugin_call.ticket = 0;
	plugin_call.resumed = 0;
}

/* A hook that is told: end() has left the rest as it should be. */
static inline void begin_told(const struct link *link, struct worker *worker)
{
	plugin_call.instance = link->plugin;
	plugin_call.worker = worker;
}

static enum hooks_result ask(struct plugin_chain *chain, const struct question *q, struct hooks_call *call)
{
	struct worker *worker = chain->hooks.worker;
	enum hooks_result result = HOOKS_GO_ON;
	bool goes_on = true;

	for (; goes_on && call->at < q->links->count; call->at++) {
		struct link *link = &q->links->items[call->at];
		const uint64_t resumed = call->ticket;
		int32_t verdict;

		call->ticket = 0;
		if (unlikely(call->is_timed_out)) {
			call->is_timed_out = false;
			plugin_call.worker = worker;
			plugin_call.instance = link->plugin;
			goes_on = forgive(link, q, call, PLUGIN_ERROR_HOLD, "what it held was not resumed in time");
			result = goes_on ? HOOKS_GO_ON : HOOKS_DENIED;
			continue;
		}
		begin(link, worker, resumed);
		verdict = q->invoke(link, q->arg);
		if (unlikely(plugin_call.ticket && verdict != CQLFERRY_HOLD))
			hold_drop(worker, plugin_call.ticket);
		switch (verdict) {
		case CQLFERRY_NEXT:
			continue;
		case CQLFERRY_DONE:
			goes_on = false;
			continue;
		case CQLFERRY_DENY:
			deny(link, q, call, "");
			result = HOOKS_DENIED;
			goes_on = false;
			continue;
		case CQLFERRY_HOLD:
			if (plugin_call.ticket) {
				call->ticket = plugin_call.ticket;
				call->by = link->plugin->name;
				result = HOOKS_HELD;
				goto out;
			}
			goes_on = forgive(link, q, call, PLUGIN_ERROR_VERDICT,
					  "it returned HOLD without a ticket of hold()");
			break;
		case CQLFERRY_ERROR:
			goes_on = forgive(link, q, call, PLUGIN_ERROR_SAID,
					  *plugin_call.error ? plugin_call.error : "an error without a text");
			break;
		default:
			goes_on =
				forgive(link, q, call, PLUGIN_ERROR_VERDICT, "it returned a verdict that there is not");
			break;
		}
		result = goes_on ? HOOKS_GO_ON : HOOKS_DENIED;
	}
out:
	end();
	return result;
}

static int32_t invoke_connect(struct link *link, void *arg)
{
	const uint64_t start = start_rare(link);
	const int32_t verdict = link->plugin->plugin.on_connect(link->self, arg);

	end_rare(link, start);
	return verdict;
}

static enum hooks_result on_connect(struct hooks *h, struct client *c, struct hooks_call *call)
{
	struct plugin_chain *chain = chain_of(h);
	const struct question q = { "on_connect", &chain->connect, invoke_connect, c, CQL_ERR_UNAUTHORIZED };

	return ask(chain, &q, call);
}

struct login_arguments {
	struct client *client;
	struct hooks_login *login;
};

static int32_t invoke_credentials(struct link *link, void *arg)
{
	struct login_arguments *a = arg;
	const bool asked_before = a->login->asks;
	const uint64_t start = start_rare(link);
	const int32_t verdict = link->plugin->plugin.on_credentials(link->self, (struct cqlferry_client *)a->client,
								    (struct cqlferry_login *)a->login);

	end_rare(link, start);
	return plugin_login_ended(a->login, asked_before, verdict);
}

static enum hooks_result on_credentials(struct hooks *h, struct client *c, struct hooks_login *login,
					struct hooks_call *call)
{
	struct plugin_chain *chain = chain_of(h);
	struct login_arguments arg = { c, login };
	const struct question q = { "on_credentials", &chain->credentials, invoke_credentials, &arg,
				    CQL_ERR_BAD_CREDENTIALS };

	return ask(chain, &q, call);
}

static int32_t invoke_request(struct link *link, void *arg)
{
	struct hooks_request *rq = arg;
	uint64_t start;
	int32_t verdict;

	if (!(link->kinds >> rq->kind & 1))
		return CQLFERRY_NEXT;
	start = start_frequent(link);
	verdict = link->plugin->plugin.on_request(link->self, (struct cqlferry_request *)rq);
	end_frequent(link, start);
	if (verdict != CQLFERRY_DONE || !plugin_call.has_route || rq->opcode == OP_PREPARE)
		return verdict;
	rq->route = plugin_route_get(link->plugin, plugin_call.route, rq);
	rq->routed_by = link->plugin->name;
	return rq->route ? CQLFERRY_DONE : CQLFERRY_ERROR;
}

static enum hooks_result on_request(struct hooks *h, struct hooks_request *rq, struct hooks_call *call)
{
	struct plugin_chain *chain = chain_of(h);
	const struct question q = { "on_request", &chain->request, invoke_request, rq, CQL_ERR_UNAUTHORIZED };

	return ask(chain, &q, call);
}

/* ---- hooks that are told ---- */

static void on_login(struct hooks *h, struct client *c, const struct hooks_login_result *r)
{
	struct plugin_chain *chain = chain_of(h);
	const struct cqlferry_login_result result = {
		.size = sizeof(result),
		.outcome = (uint32_t)r->outcome,
		.cluster = r->cluster,
		.error_code = r->error_code,
		.duration_ns = r->duration_ns,
		.user = { r->user.p, r->user.len },
		.error = { r->error.p, r->error.len },
	};

	for (unsigned i = 0; i < chain->login.count; i++) {
		struct link *link = &chain->login.items[i];
		uint64_t start;

		begin_told(link, h->worker);
		start = start_rare(link);
		link->plugin->plugin.on_login(link->self, (struct cqlferry_client *)c, &result);
		end_rare(link, start);
	}
	plugin_call.instance = NULL;
}

static void on_response(struct hooks *h, struct hooks_request *rq)
{
	struct plugin_chain *chain = chain_of(h);
	struct cqlferry_response response;

	plugin_request_describe(rq, &response);
	for (unsigned i = 0; i < chain->response.count; i++) {
		struct link *link = &chain->response.items[i];
		uint64_t start;

		if (!(link->kinds >> rq->kind & 1))
			continue;
		begin_told(link, h->worker);
		start = start_frequent(link);
		link->plugin->plugin.on_response(link->self, (struct cqlferry_request *)rq, &response);
		end_frequent(link, start);
	}
	plugin_call.instance = NULL;
}

static void on_disconnect(struct hooks *h, struct client *c)
{
	struct plugin_chain *chain = chain_of(h);
	const struct hooks_call *connect = &c->hooks->call;

	for (unsigned i = 0; i < chain->disconnect.count; i++) {
		struct link *link = &chain->disconnect.items[i];
		uint64_t start;
		const bool holds = link->connect == connect->at && connect->ticket != 0;

		/* Another plugin has denied the client before this one was asked. */
		if (!c->hooks->is_accepted && link->connect != NO_PLACE && link->connect >= connect->at && !holds)
			continue;
		begin_told(link, h->worker);
		start = start_rare(link);
		link->plugin->plugin.on_disconnect(link->self, (struct cqlferry_client *)c);
		end_rare(link, start);
	}
	plugin_call.instance = NULL;
}

/* ---- life ---- */

/* What watch() has said, which main does not change while a worker reads it (plugin_set.h). */
static uint8_t take_kinds(struct links *links, unsigned which)
{
	uint32_t all = 0;

	for (unsigned i = 0; i < links->count; i++) {
		links->items[i].kinds = links->items[i].plugin->watched[which];
		all |= links->items[i].kinds;
	}
	return (uint8_t)all;
}

static void note_kinds(struct plugin_chain *chain)
{
	chain->hooks.request_kinds = take_kinds(&chain->request, 0);
	chain->hooks.response_kinds = take_kinds(&chain->response, 1);
}

static void on_reload(struct hooks *h)
{
	struct plugin_chain *chain = chain_of(h);

	for (unsigned i = 0; i < chain->set->count; i++) {
		struct plugin_instance *p = chain->set->items[i];
		const struct link link = { .plugin = p, .self = p->workers[h->worker->index].self };

		if (!p->plugin.worker_reload)
			continue;
		begin_told(&link, h->worker);
		p->plugin.worker_reload(link.self);
	}
	plugin_call.instance = NULL;
	note_kinds(chain);
}

static void on_free(struct hooks *h)
{
	struct plugin_chain *chain = chain_of(h);

	plugin_scratch_free(chain->scratch);
	free(chain);
}

static const struct hooks_ops chain_ops = {
	.connect = on_connect,
	.credentials = on_credentials,
	.login = on_login,
	.request = on_request,
	.response = on_response,
	.disconnect = on_disconnect,
	.reload = on_reload,
	.free = on_free,
};

static void add(struct links *links, bool has_hook, struct plugin_instance *p, unsigned worker)
{
	if (has_hook)
		links->items[links->count++] =
			(struct link){ .plugin = p, .self = p->workers[worker].self, .connect = NO_PLACE };
}

struct hooks *plugin_chain_new(struct plugin_set *set, struct worker *worker)
{
	struct plugin_chain *chain = xcalloc(1, sizeof(*chain));

	chain->hooks.ops = &chain_ops;
	chain->hooks.worker = worker;
	chain->hooks.number = worker->index;
	chain->hooks.number_step = worker->proxy->settings->workers;
	chain->set = set;
	chain->scratch = plugin_scratch_new();
	chain->connect.hook = PLUGIN_CONNECT;
	chain->credentials.hook = PLUGIN_CREDENTIALS;
	chain->login.hook = PLUGIN_LOGIN;
	chain->request.hook = PLUGIN_REQUEST;
	chain->response.hook = PLUGIN_RESPONSE;
	chain->disconnect.hook = PLUGIN_DISCONNECT;
	for (unsigned i = 0; i < set->count; i++) {
		struct plugin_instance *p = set->items[i];
		const struct cqlferry_plugin *f = &p->plugin;

		add(&chain->connect, f->on_connect != NULL, p, worker->index);
		add(&chain->credentials, f->on_credentials != NULL, p, worker->index);
		add(&chain->login, f->on_login != NULL, p, worker->index);
		add(&chain->request, f->on_request != NULL, p, worker->index);
		add(&chain->response, f->on_response != NULL, p, worker->index);
		add(&chain->disconnect, f->on_disconnect != NULL, p, worker->index);
		if (f->on_disconnect && f->on_connect)
			chain->disconnect.items[chain->disconnect.count - 1].connect = chain->connect.count - 1;
		chain->hooks.may_route |= f->on_request && (f->flags & CQLFERRY_ROUTES);
	}
	chain->hooks.has_connect = chain->connect.count > 0;
	chain->hooks.has_credentials = chain->credentials.count > 0;
	chain->hooks.has_login = chain->login.count > 0;
	chain->hooks.has_disconnect = chain->disconnect.count > 0;
	note_kinds(chain);
	return &chain->hooks;
}

void plugin_chain_tallies(struct hooks *h,
			  void (*each)(void *arg, struct plugin_instance *p, enum plugin_hook hook,
				       const struct plugin_tally *tally),
			  void *arg)
{
	const struct plugin_chain *chain = chain_of(h);
	const struct links *const all[] = { &chain->connect, &chain->credentials, &chain->login,
					    &chain->request, &chain->response,    &chain->disconnect };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		for (unsigned k = 0; k < all[i]->count; k++)
			each(arg, all[i]->items[k].plugin, all[i]->hook, &all[i]->items[k].tally);
	}
}
