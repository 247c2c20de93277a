/* test_audit_shape.c - statements without literals, and passwords that nobody gets to read. */
#include "audit/shape.h"

#include "vectors.h"

static const struct {
	const char *text, *shape;
} shapes[] = {
	{ "", "" },
	{ " \t\r\n", "" },
	{ "SELECT a FROM ks.t WHERE b = 'x'", "SELECT a FROM ks.t WHERE b = ?" },
	{ "SELECT  a\n FROM\tt -- all of it\n WHERE b=1", "SELECT a FROM t WHERE b=?" },
	{ "SELECT a // 'no string'\r\nFROM t", "SELECT a FROM t" },
	{ "SELECT/* 'x' */a FROM t/* end", "SELECT a FROM t?" },
	{ "-- nothing else", "" },
	{ "INSERT INTO t (a, b) VALUES ('it''s', 0xCAFE);", "INSERT INTO t (a, b) VALUES (?, ?);" },
	{ "INSERT INTO t JSON '{\"a\": 1}'", "INSERT INTO t JSON ?" },
	{ "SELECT \"Na\"\"me 1\" FROM \"T 'x'\"", "SELECT \"Na\"\"me 1\" FROM \"T 'x'\"" },
	{ "CREATE FUNCTION f(a int) ... AS $$return 'x' + $1;$$", "CREATE FUNCTION f(a int) ... AS ?" },
	{ "UPDATE t SET a = -1, b = b-1, c = -1.5e-7 WHERE k=(-2)", "UPDATE t SET a = ?, b = b-?, c = ? WHERE k=(?)" },
	{ "SELECT a - 1 FROM t WHERE x > 1.5E+3", "SELECT a - ? FROM t WHERE x > ?" },
	{ "SET d = 1h30m, e = P1Y2M, f = p1, g = P3W, h = PT5S, i = pot, j = p",
	  "SET d = ?, e = ?, f = p1, g = ?, h = ?, i = pot, j = p" },
	{ "WHERE id = cafe0000-1111-2222-3333-444455556666", "WHERE id = ?" },
	{ "WHERE id = 0afe0000-1111-2222-3333-444455556666 AND cafe = 1", "WHERE id = ? AND cafe = ?" },
	{ "WHERE cafe0000 = x", "WHERE cafe0000 = x" },
	{ "SET a = TRUE, b = false, c = NaN, d = -Infinity, e = null", "SET a = ?, b = ?, c = ?, d = -?, e = null" },
	{ "WHERE a = ? AND b = :name AND c IN (1, 2,3)", "WHERE a = ? AND b = :name AND c IN (?, ?,?)" },
	{ "SELECT l[0], m['k'] FROM t1 LIMIT 10", "SELECT l[?], m[?] FROM t1 LIMIT ?" },
	{ "SET a = 'never closed", "SET a = ?" },
	{ "SET a = $$never closed$", "SET a = ?" },
	{ "SET \xc3\xa4 = '\xff\xfe'", "SET \xc3\xa4 = ?" },
	{ "CREATE ROLE r WITH PASSWORD = 'secret' AND LOGIN = true", "CREATE ROLE r WITH PASSWORD = ? AND LOGIN = ?" },
	{ "CREATE ROLE r WITH PASSWORD = secret AND LOGIN = true", "CREATE ROLE r WITH PASSWORD = ***" },
};

static const struct {
	const char *text, *shown;
} masked[] = {
	{ "CREATE ROLE r WITH PASSWORD = 'secret'", "CREATE ROLE r WITH PASSWORD = '***'" },
	{ "create role r with password='secret' and superuser = true",
	  "create role r with password='***' and superuser = true" },
	{ "ALTER ROLE r WITH LOGIN = true AND PASSWORD /* now */ = /* it */ 'secret';",
	  "ALTER ROLE r WITH LOGIN = true AND PASSWORD /* now */ = /* it */ '***';" },
	{ "CREATE USER u WITH PASSWORD 'secret' SUPERUSER", "CREATE USER u WITH PASSWORD '***' SUPERUSER" },
	{ "CREATE ROLE r WITH HASHED PASSWORD = '$2a$secret'", "CREATE ROLE r WITH HASHED PASSWORD = '***'" },
	{ "CREATE ROLE r WITH PASSWORD = $$it's secret$$ AND LOGIN = true",
	  "CREATE ROLE r WITH PASSWORD = '***' AND LOGIN = true" },
	{ "CREATE ROLE r WITH PASSWORD = 'se''cret' AND LOGIN = true",
	  "CREATE ROLE r WITH PASSWORD = '***' AND LOGIN = true" },
	{ "CREATE ROLE r WITH OPTIONS = {'Password': 'secret', 'x': 'y'}",
	  "CREATE ROLE r WITH OPTIONS = {'Password': '***', 'x': 'y'}" },
	/* Not well-formed. */
	{ "CREATE ROLE r WITH PASSWORD = 'se'cret' AND LOGIN = true", "CREATE ROLE r WITH PASSWORD = ***" },
	{ "CREATE ROLE r WITH PASSWORD = 'se' 'cret'", "CREATE ROLE r WITH PASSWORD = '***' ***" },
	{ "CREATE ROLE r WITH PASSWORD = 'secret", "CREATE ROLE r WITH PASSWORD = ***" },
	{ "CREATE ROLE r WITH PASSWORD = \"secret\"", "CREATE ROLE r WITH PASSWORD = ***" },
	{ "CREATE ROLE r WITH PASSWORD secret", "CREATE ROLE r WITH PASSWORD ***" },
	{ "CREATE ROLE r WITH PASSWORD == secret", "CREATE ROLE r WITH PASSWORD =***" },
	{ "CRAETE ROLE r WITH PASSWORD = 'secret'", "CRAETE ROLE r WITH PASSWORD = '***'" },
	{ "CRAETE USER r WITH PASSWORD 'secret'", "CRAETE USER r WITH PASSWORD '***'" },
	{ "SELECT 1; CREATE ROLE r WITH PASSWORD = secret", "SELECT 1; CREATE ROLE r WITH PASSWORD = ***" },
	{ "SELECT a FROM t WHERE password = 'secret' AND b = 'c'",
	  "SELECT a FROM t WHERE password = '***' AND b = 'c'" },
	{ "UPDATE t SET \"password\" = 'secret' WHERE k = 1", "UPDATE t SET \"password\" = '***' WHERE k = 1" },
};

