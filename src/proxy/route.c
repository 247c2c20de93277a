/* route.c - see route.h */
#include "proxy/route.h"

#include "cql/statement_tables.h"
#include "proxy/rules.h"
#include "proxy/virtual.h"

const char *write_type_name(enum write_type type)
{
	static const char *const names[] = {
		[WRITE_SIMPLE] = "SIMPLE",   [WRITE_BATCH] = "BATCH", [WRITE_UNLOGGED_BATCH] = "UNLOGGED_BATCH",
		[WRITE_COUNTER] = "COUNTER", [WRITE_CAS] = "CAS",
	};

	return names[type];
}

struct verdict route_both(const struct settings *settings, enum request_class class, enum write_type type)
{
	return (struct verdict){
		.to = TO_BOTH,
		.answer_from = (uint8_t)settings->primary,
		.class = (uint8_t) class,
		.write_type = (uint8_t)type,
	};
}

static struct verdict read_from(enum cluster_id cluster)
{
	return (struct verdict){ .to = (uint8_t)(1u << cluster), .answer_from = (uint8_t)cluster, .class = CLASS_READ };
}

static struct verdict system_read(const struct settings *settings)
{
	struct verdict v = read_from(settings->system_queries);

	v.decided_by = DECIDED_BY_PROTOCOL;
	return v;
}

static uint8_t mirror_of(const struct settings *settings, enum mirror_mode mode)
{
	return settings->read_mode == READ_DUAL_ASYNC_ON_SECONDARY ? (uint8_t)mode : MIRROR_NONE;
}

struct verdict route_options(const struct settings *settings)
{
	struct verdict v = route_both(settings, CLASS_CONTROL, WRITE_SIMPLE);

	v.mirror = mirror_of(settings, MIRROR_ANYWHERE);
	return v;
}

static struct verdict route_use(const struct settings *settings)
{
	struct verdict v = route_both(settings, CLASS_CONTROL, WRITE_SIMPLE);

	v.mirror = mirror_of(settings, MIRROR_USE);
	return v;
}

static enum write_type write_type_of(const struct statement_facts *facts)
{
	if (facts->is_conditional)
		return WRITE_CAS;
	if (facts->kind != STATEMENT_BATCH)
		return WRITE_SIMPLE;
	if (facts->is_counter_batch)
		return WRITE_COUNTER;
	return facts->is_unlogged_batch ? WRITE_UNLOGGED_BATCH : WRITE_BATCH;
}

static struct verdict route_select(const struct settings *settings, const struct statement_facts *facts,
				   struct strview keyspace)
{
	struct verdict verdict;

	if (facts->keyspace.len > 0)
		keyspace = statement_name_view(&facts->keyspace);
	if (!statement_keyspace_is_system(keyspace)) {
		struct verdict v = read_from(settings->primary);

		v.mirror = mirror_of(settings, facts->is_qualified ? MIRROR_ANYWHERE : MIRROR_IN_KEYSPACE);
		return v;
	}
	if (virtual_is_table(keyspace, statement_name_view(&facts->table)))
		return (struct verdict){ .to = 0, .class = CLASS_READ, .decided_by = DECIDED_BY_PROTOCOL };
	verdict = system_read(settings);
	verdict.is_of_traces = sv_equal(keyspace, SV("system_traces"));
	return verdict;
}

/* The verdict that there would be without rules. */
static struct verdict route_by_kind(const struct settings *settings, const struct statement_facts *facts,
				    struct strview keyspace)
{
	switch (facts->kind) {
	case STATEMENT_SELECT:
		return route_select(settings, facts, keyspace);
	case STATEMENT_LIST:
	case STATEMENT_DESCRIBE:
		return system_read(settings);
	case STATEMENT_USE:
		return route_use(settings);
	case STATEMENT_CALL:
		if (facts->is_insights_call)
			return (struct verdict){ .to = 0, .class = CLASS_CONTROL };
		return route_both(settings, CLASS_WRITE, WRITE_SIMPLE);
	default:
		return route_both(settings, CLASS_WRITE, write_type_of(facts));
	}
}

/* ---- rules ---- */

uint8_t route_of_rule(const struct route_rule *rule)
{
	static const uint8_t to[] = { [RULE_ORIGIN] = TO_ORIGIN, [RULE_TARGET] = TO_TARGET, [RULE_BOTH] = TO_BOTH };

	Assert(!rule || rule->route < ARRAY_LEN(to));
	return rule ? to[rule->route] : TO_BOTH;
}

