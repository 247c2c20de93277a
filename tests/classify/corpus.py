"""CQL texts for the comparison with Cassandra's parser: forms by hand, names in all positions where they may stand,
written in many ways, and broken in many ways. Deterministic: the same texts in every run.

`texts()` gives (group, text) pairs; each text comes once."""

import random
import re

# How a table can be named: with and without keyspace, quoted, keywords that are no reserved words, other alphabets.
NAMES = [
    "t", "T", "ks.t", "Ks.TaB", '"T"', '"ks"."t"', '"Ks"."T t"', 'ks."T"', '"K"."a""b"', '"from"', '"if"',
    '"select"."from"', '"a.b"', '"a.b"."c.d"', "ks . t", "ks/* c */./* d */t", "ks. -- c\n t", '"t;"', '"a\'b"',
    '"a--b"', '"/*a*/"', '"a$$b"', '"tä"', '"表".t', '"Ä"."ß"', "json", "distinct.json", "type", "ttl.writetime",
    "key.value", "list.users", "count", "counter", "timestamp.text", "values", "filtering.clustering", "like.contains",
    "keyspaces.tables", "system.local", "SYSTEM.Peers", '"System".local', "system_schema.tables", "a1_2.b_3_",
    "x" * 48 + "." + "y" * 48, '"%s"' % ("n" * 70), '"?"', '":a"', "k.group1", "aggregate.function", "login.user",
    "role", "permissions", "cast", "as1.as_", "insert_.update1", "x.x", "frozen", "tuple", "text", "int.bigint",
    "selectx", "fromx.ifx", "iff.from1", "infinity1", "n.nan1", "duration", "null1.true1",
]

SELECTIONS = [
    "*", "a", "a, b, c", "a AS b", 'a AS "From"', '"from"', '"a from b"', "count(*)", "COUNT(1)", "count(a) AS n",
    "JSON *", "json a, b", "DISTINCT p", "DISTINCT JSON p", "JSON DISTINCT p", "json", "distinct", "writetime(a)",
    "ttl(a), a", "maxwritetime(a)", "CAST(a AS text)", "cast(a as int) as b", "token(p)", "token(p, q), p", "f(a)",
    "ks.f(a, b)", '"Ks"."F"(a)', "f(g(h(a)))", "f()", "now()", "toTimestamp(now())", "to_json(a)", "a.b", "a.b.c",
    'a."from"', "m['from']", "m['k'], l[0]", "s[1..2]", "m['a'..]", "m[..3]", "a + b", "a - b", "a * (b + 1) / 2 % 3",
    "-a", "- 1", "(int) 1", "(text) 'from'", "(list<int>) [1, 2]", "[a, b]", "{a, b}", "{'from': a}", "(a, b)",
    "(map<text, int>) {'a from b': 1}", "'from'", "$$from$$", "$$a ' \" -- /* from$$", "1", "1.5", "0xfa", "?", ":x",
    ':"From"', "(int) ?", "true", "null", "2h", "P1Y", "f(?, :a, 'from', $$ from $$)", "f(1) + f(2)",
    "similarity_cosine(v, [1, 2])", "min(a), max(b), avg(c), sum(d)", "a/* from x */", "a -- from x\n", "a // from x\n",
    "a, /* , */ b", "writetime(m['from'])", "'it''s from'", "f('from')", "f((int) 1)", "mask_default(a)", "a as json",
    "key, value, type", "ttl", "as1 as as2", "123e4567-e89b-12d3-a456-426614174000",
    "abcdefab-e89b-12d3-a456-426614174000", "infinity", "nan", "-infinity", "{}", "[]", "f({'a': 1})",
    "blobAsText(0xfa)", "count (*)", "COUNT(DISTINCT a)", "a b", "a,,b", "a from b", "",
]

