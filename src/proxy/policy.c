/* policy.c - see policy.h */
#include "proxy/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proxy/driver.h"
#include "proxy/failure.h"
#include "proxy/placement.h"
#include "proxy/reply.h"
#include "proxy/rules.h"

/* Plans by kind and table; beyond that all are forgotten and made again. */
#define CACHE_SLOTS 1024
#define CACHE_MAX (CACHE_SLOTS * 4)

const char *policy_kind_name(enum policy_kind kind)
{
	static const char *const names[] = {
#define X(name, word) word,
		POLICY_KINDS(X)
#undef X
	};

	return names[kind];
}

const uint8_t policy_kinds[] = {
	[STATEMENT_SELECT] = POLICY_READ,     [STATEMENT_LIST] = POLICY_READ,      [STATEMENT_DESCRIBE] = POLICY_READ,
	[STATEMENT_INSERT] = POLICY_WRITE,    [STATEMENT_UPDATE] = POLICY_WRITE,   [STATEMENT_DELETE] = POLICY_WRITE,
	[STATEMENT_BATCH] = POLICY_WRITE,     [STATEMENT_TRUNCATE] = POLICY_WRITE, [STATEMENT_SCHEMA] = POLICY_SCHEMA,
	[STATEMENT_ROLE] = POLICY_SCHEMA,     [STATEMENT_USE] = POLICY_USE,        [STATEMENT_CALL] = POLICY_UNKNOWN,
	[STATEMENT_UNKNOWN] = POLICY_UNKNOWN,
};

/* ---- plans by table ---- */

struct cached_plan {
	struct cached_plan *next;
	struct policy_plan plan;
	uint8_t kind;
	uint8_t verb;
	struct statement_table table;
};

struct policy_cache {
	struct policy_engine *engine;
	const struct rule_list *rules;
	struct cached_plan *slots[CACHE_SLOTS];
	unsigned count;
	/* What is said of a batch whose tables have different plans; until the next one. */
	struct policy_denial conflict;
	char conflict_text[512];
};

struct policy_cache *policy_cache_new(struct policy_engine *engine, const struct rule_list *rules)
{
	struct policy_cache *cache = xcalloc(1, sizeof(*cache));

	cache->engine = engine;
	cache->rules = rules;
	return cache;
}

static void forget_all(struct policy_cache *cache)
{
	for (unsigned i = 0; i < CACHE_SLOTS; i++) {
		while (cache->slots[i]) {
			struct cached_plan *p = cache->slots[i];

			cache->slots[i] = p->next;
			free(p);
		}
	}
	cache->count = 0;
}

void policy_cache_free(struct policy_cache *cache)
{
	if (!cache)
		return;
	forget_all(cache);
	cache->engine->ops->free(cache->engine);
	free(cache);
}

struct policy_engine *policy_cache_engine(const struct policy_cache *cache)
{
	return cache ? cache->engine : NULL;
}

static bool tables_equal(const struct statement_table *a, const struct statement_table *b)
{
	return statement_name_equal(&a->table, &b->table) && statement_name_equal(&a->keyspace, &b->keyspace);
}

static struct cached_plan **slot_of(struct policy_cache *cache, const struct policy_question *q,
				    const struct statement_table *t)
{
	uint64_t h = XXH3_64bits(t->table.text, t->table.len);

	h = XXH3_64bits_withSeed(t->keyspace.text, t->keyspace.len, h + q->verb);
	return &cache->slots[h % CACHE_SLOTS];
}

/* The set of all hooks. */
static uint64_t all_hooks(const struct policy_engine *e)
{
	return e->hook_count == POLICY_HOOKS_MAX ? UINT64_MAX : (UINT64_C(1) << e->hook_count) - 1;
}

static struct policy_plan ask_of_table(struct policy_engine *e, const struct policy_question *q)
{
	struct policy_plan plan = { 0 };

	plan.ask = e->ops->plan(e, q, all_hooks(e), SCOPE_TABLE, &plan.opinion);
	return plan;
}

