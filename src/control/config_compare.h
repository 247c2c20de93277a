/* config_compare.h - what differs between two configurations of one process. */
#ifndef CONTROL_CONFIG_COMPARE_H
#define CONTROL_CONFIG_COMPARE_H

#include "control/config.h"

struct config_change {
	const struct setting *setting; /* its flags say whether it can change in a running process */
	char *place;                   /* of the new value, as error messages begin: "FILE:12: [proxy] workers" */
	char *name;                    /* "[proxy] workers" */
	char *before, *after;          /* as an INI file would write them; "***" when secret, "not set" */
};

struct config_changes {
	struct config_change *items;
	unsigned count;
};

/*
 * Row by row; freed by config_changes_free(). Both must have the same listeners
 * and plugins (config_same_listeners, config_same_plugins).
 */
void config_compare(const struct config *before, const struct config *after, struct config_changes *out);
void config_changes_free(struct config_changes *changes);

/* The [listener] sections have the same names in the same order. */
bool config_same_listeners(const struct config *before, const struct config *after);

/* The same of the [plugin] sections. */
bool config_same_plugins(const struct config *before, const struct config *after);

#endif
