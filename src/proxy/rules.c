/* rules.c - see rules.h */
#include "proxy/rules.h"

#include <stdlib.h>
#include <string.h>

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

void rules_add(struct rule_list *rules, const struct route_rule *rule)
{
	unsigned at = rules->count;

	rules->items = xrealloc(rules->items, (rules->count + 1) * sizeof(*rules->items));
	while (at > 0 && compare(rule, &rules->items[at - 1]) < 0)
		at--;
	memmove(&rules->items[at + 1], &rules->items[at], (rules->count - at) * sizeof(*rules->items));
	rules->items[at] = *rule;
	rules->count++;
}

/* ---- fitting ---- */

/* The last * is tried again with one character more whenever what follows it does not fit. */
static bool pattern_fits(const char *pattern, struct strview name)
{
	const char *star = NULL;
	size_t behind_star = 0, i = 0;

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

bool rule_fits(const struct route_rule *rule, enum rule_words words, struct strview keyspace, struct strview table)
{
	return (rule->words == words || rule->words == RULE_ALL) && pattern_fits(rule->keyspace, keyspace) &&
	       pattern_fits(rule->table, table);
}

const struct route_rule *rules_match(const struct rule_list *rules, enum rule_words words, struct strview keyspace,
				     struct strview table)
{
	for (unsigned i = 0; i < rules->count; i++) {
		if (rule_fits(&rules->items[i], words, keyspace, table))
			return &rules->items[i];
	}
	return NULL;
}
