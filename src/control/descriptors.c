/* descriptors.c - see descriptors.h */
#include "control/descriptors.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"
#include "proxy/rules.h"

/* Standard streams, log file, control connections, a few requests to the HTTP pages, and some to spare. */
#define OWN_FIXED 64
/* An event loop's epoll, timer and inbox. */
#define OWN_PER_WORKER 4

uint64_t descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		const struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			return raised.rlim_cur;
	}
	return limit.rlim_cur;
}

/* Pooled ones: at least what one user needs; each further user may need as many, up to the limit. */
static uint64_t shared_connections(const struct settings *s, unsigned nodes)
{
	uint64_t per_node = (uint64_t)s->workers * s->connections_per_host;

	if (s->max_connections_per_host != 0)
		per_node = MIN(per_node, s->max_connections_per_host);
	return per_node * nodes;
}

struct descriptor_need descriptors_needed(const struct settings *s, unsigned nodes)
{
	const bool mirrors = s->read_mode == READ_DUAL_ASYNC_ON_SECONDARY || rules_mirror(&s->rules);
	struct descriptor_need need = {
		.clients = s->max_client_connections,
		.each = 1 + mirrors,
		.own = OWN_FIXED + (uint64_t)s->workers * OWN_PER_WORKER + s->listener_count,
	};

	if (s->backend_connections == BACKEND_DEDICATED)
		need.each += CLUSTER_COUNT;
	else
		need.nodes = shared_connections(s, nodes);
	need.total = need.clients * need.each + need.nodes + need.own;
	return need;
}

bool descriptors_describe(const struct descriptor_need *need, uint64_t limit, char *text, size_t size)
{
	const uint64_t rest = need->nodes + need->own;
	const uint64_t fits = limit > rest ? (limit - rest) / need->each : 0;

	if (limit == 0 || limit >= need->total)
		return false;
	snprintf(text, size,
		 "the limit of open files (%" PRIu64 ") is below what may be needed, %" PRIu64
		 ": %u for each of max_client_connections (%" PRIu64 "), %" PRIu64 " for connections to nodes, %" PRIu64
		 " of the process; raise it (LimitNOFILE, ulimit -n), or lower max_client_connections to %" PRIu64,
		 limit, need->total, need->each, need->clients, need->nodes, need->own, fits);
	return true;
}

void descriptors_warn(const struct settings *settings, struct cluster *clusters)
{
	struct descriptor_need need;
	unsigned nodes = 0;
	char text[512];

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct topology *t = cluster_topology(&clusters[i]);

		if (t) {
			nodes += t->host_count;
			topology_unref(t);
		}
	}
	need = descriptors_needed(settings, nodes);
	if (descriptors_describe(&need, descriptors_raise(), text, sizeof(text)))
		log_warn("%s", text);
}
