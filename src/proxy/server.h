/*
 * server.h - one connection to one node: its socket, its stream ids and the
 * legs that wait for answers on them. It knows no client.
 *
 *   server_open() -> CONNECTING -> (on_open) LOGIN -> server_set_ready() READY
 *                         \-------------\---------------------\----> CLOSED
 *
 * Belongs to one loop. Allocated by server_open(), freed by itself at the end
 * of the turn in which it was closed.
 */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include "proxy/leg.h"
#include "proxy/node_stats.h"
#include "proxy/settings.h"
#include "proxy/wire.h"

/* Marks a stream id whose leg was abandoned: its answer is still to come. */
#define LEG_ORPHAN ((struct leg *)1)
/* The most stream ids of a connection (native protocol v5, section 2.3: non-negative 16 bit). */
#define SERVER_MAX_STREAMS 32768
/* In v2 they have one signed byte; as with ZDM Proxy the last of them stays unused. */
#define SERVER_MAX_SHORT_STREAMS 127

/* With more than one in so many of its ids waiting for answers that came too late for anybody, a connection is crowded. */
#define SERVER_ORPHAN_SHARE 2

enum server_state {
	SERVER_CONNECTING, /* TCP or TLS under way; frames may be queued */
	SERVER_LOGIN,      /* connected; STARTUP and authentication */
	SERVER_READY,      /* requests may be sent */
	SERVER_CLOSED,     /* freed at the end of the turn */
};

struct server;

struct server_handler {
	/* The socket is connected, TLS included; log-in may begin. */
	void (*on_open)(struct server *server);
	/* An EVENT frame. May be NULL. */
	void (*on_event)(struct server *server, struct frame *f);
	/* The connection is over; every leg has had its on_lost() before. Not called by server_close(). */
	void (*on_closed)(struct server *server, const char *why);
	/* Queued output has left, or a stream id is free that an answer nobody waits for had kept. May be NULL. */
	void (*on_progress)(struct server *server);
};

struct server_options {
	struct loop *loop;
	enum cluster_id cluster;
	struct net_address address;
	struct tls_context *tls; /* NULL: plain */
	const char *server_name; /* for TLS, see tls_new(); copied by OpenSSL */
	const char *sni;         /* the SNI name when it is another one, see tls_set_sni(); else NULL or "" */
	uint8_t version;         /* of every frame that is sent */
	uint32_t max_frame;      /* largest body of an answer */
	uint32_t max_streams;
	uint64_t memory_limit;    /* see memory.h */
	struct node_stats *stats; /* what happens here is counted in; NULL: nowhere */
	const struct server_handler *handler;
	void *owner;
};

/* Whether so many stream ids are needed still. An object of its own, since few connections ever have so much in flight. */
struct ids_look {
	struct loop_poll poll;
	struct server *server;
};

struct server {
	struct wire wire;
	const struct server_handler *handler;
	void *owner;
	struct node_stats *stats;  /* never NULL */
	struct leg **legs;         /* by stream id */
	uint16_t *free_ids;        /* a stack */
	struct ids_look *ids_look; /* NULL while there are few */
	uint32_t legs_cap;
	uint32_t free_count;
	uint32_t next_id; /* ids from here to max_streams were never used */
	uint32_t max_streams;
	uint32_t max_frame; /* of answers; until READY a smaller limit holds */
	uint32_t in_flight; /* ids taken, orphans included */
	uint32_t orphans;
	uint64_t crowded_ns;    /* since when more than a SERVER_ORPHAN_SHARE of its ids are orphans; 0: they are not */
	uint64_t last_used_ns;  /* when the last frame that is no heartbeat was queued */
	uint64_t last_beat_ns;  /* when the last heartbeat was */
	uint64_t last_heard_ns; /* when the last frame came, or, of a pooled one, a part of it */
	uint64_t busy_since_ns; /* since when something is due */
	uint64_t memory_limit;  /* see memory.h */
	struct loop_poll memory_poll;
	bool waits; /* a large answer has to wait for memory, on this stream: */
	int16_t waiting_stream;
	bool is_held; /* by server_hold() */
	struct leg heartbeat;
	uint8_t state;   /* enum server_state, set by set_state() only */
	uint8_t cluster; /* enum cluster_id */
	uint8_t version;
	uint8_t compression;     /* enum cql_compression, of this connection */
	char *keyspace;          /* that USE has set on this connection, NULL before; owned */
	bool switched;           /* v5: the frames are in segments now */
	uint8_t foreign_version; /* of the frame that ended the connection, when we do not know that version; else 0 */
	struct loop_deferred deferred;
	struct net_address address;
	char name[NET_TEXT_MAX]; /* address and port, or node id, for messages */
};

/* Starts to connect. NULL when that fails at once; *why is then the reason. */
struct server *server_open(const struct server_options *options, const char **why);
/* Ends the connection. Legs still out get on_lost(why); on_closed() is not called. */
void server_close(struct server *server, const char *why);

/* The owner goes away: its handler is called no more. The connection itself is then closed, or handed on. */
void server_detach(struct server *server);

/* The owner wants nothing to be read (true), or reading to go on. */
void server_hold(struct server *server, bool held);

/* Log-in is over: requests may follow. */
void server_set_ready(struct server *server);

/* True when one more frame can be sent: connected, ready, and a stream id is left. */
static inline bool server_has_room(const struct server *s)
{
	return s->state == SERVER_READY && (s->free_count > 0 || s->next_id < s->max_streams);
}

/*
 * Sends one frame and ties the leg to its answer. The pieces together are
 * `length` bytes; FRAME_COMPRESSED in `flags` says that they are compressed as
 * this connection has it. False when no stream id is left or the connection
 * has ended; then nothing was sent.
 */
MUSTCHECK bool server_send(struct server *s, struct leg *leg, uint8_t opcode, uint8_t flags,
			   const struct wire_piece *pieces, unsigned count, uint32_t length);
/* An id of 16 bytes that is put into a body on its way; `bytes` NULL: none is. */
#define SERVER_ID_LEN 16
struct server_id {
	const uint8_t *bytes;
	uint32_t offset;
};

/*
 * The same for the ordinary request: one piece, whose bytes at id->offset are
 * replaced by the id.
 */
MUSTCHECK bool server_send_copy(struct server *s, struct leg *leg, uint8_t opcode, uint8_t flags,
				const struct wire_piece *body, const struct server_id *id);
MUSTCHECK bool server_send_body(struct server *s, struct leg *leg, uint8_t opcode, uint8_t flags, const void *body,
				uint32_t length);

/*
 * A leg that nobody waits for any more keeps its stream id taken; it has been answered. For pages.c: leg_abandon() and
 * what follows it count so by themselves. The second one may close the server.
 */
void server_orphan_left(struct server *s);
void server_orphan_came(struct server *s);

/* `next`, which is not out, is from now on in the place of `leg`, which is: what comes for the one comes for the other. */
void server_replace_leg(struct server *s, struct leg *leg, struct leg *next);

/*
 * Sends OPTIONS when nothing was sent for `interval_ns`, so that what lies
 * between us and the node does not take the connection for dead. The answer is
 * swallowed; while it is due no other heartbeat is sent.
 */
void server_keep_alive(struct server *s, uint64_t interval_ns);
/* Sends OPTIONS now, unless one is out. */
void server_probe(struct server *s);

#endif
