/*
 * offline.h - what the program does without becoming a proxy: it looks at a
 * configuration, or at a plugin's file, and ends.
 */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "control/arguments.h"
#include "control/config.h"

/* Exit statuses. */
enum {
	EXIT_CONFIG = 1,       /* configuration, files, certificates, passwords */
	EXIT_CONFIG_ZDM = 255, /* the same when started as ZDM is */
	EXIT_USAGE = 2,        /* unknown option */
};

/* --check-config: what only shows when the files that the settings name are opened, too. Says what is wrong. */
MUSTCHECK bool offline_check_config(const struct config *config);
/* --plugin-info. The exit status. */
int offline_plugin_info(const char *path);
/* --explain. The exit status; `failed` when a script cannot be loaded. */
int offline_explain(const struct settings *settings, const struct arguments_explain *args, int failed);

#endif
