/* setting_rules.c - see setting_rules.h */
#include "control/setting_rules.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cql/statement.h"
#include "proxy/rules.h"

/* More than anybody writes by hand; each one is looked at for each text that is scanned. */
#define RULES_MAX 1000

/* What a reading function says no with. */
struct problem {
	char *what;
	size_t size;
};

static bool fail(const struct problem *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool fail(const struct problem *p, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(p->what, p->size, fmt, args);
	va_end(args);
	return false;
}

/* ---- names ---- */

/* Adds one character of a name; several * behind each other are one. */
static bool name_add(char name[RULE_NAME_MAX + 1], size_t *len, char c)
{
	if (c == '*' && *len > 0 && name[*len - 1] == '*')
		return true;
	if (*len == RULE_NAME_MAX)
		return false;
	name[(*len)++] = c;
	name[*len] = '\0';
	return true;
}

/*
 * Reads a keyspace's or table's name at *p, up to '.' or the end, and leaves *p
 * there. Cassandra allows letters, digits and _ in them, quoted or not, and 48
 * characters, so that a * can be nothing else than what it is here.
 */
static bool name_read(const char **p, const char *whole, char name[RULE_NAME_MAX + 1], const struct problem *problem)
{
	const bool is_quoted = **p == '"';
	char shown[TEXT_SHOWN_MAX];
	size_t len = 0;

	*name = '\0';
	for (*p += is_quoted; **p && **p != (is_quoted ? '"' : '.'); (*p)++) {
		const char c = **p;

		if (!isalnum((unsigned char)c) && c != '_' && c != '*')
			return fail(problem, "no keyspace or table can be named like \"%s\" (letters, digits, _ and *)",
				    text_show(whole, shown));
		if (!name_add(name, &len, is_quoted ? c : (char)tolower((unsigned char)c)))
			return fail(problem, "\"%s\" has a name longer than %d characters, which Cassandra allows none",
				    text_show(whole, shown), RULE_NAME_MAX);
	}
	if (is_quoted && *(*p)++ != '"')
		return fail(problem, "\"%s\" has a double quote that is not closed", text_show(whole, shown));
	if (len == 0)
		return fail(problem, "\"%s\" has an empty name", text_show(whole, shown));
	return true;
}

static bool names_read(const char *text, struct route_rule *rule, const struct problem *problem)
{
	const char *p = text;
	char shown[TEXT_SHOWN_MAX];

	if (!name_read(&p, text, rule->keyspace, problem))
		return false;
	if (*p != '.')
		return fail(problem, "\"%s\" is no KEYSPACE.TABLE", text_show(text, shown));
	p++;
	if (!name_read(&p, text, rule->table, problem))
		return false;
	if (*p)
		return fail(problem, "something follows the table in \"%s\"", text_show(text, shown));
	if (statement_keyspace_is_system(sv_from(rule->keyspace)))
		return fail(problem, "%s is a system keyspace, which no rule is asked about", rule->keyspace);
	return true;
}

/* ---- one rule ---- */

static bool words_read(const char *text, struct route_rule *rule, const struct problem *problem)
{
	char shown[TEXT_SHOWN_MAX];

	for (unsigned i = 0; i < RULE_WORDS_COUNT; i++) {
		if (strcasecmp(text, rule_words_name(i)) == 0) {
			rule->words = (uint8_t)i;
			return true;
		}
	}
	return fail(problem, "\"%s\" does not say which statements", text_show(text, shown));
}

static bool route_read(const char *text, struct route_rule *rule, const struct problem *problem)
{
	char shown[TEXT_SHOWN_MAX];
	bool found = false;

	for (unsigned i = 0; i < RULE_ROUTE_COUNT; i++) {
		if (strcasecmp(text, rule_route_name(i)) == 0) {
			rule->route = (uint8_t)i;
			found = true;
		}
	}
	if (!found)
		return fail(problem, "\"%s\" is no route", text_show(text, shown));
	if (rule->route == RULE_MIRROR && rule->words != RULE_READ)
		return fail(problem, "mirror is for reads, not for \"%s\"", rule_words_name(rule->words));
	return true;
}

/* Cuts the next word off *rest; NULL at the end. */
static char *word_next(char **rest)
{
	char *word = *rest + strspn(*rest, " \t");

	if (!*word)
		return NULL;
	*rest = word + strcspn(word, " \t");
	if (**rest)
		*(*rest)++ = '\0';
	return word;
}

/* The three words, which are changed. */
static bool rule_read(char *text, struct route_rule *rule, const struct problem *problem)
{
	char *rest = text;
	const char *words = word_next(&rest);
	const char *names = word_next(&rest);
	const char *route = word_next(&rest);
	const char *more = word_next(&rest);
	char shown[TEXT_SHOWN_MAX];

	if (!words_read(words, rule, problem))
		return false;
	if (!names)
		return fail(problem, "no KEYSPACE.TABLE after \"%s\"", words);
	if (!names_read(names, rule, problem))
		return false;
	if (!route)
		return fail(problem, "no route after \"%s\"", text_show(names, shown));
	if (!route_read(route, rule, problem))
		return false;
	return !more || fail(problem, "\"%s\" follows the route", text_show(more, shown));
}

/* In quotes where it would be folded otherwise. */
static char *name_format(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (isupper((unsigned char)*p))
			return xasprintf("\"%s\"", name);
	}
	return xstrdup(name);
}

static char *rule_format(const struct route_rule *rule)
{
	char *keyspace = name_format(rule->keyspace);
	char *table = name_format(rule->table);
	char *text =
		xasprintf("%s %s.%s %s", rule_words_name(rule->words), keyspace, table, rule_route_name(rule->route));

	free(keyspace);
	free(table);
	return text;
}

/* ---- all of them ---- */

bool rules_parse(const struct setting_input *in, struct rule_list *rules, char *what, size_t what_size)
{
	const struct problem problem = { what, what_size };
	struct route_rule rule = { .words = RULE_READ };
	const struct route_rule *twin;
	char *text;
	bool ok;

	if (!in->text[strspn(in->text, " \t")])
		return true;
	text = xstrdup(in->text);
	ok = rule_read(text, &rule, &problem);
	free(text);
	if (!ok)
		return false;
	if (rules->count == RULES_MAX)
		return fail(&problem, "one rule too many, there may be %d", RULES_MAX);
	twin = rules_find_twin(rules, &rule);
	if (twin)
		return fail(&problem, "the rule at %s, \"%s\", is about the same statements", twin->place, twin->text);
	rule.text = rule_format(&rule);
	rule.place = xstrdup(in->place ? in->place : "configuration");
	rules_add(rules, &rule);
	return true;
}

void rules_allowed(char *out, size_t out_size)
{
	snprintf(out, out_size,
		 "read, write or all, then KEYSPACE.TABLE with * for any characters, then origin, target, both or "
		 "(reads only) mirror");
}

char *rules_format(const struct rule_list *rules)
{
	char *out = NULL;

	for (unsigned i = 0; i < rules->count; i++) {
		char *longer = xasprintf("%s%s%s", out ? out : "", out ? ", " : "", rules->items[i].text);

		free(out);
		out = longer;
	}
	return out;
}

void rules_clear(struct rule_list *rules)
{
	for (unsigned i = 0; i < rules->count; i++) {
		free(rules->items[i].text);
		free(rules->items[i].place);
	}
	free(rules->items);
	*rules = (struct rule_list){ .items = NULL };
}
