/* test_rewrite.c - which calls are found in which texts, where, and how many markers stand to their left. */
#include "cql/rewrite.h"

#include "vectors.h"

#define V(values) "INSERT INTO ks.t (a, b) VALUES (" values ")"
#define U(rest) "UPDATE ks.t SET " rest

static const struct {
	const char *text;
	const char *rewritten; /* as PREPARE would be; NULL: no call is found */
	const char *before;    /* of each call, the markers to its left */
} cases[] = {
	/* names */
	{ V("now(), 1"), V("?, 1"), "0" },
	{ V("NOW(), 1"), V("?, 1"), "0" },
	{ V("\"now\"(), 1"), V("?, 1"), "0" },
	{ V("now ( ) , 1"), V("? , 1"), "0" },
	{ V("now\t(\r\n)"), V("?"), "0" },
	{ V("now/* x */(/* y */)"), V("?"), "0" },
	{ V("now--x\n(//y\n)"), V("?"), "0" },
	{ V("system.now()"), V("?"), "0" },
	{ V("\"system\".\"now\"( )"), V("?"), "0" },
	{ V("System . Now()"), V("?"), "0" },
	{ V("uuid()"), V("?"), "0" },
	{ V("currentTimeUUID()"), V("?"), "0" },
	{ V("\"currenttimeuuid\"()"), V("?"), "0" },
	{ V("current_timeuuid()"), V("?"), "0" },
	{ V("currentTimestamp()"), V("(timestamp)?"), "0" },
	{ V("CURRENT_TIMESTAMP()"), V("(timestamp)?"), "0" },
	{ V("currentDate()"), V("(date)?"), "0" },
	{ V("current_date()"), V("(date)?"), "0" },
	{ V("currenttime()"), V("(time)?"), "0" },
	{ V("system.current_time()"), V("(time)?"), "0" },
	/* not these */
	{ V("\"NOW\"()"), NULL, NULL },
	{ V("\"Now\"()"), NULL, NULL },
	{ V("\"currentTimeUUID\"()"), NULL, NULL },
	{ V("ks.now()"), NULL, NULL },
	{ V("\"SYSTEM\".now()"), NULL, NULL },
	{ V("systems.now()"), NULL, NULL },
	{ V("now(1)"), NULL, NULL },
	{ V("now(?)"), NULL, NULL },
	{ V("now(now)"), NULL, NULL },
	{ V("knows()"), NULL, NULL },
	{ V("now_()"), NULL, NULL },
	{ V("n\xc3\xb6w()"), NULL, NULL },
	{ V("now"), NULL, NULL },
	{ V("random()"), NULL, NULL },
	{ "INSERT INTO now (a) VALUES (1)", NULL, NULL },
	{ U("now = 1 WHERE uuid = f()"), NULL, NULL },
	/* strings, names, comments */
	{ V("'now()', now()"), V("'now()', ?"), "0" },
	{ V("'it''s now()', 1"), NULL, NULL },
	{ V("$$now()$$, 'now()'"), NULL, NULL },
	{ V("$$ ? $$, ?, now()"), V("$$ ? $$, ?, ?"), "1" },
	{ V("\"now()\", 1"), NULL, NULL },
	{ V("\"a?\", now()"), V("\"a?\", ?"), "0" },
	{ V("/* now() ? */ ?, now() -- now() ?\n"), V("/* now() ? */ ?, ? -- now() ?\n"), "1" },
	{ V("'\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8d', now()"), V("'\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8d', ?"), "0" },
	{ V("'\xff\xfe', now()"), V("'\xff\xfe', ?"), "0" },
	/* kinds of statements */
	{ "SELECT now() FROM ks.t", NULL, NULL },
	{ "SELECT * FROM ks.t WHERE t < now()", NULL, NULL },
	{ "  /* c */ insert INTO t (a) values(now())", "  /* c */ insert INTO t (a) values(?)", "0" },
	{ "INSERT INTO ks.t JSON '{\"a\": \"now()\"}'", NULL, NULL },
	{ "INSERT INTO ks.t JSON ?", NULL, NULL },
	{ "CREATE FUNCTION ks.f() CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'now()'", NULL, NULL },
	{ "BEGIN TRANSACTION INSERT INTO t (a) VALUES (now()); COMMIT TRANSACTION", NULL, NULL },
	{ "EXPLODE t SET a = now()", NULL, NULL },
	{ "", NULL, NULL },
	{ "now()", NULL, NULL },
	{ "BEGIN BATCH USING TIMESTAMP ? INSERT INTO t (a) VALUES (now()); UPDATE t USING TTL ? SET a = now() WHERE k = ?; "
	  "DELETE m[now()] FROM t WHERE k = ?; APPLY BATCH",
	  "BEGIN BATCH USING TIMESTAMP ? INSERT INTO t (a) VALUES (?); UPDATE t USING TTL ? SET a = ? WHERE k = ?; "
	  "DELETE m[(timeuuid)?] FROM t WHERE k = ?; APPLY BATCH",
	  "1 2 3" },
	{ "BEGIN UNLOGGED BATCH INSERT INTO t (a) VALUES (now()) APPLY BATCH",
	  "BEGIN UNLOGGED BATCH INSERT INTO t (a) VALUES (?) APPLY BATCH", "0" },
	{ "BEGIN COUNTER BATCH UPDATE c SET n = n + 1 WHERE k = now(); APPLY BATCH",
	  "BEGIN COUNTER BATCH UPDATE c SET n = n + 1 WHERE k = ?; APPLY BATCH", "0" },
	/* places */
	{ U("a = now() WHERE k = 1"), U("a = ? WHERE k = 1"), "0" },
	{ U("l[?] = now(), m[now()] = ?, n = ? WHERE k = now() AND c IN (?, now()) IF x = now() AND y[now()] IN (now(), ?)"),
	  U("l[?] = ?, m[(timeuuid)?] = ?, n = ? WHERE k = ? AND c IN (?, (timeuuid)?) IF x = ? AND y[(timeuuid)?] IN "
	    "((timeuuid)?, ?)"),
	  "1 1 3 4 4 4 4" },
	{ U("a = ? WHERE (k, c) = (?, now()) AND (d, e) IN ((?, ?), (now(), now()))"),
	  U("a = ? WHERE (k, c) = (?, (timeuuid)?) AND (d, e) IN ((?, ?), ((timeuuid)?, (timeuuid)?))"), "2 4 4" },
	{ "DELETE m[now()], n FROM ks.t USING TIMESTAMP ? WHERE k = now() IF EXISTS",
	  "DELETE m[(timeuuid)?], n FROM ks.t USING TIMESTAMP ? WHERE k = ? IF EXISTS", "0 1" },
	{ V("now(), now()"), V("?, ?"), "0 0" },
	{ V("?, now(), ?, now(), ?"), V("?, ?, ?, ?, ?"), "1 2" },
	{ V("now(), ?, ?") " USING TTL ? AND TIMESTAMP ?", V("?, ?, ?") " USING TTL ? AND TIMESTAMP ?", "0" },
	{ V("(timeuuid)now()"), V("(timeuuid)?"), "0" },
	{ V("(timestamp)currentTimestamp()"), V("(timestamp)(timestamp)?"), "0" },
	{ V("CAST(now() AS timestamp)"), V("CAST((timeuuid)? AS timestamp)"), "0" },
	{ V("currentTimestamp() - 2d"), V("(timestamp)? - 2d"), "0" },
	{ V("-now()"), V("-?"), "0" },
	{ U("a=now()WHERE k=uuid()AND c=:c"), U("a=:zdm__now WHERE k=:zdm__now_2 AND c=:c"), "0 0" },
	{ U("a=now()WHERE k=(1,now())"), U("a=? WHERE k=(1,(timeuuid)?)"), "0 0" },
	/* wrapped and nested */
	{ V("toTimestamp(now())"), V("toTimestamp((timeuuid)?)"), "0" },
	{ V("to_date(system.now())"), V("to_date((timeuuid)?)"), "0" },
	{ V("f(?, g(?, uuid()), ?), now()"), V("f(?, g(?, (uuid)?), ?), ?"), "2 3" },
	{ V("[?, ?], now()"), V("[?, ?], ?"), "2" },
	{ V("[now(), ?]"), V("[(timeuuid)?, ?]"), "0" },
	{ V("{now()}, {?, uuid()}"), V("{(timeuuid)?}, {?, (uuid)?}"), "0 1" },
	{ V("(1, now())"), V("(1, (timeuuid)?)"), "0" },
	/* a colon: between key and value, or in front of a name */
	{ V("{a:now(), b:?, c : now()}"), V("{a:(timeuuid)?, b:?, c : (timeuuid)?}"), "0 1" },
	{ V("{'k':now(),now():?}"), V("{'k':(timeuuid)?,(timeuuid)?:?}"), "0 0" },
	{ V("{?:now()}"), V("{?:(timeuuid)?}"), "1" },
	{ V("{(1,?):now()}"), V("{(1,?):(timeuuid)?}"), "1" },
	{ V("{a:{b:now()},c:[now()]}"), V("{a:{b:(timeuuid)?},c:[(timeuuid)?]}"), "0 0" },
	{ V("{\"now\":now()}"), V("{\"now\":(timeuuid)?}"), "0" },
	{ V("{now:now()}"), V("{now:(timeuuid)?}"), "0" },
	{ V(":a, now()"), V(":a, :zdm__now"), "1" },
	{ V(":a, now(), :\"B c\", uuid(), now()"), V(":a, :zdm__now, :\"B c\", :zdm__now_2, :zdm__now_3"), "1 2 2" },
	{ V("now(), : now, uuid()"), V(":zdm__now, : now, :zdm__now_2"), "0 1" },
	{ V(":now, now()"), V(":now, :zdm__now"), "1" },
	{ V("{:k:now()}"), V("{:k:(timeuuid):zdm__now}"), "1" },
	{ V("{(text):k:now()}"), V("{(text):k:(timeuuid):zdm__now}"), "1" },
	{ V("{now(), :a}, now()"), V("{(timeuuid):zdm__now, :a}, :zdm__now_2"), "0 1" },
	{ V("{'k': :a, 'l'::b}, now()"), V("{'k': :a, 'l'::b}, :zdm__now"), "2" },
	{ V("{a::b}, now()"), V("{a::b}, :zdm__now"), "1" },
	{ V("{a:(1, :b)}, now()"), V("{a:(1, :b)}, :zdm__now"), "1" },
	{ V("[:b, :c], currentDate()"), V("[:b, :c], (date):zdm__now"), "2" },
	/* broken texts: the cluster will say so */
	{ V("now(), 'abc"), NULL, NULL },
	{ V("now()") " /* abc", NULL, NULL },
	{ "INSERT INTO t (a) VALUES (now(", NULL, NULL },
	{ "INSERT INTO t (a) VALUES (now()", "INSERT INTO t (a) VALUES (?", "0" },
	{ "INSERT INTO t (a) VALUES (now())))", "INSERT INTO t (a) VALUES (?)))", "0" },
	{ "INSERT INTO t ))))(a) VALUES (now())", "INSERT INTO t ))))(a) VALUES (?)", "0" },
};

