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
	RUN_VERSION,
	RUN_HELP,
};

struct arguments {
	enum run_mode mode;
	const char *path;
	char *overrides[ARGUMENTS_MAX_OVERRIDES];
	unsigned override_count;
};

/* False after the reason was said on stderr. What it points to is argv's. */
MUSTCHECK bool arguments_parse(int argc, char **argv, struct arguments *out);
void arguments_print_usage(FILE *out);

#endif