static struct policy_plan plan_of_table(struct policy_cache *cache, const struct policy_question *q,
					const struct statement_table *table)
{
	struct cached_plan **slot = slot_of(cache, q, table);
	struct statement_tables one;
	struct policy_question about = *q;
	struct cached_plan *p;

	for (p = *slot; p; p = p->next) {
		if (p->verb == q->verb && p->kind == q->kind && tables_equal(&p->table, table))
			return p->plan;
	}
	statement_tables_set(&one, table);
	about.tables = &one;
	if (cache->count >= CACHE_MAX) {
		forget_all(cache);
		slot = slot_of(cache, q, table);
	}
	p = xcalloc(1, sizeof(*p));
	p->plan = ask_of_table(cache->engine, &about);
	p->kind = q->kind;
	p->verb = q->verb;
	p->table = *table;
	p->next = *slot;
	*slot = p;
	cache->count++;
	return p->plan;
}

/* What is said of a table of a batch. */
struct table_opinion {
	struct policy_opinion opinion;
	const struct route_rule *rule; /* that counts where there is no opinion; NULL: none */
};

/* The clusters that writes to the table go to. */
static uint8_t clusters_of(const struct table_opinion *t)
{
	return t->opinion.route ? t->opinion.route->to : route_of_rule(t->rule);
}

static void describe_opinion(const struct table_opinion *t, const struct statement_table *table, char *out, size_t size)
{
	const struct strview keyspace = statement_name_view(&table->keyspace);
	const struct strview name = statement_name_view(&table->table);

	if (t->opinion.route)
		snprintf(out, size, "%.*s.%.*s (%s)", SV_ARG(keyspace), SV_ARG(name), t->opinion.route->name);
	else if (t->rule)
		snprintf(out, size, "%.*s.%.*s (%s, by the rule at %s)", SV_ARG(keyspace), SV_ARG(name),
			 rule_route_name((enum rule_route)t->rule->route), t->rule->place);
	else
		snprintf(out, size, "%.*s.%.*s (both, without a rule)", SV_ARG(keyspace), SV_ARG(name));
}

/* With the text that the cache has now. */
static void deny(struct policy_cache *cache, struct policy_opinion *out)
{
	cache->conflict = (struct policy_denial){ .code = CQL_ERR_INVALID, .text = cache->conflict_text };
	*out = (struct policy_opinion){ .denial = &cache->conflict, .hook = POLICY_HOOKS_MAX };
}

/* Not to be sent to one cluster for the sake of one table, nor to both: one of them may not have the other table. */
static void deny_conflict(struct policy_cache *cache, const struct statement_tables *tables,
			  const struct table_opinion *opinions, unsigned first, unsigned second,
			  struct policy_opinion *out)
{
	char one[200], other[200];

	describe_opinion(&opinions[first], &tables->items[first], one, sizeof(one));
	describe_opinion(&opinions[second], &tables->items[second], other, sizeof(other));
	snprintf(cache->conflict_text, sizeof(cache->conflict_text),
		 "a batch cannot be routed whose tables are routed differently: %s, %s", one, other);
	deny(cache, out);
}

/* Two opinions must be one; where only one table has an opinion, the other one has to go to the same clusters. */
static bool agree(const struct table_opinion *a, const struct table_opinion *b)
{
	if (a->opinion.route && b->opinion.route)
		return a->opinion.route == b->opinion.route;
	return clusters_of(a) == clusters_of(b);
}

/* What the tables' opinions come to. When none has one, the rules have decided already (route.h). */
static void join_opinions(struct policy_cache *cache, const struct statement_tables *tables,
			  const struct table_opinion *opinions, struct policy_opinion *out)
{
	unsigned with = 0;

	while (with < tables->count && !opinions[with].opinion.route)
		with++;
	if (with == tables->count)
		return;
	*out = opinions[with].opinion;
	for (unsigned i = 0; i < tables->count; i++) {
		if (!agree(&opinions[with], &opinions[i])) {
			deny_conflict(cache, tables, opinions, MIN(i, with), MAX(i, with), out);
			return;
		}
	}
}

/* Of the tables of a batch. */
struct tables_plan {
	struct table_opinion opinions[STATEMENT_TABLES_MAX];
	uint64_t ask;                 /* hooks that are asked about one of them */
	uint64_t before_routes;       /* about each of those that have a route, before that */
	uint64_t before_denials;      /* the same of denials */
	struct policy_opinion denial; /* the first one */
};