TAILS = [
    "", "WHERE p = 1", "WHERE p = ? AND c > :x", "where p='from' and c='if'", "WHERE p IN (1, 2)", "WHERE p IN ?",
    "WHERE p IN :ids", "WHERE (p, c) = (1, 2)", "WHERE (a, b) IN ((1, 2), (3, 4))", "WHERE (a, b) > ?",
    "WHERE (a, b) IN (?, ?)", "WHERE token(p) > ?", "WHERE token(p, q) > token(1, 2) AND token(p, q) <= 9",
    "WHERE TOKEN(p) > -9223372036854775808", "WHERE p = 1 LIMIT 5", "WHERE p = 1 LIMIT ?", "LIMIT 10",
    "PER PARTITION LIMIT 2", "PER PARTITION LIMIT ? LIMIT :l", "ALLOW FILTERING", "WHERE v = 1 ALLOW FILTERING",
    "ORDER BY c", "ORDER BY c DESC, d ASC", "WHERE p = 1 ORDER BY c DESC LIMIT 3 ALLOW FILTERING",
    "ORDER BY v ANN OF [1.0, 2.0] LIMIT 3", "ORDER BY v ANN OF ? LIMIT 3", "GROUP BY p, c", "GROUP BY p, floor(t, 1h)",
    "WHERE m CONTAINS 1", "WHERE m CONTAINS KEY 'k'", "WHERE m['k'] = 1", "WHERE a LIKE 'x%'", "WHERE a IS NOT NULL",
    "WHERE a != 3", "WHERE a BETWEEN 1 AND 2", "WHERE a NOT IN (1, 2)", "WHERE a NOT IN ?", "WHERE a NOT CONTAINS 1",
    "WHERE expr(idx, 'text')", "WHERE p = f(1)", "WHERE p = f(?, now())", "WHERE p = 1 + 2 * 3", "WHERE p = - 1",
    "WHERE p = -1.5e-7", "WHERE p = 0xCAFE", "WHERE p = 123e4567-e89b-12d3-a456-426614174000",
    "WHERE t = '2024-01-01 00:00:00+0000'", "WHERE d > 1y2mo3d4h", "WHERE d = PT1H", "WHERE u = {a: 1, b: 'x'}",
    "WHERE s = {1, 2}", "WHERE l = [1, 2]", "WHERE tu = (1, 'a')", "WHERE v = [0.1, 0.2]", "WHERE p = (int) 3",
    "WHERE p = (text) ?", "WHERE solr_query = '{\"q\": \"*:*\"}'", "WHERE p = $$a 'quoted' \"text\" -- /* $$",
    "WHERE p = $$ $ $$", "WHERE \"P\" = 1 AND \"if\" = 2", "WHERE p = true AND q = FALSE AND r = NULL",
    "WHERE p = NaN AND q = -Infinity", "WHERE a.b = 1", "WHERE p = 1 OR q = 2", "WHERE a <> 1", "BYPASS CACHE",
    "USING TIMEOUT 100ms", "WHERE", "LIMIT", "WHERE p", "WHERE p =", "ALLOW FILTERING LIMIT 2", "WHERE p = 1;",
    "WHERE p = 1; SELECT b FROM ks2.t2", "AS x", "WHERE p = 'x", 'WHERE "p = 1', "WITH x = 1",
]

