/* test_schema_events.c - reports of two control connections, and what drivers are told of them */
#include "proxy/schema_events.h"

#include "loop_helper.h"

/* Instead of 2 s. */
#define WAIT_MS 60
#define TOLD_MAX 4096

enum {
	O = CLUSTER_ORIGIN,
	T = CLUSTER_TARGET
};

static struct schema_events *se;
static char told[TOLD_MAX]; /* "CREATED TABLE ks t, ..." */
static unsigned told_count;

/* Collects in words what a driver that speaks v4 would be told. */
static void deliver(struct notice *n, void *arg)
{
	struct reader r = reader_over(n->bodies[NOTICE_V4].data, n->bodies[NOTICE_V4].len);

	ck_assert_ptr_eq(arg, &told);
	while (reader_left(&r) > 0) {
		const struct bytesview body = read_bytes(&r);
		struct reader one = reader_over(body.p, body.len);

		ck_assert(sv_equal(read_string(&one), SV("SCHEMA_CHANGE")));
		if (told_count++ > 0)
			strncat(told, ", ", TOLD_MAX - strlen(told) - 1);
		for (unsigned i = 0; reader_left(&one) > 0; i++) {
			const struct strview word = read_string(&one);

			if (i > 0)
				strncat(told, " ", TOLD_MAX - strlen(told) - 1);
			strncat(told, word.p, MIN(word.len, TOLD_MAX - strlen(told) - 1));
		}
	}
	notice_unref(n);
}

static void setup(void)
{
	helper_loop_start();
	told[0] = '\0';
	told_count = 0;
	se = schema_events_new(&(struct schema_events_options){
		.loop = &loop, .wait_ms = WAIT_MS, .read_from = CLUSTER_ORIGIN, .deliver = deliver, .arg = &told });
}

static void teardown(void)
{
	schema_events_free(se);
	helper_loop_end();
}

static void report(int cluster, const char *change, const char *target, const char *keyspace, const char *name)
{
	struct writer w;

	loop.now_ns = 0;
	writer_init(&w);
	write_cstring(&w, "SCHEMA_CHANGE");
	write_cstring(&w, change);
	write_cstring(&w, target);
	write_cstring(&w, keyspace);
	if (name)
		write_cstring(&w, name);
	schema_events_report(se, (enum cluster_id)cluster, 4, w.data, w.len);
	writer_free(&w);
}

static void table(int cluster, const char *change, const char *name)
{
	report(cluster, change, "TABLE", "ks", name);
}

static void expect(const char *text)
{
	ck_assert_str_eq(told, text);
}

START_TEST(told_when_both_have_reported)
{
	table(O, "CREATED", "t");
	expect("");
	table(T, "CREATED", "t");
	expect("CREATED TABLE ks t");
	report(T, "UPDATED", "KEYSPACE", "ks", NULL);
	report(O, "UPDATED", "KEYSPACE", "ks", NULL);
	expect("CREATED TABLE ks t, UPDATED KEYSPACE ks");
}
END_TEST

START_TEST(told_alone_after_a_while)
{
	const uint64_t begun = loop_clock_ns();

	table(T, "CREATED", "t");
	loop_until(told_count > 0);
	expect("CREATED TABLE ks t");
	ck_assert_uint_ge(loop_clock_ns() - begun, WAIT_MS * UINT64_C(1000000));
}
END_TEST

/* Origin is where drivers read: what they read when they were told for target's sake was old. */
START_TEST(the_late_report)
{
	table(T, "CREATED", "t");
	loop_until(told_count == 1);
	table(O, "CREATED", "t");
	expect("CREATED TABLE ks t, CREATED TABLE ks t");
	table(O, "CREATED", "u");
	loop_until(told_count == 3);
	table(T, "CREATED", "u");
	ck_assert_uint_eq(told_count, 3);
}
END_TEST

START_TEST(the_same_again_and_again)
{
	const char *const steps[] = { "CREATED", "DROPPED", "CREATED", "DROPPED" };

	for (unsigned i = 0; i < ARRAY_LEN(steps); i++)
		table(O, steps[i], "t");
	expect("");
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		table(T, steps[i], "t");
		ck_assert_uint_eq(told_count, i + 1);
	}
	expect("CREATED TABLE ks t, DROPPED TABLE ks t, CREATED TABLE ks t, DROPPED TABLE ks t");
}
END_TEST

START_TEST(one_cluster_repeats_itself)
{
	table(O, "CREATED", "t");
	table(O, "CREATED", "t");
	table(T, "CREATED", "t");
	table(T, "CREATED", "t");
	table(O, "CREATED", "t");
	expect("CREATED TABLE ks t");
	table(O, "UPDATED", "t");
	table(O, "UPDATED", "t");
	table(T, "UPDATED", "t");
	ck_assert_uint_eq(told_count, 2);
	/* a second ALTER cannot be told from a repetition once the first was told, so it is told */
	table(T, "UPDATED", "t");
	table(O, "UPDATED", "t");
	ck_assert_uint_eq(told_count, 3);
}
END_TEST

START_TEST(order_within_a_keyspace)
{
	report(O, "CREATED", "KEYSPACE", "ks", NULL);
	table(O, "CREATED", "t");
	report(O, "CREATED", "TABLE", "other", "u");
	table(T, "CREATED", "t");
	report(T, "CREATED", "TABLE", "other", "u");
	expect("CREATED TABLE other u");
	loop_until(told_count == 3);
	expect("CREATED TABLE other u, CREATED KEYSPACE ks, CREATED TABLE ks t");
}
END_TEST

