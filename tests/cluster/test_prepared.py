"""Prepared statements that one of the clusters has forgotten are prepared again inside the proxy."""

import pytest
from cassandra.cluster import ResponseFuture
from cassandra.query import BatchStatement

pytestmark = pytest.mark.pair("migration")


@pytest.fixture
def reprepared(monkeypatch):
    """Statements that the driver had to prepare again itself."""
    seen = []
    original = ResponseFuture._reprepare

    def note(self, message, *arguments):
        seen.append(message.query)
        return original(self, message, *arguments)

    monkeypatch.setattr(ResponseFuture, "_reprepare", note)
    return seen


@pytest.fixture(params=[4, 5])
def session(request, pair, ferry, connect, keyspace):
    session = connect(ferry, login=pair.client_login, protocol_version=request.param)
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    return session


def forget(side, keyspace):
    """A dropped table takes its prepared statements with it; the new one has the same shape."""
    side.execute("DROP TABLE %s.t" % keyspace)
    side.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)


@pytest.mark.parametrize("who", ["origin", "target", "both"])
def test_forgotten_statements_are_repaired(pair, session, keyspace, reprepared, who):
    insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % keyspace)
    select = session.prepare("SELECT id, v FROM %s.t WHERE id = ?" % keyspace)
    session.execute(insert, (1, "before"))
    for side in pair.sides:
        if who in (side.name, "both"):
            forget(side, keyspace)
    session.execute(insert, (2, "after"))
    assert [tuple(row) for row in session.execute(select, (2,))] == [(2, "after")]
    batch = BatchStatement()
    batch.add(insert, (3, "in a batch"))
    session.execute(batch)
    assert reprepared == []
    for side in pair.sides:
        assert (2, "after") in side.rows("SELECT id, v FROM %s.t" % keyspace)
        assert (3, "in a batch") in side.rows("SELECT id, v FROM %s.t" % keyspace)


def test_repair_keeps_the_keyspace_of_the_prepare(pair, session, keyspace, reprepared):
    inside = session.cluster.connect(keyspace)
    insert = inside.prepare("INSERT INTO t (id, v) VALUES (?, ?)")
    inside.execute("USE system")
    forget(pair.target, keyspace)
    inside.execute(insert, (1, "qualified by the PREPARE"))
    assert reprepared == []
    assert pair.rows("SELECT id, v FROM %s.t" % keyspace) == [(1, "qualified by the PREPARE")]


def test_altered_table_shows_its_new_column(pair, session, keyspace):
    """The row layout a client holds is refreshed when the cluster says that it changed."""
    select = session.prepare("SELECT * FROM %s.t WHERE id = ?" % keyspace)
    session.execute("INSERT INTO %s.t (id, v) VALUES (1, 'x')" % keyspace)
    assert session.execute(select, (1,)).one() == (1, "x")
    session.execute("ALTER TABLE %s.t ADD added int" % keyspace)
    session.execute("INSERT INTO %s.t (id, v, added) VALUES (2, 'y', 5)" % keyspace)
    if session.cluster.protocol_version >= 5:
        assert session.execute(select, (2,)).one() == (2, 5, "y")
    else:
        # v4 has no way to tell a client of a new layout: what it must not get is a wrong row.
        fresh = session.prepare("SELECT id, added, v FROM %s.t WHERE id = ?" % keyspace)
        assert session.execute(fresh, (2,)).one() == (2, 5, "y")


def test_statements_of_one_connection_work_on_another(pair, ferry, connect, session, keyspace):
    insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % keyspace)
    other = connect(ferry, login=pair.client_login, protocol_version=session.cluster.protocol_version)
    other.execute(insert, (1, "from another connection"))
    assert pair.rows("SELECT id, v FROM %s.t" % keyspace) == [(1, "from another connection")]
