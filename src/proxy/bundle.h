/*
 * bundle.h - a secure connect bundle as DataStax Astra gives them out, and the
 * answer of the metadata service that it names: files and texts into structs,
 * without any connection.
 *
 * The bundle is a zip with these members, of which others are ignored:
 *
 *   config.json   host and port of the metadata service
 *   ca.crt        who signs its certificate and that of the SNI proxy
 *   cert, key     our certificate towards both; both or neither
 *
 * The service says where the SNI proxy is, through which every node is reached,
 * and which nodes there are, by host id.
 */
#ifndef PROXY_BUNDLE_H
#define PROXY_BUNDLE_H

#include "base/net.h"
#include "base/tls.h"

/* The longest DNS name. */
#define BUNDLE_HOST_MAX 253
/* More contact points than this are none. */
#define BUNDLE_MAX_NODES 4096

/* A member that is a PEM text, in memory of base/secret.h: it may be the key. */
struct bundle_pem {
	char *name; /* "FILE: ca.crt", for messages; NULL: the bundle has none */
	char *text;
	size_t len;
};

struct bundle {
	char *path;
	char host[BUNDLE_HOST_MAX + 1]; /* of the metadata service; an IPv6 address without brackets */
	uint16_t port;
	struct bundle_pem ca, cert, key;
};

/* NULL with the reason in `error`, which names the file and the member. Blocks while it reads the file. */
struct bundle *bundle_load(const char *path, char *error, size_t error_size);
void bundle_free(struct bundle *b);

/* What a connection through the SNI proxy checks and shows. Valid as long as the bundle. */
struct tls_options bundle_tls_options(const struct bundle *b);

struct bundle_metadata {
	char proxy_host[BUNDLE_HOST_MAX + 1]; /* of the SNI proxy; an IPv6 address without brackets */
	uint16_t proxy_port;
	char *datacenter; /* NULL: the service named none */
	uint8_t (*nodes)[NET_NODE_ID];
	unsigned node_count; /* at least 1 */
};

/* False, with what is wrong in `error`; then nothing is owned. */
MUSTCHECK bool bundle_metadata_parse(const char *json, size_t len, struct bundle_metadata *out, char *error,
				     size_t error_size);
void bundle_metadata_fini(struct bundle_metadata *m);

#endif
