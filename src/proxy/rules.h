/*
 * rules.h - [routing] rule: routes by kind of statement, keyspace and table,
 * without a script. Of the rules that fit a statement the most specific one
 * counts: a keyspace without * before one with it before * alone, then the
 * table in the same way; then the one with more characters beside *, of the
 * keyspace, then of the table; then read and write before all; then the one
 * that was given first. The list is in this order.
 *
 * Nothing is said about system keyspaces: their reads are the protocol's, and
 * what is written to them concerns both clusters.
 *
 * Rules are part of struct settings: made on the main thread, afterwards only
 * read. Names are as Cassandra keeps them.
 */
#ifndef PROXY_RULES_H
#define PROXY_RULES_H

#include "cql/statement_tables.h"
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
/*
 * The rule for statements about a keyspace as a whole, USE and DDL: one for
 * `all` and every table whose route no more specific rule changes, even for a
 * part of the keyspace. NULL: there is none, both clusters have the keyspace.
 */
const struct route_rule *rules_match_keyspace(const struct rule_list *rules, struct strview keyspace);
/*
 * The rule for a statement about these tables, at least one, where it is one for
 * all of them. NULL: there is none; *is_split says whether the reason is that
 * the tables have different routes.
 */
const struct route_rule *rules_match_tables(const struct rule_list *rules, enum rule_words words,
					    const struct statement_tables *tables, bool *is_split);
/* The rule for statements about tables that are not known: one for all tables, when no other one says otherwise. */
const struct route_rule *rules_match_everything(const struct rule_list *rules, enum rule_words words);

/* What is said of a batch whose tables have different routes: names two of them. Returns out. */
const char *rules_describe_split(const struct rule_list *rules, const struct statement_tables *tables, char *out,
				 size_t out_size);

/* The same for a batch that is a text. */
const char *rules_describe_split_text(const struct rule_list *rules, struct strview text, struct strview keyspace,
				      char *out, size_t out_size);

/* Whether one of them mirrors. */
bool rules_mirror(const struct rule_list *rules);
/* Whether this rule fits; the one that counts may be another one. */
bool rule_fits(const struct route_rule *rule, enum rule_words words, struct strview keyspace, struct strview table);

#endif