/* Nothing to mask: these stay as they are. */
static const char *const plain[] = {
	"CREATE TABLE t (k int PRIMARY KEY, password text)",
	"SELECT password, b FROM t WHERE passwords = 'x'",
	"INSERT INTO t (k, password) VALUES (1, 'x')",
	"SET l = ['password', 'x']",
	"CREATE ROLE r WITH GENERATED PASSWORD AND LOGIN = true",
	"CREATE ROLE r WITH PASSWORD = ?",
	"ALTER ROLE r WITH LOGIN = true",
	"-- password = 'x'\nSELECT 1",
	"DROP ROLE password; SELECT 'x'",
};

static char *written(const char *text, size_t len, bool is_shape, bool *was_masked)
{
	struct buffer out = { 0 };
	/* Not terminated: reading beyond it is seen. */
	uint8_t *copy = exact_copy(text, len);

	*was_masked = shape_write(&out, (const char *)copy, len, is_shape);
	free(copy);
	buffer_char(&out, '\0');
	return out.data;
}

START_TEST(without_literals)
{
	bool was_masked;
	char *s = written(shapes[_i].text, strlen(shapes[_i].text), true, &was_masked);

	ck_assert_str_eq(s, shapes[_i].shape);
	free(s);
}
END_TEST

START_TEST(passwords_are_masked)
{
	bool was_masked;
	char *s = written(masked[_i].text, strlen(masked[_i].text), false, &was_masked);

	ck_assert_str_eq(s, masked[_i].shown);
	ck_assert(was_masked);
	free(s);
}
END_TEST

START_TEST(nothing_else_is_masked)
{
	bool was_masked;
	char *s = written(plain[_i], strlen(plain[_i]), false, &was_masked);

	ck_assert_str_eq(s, plain[_i]);
	ck_assert(!was_masked);
	free(s);
}
END_TEST

/* A text that was cut anywhere shows no more than one that is whole. */
START_TEST(cut_texts_show_no_password)
{
	const char *text = masked[_i].text;

	for (size_t len = 0; len <= strlen(text); len++) {
		bool was_masked;
		char *full = written(text, len, false, &was_masked);
		char *shape = written(text, len, true, &was_masked);

		ck_assert_msg(!strstr(full, "secret") && !strstr(full, "cret"), "%s", full);
		ck_assert_msg(!strstr(shape, "secret") && !strstr(shape, "cret"), "%s", shape);
		free(full);
		free(shape);
	}
}
END_TEST

START_TEST(any_bytes)
{
	static const char alphabet[] = "'\"$-/*\n =:;ap0Pxe.?({password=CREATE ROLE \xff";
	char text[64];
	unsigned seed = 1;

	for (int round = 0; round < 20000; round++) {
		bool was_masked;
		char *s;

		for (size_t i = 0; i < sizeof(text); i++) {
			seed = seed * 1103515245u + 12345u;
			text[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		s = written(text, sizeof(text), false, &was_masked);
		/* What is not masked is all there. */
		ck_assert(was_masked || memcmp(s, text, sizeof(text)) == 0);
		free(s);
		free(written(text, sizeof(text), true, &was_masked));
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("audit_shape");

	tcase_add_loop_test(tc, without_literals, 0, sizeof(shapes) / sizeof(shapes[0]));
	tcase_add_loop_test(tc, passwords_are_masked, 0, sizeof(masked) / sizeof(masked[0]));
	tcase_add_loop_test(tc, nothing_else_is_masked, 0, sizeof(plain) / sizeof(plain[0]));
	tcase_add_loop_test(tc, cut_texts_show_no_password, 0, sizeof(masked) / sizeof(masked[0]));
	tcase_add_test(tc, any_bytes);
	return run_tcase("audit_shape", tc);
}
