/* config_check.h - what concerns more than one setting. */
#ifndef CONTROL_CONFIG_CHECK_H
#define CONTROL_CONFIG_CHECK_H

#include "control/config_model.h"

/*
 * Each looks at settings that were parsed already. False with config->error
 * set. `instance` is the cluster where a check is about one.
 */
MUSTCHECK bool config_check_contact_points(struct config *config, unsigned instance);
MUSTCHECK bool config_check_topology(struct config *config, unsigned instance);
MUSTCHECK bool config_check_cluster_tls(struct config *config, unsigned instance);
MUSTCHECK bool config_check_listener_tls(struct config *config, unsigned instance);
/* All the rest, after everything else. */
MUSTCHECK bool config_check_rest(struct config *config, unsigned instance);

#endif
