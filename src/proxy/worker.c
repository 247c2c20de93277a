/* worker.c - see worker.h */
#include "proxy/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/amend.h"
#include "proxy/bulk.h"
#include "proxy/client.h"
#include "proxy/contexts.h"
#include "proxy/extra.h"
#include "proxy/handshake.h"
#include "proxy/handshake_dedicated.h"
#include "proxy/hooks.h"
#include "proxy/idle.h"
#include "proxy/local_wait.h"
#include "proxy/mirror.h"
#include "proxy/mirror_link.h"
#include "proxy/notice.h"
#include "proxy/policy.h"
#include "proxy/pool.h"
#include "proxy/repair.h"
#include "proxy/request.h"
#include "proxy/upload.h"

/* See client_drain(): more than a round trip to any driver that is near enough to be fast. */
#define LAST_CALL_MS 100
/* Requests kept for reuse: what 64 connections with 64 requests in flight need, about 2 MiB. */
#define MAX_FREE_REQUESTS 4096

struct worker_message {
	struct loop_message message;
	struct worker *worker;
	struct newcomer newcomer;
	enum cluster_id cluster; /* whose topology has changed, or whose node it is about: */
	struct net_address address;
	bool is_up;
	struct notice *notice;
};

static void handshake_timed_out(struct timeout_item *item)
{
	handshake_on_timeout(container_of(item, struct client, handshake_timeout));
}

static bool make_tls(struct worker *w, const struct settings *s, struct tls_context *cluster_tls[CLUSTER_COUNT],
		     struct tls_context *listener_tls[SETTINGS_MAX_LISTENERS], char *error, size_t error_size)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!contexts_new_cluster(&s->cluster[i], &cluster_tls[i], error, error_size))
			return false;
		tls_context_count(cluster_tls[i], &w->tls_stats[i]);
	}
	for (unsigned i = 0; i < s->listener_count; i++) {
		if (!contexts_new_listener(&s->listeners[i], &listener_tls[i], error, error_size))
			return false;
		tls_context_count(listener_tls[i], &w->tls_stats[CLUSTER_COUNT]);
	}
	return true;
}

static void free_tls(struct tls_context *cluster_tls[CLUSTER_COUNT],
		     struct tls_context *listener_tls[SETTINGS_MAX_LISTENERS])
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		tls_context_free(cluster_tls[i]);
	for (unsigned i = 0; i < SETTINGS_MAX_LISTENERS; i++)
		tls_context_free(listener_tls[i]);
}

/* The settings count from here on. */
static void use_settings(struct worker *w, const struct settings *s, uint32_t generation)
{
	w->settings = s;
	w->amends = amends_of(s);
	prepared_front_set(&w->prepared, s, w->policy, generation);
}

/* The scripts that these settings name, NULL without any. */
static bool make_policy(struct proxy *proxy, const struct settings *s, unsigned worker, struct policy_cache **out,
			char *error, size_t error_size)
{
	struct policy_engine *engine = NULL;

	*out = NULL;
	if (proxy->engine_new && !proxy->engine_new(proxy, s, worker, &engine, error, error_size))
		return false;
	if (engine)
		*out = policy_cache_new(engine, &s->rules);
	return true;
}

static void policy_start(struct worker *w)
{
	struct policy_engine *engine = policy_cache_engine(w->policy);

	w->policy_runs = true;
	if (engine)
		engine->ops->start(engine, &w->loop);
}

static void policy_stop(struct worker *w)
{
	struct policy_engine *engine = policy_cache_engine(w->policy);

	if (engine && w->policy_runs)
		engine->ops->stop(engine);
	w->policy_runs = false;
}

/* Those that the settings give; with new ones the queues get new durations here. */
static void set_durations(struct worker *w)
{
	const struct settings *s = w->settings;
	const struct {
		struct timeout_queue *queue;
		uint32_t ms;
	} durations[] = {
		{ &w->loop.write_timeouts, s->client_write_timeout_ms },
		{ &w->extra_timeouts, s->request_timeout_ms },
		{ &w->request_timeouts, s->request_timeout_ms },
		{ &w->repair_timeouts, s->request_timeout_ms },
		{ &w->bulk_idle_timeouts, s->heartbeat_interval_ms },
		{ &w->mirror_timeouts, s->request_timeout_ms },
		{ &w->mirror_login_timeouts, s->async_handshake_timeout_ms },
		{ &w->upload_timeouts, s->request_timeout_ms },
		{ &w->handshake_timeouts, s->handshake_timeout_ms },
		{ &w->lane_watches, lane_watch_ms(s) },
		{ &w->connect_timeouts[CLUSTER_ORIGIN], s->cluster[CLUSTER_ORIGIN].connection_timeout_ms },
		{ &w->connect_timeouts[CLUSTER_TARGET], s->cluster[CLUSTER_TARGET].connection_timeout_ms },
	};

	for (unsigned i = 0; i < ARRAY_LEN(durations); i++)
		timeout_queue_set_duration(&w->loop, durations[i].queue, durations[i].ms);
}

