"""The tables that the tests of a pair share: made on both nodes themselves, not through the proxy."""

import threading

PRIMITIVES = ["ascii", "bigint", "blob", "boolean", "date", "decimal", "double", "duration", "float", "inet", "int",
              "smallint", "text", "time", "timestamp", "timeuuid", "tinyint", "uuid", "varchar", "varint"]

STATEMENTS = [
    "CREATE TABLE primitives (id int PRIMARY KEY, %s)" % ", ".join("v_%s %s" % (t, t) for t in PRIMITIVES),
    "CREATE TYPE place (street text, number int, tags frozen<set<text>>)",
    "CREATE TYPE person (name text, home frozen<place>, phones frozen<map<text, frozen<list<text>>>>)",
    "CREATE TABLE nested (id int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>, fl frozen<list<int>>,"
    " deep map<text, frozen<list<frozen<map<int, frozen<set<text>>>>>>>, t tuple<int, text, frozen<list<int>>>,"
    " tt frozen<tuple<int, frozen<tuple<text, double>>>>, u frozen<person>, open place, lu list<frozen<person>>,"
    " mu map<frozen<place>, frozen<tuple<int, text>>>)",
    "CREATE TABLE simple (id int PRIMARY KEY, v int, s text)",
    "CREATE TABLE series (p int, c int, v text, PRIMARY KEY (p, c))",
    "CREATE TABLE shared (p int, c int, st text STATIC, n int STATIC, v text, PRIMARY KEY (p, c))",
    "CREATE TABLE hits (id int, page text, n counter, PRIMARY KEY (id, page))",
    "CREATE TABLE based (p int, c int, kind text, v text, PRIMARY KEY (p, c))",
    "CREATE MATERIALIZED VIEW by_kind AS SELECT kind, p, c, v FROM based WHERE kind IS NOT NULL AND p IS NOT NULL"
    " AND c IS NOT NULL PRIMARY KEY (kind, p, c)",
    "CREATE TABLE indexed (id int PRIMARY KEY, v int, tags set<text>)",
    "CREATE INDEX indexed_v ON indexed (v)",
    "CREATE INDEX indexed_tags ON indexed (tags)",
    "CREATE FUNCTION twice (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a * 2;'",
    "CREATE FUNCTION longer (a text, b text) CALLED ON NULL INPUT RETURNS text LANGUAGE java"
    " AS $$ return a == null || b != null && b.length() > a.length() ? b : a; $$",
    "CREATE AGGREGATE longest (text) SFUNC longer STYPE text",
]

# A target in the middle of a migration: it has columns that origin lacks.
WIDER = {
    "origin": "CREATE TABLE wider (id int PRIMARY KEY, a text, z int)",
    "target": "CREATE TABLE wider (id int PRIMARY KEY, a text, extra text, m int, z int)",
}


def _create_on(side, name, keyspace, failures):
    try:
        side.execute("CREATE KEYSPACE %s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
                     % keyspace)
        side.execute("USE " + keyspace)
        for statement in STATEMENTS + [WIDER[name]]:
            side.execute(statement)
    except Exception as error:  # told by create(), in the thread of the test
        failures.append("%s: %s" % (side.line, error))


def create(keyspace, origin, target):
    failures = []
    threads = [threading.Thread(target=_create_on, args=(side, name, keyspace, failures))
               for name, side in (("origin", origin), ("target", target))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
