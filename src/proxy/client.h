/*
 * client.h - one connection of a driver.
 *
 *   accept -> NEW -> STARTING -> (AUTH ->) READY -> FINISHING -> CLOSED
 *              \--------\-----------\--------\----------/
 *
 * Belongs to one worker. In dedicated mode it owns one server per cluster; in
 * pooled mode it has joined one pool per cluster (pool.h).
 */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include "cql/error.h"
#include "proxy/login.h"
#include "proxy/worker.h"

enum client_state {
	CLIENT_NEW,       /* nothing but OPTIONS and STARTUP is taken; handshake_timeout runs until READY */
	CLIENT_STARTING,  /* STARTUP came; connections to the clusters are being made */
	CLIENT_AUTH,      /* AUTHENTICATE was sent; nothing but AUTH_RESPONSE is taken */
	CLIENT_READY,     /* requests are served */
	CLIENT_FINISHING, /* nothing is read any more; what is queued goes out */
	CLIENT_CLOSED,    /* freed at the end of the turn */
};

/* Why a connection ended: X(name, words in the log) */
#define CLIENT_CLOSE_REASONS(X)                                                                                        \
	X(CONNECTION, "connection ended")                                                                              \
	X(VERSION, "protocol version refused")                                                                         \
	X(PROTOCOL, "protocol error")                                                                                  \
	X(HANDSHAKE, "handshake failed")                                                                               \
	X(AUTHENTICATION, "authentication failed")                                                                     \
	X(TIMEOUT, "handshake time-out")                                                                               \
	X(KEYSPACE, "its keyspace may differ between the clusters")                                                    \
	X(SERVER_LOST, "lost its connection to a cluster")                                                             \
	X(NODE_REMOVED, "its node has left the cluster")                                                               \
	X(DENIED, "denied by a plugin")                                                                                \
	X(LIMIT, "limit of connections")                                                                               \
	X(MEMORY, "memory limit")                                                                                      \
	X(ORPHANS, "too many answers outstanding")                                                                     \
	X(IDLE, "idle")                                                                                                \
	X(SLOW, "it does not read its answers")                                                                        \
	X(SHUTDOWN, "shutdown")

enum client_close_reason {
#define X(name, words) CLOSE_##name,
	CLIENT_CLOSE_REASONS(X)
#undef X
};

struct admission_header;
struct bulk;
struct client_hooks;
struct driver;
struct handshake;
struct mirror;
struct pool;
struct upload;
struct use_split;

/* Dedicated mode: a client's connections for large requests (bulk.h); made with the first such request, and kept. */
struct bulks {
	struct server *server[CLUSTER_COUNT]; /* NULL when there is none that is ready */
	struct bulk *bulk[CLUSTER_COUNT];     /* the same while it is being made, too */
	struct list waiting;                  /* requests that cannot be sent yet */
};

/* Dedicated mode: what a client has logged in with at the clusters, for connections that are made for it later. */
struct client_login {
	struct credentials credentials[CLUSTER_COUNT];
	bool is_opaque[CLUSTER_COUNT]; /* the cluster has accepted a log-in that we cannot repeat */
};

