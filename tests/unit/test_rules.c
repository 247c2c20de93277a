/* test_rules.c - [routing] rule: how it is read, and which rule counts for a statement. */
#include "config_helper.h"
#include "control/config_compare.h"
#include "proxy/route.h"
#include "proxy/rules.h"

#define BASE                                                                                                           \
	"[origin]\n"                                                                                                   \
	"contact_points = a\n"                                                                                         \
	"[target]\n"                                                                                                   \
	"contact_points = b\n"                                                                                         \
	"[routing]\n"

/* ---- reading ---- */

static const struct {
	const char *line;
	struct route_rule rule;
} readable[] = {
	{ "read billing.* target",
	  { RULE_READ, RULE_TARGET, "billing", "*", "read billing.* target", NULL, 0, 0, NULL } },
	{ "write Billing.Orders origin", { RULE_WRITE, RULE_ORIGIN, "billing", "orders", NULL, NULL, 0, 0, NULL } },
	{ "ALL\t*.*  Both", { RULE_ALL, RULE_BOTH, "*", "*", "all *.* both", NULL, 0, 0, NULL } },
	{ "read \"Billing\".\"Or*S\" mirror ; why",
	  { RULE_READ, RULE_MIRROR, "Billing", "Or*S", "read \"Billing\".\"Or*S\" mirror", NULL, 0, 0, NULL } },
	{ "read log_*.***x** target",
	  { RULE_READ, RULE_TARGET, "log_*", "*x*", "read log_*.*x* target", NULL, 0, 0, NULL } },
	{ "read \"lower\".t target",
	  { RULE_READ, RULE_TARGET, "lower", "t", "read lower.t target", NULL, 0, 0, NULL } },
	{ "read systems.t target", { RULE_READ, RULE_TARGET, "systems", "t", NULL, NULL, 0, 0, NULL } },
	{ "read system*.t target", { RULE_READ, RULE_TARGET, "system*", "t", NULL, NULL, 0, 0, NULL } },
	{ "read \"System\".t target", { RULE_READ, RULE_TARGET, "System", "t", NULL, NULL, 0, 0, NULL } },
	{ "read a23456789012345678901234567890123456789012345678.t target",
	  { RULE_READ, RULE_TARGET, "a23456789012345678901234567890123456789012345678", "t", NULL, NULL, 0, 0, NULL } },
};

START_TEST(what_can_be_read)
{
	const struct route_rule *expected = &readable[_i].rule, *r;
	char text[512];

	snprintf(text, sizeof(text), "%srule = %s\n", BASE, readable[_i].line);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_uint_eq(settings->rules.count, 1);
	r = settings->rules.items;
	ck_assert_int_eq(r->words, expected->words);
	ck_assert_int_eq(r->route, expected->route);
	ck_assert_str_eq(r->keyspace, expected->keyspace);
	ck_assert_str_eq(r->table, expected->table);
	ck_assert_str_eq(r->place, "t.ini:6");
	if (expected->text)
		ck_assert_str_eq(r->text, expected->text);
}
END_TEST

#define ALLOWED                                                                                                        \
	"; allowed: read, write or all, then KEYSPACE.TABLE with * for any characters, then origin, target, both or "  \
	"(reads only) mirror"

