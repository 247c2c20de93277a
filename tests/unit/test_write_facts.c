/* test_write_facts.c - which texts may be given a timestamp. */
#include "cql/write_facts.h"

#include "statements.h"

static struct write_facts scan(const char *text, size_t len)
{
	char *copy = (char *)exact_copy(text, len);
	const struct strview view = { copy, len };
	struct statement_facts facts;
	struct write_facts out;

	statement_scan(view, &facts);
	write_facts_scan(view, &facts, &out);
	free(copy);
	return out;
}

static const struct {
	const char *text;
	bool writes_rows;
	bool has_timestamp;
	uint8_t counter;
} cases[] = {
	{ "INSERT INTO t (k) VALUES (1)", true, false, COUNTER_NO },
	{ "INSERT INTO t (k) VALUES (1) USING TIMESTAMP 5", true, true, COUNTER_NO },
	{ "INSERT INTO t (k) VALUES (1) IF NOT EXISTS USING TTL ? AND TIMESTAMP ?", true, true, COUNTER_NO },
	{ "INSERT INTO t (k) VALUES (1) USING TIMESTAMP ? AND TTL ?", true, true, COUNTER_NO },
	{ "INSERT INTO t (k) VALUES (1) USING TTL 86400", true, false, COUNTER_NO },
	{ "INSERT INTO t (k) VALUES ('USING TIMESTAMP 5')", true, false, COUNTER_NO },
	{ "INSERT INTO t (k) VALUES ($$ USING TIMESTAMP 5 $$) -- USING TIMESTAMP 5", true, false, COUNTER_NO },
	{ "INSERT INTO \"USING TIMESTAMP\" (k) VALUES (:using)", true, false, COUNTER_NO },
	{ "INSERT INTO t JSON '{\"using\": \"timestamp\"}' usIng /* x */ timeSTAMP :ts", true, true, COUNTER_NO },
	{ "UPDATE t USING TIMEOUT 50ms AND TIMESTAMP 1 SET v = 1", true, true, COUNTER_NO },
	{ "UPDATE t USING TTL timestamp SET v = 1", true, false, COUNTER_NO },
	{ "UPDATE t SET timestamp = 4 WHERE ttl = 3", true, false, COUNTER_NO },
	{ "UPDATE t SET c = c + 1 WHERE k = 2", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET c=c+1", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET c=c-1", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET c = c -1", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET c = c - -1", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET \"c\" = C + 0x10", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET a = 1, c += 1", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET l = l + [1], c = c + 1", true, false, COUNTER_CERTAIN },
	{ "UPDATE t SET c = c + ?", true, false, COUNTER_POSSIBLE },
	{ "UPDATE t SET c -= :by", true, false, COUNTER_POSSIBLE },
	{ "UPDATE t SET c = c + (bigint)5", true, false, COUNTER_POSSIBLE },
	{ "UPDATE t SET c = c + f(1), d = d + {1}", true, false, COUNTER_POSSIBLE },
	{ "UPDATE t SET l = l + ['a', ?]", true, false, COUNTER_NO },
	{ "UPDATE t SET l = ? + l", true, false, COUNTER_NO },
	{ "UPDATE t SET l = [1] + l, m = m - {1}", true, false, COUNTER_NO },
	{ "UPDATE t SET m['c + 1'] = 1, v = 'c = c + 1' WHERE k = 5 -- c = c + 1", true, false, COUNTER_NO },
	{ "UPDATE t SET v = -1, w = +1", true, false, COUNTER_NO },
	{ "DELETE FROM t WHERE k = 1", true, false, COUNTER_NO },
	{ "DELETE a, b[1] FROM ks.t USING TIMESTAMP ? WHERE k = 1 IF EXISTS", true, true, COUNTER_NO },
	{ "BEGIN BATCH INSERT INTO t (k) VALUES (1); APPLY BATCH", true, false, COUNTER_NO },
	{ "BEGIN UNLOGGED BATCH USING TIMESTAMP 4 DELETE FROM t WHERE k = 1; APPLY BATCH", true, true, COUNTER_NO },
	{ "BEGIN BATCH UPDATE t SET v = 1; UPDATE t USING TTL 1 AND TIMESTAMP 2 SET v = 1; APPLY BATCH", true, true,
	  COUNTER_NO },
	{ "BEGIN COUNTER BATCH UPDATE t SET v = 1; APPLY BATCH", true, false, COUNTER_CERTAIN },
	{ "BEGIN UNLOGGED BATCH UPDATE t SET v = 1; UPDATE t SET c = c + ?; APPLY BATCH", true, false,
	  COUNTER_POSSIBLE },
	{ "BEGIN TRANSACTION UPDATE t SET v = 1; COMMIT TRANSACTION", false, false, COUNTER_NO },
	{ "SELECT a FROM t WHERE c = c + 1", false, false, COUNTER_NO },
	{ "TRUNCATE t", false, false, COUNTER_NO },
	{ "CREATE CUSTOM INDEX ON t (v) USING 'TIMESTAMP'", false, false, COUNTER_NO },
	{ "ALTER TABLE t ADD c counter", false, false, COUNTER_NO },
	{ "USE x", false, false, COUNTER_NO },
	{ "", false, false, COUNTER_NO },
	{ "UPDATE t USING", true, false, COUNTER_NO },
	{ "UPDATE t USING TTL", true, false, COUNTER_NO },
	{ "UPDATE t USING TTL 1 AND", true, false, COUNTER_NO },
	{ "UPDATE t SET c = c +", true, false, COUNTER_POSSIBLE },
	{ "UPDATE t SET c +=", true, false, COUNTER_POSSIBLE },
	{ "UPDATE t SET v = 'open", true, false, COUNTER_NO },
};

START_TEST(texts)
{
	struct write_facts f = scan(cases[_i].text, strlen(cases[_i].text));

	ck_assert_msg(f.writes_rows == cases[_i].writes_rows, "%s", cases[_i].text);
	ck_assert_msg(f.has_timestamp == cases[_i].has_timestamp, "%s", cases[_i].text);
	ck_assert_msg(f.counter == cases[_i].counter, "%s: %d", cases[_i].text, f.counter);
}
END_TEST

/* Cut anywhere, the scan stays inside the text (the address sanitizer watches). */
START_TEST(texts_cut)
{
	for (size_t n = 0; n < strlen(cases[_i].text); n++)
		ck_assert_uint_le(scan(cases[_i].text, n).counter, COUNTER_CERTAIN);
}
END_TEST

static void agrees_with_kind(const struct statement_case *c)
{
	static const char *const writes[] = { "insert", "update", "delete", "batch" };
	struct write_facts f = scan(c->text, c->text_len);
	bool expected = false;

	for (unsigned i = 0; i < ARRAY_LEN(writes); i++)
		expected |= strcmp(c->kind, writes[i]) == 0;
	ck_assert_msg(f.writes_rows == expected, "line %u", c->line);
	ck_assert_msg(!strchr(c->flags, 'C') || f.counter == COUNTER_CERTAIN, "line %u", c->line);
}

START_TEST(statements)
{
	ck_assert_uint_gt(statements_each(agrees_with_kind), 150);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("write_facts");

	tcase_add_loop_test(tc, texts, 0, ARRAY_LEN(cases));
	tcase_add_loop_test(tc, texts_cut, 0, ARRAY_LEN(cases));
	tcase_add_test(tc, statements);
	return run_tcase("write_facts", tc);
}