/* Thousands may be idle, so what few of them need, or for a short time only, is made when it is needed. */
struct client {
	struct wire wire;
	struct worker *worker;
	struct list node; /* on worker->clients */
	struct list requests;
	struct server *server[CLUSTER_COUNT]; /* dedicated mode; NULL before STARTUP and after the loss */
	struct pool *pool[CLUSTER_COUNT];     /* pooled mode: both, from READY on; else NULL */
	const char *lane_keyspace;   /* pooled: `keyspace` in the worker's list of them, see worker_keyspace() */
	struct handshake *handshake; /* from STARTUP to READY */
	struct mirror *mirror[CLUSTER_COUNT]; /* where copies of its reads go (mirror_link.h), or NULL */
	struct early_frame *early;            /* a frame that came before its turn; NULL: none */
	struct bulks *bulks;                  /* from the first large request on (bulk.h), NULL before */
	struct upload *upload;                /* the same (upload.h) */
	struct client_login *login;           /* NULL: no cluster has asked for one, or the client is pooled */
	uint64_t *streams;                    /* bit set of the client's stream ids in flight */
	uint64_t first_streams;               /* that of those below 64, with which most drivers can do */
	uint32_t stream_words;
	uint32_t in_flight;
	uint32_t paging_count;   /* of these, with continuous pages: max_requests_per_client does not count them */
	uint64_t kept_bytes;     /* of the bodies of its requests in flight */
	uint8_t state;           /* enum client_state, set by client_set_state() only */
	uint8_t version;         /* of its frames; 0 before the first that said one */
	uint8_t refused_version; /* a blocked one it came with: nothing but the refusal is answered; else 0 */
	uint8_t compression;     /* enum cql_compression */
	uint8_t leg_compression[CLUSTER_COUNT]; /* the same of its connections to each cluster, once it is READY */
	uint8_t events;                         /* enum event_kind bits it registered for */
	uint32_t late_event_bytes;              /* of events, since it fell behind with reading (notice.h) */
	uint8_t close_reason;
	uint8_t refusal;       /* enum limit_refusal: it is here to be told so; see admission.h for these */
	bool has_place : 1;    /* it counts in proxy->client_count */
	bool shakes_hands : 1; /* it counts in proxy->gate */
	bool is_draining : 1;  /* new requests are refused; closed when the last answer has left */
	bool is_throttled : 1; /* it does not read fast enough: its servers are not read */
	bool waits_for_memory : 1;
	bool waits_for_use : 1;  /* a USE is in flight (pooled), or held, and what is behind it has to wait */
	bool use_is_held : 1;    /* by a plugin (held.h) */
	bool is_listener : 1;    /* it has registered for events: worker_client_listens() */
	bool holds_bulk : 1;     /* bulk_continue() has to do nothing: requests are being gone through */
	char *keyspace;          /* as set by USE, NULL before */
	struct use_split *split; /* dedicated: a cluster stands in another keyspace (use.h); NULL: none does */
	struct driver *driver;   /* of its STARTUP, a hold; NULL: it named none */
	struct timeout_item handshake_timeout;
	/* Pooled: since when more than client_output_limit waits and it takes nothing of that; 0: it is not so. */
	uint64_t stalled_ns;
	struct loop_task close_task;   /* closes it in the next turn, for being slow */
	struct timeout_item last_call; /* it is drained and has nothing in flight: until it is closed */
	struct loop_deferred deferred;
	uint64_t number;
	uint64_t opened_ns;
	uint64_t mirrors_paused_until_ns; /* no further mirror is opened before; 0: it may be */
	uint64_t request_count;           /* frames since it is READY */
	uint64_t idle_mark;               /* as idle.c saw it last, idle_looks times */
	uint8_t idle_looks;
	uint8_t listener;                /* which one it has come to, as in the settings */
	struct client_hooks *hooks;      /* what only plugins ask for (client_hooks.h); NULL without them */
	struct admission_header *header; /* until its PROXY header has come, or NULL */
	struct limit_entry *address_place;
	struct limit_entry *user_place;
	char name[NET_TEXT_MAX];        /* the driver's address; by client_set_name() only */
	uint8_t ip_len;                 /* of its part without brackets and port */
	struct net_address *reached_at; /* what its PROXY header calls our address; NULL: that of its socket */
};

/* Takes over an accepted socket and its places. */
void client_accept(struct worker *worker, const struct newcomer *newcomer);

/* That is its address from now on. */
void client_set_name(struct client *c, const struct net_address *address);

void client_set_state(struct client *c, enum client_state next);