static const struct {
	const char *line, *message;
} mistakes[] = {
	{ "raed billing.* target", "\"raed\" does not say which statements" },
	{ "read", "no KEYSPACE.TABLE after \"read\"" },
	{ "read billing target", "\"billing\" is no KEYSPACE.TABLE" },
	{ "read billing.*", "no route after \"billing.*\"" },
	{ "read billing.* traget", "\"traget\" is no route" },
	{ "read billing.* target now", "\"now\" follows the route" },
	{ "read billing.t.* target", "something follows the table in \"billing.t.*\"" },
	{ "read billing.t- target",
	  "no keyspace or table can be named like \"billing.t-\" (letters, digits, _ and *)" },
	{ "read \"a\"\"b\".t target", "\"\"a\"\"b\".t\" is no KEYSPACE.TABLE" },
	{ "read \"a b\".t target", "\"\"a\" has a double quote that is not closed" },
	{ "read a.\"b\"c target", "something follows the table in \"a.\"b\"c\"" },
	{ "read .t target", "\".t\" has an empty name" },
	{ "read k. target", "\"k.\" has an empty name" },
	{ "read \"\".t target", "\"\"\".t\" has an empty name" },
	{ "write billing.* mirror", "mirror is for reads, not for \"write\"" },
	{ "all billing.* mirror", "mirror is for reads, not for \"all\"" },
	{ "all system.local target", "system is a system keyspace, which no rule is asked about" },
	{ "write System_Auth.* target", "system_auth is a system keyspace, which no rule is asked about" },
	{ "read a234567890123456789012345678901234567890123456789.t target",
	  "\"a234567890123456789012345678901234567890123456789.t\" has a name longer than 48 characters, which "
	  "Cassandra allows none" },
	{ "read k.a234567890123456789012345678901234567890123456789 target",
	  "\"k.a234567890123456789012345678901234567890123456789\" has a name longer than 48 characters, which "
	  "Cassandra allows none" },
	{ "READ \"k\".T both", "the rule at t.ini:6, \"read k.t target\", is about the same statements" },
	{ "read k.\xc3\xa9 both", "no keyspace or table can be named like \"k.??\" (letters, digits, _ and *)" },
};

START_TEST(what_cannot)
{
	char text[512], expected[512];

	snprintf(text, sizeof(text), "%srule = read k.t target\n;\nrule = %s\n", BASE, mistakes[_i].line);
	snprintf(expected, sizeof(expected), "t.ini:8: [routing] rule: %s%s", mistakes[_i].message, ALLOWED);
	ck_assert_msg(!load_text("t.ini", text), "accepted: %s", mistakes[_i].line);
	ck_assert_str_eq(error, expected);
}
END_TEST

/* The members of each have something in common, but no two are about the same statements. */
START_TEST(no_twins)
{
	ck_assert_msg(load_text("t.ini",
				BASE "rule = read k.t target\nrule = write k.t target\nrule = all k.t target\n"
				     "rule = read k.u target\nrule = read l.t target\nrule = read \"K\".t target\n"
				     "rule = read k.\"T\" target\nrule = read k*.t target\n"),
		      "%s", error);
	ck_assert_uint_eq(settings->rules.count, 8);
}
END_TEST

START_TEST(too_many)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fputs(BASE, f);
	for (unsigned i = 0; i < 1000; i++)
		fprintf(f, "rule = read k.t%u target\n", i);
	fflush(f);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_uint_eq(settings->rules.count, 1000);
	fputs("rule = read k.t target\n", f);
	fclose(f);
	ck_assert(!load_text("t.ini", text));
	ck_assert_str_eq(error, "t.ini:1006: [routing] rule: one rule too many, there may be 1000" ALLOWED);
	free(text);
}
END_TEST

/* ---- a key in several lines ---- */

START_TEST(printed_line_by_line)
{
	char *again;

	ck_assert_msg(load_text("t.ini", BASE "rule = all *.* both\nprimary = target\nrule = read \"K\".t origin ; x\n"
					      "rule =\n"),
		      "%s", error);
	ck_assert_ptr_nonnull(strstr(printed, "\nrule = all *.* both  ; from t.ini:6\n"
					      "rule = read \"K\".t origin  ; from t.ini:8\n"
					      "rule =  ; from t.ini:9\n"));
	again = xstrdup(printed);
	ck_assert_msg(load_text("t.ini", again), "%s", error);
	ck_assert_uint_eq(settings->rules.count, 2);
	ck_assert_str_eq(settings->rules.items[0].keyspace, "K");
	free(again);
	ck_assert_msg(load_text("t.ini", BASE), "%s", error);
	ck_assert_uint_eq(settings->rules.count, 0);
	ck_assert_ptr_nonnull(strstr(printed, "\n;rule =  ; not set\n"));
}
END_TEST

