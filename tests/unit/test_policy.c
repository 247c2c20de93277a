/* test_policy.c - which hooks are asked when, by an engine that counts: plans by table and statement, and batches. */
#include "proxy/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define HOOKS 4

/* Each hook says "target" of tables that begin with its letter, and nothing of others. */
struct hook {
	enum policy_scope scope;
	char letter;
	bool denies;
	unsigned asked;
};

struct counting_engine {
	struct policy_engine engine;
	struct hook hooks[HOOKS];
	bool is_freed;
};

static const struct policy_route to_target = {
	.to = TO_TARGET, .answer_from = CLUSTER_TARGET, .consistency = POLICY_KEEP_LEVEL, .tag = 1, .name = "target"
};
static const struct policy_denial denial = { .code = CQL_ERR_UNAUTHORIZED, .text = "no" };

static bool has_opinion(struct hook *hook, const struct policy_question *q, struct policy_opinion *out)
{
	hook->asked++;
	for (unsigned i = 0; i < q->tables->count; i++) {
		const struct statement_name *table = &q->tables->items[i].table;

		if (table->len == 0 || table->text[0] != hook->letter)
			continue;
		*out = (struct policy_opinion){ .route = hook->denies ? NULL : &to_target,
						.denial = hook->denies ? &denial : NULL };
		return true;
	}
	return false;
}

static uint64_t plan(struct policy_engine *e, const struct policy_question *q, uint64_t among, enum policy_scope scope,
		     struct policy_opinion *out)
{
	struct counting_engine *engine = container_of(e, struct counting_engine, engine);
	uint64_t rest = 0;

	for (unsigned i = 0; i < e->hook_count; i++) {
		struct hook *hook = &engine->hooks[i];

		if (!(among >> i & 1))
			continue;
		if (hook->scope > scope)
			rest |= UINT64_C(1) << i;
		else if (has_opinion(hook, q, out)) {
			out->hook = (uint8_t)i;
			break;
		}
	}
	return rest;
}

static void decide(struct policy_engine *e, const struct policy_question *q, uint64_t among, struct policy_opinion *out)
{
	struct counting_engine *engine = container_of(e, struct counting_engine, engine);

	for (unsigned i = 0; i < e->hook_count; i++) {
		if (among >> i & 1 && has_opinion(&engine->hooks[i], q, out))
			return;
	}
}

static void free_engine(struct policy_engine *e)
{
	container_of(e, struct counting_engine, engine)->is_freed = true;
}

static const struct policy_engine_ops ops = { .plan = plan, .decide = decide, .free = free_engine };

static struct counting_engine engine;
static struct policy_cache *cache;

static void setup(void)
{
	engine = (struct counting_engine){
		.engine = { .ops = &ops, .hook_count = HOOKS },
		.hooks = { { SCOPE_REQUEST, 'r', false, 0 },
			   { SCOPE_STATEMENT, 's', false, 0 },
			   { SCOPE_TABLE, 't', false, 0 },
			   { SCOPE_REQUEST, 'u', false, 0 } },
	};
	cache = policy_cache_new(&engine.engine, NULL);
}

static void teardown(void)
{
	policy_cache_free(cache);
	ck_assert(engine.is_freed);
}

static struct policy_plan plan_of_text(const char *text, bool is_kept)
{
	static struct statement_tables tables;
	struct statement_facts facts;
	struct policy_question q;

	statement_tables_clear(&tables);
	statement_scan(sv_from(text), &facts);
	statement_tables_scan(sv_from(text), &facts, SV("ks"), &tables);
	q = (struct policy_question){ .kind = (uint8_t)policy_kind_of(facts.kind), .verb = (uint8_t)facts.kind };
	q.tables = &tables;
	return policy_plan_make(cache, &q, is_kept);
}

START_TEST(a_table_is_asked_about_once)
{
	for (unsigned i = 0; i < 3; i++) {
		const struct policy_plan p = plan_of_text("SELECT * FROM t1", false);

		ck_assert_ptr_eq(p.opinion.route, &to_target);
		ck_assert_uint_eq(p.ask, 3); /* those in front of it; not the one behind */
	}
	ck_assert_uint_eq(engine.hooks[2].asked, 1);
	ck_assert_uint_eq(plan_of_text("SELECT * FROM other", false).ask, 11);
	ck_assert_uint_eq(engine.hooks[2].asked, 2);
	/* Another keyspace, another kind of statement: asked anew. */
	ck_assert_ptr_eq(plan_of_text("SELECT * FROM b.t1", false).opinion.route, &to_target);
	ck_assert_ptr_eq(plan_of_text("DELETE FROM t1 WHERE k = 1", false).opinion.route, &to_target);
	ck_assert_uint_eq(engine.hooks[2].asked, 4);
	ck_assert_uint_eq(engine.hooks[0].asked + engine.hooks[1].asked + engine.hooks[3].asked, 0);
}
END_TEST