bool worker_init(struct worker *w, struct proxy *proxy, unsigned index, char *error, size_t error_size)
{
	const struct settings *s = proxy->settings;

	memset(w, 0, sizeof(*w));
	w->proxy = proxy;
	w->settings = s;
	w->index = index;
	list_init(&w->clients);
	list_init(&w->repairs);
	list_init(&w->schema_waiters);
	loop_poll_init(&w->schema_poll, local_wait_poll);
	if (!loop_init(&w->loop, s->client_write_timeout_ms)) {
		snprintf(error, error_size, "worker %u: no event loop can be made", index);
		return false;
	}
	w->loop.owner = w;
	slab_init(&w->requests, sizeof(struct request), MAX_FREE_REQUESTS);
	slab_init(&w->mirrored, mirror_object_size(), MAX_FREE_REQUESTS);
	loop_watch_slab(&w->loop, &w->requests);
	loop_watch_slab(&w->loop, &w->mirrored);
	/* Before those of the requests that wait for such a connection: they are then told why. */
	timeout_queue_init(&w->loop, &w->extra_timeouts, s->request_timeout_ms, extra_on_timeout);
	timeout_queue_init(&w->loop, &w->request_timeouts, s->request_timeout_ms, request_on_timeout);
	timeout_queue_init(&w->loop, &w->repair_timeouts, s->request_timeout_ms, repair_on_timeout);
	timeout_queue_init(&w->loop, &w->bulk_idle_timeouts, s->heartbeat_interval_ms, bulk_on_idle);
	timeout_queue_init(&w->loop, &w->mirror_timeouts, s->request_timeout_ms, mirror_on_timeout);
	timeout_queue_init(&w->loop, &w->mirror_login_timeouts, s->async_handshake_timeout_ms, mirror_link_on_timeout);
	timeout_queue_init(&w->loop, &w->upload_timeouts, s->request_timeout_ms, upload_on_timeout);
	timeout_queue_init(&w->loop, &w->last_calls, LAST_CALL_MS, client_on_last_call);
	timeout_queue_init(&w->loop, &w->handshake_timeouts, s->handshake_timeout_ms, handshake_timed_out);
	timeout_queue_init(&w->loop, &w->refusal_timeouts, ADMISSION_LAST_WORDS_MS, admission_on_timeout);
	timeout_queue_init(&w->loop, &w->lane_watches, lane_watch_ms(s), lane_on_watch);
	list_init(&w->credentials);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		timeout_queue_init(&w->loop, &w->connect_timeouts[i], s->cluster[i].connection_timeout_ms,
				   handshake_dedicated_connect_timed_out);
		list_init(&w->pools[i]);
		backends_init(&w->backends[i], w, (enum cluster_id)i);
	}
	prepared_front_init(&w->prepared, &proxy->prepared);
	idle_init(w);
	holds_init(&w->holds);
	functions_init(&w->functions, index);
	if (!make_policy(proxy, s, index, &w->policy, error, error_size) ||
	    (proxy->hooks_new && !proxy->hooks_new(proxy, w, &w->hooks, error, error_size)))
		return false;
	use_settings(w, s, 1);
	return make_tls(w, s, w->cluster_tls, w->listener_tls, error, error_size);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", w->index);
	pthread_setname_np(pthread_self(), name);
	policy_start(w);
	loop_run(&w->loop);
	return NULL;
}

/* Signals are the main thread's. */
bool worker_start(struct worker *w)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	w->is_running = pthread_create(&w->thread, NULL, worker_main, w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return w->is_running;
}

static struct worker_message *message_new(struct worker *w, void (*run)(struct loop_message *))
{
	struct worker_message *m = xcalloc(1, sizeof(*m));

	m->worker = w;
	m->message.run = run;
	return m;
}

static void run_stop(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);
	struct worker *w = m->worker;

	free(m);
	w->on_drained = NULL; /* nobody waits for that any more */
	while (!list_is_empty(&w->clients))
		client_close(list_entry(w->clients.next, struct client, node), CLOSE_SHUTDOWN, "the proxy ends now");
	repairs_drop(w);
	pools_drop(w);
	policy_stop(w);
	loop_stop(&w->loop);
}

void worker_stop(struct worker *w)
{
	if (w->is_running) {
		loop_post(&w->loop, &message_new(w, run_stop)->message);
		pthread_join(w->thread, NULL);
		w->is_running = false;
	}
}