START_TEST(set_replaces_the_lines_of_the_file)
{
	static const char *const sets[] = { "routing.rule=read k.t origin", "routing.primary=target",
					    "routing.rule=write k.t origin", NULL };
	static const char *const none[] = { "routing.rule=", NULL };
	static const char *const twin[] = { "routing.rule=read a.b both", "routing.rule=read a.b target", NULL };

	file_write("t.ini", BASE "rule = all a.b both\nrule = all c.d both\n",
		   strlen(BASE "rule = all a.b both\nrule = all c.d both\n"));
	ck_assert_msg(load("t.ini", NULL, sets), "%s", error);
	ck_assert_uint_eq(settings->rules.count, 2);
	ck_assert_str_eq(settings->rules.items[0].text, "read k.t origin");
	ck_assert_str_eq(settings->rules.items[1].text, "write k.t origin");
	ck_assert_str_eq(settings->rules.items[1].place, "--set");
	ck_assert_ptr_nonnull(strstr(printed, "\nrule = read k.t origin  ; from --set\n"
					      "rule = write k.t origin  ; from --set\n"));
	ck_assert_msg(load("t.ini", NULL, none), "%s", error);
	ck_assert_uint_eq(settings->rules.count, 0);
	ck_assert(!load("t.ini", NULL, twin));
	ck_assert_str_eq(error, "--set routing.rule: the rule at --set, \"read a.b both\", is about the same "
				"statements" ALLOWED);
}
END_TEST

START_TEST(only_in_lines_of_its_own)
{
	ck_assert(!load_text("t.ini", BASE "rule = read a.b both\n  read c.d both\n"));
	ck_assert_str_eq(error, "t.ini:7: [routing] rule: an indented line continues the value above it; allowed: only "
				"in lists, keys stand in the first column");
	ck_assert(!load_text("t.ini", BASE "primary = origin\nrule = read a.b both\nprimary = target\n"));
	ck_assert_str_eq(error, "t.ini:8: [routing] primary: given already at t.ini:6; allowed: once");
	ck_assert(!load_text("t.ini", BASE "rule = read a.b both, read c.d both\n"));
	ck_assert_str_eq(error, "t.ini:6: [routing] rule: \"both,\" is no route" ALLOWED);
}
END_TEST

/* What a reload says, and that lines which only moved are no change. */
START_TEST(changes_are_told)
{
	struct config *before;
	struct config_changes changes;

	ck_assert_msg(load_text("t.ini", BASE "rule = read a.b both\nrule = read a.* both\n"), "%s", error);
	before = config;
	config = NULL;
	ck_assert_msg(load_text("t.ini", BASE ";\nrule = read a.* both\nrule = read a.b both\n"), "%s", error);
	config_compare(before, config, &changes);
	ck_assert_uint_eq(changes.count, 0);
	ck_assert_msg(load_text("t.ini", BASE "rule = read a.b target\n"), "%s", error);
	config_compare(before, config, &changes);
	ck_assert_uint_eq(changes.count, 1);
	ck_assert_str_eq(changes.items[0].name, "[routing] rule");
	ck_assert_str_eq(changes.items[0].before, "read a.b both, read a.* both");
	ck_assert_str_eq(changes.items[0].after, "read a.b target");
	ck_assert_str_eq(changes.items[0].place, "t.ini:6: [routing] rule");
	config_changes_free(&changes);
	config_free(before);
}
END_TEST

/* ---- which one counts ---- */

/* `rules`, a line each, as the settings. */
static void load_rules(const char *rules)
{
	char text[1024] = BASE, lines[512];

	snprintf(lines, sizeof(lines), "%s", rules);
	for (const char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "rule = %s\n", line);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
}

