/* health.c - see health.h */
#include "control/health.h"

#include <event2/buffer.h>
#include <inttypes.h>

static void add_text(struct evbuffer *out, const char *text)
{
	evbuffer_add(out, text, strlen(text));
}

void health_add_string(struct evbuffer *out, const char *s)
{
	add_text(out, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			evbuffer_add_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			evbuffer_add_printf(out, "\\u%04x", c);
		else
			evbuffer_add(out, s, 1);
	}
	add_text(out, "\"");
}

bool health_cluster_is_down(const struct health *h, enum cluster_id id)
{
	return h->cluster[id].failures >= h->failure_threshold || !h->cluster[id].was_up;
}

bool health_is_down(const struct health *h)
{
	return h->is_draining || health_cluster_is_down(h, h->primary) ||
	       (!h->needs_primary_only && health_cluster_is_down(h, cluster_id_other(h->primary)));
}

static void add_cluster(struct evbuffer *out, const struct health *h, enum cluster_id id)
{
	add_text(out, "{\"Addr\":");
	health_add_string(out, h->cluster[id].address);
	evbuffer_add_printf(
		out, ",\"CurrentFailureCount\":%" PRIu32 ",\"FailureCountThreshold\":%" PRIu32 ",\"Status\":\"%s\"}",
		h->cluster[id].failures, h->failure_threshold, health_cluster_is_down(h, id) ? "DOWN" : "UP");
}

static void add_primary(struct evbuffer *out, const struct health *h)
{
	if (h->epoch > 0)
		evbuffer_add_printf(out, ",\"Primary\":\"%s\",\"PrimaryEpoch\":%" PRIu64, cluster_id_upper(h->primary),
				    h->epoch);
	add_text(out, "}");
}

int health_write_readiness(const struct health *h, struct evbuffer *out)
{
	const bool down = health_is_down(h);

	if (!h->is_started) {
		add_text(out, "{\"OriginStatus\":null,\"TargetStatus\":null,\"Status\":\"STARTUP\"}");
		return 503;
	}
	add_text(out, "{\"OriginStatus\":");
	add_cluster(out, h, CLUSTER_ORIGIN);
	add_text(out, ",\"TargetStatus\":");
	add_cluster(out, h, CLUSTER_TARGET);
	evbuffer_add_printf(out, ",\"Status\":\"%s\"", down ? "DOWN" : "UP");
	add_primary(out, h);
	return down ? 503 : 200;
}
