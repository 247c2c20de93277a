/* sni.c - see sni.h */
#include "proxy/sni.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fetch.h"
#include "base/log.h"
#include "base/resolve.h"
#include "proxy/endpoint.h"

/* Of the SNI proxy's name; more of them add nothing. */
#define MAX_ADDRESSES 4
/* Some thousand contact points fit. */
#define METADATA_MAX (256 * 1024)
/* Endpoints of one round: when the SNI proxy is away, asking for more of the nodes behind it only takes time. */
#define MAX_ENDPOINTS 8

struct sni {
	enum cluster_id id;
	struct bundle *bundle;
	char service[BUNDLE_HOST_MAX + 16];
	char *datacenter;
	/* Written by the main thread with the lock held, so it reads without. */
	pthread_mutex_t lock;
	struct bundle_metadata metadata; /* node_count 0: none yet */
	struct net_address addresses[MAX_ADDRESSES];
	unsigned address_count;
	unsigned turn; /* round robin over them; guarded by lock */
	/* The refresh that runs. */
	struct loop *loop;
	struct fetch *fetch;
	struct resolve *resolve;
	struct bundle_metadata next; /* while its name is resolved */
	sni_refreshed_fn *done;
	void *arg;
};

struct sni *sni_new(enum cluster_id id, const char *path, char *error, size_t error_size)
{
	struct bundle *bundle = bundle_load(path, error, error_size);
	struct sni *s;

