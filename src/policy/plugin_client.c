/* plugin_client.c - see plugin_client.h */
#include "policy/plugin_client.h"

#include <stdlib.h>

#include "policy/plugin_set.h"
#include "proxy/client.h"
#include "proxy/client_hooks.h"

static struct cqlferry_text text_of(struct strview s)
{
	return (struct cqlferry_text){ s.p, s.len };
}

/* "10.0.0.1:9042", "[::1]:9042" */
static uint16_t port_of(const struct client *c)
{
	const char *p = client_ip(c).p + c->ip_len;

	if (*p == ']')
		p++;
	return *p == ':' ? (uint16_t)strtoul(p + 1, NULL, 10) : 0;
}

const struct cqlferry_client_info *plugin_client_info(const struct cqlferry_client *client)
{
	static _Thread_local struct cqlferry_client_info info;
	const struct client *c = (const struct client *)client;
	const struct client_hooks *h = c->hooks;

	info = (struct cqlferry_client_info){
		.size = sizeof(info),
		.port = port_of(c),
		.version = c->version,
		.is_tls = h->is_tls,
		.number = c->number,
		.connected_at = h->connected_at,
		.address = text_of(client_ip(c)),
		.user = text_of(client_user(c)),
		.driver = text_of(driver_name(c->driver)),
		.driver_version = text_of(driver_version(c->driver)),
		.tls_subject = text_of(sv_from(h->tls_subject ? h->tls_subject : "")),
		.listener = text_of(sv_from(c->worker->settings->listeners[c->listener].name)),
		.keyspace = text_of(client_keyspace(c)),
	};
	return &info;
}

void **plugin_client_slot(const struct cqlferry_host *host, struct cqlferry_client *client)
{
	const struct plugin_instance *plugin = plugin_of(host);
	struct client_hooks *h = ((struct client *)client)->hooks;

	if (!h->slots)
		h->slots = xcalloc(plugin->set->count, sizeof(*h->slots));
	return &h->slots[plugin->index];
}