# %s: the table.
WRITES = [
    "INSERT INTO %s (a) VALUES (1)", "INSERT INTO %s (a, b) VALUES (?, ?)",
    "INSERT INTO %s (a, b) VALUES (:a, :b) IF NOT EXISTS", "INSERT INTO %s (a) VALUES (1) USING TTL 5",
    "INSERT INTO %s (a) VALUES (1) IF NOT EXISTS USING TIMESTAMP 5 AND TTL ?",
    "INSERT INTO %s (a) VALUES (1) USING TIMESTAMP ? IF NOT EXISTS", "INSERT INTO %s JSON '{\"a\": \"if\"}'",
    "INSERT INTO %s JSON ?", "INSERT INTO %s JSON ? DEFAULT UNSET",
    "INSERT INTO %s JSON :j DEFAULT NULL IF NOT EXISTS USING TTL 3",
    "INSERT INTO %s (\"if\", \"IF\") VALUES ('if', $$if$$)", "INSERT INTO %s (a) VALUES (/* if */ 1) -- if\n",
    "INSERT INTO %s (a, b) VALUES (now(), uuid())", "INSERT INTO %s (a) VALUES ([1, 2])",
    "INSERT INTO %s (a) VALUES ({'if': 'IF NOT EXISTS'})", "INSERT INTO %s (a) VALUES ((1, 'if'))",
    "INSERT INTO %s (key, value) VALUES ('a', 0xFF)", "INSERT INTO %s (a) VALUES (toTimestamp(now()))",
    "INSERT INTO %s (a) VALUES ('it''s if')", "INSERT INTO %s VALUES (1)", "INSERT INTO %s (a) VALUES (1) IF EXISTS",
    "INSERT INTO %s (a) VALUES (1)IF NOT EXISTS", "INSERT INTO %s (if) VALUES (1)",
    "INSERT INTO %s (a) VALUES (1) IF a = 1", "INSERT INTO %s(a)VALUES(1)", "INSERT INTO %s (a) VALUES (:iff)",
    "INSERT INTO %s (a) VALUES (:\"if\")", "INSERT INTO %s (a) VALUES (-1.5e3)", "UPDATE %s SET a = 1 WHERE p = 2",
    "UPDATE %s SET a = ?, b = :b WHERE p = ? AND c IN (1, 2)", "UPDATE %s USING TTL 5 SET a = 1 WHERE p = 2",
    "UPDATE %s USING TIMESTAMP ? AND TTL :ttl SET a = 1 WHERE p = 2", "UPDATE %s SET a = 1 WHERE p = 2 IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 2 IF a = 3", "UPDATE %s SET a = 1 WHERE p = 2IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 'x'IF EXISTS", "UPDATE %s SET a = 1 WHERE p = ?IF a = ?",
    "UPDATE %s SET a = 1 WHERE p = :p IF a = :a AND b != 2", "UPDATE %s SET a = 1 WHERE p = 0xAB IF a = 2",
    "UPDATE %s SET a = 1 WHERE p = 2 IF a IN (1, 2) AND b > 3", "UPDATE %s SET a = 1 WHERE p = 2 IF m['if'] = 1",
    "UPDATE %s SET a = 1 WHERE p = 2 IF u.f = 1", "UPDATE %s SET n = n + 1 WHERE p = 2",
    "UPDATE %s SET n += ? WHERE p = 2", "UPDATE %s SET n -= 1 WHERE p = 2", "UPDATE %s SET l = [1] + l WHERE p = 2",
    "UPDATE %s SET m['if'] = 'x' WHERE p = 2", "UPDATE %s SET u.f = 1 WHERE p = 2",
    "UPDATE %s SET s = s - {1, 2} WHERE p = 2", "UPDATE %s SET \"if\" = 1 WHERE \"IF\" = 2",
    "UPDATE %s SET a = 'if' WHERE p = $$ if $$", "UPDATE %s SET a = 1 /* if */ WHERE p = 2 -- if x\n",
    "UPDATE %s SET a = 1 WHERE p = 2 IF NOT EXISTS", "UPDATE %s SET a = 1", "UPDATE %s SET a = f(if) WHERE p = 1",
    "UPDATE %s SET l[0] = ? WHERE p = 2", "UPDATE %s SET a = 1 WHERE token(p) = 2",
    "UPDATE %s SET a = -1 WHERE p = 2 AND iff = 3", "UPDATE %s SET a=1WHERE p=2",
    "UPDATE %s SET v = [1.0, 2.5] WHERE p = 1", "UPDATE %s SET a = 1 WHERE p = 1e5IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 1.5IF EXISTS", "UPDATE %s SET a = 1 WHERE p = -3IF a = 1",
    "UPDATE %s SET a = 1 WHERE p = 2h IF EXISTS", "UPDATE %s SET a = 1 WHERE p = 2hIF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 0xABIF EXISTS", "UPDATE %s SET a = 1 WHERE p = 0xABCIF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 123e4567-e89b-12d3-a456-426614174000IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = :p1IF EXISTS", "UPDATE %s SET a = 1 WHERE p = q2IF",
    "UPDATE %s SET a = 1 WHERE p = PT1HIF EXISTS", "UPDATE %s SET a = 1 WHERE p = trueIF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 20IF EXISTS", "UPDATE %s SET a = 1 WHERE p = -1.5e10IF a = 1",
    "UPDATE %s SET a = 1 WHERE p = 1y2mo3dIF EXISTS", "UPDATE %s SET a = 1 WHERE p = 3mIF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = P1YIF EXISTS", "UPDATE %s SET a = 1 WHERE p = 1dif EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 1if EXISTS", "UPDATE %s SET a = 1 WHERE p = 2.IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 1EIF EXISTS", "UPDATE %s SET a = 1 WHERE p = 1e+5IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = P0001-01-01T00:00:00IF EXISTS", "UPDATE %s SET a = 1 WHERE p = P1WIF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = abcdefab-e89b-12d3-a456-426614174000IF EXISTS",
    "UPDATE %s SET a = 1 WHERE p = 3usIF EXISTS", "DELETE FROM %s WHERE p = 1", "DELETE a, b FROM %s WHERE p = 1",
    "DELETE m['from'] FROM %s WHERE p = 1", "DELETE u.f, l[0] FROM %s WHERE p = ?",
    "DELETE FROM %s USING TIMESTAMP 3 WHERE p = 1", "DELETE FROM %s WHERE p = 1 IF EXISTS",
    "DELETE a FROM %s USING TIMESTAMP ? WHERE p = 1 IF a = ?", "DELETE \"from\" FROM %s WHERE p = 1",
    "DELETE 'x' FROM %s WHERE p = 1", "DELETE FROM %s WHERE p = 1 AND c > 3 AND c < ?",
    "DELETE FROM %s WHERE (a, b) = (1, 2)", "DELETE /* from x */ a -- from y\n FROM %s WHERE p = 'if'",
    "DELETE FROM %s", "DELETE * FROM %s WHERE p = 1", "DELETE m[f('from')] FROM %s WHERE p = 1",
    "DELETE m[$$from x$$] FROM %s WHERE p = 1IF EXISTS", "DELETE FROM %s WHERE p IN (1, 2)",
    "DELETE FROM %s WHERE p = 1 IF NOT EXISTS", "TRUNCATE %s", "TRUNCATE TABLE %s", "TRUNCATE COLUMNFAMILY %s",
    "truncate table %s;", "TRUNCATE TABLE", "TRUNCATE %s, x", "TRUNCATE TABLE TABLE",
    "BEGIN BATCH INSERT INTO %s (a) VALUES (1) APPLY BATCH",
    "BEGIN UNLOGGED BATCH UPDATE %s SET a = 1 WHERE p = 2; APPLY BATCH;",
    "BEGIN COUNTER BATCH UPDATE %s SET n = n + 1 WHERE p = 2 APPLY BATCH",
    "BEGIN BATCH DELETE FROM %s WHERE p = 1 IF EXISTS; APPLY BATCH",
    "BEGIN BATCH USING TIMESTAMP 5 INSERT INTO %s (a) VALUES (?); UPDATE x SET a = 'if' WHERE p = 3 IF a = 1 "
    "APPLY BATCH",
    "BEGIN BATCH APPLY BATCH -- %s\n", "BEGIN LOGGED BATCH INSERT INTO %s (a) VALUES (1) APPLY BATCH",
    "BEGIN BATCH SELECT a FROM %s APPLY BATCH", "BEGIN TRANSACTION SELECT a FROM %s; COMMIT TRANSACTION",
    "BEGIN BATCH INSERT INTO %s (a) VALUES ('if')",
    "BEGIN BATCH INSERT INTO %s (a) VALUES (1)IF NOT EXISTS; APPLY BATCH",
]