START_TEST(a_statement_is_asked_about_when_it_is_kept)
{
	struct policy_plan p = plan_of_text("SELECT * FROM s1", false);

	ck_assert_uint_eq(p.ask, 11);
	ck_assert_ptr_null(p.opinion.route);
	ck_assert_uint_eq(engine.hooks[1].asked, 0);
	p = plan_of_text("SELECT * FROM s1", true);
	ck_assert_uint_eq(p.ask, 1);
	ck_assert_ptr_eq(p.opinion.route, &to_target);
	ck_assert_uint_eq(engine.hooks[1].asked, 1);
}
END_TEST

START_TEST(an_earlier_statement_hook_wins_over_a_table_hook)
{
	struct policy_plan p;

	engine.hooks[1].letter = 't';
	engine.hooks[1].denies = true;
	p = plan_of_text("SELECT * FROM t1", true);
	ck_assert_ptr_eq(p.opinion.denial, &denial);
	ck_assert_ptr_null(p.opinion.route);
	ck_assert_uint_eq(p.ask, 1);
	/* Not kept: the table's opinion stands behind those that are to be asked. */
	p = plan_of_text("SELECT * FROM t1", false);
	ck_assert_ptr_eq(p.opinion.route, &to_target);
	ck_assert_uint_eq(p.ask, 3);
}
END_TEST

static struct policy_plan plan_of_batch(unsigned count, const char *const *names)
{
	static struct statement_tables tables;
	struct policy_question q = { .kind = POLICY_WRITE, .verb = STATEMENT_BATCH, .tables = &tables };

	statement_tables_clear(&tables);
	for (unsigned i = 0; i < count; i++) {
		struct statement_name keyspace = { .len = 2 }, table = { .len = (uint8_t)strlen(names[i]) };

		memcpy(keyspace.text, "ks", 2);
		memcpy(table.text, names[i], table.len);
		statement_tables_add(&tables, &keyspace, &table);
	}
	return policy_plan_make(cache, &q, false);
}

START_TEST(tables_of_a_batch_must_agree)
{
	struct policy_plan p = plan_of_batch(2, (const char *const[]){ "t1", "t2" });

	ck_assert_ptr_eq(p.opinion.route, &to_target);
	p = plan_of_batch(2, (const char *const[]){ "a", "b" });
	ck_assert_ptr_null(p.opinion.route);
	ck_assert_ptr_null(p.opinion.denial);
	p = plan_of_batch(3, (const char *const[]){ "t1", "t2", "b" });
	ck_assert_ptr_null(p.opinion.route);
	ck_assert_int_eq(p.opinion.denial->code, CQL_ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(p.opinion.denial->text, "ks.t1 (target)"));
	ck_assert_ptr_nonnull(strstr(p.opinion.denial->text, "ks.b (both, without a rule)"));
	ck_assert_uint_eq(p.ask, 11);
	/* Each table was asked about once. */
	ck_assert_uint_eq(engine.hooks[2].asked, 4);
}
END_TEST

/* A table that no hook speaks about goes where its rule says: together with the others, or not. */
START_TEST(rules_count_for_tables_without_an_opinion)
{
	static char text[] = "write ks.b target", place[] = "t.ini:9";
	struct route_rule rule = { RULE_WRITE, RULE_TARGET, "ks", "b", text, place, 0, 0, NULL };
	const struct rule_list rules = { &rule, 1 };
	struct policy_plan p;

	policy_cache_free(cache);
	engine.is_freed = false;
	cache = policy_cache_new(&engine.engine, &rules);
	p = plan_of_batch(2, (const char *const[]){ "t1", "b" });
	ck_assert_ptr_eq(p.opinion.route, &to_target);
	p = plan_of_batch(3, (const char *const[]){ "b", "t1", "t2" });
	ck_assert_ptr_eq(p.opinion.route, &to_target);
	p = plan_of_batch(3, (const char *const[]){ "b", "t1", "c" });
	ck_assert_str_eq(p.opinion.denial->text, "a batch cannot be routed whose tables are routed differently: ks.t1 "
						 "(target), ks.c (both, without a rule)");
	rule.route = RULE_ORIGIN;
	p = plan_of_batch(2, (const char *const[]){ "b", "t1" });
	ck_assert_str_eq(p.opinion.denial->text, "a batch cannot be routed whose tables are routed differently: ks.b "
						 "(origin, by the rule at t.ini:9), ks.t1 (target)");
	/* No hook speaks: it is the rules' affair. */
	p = plan_of_batch(2, (const char *const[]){ "b", "c" });
	ck_assert_ptr_null(p.opinion.route);
	ck_assert_ptr_null(p.opinion.denial);
}
END_TEST

