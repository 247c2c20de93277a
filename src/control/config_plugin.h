/*
 * config_plugin.h - the [plugin NAME] sections. Beside some settings they have
 * lines for the plugin, which only its file can judge: config_request's
 * check_plugins does that.
 */
#ifndef CONTROL_CONFIG_PLUGIN_H
#define CONTROL_CONFIG_PLUGIN_H

#include "control/config_model.h"

/* Bytes of a name, which goes into messages and labels of metrics. */
#define CONFIG_PLUGIN_NAME_MAX 32

/* The row that stands for any line of a plugin's own. */
extern const struct setting config_plugin_option;

/* True for "plugin NAME", and "plugin.NAME", as --set may say; *plugin is the name, which may be a bad one. */
bool config_plugin_section(const char *section, const char **plugin);
/* The place of a section. Adds it when `may_add`; false when the name cannot be one, or there is none. */
bool config_plugin_find(struct config *config, const char *name, bool may_add, unsigned *instance);
/* Adds a line; the texts are copied. */
struct plugin_line *config_plugin_add(struct config *config, unsigned instance, const char *key, const char *value,
				      const char *place);
/* The same of --set, in place of those of the file. */
void config_plugin_override(struct config *config, unsigned instance, const char *key, const char *value);

/* After all settings were parsed: finds the files, and has the lines checked. False with config->error set. */
MUSTCHECK bool config_plugin_check(struct config *config);

/* The lines of --print-config. */
void config_plugin_print(const struct config *config, unsigned instance, FILE *out);

struct plugin_difference {
	const struct setting *setting; /* for its flags */
	const char *plugin, *key, *place;
	const char *before, *after; /* several lines of a key by ", "; "***" for secrets; NULL: not set */
};
/* What the lines add to config_compare(): called for each key whose lines differ. Both have the same sections. */
void config_plugin_compare(const struct config *before, const struct config *after,
			   void (*differs)(const struct plugin_difference *d, void *arg), void *arg);

void config_plugin_free(struct settings *settings);

#endif
