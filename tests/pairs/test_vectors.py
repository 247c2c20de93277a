"""Vectors, which Cassandra has from 5.0 on: on a pair of their own, in each version of the protocol."""

import pytest

PAIRS = ["5.0-5.0"]


@pytest.fixture
def table(link):
    name = "vectors_v%d" % link.version
    link.on_both("CREATE TABLE IF NOT EXISTS {ks}.%s (id int PRIMARY KEY, f vector<float, 3>, t vector<text, 2>,"
                 " m map<text, frozen<vector<int, 2>>>, n frozen<list<vector<float, 2>>>)" % name)
    link.on_both("CREATE CUSTOM INDEX IF NOT EXISTS ON {ks}.%s (f) USING 'StorageAttachedIndex'" % name)
    return name


def plain(value):
    """A list of lists, whatever the driver made of it."""
    if isinstance(value, (int, float, str)) or value is None:
        return value
    if hasattr(value, "items"):
        return {name: plain(v) for name, v in value.items()}
    return [plain(v) for v in value]


def test_values(link, primary, key, table):
    session = link.session(primary)
    values = ([0.5, -1.0, 2.0], ["a", "ä" * 200], {"k": [1, 2]}, [[0.5, 0.25], [1.0, -1.0]])
    insert = session.prepare("INSERT INTO %s (id, f, t, m, n) VALUES (?, ?, ?, ?, ?)" % table)
    session.execute(insert, (key, *values))
    session.execute("INSERT INTO %s (id, f, t) VALUES (%d, [1, 2, 3], ['x', 'it''s'])" % (table, key + 500000))
    select = session.prepare("SELECT f, t, m, n FROM %s WHERE id = ?" % table)
    assert [plain(v) for v in session.execute(select, (key,)).one()] == list(values)
    for side in link.sides:
        for number, wanted in ((key, list(values)), (key + 500000, [[1.0, 2.0, 3.0], ["x", "it's"], None, None])):
            row = side.execute("SELECT f, t, m, n FROM %s.%s WHERE id = %d" % (link.keyspace, table, number)).one()
            assert [plain(v) for v in row] == wanted


def test_nearest(link, primary, key, table):
    session = link.session(primary)
    session.execute("TRUNCATE " + table)
    insert = session.prepare("INSERT INTO %s (id, f) VALUES (?, ?)" % table)
    for n, vector in enumerate(([1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, 1.0])):
        session.execute(insert, (n, vector))
    text = "SELECT id FROM %s ORDER BY f ANN OF [1.0, 0.0, 0.0] LIMIT 2" % table
    assert [row.id for row in session.execute(text)] == [0, 1]
    prepared = session.prepare("SELECT id, similarity_cosine(f, ?) FROM %s ORDER BY f ANN OF ? LIMIT ?" % table)
    rows = list(session.execute(prepared, ([0.0, 0.0, 2.0], [0.0, 0.0, 2.0], 1)))
    assert [(row[0], round(row[1], 3)) for row in rows] == [(2, 1.0)]
    for side in link.sides:
        found = side.execute("SELECT id FROM %s.%s ORDER BY f ANN OF [1.0, 0.0, 0.0] LIMIT 2" % (link.keyspace, table))
        assert [row.id for row in found] == [0, 1]
