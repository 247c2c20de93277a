/* load.c - see load.h */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "arguments.h"

#define MAX_EVENTS 512
/* Clients that log in at a time. */
#define CONNECTING_MAX 16
/* While the proxy is not there yet. */
#define RETRY_NS 50000000ull
#define SECOND_NS 1000000000ull
/* After the last answer: a second answer to a request would come by then, if it was not taken for another's before. */
#define LISTEN_NS 5000000ull

static bool is_measured(const struct load *l, uint64_t at_ns)
{
	return at_ns >= l->window.begin_ns && at_ns < l->window.end_ns;
}

/* ---- what clients and paces tell ---- */

void load_on_ready(struct load *l, struct client *c)
{
	const uint64_t now = l->to_proxy.read_ns;

	l->ready++;
	l->progress_ns = now;
	if (l->phase != PHASE_CONNECTS) {
		l->window.reconnects += is_measured(l, now);
		l->pace->on_free(l, c, now);
	} else if (l->ready == l->options->connections) {
		fprintf(stderr, "cqlbench: %u clients are ready\n", l->ready);
	}
}

void load_on_refused(struct load *l, struct client *c, const char *why)
{
	c->next = l->refused;
	l->refused = c;
	snprintf(l->refusal, sizeof(l->refusal), "%s", why);
	l->retry_ns = clock_ns() + RETRY_NS;
}

void load_on_answer(struct load *l, struct client *c, uint64_t started_ns, bool is_error)
{
	const uint64_t now = l->to_proxy.read_ns;

	/* An answer that came twice would else be taken for that of the request which the first one made room for. */
	if (started_ns == now)
		die("an answer came before its request was sent");
	l->answered++;
	l->progress_ns = now;
	l->window.answers += is_measured(l, now);
	if (is_measured(l, l->pace->counts_from_due ? started_ns : now)) {
		histogram_add(&l->window.latency, now - started_ns);
		l->window.errors += is_error;
	}
	l->pace->on_free(l, c, now);
}

void load_on_drop(struct load *l, uint64_t due_ns)
{
	l->window.dropped += is_measured(l, due_ns);
}

/* ---- connections come and go ---- */

/* The proxy may not listen yet, and the first client of each prepares for all: these come one after the other. */
static unsigned connecting_max(const struct load *l)
{
	return l->ready < l->proxy_count || l->options->lockstep ? 1 : CONNECTING_MAX;
}

static void come_up(struct load *l, uint64_t now)
{
	if (l->refused && now >= l->retry_ns) {
		struct client *c = l->refused;

		l->refused = NULL;
		while (c) {
			struct client *next = c->next;

			client_connect(c);
			c = next;
		}
	}
	while (l->phase == PHASE_CONNECTS && l->connected < l->options->connections &&
	       l->connected - l->ready < connecting_max(l))
		client_connect(&l->clients[l->connected++]);
}

static uint64_t churn_due_ns(const struct load *l)
{
	if (l->options->churn == 0 || (l->phase != PHASE_WARMS_UP && l->phase != PHASE_MEASURES))
		return UINT64_MAX;
	return l->churn_begin_ns + (uint64_t)((double)(l->churned + 1) * 1e9 / l->options->churn);
}

/* The next client in turn gets no more requests. */
static void let_one_leave(struct load *l)
{
	for (unsigned i = 0; i < l->options->connections; i++) {
		struct client *c = &l->clients[l->churn_cursor];

		l->churn_cursor = (l->churn_cursor + 1) % l->options->connections;
		if (c->step != STEP_READY || c->leaves)
			continue;
		c->leaves = true;
		c->next = l->leaving;
		l->leaving = c;
		return;
	}
}

/* Not while its own frames are being handled: connecting makes the peer anew. */
static void reconnect_leaving(struct load *l)
{
	struct client **at = &l->leaving;

	while (*at) {
		struct client *c = *at;

		if (c->free_count < l->options->depth) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		l->ready--;
		client_close(c);
		client_connect(c);
	}
}

static void churn(struct load *l, uint64_t now)
{
	while (churn_due_ns(l) <= now) {
		l->churned++;
		let_one_leave(l);
	}
	if (l->leaving)
		reconnect_leaving(l);
}

/* ---- phases ---- */

static void read_proxy(const struct load *l, struct proc_cpu *cpu, struct proc_facts *facts)
{
	const pid_t pid = l->window.pid;
	const bool begins = cpu == &l->window.cpu_begin;

	/* What takes longer to read is read outside of the window. */
	if ((begins && !proc_read_facts(pid, facts)) || !proc_read_cpu(pid, cpu) ||
	    (!begins && !proc_read_facts(pid, facts)))
		die("--pid-file %s: process %d is not there", l->options->pid_file, (int)pid);
}

