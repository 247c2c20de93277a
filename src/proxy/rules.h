/*
 * rules.h - [routing] rule: routes by kind of statement, keyspace and table,
 * without a script. Of the rules that fit a statement the most specific one
 * counts: a keyspace without * before one with it before * alone, then the
 * table in the same way; then the one with more characters beside *, of the
 * keyspace, then of the table; then read and write before all; then the one
 * that was given first. The list is in this order.
 *
 * Rules are part of struct settings: made on the main thread, afterwards only
 * read. Names are as Cassandra keeps them.
 */
#ifndef PROXY_RULES_H
#define PROXY_RULES_H

#include "base/strview.h"
#include "proxy/settings.h"

#define RULE_WORDS_COUNT 3
#define RULE_ROUTE_COUNT 4

const char *rule_words_name(enum rule_words words);
const char *rule_route_name(enum rule_route route);

/* The rule with the same words, keyspace and table; NULL: there is none. */
const struct route_rule *rules_find_twin(const struct rule_list *rules, const struct route_rule *rule);
/* Puts a rule in its place; takes over what it owns. */
void rules_add(struct rule_list *rules, const struct route_rule *rule);

/*
 * The rule for a statement; NULL: there is none. `words` is RULE_READ or
 * RULE_WRITE, or RULE_ALL for DDL and USE, which neither `read` nor `write`
 * rules fit. A name of length 0, "none", fits * only. Does not allocate.
 */
const struct route_rule *rules_match(const struct rule_list *rules, enum rule_words words, struct strview keyspace,
				     struct strview table);
/* Whether this rule fits; the one that counts may be another one. */
bool rule_fits(const struct route_rule *rule, enum rule_words words, struct strview keyspace, struct strview table);

#endif