static const struct {
	const char *rules; /* one a line, the least fitting first */
	enum rule_words words;
	const char *keyspace, *table;
	const char *expected; /* text of the rule; NULL: none */
} matches[] = {
	{ "read k.t target", RULE_READ, "k", "t", "read k.t target" },
	{ "read k.t target", RULE_WRITE, "k", "t", NULL },
	{ "read k.t target", RULE_ALL, "k", "t", NULL },
	{ "write k.t target", RULE_READ, "k", "t", NULL },
	{ "write k.t target", RULE_WRITE, "k", "t", "write k.t target" },
	{ "write k.t target", RULE_ALL, "k", "t", NULL },
	{ "all k.t target", RULE_READ, "k", "t", "all k.t target" },
	{ "all k.t target", RULE_WRITE, "k", "t", "all k.t target" },
	{ "all k.t target", RULE_ALL, "k", "t", "all k.t target" },
	/* Names are compared as Cassandra keeps them, whole. */
	{ "read k.t target", RULE_READ, "K", "t", NULL },
	{ "read K.T target", RULE_READ, "k", "t", "read k.t target" },
	{ "read \"K\".t target", RULE_READ, "k", "t", NULL },
	{ "read \"K\".t target", RULE_READ, "K", "t", "read \"K\".t target" },
	{ "read k.t target", RULE_READ, "k", "tt", NULL },
	{ "read k.tt target", RULE_READ, "k", "t", NULL },
	{ "read k.t target", RULE_READ, "kk", "t", NULL },
	/* Patterns. */
	{ "read k*.t target", RULE_READ, "k", "t", "read k*.t target" },
	{ "read k*.t target", RULE_READ, "kkk", "t", "read k*.t target" },
	{ "read *k.t target", RULE_READ, "xxk", "t", "read *k.t target" },
	{ "read *k.t target", RULE_READ, "kx", "t", NULL },
	{ "read *k.t target", RULE_READ, "kxk", "t", "read *k.t target" },
	{ "read a*b*c.t target", RULE_READ, "abc", "t", "read a*b*c.t target" },
	{ "read a*b*c.t target", RULE_READ, "aXbXbXcXc", "t", "read a*b*c.t target" },
	{ "read a*b*c.t target", RULE_READ, "acb", "t", NULL },
	{ "read a*b*c.t target", RULE_READ, "abcX", "t", NULL },
	{ "read *ab*.t target", RULE_READ, "aab", "t", "read *ab*.t target" },
	{ "read *aab.t target", RULE_READ, "aaab", "t", "read *aab.t target" },
	{ "read k.* target", RULE_READ, "k", "", "read k.* target" },
	{ "read k.t* target", RULE_READ, "k", "", NULL },
	{ "read k.t target", RULE_READ, "k", "", NULL },
	{ "read *.t target", RULE_READ, "", "t", "read *.t target" },
	{ "read k*.t target", RULE_READ, "", "t", NULL },
	/* The keyspace is looked at first: exact, with *, * alone. */
	{ "read *.t origin\nread k*.t both\nread k.* target", RULE_READ, "k", "t", "read k.* target" },
	{ "read *.t origin\nread k*.* both", RULE_READ, "k", "t", "read k*.* both" },
	{ "all k.* origin\nread *.t both", RULE_READ, "k", "t", "all k.* origin" },
	/* Then the table. */
	{ "read k.* origin\nread k.t* both\nread k.t target", RULE_READ, "k", "t", "read k.t target" },
	{ "read k.* origin\nread k.t* both", RULE_READ, "k", "tt", "read k.t* both" },
	{ "read kkkk*.* origin\nread k*.t target", RULE_READ, "kkkkk", "t", "read k*.t target" },
	/* Then the number of characters: of the keyspace, then of the table. */
	{ "read l*.* origin\nread lo*.* both\nread l*g.* target", RULE_READ, "log", "t", "read lo*.* both" },
	{ "read l*.* origin\nread l*og.* target\nread lo*.* both", RULE_READ, "log", "t", "read l*og.* target" },
	{ "read k.a* origin\nread k.*a* both\nread k.ab* target", RULE_READ, "k", "abc", "read k.ab* target" },
	{ "read l*.aaaa* origin\nread lo*.a* target", RULE_READ, "log", "aaaaa", "read lo*.a* target" },
	/* Then read and write before all. */
	{ "all k.t origin\nread k.t target\nwrite k.t both", RULE_READ, "k", "t", "read k.t target" },
	{ "all k.t origin\nread k.t target\nwrite k.t both", RULE_WRITE, "k", "t", "write k.t both" },
	{ "all k.t origin\nread k.t target\nwrite k.t both", RULE_ALL, "k", "t", "all k.t origin" },
	{ "all k.t origin\nread k.* target", RULE_READ, "k", "t", "all k.t origin" },
	/* Then the order in which they were given. */
	{ "read a*.t origin\nread *b.t target", RULE_READ, "ab", "t", "read a*.t origin" },
	{ "read *b.t target\nread a*.t origin", RULE_READ, "ab", "t", "read *b.t target" },
};

