/* test_statement_tables.c - the tables that statements name: batches, DDL, what is not understood, damaged texts. */
#include "cql/statement_tables.h"

#include <strings.h>

#include "vectors.h"

static struct statement_tables tables;

/* Scans a block of exactly the text's length, in the keyspace "here". */
static void scan(const char *text, size_t len)
{
	uint8_t *copy = exact_copy(text, len);
	const struct strview view = { (const char *)copy, len };
	struct statement_facts facts;

	statement_tables_clear(&tables);
	statement_scan(view, &facts);
	statement_tables_scan(view, &facts, SV("here"), &tables);
	free(copy);
}

/* "ks.t ks.-", "-" for no table; "..." behind it when there may be others. */
static const char *describe(void)
{
	static char out[STATEMENT_TABLES_MAX * (2 * STATEMENT_NAME_MAX + 4)];
	size_t n = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < tables.count; i++) {
		const struct statement_table *t = &tables.items[i];

		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%.*s.%.*s", n ? " " : "",
				      SV_ARG(statement_name_view(&t->keyspace)), t->table.len ? (int)t->table.len : 1,
				      t->table.len ? t->table.text : "-");
	}
	if (tables.is_incomplete)
		snprintf(out + n, sizeof(out) - n, "%s...", n ? " " : "");
	return out;
}

