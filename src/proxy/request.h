/*
 * request.h - one request of a driver on its way: its legs, its deadline, its
 * body (kept until the last leg has ended, so that a leg can be sent again)
 * and the first of two answers.
 *
 *   request_new -> fields filled by dispatch -> request_start
 *      leg:  PENDING --answer--> OK | ERROR
 *               |  ^--repaired--
 *               '--UNPREPARED--> waiting for a repair (repair.h)
 *   all legs ended -> merge -> answer to the client -> freed
 *   deadline, lost connection -> an error of ours -> freed
 */
#ifndef PROXY_REQUEST_H
#define PROXY_REQUEST_H

#include "cql/message.h"
#include "proxy/client.h"
#include "proxy/merge.h"
#include "proxy/plain.h"
#include "proxy/request_id.h"

/* Answers up to this size are kept inside the request: a VOID result has 4 bytes, an applied LWT about 50. */
#define SMALL_ANSWER 64
/* Bodies up to this size as well: an EXECUTE of 100 bytes of values. With it a request has 704 bytes. */
#define SMALL_BODY 160

/* What a leg's end means for its request. */
enum leg_role {
	LEG_REQUIRED,    /* its answer takes part in the request's, its failure is the request's */
	LEG_TRACE,       /* only the tracing id of its answer is of interest (local_trace.h) */
	LEG_BEST_EFFORT, /* the answer is certain already and waits for it; its failure is made good afterwards */
};

struct held;
struct request;
struct repair;
struct paging;
struct rewriting;

struct request_leg {
	struct leg leg;
	struct request *request;
	struct list waiting;     /* on a repair's list, or pool->waiting; the first leg's also on client->bulks */
	struct node_stats *node; /* it was sent to last; NULL: to none. Lives as long as the process */
	uint8_t cluster;         /* enum cluster_id */
	uint8_t outcome;         /* enum leg_outcome */
	uint8_t role;            /* enum leg_role */
	uint8_t placement;       /* enum placement: how its node was chosen */
	uint16_t repairs_left;
	bool is_resend; /* on pool->waiting: it alone is sent again, the other one is out or has ended */
	bool was_moved; /* a lost connection has made it go to another node: that happens once */
	uint32_t error_code;
};

/* The first of two answers, until the second one comes. */
struct kept_answer {
	uint8_t cluster;
	uint8_t version;
	uint8_t opcode;
	uint8_t flags;
	uint32_t len;
	uint64_t came_ns;
	struct chunk *chunk; /* holds the body, or NULL: in `small` */
	uint8_t *body;
	uint8_t small[SMALL_ANSWER];
};

/*
 * Thousands are in flight, more than fit into the cache next to a core. So what
 * every answer needs lies together in front, in the order of cache lines, and
 * what few requests have behind it. server.c fetches the lines around a leg
 * ahead (leg_fetch()).
 */
struct request {
	struct list node; /* on client->requests */
	struct client *client;
	struct timeout_item timeout;
	uint64_t started_ns;
	struct prepared_ref *prepared; /* EXECUTE */
	/* 64 */
	struct request_leg legs[CLUSTER_COUNT];
	struct verdict verdict;
	int16_t stream;
	uint8_t opcode;
	uint8_t type;  /* enum request_type */
	uint8_t open;  /* legs without an outcome yet */
	uint8_t flags; /* of the frame, without FRAME_COMPRESSED */
	bool has_kept;
	bool is_bulk; /* its body is large: see bulk.h */
	/* 256. The body, plain, and as it came when that was compressed. */
	struct chunk *body; /* NULL: in small_body */
	struct chunk *packed;
	uint32_t len;
	uint32_t packed_len;
	struct paging *paging;       /* DSE: this has many pages, or is a REVISE about one that has (paging.h) */
	struct rewriting *rewriting; /* PREPARE whose text we have changed, owned; else NULL */
	char *keyspace;              /* PREPARE: the client's when it came; USE: the new one; owned; NULL: none */
	struct held *held;           /* it waits for a plugin's resume(); owned; NULL: it does not */
	uint64_t hook_number; /* for plugins, see hooked.h: they are told of its end by it, and have not been yet; or 0 */
	/* 320 */
	uint8_t *data; /* of the body */
	/* Where in the body what may have to change lies; 0: not there. */
	uint32_t id_offset;     /* EXECUTE: of the prepared id */
	uint32_t flags_offset;  /* EXECUTE in v3 and v4 with SKIP_METADATA: of the flags byte */
	uint32_t paging_offset; /* QUERY, EXECUTE: of the [bytes] of a paging state that carries our mark */
	uint32_t paging_len;
	uint32_t consistency_offset; /* of the level, when a cluster may get another one: amend_level() */
	uint16_t consistency;
	bool consistency_of_read;
	bool has_routes_level; /* `consistency` is that of its route, for every cluster */
	/* Pooled: the keyspace of the connection it must go over, NULL: none. Lives as long as the request. */
	const char *in_keyspace;
	bool needs_keyspace;        /* false: any connection will do */
	bool has_prepared_children; /* BATCH */
	bool lacks_ids;             /* EXECUTE, BATCH: a cluster may have no id yet for one that it names: demand.h */
	bool is_local;              /* we answer it, whatever its leg's answer: local_trace.h */
	/* EXECUTE: where its bound values lie, and the token that they give (placement.h). */
	uint32_t values_offset;
	int64_t token;
	uint16_t value_count;
	bool values_are_named;
	uint8_t token_state; /* enum token_state */
	/* 384, but for `tag` */
	uint16_t tag;         /* of its route, see counters.h; 0: none */
	const char *tag_name; /* the same for people; lasts (names.h) */
	uint8_t *packed_data;
	uint32_t timeout_ms; /* of its route; 0: request_timeout */
	struct request_id_place request_id;
	uint8_t prepares_for; /* PREPARE: TO_* bits of the clusters without which it makes no sense, as it is routed now */
	uint8_t may_refuse; /* PREPARE: TO_* bits of the clusters whose refusal is passed over when the other one has it */
	uint8_t events;     /* REGISTER: enum event_kind bits */
	bool is_denied;     /* the answer is the denial of a script */
	uint8_t verb;       /* for plugins: enum statement_kind */
	uint64_t came_ns; /* before it was held, if it was */
	struct kept_answer kept;
	uint8_t small_body[SMALL_BODY];
} __attribute__((aligned(CACHE_LINE)));

