/*
 * sni.h - a cluster that is reached by a secure connect bundle: every
 * connection goes to one SNI proxy, which passes it on to the node whose host
 * id is the TLS server name.
 *
 *   bundle (at start) -> metadata service -> where the SNI proxy is, contact points, datacenter
 *                                                 |
 *                                          its name, resolved -> socket addresses
 *
 * Metadata and addresses are replaced together, by sni_refresh(), and count for
 * connections opened from then on. The main thread refreshes, any thread asks
 * sni_reach().
 */
#ifndef PROXY_SNI_H
#define PROXY_SNI_H

#include "base/loop.h"
#include "proxy/bundle.h"
#include "proxy/cluster.h"

/* The service may take so long to answer, in milliseconds. */
#define SNI_METADATA_MS 30000

struct sni;
struct endpoint_list;

/* Reads the bundle. NULL with the reason in `error`: a mistake in the configuration. */
struct sni *sni_new(enum cluster_id id, const char *path, char *error, size_t error_size);
void sni_free(struct sni *s);

/* The bundle as it is in the file now, taken over; it counts from the next refresh on. On the main thread. */
void sni_set_bundle(struct sni *s, struct bundle *bundle);
/* "HOST:PORT" of the metadata service, for messages. */
const char *sni_service(const struct sni *s);

/* `why` NULL: what is known is new. Else nothing has changed. Called once, on the loop's thread. */
typedef void sni_refreshed_fn(void *arg, const char *why);

/* Asks the service and resolves the SNI proxy's name; one at a time. */
void sni_refresh(struct sni *s, struct loop *loop, sni_refreshed_fn *done, void *arg);
/* `done` will not be called any more; harmless when nothing runs. */
void sni_refresh_cancel(struct sni *s);

/* False before the first refresh has succeeded; then the following are not to be asked. */
bool sni_is_known(const struct sni *s);
/* The datacenter that the service named first, which stays; NULL when it named none. */
const char *sni_datacenter(const struct sni *s);
/* A round of endpoints: nodes of `known` (may be NULL), then contact points, bounded, since one proxy stands for all. */
void sni_fill_endpoints(const struct sni *s, struct endpoint_list *l, const struct topology *known);

/* See cluster_reach(). */
void sni_reach(struct sni *s, const struct net_address *node, struct reach *out);

#endif