static const struct {
	const char *text, *expected;
} rows[] = {
	/* one table */
	{ "SELECT * FROM ks.t WHERE k = 1", "ks.t" },
	{ "SELECT * FROM t", "here.t" },
	{ "SELECT * FROM \"Ks\".\"T\"\"x\"", "Ks.T\"x" },
	{ "INSERT INTO KS.T (k) VALUES (1)", "ks.t" },
	{ "UPDATE t SET v = 1 WHERE k = 1", "here.t" },
	{ "DELETE v FROM ks . t WHERE k = 1", "ks.t" },
	{ "TRUNCATE ks.t", "ks.t" },
	{ "TRUNCATE TABLE t", "here.t" },
	{ "TRUNCATE COLUMNFAMILY ks.t", "ks.t" },
	{ "USE ks", "ks.-" },
	{ "USE \"Ks\";", "Ks.-" },
	/* none */
	{ "GRANT SELECT ON ks.t TO r", "" },
	{ "REVOKE ALL ON KEYSPACE ks FROM r", "" },
	{ "CREATE ROLE r", "" },
	{ "DROP USER u", "" },
	{ "LIST ROLES", "" },
	{ "DESCRIBE TABLE ks.t", "" },
	{ "CALL InsightsRpc.reportInsight('x')", "" },
	/* what is not understood */
	{ "", "..." },
	{ "FROBNICATE ks.t", "..." },
	{ "SELECT", "..." },
	{ "SELECT * FROM ks.", "..." },
	{ "INSERT ks.t (k) VALUES (1)", "..." },
	{ "UPDATE 'x' SET v = 1", "..." },
	{ "USE", "..." },
	{ "TRUNCATE", "..." },
	{ "BEGIN TRANSACTION SELECT * FROM ks.t; COMMIT TRANSACTION", "..." },

	/* batches */
	{ "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1) APPLY BATCH", "ks.t" },
	{ "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1); UPDATE u SET v = 1 WHERE k = 1; DELETE FROM \"W\" WHERE k = 1; "
	  "APPLY BATCH;",
	  "ks.t here.u here.W" },
	{ "begin unlogged batch insert into t (k) values (1) update u set v = 1 where k = 1 delete a, b from w where "
	  "k = 1 apply batch",
	  "here.t here.u here.w" },
	{ "BEGIN COUNTER BATCH USING TIMESTAMP 5 UPDATE c SET n = n + 1 WHERE k = 1 APPLY BATCH", "here.c" },
	{ "BEGIN BATCH USING TIMESTAMP ? AND TTL ? INSERT INTO t (k) VALUES (?) APPLY BATCH", "here.t" },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) USING TTL 5 AND TIMESTAMP 6; APPLY BATCH", "here.t" },
	{ "BEGIN BATCH UPDATE ks.t USING TTL 5 SET v = 1 WHERE k = 1 IF v = 2 APPLY BATCH", "ks.t" },
	{ "BEGIN BATCH INSERT INTO t JSON '{\"k\": \"UPDATE x\"}' DEFAULT UNSET IF NOT EXISTS APPLY BATCH", "here.t" },
	/* each table once */
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1); INSERT INTO here.t (k) VALUES (1); DELETE FROM T WHERE k = 2 APPLY "
	  "BATCH",
	  "here.t" },
	{ "BEGIN BATCH APPLY BATCH", "" },
	{ "BEGIN BATCH DELETE FROM t WHERE k = 1; APPLY BATCH ;; -- x\n ;", "here.t" },
	/* strings, names, comments, markers */
	{ "BEGIN BATCH INSERT INTO t (k) VALUES ('; UPDATE x SET ''DELETE FROM y') APPLY BATCH", "here.t" },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES ($$ APPLY BATCH; UPDATE x $$) APPLY BATCH", "here.t" },
	{ "BEGIN BATCH /* INSERT INTO x */ INSERT INTO t (k) -- UPDATE y SET\n VALUES (1) // DELETE FROM z\n APPLY BATCH",
	  "here.t" },
	{ "BEGIN/**/BATCH/**/INSERT/**/INTO/**/t(k)VALUES(1)APPLY/**/BATCH", "here.t" },
	{ "BEGIN BATCH INSERT INTO t (\"UPDATE\", \"insert into x\") VALUES (1, 2) APPLY BATCH", "here.t" },
	{ "BEGIN BATCH INSERT INTO \"UPDATE\".\"DELETE\" (k) VALUES (1) APPLY BATCH", "UPDATE.DELETE" },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (:update) UPDATE u SET v = :\"delete\" WHERE k = :apply APPLY BATCH",
	  "here.t here.u" },
	{ "BEGIN BATCH UPDATE last_update SET update_time = 1 WHERE k = insert_ APPLY BATCH", "here.last_update" },
	{ "BEGIN BATCH DELETE m['FROM x'], l[2], u.\"FROM\" FROM t WHERE k = 1 APPLY BATCH", "here.t" },
	{ "BEGIN BATCH DELETE FROM t USING TIMESTAMP 4 WHERE k IN (1, 2) AND c > 3 IF EXISTS APPLY BATCH", "here.t" },
	{ "BEGIN BATCH UPDATE t SET m = m + {'INSERT': 1}, l = [1, 2], u = {a: 1} WHERE k = 0xDE APPLY BATCH",
	  "here.t" },
	/* unreserved words are names */
	{ "BEGIN BATCH INSERT INTO values (key) VALUES (1); UPDATE keys SET ttl = 1 WHERE type = 2 APPLY BATCH",
	  "here.values here.keys" },
	/* no blank behind a number: less than Cassandra understands */
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 2UPDATE u SET v = 1 WHERE k = 1 APPLY BATCH", "here.t ..." },
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 2.5e3insert INTO u (k) VALUES (1) APPLY BATCH", "here.t ..." },
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 2APPLY BATCH", "here.t ..." },
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 123e4567-e89b-12d3-a456-a26614174000DELETE FROM u WHERE k = 1 APPLY "
	  "BATCH",
	  "here.t ..." },
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 123e4567-e89b-12d3-a456-426614174000UPDATE u SET v = 1 WHERE k = 1 "
	  "APPLY BATCH",
	  "here.t ..." },
	{ "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 123e4567-e89b-12d3-a456-a26614174000 APPLY BATCH", "here.t" },
	/* broken ones */
	{ "BEGIN BATCH", "..." },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1)", "here.t ..." },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) APPLY", "here.t ..." },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) APPLY BATCHES", "here.t ..." },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) APPLY BATCH; UPDATE u SET v = 1 WHERE k = 1", "here.t ..." },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES ('1) APPLY BATCH", "here.t ..." },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1) /* APPLY BATCH", "here.t ..." },
	{ "BEGIN BATCH INSERT t (k) VALUES (1) APPLY BATCH", "..." },
	{ "BEGIN BATCH INSERT INTO (k) VALUES (1) APPLY BATCH", "..." },
	{ "BEGIN BATCH INSERT INTO ks. (k) VALUES (1) APPLY BATCH", "..." },
	{ "BEGIN BATCH INSERT INTO a.b.c (k) VALUES (1) APPLY BATCH", "..." },
	{ "BEGIN BATCH INSERT INTO a.b.c.d (k) VALUES (1) APPLY BATCH", "..." },
	{ "BEGIN BATCH UPDATE ? SET v = 1 WHERE k = 1 APPLY BATCH", "..." },
	{ "BEGIN BATCH DELETE v WHERE k = 1; UPDATE t SET v = 1 WHERE k = 1 APPLY BATCH", "..." },
	{ "BEGIN BATCH DELETE v WHERE k = 1 APPLY BATCH", "..." },
	{ "BEGIN BATCH DELETE", "..." },

	/* DDL */
	{ "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy'}", "ks.-" },
	{ "CREATE KEYSPACE IF NOT EXISTS \"Ks\" WITH x = 1", "Ks.-" },
	{ "CREATE SCHEMA ks WITH x = 1", "ks.-" },
	{ "ALTER KEYSPACE IF EXISTS ks WITH x = 1", "ks.-" },
	{ "DROP KEYSPACE IF EXISTS ks", "ks.-" },
	{ "DROP SCHEMA ks;", "ks.-" },
	{ "CREATE TABLE ks.t (k int PRIMARY KEY)", "ks.t" },
	{ "CREATE TABLE IF NOT EXISTS t (k int PRIMARY KEY) WITH comment = 'FROM x'", "here.t" },
	{ "create columnfamily T (k int primary key)", "here.t" },
	{ "CREATE TABLE ks.new LIKE ks.old", "ks.new" },
	{ "ALTER TABLE ks.t ADD v int", "ks.t" },
	{ "ALTER TABLE IF EXISTS t DROP IF EXISTS v", "here.t" },
	{ "DROP TABLE IF EXISTS ks.t", "ks.t" },
	{ "DROP/* IF EXISTS x */TABLE -- y\n ks.\"T\"", "ks.T" },
	{ "CREATE TYPE ks.address (street text)", "ks.-" },
	{ "CREATE TYPE IF NOT EXISTS address (street text)", "here.-" },
	{ "ALTER TYPE ks.address ADD zip int", "ks.-" },
	{ "DROP TYPE IF EXISTS ks.address", "ks.-" },
	{ "CREATE INDEX ON ks.t (v)", "ks.t" },
	{ "CREATE INDEX by_v ON t (v)", "here.t" },
	{ "CREATE CUSTOM INDEX IF NOT EXISTS by_v ON ks.t (KEYS(v)) USING 'x'", "ks.t" },
	{ "CREATE INDEX IF NOT EXISTS \"ON\" ON t (v)", "here.t" },
	{ "DROP INDEX IF EXISTS ks.by_v", "ks.-" },
	{ "DROP INDEX by_v", "here.-" },
	{ "CREATE SEARCH INDEX IF NOT EXISTS ON ks.t", "ks.t" },
	{ "ALTER SEARCH INDEX SCHEMA ON ks.t ADD FIELDS v", "ks.t" },
	{ "DROP SEARCH INDEX ON t", "here.t" },
	{ "CREATE MATERIALIZED VIEW ks.v AS SELECT a, \"FROM\" FROM ks.t WHERE a IS NOT NULL PRIMARY KEY (a, k)",
	  "ks.t" },
	{ "CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT * FROM t WHERE a IS NOT NULL PRIMARY KEY (a)", "here.t" },
	{ "ALTER MATERIALIZED VIEW ks.v WITH comment = 'x'", "ks.v" },
	{ "DROP MATERIALIZED VIEW IF EXISTS v", "here.v" },
	{ "CREATE OR REPLACE FUNCTION ks.f (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a;'",
	  "ks.-" },
	{ "CREATE FUNCTION IF NOT EXISTS f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$x$$", "here.-" },
	{ "DROP FUNCTION ks.f (int)", "ks.-" },
	{ "CREATE OR REPLACE AGGREGATE ks.a (int) SFUNC f STYPE int", "ks.-" },
	{ "DROP AGGREGATE IF EXISTS a", "here.-" },
	{ "CREATE TRIGGER IF NOT EXISTS tr ON ks.t USING 'x'", "ks.t" },
	{ "DROP TRIGGER tr ON t", "here.t" },
	{ "COMMENT ON KEYSPACE ks IS 'x'", "ks.-" },
	{ "COMMENT ON TABLE ks.t IS 'x'", "ks.t" },
	{ "COMMENT ON TABLE t IS 'x'", "here.t" },
	{ "COMMENT ON COLUMN ks.t.c IS 'x'", "ks.t" },
	{ "COMMENT ON COLUMN t.c IS NULL", "here.t" },
	{ "COMMENT ON TYPE ks.address IS 'x'", "ks.-" },
	{ "COMMENT ON FIELD ks.address.street IS 'x'", "ks.-" },
	{ "COMMENT ON FIELD address.street IS 'x'", "here.-" },
	/* broken, or of a kind that nobody knows yet */
	{ "CREATE", "..." },
	{ "CREATE TABLE", "..." },
	{ "CREATE TABLE IF NOT EXISTS", "..." },
	{ "CREATE TABLE 5", "..." },
	{ "CREATE TABLE a.b.c (k int PRIMARY KEY)", "..." },
	{ "CREATE GIZMO ks.t", "..." },
	{ "CREATE INDEX by_v (v)", "..." },
	{ "CREATE INDEX by_v ON", "..." },
	{ "CREATE MATERIALIZED ks.v AS SELECT * FROM t", "..." },
	{ "CREATE MATERIALIZED VIEW v AS SELECT * WHERE a IS NOT NULL", "..." },
	{ "CREATE KEYSPACE a.b WITH x = 1", "..." },
	{ "DROP INDEX a.b.c", "..." },
	{ "DROP TYPE", "..." },
	{ "COMMENT", "..." },
	{ "COMMENT ON ks.t IS 'x'", "..." },
	{ "COMMENT ON COLUMN c IS 'x'", "..." },
	{ "COMMENT ON FIELD street IS 'x'", "..." },
};

