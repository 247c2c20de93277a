/* metrics_process.h - what Prometheus' own clients say of the process they are in, under their names: process_... */
#ifndef CONTROL_METRICS_PROCESS_H
#define CONTROL_METRICS_PROCESS_H

#include "control/metrics_sink.h"

/* Families whose numbers the system does not tell are left out. */
void metrics_process_write(struct metrics_sink *sink);

#endif