START_TEST(the_most_specific_one_counts)
{
	const struct route_rule *r;

	load_rules(matches[_i].rules);
	r = rules_match(&settings->rules, matches[_i].words, sv_from(matches[_i].keyspace), sv_from(matches[_i].table));
	ck_assert_msg((r != NULL) == (matches[_i].expected != NULL), "%s: %s", matches[_i].rules, r ? r->text : "none");
	if (r)
		ck_assert_msg(strcmp(r->text, matches[_i].expected) == 0, "%s: %s", matches[_i].rules, r->text);
}
END_TEST

/* What rules of a keyspace say about the keyspace itself. */
static const struct {
	const char *rules;
	const char *keyspace;
	const char *expected;
} keyspaces[] = {
	{ "all k.* target", "k", "all k.* target" },
	{ "all k*.* target", "kk", "all k*.* target" },
	{ "all *.* target", "k", "all *.* target" },
	{ "all k.* both", "k", "all k.* both" },
	{ "all k.* target", "l", NULL },
	{ "all k.t target", "k", NULL },
	{ "all k.t* target", "k", NULL },
	{ "read k.* target\nwrite k.* target", "k", NULL },
	/* A part of it is elsewhere. */
	{ "all k.* target\nread k.t origin", "k", NULL },
	{ "all k.* target\nwrite k.t* both", "k", NULL },
	{ "all k.* target\nread k.* mirror", "k", NULL },
	{ "all k*.* target\nall kk.x origin", "kk", NULL },
	{ "all *.* target\nall k.x origin", "k", NULL },
	/* What is elsewhere belongs to others, or is less specific. */
	{ "all k.* target\nread l.t origin", "k", "all k.* target" },
	{ "all k.* target\nread k.t target", "k", "all k.* target" },
	{ "all k.* target\nread *.t origin", "k", "all k.* target" },
	{ "all *.* origin\nall k.* target", "k", "all k.* target" },
	{ "all *.* origin\nall k.* target", "l", "all *.* origin" },
	{ "all *.* target", "system_auth", NULL },
};

START_TEST(about_a_keyspace)
{
	const struct route_rule *r;

	load_rules(keyspaces[_i].rules);
	r = rules_match_keyspace(&settings->rules, sv_from(keyspaces[_i].keyspace));
	ck_assert_msg((r != NULL) == (keyspaces[_i].expected != NULL), "%s: %s", keyspaces[_i].rules,
		      r ? r->text : "none");
	if (r)
		ck_assert_str_eq(r->text, keyspaces[_i].expected);
}
END_TEST

