/*
 * plugin_metrics.h - metrics that plugins make, what they may see of the others,
 * and those that are counted about them.
 */
#ifndef POLICY_PLUGIN_METRICS_H
#define POLICY_PLUGIN_METRICS_H

#include "policy/plugin.h"

/* For struct cqlferry_host. */
uint32_t plugin_metrics_counter_new(const struct cqlferry_host *host, const char *family, const char *help,
				    const char *labels);
uint32_t plugin_metrics_gauge_new(const struct cqlferry_host *host, const char *family, const char *help,
				  const char *labels);
uint32_t plugin_metrics_histogram_new(const struct cqlferry_host *host, const char *family, const char *help,
				      const char *labels, const double *bounds, uint32_t count);
void plugin_metrics_add(const struct cqlferry_host *host, uint32_t counter, int64_t n);
void plugin_metrics_set(const struct cqlferry_host *host, uint32_t gauge, int64_t value);
void plugin_metrics_observe(const struct cqlferry_host *host, uint32_t histogram, uint64_t ns);
void plugin_metrics_visit(const struct cqlferry_host *host, cqlferry_metric_fn visit, void *arg);

/* ---- what is counted about plugins ---- */

/* Makes the counters about an instance. On the main thread, when the process has metrics. */
void plugin_metrics_init(struct plugin_instance *p);
/* What the threads have counted for themselves is on the page from now on; until plugin_metrics_stop(). */
void plugin_metrics_start(struct plugin_set *set);
void plugin_metrics_stop(struct plugin_set *set);

/* In the worker's thread: the instance's call has failed, or has denied something. */
void plugin_metrics_failed(const struct plugin_instance *p, enum plugin_hook hook, enum plugin_error error);
void plugin_metrics_denied(const struct plugin_instance *p);

#endif
