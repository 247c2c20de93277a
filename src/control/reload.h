/*
 * reload.h - other settings in a running process (SIGHUP), and its files opened
 * anew (SIGUSR1). On the main thread.
 *
 * A reload takes effect whole or not at all:
 *
 *   read     the same file and --set options as at the start, checked as there
 *   compare  what has changed; one setting that needs a restart refuses all
 *   make     TLS contexts for every worker and control connection, each worker's scripts, the log file
 *   swap     the main thread's own readers, then each worker by a message
 *   confirm  every worker has answered: the old settings are freed, and where
 *            the primary is another one, its epoch is counted up
 *
 * Files that settings name are read again whether settings have changed or not:
 * certificates, secure connect bundles, scripts.
 *
 * Up to `swap` an error leaves everything as it was. Between swap and confirm
 * requests of some workers go by the old settings and those of others by the
 * new ones; behind it all go by the new ones.
 */
#ifndef CONTROL_RELOAD_H
#define CONTROL_RELOAD_H

#include "control/config.h"
#include "proxy/control.h"
#include "proxy/worker.h"

struct reload;

/* What plugins, the proxy's `plugins`, do in a reload and behind it. */
struct reload_plugins {
	/* Their new state is made. False with the reason in `error`. Followed by end() in any case. */
	bool (*reload)(struct plugin_set *set, const struct settings *settings, char *error, size_t error_size);
	/* The workers are about to be told. */
	void (*commit)(struct plugin_set *set);
	/* Every worker uses the new state (taken), or it is thrown away. */
	void (*end)(struct plugin_set *set, bool taken);
	/* Files are opened anew; how many plugins write some. */
	unsigned (*reopen)(struct plugin_set *set);
};

struct reload_context {
	const struct config_request *request;
	struct loop *loop; /* the main thread's */
	struct proxy *proxy;
	struct worker *workers;
	unsigned worker_count;
	struct control **controls;            /* by enum cluster_id; NULL entries before they are made */
	struct tls_context **tls;             /* those of the control connections, replaced by a reload */
	const struct reload_plugins *plugins; /* NULL: there are none */
	/* For main's own readers: these settings count from now on. */
	void (*on_settings)(const struct settings *settings, void *arg);
	void *arg;
};

/* What health page and metrics show. */
struct reload_status {
	enum cluster_id primary; /* of all requests that arrive from now on, whichever worker they come to */
	uint64_t epoch;          /* 1 at the start, one more for each switch of the primary */
	uint64_t succeeded;      /* reloads */
	uint64_t failed;         /* reloads that changed nothing: an error, or a setting that needs a restart */
	bool last_failed;
	double last_success; /* seconds since 1970; at first the start */
};

/* Loads and checks a configuration. Warnings and the error go to the log; NULL after an error. */
struct config *reload_read(const struct config_request *request);

/* Takes over `config`, which is in force. */
struct reload *reload_new(const struct reload_context *context, struct config *config);
/* After every worker was stopped: frees the configuration in force, too. */
void reload_free(struct reload *r);

/* SIGHUP. One that comes while the workers have not confirmed the last one follows that. */
void reload_begin(struct reload *r);
/* The process is about to end: nothing is reloaded any more. */
void reload_stop(struct reload *r);
/* SIGUSR1: opens the files that are written to anew. What cannot be opened stays as it is. */
void reload_reopen_files(struct reload *r);

const struct reload_status *reload_status(const struct reload *r);

#endif
