/* rules.c - see rules.h */
#include "proxy/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"

const char *rule_words_name(enum rule_words words)
{
	static const char *const names[RULE_WORDS_COUNT] = { "read", "write", "all" };

	return names[words];
}

const char *rule_route_name(enum rule_route route)
{
	static const char *const names[RULE_ROUTE_COUNT] = { "origin", "target", "both", "mirror" };

	return names[route];
}

/* ---- the order ---- */

/* 0: without *; 1: with it; 2: * alone. */
static int pattern_class(const char *pattern)
{
	if (!strchr(pattern, '*'))
		return 0;
	return pattern[1] ? 1 : 2;
}

static int pattern_letters(const char *pattern)
{
	int count = 0;

	for (; *pattern; pattern++)
		count += *pattern != '*';
	return count;
}

/* Below 0: `a` is more specific than `b`. */
static int compare(const struct route_rule *a, const struct route_rule *b)
{
	const int order[] = {
		pattern_class(a->keyspace) - pattern_class(b->keyspace),
		pattern_class(a->table) - pattern_class(b->table),
		pattern_letters(b->keyspace) - pattern_letters(a->keyspace),
		pattern_letters(b->table) - pattern_letters(a->table),
		(a->words == RULE_ALL) - (b->words == RULE_ALL),
	};

	for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
		if (order[i] != 0)
			return order[i];
	}
	return 0;
}

const struct route_rule *rules_find_twin(const struct rule_list *rules, const struct route_rule *rule)
{
	for (unsigned i = 0; i < rules->count; i++) {
		const struct route_rule *r = &rules->items[i];

		if (r->words == rule->words && strcmp(r->keyspace, rule->keyspace) == 0 &&
		    strcmp(r->table, rule->table) == 0)
			return r;
	}
	return NULL;
}

static uint8_t length_without_star(const char *pattern)
{
	return pattern_class(pattern) == 0 ? (uint8_t)strlen(pattern) : 0;
}

void rules_add(struct rule_list *rules, const struct route_rule *rule)
{
	unsigned at = rules->count;

	rules->items = xrealloc(rules->items, (rules->count + 1) * sizeof(*rules->items));
	while (at > 0 && compare(rule, &rules->items[at - 1]) < 0)
		at--;
	memmove(&rules->items[at + 1], &rules->items[at], (rules->count - at) * sizeof(*rules->items));
	rules->items[at] = *rule;
	rules->items[at].keyspace_len = length_without_star(rule->keyspace);
	rules->items[at].table_len = length_without_star(rule->table);
	rules->items[at].decider = names_keep(rule->text);
	rules->count++;
}

/* ---- fitting ---- */

/* The last * is tried again with one character more whenever what follows it does not fit. */
static bool pattern_fits(const char *pattern, struct strview name)
{
	const char *star = NULL;
	size_t behind_star = 0, i = 0;

	if (pattern[0] == '*' && !pattern[1])
		return true;
	while (i < name.len) {
		if (*pattern == '*') {
			star = pattern++;
			behind_star = i;
		} else if (*pattern == name.p[i]) {
			pattern++;
			i++;
		} else if (star) {
			pattern = star + 1;
			i = ++behind_star;
		} else {
			return false;
		}
	}
	return *pattern == '\0' || (*pattern == '*' && !pattern[1]);
}

static bool name_fits(const char *pattern, uint8_t len, struct strview name)
{
	return len > 0 ? len == name.len && memcmp(pattern, name.p, len) == 0 : pattern_fits(pattern, name);
}

bool rule_fits(const struct route_rule *rule, enum rule_words words, struct strview keyspace, struct strview table)
{
	return (rule->words == words || rule->words == RULE_ALL) && name_fits(rule->table, rule->table_len, table) &&
	       name_fits(rule->keyspace, rule->keyspace_len, keyspace);
}

const struct route_rule *rules_match(const struct rule_list *rules, enum rule_words words, struct strview keyspace,
				     struct strview table)
{
	if (statement_keyspace_is_system(keyspace))
		return NULL;
	for (unsigned i = 0; i < rules->count; i++) {
		if (rule_fits(&rules->items[i], words, keyspace, table))
			return &rules->items[i];
	}
	return NULL;
}