/* The text with each call replaced, and in `before` what stands to the left of each. */
static void rewrite(struct strview text, bool is_named, char *out, size_t size, char *before)
{
	struct rewrite rw;
	struct rewrite_call call;
	size_t at = 0;
	size_t n = 0;
	unsigned index = 0;

	before[0] = '\0';
	rewrite_start(&rw, text);
	while (rewrite_next(&rw, &call)) {
		char marker[REWRITE_MARKER_MAX];
		unsigned len = rewrite_marker(&call, is_named, index, marker);

		ck_assert_uint_eq(len, strlen(marker));
		ck_assert_uint_ge(call.offset, at);
		n += (size_t)snprintf(out + n, size - n, "%.*s%s", (int)(call.offset - at), text.p + at, marker);
		sprintf(before + strlen(before), "%s%u", index ? " " : "", call.markers_before);
		at = call.offset + call.len;
		ck_assert_uint_le(at, text.len);
		index++;
	}
	snprintf(out + n, size - n, "%.*s", (int)(text.len - at), text.p + at);
}

START_TEST(texts)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rewrite_facts facts;
		size_t len = strlen(cases[i].text);
		char *text = (char *)exact_copy(cases[i].text, len);
		enum rewrite_finding found = rewrite_scan((struct strview){ text, len }, &facts);
		char out[1024];
		char before[64];

		ck_assert_msg((found == REWRITE_CALLS) == (cases[i].rewritten != NULL), "%s", cases[i].text);
		if (found == REWRITE_CALLS) {
			rewrite((struct strview){ text, len }, facts.has_named_markers, out, sizeof(out), before);
			ck_assert_str_eq(out, cases[i].rewritten);
			ck_assert_msg(strcmp(before, cases[i].before) == 0, "%s: %s, not %s", cases[i].text, before,
				      cases[i].before);
			/* nothing is left that would be found again */
			ck_assert_int_eq(rewrite_scan(sv_from(out), &facts), REWRITE_NONE);
		} else {
			ck_assert_int_eq(found, REWRITE_NONE);
		}
		free(text);
	}
}
END_TEST

