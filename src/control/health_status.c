/* health_status.c - see health_status.h */
#include "control/health_status.h"

#include <event2/buffer.h>
#include <inttypes.h>

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

static void add_name(struct evbuffer *out, const char *before, const char *text)
{
	evbuffer_add(out, before, strlen(before));
	health_add_string(out, text);
}

static void add_cluster(struct evbuffer *out, const struct health *h, enum cluster_id id)
{
	const struct control_status *c = &h->cluster[id];

	evbuffer_add_printf(out, ",\"%s\":{", cluster_id_name(id));
	add_name(out, "\"address\":", c->address);
	evbuffer_add_printf(out, ",\"failures\":%" PRIu32 ",\"threshold\":%" PRIu32 ",\"status\":\"%s\"}", c->failures,
			    h->failure_threshold, health_cluster_is_down(h, id) ? "DOWN" : "UP");
}

static void add_reload(struct evbuffer *out, const struct reload_status *r)
{
	if (r)
		evbuffer_add_printf(out,
				    ",\"reload\":{\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"last_failed\":%s}",
				    r->succeeded, r->failed, json_bool(r->last_failed));
}

static void add_hook(struct evbuffer *out, const struct policy_hook_status *hook)
{
	add_name(out, "{\"name\":", hook->name);
	add_name(out, ",\"place\":", hook->place);
	evbuffer_add_printf(out,
			    ",\"calls\":%" PRId64 ",\"errors\":%" PRId64 ",\"denials\":%" PRId64
			    ",\"workers_off\":%" PRId64 "}",
			    hook->calls, hook->errors, hook->denials, hook->workers_off);
}

static void add_policy(struct evbuffer *out, const struct health_policy *p)
{
	evbuffer_add_printf(out, ",\"policy\":{\"rules\":%u,\"scripts\":[", p->rules);
	for (unsigned i = 0; i < p->scripts->count; i++)
		add_name(out, i ? "," : "", p->scripts->items[i]);
	evbuffer_add_printf(out, "],\"hooks\":[");
	for (unsigned i = 0; i < p->hook_count; i++) {
		evbuffer_add_printf(out, "%s", i ? "," : "");
		add_hook(out, &p->hooks[i]);
	}
	evbuffer_add_printf(out, "]}");
}

static void add_plugins(struct evbuffer *out, const struct health_plugins *plugins)
{
	evbuffer_add_printf(out, ",\"plugins\":[");
	for (unsigned i = 0; i < plugins->count; i++) {
		const struct health_plugin *p = &plugins->items[i];

		add_name(out, i ? ",{\"name\":" : "{\"name\":", p->name);
		add_name(out, ",\"plugin\":", p->plugin);
		add_name(out, ",\"version\":", p->version);
		add_name(out, ",\"file\":", p->file);
		evbuffer_add_printf(out, "}");
	}
	evbuffer_add_printf(out, "]");
}

void health_write_status(const struct health *h, const struct reload_status *reload, const struct health_policy *policy,
			 const struct health_plugins *plugins, struct evbuffer *out)
{
	evbuffer_add_printf(out, "{\"status\":\"%s\",\"started\":%s,\"draining\":%s",
			    !h->is_started      ? "STARTUP"
			    : health_is_down(h) ? "DOWN"
						: "UP",
			    json_bool(h->is_started), json_bool(h->is_draining));
	for (unsigned i = 0; i < CLUSTER_COUNT; i++)
		add_cluster(out, h, (enum cluster_id)i);
	evbuffer_add_printf(out, ",\"primary\":\"%s\",\"primary_epoch\":%" PRIu64, cluster_id_name(h->primary),
			    h->epoch);
	add_reload(out, reload);
	add_policy(out, policy);
	add_plugins(out, plugins);
	evbuffer_add_printf(out, "}");
}
