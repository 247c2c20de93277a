/*
 * load.h - a run of cqlbench: clients and fake clusters live in one thread and one epoll set, so that nothing competes
 * with the proxy but this program.
 *
 *   clients --> proxy --> origin, target
 *      \______ this process ______/
 *
 * The clients connect one after the other; then comes a warm-up, then the window that is measured, then what is still in
 * flight is awaited, so that in the end everything can be checked: each request has one answer and has arrived at the
 * clusters that it is for, once.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "arguments.h"
#include "fake_node.h"
#include "histogram.h"
#include "options.h"
#include "pace.h"
#include "proc_stat.h"
#include "template.h"

enum phase {
	PHASE_CONNECTS,
	PHASE_STORES, /* in clusters that are not ours, what will be read */
	PHASE_WARMS_UP,
	PHASE_MEASURES,
	PHASE_DRAINS,
	PHASE_LISTENS, /* whether anything comes that nobody has asked for */
	PHASE_DONE,
};

/* Of the open loop. */
struct schedule {
	uint64_t begin_ns;
	uint64_t count; /* requests that were due since then */
	uint64_t next_ns;
	unsigned cursor; /* whose turn it is */
};

/* What was measured. */
struct window {
	uint64_t begin_ns; /* UINT64_MAX before it begins */
	uint64_t end_ns;   /* UINT64_MAX before it ends */
	struct histogram latency;
	uint64_t answers; /* that came in it; those in `latency`, at a rate, are to what was due in it */
	uint64_t errors;  /* answers among those of `latency` */
	uint64_t dropped;
	uint64_t reconnects;
	pid_t pid; /* the proxy's; 0: not asked for */
	struct proc_cpu cpu_begin, cpu_end;
	struct proc_facts facts_begin, facts_end;
	bool has_own_peak; /* the peak in facts_end is that of the window, not that since the proxy began */
	struct proc_machine machine_begin, machine_end;
	struct proc_spent own_begin, own_end; /* this process */
};

struct load {
	const struct options *options;
	const struct pace *pace;
	struct peer_set to_proxy; /* clients */
	struct peer_set to_nodes; /* the nodes' connections */
	struct fake_node origin, target;
	char read_mark;                                /* of the cluster that reads come from */
	struct net_address proxies[ARGUMENTS_PROXIES]; /* clients take turns */
	unsigned proxy_count;
	struct ssl_ctx_st *tls; /* of the clients; NULL: they have none */
	struct template templates[REQUEST_KINDS];
	bool is_prepared[ARGUMENTS_PROXIES]; /* the templates are made, and this proxy knows their statements */

	struct client *clients;
	unsigned connected; /* clients whose first connecting has begun */
	unsigned ready;
	struct client *leaving; /* are closed when nothing is in flight, and connect again */
	struct client *refused; /* connect again at retry_ns */
	uint64_t retry_ns;
	uint64_t churn_begin_ns;
	uint64_t churned;
	unsigned churn_cursor;

	enum phase phase;
	uint64_t until_ns; /* the end of a phase that has a time */
	uint64_t limit;    /* how far `offered` may go */
	uint64_t offered;  /* requests that were due, sent or dropped */
	uint64_t started, answered, writes, errors;
	struct schedule schedule;
	struct window window;
	uint64_t now_ns;      /* when this turn of the loop began */
	uint64_t progress_ns; /* when something came from the proxy, or nothing was to come */
	char refusal[128];    /* why the last connecting failed; empty: none has */
};

/* Listens as the clusters that are ours. The options must live as long as the run. */
void load_init(struct load *l, const struct options *options);
/* Returns when the last request has been answered, and nothing more has come. */
void load_run(struct load *l);
/* Ends the program when a request is missing at a cluster, or was there twice. */
void load_check_clusters(const struct load *l);

/* For clients and paces. */
void load_on_ready(struct load *l, struct client *c);
void load_on_refused(struct load *l, struct client *c, const char *why);
void load_on_answer(struct load *l, struct client *c, uint64_t started_ns, bool is_error);
void load_on_drop(struct load *l, uint64_t due_ns);

#endif