/* The one about writes to it; NULL: none. */
static const struct route_rule *rule_of(const struct policy_cache *cache, const struct statement_table *t)
{
	return cache->rules ? rules_match(cache->rules, RULE_WRITE, statement_name_view(&t->keyspace),
					  statement_name_view(&t->table))
			    : NULL;
}

static void look_at_tables(struct policy_cache *cache, const struct policy_question *q, struct tables_plan *out)
{
	for (unsigned i = 0; i < q->tables->count; i++) {
		const struct statement_table *t = &q->tables->items[i];
		const struct policy_plan p = plan_of_table(cache, q, t);

		out->ask |= p.ask;
		if (p.opinion.denial) {
			out->before_denials &= p.ask;
			if (!out->denial.denial)
				out->denial = p.opinion;
		}
		if (p.opinion.route)
			out->before_routes &= p.ask;
		out->opinions[i].opinion = p.opinion;
		out->opinions[i].rule = rule_of(cache, t);
	}
}

/*
 * Each table of a batch for itself: they must agree. A denial of one counts for all. A hook that is asked about one table
 * does not take back what an earlier one has said of another.
 */
static struct policy_plan plan_of_tables(struct policy_cache *cache, const struct policy_question *q)
{
	struct tables_plan t = { .ask = 0, .before_routes = UINT64_MAX, .before_denials = UINT64_MAX };
	struct policy_plan plan = { 0 };

	look_at_tables(cache, q, &t);
	if (t.denial.denial) {
		plan.ask = t.before_denials & t.before_routes;
		plan.opinion = t.denial;
		return plan;
	}
	join_opinions(cache, q->tables, t.opinions, &plan.opinion);
	plan.ask = t.ask;
	for (unsigned i = 0; i < q->tables->count; i++) {
		const struct policy_route *route = t.opinions[i].opinion.route;

		if (!route)
			continue;
		if (!plan.fixed) {
			plan.fixed = route;
			plan.fixed_table = (uint8_t)i;
			plan.late = t.ask & ~t.before_routes;
		} else if (route != plan.fixed) { /* only who comes before all of them can still settle it */
			plan.ask &= t.before_routes;
			plan.late = 0;
		}
	}
	return plan;
}

void policy_check_late(struct policy_cache *cache, const struct policy_plan *plan,
		       const struct statement_tables *tables, struct policy_opinion *opinion)
{
	struct table_opinion fixed = { .opinion = { .route = plan->fixed } };
	char table[200];

	if (!opinion->route || opinion->hook >= POLICY_HOOKS_MAX || !(plan->late >> opinion->hook & 1) ||
	    opinion->route == plan->fixed)
		return;
	describe_opinion(&fixed, &tables->items[plan->fixed_table], table, sizeof(table));
	snprintf(cache->conflict_text, sizeof(cache->conflict_text),
		 "a batch cannot be routed whose tables are routed differently: %s, the batch for another table (%s)",
		 table, opinion->route->name);
	deny(cache, opinion);
}

_Static_assert(STATEMENT_TABLES_MAX <= 32, "struct policy_opinion has a bit for each of them");

/* A hook that is asked table by table has left some to the rules: these have to say the same. */
static void check_partial(struct policy_cache *cache, const struct statement_tables *tables,
			  struct policy_opinion *opinion)
{
	struct table_opinion opinions[STATEMENT_TABLES_MAX];

	for (unsigned i = 0; i < tables->count; i++)
		opinions[i] = (struct table_opinion){
			.opinion.route = opinion->tables >> i & 1 ? opinion->route : NULL,
			.rule = rule_of(cache, &tables->items[i]),
		};
	join_opinions(cache, tables, opinions, opinion);
}

struct policy_plan policy_plan_make(struct policy_cache *cache, const struct policy_question *q, bool is_kept)
{
	struct policy_engine *e = cache->engine;
	static const struct statement_table no_table;
	struct policy_opinion opinion = { 0 };
	struct policy_plan plan;

