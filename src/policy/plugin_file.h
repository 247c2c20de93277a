/*
 * plugin_file.h - the shared objects of plugins. Once opened they stay so until
 * the process ends: threads, timers and handlers of exit may lead back into them.
 * On the main thread.
 */
#ifndef POLICY_PLUGIN_FILE_H
#define POLICY_PLUGIN_FILE_H

#include <cqlferry/plugin.h>
#include <stdio.h>

#include "base/common.h"

#define PLUGIN_SYMBOL "cqlferry_plugin"

struct plugin_file {
	char *path;
	struct cqlferry_plugin plugin;   /* a copy, in which members that the file's lacks are zero */
	struct cqlferry_option *options; /* the same of its rows */
	struct plugin_file_stamp {
		uint64_t inode, size;
		int64_t seconds, nanoseconds;
	} stamp; /* of the file as it was loaded */
	struct plugin_file *next;
};

/*
 * Opens and checks a file, unless that was done already. NULL with the reason in
 * `error`: the file, and where it matters the symbol, what was expected and what
 * was found.
 */
const struct plugin_file *plugin_file_load(const char *path, char *error, size_t error_size);
/* One that was loaded; NULL: it was not. */
const struct plugin_file *plugin_file_find(const char *path);

/* There is another file by now; what was loaded stays. */
bool plugin_file_is_replaced(const struct plugin_file *file);

/* What --plugin-info prints. */
void plugin_file_describe(const struct plugin_file *file, FILE *out);

#endif
