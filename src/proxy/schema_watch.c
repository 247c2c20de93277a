/* schema_watch.c - see schema_watch.h */
#include "proxy/schema_watch.h"

#include <stdlib.h>

/* While somebody waits for a change to be seen, the tables of nodes are read so often. */
#define LOOK_MS 250
/* A node's version is no older than this when it reports the change. */
#define REPORT_NS (UINT64_C(1000) * 1000000)

struct noticed {
	struct loop_message message;
	struct schema_watch *watch;
};

static void run_noticed(struct loop_message *message)
{
	struct noticed *n = container_of(message, struct noticed, message);
	struct schema_watch *w = n->watch;

	free(n);
	atomic_store(&w->is_noticed, false);
	for (unsigned i = 0; i < CLUSTER_COUNT && w->controls[i]; i++) {
		struct topology *t = cluster_topology(&w->proxy->clusters[i]);
		const bool is_fresh = t && loop_now(w->loop) < t->schema_asked_ns + ms_to_ns(LOOK_MS);

		control_refresh_soon(w->controls[i], is_fresh ? LOOK_MS : 0);
		topology_unref(t);
	}
}

/* On any thread. */
static void on_noticed(void *arg)
{
	struct schema_watch *w = arg;
	struct noticed *n;

	if (atomic_exchange(&w->is_noticed, true))
		return;
	n = xcalloc(1, sizeof(*n));
	n->message.run = run_noticed;
	n->watch = w;
	loop_post(w->loop, &n->message);
}

void schema_watch_init(struct schema_watch *w, struct loop *loop, struct proxy *proxy, struct control *const *controls)
{
	w->loop = loop;
	w->proxy = proxy;
	w->controls = controls;
	atomic_init(&w->is_noticed, false);
	proxy->schema.on_noticed = on_noticed;
	proxy->schema.arg = w;
}

void schema_watch_look(struct schema_watch *w, enum cluster_id id, const struct topology *t)
{
	if (!schema_state_is_settled(&w->proxy->schema, id, t, loop_now(w->loop)))
		control_refresh_soon(w->controls[id], LOOK_MS);
}

void schema_watch_report(struct schema_watch *w, enum cluster_id id, struct schema_events *events, const uint8_t *body,
			 uint32_t len)
{
	struct topology *t = cluster_topology(&w->proxy->clusters[id]);
	const uint64_t now = loop_now(w->loop);

	if (!t)
		return;
	schema_state_note(&w->proxy->schema, 1u << id, now - REPORT_NS, now);
	schema_events_report(events, id, t->version, body, len);
	topology_unref(t);
}
