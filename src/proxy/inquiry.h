/*
 * inquiry.h - the questions that a control connection asks a node: what it
 * speaks, who we are, and who its cluster's nodes are.
 *
 *   inquiry_start()    OPTIONS -> STARTUP [AUTH_RESPONSE] -> REGISTER -> tables
 *   inquiry_refresh()  tables
 *
 *   tables: system.local -> system.peers_v2, failing that system.peers -> system_schema.keyspaces, page by page
 *
 * ZDM's twin asks for no more than ZDM: neither for the keyspaces, nor, with
 * its node_ports = configured, for system.peers_v2.
 *
 * Each question has 10 s to be answered. An inquiry ends by exactly one call of
 * its handler, or by inquiry_stop(). In the handler the inquiry is over, so it
 * may be started anew or its server closed.
 */
#ifndef PROXY_INQUIRY_H
#define PROXY_INQUIRY_H

#include "cql/murmur3.h"
#include "cql/writer.h"
#include "proxy/login.h"
#include "proxy/topology.h"

struct inquiry;

struct inquiry_handler {
	/* All was answered; the handler takes over the snapshot. */
	void (*on_topology)(struct inquiry *inq, struct topology *t);
	/* The node does not speak the version of the connection. `offered` is the one it answered in. */
	void (*on_version_refused)(struct inquiry *inq, uint8_t offered, const char *why);
	/* The connection is of no use any more. Hopeless: every node of the cluster would answer the same. */
	void (*on_failed)(struct inquiry *inq, bool is_hopeless, const char *why);
};

enum inquiry_step {
	INQUIRY_OPTIONS,
	INQUIRY_STARTUP,
	INQUIRY_REGISTER,
	INQUIRY_LOCAL,
	INQUIRY_PEERS_V2,
	INQUIRY_PEERS,
	INQUIRY_KEYSPACES,
};

struct inquiry {
	const struct inquiry_handler *handler;
	struct topology_source source;
	const struct credentials *credentials; /* to log in with; its user NULL or "": none */
	struct server *server;                 /* of the last start */
	struct event timer;
	struct login login;
	struct leg query;
	uint8_t step; /* enum inquiry_step: the question under way, or the last one */
	bool is_running;
	uint64_t asked_ns;  /* when the tables were begun to be asked for */
	bool requires_auth; /* what the node said so far */
	char *authenticator;
	bool offers_lz4;
	bool offers_snappy;
	bool offers_compression;
	bool lists_versions;      /* SUPPORTED had PROTOCOL_VERSIONS */
	uint32_t listed_versions; /* those of them that we speak */
	struct writer options;    /* see struct topology */
	uint16_t option_count;
	uint16_t last_key_len; /* of the last pair: its key, and where in `options` the number of its values stands */
	uint32_t last_count_at;
	/* What the node said so far about tables that it may not have. */
	bool has_peers_v2;
	bool lacks_peers_v2;
	bool lacks_keyspaces;
	/* The answer about system.local, while the peers are asked for. */
	uint8_t *local_body;
	uint32_t local_len;
	uint32_t local_offset;
	struct murmur3 digest; /* of all answers about tables */
	/* All but the keyspaces, while they are asked for; how many pages of them have come. */
	struct topology *topology;
	unsigned page_count;
};

void inquiry_init(struct inquiry *inq, struct event_base *base, const struct inquiry_handler *handler,
		  const struct credentials *credentials);
void inquiry_fini(struct inquiry *inq);

/* On a server that has just connected. `source` is copied, what it points to stays until the inquiry is over. */
void inquiry_start(struct inquiry *inq, struct server *server, const struct topology_source *source);
/* On the same server, when no inquiry runs. */
void inquiry_refresh(struct inquiry *inq, const struct topology_source *source);
/* Nobody waits any more; what the node said is forgotten. */
void inquiry_stop(struct inquiry *inq);

/* The connection that the inquiry runs on was lost. */
void inquiry_lost(struct inquiry *inq, const char *why);

#endif