void worker_free(struct worker *w)
{
	w->is_draining = true;
	loop_run_messages(&w->loop);
	free_tls(w->cluster_tls, w->listener_tls);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		backends_fini(&w->backends[i]);
	for (unsigned i = 0; i < w->keyspaces.count; i++)
		free(w->keyspaces.items[i]);
	free(w->keyspaces.items);
	prepared_front_fini(&w->prepared);
	policy_cache_free(w->policy);
	if (w->hooks)
		w->hooks->ops->free(w->hooks);
	holds_fini(&w->holds);
	idle_fini(w);
	slab_fini(&w->requests);
	slab_fini(&w->mirrored);
	loop_fini(&w->loop);
}

static void run_give_client(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);
	struct worker *w = m->worker;

	if (w->is_draining) {
		admission_drop(w->proxy, &m->newcomer);
		if (m->newcomer.refusal == LIMIT_NONE)
			gate_leave(&w->proxy->gate, w->settings->max_handshakes);
		worker_client_gone(w, false);
	} else {
		client_accept(w, &m->newcomer);
	}
	free(m);
}

struct worker *worker_least_loaded(struct worker *workers, unsigned count)
{
	struct worker *best = &workers[0];

	for (unsigned i = 1; i < count; i++) {
		if (atomic_load_explicit(&workers[i].load, memory_order_relaxed) <
		    atomic_load_explicit(&best->load, memory_order_relaxed))
			best = &workers[i];
	}
	return best;
}

void worker_give_client(struct worker *w, const struct newcomer *newcomer)
{
	struct worker_message *m = message_new(w, run_give_client);

	m->newcomer = *newcomer;
	atomic_fetch_add_explicit(&w->load, WORKER_LOAD_CLIENT, memory_order_relaxed);
	loop_post(&w->loop, &m->message);
}

static void tell_if_drained(struct worker *w)
{
	if (w->is_draining && w->on_drained && list_is_empty(&w->clients)) {
		void (*tell)(struct worker *, void *) = w->on_drained;

		w->on_drained = NULL;
		tell(w, w->on_drained_arg);
	}
}

/*
 * A driver opens its connection for events first and those for requests then. If each counted as one, two workers would
 * take turns, and one of them would get the connections for requests of every driver.
 */
void worker_client_listens(struct worker *w)
{
	atomic_fetch_sub_explicit(&w->load, WORKER_LOAD_CLIENT - WORKER_LOAD_LISTENER, memory_order_relaxed);
}

void worker_client_gone(struct worker *w, bool listens)
{
	atomic_fetch_sub_explicit(&w->load, listens ? WORKER_LOAD_LISTENER : WORKER_LOAD_CLIENT, memory_order_relaxed);
	tell_if_drained(w);
}

/* ZDM Proxy tells drivers nothing about its instances. */
static void tell_of_end(struct client *c)
{
	if (c->worker->settings->profile != PROFILE_ZDM)
		notice_send_down(c);
}

static void run_drain(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);
	struct worker *w = m->worker;

	free(m);
	w->is_draining = true;
	list_for_each_safe(node, tmp, &w->clients) {
		struct client *c = list_entry(node, struct client, node);

		tell_of_end(c);
		if (c->state == CLIENT_READY)
			client_drain(c, CLOSE_SHUTDOWN, "the proxy stops");
		else if (c->state < CLIENT_READY)
			handshake_on_shutdown(c);
	}
	tell_if_drained(w);
}

static void run_announce_end(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);

	list_for_each_safe(node, tmp, &m->worker->clients)
		tell_of_end(list_entry(node, struct client, node));
	free(m);
}

void worker_announce_end(struct worker *w)
{
	loop_post(&w->loop, &message_new(w, run_announce_end)->message);
}

static void run_topology_changed(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);
	struct worker *w = m->worker;
	const enum cluster_id id = m->cluster;
	struct topology *t = cluster_topology(&w->proxy->clusters[id]);

	free(m);
	if (!t)
		return;
	/* Where nobody can join a pool its nodes are of no interest, and get no counters before a client is there. */
	if (w->settings->backend_connections == BACKEND_POOLED)
		pools_update(w, id);
	/* Without host assignment all connections go to the contact point, whoever stands behind it. */
	if (!w->settings->cluster[id].enable_host_assignment) {
		topology_unref(t);
		return;
	}
	list_for_each_safe(node, tmp, &w->clients) {
		struct client *c = list_entry(node, struct client, node);
		const struct server *s = c->server[id];

		if (c->state == CLIENT_READY && s && !topology_has_node(t, &s->address))
			client_drain(c, CLOSE_NODE_REMOVED, "%s at %s", cluster_id_name(id), s->name);
	}
	topology_unref(t);
}

static void run_host_status(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);

	backends_note_status(&m->worker->backends[m->cluster], &m->address, m->is_up);
	free(m);
}