DEFINITIONS = [
    "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    "CREATE KEYSPACE IF NOT EXISTS k WITH durable_writes = false",
    "CREATE SCHEMA k WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
    "ALTER KEYSPACE k WITH durable_writes = true", "DROP KEYSPACE IF EXISTS k", "DROP SCHEMA k",
    "CREATE TABLE ks.t (a int PRIMARY KEY, b text)",
    "CREATE TABLE IF NOT EXISTS t (a int, b frozen<list<text>>, PRIMARY KEY ((a), b)) WITH CLUSTERING ORDER BY (b "
    "DESC)",
    "CREATE COLUMNFAMILY t (a int PRIMARY KEY)",
    "CREATE TABLE t (a int, b int STATIC, c vector<float, 3>, PRIMARY KEY (a))", "CREATE TABLE t LIKE u",
    "ALTER TABLE ks.t ADD b int", "ALTER TABLE t DROP b", "ALTER TABLE t RENAME a TO b",
    "ALTER TABLE t WITH comment = 'select from if'", "DROP TABLE IF EXISTS ks.t",
    "ALTER TABLE t ADD IF NOT EXISTS b int", "ALTER TABLE t ALTER a TYPE text", "CREATE TYPE ks.u (a int, b text)",
    "ALTER TYPE u ADD c int", "DROP TYPE u", "CREATE INDEX ON t (a)", "CREATE INDEX IF NOT EXISTS i ON ks.t (keys(m))",
    "CREATE CUSTOM INDEX i ON t (a) USING 'sai' WITH OPTIONS = {'x': 'y'}", "DROP INDEX ks.i",
    "CREATE MATERIALIZED VIEW v AS SELECT a, b FROM ks.t WHERE a IS NOT NULL AND b IS NOT NULL PRIMARY KEY (b, a)",
    "ALTER MATERIALIZED VIEW v WITH comment = ''", "DROP MATERIALIZED VIEW v",
    "CREATE FUNCTION f (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a;'",
    "CREATE OR REPLACE FUNCTION ks.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return a; // "
    "from $$",
    "DROP FUNCTION IF EXISTS f (int)", "CREATE AGGREGATE a (int) SFUNC f STYPE int FINALFUNC g INITCOND 0",
    "DROP AGGREGATE a", "CREATE TRIGGER x ON t USING 'class'", "DROP TRIGGER x ON t",
    "CREATE ROLE r WITH PASSWORD = 'select' AND LOGIN = true", "CREATE ROLE IF NOT EXISTS 'r'",
    "ALTER ROLE r WITH SUPERUSER = false", "DROP ROLE IF EXISTS r", "CREATE USER u WITH PASSWORD 'x' SUPERUSER",
    "CREATE USER IF NOT EXISTS u", "ALTER USER u WITH PASSWORD 'y'", "DROP USER u", "GRANT r TO s", "REVOKE r FROM s",
    "GRANT SELECT ON KEYSPACE k TO r", "GRANT ALL PERMISSIONS ON ks.t TO r", "GRANT MODIFY ON TABLE t TO r",
    "REVOKE ALTER ON ALL KEYSPACES FROM r", "GRANT EXECUTE ON FUNCTION ks.f(int) TO r",
    "GRANT CREATE, ALTER ON ALL ROLES TO r", "REVOKE SELECT ON t FROM r", "LIST ROLES", "LIST ROLES OF r NORECURSIVE",
    "LIST USERS", "LIST ALL PERMISSIONS", "LIST SELECT PERMISSION ON ks.t OF r", "LIST ALL ON KEYSPACE k",
    "LIST SUPERUSERS", "ADD IDENTITY 'spiffe' TO ROLE 'r'", "ADD IDENTITY IF NOT EXISTS 'spiffe' TO ROLE 'r'",
    "DROP IDENTITY 'spiffe'", "DROP IDENTITY IF EXISTS 'x'", "CREATE GENERATED ROLE",
    "ALTER ROLE r WITH GENERATED PASSWORD", "CREATE ROLE r WITH ACCESS TO DATACENTERS {'dc1'}",
    "CREATE ROLE r WITH HASHED PASSWORD = 'x'", "CREATE ROLE \"R\" WITH OPTIONS = {'a': 'b'} AND ACCESS TO ALL CIDRS",
    "ALTER USER u NOSUPERUSER", "USE ks", "USE \"Ks\"", "use KS;", "USE 'ks'", "USE", "USE system", "USE ks.t",
    "USE json", "USE \"a\"\"b\"", "USE \"ä\"", "USE /* x */ ks -- y\n", "USE from", "USE ?", "USE \"\"",
    "DESCRIBE KEYSPACES", "DESC TABLES", "DESCRIBE TABLE ks.t", "DESCRIBE ks.t WITH INTERNALS", "DESC SCHEMA",
    "DESCRIBE FULL SCHEMA", "DESCRIBE CLUSTER", "desc keyspace k", "DESCRIBE ONLY KEYSPACE k", "DESCRIBE TYPE ks.u",
    "DESCRIBE FUNCTIONS", "DESCRIBE MATERIALIZED VIEW v", "DESC INDEX i", "DESCRIBE a", "DESCRIBE", "DESC",
    "CALL InsightsRpc.reportInsight(?)", "CALL f()", "COMMENT ON TABLE t IS 'x'", "SECURITY LABEL ON TABLE t IS 'x'",
    "COMMIT", "ROLLBACK", "EXPLAIN SELECT a FROM t", "LOCK TABLE t", "MERGE INTO t", "ADD", "ADD COLUMN x", "CREATE",
    "ALTER", "DROP", "BEGIN", "GRANT", "REVOKE", "LIST", "APPLY BATCH", "UPSERT INTO t (a) VALUES (1)",
    "RESTRICT ALL ON t TO r", "UNRESTRICT ALL ON t TO r",
]