START_TEST(facts_of_a_text)
{
	struct rewrite_facts f;

	ck_assert_int_eq(rewrite_scan(SV(V("?, now(), [?, ?], f(?)") " USING TTL ?"), &f), REWRITE_CALLS);
	ck_assert_uint_eq(f.calls, 1);
	ck_assert_uint_eq(f.markers, 5);
	ck_assert(!f.has_named_markers && !f.has_our_names);
	ck_assert_int_eq(rewrite_scan(SV(V("now(), :zdm__now_x")), &f), REWRITE_CALLS);
	ck_assert(f.has_named_markers && f.has_our_names);
	ck_assert_int_eq(rewrite_scan(SV(V("now(), :ZDM__NOW")), &f), REWRITE_CALLS);
	ck_assert(f.has_our_names);
	ck_assert_int_eq(rewrite_scan(SV(V("now(), :\"ZDM__NOW\"")), &f), REWRITE_CALLS);
	ck_assert(!f.has_our_names);
}
END_TEST

/* `head`, then `n` times `item`, then `tail`; malloc'd. */
static char *repeat(const char *head, const char *item, unsigned n, const char *tail)
{
	size_t len = strlen(item);
	char *out = malloc(strlen(head) + n * len + strlen(tail) + 1);
	char *p = out + sprintf(out, "%s", head);

	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "%s", item);
	strcpy(p, tail);
	return out;
}

