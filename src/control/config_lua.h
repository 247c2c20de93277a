/*
 * config_lua.h - what [lua] has beside settings: the files that `script` and
 * `lua_path` stand for, and options, which are all keys that the table of
 * settings does not have: scripts ask for them by proxy.option().
 *
 * Names of files count from the folder of the INI file that they stand in,
 * those of --set from the working directory.
 */
#ifndef CONTROL_CONFIG_LUA_H
#define CONTROL_CONFIG_LUA_H

#include "control/config_model.h"

/* Whether an option may have this name: letters, digits, _ and -, which is what a key of an INI file may be. */
bool config_lua_is_option_name(const char *name);
const struct lua_option *config_lua_option(const struct config *config, const char *name);
/* Adds an option, or replaces one of that name; the texts are copied. */
void config_lua_set_option(struct config *config, const char *name, const char *value, const char *place);

/*
 * After all settings were parsed: puts the files of folders in their place and
 * makes names absolute where they are relative to a file's folder. False with
 * config->error set.
 */
MUSTCHECK bool config_lua_check(struct config *config);

/*
 * A number that is another one when one of the files was written anew, or one
 * came or went, also below the folders of lua_path. Workers load their scripts
 * one after the other: the same before and behind says that all have the same.
 */
uint64_t config_lua_stamp(const struct lua_settings *lua);
#define CONFIG_LUA_CHANGED "scripts, or files below lua_path, were changed while they were being loaded"

/* The lines of --print-config about all this. */
void config_lua_print(const struct config *config, FILE *out);

/* What the options add to config_compare(): called for each that one of the two lacks or that has another value. */
void config_lua_compare(const struct config *before, const struct config *after,
			void (*differs)(const char *name, const char *place, const char *before, const char *after,
					void *arg),
			void *arg);
/* The row that stands for any option, for flags. */
extern const struct setting config_lua_any_option;

void config_lua_free(struct lua_settings *lua);

#endif
