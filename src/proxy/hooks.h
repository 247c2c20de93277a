/*
 * hooks.h - where plugins get into the way of clients and requests. The proxy
 * calls through struct hooks, of which each worker has one when plugins are
 * loaded, and none otherwise; policy/plugin_chain.c fills it, and goes through
 * the plugins in order.
 *
 *   accepted ------------- hooks_connect ------ DENIED: an ERROR to its first frame, then closed
 *   STARTUP, password ---- hooks_credentials -- DENIED: BAD_CREDENTIALS
 *   log-in over ---------- hooks_login
 *   statement dispatched - hooks_request ------ DENIED: an ERROR; a route: no script or rule is asked
 *   answered ------------- hooks_response
 *   closed --------------- hooks_disconnect
 *
 * The first three may be HELD (hold.h): the caller binds the call's ticket to
 * what waits, and asks again with the same call when that has ended.
 */
#ifndef PROXY_HOOKS_H
#define PROXY_HOOKS_H

#include <stdlib.h>

#include "cql/statement_tables.h"
#include "proxy/credential.h"
#include "proxy/hold.h"
#include "proxy/policy.h"

struct arrival;
struct client;
struct hooked;
struct hooks;
struct prepared_ref;
struct request;

enum hooks_result {
	HOOKS_GO_ON,  /* nobody objects; something may have been set */
	HOOKS_DENIED, /* call->denial */
	HOOKS_HELD,   /* call->ticket is to be bound */
};

/* One pass through the plugins, which may be interrupted. Zeroed at first, and kept while it is held. */
struct hooks_call {
	uint64_t ticket;             /* HELD: of the hold. Asked again: of the one that has ended */
	uint8_t at;                  /* the plugin that is asked next, by its place */
	bool is_timed_out;           /* asked again: the hold was not resumed in time */
	struct policy_denial denial; /* DENIED; the text is good until the next call */
	const char *by;              /* DENIED, HELD: the name of the plugin */
};

/* A log-in on its way through the plugins. */
struct hooks_login {
	bool is_startup; /* nothing was asked of the driver yet */
	struct strview user,
		password;          /* what it has sent; p NULL at STARTUP only, both empty: another mechanism's token */
	bool wants[CLUSTER_COUNT]; /* the cluster asks for a log-in, as far as is known */
	/* Filled in by plugins, what is set by the one that has decided only; wiped by the caller: hooks_login_wipe(). */
	bool is_decided;            /* one of them has said DONE: at STARTUP there is no dialogue then */
	bool asks;                  /* at STARTUP: the driver has to log in whatever the clusters say */
	bool is_misused;            /* for the functions that fill this in: what was to be set cannot be */
	bool is_set[CLUSTER_COUNT]; /* this cluster gets: */
	struct credentials set[CLUSTER_COUNT];
	char *name; /* who the client is; owned by the caller; NULL: whom it has named */
};

/* Forgets what is set: credentials and the name. */
static inline void hooks_login_wipe(struct hooks_login *login)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		login->is_set[i] = false;
		credentials_wipe(&login->set[i]);
	}
	free(login->name);
	login->name = NULL;
}

enum hooks_login_outcome {
	HOOKS_LOGIN_OK,
	HOOKS_LOGIN_REFUSED, /* by a cluster */
	HOOKS_LOGIN_DENIED,  /* by a plugin */
	HOOKS_LOGIN_FAILED,  /* a cluster could not be asked; limits; the end of the process */
};

struct hooks_login_result {
	enum hooks_login_outcome outcome;
	unsigned cluster; /* CLUSTER_COUNT: none */
	uint32_t error_code;
	uint64_t duration_ns;
	struct strview user;
	struct strview error;
};

/*
 * A statement of a client as hooks see it: what has just arrived, or a request
 * that ends. On the stack of the caller (hooked.c). What most hooks never ask
 * for is filled in when one does, by hooked_know().
 */
struct hooks_request {
	struct client *client;
	const struct request *rq;          /* NULL: there is none yet, or there never was one */
	const struct hooked *frame;        /* it is being dispatched; NULL: `rq` says all */
	const struct hooks_answer *answer; /* in hooks_response() */
	uint64_t number;                   /* of one process no two are the same */
	uint64_t came_ns;                  /* as loop_now() */
	uint8_t opcode;
	uint8_t kind; /* enum policy_kind; UNKNOWN, too, where nobody has looked at the text; of a BATCH WRITE */
	uint8_t verb; /* enum statement_kind */
	bool is_known;
	uint8_t found; /* for those who answer plugins' questions: what they have looked for; 0 at first */
	/* hooked_know() */
	bool is_prepared;
	uint16_t consistency;          /* 0xFFFF: none */
	const struct verdict *verdict; /* NULL: nobody has looked where it goes */
	struct prepared_ref *prepared; /* EXECUTE of a statement that is known */
	const uint8_t *body;           /* plain, with its custom payload; NULL: it could not be opened */
	uint32_t len;
	uint32_t offset; /* of the message proper */
	/* Set by plugins in hooks_request(): it goes where this says. Both last. */
	const struct policy_route *route;
	const char *routed_by;
};

enum hooks_outcome {
	HOOKS_ANSWERED,
	HOOKS_FAILED,
	HOOKS_REFUSED,
	HOOKS_WAS_DENIED,
	HOOKS_LOCAL,
	HOOKS_ABANDONED,
};

/* What became of it. */
struct hooks_answer {
	enum hooks_outcome outcome;
	uint8_t opcode;      /* 0: none */
	uint8_t answered_by; /* enum cluster_id; CLUSTER_COUNT: the proxy */
	uint8_t decided_by;  /* enum decided_by */
	uint32_t error_code;
	struct strview error;
	const struct frame *frame; /* a cluster's; NULL: it has none, or it is ours */
	const char *decider;       /* who has denied it, or chosen its route; NULL: nobody's opinion */
};

struct hooks_ops {
	enum hooks_result (*connect)(struct hooks *h, struct client *c, struct hooks_call *call);
	enum hooks_result (*credentials)(struct hooks *h, struct client *c, struct hooks_login *login,
					 struct hooks_call *call);
	void (*login)(struct hooks *h, struct client *c, const struct hooks_login_result *result);
	enum hooks_result (*request)(struct hooks *h, struct hooks_request *rq, struct hooks_call *call);
	void (*response)(struct hooks *h, struct hooks_request *rq);
	void (*disconnect)(struct hooks *h, struct client *c);
	/* Other settings, on the worker's thread. */
	void (*reload)(struct hooks *h);
	/* When its thread has ended. */
	void (*free)(struct hooks *h);
};

/* What is not wanted is not called. */
struct hooks {
	const struct hooks_ops *ops;
	struct worker *worker;
	uint64_t requests;     /* frames that have come, of which plugins hear */
	uint64_t number;       /* of the last request that has got one */
	uint32_t number_step;  /* to the next one: numbers of a worker are its own */
	uint8_t request_kinds; /* bits of enum policy_kind: for these there is a hook */
	uint8_t response_kinds;
	bool has_connect, has_credentials, has_login, has_disconnect;
	bool may_route; /* a request may go another way than its statement's plan says (prepare.c) */
};

/* Some plugin is asked or told about requests; others are about log-ins alone. */
static inline bool hooks_hear_requests(const struct hooks *h)
{
	return (h->request_kinds | h->response_kinds) != 0;
}

#endif