ODD = [
    "", " ", ";", ";;", "\t\r\n", "-- only a comment", "-- only a comment\n", "/* only */", "/* no end", "/*/", "/**/",
    "//", "--", "-", "/", "'", '"', "$", "$$", "$$$$", "''", '""', "?", ":", ":x", "\x00", "\x0c", "SELECT", "select",
    "SELECT;", "SELECTED a FROM t", "SELECT* FROM t", "SELECT*FROM t", 'SELECT"a"FROM"t"', "SELECT'a'FROM t",
    "SELECT a FROMt", "SELECT aFROM t", "SELECT a FROM", "SELECT FROM t", "SELECT a FROM t.", "SELECT a FROM .t",
    "SELECT a FROM ks.", "SELECT a FROM ks..t", "SELECT a FROM a.b.c", "SELECT a FROM 't'", "SELECT a FROM ?",
    "SELECT a FROM :t", "SELECT a FROM 1t", "SELECT a FROM (t)", "(SELECT a FROM t)", "SELECT a FROM t, u",
    "SELECT a FROM t u", ";SELECT a FROM t", "SELECT a FROM t;;", "SELECT a FROM t ; ; ", "SELECT a FROM t -- end",
    "SELECT a FROM t -- end\n", "SELECT a FROM t // end\r", "SELECT a FROM t /* end */", "SELECT a FROM t /* end",
    "SELECT a FROM t; -- end", "SELECT a FROM t; /* end */", "/* a */ SELECT a FROM t", "-- a\nSELECT a FROM t",
    "// a\nSELECT a FROM t", "-- a\rSELECT a FROM t", "-- SELECT a FROM t", "/* /* */ SELECT a FROM t",
    "/* /* */ */ SELECT a FROM t", "/*/ SELECT a FROM t /*/", "/*/ */ SELECT a FROM t", "/***/SELECT a FROM t",
    "--\nSELECT a FROM t", "---\nSELECT a FROM t", "\ufeffSELECT a FROM t", "\u00a0SELECT a FROM t",
    "SELECT\u00a0a FROM t", "\u017fELECT a FROM t", "SELECT a FROM ta\u0308", "SELECT \u00e4 FROM t",
    "SELECT a FROM \u8868", "UPDATE t SET \u0456f = 1 WHERE p = 1", "\x0bSELECT a FROM t", "\x0cSELECT a FROM t",
    "SELECT\x0ca FROM t", "SELECT\x00a FROM t", "SELECT a FROM t\x00", "SELECT a\\ FROM t", "SELECT `a` FROM t",
    "SELECT [a] FROM t", "SELECT #a FROM t", "SELECT @a FROM t", "_SELECT a FROM t", "SELECT a FROM _t",
    "SELECT _a FROM t", "1SELECT a FROM t", "'SELECT' a FROM t", '"SELECT" a FROM t', "SEL/**/ECT a FROM t",
    "SELECT a FR/**/OM t", "SELECT/**/a/**/FROM/**/t", "SELECT a FROM t WHERE p = 'INSERT INTO x (a) VALUES (1)'",
    "INSERT INTO t (a) VALUES ('SELECT a FROM t')", "-- \rINSERT INTO t (a) VALUES (1) --\nSELECT a FROM t",
    "/* SELECT */ INSERT INTO t (a) VALUES (1)", "--\r\nSELECT a FROM t", "-- x\nINSERT INTO t (a) VALUES (1)",
    "/* x */UPDATE t SET a = 1 WHERE p = 1", "//x\nDELETE FROM t WHERE p = 1", "SELECT a FROM t WHERE a = 'x' 'y'",
    "SELECT a FROM t WHERE a = $$x$$$$y$$", "SELECT a FROM t WHERE a = $$x$", "SELECT a FROM t WHERE a = $x$$",
    "SELECT a FROM t WHERE a = $$$$", "SELECT a FROM t WHERE a = $$$x$$", "SELECT a FROM t WHERE a = $$x$$$",
    "SELECT $$ FROM x$$ FROM t", "SELECT a FROM t WHERE a = 5--6\n", "SELECT a -- b\n, c FROM t",
    "SELECT a - - b FROM t", "SELECT a --b FROM t", "SELECT a /b/ c FROM t", "SELECT a//b\nFROM t",
    "SELECT a/*b*//*c*/FROM t", "SELECT a / * b FROM t", "SELECT (int)1FROM t", "SELECT (int)12 FROM t",
    "SELECT (double)1.FROM t", "SELECT (blob)0x1FROM t", "SELECT (duration)1hFROM t", "SELECT 'x'FROM t",
    "SELECT ?FROM t", "SELECT :aFROM t", "SELECT : a FROM t", "SELECT : from FROM t", "SELECT a FROM t WHERE p = : x",
    "SELECT a FROM t WHERE p = :\"x y\"", "SELECT a FROM t WHERE p = :1", "INSERT INTO t (a) VALUES (: if)",
    "INSERT INTO t (a) VALUES (:if)", "UPDATE t SET a = :if WHERE p = 1", "SELECT :from FROM t",
    "SELECT (int):from FROM t", "insert into t (a) values (1)", "iNsErT iNtO t (a) vAlUeS (1) iF nOt ExIsTs",
    "INSERT t (a) VALUES (1)", "INSERT INTO", "INSERT", "UPDATE", "UPDATE SET a = 1", "DELETE", "DELETE a",
    "DELETE FROM", "DELETE a t WHERE p = 1", "INSERTINTO t (a) VALUES (1)", "INSERT INTO t(a)VALUES(1)IF NOT EXISTS",
    "UPDATE t SET a=1WHERE p=2", "UPDATE t SET a='x'WHERE p='y'IF EXISTS", "UPDATE\"t\"SET a=1 WHERE p=2",
    "TRUNCATE\"t\"", "USE\"x\"", "BEGIN\nBATCH\nAPPLY\nBATCH", "BEGIN BATCH;APPLY BATCH", "BEGIN BATCH ; ; APPLY BATCH",
    "BEGIN UNLOGGED COUNTER BATCH APPLY BATCH", "BEGINBATCH APPLY BATCH", "BEGIN/**/UNLOGGED/**/BATCH/**/APPLY BATCH",
    "BEGIN BATCH INSERT INTO t (a) VALUES (1); INSERT INTO k.t (a) VALUES (2); DELETE FROM u WHERE p = 1; APPLY "
    "BATCH;;",
    "g.V().has('name', 'x')", "g.addV('SELECT')", "db.collection.find()", "SELECT 1", "SELECT 1 FROM DUAL",
    "SELECT @@version", "SHOW TABLES", "SHOW VERSION", "COPY t TO 'file'", "SOURCE 'x'", "CONSISTENCY ONE",
    "TRACING ON", "EXIT", "SELECT " + "a, " * 3000 + "b FROM ks.t", "SELECT " + "f(" * 6 + "a" + ")" * 6 + " FROM ks.t",
    "SELECT a FROM t WHERE p = '" + "from " * 5000 + "'", "/* " + "x" * 20000 + " */ SELECT a FROM ks.t",
    " " * 5000 + "SELECT a FROM ks.t", "INSERT INTO t (a) VALUES ('" + "''" * 2000 + "') IF NOT EXISTS",
    "SELECT a FROM \"" + "n" * 300 + "\".\"" + "\"\"" * 100 + "\"", "SELECT a FROM t" + ";" * 500,
    "UPDATE t SET a = " + "[" * 6 + "]" * 6 + " WHERE p = 1 IF EXISTS",
]

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$|--[^\n\r]*[\n\r]?|//[^\n\r]*[\n\r]?|/\*.*?\*/"""
                    r"""|[\w\u0080-\uffff]+|:"[^"]*"|[<>!+-]=|\.\.|\s+|.""", re.DOTALL)
