/* plugin_option.h - the lines of a [plugin] section, and the rows of its file that say what they mean, become values. */
#ifndef POLICY_PLUGIN_OPTION_H
#define POLICY_PLUGIN_OPTION_H

#include "policy/plugin_file.h"
#include "proxy/settings.h"

#define PLUGIN_OPTIONS_MAX 256
/* What names of plugins and their options are made of. */
#define PLUGIN_NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* What open() and reload() get. */
struct plugin_values {
	struct cqlferry_value *items; /* by row */
	unsigned count;
};

/* The rows make sense. False with the reason in `error`, which names the file. */
MUSTCHECK bool plugin_option_check_rows(const struct plugin_file *file, char *error, size_t error_size);

/*
 * Reads the lines of a section, and the secrets that they name. False with the
 * reason in `error`: the place, the key and what is allowed. To be freed by
 * plugin_values_free() in any case.
 */
MUSTCHECK bool plugin_option_read(const struct plugin_file *file, const struct plugin_settings *settings,
				  struct plugin_values *out, char *error, size_t error_size);
/* Overwrites secrets. */
void plugin_values_free(struct plugin_values *values);

/* Notes in each line what its row says of it. */
void plugin_option_mark(const struct plugin_file *file, struct plugin_settings *settings);

/* The rows as text, for --plugin-info. */
void plugin_option_describe(const struct plugin_file *file, FILE *out);

#endif
