/* test_route.c - where statements go: reads, writes, system keyspaces, what nobody understands. */
#include "proxy/route.h"

#include "vectors.h"

static struct settings settings;

static struct verdict route(const char *text, const char *keyspace)
{
	struct statement_facts facts;

	statement_scan(sv_from(text), &facts);
	return route_statement(&settings, sv_from(text), &facts, sv_from(keyspace));
}

enum place {
	PRIMARY,
	SYSTEM, /* the cluster that answers reads of system keyspaces */
	BOTH,
	US,
};

static const struct {
	const char *text, *keyspace;
	enum place place;
	enum request_class class;
	enum write_type write_type;
} rows[] = {
	{ "SELECT * FROM ks.t", "", PRIMARY, CLASS_READ, WRITE_SIMPLE },
	{ "select v from t", "ks", PRIMARY, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM t", "", PRIMARY, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM system.local", "", US, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM local", "system", US, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM \"system\".\"peers\"", "ks", US, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM system.peers_v2", "ks", US, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM SYSTEM.PEERS", "ks", US, CLASS_READ, WRITE_SIMPLE },
	/* the text's keyspace counts, not the connection's */
	{ "SELECT * FROM ks.local", "system", PRIMARY, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM system.size_estimates", "", SYSTEM, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM tables", "system_schema", SYSTEM, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM system_auth.roles", "ks", SYSTEM, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM systems.local", "", PRIMARY, CLASS_READ, WRITE_SIMPLE },
	{ "SELECT * FROM \"System\".local", "", PRIMARY, CLASS_READ, WRITE_SIMPLE },
	{ "LIST ROLES", "", SYSTEM, CLASS_READ, WRITE_SIMPLE },
	{ "DESCRIBE TABLES", "ks", SYSTEM, CLASS_READ, WRITE_SIMPLE },
	{ "INSERT INTO ks.t (k) VALUES (1)", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "UPDATE system_auth.roles SET can_login = true WHERE role = 'a'", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS", "", BOTH, CLASS_WRITE, WRITE_CAS },
	{ "DELETE FROM t WHERE k = 1 IF v = 2", "ks", BOTH, CLASS_WRITE, WRITE_CAS },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) APPLY BATCH", "ks", BOTH, CLASS_WRITE, WRITE_BATCH },
	{ "BEGIN UNLOGGED BATCH INSERT INTO t (k) VALUES (1) APPLY BATCH", "ks", BOTH, CLASS_WRITE,
	  WRITE_UNLOGGED_BATCH },
	{ "BEGIN COUNTER BATCH UPDATE t SET c = c + 1 WHERE k = 1 APPLY BATCH", "ks", BOTH, CLASS_WRITE,
	  WRITE_COUNTER },
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 1 IF v = 0 APPLY BATCH", "ks", BOTH, CLASS_WRITE, WRITE_CAS },
	{ "CREATE TABLE t (k int PRIMARY KEY)", "ks", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "TRUNCATE ks.t", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "GRANT SELECT ON ks.t TO r", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "USE ks", "", BOTH, CLASS_CONTROL, WRITE_SIMPLE },
	{ "FROBNICATE ks.t", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "CALL InsightsRpc.reportInsight('x')", "", US, CLASS_CONTROL, WRITE_SIMPLE },
	{ "/* x */ call INSIGHTSRPC /* y */ . reportinsight(?);", "ks", US, CLASS_CONTROL, WRITE_SIMPLE },
	{ "CALL \"InsightsRpc\".reportInsight('x')", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "CALL InsightsRpcs.reportInsight('x')", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "CALL InsightsRpc", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "CALL InsightsRpc(1)", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "CALL DseGraphRpc.x(1)", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "CALL", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
	{ "", "", BOTH, CLASS_WRITE, WRITE_SIMPLE },
};

static unsigned bits_of(enum place place)
{
	switch (place) {
	case PRIMARY:
		return 1u << settings.primary;
	case SYSTEM:
		return 1u << settings.system_queries;
	case BOTH:
		return TO_BOTH;
	case US:
		break;
	}
	return 0;
}

START_TEST(statements)
{
	for (unsigned bits = 0; bits < 4; bits++) {
		struct verdict v;

		settings.primary = bits & 1 ? CLUSTER_TARGET : CLUSTER_ORIGIN;
		settings.system_queries = bits & 2 ? CLUSTER_TARGET : CLUSTER_ORIGIN;
		v = route(rows[_i].text, rows[_i].keyspace);
		ck_assert_uint_eq(v.to, bits_of(rows[_i].place));
		ck_assert_uint_eq(v.class, rows[_i].class);
		ck_assert_uint_eq(v.write_type, rows[_i].write_type);
		/* the answer comes from a cluster that was asked */
		if (v.to == TO_BOTH)
			ck_assert_uint_eq(v.answer_from, settings.primary);
		else if (v.to != 0)
			ck_assert_uint_eq(1u << v.answer_from, v.to);
	}
}
END_TEST

START_TEST(write_type_names)
{
	ck_assert_str_eq(write_type_name(WRITE_SIMPLE), "SIMPLE");
	ck_assert_str_eq(write_type_name(WRITE_BATCH), "BATCH");
	ck_assert_str_eq(write_type_name(WRITE_UNLOGGED_BATCH), "UNLOGGED_BATCH");
	ck_assert_str_eq(write_type_name(WRITE_COUNTER), "COUNTER");
	ck_assert_str_eq(write_type_name(WRITE_CAS), "CAS");
}
END_TEST

START_TEST(always_to_both)
{
	struct verdict v;

	settings.primary = CLUSTER_TARGET;
	v = route_both(&settings, CLASS_CONTROL, WRITE_COUNTER);
	ck_assert_uint_eq(v.to, TO_BOTH);
	ck_assert_uint_eq(v.answer_from, CLUSTER_TARGET);
	ck_assert_uint_eq(v.class, CLASS_CONTROL);
	ck_assert_uint_eq(v.write_type, WRITE_COUNTER);
}
END_TEST

static const struct {
	const char *text, *keyspace;
	enum mirror_mode mode;
} mirrored[] = {
	{ "SELECT * FROM ks.t", "", MIRROR_ANYWHERE },
	{ "SELECT * FROM t", "ks", MIRROR_IN_KEYSPACE },
	{ "SELECT * FROM t", "", MIRROR_IN_KEYSPACE },
	{ "USE ks", "", MIRROR_USE },
	{ "SELECT * FROM system.local", "", MIRROR_NONE },
	{ "SELECT * FROM system.size_estimates", "", MIRROR_NONE },
	{ "SELECT * FROM tables", "system_schema", MIRROR_NONE },
	{ "LIST ROLES", "", MIRROR_NONE },
	{ "DESCRIBE TABLES", "ks", MIRROR_NONE },
	{ "INSERT INTO ks.t (k) VALUES (1)", "", MIRROR_NONE },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) APPLY BATCH", "ks", MIRROR_NONE },
	{ "CREATE TABLE t (k int PRIMARY KEY)", "ks", MIRROR_NONE },
	{ "FROBNICATE ks.t", "", MIRROR_NONE },
	{ "", "", MIRROR_NONE },
};

