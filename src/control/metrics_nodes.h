/*
 * metrics_nodes.h - the part of the metrics page that is by node:
 * <prefix>_origin_..., <prefix>_target_... and <prefix>_async_...
 */
#ifndef CONTROL_METRICS_NODES_H
#define CONTROL_METRICS_NODES_H

#include "control/metrics_page.h"

/* The families of one role, sorted by name, series by label; nothing while no node is known. */
void metrics_nodes_write(struct metrics_page_writer *w, enum node_role role);

#endif