START_TEST(what_cannot_be_read)
{
	static const uint8_t junk[] = "\0\x0dSCHEMA_CHANGE\0\7CREATED\0\5TABLE\0\xff";
	uint8_t *large = xcalloc(1, 20000);

	schema_events_report(se, CLUSTER_ORIGIN, 4, junk, sizeof(junk) - 1);
	schema_events_report(se, CLUSTER_ORIGIN, 4, junk, 0);
	memcpy(large, "\0\x0dSCHEMA_CHANGE\0\7CREATED\0\5TABLE\0\2ks\x4d\0", 35);
	schema_events_report(se, CLUSTER_ORIGIN, 4, large, 20000);
	free(large);
	table(O, "CREATED", "t");
	table(T, "CREATED", "t");
	expect("CREATED TABLE ks t");
}
END_TEST

START_TEST(many_are_told_early)
{
	char name[16];

	for (unsigned i = 0; i < SCHEMA_EVENTS_MAX + 10; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		table(O, "CREATED", name);
	}
	ck_assert_uint_ge(told_count, 10);
	loop_until(told_count == SCHEMA_EVENTS_MAX + 10);
}
END_TEST

/* What was told makes room first: it is only kept for what may still come about it. */
START_TEST(what_waits_is_not_pushed_out)
{
	char name[16];

	schema_events_free(se);
	se = schema_events_new(&(struct schema_events_options){
		.loop = &loop, .wait_ms = 60000, .read_from = CLUSTER_ORIGIN, .deliver = deliver, .arg = &told });
	table(O, "CREATED", "t");
	for (unsigned i = 0; i < SCHEMA_EVENTS_MAX + 10; i++) {
		snprintf(name, sizeof(name), "ks%u", i);
		report(O, "CREATED", "KEYSPACE", name, NULL);
		report(T, "CREATED", "KEYSPACE", name, NULL);
	}
	ck_assert_uint_eq(told_count, SCHEMA_EVENTS_MAX + 10);
	told[0] = '\0';
	told_count = 0;
	table(T, "CREATED", "t");
	expect("CREATED TABLE ks t");
}
END_TEST

/* ---- gaps ---- */

static struct topology *snapshot(const char *version, const char *const *keyspaces)
{
	struct topology *t = topology_new();

	if (version) {
		t->local.values = xcalloc(1, sizeof(*t->local.values));
		t->local.value_count = 1;
		t->local.values[0].column = xstrdup("schema_version");
		t->local.values[0].len = 16;
		t->local.values[0].value = xcalloc(1, 16);
		memcpy(t->local.values[0].value, version, MIN(strlen(version), 16u));
	}
	for (; *keyspaces; keyspaces++) {
		t->keyspaces = realloc(t->keyspaces, (t->keyspace_count + 1) * sizeof(*t->keyspaces));
		t->keyspaces[t->keyspace_count++] = (struct keyspace_replication){ .keyspace = xstrdup(*keyspaces) };
	}
	return t;
}

#define KEYSPACES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void connected(int cluster, struct topology *t)
{
	loop.now_ns = 0;
	schema_events_snapshot(se, (enum cluster_id)cluster, t);
	schema_events_on_connected(se, (enum cluster_id)cluster);
	topology_unref(t);
}

START_TEST(nothing_at_the_first_connection)
{
	connected(O, snapshot("1", KEYSPACES("a", "system")));
	connected(T, snapshot("2", KEYSPACES("a", "system")));
	ck_assert_uint_eq(told_count, 0);
}
END_TEST

START_TEST(after_a_gap)
{
	connected(O, snapshot("1", KEYSPACES("a", "b", "gone", "system")));
	connected(O, snapshot("1", KEYSPACES("a", "b", "gone", "system")));
	ck_assert_uint_eq(told_count, 0);
	connected(O, snapshot("2", KEYSPACES("a", "b", "system", "system_schema", "systematic")));
	expect("DROPPED KEYSPACE gone, UPDATED KEYSPACE a, UPDATED KEYSPACE b, UPDATED KEYSPACE systematic");
}
END_TEST

/* What was read while the connection was up is no gap. */
START_TEST(refreshed_before_the_gap)
{
	struct topology *t = snapshot("2", KEYSPACES("a"));

	connected(O, snapshot("1", KEYSPACES("a")));
	schema_events_snapshot(se, CLUSTER_ORIGIN, t);
	topology_unref(t);
	connected(O, snapshot("2", KEYSPACES("a")));
	ck_assert_uint_eq(told_count, 0);
}
END_TEST

START_TEST(a_gap_while_a_report_waits)
{
	connected(O, snapshot("1", KEYSPACES("a")));
	table(T, "CREATED", "t");
	connected(O, snapshot("2", KEYSPACES("a")));
	expect("CREATED TABLE ks t, UPDATED KEYSPACE a");
	/* not changed: the report may still come */
	table(T, "CREATED", "u");
	connected(O, snapshot("2", KEYSPACES("a")));
	ck_assert_uint_eq(told_count, 2);
	table(O, "CREATED", "u");
	ck_assert_uint_eq(told_count, 3);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("schema_events");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, told_when_both_have_reported);
	tcase_add_test(tcase, told_alone_after_a_while);
	tcase_add_test(tcase, the_late_report);
	tcase_add_test(tcase, the_same_again_and_again);
	tcase_add_test(tcase, one_cluster_repeats_itself);
	tcase_add_test(tcase, order_within_a_keyspace);
	tcase_add_test(tcase, what_cannot_be_read);
	tcase_add_test(tcase, many_are_told_early);
	tcase_add_test(tcase, what_waits_is_not_pushed_out);
	tcase_add_test(tcase, nothing_at_the_first_connection);
	tcase_add_test(tcase, after_a_gap);
	tcase_add_test(tcase, refreshed_before_the_gap);
	tcase_add_test(tcase, a_gap_while_a_report_waits);
	return run_tcase("schema_events", tcase);
}