START_TEST(tables_of_a_text)
{
	scan(rows[_i].text, strlen(rows[_i].text));
	ck_assert_msg(strcmp(describe(), rows[_i].expected) == 0, "%s\nexpected: %s\nfound:    %s", rows[_i].text,
		      rows[_i].expected, describe());
}
END_TEST

START_TEST(without_a_keyspace)
{
	struct statement_facts facts;
	const struct strview text =
		SV("BEGIN BATCH INSERT INTO t (k) VALUES (1); DELETE FROM ks.t WHERE k = 1 APPLY BATCH");

	statement_tables_clear(&tables);
	statement_scan(text, &facts);
	statement_tables_scan(text, &facts, (struct strview){ NULL, 0 }, &tables);
	ck_assert_str_eq(describe(), ".t ks.t");
}
END_TEST

/* Names longer than Cassandra's are cut, and keyspaces of connections, too. */
START_TEST(long_names)
{
	char text[512], name[100];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(text, sizeof(text), "BEGIN BATCH INSERT INTO %s.\"%s\" (k) VALUES (1) APPLY BATCH", name, name);
	scan(text, strlen(text));
	ck_assert_uint_eq(tables.count, 1);
	ck_assert(!tables.is_incomplete);
	ck_assert_uint_eq(tables.items[0].keyspace.len, STATEMENT_NAME_MAX);
	ck_assert(tables.items[0].keyspace.is_cut && tables.items[0].table.is_cut);
}
END_TEST

