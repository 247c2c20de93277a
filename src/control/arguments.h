/*
 * arguments.h - the command line.
 */
#ifndef CONTROL_ARGUMENTS_H
#define CONTROL_ARGUMENTS_H

#include <stdio.h>

#include "base/common.h"

#define ARGUMENTS_MAX_OVERRIDES 64

enum run_mode {
	RUN_PROXY,
	RUN_CHECK_CONFIG,
	RUN_PRINT_CONFIG,
	RUN_PRINT_OPTIONS,
	RUN_EXPLAIN,
	RUN_PLUGIN_INFO,
	RUN_VERSION,
	RUN_HELP,
};

/* --explain: the request that is to be explained, as far as the command line says. NULL: as --help says. */
struct arguments_explain {
	const char *statement;
	const char *keyspace;
	const char *user;
	const char *address;
	const char *driver;
	const char *driver_version;
	const char *consistency;
	bool is_prepared;
};

struct arguments {
	enum run_mode mode;
	const char *path;
	char *overrides[ARGUMENTS_MAX_OVERRIDES];
	unsigned override_count;
	struct arguments_explain explain;
	const char *plugin; /* --plugin-info: the file */
};

/* False after the reason was said on stderr. What it points to is argv's. */
MUSTCHECK bool arguments_parse(int argc, char **argv, struct arguments *out);
void arguments_print_usage(FILE *out);

#endif