static enum rewrite_finding finding(char *text, uint32_t *calls)
{
	struct rewrite_facts f;
	enum rewrite_finding found = rewrite_scan(sv_from(text), &f);

	*calls = f.calls;
	free(text);
	return found;
}

START_TEST(limits)
{
	const char *head = "UPDATE t SET a = ";
	uint32_t calls;

	ck_assert_int_eq(finding(repeat(head, "now(),", REWRITE_MAX_CALLS, ""), &calls), REWRITE_CALLS);
	ck_assert_uint_eq(calls, REWRITE_MAX_CALLS);
	ck_assert_int_eq(finding(repeat(head, "now(),", REWRITE_MAX_CALLS + 1, ""), &calls), REWRITE_TOO_MUCH);
	ck_assert_int_eq(finding(repeat(head, "[", REWRITE_MAX_DEPTH, "now()"), &calls), REWRITE_CALLS);
	ck_assert_int_eq(finding(repeat("UPDATE t SET b = now(), a = ", "[", REWRITE_MAX_DEPTH + 1, "now()"), &calls),
			 REWRITE_TOO_MUCH);
	ck_assert_int_eq(finding(repeat(head, "(a,", 100000, ""), &calls), REWRITE_NONE);
}
END_TEST

/* However a text is cut, the walk stays inside it (the address sanitizer watches). */
START_TEST(cut_texts)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t n = 0; n < strlen(cases[i].text); n++) {
			char *cut = (char *)exact_copy(cases[i].text, n);
			struct rewrite_facts facts;

			rewrite_scan((struct strview){ cut, n }, &facts);
			ck_assert_uint_le(facts.calls, n / 5);
			free(cut);
		}
	}
}
END_TEST

START_TEST(markers)
{
	struct rewrite_call call = { .kind = REWRITE_TIMESTAMP, .needs_cast = true };
	char out[REWRITE_MARKER_MAX];

	ck_assert_uint_eq(rewrite_marker(&call, true, REWRITE_MAX_CALLS - 1, out), 26);
	ck_assert_str_eq(out, "(timestamp):zdm__now_65535");
	ck_assert_uint_eq(rewrite_marker_name(1, out, sizeof(out)), 10);
	ck_assert_str_eq(out, "zdm__now_2");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("rewrite");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, texts);
	tcase_add_test(tcase, facts_of_a_text);
	tcase_add_test(tcase, limits);
	tcase_add_test(tcase, cut_texts);
	tcase_add_test(tcase, markers);
	return run_tcase("rewrite", tcase);
}
