/* metrics_figures.h - the families about what workers have and how busy they are (proxy/figures.h), and about TLS. */
#ifndef CONTROL_METRICS_FIGURES_H
#define CONTROL_METRICS_FIGURES_H

#include "control/metrics_page.h"

/* Each writes nothing when the page has no gate. In the order of their names: */
void metrics_figures_buffers(struct metrics_page_writer *w);
void metrics_figures_cached(struct metrics_page_writer *w);
void metrics_figures_pools(struct metrics_page_writer *w);
void metrics_figures_tls(struct metrics_page_writer *w);
/* Nothing either before the workers were asked, and without plugins. */
void metrics_figures_turns(struct metrics_page_writer *w);
/* Of each worker alone. */
void metrics_figures_workers(struct metrics_page_writer *w);

#endif