/* Rules for tables that are not known: only what is so for all of them. */
START_TEST(about_everything)
{
	static const struct {
		const char *rules, *expected;
	} cases[] = {
		{ "write *.* target", "write *.* target" },
		{ "all *.* target", "all *.* target" },
		{ "write *.* target\nread *.* origin\nread k.t origin", "write *.* target" },
		{ "write *.* target\nall k.* target", "write *.* target" },
		{ "write *.* target\nall k.* origin", NULL },
		{ "write *.* target\nwrite k.t both", NULL },
		{ "write k.* target", NULL },
		{ "write *.t target", NULL },
		{ "read *.* target", NULL },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct route_rule *r;

		load_rules(cases[i].rules);
		r = rules_match_everything(&settings->rules, RULE_WRITE);
		ck_assert_msg((r != NULL) == (cases[i].expected != NULL), "%s", cases[i].rules);
		if (r)
			ck_assert_str_eq(r->text, cases[i].expected);
	}
}
END_TEST

START_TEST(system_keyspaces_have_none)
{
	load_rules("all *.* target");
	ck_assert_ptr_null(rules_match(&settings->rules, RULE_READ, SV("system"), SV("local")));
	ck_assert_ptr_null(rules_match(&settings->rules, RULE_WRITE, SV("system_auth"), SV("roles")));
	ck_assert_ptr_nonnull(rules_match(&settings->rules, RULE_READ, SV("systems"), SV("local")));
}
END_TEST

/* ---- verdicts ---- */

#define VERDICT_RULES                                                                                                  \
	"read k.r target\nread k.b both\nread k.m mirror\nwrite k.r origin\nall a.* target\nwrite a.w origin\n"        \
	"read k.o origin"

static const struct {
	const char *text;
	uint8_t to; /* 0: the primary */
	uint8_t mirror;
	uint8_t class;
	uint8_t by;
} verdicts[] = {
	{ "SELECT * FROM r", TO_TARGET, MIRROR_NONE, CLASS_READ, DECIDED_BY_RULE },
	{ "SELECT * FROM o", TO_ORIGIN, MIRROR_NONE, CLASS_READ, DECIDED_BY_RULE },
	{ "SELECT * FROM k.b", TO_BOTH, MIRROR_NONE, CLASS_READ, DECIDED_BY_RULE },
	{ "SELECT * FROM m", 0, MIRROR_IN_KEYSPACE, CLASS_READ, DECIDED_BY_RULE },
	{ "SELECT * FROM k.m", 0, MIRROR_ANYWHERE, CLASS_READ, DECIDED_BY_RULE },
	{ "SELECT * FROM x", 0, MIRROR_NONE, CLASS_READ, DECIDED_BY_DEFAULT },
	{ "SELECT * FROM system.size_estimates", TO_ORIGIN, MIRROR_NONE, CLASS_READ, DECIDED_BY_PROTOCOL },
	{ "INSERT INTO r (k) VALUES (1)", TO_ORIGIN, MIRROR_NONE, CLASS_WRITE, DECIDED_BY_RULE },
	{ "INSERT INTO m (k) VALUES (1)", TO_BOTH, MIRROR_NONE, CLASS_WRITE, DECIDED_BY_DEFAULT },
	{ "CREATE TABLE r (k int PRIMARY KEY)", TO_BOTH, MIRROR_NONE, CLASS_WRITE, DECIDED_BY_DEFAULT },
	{ "CREATE TABLE a.t (k int PRIMARY KEY)", TO_TARGET, MIRROR_NONE, CLASS_WRITE, DECIDED_BY_RULE },
	{ "USE a", TO_BOTH, MIRROR_NONE, CLASS_CONTROL, DECIDED_BY_DEFAULT },
	{ "BEGIN BATCH DELETE FROM r WHERE k = 1; DELETE FROM a.w WHERE k = 1 APPLY BATCH", TO_ORIGIN, MIRROR_NONE,
	  CLASS_WRITE, DECIDED_BY_RULE },
	{ "BEGIN BATCH DELETE FROM r WHERE k = 1; DELETE r WHERE k = 1 APPLY BATCH", TO_BOTH, MIRROR_NONE, CLASS_WRITE,
	  DECIDED_BY_DEFAULT },
	{ "DELETE WHERE k = 1", TO_BOTH, MIRROR_NONE, CLASS_WRITE, DECIDED_BY_DEFAULT },
	{ "SELECT 1", 0, MIRROR_NONE, CLASS_READ, DECIDED_BY_DEFAULT },
	{ "FROBNICATE a.t", TO_BOTH, MIRROR_NONE, CLASS_WRITE, DECIDED_BY_DEFAULT },
};