_COMMENTS = ["/* FROM x.y IF */", "-- SELECT a FROM x\n", "// IF ' \" $$ /*\r", "/**/", "/*** ' ***/", " \t\r\n ",
             "--\n"]
_INTRUDERS = ["FROM", "IF", "IF EXISTS", "SELECT", "(", ")", "'", '"', "$$", "/*", "--", ";", ".", "?", ":", "BATCH",
              "INTO", "\x00", "ä"]


def tokens(text):
    return [t for t in _TOKEN.findall(text) if not t.isspace()]


def _is_word(token):
    return token[0].isalnum() or token[0] == "_"


def _mixed_case(token, turn):
    if not token.isalpha() or not token.isascii():
        return token
    return (token.lower(), token.upper(), token.title(), token.swapcase())[turn % 4]


def _tight(parts):
    """With a blank only where two words would become one."""
    out = ""
    for part in parts:
        if out and (out[-1].isalnum() or out[-1] == "_") and _is_word(part):
            out += " "
        out += part
    return out


def written(text, turn):
    """The same statement in other letters, with other white space and comments."""
    parts = tokens(text)
    way = turn % 6
    if way == 0:
        return " ".join(_mixed_case(part, 0) for part in parts)
    if way == 1:
        return _tight(parts)
    if way == 2:
        return "".join(_COMMENTS[(turn + i) % len(_COMMENTS)] + part for i, part in enumerate(parts)) + " ;"
    if way == 3:
        return "\r\n\t".join(_mixed_case(part, turn + i) for i, part in enumerate(parts)) + "\n;\n"
    if way == 4:
        return "-- SELECT 1 FROM x\n/* USE y */" + text + " ; -- the end\n"
    return "/**/".join(parts) + (" // no end of line" if turn % 2 else "//\r")