	if (!bundle)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->id = id;
	sni_set_bundle(s, bundle);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void sni_free(struct sni *s)
{
	if (!s)
		return;
	sni_refresh_cancel(s);
	bundle_metadata_fini(&s->metadata);
	bundle_free(s->bundle);
	pthread_mutex_destroy(&s->lock);
	free(s->datacenter);
	free(s);
}

void sni_set_bundle(struct sni *s, struct bundle *bundle)
{
	const bool is_v6 = strchr(bundle->host, ':') != NULL;

	bundle_free(s->bundle);
	s->bundle = bundle;
	snprintf(s->service, sizeof(s->service), "%s%s%s:%u", is_v6 ? "[" : "", bundle->host, is_v6 ? "]" : "",
		 bundle->port);
}

const char *sni_service(const struct sni *s)
{
	return s->service;
}

/* ---- refresh ---- */

static void finish(struct sni *s, const char *why)
{
	bundle_metadata_fini(&s->next);
	s->done(s->arg, why);
}

static bool is_change(const struct sni *s)
{
	return strcmp(s->metadata.proxy_host, s->next.proxy_host) != 0 ||
	       s->metadata.proxy_port != s->next.proxy_port || s->metadata.node_count != s->next.node_count;
}

/* The metadata that was fetched, with the addresses of its SNI proxy, takes the place of the old. */
static void publish(struct sni *s, const struct net_address *addresses, unsigned count)
{
	struct bundle_metadata old = s->metadata;

	log_at(is_change(s) ? LOG_INFO : LOG_DEBUG,
	       "%s: the nodes are behind the SNI proxy %s, port %u: %u contact "
	       "point%s, datacenter %s",
	       cluster_id_name(s->id), s->next.proxy_host, s->next.proxy_port, s->next.node_count,
	       s->next.node_count == 1 ? "" : "s", s->next.datacenter ? s->next.datacenter : "not named");
	if (!s->datacenter && s->next.datacenter)
		s->datacenter = xstrdup(s->next.datacenter);
	pthread_mutex_lock(&s->lock);
	s->metadata = s->next;
	s->address_count = MIN(count, (unsigned)MAX_ADDRESSES);
	memcpy(s->addresses, addresses, s->address_count * sizeof(*addresses));
	pthread_mutex_unlock(&s->lock);
	s->next = (struct bundle_metadata){ .nodes = NULL };
	bundle_metadata_fini(&old);
	finish(s, NULL);
}

static void on_resolved(void *arg, const struct net_address *addresses, unsigned count, const char *why)
{
	struct sni *s = arg;
	char *text;

	s->resolve = NULL;
	if (count > 0) {
		publish(s, addresses, count);
		return;
	}
	text = xasprintf("the SNI proxy %s: %s", s->next.proxy_host, why);
	finish(s, text);
	free(text);
}

static void on_metadata(void *arg, const char *body, size_t len, const char *why)
{
	struct sni *s = arg;
	struct net_address literal;
	char error[256];
	char *text;

	s->fetch = NULL;
	if (body && !bundle_metadata_parse(body, len, &s->next, error, sizeof(error)))
		why = error;
	else if (body && net_parse_ip(s->next.proxy_host, s->next.proxy_port, &literal)) {
		publish(s, &literal, 1);
		return;
	} else if (body) {
		s->resolve = resolve_start(s->loop, s->next.proxy_host, s->next.proxy_port, on_resolved, s);
		return;
	}
	/* Under TLS 1.3 a server refuses who shows none after the handshake, often without a word. */
	text = xasprintf("the metadata service gave nothing of use: %s%s", why,
			 body || s->bundle->cert.text ? "" : "; the bundle has no certificate to show to it");
	finish(s, text);
	free(text);
}

void sni_refresh(struct sni *s, struct loop *loop, sni_refreshed_fn *done, void *arg)
{
	const struct bundle *b = s->bundle;
	char *url = xasprintf("https://%s/metadata", s->service);

	Assert(!s->fetch && !s->resolve);
	s->loop = loop;
	s->done = done;
	s->arg = arg;
	s->fetch = fetch_start(loop,
			       &(struct fetch_options){
				       .url = url,
				       .ca = { b->ca.text, b->ca.len },
				       .cert = { b->cert.text, b->cert.len },
				       .key = { b->key.text, b->key.len },
				       .timeout_ms = SNI_METADATA_MS,
				       .max_body = METADATA_MAX,
			       },
			       on_metadata, s);
	free(url);
}

void sni_refresh_cancel(struct sni *s)
{
	if (s->fetch)
		fetch_cancel(s->fetch);
	if (s->resolve)
		resolve_cancel(s->resolve);
	s->fetch = NULL;
	s->resolve = NULL;
	bundle_metadata_fini(&s->next);
}

/* ---- what is known ---- */

bool sni_is_known(const struct sni *s)
{
	return s->metadata.node_count > 0;
}

const char *sni_datacenter(const struct sni *s)
{
	return s->datacenter;
}

static bool has_node(const struct endpoint_list *l, const uint8_t id[NET_NODE_ID])
{
	for (unsigned i = 0; i < l->count; i++) {
		if (memcmp(l->items[i].address.node_id, id, NET_NODE_ID) == 0)
			return true;
	}
	return false;
}

/* Every socket address counts for itself: one of the families may lead nowhere. */
static void add_node(const struct sni *s, struct endpoint_list *l, const uint8_t id[NET_NODE_ID])
{
	if (has_node(l, id))
		return;
	for (unsigned i = 0; i < s->address_count && l->count < MAX_ENDPOINTS; i++) {
		struct net_address a = s->addresses[i];

		memcpy(a.node_id, id, NET_NODE_ID);
		endpoint_list_add(l, &a);
	}
}

void sni_fill_endpoints(const struct sni *s, struct endpoint_list *l, const struct topology *known)
{
	const struct bundle_metadata *m = &s->metadata;
	const unsigned hosts = known ? known->host_count : 0;
	unsigned start = hosts ? arc4random_uniform(hosts) : 0;

	endpoint_list_clear(l);
	/* Contact points are what the service says now: the nodes known from before must not keep all of them out. */
	for (unsigned i = 0; i < hosts && l->count < MAX_ENDPOINTS / 2; i++)
		add_node(s, l, known->hosts[(start + i) % hosts].host_id);
	start = arc4random_uniform(m->node_count);
	for (unsigned i = 0; i < m->node_count; i++)
		add_node(s, l, m->nodes[(start + i) % m->node_count]);
}

void sni_reach(struct sni *s, const struct net_address *node, struct reach *out)
{
	out->address = *node;
	net_format_node_id(node->node_id, out->sni);
	pthread_mutex_lock(&s->lock);
	snprintf(out->server_name, sizeof(out->server_name), "%s", s->metadata.proxy_host);
	if (s->address_count > 0) {
		out->address = s->addresses[s->turn++ % s->address_count];
		memcpy(out->address.node_id, node->node_id, NET_NODE_ID);
	}
	pthread_mutex_unlock(&s->lock);
}
