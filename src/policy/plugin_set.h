/*
 * plugin_set.h - all instances of plugins of the process, in the order in which
 * they are asked. See plugin.h. All functions are called on the main thread.
 *
 *   check       files are loaded, lines of the configuration compared with their rows
 *   new, open   the instances, open() in order
 *   hooks_new   for each worker: worker_open() in order, and its chain
 *   reload      reload() in order; then reload_commit, the workers' own part, reload_end
 *   stop        from here on what a plugin does not come back from ends the process (plugin_watch.h)
 *   close       when all workers' threads have ended: worker_close() and close() in reverse order
 */
#ifndef POLICY_PLUGIN_SET_H
#define POLICY_PLUGIN_SET_H

#include <signal.h>

#include "policy/plugin.h"

struct loop;
struct plugin_watch;
struct settings;

struct plugin_set {
	struct proxy *proxy; /* NULL while a configuration is only checked */
	struct loop *loop;   /* the main thread's; the same */
	struct plugin_instance *items[PLUGINS_MAX];
	unsigned count;
	bool reloads; /* between plugin_set_reload() and plugin_set_reload_end() */
	bool is_stopping;
	struct plugin_watch *watch;
	unsigned held, late; /* numbers in proxy/counters.h, plugin_metrics.c's */
};

/* For config_request.check_plugins. At the start: loads the files. In a running process: knows those of the start only. */
MUSTCHECK bool plugin_set_check_start(struct plugin_settings *plugins, unsigned count, char *error, size_t error_size);
MUSTCHECK bool plugin_set_check_reload(struct plugin_settings *plugins, unsigned count, char *error, size_t error_size);

/*
 * The instances that checked settings name, opened in order; NULL with the
 * reason in `error`, and what was opened is closed again. `proxy` and `loop` are
 * NULL when the configuration is only checked.
 */
struct plugin_set *plugin_set_open(const struct settings *settings, struct proxy *proxy, struct loop *loop, char *error,
				   size_t error_size);
/* The process ends: in shutdown_timeout, whatever plugins do. NULL is harmless. */
void plugin_set_stop(struct plugin_set *set);
/*
 * worker_close() for each worker, close(), in reverse order. When the workers'
 * threads have ended, and before anything of them is freed: until close() has
 * joined them, threads of plugins may call resume(). NULL is harmless.
 */
void plugin_set_close(struct plugin_set *set);

/* For proxy->hooks_new: of proxy->plugins. */
MUSTCHECK bool plugin_set_hooks_new(struct proxy *proxy, struct worker *worker, struct hooks **out, char *error,
				    size_t error_size);

/*
 * reload() of all, with these settings, which were checked. False with the
 * reason in `error`. In both cases plugin_set_reload_end() follows; before the
 * workers are told of the new settings, plugin_set_reload_commit().
 */
MUSTCHECK bool plugin_set_reload(struct plugin_set *set, const struct settings *settings, char *error,
				 size_t error_size);
void plugin_set_reload_commit(struct plugin_set *set);
/* `taken`: every worker uses the new state; otherwise it is thrown away. NULL is harmless: the end of the process can
 * overtake a reload, and closing has ended it then. */
void plugin_set_reload_end(struct plugin_set *set, bool taken);

/*
 * Around the call of a timer's or page's function on the main thread, where the
 * end of the process must not depend on its coming back either. `function` is
 * what messages call it.
 */
void plugin_set_call_begin(struct plugin_instance *p, const char *function, struct plugin_tally *tally,
			   sigset_t *signals);
void plugin_set_call_end(const struct plugin_instance *p, struct plugin_tally *tally, const sigset_t *signals);

/* reopen() of all; how many have one. */
unsigned plugin_set_reopen(struct plugin_set *set);

#endif