START_TEST(more_tables_than_fit)
{
	for (unsigned count = STATEMENT_TABLES_MAX; count <= STATEMENT_TABLES_MAX + 1; count++) {
		char text[4096] = "BEGIN BATCH ";

		for (unsigned i = 0; i < count; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "INSERT INTO t%u (k) VALUES (1); ",
				 i);
		strcat(text, "APPLY BATCH");
		scan(text, strlen(text));
		ck_assert_uint_eq(tables.count, STATEMENT_TABLES_MAX);
		ck_assert(tables.is_incomplete == (count > STATEMENT_TABLES_MAX));
	}
}
END_TEST

/* What was found of several texts is kept, and a pair that is there is not added again. */
START_TEST(of_several_texts)
{
	static const char *const texts[] = { "INSERT INTO t (k) VALUES (1)", "UPDATE ks.u SET v = 1 WHERE k = 1",
					     "DELETE FROM t WHERE k = 1" };

	statement_tables_clear(&tables);
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		struct statement_facts facts;

		statement_scan(sv_from(texts[i]), &facts);
		statement_tables_scan(sv_from(texts[i]), &facts, SV("here"), &tables);
	}
	ck_assert_str_eq(describe(), "here.t ks.u");
}
END_TEST

/* Every text cut at each byte: nothing is read beyond it, and what is cut in its batch is not taken for whole. */
START_TEST(cut_anywhere)
{
	const char *text = rows[_i].text;
	const bool is_batch = strncasecmp(text, "BEGIN", 5) == 0 && strstr(rows[_i].expected, "...") == NULL;
	const size_t len = strlen(text);
	size_t whole = 0; /* the length up to its last BATCH */

	for (size_t i = 0; i + 5 <= len; i++) {
		if (strncasecmp(text + i, "BATCH", 5) == 0)
			whole = i + 5;
	}
	for (size_t cut = 0; cut < len; cut++) {
		scan(text, cut);
		if (is_batch && cut > strlen("BEGIN COUNTER BATCH") && cut < whole)
			ck_assert_msg(tables.is_incomplete, "%.*s: %s", (int)cut, text, describe());
	}
}
END_TEST

