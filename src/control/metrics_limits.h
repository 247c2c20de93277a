/* metrics_limits.h - the families about clients that were turned away and those whose turn it is. */
#ifndef CONTROL_METRICS_LIMITS_H
#define CONTROL_METRICS_LIMITS_H

#include "control/metrics_page.h"

/* Each writes nothing when the page has no gate. */
void metrics_limits_refused(struct metrics_page_writer *w);
void metrics_limits_handshakes(struct metrics_page_writer *w);

#endif
