/*
 * plugin.h - a plugin's file, loaded and checked, and one instance of it for
 * each [plugin NAME] section. The interface is include/cqlferry/plugin.h.
 *
 *   plugin_file     the shared object: found, opened, its constant checked and copied (never unloaded)
 *   plugin_option   the rows of a file and the keys of a section become values
 *   plugin_set      all instances of the process: order, open and close, reload
 *   plugin_chain    struct hooks of a worker: goes through the instances in order (proxy/hooks.h)
 *   plugin_host     what plugins may call: struct cqlferry_host; parts of it are
 *                   plugin_metrics, plugin_timer and plugin_http
 */
#ifndef POLICY_PLUGIN_H
#define POLICY_PLUGIN_H

#include <cqlferry/plugin.h>

#include "base/loop.h"
#include "proxy/hooks.h"
#include "proxy/metrics.h"
#include "proxy/proxy.h"

#define PLUGINS_MAX 32

/* Why a function of a plugin failed, or what it says. */
#define PLUGIN_TEXT_MAX 512

struct plugin_file;
struct plugin_set;

/* Where the proxy calls a plugin while it runs. */
enum plugin_hook {
	PLUGIN_CONNECT,
	PLUGIN_CREDENTIALS,
	PLUGIN_LOGIN,
	PLUGIN_REQUEST,
	PLUGIN_RESPONSE,
	PLUGIN_DISCONNECT,
	PLUGIN_TIMER,
	PLUGIN_PAGE,
};
#define PLUGIN_HOOKS 8

/* Why a call is an error. */
enum plugin_error {
	PLUGIN_ERROR_SAID,    /* it has returned ERROR */
	PLUGIN_ERROR_VERDICT, /* it has returned what there is not, or HOLD without a hold */
	PLUGIN_ERROR_HOLD,    /* it did not resume in time */
};
#define PLUGIN_ERRORS 3

/* Calls of one thread, written by it alone (metric_add()). */
struct plugin_tally {
	uint64_t calls;
	uint64_t ns; /* that they took; where one of many is measured, what all of them may have taken */
};

/* Numbers in proxy/counters.h. */
struct plugin_numbers {
	unsigned calls[PLUGIN_HOOKS];
	unsigned errors[PLUGIN_HOOKS][PLUGIN_ERRORS];
	unsigned denials;
	unsigned seconds;
};

struct plugin_instance {
	struct cqlferry_plugin plugin; /* a copy, in which members that the file's lacks are zero */
	struct cqlferry_host host;     /* what the plugin is given; plugin_of() leads back here */
	const struct plugin_file *loaded;
	struct plugin_set *set;
	struct proxy *proxy; /* NULL while a configuration is only checked */
	char *name;          /* of the section */
	char *file;
	unsigned index; /* its place in the order of the chain, and of slots */
	bool denies;    /* on_error = deny: what it fails about is refused */
	bool is_open;
	bool has_next; /* reload() has made a new state, reload_end() is to follow */
	void *self;
	struct policy_route *routes; /* of route_new(), made in open(); numbers begin behind CQLFERRY_ROUTE_MIRROR */
	uint32_t route_count;
	uint32_t watched[2];                       /* kinds for on_request and on_response: plugin_host.c, watch() */
	uint32_t watched_next[2];                  /* the same as a reload under way has said */
	struct plugin_worker *workers;             /* by worker */
	struct plugin_timer *timers;               /* of main, see plugin_timer.h */
	struct plugin_page *pages;                 /* plugin_http.h */
	struct plugin_tally tallies[PLUGIN_HOOKS]; /* of timers and pages in main */
	struct plugin_numbers numbers;
};

/* An instance's part of one worker. */
struct plugin_worker {
	void *self; /* the instance's own, or what worker_open() gave */
	bool is_open;
	struct plugin_timer *timers;
	struct plugin_tally timer_tally;
};

/* The instance that a function of the host is called for; plugins have it as a constant only. */
static inline struct plugin_instance *plugin_of(const struct cqlferry_host *host)
{
	return (struct plugin_instance *)((uintptr_t)host - offsetof(struct plugin_instance, host));
}

/* What a function of a plugin does in this thread, for the functions of its host. Hooks do not nest. */
struct plugin_call {
	struct plugin_instance *instance; /* NULL: no plugin runs in this thread */
	struct worker *worker;            /* NULL: the main thread, or one of the plugin's own */
	bool may_hold;                    /* it is a hook that may return HOLD */
	uint64_t started;                 /* by loop_clock_ns(); of a call that is no hook */
	uint64_t ticket;                  /* of a hold() in this call */
	uint64_t resumed;                 /* the call is repeated: of the hold that has ended */
	bool has_route;                   /* route_set() was called with this number: */
	uint32_t route;
	struct policy_denial denial; /* of deny(); code and text */
	char denial_text[PLUGIN_TEXT_MAX];
	char error[PLUGIN_TEXT_MAX]; /* of error(); "" without */
};

extern _Thread_local struct plugin_call plugin_call;

/* Around a call in a worker that is no hook: of a timer. For those of main see plugin_set.h. */
static inline void plugin_call_enter(struct plugin_instance *p, struct worker *worker, struct plugin_tally *tally)
{
	metric_add(&tally->calls, 1);
	plugin_call.started = loop_clock_ns();
	plugin_call.instance = p;
	plugin_call.worker = worker;
	plugin_call.may_hold = false;
	plugin_call.ticket = plugin_call.resumed = 0;
	plugin_call.denial.text = NULL;
	plugin_call.error[0] = '\0';
}

static inline void plugin_call_leave(struct plugin_tally *tally)
{
	metric_add(&tally->ns, loop_clock_ns() - plugin_call.started);
	plugin_call.instance = NULL;
}

#endif