def broken(text, chance):
    """The statement with a part missing, doubled, exchanged, or put in."""
    parts = tokens(text)
    if not parts:
        return text
    at = chance.randrange(len(parts))
    way = chance.randrange(7)
    if way == 0:
        return text[:chance.randrange(len(text) + 1)]
    if way == 1:
        del parts[at]
    elif way == 2:
        parts.insert(at, parts[at])
    elif way == 3:
        other = chance.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    elif way == 4:
        parts.insert(at, chance.choice(_INTRUDERS))
    elif way == 5:
        return text[chance.randrange(len(text)):]
    else:
        return _tight(parts[:at]) + parts[at][:-1] + _tight(parts[at + 1:])
    return " ".join(parts)


def forms():
    """Whole statements as one would write them."""
    for i, name in enumerate(NAMES):
        yield "names", "SELECT a FROM %s WHERE p = 1" % name
        yield "names", "SELECT %s FROM %s" % (SELECTIONS[i % len(SELECTIONS)], name)
        yield "names", "SELECT JSON DISTINCT a, b FROM %s;" % name
        for form in ("INSERT INTO %s (a) VALUES (1)", "UPDATE %s SET a = 1 WHERE p = 1", "DELETE a FROM %s WHERE p = 1",
                     "TRUNCATE %s", "TRUNCATE TABLE %s", "DELETE FROM %s WHERE p = 1 IF EXISTS",
                     "INSERT INTO %s JSON '{}' IF NOT EXISTS", "UPDATE %s USING TTL 1 SET a = 1 WHERE p = 1 IF a = 2"):
            yield "names", form % name
    for i, selection in enumerate(SELECTIONS):
        yield "selections", "SELECT %s FROM t" % selection
        yield "selections", "SELECT %s FROM ks.%s %s" % (selection, '"T"', TAILS[(7 * i + 1) % len(TAILS)])
        yield "selections", "SELECT a, %s, b FROM Ks.t WHERE p = ?" % selection
    for i, tail in enumerate(TAILS):
        yield "tails", "SELECT a FROM ks.t %s" % tail
        selection, name = SELECTIONS[(5 * i) % len(SELECTIONS)], NAMES[(3 * i) % len(NAMES)]
        yield "tails", "SELECT %s FROM %s %s" % (selection, name, tail)
        yield "tails", "UPDATE ks.t SET a = 1 %s" % tail
        yield "tails", "DELETE FROM t %s IF EXISTS" % tail
    for i, form in enumerate(WRITES):
        for name in ("t", NAMES[(11 * i) % len(NAMES)], NAMES[(7 * i + 3) % len(NAMES)]):
            yield "writes", form.replace("%s", name)
    for form in DEFINITIONS:
        yield "definitions", form
    for form in ODD:
        yield "odd", form


def texts():
    chance = random.Random(20)
    seen = set()

    def once(group, text):
        if text not in seen:
            seen.add(text)
            yield group, text

    whole = list(forms())
    for group, text in whole:
        yield from once(group, text)
    for turn, (group, text) in enumerate(whole):
        if len(text) < 2000:
            yield from once(group + "-written", written(text, turn))
            yield from once(group + "-written", written(text, turn // 6 + 1))
    for group, text in whole:
        if len(text) < 2000:
            yield from once(group + "-broken", broken(text, chance))
            yield from once(group + "-broken", broken(written(text, chance.randrange(1000)), chance))
