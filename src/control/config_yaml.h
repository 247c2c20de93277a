/* config_yaml.h - reads ZDM Proxy's YAML file into the model. */
#ifndef CONTROL_CONFIG_YAML_H
#define CONTROL_CONFIG_YAML_H

#include "control/config_model.h"

/* Adds what the text of request->path says. False with config->error set. */
MUSTCHECK bool config_yaml_read(struct config *config, const char *text, size_t size);

#endif