START_TEST(verdicts_by_rules)
{
	const uint8_t to = verdicts[_i].to;

	load_rules(VERDICT_RULES);
	for (unsigned primary = 0; primary < CLUSTER_COUNT; primary++) {
		struct settings s = *settings;
		struct statement_facts facts;
		struct verdict v;

		s.primary = primary;
		statement_scan(sv_from(verdicts[_i].text), &facts);
		v = route_statement(&s, sv_from(verdicts[_i].text), &facts, SV("k"));
		ck_assert_uint_eq(v.to, to ? to : 1u << primary);
		ck_assert_uint_eq(v.answer_from, to == TO_ORIGIN   ? CLUSTER_ORIGIN
						 : to == TO_TARGET ? CLUSTER_TARGET
								   : primary);
		ck_assert_uint_eq(v.mirror, verdicts[_i].mirror);
		ck_assert_uint_eq(v.class, verdicts[_i].class);
		ck_assert_uint_eq(v.decided_by, verdicts[_i].by);
		ck_assert(!v.is_split);
		ck_assert_ptr_null(v.route);
	}
}
END_TEST

/* A rule says where a read goes, also when read_mode would send a copy; of USE the copies' connection hears if it goes to both. */
START_TEST(rules_beside_mirrored_reads)
{
	struct settings s;
	struct statement_facts facts;

	load_rules("read k.t target\nread k.b both\nall u.* target\nall v.* both");
	s = *settings;
	s.read_mode = READ_DUAL_ASYNC_ON_SECONDARY;
	statement_scan(SV("SELECT * FROM k.t"), &facts);
	ck_assert_uint_eq(route_statement(&s, SV("SELECT * FROM k.t"), &facts, SV("")).mirror, MIRROR_NONE);
	statement_scan(SV("SELECT * FROM k.b"), &facts);
	ck_assert_uint_eq(route_statement(&s, SV("SELECT * FROM k.b"), &facts, SV("")).mirror, MIRROR_NONE);
	statement_scan(SV("SELECT * FROM k.x"), &facts);
	ck_assert_uint_eq(route_statement(&s, SV("SELECT * FROM k.x"), &facts, SV("")).mirror, MIRROR_ANYWHERE);
	statement_scan(SV("USE u"), &facts);
	ck_assert_uint_eq(route_statement(&s, SV("USE u"), &facts, SV("")).to, TO_TARGET);
	ck_assert_uint_eq(route_statement(&s, SV("USE u"), &facts, SV("")).mirror, MIRROR_NONE);
	statement_scan(SV("USE v"), &facts);
	ck_assert_uint_eq(route_statement(&s, SV("USE v"), &facts, SV("")).to, TO_BOTH);
	ck_assert_uint_eq(route_statement(&s, SV("USE v"), &facts, SV("")).mirror, MIRROR_USE);
}
END_TEST

START_TEST(split_batches)
{
	static const char text[] =
		"BEGIN BATCH DELETE FROM r WHERE k = 1; DELETE FROM r WHERE k = 2; DELETE FROM \"X\" "
		"WHERE k = 1; DELETE FROM a.t WHERE k = 1 APPLY BATCH";
	struct statement_facts facts;
	struct verdict v;
	char why[512], cut[40];

	load_rules(VERDICT_RULES);
	statement_scan(sv_from(text), &facts);
	v = route_statement(settings, sv_from(text), &facts, SV("k"));
	ck_assert(v.is_split);
	ck_assert_uint_eq(v.to, TO_BOTH);
	ck_assert_str_eq(rules_describe_split_text(&settings->rules, sv_from(text), SV("k"), why, sizeof(why)),
			 "a batch cannot be routed whose tables are routed differently: k.r (origin, by the rule at "
			 "t.ini:9), k.X (both, without a rule)");
	rules_describe_split_text(&settings->rules, sv_from(text), SV("k"), cut, sizeof(cut));
	ck_assert_str_eq(cut, "a batch cannot be routed whose tables a");
	rules_describe_split_text(&settings->rules, SV("BEGIN"), SV("k"), why, sizeof(why));
	ck_assert_str_eq(why, "a batch cannot be routed whose tables are routed differently");
}
END_TEST

