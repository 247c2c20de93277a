/*
 * handshake.h - from a driver's STARTUP to READY. What comes from the driver is
 * read and checked here; there are two ways to go on from it:
 *
 *   handshake_dedicated.h   the client gets a connection of its own to each
 *                           cluster, its STARTUP and its tokens are carried on
 *   handshake_pooled.h      the client gets pools of connections that are
 *                           logged in with what its token says
 *
 * Who needs whose credentials (credentials = auto; O, T: the cluster asks for
 * a log-in; "forward" is forward_client_credentials_to_origin):
 *
 *   O    T    forward   the driver's dialogue is with   origin gets    target gets
 *   no   no   -         (none: READY)                   -              -
 *   yes  no   -         origin                          the client's   -
 *   no   yes  -         target                          -              the client's
 *   yes  yes  false     origin                          configured     the client's
 *   yes  yes  true      origin                          the client's   configured
 *
 * `credentials = client` or `configured` in a cluster's section overrides its
 * column. The cluster of the dialogue is the deciding one: its authenticator
 * class, its challenges and its refusals are what the driver sees. READY or
 * AUTH_SUCCESS reaches the driver only when both clusters have accepted; a
 * pooled client is not kept waiting for one that is down.
 */
#ifndef PROXY_HANDSHAKE_H
#define PROXY_HANDSHAKE_H

#include "proxy/client.h"
#include "proxy/hooks.h"
#include "proxy/startup.h"

/* What AUTHENTICATE names where no cluster has said anything else. */
#define HANDSHAKE_AUTHENTICATOR "org.apache.cassandra.auth.PasswordAuthenticator"
/* Until a client is ready a frame may be so long (Cassandra's own limit before log-in is 256 KiB for all). */
#define HANDSHAKE_MAX_FRAME (128 * 1024)

struct handshake;
struct handshake_ask;

/* One of the two ways. */
struct handshake_way {
	/* It has no dialogue with a cluster that what the driver says could be passed on to. */
	bool is_shared;
	/*
	 * AUTH_RESPONSE of a client that has got AUTHENTICATE; hs->stream is the frame's. Credentials in it are in hs
	 * already, and plugins have nothing against them.
	 */
	void (*on_token)(struct handshake *hs, struct bytesview token);
	/* handshake_timeout is over while the client waits for an answer: refuses it, or makes it READY all the same. */
	void (*on_timeout)(struct handshake *hs);
	/* Lets go of everything of its own and frees the object that hs is the head of. */
	void (*drop)(struct handshake *hs);
};

/* What both ways have in common: the first member of their own objects. */
struct handshake {
	struct client *client;
	const struct handshake_way *way;
	struct startup startup;
	struct handshake_ask *ask;        /* what plugins say about the log-in (handshake_ask.h), or NULL */
	uint64_t started_ns;              /* when STARTUP came */
	enum hooks_login_outcome outcome; /* see handshake_blame() */
	unsigned blamed;
	bool is_dse;                     /* the driver names the mechanism first */
	bool is_challenged;              /* it has, and was answered by us */
	int16_t stream;                  /* of the client's frame that waits for an answer; -1: none does */
	enum cluster_id deciding;        /* of the dialogue, once AUTHENTICATE was sent */
	bool wants_login[CLUSTER_COUNT]; /* the cluster does */
	bool has_client_credentials;     /* the client's token was SASL PLAIN */
	struct credentials client_credentials;
	struct credentials configured[CLUSTER_COUNT];
};

/*
 * For the two ways: the head of a new object, which becomes client->handshake. Takes over `startup`, and of a handshake
 * that was before, which ends, what plugins have said.
 */
void handshake_init(struct handshake *hs, const struct handshake_way *way, struct client *c, struct startup *startup,
		    int16_t stream);
/* Frees what handshake_init() made and what was put there since, but not the object. */
void handshake_fini(struct handshake *hs);
/* Whose credentials a cluster gets that wants a log-in: true for the client's. */
bool handshake_gets_client_credentials(const struct handshake *hs, enum cluster_id id);
/* For the log, once both clusters are known: which of them see one role for all users, and whether anybody checks. */
void handshake_say_whose_credentials(const struct settings *settings, struct proxy *proxy);
/* What a cluster gets that wants a log-in: what plugins have set, the client's or the configured ones. */
const struct credentials *handshake_credentials(const struct handshake *hs, enum cluster_id id);
/* These are the client's own, which the cluster checks: also where plugins have set just what the client has said. */
bool handshake_proves(const struct handshake *hs, enum cluster_id id);
/* Once it is known which clusters want a log-in: the driver has to be asked for one. */
bool handshake_needs_dialogue(const struct handshake *hs);
/* Reads a token: sets has_client_credentials. Where we play a mechanism ourselves, or plugins are asked, it has to be PLAIN. */
void handshake_read_token(struct handshake *hs, struct bytesview token);
/* The log-in has succeeded: takes a place of this user; false when the client was refused. */
MUSTCHECK bool handshake_take_user(struct handshake *hs);
/* The way that this client goes from its STARTUP. Takes over `startup`. */
void handshake_start(struct client *c, struct startup *startup, int16_t stream);
/* AUTHENTICATE: the client is in the dialogue from here on. */
void handshake_send_authenticate(struct handshake *hs, const char *class_name);
/* The frame that waited has its answer; the next one may have come. May close the client. */
void handshake_answered(struct handshake *hs);

/* Plugins are told what has come of an attempt; for those that end the handshake, by handshake_refused() or by success. */
void handshake_tell(struct handshake *hs, enum hooks_login_outcome outcome, unsigned cluster, uint32_t code,
		    const char *text);
/* BAD_CREDENTIALS that are for the driver to deal with: it may try again. Tells plugins. */
void handshake_refuse_again(struct handshake *hs, enum hooks_login_outcome outcome, unsigned cluster, const char *text);
/*
 * A cluster has answered with this error: REFUSED, or FAILED where that was about configured credentials, which are no fault of
 * who logs in.
 */
enum hooks_login_outcome handshake_outcome(const struct handshake *hs, enum cluster_id id, uint32_t code);
/* Before the client is refused: whose doing that is; FAILED and no cluster (CLUSTER_COUNT) without. */
void handshake_blame(struct handshake *hs, enum hooks_login_outcome outcome, unsigned cluster);
/* For client.c: the client is being refused, before it ends. Plugins are told. */
void handshake_refused(struct client *c, uint32_t code, const char *text);

/* A frame of a client that is not READY. */
void handshake_on_frame(struct client *c, struct frame *f);
/* handshake_timeout is over. */
void handshake_on_timeout(struct client *c);
/* The process stops: answers what the driver waits for by an error, and ends the client. */
void handshake_on_shutdown(struct client *c);
/* Frees what the handshake holds, its connections included; called when the client ends. */
void handshake_abort(struct client *c);

#endif