static void open_window(struct load *l)
{
	struct window *w = &l->window;

	if (l->options->pid_file) {
		errno = 0;
		w->pid = proc_read_pid(l->options->pid_file);
		if (w->pid <= 0 && errno != 0)
			die("--pid-file %s: %s", l->options->pid_file, strerror(errno));
		if (w->pid <= 0)
			die("--pid-file %s: there is no number in it", l->options->pid_file);
		w->has_own_peak = proc_reset_peak(w->pid);
		read_proxy(l, &w->cpu_begin, &w->facts_begin);
	}
	proc_read_machine(&w->machine_begin);
	w->own_begin = proc_own_cpu();
	w->begin_ns = l->now_ns = clock_ns();
}

static void close_window(struct load *l, uint64_t now)
{
	struct window *w = &l->window;

	w->end_ns = now;
	w->own_end = proc_own_cpu();
	proc_read_machine(&w->machine_end);
	if (w->pid > 0)
		read_proxy(l, &w->cpu_end, &w->facts_end);
}

static const struct pace *choose_pace(const struct options *o)
{
	if (o->idle_s > 0)
		return &pace_idle;
	if (o->lockstep)
		return &pace_lockstep;
	return o->rate > 0 ? &pace_open : &pace_closed;
}

static bool sends(const struct load *l)
{
	return l->phase == PHASE_STORES || l->phase == PHASE_WARMS_UP || l->phase == PHASE_MEASURES;
}

/* A phase of so many requests, or of so many seconds. */
static void begin_phase(struct load *l, enum phase phase, uint64_t requests, double seconds)
{
	const uint64_t now = l->now_ns;

	l->phase = phase;
	l->until_ns = requests ? UINT64_MAX : now + (uint64_t)(seconds * 1e9);
	l->limit = requests ? l->offered + requests : UINT64_MAX;
	l->pace->begin(l, now);
}

static bool all_is_answered(const struct load *l)
{
	return l->answered == l->started;
}

/* A phase of requests ends when all of them are answered; so does one of time when the next one counts requests. */
static bool phase_is_over(struct load *l, uint64_t now, bool has_to_drain)
{
	if (now >= l->until_ns) {
		if (!has_to_drain)
			return true;
		l->limit = l->offered;
	}
	return l->offered == l->limit && all_is_answered(l);
}

static void warm_up(struct load *l)
{
	l->pace = choose_pace(l->options);
	l->churn_begin_ns = l->now_ns;
	begin_phase(l, PHASE_WARMS_UP, l->options->warmup, l->options->warmup_seconds);
}

static void advance(struct load *l)
{
	const struct options *o = l->options;
	const uint64_t now = l->now_ns;

	switch (l->phase) {
	case PHASE_CONNECTS:
		if (l->ready < o->connections)
			return;
		if (o->keys > 0 && o->idle_s == 0) {
			l->pace = &pace_closed;
			begin_phase(l, PHASE_STORES, o->keys, 0);
		} else {
			warm_up(l);
		}
		return;
	case PHASE_STORES:
		if (phase_is_over(l, now, true))
			warm_up(l);
		return;
	case PHASE_WARMS_UP:
		if (!phase_is_over(l, now, o->requests > 0))
			return;
		open_window(l);
		begin_phase(l, PHASE_MEASURES, o->requests, o->idle_s > 0 ? o->idle_s : o->seconds);
		return;
	case PHASE_MEASURES:
		/* At a rate: what was due while this turn was late is part of the window, as everything before. */
		if (now >= l->until_ns)
			l->pace->turn(l, now);
		if (!phase_is_over(l, now, false))
			return;
		close_window(l, now);
		l->limit = l->offered;
		l->phase = PHASE_DRAINS;
		return;
	case PHASE_DRAINS:
		if (!all_is_answered(l))
			return;
		l->phase = PHASE_LISTENS;
		l->until_ns = now + LISTEN_NS;
		return;
	case PHASE_LISTENS:
		if (now >= l->until_ns)
			l->phase = PHASE_DONE;
		return;
	case PHASE_DONE:
		return;
	}
}

/* ---- the loop ---- */

/* Lock step: something that this round has sent has not arrived at the clusters. */
static bool nodes_wait(const struct load *l)
{
	uint64_t due = 0;

	if (!l->options->lockstep)
		return false;
	if (l->options->origin)
		due += l->started;
	if (l->options->target)
		due += l->writes;
	return l->origin.reads + l->origin.writes + l->target.reads + l->target.writes < due;
}

static void flush(struct load *l)
{
	peer_set_flush(&l->to_proxy);
	if (!nodes_wait(l))
		peer_set_flush(&l->to_nodes);
}

static uint64_t wake_ns(const struct load *l, uint64_t now)
{
	uint64_t wake = MIN(now + SECOND_NS / 4, l->pace->due_ns(l));

	if (sends(l) || l->phase == PHASE_LISTENS)
		wake = MIN(wake, l->until_ns);
	if (l->refused)
		wake = MIN(wake, l->retry_ns);
	wake = MIN(wake, churn_due_ns(l));
	return MAX(wake, now);
}