START_TEST(a_denial_of_one_table_denies_the_batch)
{
	struct policy_plan p;

	engine.hooks[2].denies = true;
	p = plan_of_batch(2, (const char *const[]){ "b", "t1" });
	ck_assert_ptr_eq(p.opinion.denial, &denial);
	p = plan_of_batch(2, (const char *const[]){ "t1", "b" });
	ck_assert_ptr_eq(p.opinion.denial, &denial);
}
END_TEST

START_TEST(hooks_of_one_table_and_opinions_of_another)
{
	struct policy_plan p;

	/* Hook 3 is only asked where hook 2 has no opinion. */
	p = plan_of_batch(2, (const char *const[]){ "b", "t1" });
	ck_assert_uint_eq(p.ask, 0xb);
	ck_assert_uint_eq(p.late, 0x8);
	ck_assert_ptr_eq(p.fixed, &to_target);
	ck_assert_uint_eq(p.fixed_table, 1);
	p = plan_of_batch(2, (const char *const[]){ "t1", "t2" });
	ck_assert_uint_eq(p.ask, 0x3);
	ck_assert_uint_eq(p.late, 0);
	teardown();
	setup();
	engine.hooks[2].denies = true;
	p = plan_of_batch(2, (const char *const[]){ "b", "t1" });
	ck_assert_uint_eq(p.ask, 0x3);
	ck_assert_uint_eq(p.late, 0);
}
END_TEST

START_TEST(more_tables_than_are_kept)
{
	char text[64];

	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < 10000; i++) {
			snprintf(text, sizeof(text), "SELECT * FROM t%u", i);
			ck_assert_ptr_eq(plan_of_text(text, false).opinion.route, &to_target);
		}
	}
	ck_assert_uint_eq(engine.hooks[2].asked, 20000);
	for (unsigned i = 9999; i > 9990; i--) { /* the last ones are kept */
		snprintf(text, sizeof(text), "SELECT * FROM t%u", i);
		plan_of_text(text, false);
	}
	ck_assert_uint_eq(engine.hooks[2].asked, 20000);
}
END_TEST

START_TEST(a_prepared_statement_keeps_what_is_left_to_ask)
{
	const char *text = "SELECT * FROM s1";
	struct statement_facts facts;
	struct verdict verdict = { .to = TO_ORIGIN, .class = CLASS_READ };
	struct policy_statement *s;

	statement_scan(sv_from(text), &facts);
	s = policy_statement_new(cache, sv_from(text), &facts, SV("ks"), &verdict);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->plan.ask, 1);
	ck_assert_uint_eq(s->question.tables->count, 1);
	ck_assert_uint_eq(verdict.to, TO_TARGET);
	ck_assert_uint_eq(verdict.decided_by, DECIDED_BY_HOOK);
	policy_statement_free(s);

	/* Nothing left to ask: nothing is kept, the verdict says all. */
	engine.hooks[0].scope = SCOPE_STATEMENT;
	verdict = (struct verdict){ .to = TO_ORIGIN, .class = CLASS_READ };
	s = policy_statement_new(cache, sv_from(text), &facts, SV("ks"), &verdict);
	ck_assert_ptr_null(s);
	ck_assert_ptr_eq(verdict.route, &to_target);

	/* A route that says nothing but the clusters costs its requests nothing. */
	policy_route_apply(&(struct policy_route){ .to = TO_BOTH, .consistency = POLICY_KEEP_LEVEL }, &verdict);
	ck_assert_uint_eq(verdict.to, TO_BOTH);
	ck_assert_ptr_null(verdict.route);

	/* A system table is nobody else's business. */
	verdict = (struct verdict){ .to = TO_ORIGIN, .class = CLASS_READ, .decided_by = DECIDED_BY_PROTOCOL };
	ck_assert_ptr_null(policy_statement_new(cache, sv_from(text), &facts, SV("ks"), &verdict));
	ck_assert_uint_eq(verdict.to, TO_ORIGIN);
}
END_TEST