/* By a rule. The primary answers where both are asked. */
static void send_to(const struct settings *settings, uint8_t to, struct verdict *verdict)
{
	verdict->decided_by = DECIDED_BY_RULE;
	verdict->to = to;
	verdict->answer_from = (uint8_t)settings->primary;
	if (to != TO_BOTH)
		verdict->answer_from = to == TO_ORIGIN ? CLUSTER_ORIGIN : CLUSTER_TARGET;
}

/* `mode` is for a copy, if there is to be one. */
static void apply_rule(const struct settings *settings, const struct route_rule *rule, enum mirror_mode mode,
		       struct verdict *verdict)
{
	if (!rule)
		return;
	verdict->decider = rule->decider;
	if (rule->route == RULE_MIRROR) {
		verdict->decided_by = DECIDED_BY_RULE;
		verdict->mirror = (uint8_t)mode;
		return;
	}
	send_to(settings, route_of_rule(rule), verdict);
	/* It says where the statement goes, so read_mode does not. The copies' connection follows a USE of both at once,
	 * and else when a copy needs it (mirror.c). */
	if (verdict->mirror != MIRROR_USE || verdict->to != TO_BOTH)
		verdict->mirror = MIRROR_NONE;
}

static void rule_by_table(const struct settings *settings, const struct statement_facts *facts, struct strview keyspace,
			  struct verdict *verdict)
{
	const enum rule_words words = facts->kind == STATEMENT_SELECT ? RULE_READ : RULE_WRITE;

	if (facts->table.len == 0)
		return;
	if (facts->keyspace.len > 0)
		keyspace = statement_name_view(&facts->keyspace);
	apply_rule(settings, rules_match(&settings->rules, words, keyspace, statement_name_view(&facts->table)),
		   facts->is_qualified ? MIRROR_ANYWHERE : MIRROR_IN_KEYSPACE, verdict);
}

/* One rule, if at all, for all that they name: the text of a batch, DDL, USE. */
static void rule_by_tables(const struct settings *settings, struct strview text, const struct statement_facts *facts,
			   struct strview keyspace, struct verdict *verdict)
{
	const enum rule_words words = facts->kind == STATEMENT_BATCH ? RULE_WRITE : RULE_ALL;
	struct statement_tables tables;
	const struct route_rule *rule;

	statement_tables_clear(&tables);
	statement_tables_scan(text, facts, keyspace, &tables);
	if (tables.is_incomplete)
		rule = words == RULE_WRITE ? rules_match_everything(&settings->rules, words) : NULL;
	else if (tables.count == 0)
		rule = NULL;
	else
		rule = rules_match_tables(&settings->rules, words, &tables, &verdict->is_split);
	apply_rule(settings, rule, MIRROR_NONE, verdict);
}

static void route_by_rules(const struct settings *settings, struct strview text, const struct statement_facts *facts,
			   struct strview keyspace, struct verdict *verdict)
{
	if (verdict->decided_by == DECIDED_BY_PROTOCOL)
		return;
	switch (facts->kind) {
	case STATEMENT_SELECT:
	case STATEMENT_INSERT:
	case STATEMENT_UPDATE:
	case STATEMENT_DELETE:
	case STATEMENT_TRUNCATE:
		rule_by_table(settings, facts, keyspace, verdict);
		return;
	case STATEMENT_BATCH:
	case STATEMENT_SCHEMA:
	case STATEMENT_USE:
		rule_by_tables(settings, text, facts, keyspace, verdict);
		return;
	default: /* they name no table, or are not understood */
		return;
	}
}

struct verdict route_statement(const struct settings *settings, struct strview text,
			       const struct statement_facts *facts, struct strview keyspace)
{
	struct verdict verdict = route_by_kind(settings, facts, keyspace);

	if (unlikely(settings->rules.count > 0))
		route_by_rules(settings, text, facts, keyspace, &verdict);
	return verdict;
}

void route_add_child(struct route_children *children, const struct verdict *child)
{
	if (child->class != CLASS_WRITE) {
		children->is_undecided = true;
	} else if (children->to == 0) {
		children->to = child->to;
		children->decider = child->decider;
	} else if (children->to != child->to) {
		children->is_split = true;
	}
}

void route_batch(const struct settings *settings, const struct route_children *children, struct verdict *verdict)
{
	const struct route_rule *rule;

	if (children->is_undecided) {
		rule = rules_match_everything(&settings->rules, RULE_WRITE);
		apply_rule(settings, rule, MIRROR_NONE, verdict);
		return;
	}
	verdict->is_split = children->is_split;
	if (children->is_split || children->to == 0 || children->to == TO_BOTH)
		return;
	send_to(settings, children->to, verdict);
	verdict->decider = children->decider;
}
