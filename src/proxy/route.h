/*
 * route.h - which cluster or clusters get a statement, and whose answer the
 * client sees, as far as the settings decide that.
 *
 *   system.local, system.peers, system.peers_v2   answered by us
 *   CALL InsightsRpc...                               answered by us
 *   reads of other system keyspaces, LIST, DESCRIBE   the system-queries cluster
 *   what a [routing] rule fits                        as that says (rules.h)
 *   other SELECTs                                     the primary
 *   everything else, and what is not understood       both, as a write
 *
 * Scripts have a say before the rules do (policy.h).
 */
#ifndef PROXY_ROUTE_H
#define PROXY_ROUTE_H

#include "cql/statement.h"
#include "proxy/settings.h"

#define TO_ORIGIN (1u << CLUSTER_ORIGIN)
#define TO_TARGET (1u << CLUSTER_TARGET)
#define TO_BOTH (TO_ORIGIN | TO_TARGET)

/* What a request is, as far as the errors that we make for it depend on it (failure.h). */
enum request_class {
	CLASS_READ,
	CLASS_WRITE,   /* and what is not understood */
	CLASS_CONTROL, /* PREPARE, USE, REGISTER, OPTIONS: may be repeated without harm */
};

/* The [string] write type of a WRITE_TIMEOUT. */
enum write_type {
	WRITE_SIMPLE,
	WRITE_BATCH,
	WRITE_UNLOGGED_BATCH,
	WRITE_COUNTER,
	WRITE_CAS,
};
const char *write_type_name(enum write_type type);

/* Whether the cluster that it does not go to gets a copy whose answer is thrown away (mirror.h). */
enum mirror_mode {
	MIRROR_NONE,
	MIRROR_ANYWHERE,    /* the connection's keyspace does not matter */
	MIRROR_IN_KEYSPACE, /* in the client's keyspace */
	MIRROR_USE,         /* it changes the keyspace */
};

/* Whose opinion a verdict is. */
enum decided_by {
	DECIDED_BY_DEFAULT,
	DECIDED_BY_PROTOCOL, /* a system table, a page, a trace: nobody else is asked */
	DECIDED_BY_RULE,     /* [routing] rule */
	DECIDED_BY_HOOK,     /* a script (policy.h) */
	DECIDED_BY_PLUGIN,   /* hooks.h; no script and no rule is asked */
};

struct policy_route;

struct verdict {
	uint8_t to; /* TO_* bits; 0: answered by us: CLASS_READ a system table, CLASS_CONTROL an Insights call */
	uint8_t answer_from; /* enum cluster_id: whose answer wins when both agree */
	uint8_t class;       /* enum request_class */
	uint8_t write_type;  /* enum write_type */
	uint8_t mirror;      /* enum mirror_mode */
	bool is_of_traces;   /* a read of system_traces: its cluster depends on the trace (traces.h) */
	bool is_split;       /* a batch to whose tables rules give different routes: it is not sent anywhere */
	uint8_t decided_by;  /* enum decided_by */
	/* What a hook wants beside the clusters; NULL: nothing. Only good until the request is started: it belongs to
	 * the engine. */
	const struct policy_route *route;
	const char *decider; /* the rule's text, the script's hook, the plugin; lasts (names.h). NULL: nobody's opinion */
};

/*
 * `facts` is what statement_scan() said about the text; `keyspace` the one that
 * unqualified names mean: the request's (v5) or the connection's; len 0 for none.
 */
struct verdict route_statement(const struct settings *settings, struct strview text,
			       const struct statement_facts *facts, struct strview keyspace);

/* TO_* bits of a rule; both for one that is NULL, a write's default. */
uint8_t route_of_rule(const struct route_rule *rule);

/* The verdict for everything that always goes to both: BATCH, PREPARE, REGISTER ... */
struct verdict route_both(const struct settings *settings, enum request_class class, enum write_type type);
/* The same for OPTIONS, a heartbeat, which the mirror gets, too. */
struct verdict route_options(const struct settings *settings);

/* What the route of a BATCH follows from, by its children. Zeroed at first. */
struct route_children {
	uint8_t to;          /* where all of them so far go; 0: there was none */
	bool is_split;       /* they go to different clusters */
	bool is_undecided;   /* one is not understood, or is no write */
	const char *decider; /* of the first one */
};
/* Adds the verdict of a child. */
void route_add_child(struct route_children *children, const struct verdict *child);
/* What the rules say of a BATCH with these children, into its verdict, which is of route_both(). */
void route_batch(const struct settings *settings, const struct route_children *children, struct verdict *verdict);

#endif