	if (q->tables->is_incomplete)
		plan = ask_of_table(e, q);
	else if (q->tables->count > 1)
		plan = plan_of_tables(cache, q);
	else if (q->tables->count == 1)
		plan = plan_of_table(cache, q, &q->tables->items[0]);
	else
		plan = plan_of_table(cache, q, &no_table);
	if (!is_kept || plan.ask == 0)
		return plan;
	plan.ask = e->ops->plan(e, q, plan.ask, SCOPE_STATEMENT, &opinion);
	if (unlikely(opinion.tables))
		check_partial(cache, q->tables, &opinion);
	if (unlikely(plan.late))
		policy_check_late(cache, &plan, q->tables, &opinion);
	if (opinion.route || opinion.denial)
		plan.opinion = opinion;
	return plan;
}

/* Most routes say nothing but the clusters. */
static bool has_extras(const struct policy_route *route)
{
	return route->consistency != POLICY_KEEP_LEVEL || route->timeout_ms || route->tag;
}

void policy_route_apply(const struct policy_route *route, struct verdict *verdict)
{
	if (!route)
		return;
	verdict->to = route->to;
	verdict->answer_from = route->answer_from;
	/* A copy of a write would be a write on a cluster that the route leaves out. */
	verdict->mirror = route->mirror && verdict->class == CLASS_READ && route->to != TO_BOTH ? MIRROR_IN_KEYSPACE
												: MIRROR_NONE;
	verdict->route = has_extras(route) ? route : NULL;
	verdict->is_split = false;
	verdict->decided_by = DECIDED_BY_HOOK;
	verdict->decider = NULL;
}

/* A route of one of the engine's hooks. */
static void apply_opinion(const struct policy_engine *e, const struct policy_opinion *opinion, struct verdict *verdict)
{
	if (!opinion->route)
		return;
	policy_route_apply(opinion->route, verdict);
	if (opinion->hook < POLICY_HOOKS_MAX)
		verdict->decider = e->hook_names[opinion->hook];
}

/* ---- statements ---- */

void policy_question_init(struct policy_question *q, const struct statement_facts *facts,
			  const struct statement_tables *tables)
{
	*q = (struct policy_question){
		.kind = (uint8_t)policy_kind_of(facts->kind),
		.verb = (uint8_t)facts->kind,
		.tables = tables,
		.opcode = OP_QUERY,
	};
	for (unsigned i = 0; i < tables->count; i++)
		q->is_system |= statement_keyspace_is_system(statement_name_view(&tables->items[i].keyspace));
	if (tables->is_incomplete && q->kind == POLICY_WRITE)
		q->kind = POLICY_UNKNOWN;
}

struct policy_statement *policy_statement_new(struct policy_cache *cache, struct strview text,
					      const struct statement_facts *facts, struct strview keyspace,
					      struct verdict *verdict)
{
	struct statement_tables tables;
	struct policy_question q;
	struct policy_plan plan;
	struct policy_statement *s;
	size_t size;

	if (verdict->decided_by == DECIDED_BY_PROTOCOL)
		return NULL;
	statement_tables_clear(&tables);
	statement_tables_scan(text, facts, keyspace, &tables);
	policy_question_init(&q, facts, &tables);
	q.is_prepared = true;
	q.opcode = OP_EXECUTE;
	plan = policy_plan_make(cache, &q, true);
	apply_opinion(cache->engine, &plan.opinion, verdict);
	if (plan.ask == 0 && !plan.opinion.denial)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->plan = plan;
	size = offsetof(struct statement_tables, items) + tables.count * sizeof(tables.items[0]);
	s->tables = xmalloc(size);
	memcpy(s->tables, &tables, size);
	s->question = q;
	s->question.tables = s->tables;
	if (plan.opinion.denial == &cache->conflict) {
		s->conflict_text = xstrdup(cache->conflict_text);
		s->conflict = (struct policy_denial){ .code = cache->conflict.code, .text = s->conflict_text };
		s->plan.opinion.denial = &s->conflict;
	}
	return s;
}

void policy_statement_free(struct policy_statement *s)
{
	if (!s)
		return;
	free(s->tables);
	free(s->conflict_text);
	free(s);
}

/* ---- requests ---- */

static bool token_of(void *arg, int64_t *token)
{
	struct request *rq = arg;

	return placement_common_token(rq, token);
}

static void client_facts(const struct client *c, struct policy_client *out)
{
	*out = (struct policy_client){
		.user = client_user(c),
		.address = client_ip(c),
		.driver = driver_name(c->driver),
		.driver_version = driver_version(c->driver),
	};
}

