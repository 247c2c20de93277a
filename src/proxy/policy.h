/*
 * policy.h - the seam between a request and what may decide its route. The
 * order of opinions, of which the first one wins:
 *
 *   protocol rules     system tables, pages after the first, traces     route.c, dispatch.c
 *   plugins            before a request is made of the frame            hooked.h
 *   an engine's hooks  scripts (policy/lua_engine.h)                    here
 *   [routing] rule     the most specific one first                      rules.c
 *   the default        reads to the primary, the rest to both           route.c
 *
 * An engine belongs to one worker and one generation of settings. Its hooks
 * have numbers, in the order in which they are asked, and scopes: what a hook
 * says about a table or a statement holds for every request about it, so it is
 * asked once, and the plan that comes of it is kept with the prepared
 * statement, or in a table here.
 */
#ifndef PROXY_POLICY_H
#define PROXY_POLICY_H

#include "cql/error.h"
#include "cql/statement_tables.h"
#include "proxy/route.h"

struct arrival;
struct counters;
struct loop;
struct query_params;
struct request;
struct worker;

/* What hooks and rules are chosen by: X(name, word) */
#define POLICY_KINDS(X)                                                                                                \
	X(READ, "read")     /* SELECT, LIST, DESCRIBE */                                                               \
	X(WRITE, "write")   /* INSERT, UPDATE, DELETE, BATCH, TRUNCATE */                                              \
	X(SCHEMA, "schema") /* CREATE, ALTER, DROP ..., roles and permissions */                                       \
	X(USE, "use")                                                                                                  \
	X(UNKNOWN, "unknown") /* what the scanner does not understand, and a batch whose children it does not */

enum policy_kind {
#define X(name, word) POLICY_##name,
	POLICY_KINDS(X)
#undef X
};
#define POLICY_KIND_COUNT 5

const char *policy_kind_name(enum policy_kind kind);
extern const uint8_t policy_kinds[];
static inline enum policy_kind policy_kind_of(enum statement_kind verb)
{
	return (enum policy_kind)policy_kinds[verb];
}

/* How long an opinion holds. */
enum policy_scope {
	SCOPE_TABLE,     /* for this kind of statements on this table, while the settings stay */
	SCOPE_STATEMENT, /* for this prepared statement */
	SCOPE_REQUEST,   /* for this request */
};

/* What there is to know about the sender of a request. */
struct policy_client {
	struct strview user;           /* len 0: it has not logged in */
	struct strview address;        /* without port */
	struct strview driver;         /* DRIVER_NAME of its STARTUP; len 0: it had none */
	struct strview driver_version; /* DRIVER_VERSION */
};

struct policy_question {
	/* Of the statement. */
	uint8_t kind;   /* enum policy_kind */
	uint8_t verb;   /* enum statement_kind */
	bool is_system; /* it is about a keyspace of Cassandra's own */
	/* One for most; of a batch all; each with the connection's keyspace where the text has none. */
	const struct statement_tables *tables;
	/* Of the request; not filled in when a plan is made. */
	bool is_prepared; /* EXECUTE, and a BATCH with a prepared child */
	uint8_t opcode;
	uint16_t consistency;
	uint32_t size; /* of the body, in bytes */
	const struct policy_client *client;
	/* The token of the partition key; false when it is not known. NULL: never known. */
	bool (*token)(void *arg, int64_t *token);
	void *arg;
};

/* The statement's part, as of a QUERY; `tables` stays the caller's. */
void policy_question_init(struct policy_question *q, const struct statement_facts *facts,
			  const struct statement_tables *tables);

#define POLICY_KEEP_LEVEL 0xFFFF

/* A route as an opinion names it. Owned by the engine (or the rule), valid as long as that. */
struct policy_route {
	uint8_t to;           /* TO_* bits */
	uint8_t answer_from;  /* enum cluster_id, one of `to` */
	bool mirror;          /* reads only: the other cluster gets a copy whose answer is thrown away */
	uint16_t consistency; /* in place of the request's, unless that is a serial one; POLICY_KEEP_LEVEL */
	uint32_t timeout_ms;  /* in place of request_timeout; 0: that */
	uint16_t tag;         /* a number of counters.h that counts its requests; 0: none */
	const char *tag_name; /* the tag itself; lasts (names.h) */
	const char *name;     /* for people: "target", "both (answer_from target, tag canary)" */
};

struct policy_denial {
	enum cql_error_code code; /* of those without further fields */
	const char *text;
};

/* Neither a route nor a denial: none. */
struct policy_opinion {
	const struct policy_route *route;
	const struct policy_denial *denial;
	uint8_t hook; /* the number of the one that has it; POLICY_HOOKS_MAX: several, which disagree */
	/* Of a batch: a bit for each table that the route was given for; 0: it is about the batch as a whole. */
	uint32_t tables;
};

/* Sets of hooks are uint64_t, a bit for each by its number. */
#define POLICY_HOOKS_MAX 64