/* Ends the connection at once. */
void client_close(struct client *c, enum client_close_reason reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
/*
 * Refuses new requests, lets those in flight end, then closes. Between the last
 * answer and the end lies a tenth of a second in which requests are still
 * refused: a driver that has just got an answer sends the next request at once,
 * and one that is refused is tried elsewhere, while one that gets no answer at
 * all may have been executed for all it knows.
 */
void client_drain(struct client *c, enum client_close_reason reason, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Queues an answer whose body is `len` bytes; flags as in the frame header. */
void client_send(struct client *c, int16_t stream, uint8_t opcode, uint8_t flags, const void *body, uint32_t len);
/* Queues an ERROR without further fields. */
void client_send_error(struct client *c, int16_t stream, enum cql_error_code code, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* An ERROR, then the end of the connection once it is out. */
void client_refuse(struct client *c, int16_t stream, enum client_close_reason reason, enum cql_error_code code,
		   const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The same, but in the zdm profile without a frame: so ZDM Proxy ends a connection whose bytes or clusters fail it. */
void client_break_off(struct client *c, int16_t stream, enum client_close_reason reason, enum cql_error_code code,
		      const char *fmt, ...) PRINTF_LIKE(5, 6);

/*
 * Keeps a frame that came before the one ahead of it was answered, and reads no
 * more. For the dialogue before READY only, which is taken step by step.
 */
void client_hold(struct client *c, const struct frame *f);
/* The frame ahead has its answer: what was kept has its turn. May close the client. */
void client_go_on(struct client *c);

/* The handshake is over: requests are served from now on. */
void client_ready(struct client *c);
/* The last answer of a request has been queued: the request is off the client's list. */
void client_request_done(struct client *c, int16_t stream);
/* The second half of it, for a request whose stream id is free already: it may have been the last one. */
void client_request_over(struct client *c);
/* Something was queued for the client or by it: stops reading where too much waits. */
void client_check_output(struct client *c);
/* Something that keeps the client from being read, or does so no more, has changed: stops reading, or goes on. */
void client_adjust_reading(struct client *c);
/* v5: frames behind READY or AUTHENTICATE are in segments. */
void client_switch_framing(struct client *c);

/* It has registered for events: enum event_kind bits. */
void client_listen(struct client *c, uint8_t events);

/* For worker->last_calls. */
void client_on_last_call(struct timeout_item *item);

/* The address at which the driver has reached us. Asks the kernel. */
void client_local_address(const struct client *c, struct net_address *out);

/* Dedicated mode: keeps a copy of what the cluster has accepted; without a user it was a log-in that we cannot repeat. */
void client_keep_login(struct client *c, enum cluster_id cluster, const struct credentials *accepted);
/* What another connection for this client logs in with; without a user: nothing, or nothing that could be repeated. */
const struct credentials *client_credentials(const struct client *c, enum cluster_id cluster);
/* The cluster has accepted a log-in that we cannot repeat. */
bool client_login_is_opaque(const struct client *c, enum cluster_id cluster);

/* Handlers for the client's dedicated servers once they are ready. */
extern const struct server_handler client_server_handler;

static inline bool client_is_pooled(const struct client *c)
{
	return c->pool[CLUSTER_ORIGIN] != NULL;
}

/* Its address without port. */
static inline struct strview client_ip(const struct client *c)
{
	return (struct strview){ c->name + (c->name[0] == '['), c->ip_len };
}

/* Who has logged in, as far as we could read that; empty without a log-in. */
static inline struct strview client_user(const struct client *c)
{
	return c->user_place ? limit_key(c->user_place) : SV("");
}

static inline struct strview client_keyspace(const struct client *c)
{
	return sv_from(c->keyspace ? c->keyspace : "");
}

/* How what a cluster sends for this client is compressed, if it is flagged as compressed. */
static inline enum cql_compression client_leg_compression(const struct client *c, unsigned cluster)
{
	return (enum cql_compression)c->leg_compression[cluster];
}

static inline void client_free_stream(struct client *c, int16_t stream)
{
	c->streams[(uint32_t)stream / 64] &= ~(1ull << ((uint32_t)stream % 64));
}

static inline bool client_stream_is_used(const struct client *c, int16_t stream)
{
	const uint32_t word = (uint32_t)stream / 64;

	return word < c->stream_words && (c->streams[word] >> ((uint32_t)stream % 64) & 1);
}

#endif