void worker_host_status(struct worker *w, enum cluster_id cluster, const struct net_address *address, bool is_up)
{
	struct worker_message *m = message_new(w, run_host_status);

	m->cluster = cluster;
	m->address = *address;
	m->is_up = is_up;
	loop_post(&w->loop, &m->message);
}

static void run_shed(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);

	pools_shed(m->worker, m->cluster, &m->address);
	free(m);
}

void worker_shed(struct worker *w, enum cluster_id cluster, const struct net_address *address)
{
	for (unsigned i = 0; i < w->settings->workers; i++) {
		struct worker_message *m = message_new(&w->proxy->workers[i], run_shed);

		m->cluster = cluster;
		m->address = *address;
		loop_post(&m->worker->loop, &m->message);
	}
}

const char *worker_keyspace(struct worker *w, const char *name)
{
	struct string_list *l = &w->keyspaces;

	for (unsigned i = 0; i < l->count; i++) {
		if (strcmp(l->items[i], name) == 0)
			return l->items[i];
	}
	l->items = xrealloc(l->items, (l->count + 1) * sizeof(*l->items));
	l->items[l->count] = xstrdup(name);
	return l->items[l->count++];
}

void worker_topology_changed(struct worker *w, enum cluster_id cluster)
{
	struct worker_message *m = message_new(w, run_topology_changed);

	m->cluster = cluster;
	loop_post(&w->loop, &m->message);
}

static void run_notify(struct loop_message *message)
{
	struct worker_message *m = container_of(message, struct worker_message, message);

	list_for_each_safe(node, tmp, &m->worker->clients)
		notice_send(m->notice, list_entry(node, struct client, node));
	notice_unref(m->notice);
	free(m);
}

void worker_notify(struct worker *w, struct notice *notice)
{
	struct worker_message *m = message_new(w, run_notify);

	m->notice = notice_ref(notice);
	loop_post(&w->loop, &m->message);
}

void worker_drain(struct worker *w)
{
	loop_post(&w->loop, &message_new(w, run_drain)->message);
}

/* ---- other settings ---- */

bool worker_change_init(struct worker_change *change, struct worker *w, const struct settings *settings,
			uint32_t generation, char *error, size_t error_size)
{
	*change = (struct worker_change){ .worker = w, .settings = settings, .generation = generation };
	return make_policy(w->proxy, settings, w->index, &change->policy, error, error_size) &&
	       make_tls(w, settings, change->cluster_tls, change->listener_tls, error, error_size);
}

void worker_change_fini(struct worker_change *change)
{
	free_tls(change->cluster_tls, change->listener_tls);
	policy_cache_free(change->policy);
	change->policy = NULL;
}

static void swap_policy(struct worker *w, struct worker_change *change)
{
	struct policy_cache *old = w->policy;
	const bool runs = w->policy_runs;

	policy_stop(w);
	w->policy = change->policy;
	change->policy = old;
	/* Not in a worker that has been stopped meanwhile: nothing would stop this engine's timers. */
	if (runs)
		policy_start(w);
}

static void swap_tls(struct tls_context **a, struct tls_context **b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct tls_context *old = a[i];

		a[i] = b[i];
		b[i] = old;
	}
}

static bool same_instances(const struct settings *a, const struct settings *b)
{
	const struct string_list *x = &a->topology_addresses, *y = &b->topology_addresses;

	for (unsigned i = 0; i < MIN(x->count, y->count); i++) {
		if (strcmp(x->items[i], y->items[i]) != 0)
			return false;
	}
	return x->count == y->count;
}

/* Messages run between the turns of everything else, so nobody holds a piece of the old settings. */
static void run_change(struct loop_message *message)
{
	struct worker_change *change = container_of(message, struct worker_change, message);
	struct worker *w = change->worker;
	const struct settings *before = w->settings;
	const bool tells_of_instances = change->settings->profile != PROFILE_ZDM &&
					!same_instances(before, change->settings);

	swap_tls(w->cluster_tls, change->cluster_tls, CLUSTER_COUNT);
	swap_tls(w->listener_tls, change->listener_tls, SETTINGS_MAX_LISTENERS);
	swap_policy(w, change);
	use_settings(w, change->settings, change->generation);
	if (w->hooks)
		w->hooks->ops->reload(w->hooks);
	set_durations(w);
	idle_change(w, before);
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		pools_settings_changed(w, (enum cluster_id)i, before);
	list_for_each_safe(node, tmp, &w->clients) {
		struct client *c = list_entry(node, struct client, node);

		mirror_link_follow(c);
		if (tells_of_instances)
			notice_send_instances(c, before, w->settings);
	}
	change->on_done(change);
}

void worker_change_post(struct worker_change *change)
{
	change->message.run = run_change;
	loop_post(&change->worker->loop, &change->message);
}