/* What pages say of one. */
struct policy_hook_status {
	const char *name;
	const char *place; /* "FILE:LINE" of its registration */
	/* Since the start of the process, in all workers; of a hook of this name before a reload, too. */
	int64_t calls;
	int64_t errors;
	int64_t denials;
	int64_t workers_off; /* in which it is switched off after too many errors */
};

struct policy_engine;

struct policy_engine_ops {
	/*
	 * Goes through the hooks of `among` in order. One whose filter leaves out
	 * what `q` is about is dropped; one whose scope is `scope` or less is asked,
	 * and an opinion of it ends the round; the others are put into the result:
	 * they have to be asked for each request, or with a larger scope. What is in
	 * `out` lives as long as the engine.
	 */
	uint64_t (*plan)(struct policy_engine *e, const struct policy_question *q, uint64_t among,
			 enum policy_scope scope, struct policy_opinion *out);
	/* Asks the hooks of `among` in order until one has an opinion. What is in `out` lives until the next call. Never
	 * called, nor plan(), while one of both is under way. */
	void (*decide)(struct policy_engine *e, const struct policy_question *q, uint64_t among,
		       struct policy_opinion *out);
	/* A client was given this hook's denial, kept or new. NULL: nobody counts them. */
	void (*denied)(struct policy_engine *e, unsigned hook);
	/* On the worker's thread, when it begins to be used: its timers start. */
	void (*start)(struct policy_engine *e, struct loop *loop);
	/* The same, when it is used no more: its timers end. */
	void (*stop)(struct policy_engine *e);
	/* After stop(), or without start(). From any thread. */
	void (*free)(struct policy_engine *e);
};

struct policy_engine {
	const struct policy_engine_ops *ops;
	unsigned hook_count;
	const char *hook_names[POLICY_HOOKS_MAX]; /* NULL: it has none; they last (names.h) */
	bool may_mirror;                          /* one of its routes mirrors */
	/* Set by the engine: a hook has been switched off, so what was kept of its opinions does not count any more.
	 * Cleared when that has been forgotten. */
	bool is_outdated;
};

/* What is known of a statement before a request for it comes. */
struct policy_plan {
	uint64_t ask; /* hooks that have to be asked for each request */
	/* When none of them has an opinion; of a hook of a smaller scope. */
	struct policy_opinion opinion;
	/* Of a batch: those of `ask` that do not come before the opinion about one of its tables, which goes by `fixed`
	 * then: another route of theirs is a denial. */
	uint64_t late;
	const struct policy_route *fixed; /* NULL: there are none */
	uint8_t fixed_table;              /* its place among the tables */
};

/* An engine and the plans that it has made by kind and table. On the worker's thread only, but to be made and freed. */
struct policy_cache;

/* Takes over the engine. `rules` are those of the same settings, and live as long; NULL: none. */
struct policy_cache *policy_cache_new(struct policy_engine *engine, const struct rule_list *rules);
/* Frees the engine, too. NULL is harmless. */
void policy_cache_free(struct policy_cache *cache);
struct policy_engine *policy_cache_engine(const struct policy_cache *cache);

/*
 * The plan for a statement. `is_kept` says that it is prepared, so that hooks of
 * SCOPE_STATEMENT are asked now. When the tables of a batch go to different
 * clusters, some of them by an opinion and the others by rules or the default,
 * the opinion is a denial that names two of them.
 */
struct policy_plan policy_plan_make(struct policy_cache *cache, const struct policy_question *q, bool is_kept);

/* An opinion that is against what an earlier hook has said of one of the tables becomes a denial. For plans with `late`. */
void policy_check_late(struct policy_cache *cache, const struct policy_plan *plan,
		       const struct statement_tables *tables, struct policy_opinion *opinion);

/* Puts an opinion's route into a verdict; without a route it stays as it is. */
void policy_route_apply(const struct policy_route *route, struct verdict *verdict);

/* What a prepared statement has of its plan: a part of struct prepared_ref. */
struct policy_statement {
	struct policy_plan plan;
	struct policy_question question; /* the statement's part */
	struct statement_tables *tables; /* with room for those that there are */
	struct policy_denial conflict;   /* what the plan denies with where tables disagree */
	char *conflict_text;
};

/* NULL when the plan is empty, else to be freed. The plan's route is in `verdict`. */
struct policy_statement *policy_statement_new(struct policy_cache *cache, struct strview text,
					      const struct statement_facts *facts, struct strview keyspace,
					      struct verdict *verdict);
void policy_statement_free(struct policy_statement *s);

/*
 * The last step before a request is started, only called in a worker with
 * scripts: asks the hooks and puts their opinion into rq->verdict. False when
 * the request was denied: it has been answered and is gone.
 */
MUSTCHECK bool policy_on_query(struct request *rq, const struct query_params *params, struct strview text,
			       const struct statement_facts *facts, struct strview keyspace);
/* rq->prepared->policy is not NULL. */
MUSTCHECK bool policy_on_execute(struct request *rq, const struct query_params *params);
/* `tables` are those of the children; `is_known` says that all of them were understood. */
MUSTCHECK bool policy_on_batch(struct request *rq, const struct statement_tables *tables, bool is_known);

#endif
