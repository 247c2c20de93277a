/* config_env.h - reads the ZDM_* variables into the model. */
#ifndef CONTROL_CONFIG_ENV_H
#define CONTROL_CONFIG_ENV_H

#include "control/config_model.h"

/* Adds a value for every variable that a setting has and that is set, if only to the empty string. */
void config_env_read(struct config *config);

/*
 * What ZDM Proxy does while it decodes, before it validates: numbers and
 * booleans have their type, and, from the environment, the four user name and
 * password variables exist. For values of both ZDM formats.
 */
MUSTCHECK bool config_env_check_types(struct config *config);

/* One warning when ZDM_* variables are set that a configuration file makes useless. Names only, never values. */
void config_env_warn_ignored(struct config *config);

#endif