static void check_progress(struct load *l, uint64_t now)
{
	const struct options *o = l->options;

	if (all_is_answered(l) && l->ready == o->connections)
		l->progress_ns = now;
	if (now <= l->progress_ns + o->patience_s * SECOND_NS)
		return;
	if (!all_is_answered(l))
		die("no answer for %u s from the proxy at %s", o->patience_s, o->proxy);
	die("the proxy at %s does not come up for %u s%s%s", o->proxy, o->patience_s, *l->refusal ? ": " : "",
	    l->refusal);
}

static void wait_for_events(struct load *l)
{
	struct epoll_event events[MAX_EVENTS];
	const uint64_t now = clock_ns();
	const uint64_t ns = wake_ns(l, now) - now;
	const struct timespec timeout = { (time_t)(ns / SECOND_NS), (long)(ns % SECOND_NS) };
	const int n = epoll_pwait2(l->to_proxy.epoll_fd, events, MAX_EVENTS, &timeout, NULL);

	for (int i = 0; i < n; i++) {
		struct source *source = events[i].data.ptr;

		source->on_events(source, events[i].events);
	}
	check_progress(l, now);
}

void load_run(struct load *l)
{
	l->progress_ns = clock_ns();
	/* Else the kernel wakes us up to 50 us late, to spare wake-ups. */
	prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
	for (;;) {
		l->now_ns = clock_ns();
		come_up(l, l->now_ns);
		advance(l);
		if (l->phase == PHASE_DONE)
			return;
		if (sends(l))
			l->pace->turn(l, l->now_ns);
		churn(l, l->now_ns);
		flush(l);
		wait_for_events(l);
	}
}

/* ---- begin and end ---- */

static void listen_as(struct load *l, struct fake_node *node, char mark, const char *name, const char *where,
		      const struct delay *delay, double error_percent, struct ssl_ctx_st *tls)
{
	*node = (struct fake_node){
		.fd = -1,
		.mark = mark,
		.name = name,
		.set = &l->to_nodes,
		.max_version = (uint8_t)l->options->version,
		.value_len = l->options->value_len,
		.tls = tls,
		.user = l->options->user,
		.password = l->options->password,
		.delay_min_ns = delay->min_ns,
		.delay_max_ns = delay->max_ns,
		.error_share = (uint64_t)(error_percent / 100 * 0x1p32),
	};
	if (where)
		arguments_listen(node, where);
}

void load_init(struct load *l, const struct options *options)
{
	const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	const unsigned tls = options->tls;
	struct ssl_ctx_st *server = NULL;

	if (tls & (TLS_ORIGIN | TLS_TARGET))
		server = secure_context_server(options->cert, options->key);
	*l = (struct load){ .options = options, .pace = choose_pace(options) };
	l->window.begin_ns = l->window.end_ns = UINT64_MAX;
	peer_set_init(&l->to_proxy, epoll_fd);
	peer_set_init(&l->to_nodes, epoll_fd);
	l->proxy_count = arguments_proxies(options->proxy, l->proxies);
	if (tls & TLS_CLIENTS)
		l->tls = secure_context_client(options->ca);
	listen_as(l, &l->origin, 'o', "origin", options->origin, &options->origin_delay, options->origin_errors,
		  tls & TLS_ORIGIN ? server : NULL);
	listen_as(l, &l->target, 't', "target", options->target, &options->target_delay, options->target_errors,
		  tls & TLS_TARGET ? server : NULL);
	l->read_mark = options->origin ? l->origin.mark : options->target ? l->target.mark : MARK_WRITTEN;
	l->clients = xcalloc(options->connections, sizeof(*l->clients));
	for (unsigned i = 0; i < options->connections; i++)
		client_init(&l->clients[i], l);
}

static void check_count(const struct fake_node *node, const char *what, uint64_t got, uint64_t min, uint64_t max)
{
	if (got < min || got > max)
		die("%llu %s were sent for it, %s got %llu", (unsigned long long)min, what, node->name,
		    (unsigned long long)got);
}

void load_check_clusters(const struct load *l)
{
	const struct options *o = l->options;
	const uint64_t reads = l->started - l->writes;
	/* After an error a proxy may ask again. */
	const bool may_repeat = options_ask_for_errors(o);
	const uint64_t max_reads = may_repeat ? UINT64_MAX : reads;
	const uint64_t max_writes = may_repeat ? UINT64_MAX : l->writes;
	const bool target_reads = o->reads_to == READS_TO_BOTH || !o->origin;

	if (o->origin) {
		check_count(&l->origin, "reads", l->origin.reads, reads, max_reads);
		check_count(&l->origin, "writes", l->origin.writes, l->writes, max_writes);
	}
	if (o->target) {
		check_count(&l->target, "reads", l->target.reads, 0, target_reads ? max_reads : 0);
		check_count(&l->target, "writes", l->target.writes, l->writes, max_writes);
	}
}