/* Reads of user tables and USE have a copy, with the option on; the system-queries cluster does not matter. */
START_TEST(mirror)
{
	for (unsigned primary = 0; primary < CLUSTER_COUNT; primary++) {
		settings = (struct settings){ .primary = primary, .system_queries = primary };
		ck_assert_int_eq(route(mirrored[_i].text, mirrored[_i].keyspace).mirror, MIRROR_NONE);
		ck_assert_int_eq(route_options(&settings).mirror, MIRROR_NONE);
		settings.read_mode = READ_DUAL_ASYNC_ON_SECONDARY;
		ck_assert_int_eq(route(mirrored[_i].text, mirrored[_i].keyspace).mirror, mirrored[_i].mode);
		ck_assert_int_eq(route_options(&settings).mirror, MIRROR_ANYWHERE);
		ck_assert_int_eq(route_both(&settings, CLASS_CONTROL, WRITE_SIMPLE).mirror, MIRROR_NONE);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("route");

	tcase_add_loop_test(tcase, statements, 0, ARRAY_LEN(rows));
	tcase_add_test(tcase, write_type_names);
	tcase_add_test(tcase, always_to_both);
	tcase_add_loop_test(tcase, mirror, 0, ARRAY_LEN(mirrored));
	return run_tcase("route", tcase);
}