START_TEST(a_denied_statement)
{
	const char *text = "SELECT * FROM t1";
	struct statement_facts facts;
	struct verdict verdict = { .to = TO_ORIGIN, .class = CLASS_READ };
	struct policy_statement *s;

	engine.engine.hook_count = 3;
	engine.hooks[0].scope = engine.hooks[1].scope = SCOPE_TABLE;
	engine.hooks[2].denies = true;
	statement_scan(sv_from(text), &facts);
	s = policy_statement_new(cache, sv_from(text), &facts, SV("ks"), &verdict);
	ck_assert_ptr_nonnull(s);
	ck_assert_uint_eq(s->plan.ask, 0);
	ck_assert_ptr_eq(s->plan.opinion.denial, &denial);
	ck_assert_uint_eq(verdict.to, TO_ORIGIN);
	policy_statement_free(s);
}
END_TEST

/* The error of a kept batch names its own tables, whichever batch came behind it. */
START_TEST(a_kept_batch_whose_tables_disagree)
{
	static const char *const texts[] = {
		"BEGIN BATCH DELETE FROM t1 WHERE k = ?; DELETE FROM a WHERE k = ?; APPLY BATCH",
		"BEGIN BATCH DELETE FROM t2 WHERE k = ?; DELETE FROM b WHERE k = ?; APPLY BATCH",
	};
	struct policy_statement *kept[2];

	for (unsigned i = 0; i < 2; i++) {
		struct verdict verdict = { .to = TO_BOTH, .class = CLASS_WRITE };
		struct statement_facts facts;

		statement_scan(sv_from(texts[i]), &facts);
		kept[i] = policy_statement_new(cache, sv_from(texts[i]), &facts, SV("ks"), &verdict);
		ck_assert_ptr_nonnull(kept[i]);
	}
	ck_assert_ptr_nonnull(
		strstr(kept[0]->plan.opinion.denial->text, "ks.t1 (target), ks.a (both, without a rule)"));
	ck_assert_ptr_nonnull(
		strstr(kept[1]->plan.opinion.denial->text, "ks.t2 (target), ks.b (both, without a rule)"));
	ck_assert_uint_eq(kept[0]->plan.opinion.hook, POLICY_HOOKS_MAX);
	for (unsigned i = 0; i < 2; i++)
		policy_statement_free(kept[i]);
}
END_TEST

START_TEST(kinds)
{
	ck_assert_int_eq(policy_kind_of(STATEMENT_SELECT), POLICY_READ);
	ck_assert_int_eq(policy_kind_of(STATEMENT_TRUNCATE), POLICY_WRITE);
	ck_assert_int_eq(policy_kind_of(STATEMENT_BATCH), POLICY_WRITE);
	ck_assert_int_eq(policy_kind_of(STATEMENT_ROLE), POLICY_SCHEMA);
	ck_assert_int_eq(policy_kind_of(STATEMENT_USE), POLICY_USE);
	ck_assert_int_eq(policy_kind_of(STATEMENT_CALL), POLICY_UNKNOWN);
	ck_assert_str_eq(policy_kind_name(POLICY_SCHEMA), "schema");
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("policy");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_table_is_asked_about_once);
	tcase_add_test(tc, a_statement_is_asked_about_when_it_is_kept);
	tcase_add_test(tc, an_earlier_statement_hook_wins_over_a_table_hook);
	tcase_add_test(tc, tables_of_a_batch_must_agree);
	tcase_add_test(tc, rules_count_for_tables_without_an_opinion);
	tcase_add_test(tc, a_denial_of_one_table_denies_the_batch);
	tcase_add_test(tc, hooks_of_one_table_and_opinions_of_another);
	tcase_add_test(tc, more_tables_than_are_kept);
	tcase_add_test(tc, a_prepared_statement_keeps_what_is_left_to_ask);
	tcase_add_test(tc, a_denied_statement);
	tcase_add_test(tc, a_kept_batch_whose_tables_disagree);
	tcase_add_test(tc, kinds);
	return run_tcase("policy", tc);
}