/* All hooks are asked anew about each table and statement. Plans that are in use stay as they are. */
static void forget_opinions(struct worker *worker)
{
	worker->policy->engine->is_outdated = false;
	forget_all(worker->policy);
	prepared_front_renew(&worker->prepared);
}

/* Asks what is left to be asked, and puts what comes of it into the verdict. */
static bool decide(struct request *rq, struct policy_question *q, const struct policy_plan *plan)
{
	struct policy_engine *e = rq->client->worker->policy->engine;
	struct policy_opinion opinion = { 0 };
	struct policy_client client;

	if (plan->ask) {
		client_facts(rq->client, &client);
		q->client = &client;
		q->consistency = rq->consistency;
		q->size = rq->len;
		q->token = token_of;
		q->arg = rq;
		e->ops->decide(e, q, plan->ask, &opinion);
		if (unlikely(opinion.tables))
			check_partial(rq->client->worker->policy, q->tables, &opinion);
		if (unlikely(plan->late))
			policy_check_late(rq->client->worker->policy, plan, q->tables, &opinion);
	}
	if (unlikely(e->is_outdated))
		forget_opinions(rq->client->worker);
	if (!opinion.route && !opinion.denial)
		opinion = plan->opinion;
	if (unlikely(opinion.denial != NULL)) {
		if (e->ops->denied && opinion.hook < POLICY_HOOKS_MAX)
			e->ops->denied(e, opinion.hook);
		rq->is_denied = true;
		rq->verdict.decided_by = DECIDED_BY_HOOK;
		rq->verdict.decider = opinion.hook < POLICY_HOOKS_MAX ? e->hook_names[opinion.hook] : NULL;
		failure_unsent(rq, opinion.denial->code, "%s", opinion.denial->text);
		return false;
	}
	apply_opinion(e, &opinion, &rq->verdict);
	return true;
}

/* A later page comes from the cluster that gave the first one: nobody is asked where it goes. */
static bool is_later_page(const struct request *rq, const struct query_params *params)
{
	enum cluster_id cluster;

	return rq->verdict.class == CLASS_READ && paging_mark_read(params->paging_state, &cluster);
}

/* By those who come before scripts. */
static bool is_settled(const struct verdict *v)
{
	return v->decided_by == DECIDED_BY_PROTOCOL || v->decided_by == DECIDED_BY_PLUGIN;
}

bool policy_on_query(struct request *rq, const struct query_params *params, struct strview text,
		     const struct statement_facts *facts, struct strview keyspace)
{
	struct statement_tables tables;
	struct policy_question q;
	struct policy_plan plan;

	if (is_settled(&rq->verdict))
		return true;
	statement_tables_clear(&tables);
	statement_tables_scan(text, facts, keyspace, &tables);
	policy_question_init(&q, facts, &tables);
	plan = policy_plan_make(rq->client->worker->policy, &q, false);
	if (is_later_page(rq, params)) {
		/* What is known without asking holds for each page: its level and time-out. */
		if (plan.opinion.route && has_extras(plan.opinion.route))
			rq->verdict.route = plan.opinion.route;
		return true;
	}
	if (!decide(rq, &q, &plan))
		return false;
	if (rq->verdict.mirror == MIRROR_IN_KEYSPACE && facts->is_qualified)
		rq->verdict.mirror = MIRROR_ANYWHERE;
	return true;
}

bool policy_on_execute(struct request *rq, const struct query_params *params)
{
	const struct policy_statement *s = rq->prepared->policy;
	struct policy_question q = s->question;

	return rq->verdict.decided_by == DECIDED_BY_PLUGIN || is_later_page(rq, params) || decide(rq, &q, &s->plan);
}

bool policy_on_batch(struct request *rq, const struct statement_tables *tables, bool is_known)
{
	struct statement_facts facts = { .kind = STATEMENT_BATCH };
	struct policy_question q;
	struct policy_plan plan;

	if (is_settled(&rq->verdict))
		return true;
	policy_question_init(&q, &facts, tables);
	if (!is_known)
		q.kind = POLICY_UNKNOWN;
	q.opcode = OP_BATCH;
	q.is_prepared = rq->has_prepared_children;
	plan = policy_plan_make(rq->client->worker->policy, &q, false);
	return decide(rq, &q, &plan);
}