/* Bytes of the alphabet that mean something, put in, taken out, and changed. */
START_TEST(damaged)
{
	static const char *const pieces[] = {
		"INSERT INTO ", "UPDATE ", "DELETE ", "FROM ", "APPLY BATCH", ";",          ".", "'",
		"\"",           "$$",      "/*",      "*/",    "--",          "\n",         "(", ")",
		"ks.",          "BEGIN ",  "BATCH ",  " ",     "ON ",         "IF EXISTS ", "?", ":x",
		"\0",           "\x80",    "0x",      "1"
	};
	char text[1024];
	unsigned understood = 0;

	srand(1);
	for (unsigned round = 0; round < 60000; round++) {
		const char *seed = rows[(size_t)rand() % ARRAY_LEN(rows)].text;
		size_t len = strlen(seed);

		memcpy(text, seed, len);
		for (int i = rand() % 3; i >= 0; i--) {
			const char *piece = pieces[(size_t)rand() % ARRAY_LEN(pieces)];
			const size_t n = *piece ? strlen(piece) : 1, where = (size_t)rand() % (len + 1);
			size_t drop = (size_t)rand() % 6;

			drop = MIN(drop, len - where);
			memmove(text + where + n, text + where + drop, len - where - drop);
			memcpy(text + where, piece, n);
			len += n - drop;
		}
		scan(text, len);
		ck_assert_uint_le(tables.count, STATEMENT_TABLES_MAX);
		understood += !tables.is_incomplete;
	}
	ck_assert_uint_gt(understood, 5000);
	ck_assert_uint_lt(understood, 55000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("statement_tables");
	TCase *tc = tcase_create("statement_tables");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, tables_of_a_text, 0, (int)ARRAY_LEN(rows));
	tcase_add_test(tc, without_a_keyspace);
	tcase_add_test(tc, long_names);
	tcase_add_test(tc, more_tables_than_fit);
	tcase_add_test(tc, of_several_texts);
	tcase_add_loop_test(tc, cut_anywhere, 0, (int)ARRAY_LEN(rows));
	tcase_add_test(tc, damaged);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