/* A BATCH by the verdicts of its children. */
START_TEST(children_of_a_batch)
{
	const struct verdict origin = { .to = TO_ORIGIN, .class = CLASS_WRITE },
			     target = { .to = TO_TARGET, .class = CLASS_WRITE },
			     both = { .to = TO_BOTH, .class = CLASS_WRITE },
			     read = { .to = TO_TARGET, .class = CLASS_READ };
	const struct {
		const struct verdict *children[3];
		uint8_t to;
		bool is_split;
	} cases[] = {
		{ { NULL }, TO_BOTH, false },
		{ { &origin }, TO_ORIGIN, false },
		{ { &target, &target, &target }, TO_TARGET, false },
		{ { &both, &both }, TO_BOTH, false },
		{ { &target, &target, &origin }, TO_BOTH, true },
		{ { &target, &both }, TO_BOTH, true },
		{ { &both, &origin }, TO_BOTH, true },
		{ { &target, &read }, TO_BOTH, false },
		{ { &read, &origin, &target }, TO_BOTH, false },
	};

	load_rules("write k.t target");
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct route_children children = { .to = 0 };
		struct verdict v = route_both(settings, CLASS_WRITE, WRITE_BATCH);

		for (unsigned j = 0; j < 3 && cases[i].children[j]; j++)
			route_add_child(&children, cases[i].children[j]);
		route_batch(settings, &children, &v);
		ck_assert_msg(v.to == cases[i].to && v.is_split == cases[i].is_split, "case %u", i);
		ck_assert(v.to == TO_BOTH || 1u << v.answer_from == v.to);
		ck_assert_uint_eq(v.write_type, WRITE_BATCH);
	}
	load_rules("write *.* target");
	for (unsigned i = 7; i < ARRAY_LEN(cases); i++) {
		struct route_children children = { .is_undecided = true };
		struct verdict v = route_both(settings, CLASS_WRITE, WRITE_BATCH);

		route_batch(settings, &children, &v);
		ck_assert_uint_eq(v.to, TO_TARGET);
		ck_assert_uint_eq(v.answer_from, CLUSTER_TARGET);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rules");
	TCase *tc = tcase_create("rules");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, scratch_begin, scratch_end);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_can_be_read, 0, (int)ARRAY_LEN(readable));
	tcase_add_loop_test(tc, what_cannot, 0, (int)ARRAY_LEN(mistakes));
	tcase_add_test(tc, no_twins);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, printed_line_by_line);
	tcase_add_test(tc, set_replaces_the_lines_of_the_file);
	tcase_add_test(tc, only_in_lines_of_its_own);
	tcase_add_test(tc, changes_are_told);
	tcase_add_loop_test(tc, the_most_specific_one_counts, 0, (int)ARRAY_LEN(matches));
	tcase_add_loop_test(tc, about_a_keyspace, 0, (int)ARRAY_LEN(keyspaces));
	tcase_add_test(tc, about_everything);
	tcase_add_test(tc, system_keyspaces_have_none);
	tcase_add_loop_test(tc, verdicts_by_rules, 0, (int)ARRAY_LEN(verdicts));
	tcase_add_test(tc, rules_beside_mirrored_reads);
	tcase_add_test(tc, split_batches);
	tcase_add_test(tc, children_of_a_batch);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
