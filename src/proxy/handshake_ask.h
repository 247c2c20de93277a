/*
 * handshake_ask.h - a log-in and the plugins (hooks.h): what they are asked
 * about it, what they have said, and what that means for the clusters.
 *
 *   STARTUP ----------> asked with nothing: who decides then may make the dialogue needless
 *   [AUTHENTICATE] ---> always when one of them wants the driver to log in, or a cluster does whose credentials
 *                       they have left open
 *   AUTH_RESPONSE ----> asked again, each time
 *
 * What is decided with a token goes before what was decided at STARTUP, and is
 * forgotten with the next token. What plugins leave open is as handshake.h has
 * it. A held log-in keeps its frame's stream busy, so that what the driver
 * sends meanwhile waits.
 */
#ifndef PROXY_HANDSHAKE_ASK_H
#define PROXY_HANDSHAKE_ASK_H

#include "proxy/handshake.h"
#include "proxy/hooks.h"

struct handshake_decision {
	bool is_set[CLUSTER_COUNT];
	struct credentials set[CLUSTER_COUNT];
	char *name;
};

/* hs->ask: where there are plugins that want to be asked, from STARTUP to the end of the handshake. */
struct handshake_ask {
	struct handshake *hs;
	struct hooks_login login; /* of the call under way */
	struct hooks_call call;
	struct hold hold;
	/* While a token is held: a copy in memory for secrets. */
	uint8_t *token;
	uint32_t token_len;
	bool has_token;     /* it was AUTH_RESPONSE with a token that is not null */
	bool asks;          /* the driver has to log in whatever the clusters say */
	bool is_decided[2]; /* at STARTUP, with the last token */
	struct handshake_decision said[2];
};

/* STARTUP came: asks, and starts one of the two ways or refuses the client. Takes over `startup`. */
void handshake_ask_startup(struct client *c, struct startup *startup, int16_t stream);
/* A token came: asks, and hands it to the way or refuses it. */
void handshake_ask_token(struct handshake *hs, struct bytesview token);
/* It is held. */
bool handshake_ask_is_held(const struct handshake *hs);
/* Wipes all of it. NULL is harmless. */
void handshake_ask_free(struct handshake_ask *ask);

/* Credentials that plugins have set for this cluster, or NULL. */
const struct credentials *handshake_ask_set(const struct handshake *hs, enum cluster_id id);
/*
 * `text` says why a cluster has refused a log-in. Where plugins have set another one than the client's, it may name a role
 * that the client has not to know: into the log with it, and what the client may read in its place.
 */
void handshake_ask_hide(const struct handshake *hs, enum cluster_id id, char *text, size_t size);
/* Plugins have decided, and that leaves no cluster open which wants a log-in with what the client gives. */
bool handshake_ask_is_enough(const struct handshake *hs);
/* The name that plugins have given the client, or NULL. */
const char *handshake_ask_name(const struct handshake *hs);

#endif
