/*
 * config.h - reads and checks the configuration: one table of settings (in
 * config.c) drives the INI file, the ZDM_* variables, a ZDM YAML file, --set,
 * --print-config, range errors and docs/config.md.
 */
#ifndef CONTROL_CONFIG_H
#define CONTROL_CONFIG_H

#include <stdio.h>

#include "proxy/settings.h"

enum config_source_kind {
	CONFIG_FROM_ENV, /* ZDM_* variables alone */
	CONFIG_FROM_INI,
	CONFIG_FROM_YAML,
};

struct config; /* the settings and, for each, where its value came from */

struct config_request {
	const char *path;       /* -c FILE, or NULL: ZDM_* variables */
	char *const *overrides; /* --set section.key=value */
	unsigned override_count;
	char *const *environment; /* environ, passed in so that tests can give their own */
	/*
	 * Compares the lines of the [plugin] sections with what their files know, and marks them (struct plugin_line). False
	 * with the reason in `error`. Called last; NULL: lines stay unknown, and are not shown.
	 */
	bool (*check_plugins)(struct plugin_settings *plugins, unsigned count, char *error, size_t error_size);
};

/*
 * Loads and validates. NULL after an error, which then stands in `error` (one
 * message: place, what was wrong, what is allowed; NUL-terminated, cut to
 * fit). Warnings (ZDM_* ignored beside a file, settings without effect) go to
 * `warnings` line by line, may be NULL.
 */
struct config *config_load(const struct config_request *request, FILE *warnings, char *error, size_t error_size);
void config_free(struct config *config);

const struct settings *config_settings(const struct config *config);

/* True when a failure to load must end the process with ZDM's status 255 instead of 1 (no INI file was given). */
bool config_request_is_zdm(const struct config_request *request);

/* Every setting with its effective value and its source, secrets as "***". */
void config_print(const struct config *config, FILE *out);

/* The same at level debug: the configuration in force is the first question of any support case. */
void config_log(const struct config *config);

/*
 * What --check-config says of a good one, and which of the settings made in it
 * a running process takes over by a restart only.
 */
void config_print_good(const struct config *config, FILE *out);

/* The reference table for docs/config.md, in Markdown; printed by `cqlferry --print-options`, compared by a check in CI. */
void config_print_reference(FILE *out);

#endif