/* A leg lies at 64 or 144: leg_fetch() gets all that the answer needs of the first 320 bytes. */
_Static_assert(offsetof(struct request, legs) == CACHE_LINE, "in front of the legs is one cache line");
_Static_assert(offsetof(struct request, body) <= 256 && offsetof(struct request, data) <= 320,
	       "what every answer needs is in five cache lines");

/*
 * A request for this frame, on the client's list, its stream id taken. `plain`
 * is its body. NULL when there is no memory to keep that: the frame is answered
 * then.
 */
struct request *request_new(struct client *c, const struct frame *f, const struct plain *plain);

/* Another body in place of the first one, for a request that is sent once more: takes over the reference to `body`. */
void request_change_body(struct request *rq, struct chunk *body, uint8_t *data, uint32_t len);

/*
 * Sends the legs that the verdict names, or answers an error when one of them
 * cannot be sent now: then none is. May end the request.
 */
void request_start(struct request *rq);
/* The same with the time that this queue gives it: a worker's queue whose function is request_on_timeout(). */
void request_start_within(struct request *rq, struct timeout_queue *queue);

/* The second half of request_start(), for bulk.c and deliver.c. */
void request_send(struct request *rq);
/* For pool.c: a connection that the leg waits for may be there. May end the request. */
void request_continue(struct request_leg *leg);
/* For pool.c: the node has refused the keyspace that the leg needs a connection in. Ends the leg. */
void request_leg_rejected(struct request_leg *leg, uint32_t code, struct strview message);

/* The client has its answer: counts it, frees it, abandons what is still out. */
void request_end(struct request *rq);

/*
 * For held.c, whose requests become frames again: it is not the client's any
 * more, and its stream id is free. Nothing of it was sent; request_forget()
 * frees it.
 */
void request_step_aside(struct request *rq);
void request_forget(struct request *rq);

/* Of a client that has connections of its own, the one on which the leg to this cluster goes; NULL when there is none. */
static inline struct server *request_server(const struct request *rq, unsigned cluster)
{
	if (unlikely(rq->is_bulk))
		return rq->client->bulks->server[cluster];
	return rq->client->server[cluster];
}

/* It has been sent to some cluster, or is about to be sent once more. */
static inline bool request_was_sent(const struct request *rq)
{
	return rq->open > 0;
}

/* It is sent now. What goes to one cluster and is no read is counted: nobody else will see that the clusters differ. */
static inline void request_count_single(const struct request *rq)
{
	const struct verdict *v = &rq->verdict;

	if (unlikely(v->class == CLASS_WRITE) && v->to != TO_BOTH)
		metric_add(&rq->client->worker->metrics.single_writes[v->answer_from], 1);
}

/* How long it may take, for messages. */
static inline uint32_t request_timeout_ms(const struct request *rq)
{
	return rq->timeout_ms ? rq->timeout_ms : rq->client->worker->settings->request_timeout_ms;
}

/* Its node, for messages. */
const char *request_node_name(const struct request *rq, unsigned cluster);

/*
 * Bytes that outlive the frame they lie in: a reference to their chunk when it
 * is large (or `owned`: made for them alone), else a copy. *kept is where they
 * lie then. NULL without memory for it.
 */
MUSTCHECK struct chunk *request_keep_bytes(struct loop *loop, struct chunk *chunk, uint8_t *data, uint32_t len,
					   bool owned, uint8_t **kept);

/* For worker->request_timeouts and route_timeouts. */
void request_on_timeout(struct timeout_item *item);
/* The client ends: its requests end without an answer. */
void requests_drop(struct client *c);
/*
 * Its log-in to the cluster is not good any more: answers what waits for a connection by this error, and closes the
 * client when what is in flight has its answers.
 */
void requests_refuse(struct client *c, enum cluster_id cluster, enum cql_error_code code, const char *text);
/* A connection of the client was lost: requests that would send on it once a repair is done are answered. */
void requests_lost(struct client *c, enum cluster_id cluster, const char *node, const char *why);

/* A leg's connection was lost: answers the request. For tables of leg_ops that follow an answer. */
void request_leg_on_lost(struct leg *l, const char *why);

/* ---- for repair.c ---- */

/*
 * The statement is prepared again on this node: sends the leg there, once more
 * or for the first time. `changed` says that its id is another one now.
 */
void request_leg_resend(struct request_leg *leg, const struct net_address *host, bool changed);
/* It could not be prepared: the leg ends with this ERROR frame of the node, or with a text of ours. */
void request_leg_refused(struct request_leg *leg, struct frame *f);
void request_leg_hopeless(struct request_leg *leg, const char *why);

#endif