const struct route_rule *rules_match_keyspace(const struct rule_list *rules, struct strview keyspace)
{
	const struct route_rule *rule = rules_match(rules, RULE_ALL, keyspace, SV(""));

	for (const struct route_rule *r = rules->items; rule && r < rule; r++) {
		if (r->route != rule->route && pattern_fits(r->keyspace, keyspace))
			return NULL;
	}
	return rule;
}

static const struct route_rule *match_pair(const struct rule_list *rules, enum rule_words words,
					   const struct statement_table *t)
{
	const struct strview keyspace = statement_name_view(&t->keyspace);

	if (t->table.len == 0)
		return rules_match_keyspace(rules, keyspace);
	return rules_match(rules, words, keyspace, statement_name_view(&t->table));
}

/* A write without a rule goes to both. */
static enum rule_route route_of(const struct route_rule *rule)
{
	return rule ? (enum rule_route)rule->route : RULE_BOTH;
}

const struct route_rule *rules_match_tables(const struct rule_list *rules, enum rule_words words,
					    const struct statement_tables *tables, bool *is_split)
{
	const struct route_rule *first = match_pair(rules, words, &tables->items[0]);

	*is_split = false;
	for (unsigned i = 1; i < tables->count; i++) {
		const struct route_rule *rule = match_pair(rules, words, &tables->items[i]);

		if (route_of(rule) != route_of(first)) {
			*is_split = true;
			return NULL;
		}
	}
	return first;
}

const struct route_rule *rules_match_everything(const struct rule_list *rules, enum rule_words words)
{
	const struct route_rule *first = NULL, *last = NULL;

	for (const struct route_rule *r = rules->items; r < rules->items + rules->count; r++) {
		if (r->words != words && r->words != RULE_ALL)
			continue;
		if (!first)
			first = r;
		if (r->route != first->route)
			return NULL;
		last = r;
	}
	return last && strcmp(last->keyspace, "*") == 0 && strcmp(last->table, "*") == 0 ? last : NULL;
}

/* "billing.orders: target, by the rule at FILE:12" */
static void describe_table(const struct rule_list *rules, const struct statement_table *t, char *out, size_t out_size)
{
	const struct route_rule *rule = match_pair(rules, RULE_WRITE, t);

	snprintf(out, out_size, "%.*s.%.*s (%s, %s%s)", SV_ARG(statement_name_view(&t->keyspace)),
		 SV_ARG(statement_name_view(&t->table)), rule_route_name(route_of(rule)),
		 rule ? "by the rule at " : "without a rule", rule ? rule->place : "");
}

const char *rules_describe_split(const struct rule_list *rules, const struct statement_tables *tables, char *out,
				 size_t out_size)
{
	const enum rule_route first = tables->count ? route_of(match_pair(rules, RULE_WRITE, &tables->items[0])) : 0;
	char one[256], other[256];

	for (unsigned i = 1; i < tables->count; i++) {
		if (route_of(match_pair(rules, RULE_WRITE, &tables->items[i])) == first)
			continue;
		describe_table(rules, &tables->items[0], one, sizeof(one));
		describe_table(rules, &tables->items[i], other, sizeof(other));
		snprintf(out, out_size, "a batch cannot be routed whose tables are routed differently: %s, %s", one,
			 other);
		return out;
	}
	/* One of more tables than can be told. */
	snprintf(out, out_size, "a batch cannot be routed whose tables are routed differently");
	return out;
}

const char *rules_describe_split_text(const struct rule_list *rules, struct strview text, struct strview keyspace,
				      char *out, size_t out_size)
{
	struct statement_tables tables;
	struct statement_facts facts;

	statement_tables_clear(&tables);
	statement_scan(text, &facts);
	statement_tables_scan(text, &facts, keyspace, &tables);
	return rules_describe_split(rules, &tables, out, out_size);
}

bool rules_mirror(const struct rule_list *rules)
{
	for (unsigned i = 0; i < rules->count; i++) {
		if (rules->items[i].route == RULE_MIRROR)
			return true;
	}
	return false;
}
