"""Timestamps, consistency levels and request ids, as real nodes see them."""

import time

import pytest
from cassandra import ConsistencyLevel, Unavailable
from cassandra.query import BatchStatement, BatchType, SimpleStatement

import clients

pytestmark = pytest.mark.pair("open")

VERSIONS = [3, 4, 5]


def connect_with(pair, start_ferry, connect, version, **sections):
    """A session whose driver sends no timestamps, through a proxy with these settings."""
    ferry = start_ferry(ini=pair.ini(**sections))
    session = connect(ferry, protocol_version=version)
    session.use_client_timestamp = False
    return session


@pytest.fixture(params=VERSIONS)
def session(request, pair, start_ferry, connect, keyspace):
    session = connect_with(pair, start_ferry, connect, request.param, routing={"timestamps": "add"})
    session.execute("CREATE TABLE %s.t (k int PRIMARY KEY, v text, l list<int>)" % keyspace)
    session.execute("CREATE TABLE %s.c (k int PRIMARY KEY, c counter)" % keyspace)
    return session


def written(side, keyspace):
    return dict(side.rows("SELECT k, writetime(v) FROM %s.t" % keyspace))


def test_both_clusters_have_one_writetime(session, pair, keyspace):
    began = time.time() * 1e6
    session.execute("INSERT INTO %s.t (k, v) VALUES (1, 'query')" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (k, v) VALUES (?, ?)" % keyspace)
    session.execute(insert, (2, "execute"))
    for kind in (BatchType.LOGGED, BatchType.UNLOGGED):
        batch = BatchStatement(kind)
        batch.add(insert, (3 + kind.value, "batch"))
        batch.add(SimpleStatement("UPDATE %s.t SET v = 'batch' WHERE k = %d" % (keyspace, 5 + kind.value)))
        session.execute(batch)
    session.execute("BEGIN BATCH INSERT INTO %s.t (k, v) VALUES (7, 'text'); APPLY BATCH" % keyspace)
    session.execute("UPDATE %s.t SET v = 'w' WHERE k = 2" % keyspace)
    origin, target = (written(side, keyspace) for side in pair.sides)
    assert origin == target and sorted(origin) == list(range(1, 8))
    assert all(began <= stamp <= time.time() * 1e6 for stamp in origin.values())
    assert origin[1] < origin[3] == origin[5] < origin[4] == origin[6] < origin[7] < origin[2]


def test_other_timestamps_stay(session, pair, keyspace):
    session.execute("INSERT INTO %s.t (k, v) VALUES (1, 'text') USING TIMESTAMP 7" % keyspace)
    session.execute("BEGIN BATCH USING TIMESTAMP 8 INSERT INTO %s.t (k, v) VALUES (2, 'text'); APPLY BATCH" % keyspace)
    batch = BatchStatement()
    batch.add(SimpleStatement("INSERT INTO %s.t (k, v) VALUES (3, 'text') USING TIMESTAMP 9" % keyspace))
    batch.add(SimpleStatement("INSERT INTO %s.t (k, v) VALUES (4, 'text')" % keyspace))
    session.execute(batch)  # gets none: one of its statements has its own
    session.use_client_timestamp = True
    session.cluster.timestamp_generator = lambda: 10
    session.execute("INSERT INTO %s.t (k, v) VALUES (5, 'driver')" % keyspace)
    for side in pair.sides:
        found = written(side, keyspace)
        assert found.pop(4) > 1e15  # the node's own
        assert found == {1: 7, 2: 8, 3: 9, 5: 10}
    # What a node makes of a batch with both: the statement's own wins.
    session.execute(batch)
    for side in pair.sides:
        assert {k: v for k, v in written(side, keyspace).items() if k in (3, 4)}[3] == 9


def test_counters_conditions_and_lists(session, pair, keyspace):
    """None of them is refused by a node for a timestamp."""
    session.execute("UPDATE %s.c SET c = c + 5 WHERE k = 1" % keyspace)
    add = session.prepare("UPDATE %s.c SET c = c + ? WHERE k = ?" % keyspace)
    session.execute(add, (3, 1))
    batch = BatchStatement(BatchType.COUNTER)
    batch.add(add, (2, 1))
    batch.add(SimpleStatement("UPDATE %s.c SET c = c - 1 WHERE k = 1" % keyspace))
    session.execute(batch)
    assert pair.rows("SELECT k, c FROM %s.c" % keyspace) == [(1, 9)]
    session.execute("DELETE FROM %s.c WHERE k = 1" % keyspace)
    assert pair.rows("SELECT k, c FROM %s.c" % keyspace) == []

    assert session.execute("INSERT INTO %s.t (k, v) VALUES (1, 'a') IF NOT EXISTS" % keyspace).one().applied
    assert not session.execute("UPDATE %s.t SET v = 'b' WHERE k = 1 IF v = 'x'" % keyspace).one().applied
    append = session.prepare("UPDATE %s.t SET l = l + ? WHERE k = 1" % keyspace)
    session.execute(append, ([1, 2],))
    session.execute("UPDATE %s.t SET l = l + [3] WHERE k = 1" % keyspace)
    session.execute("TRUNCATE %s.c" % keyspace)
    assert pair.rows("SELECT k, v FROM %s.t" % keyspace) == [(1, "a")]
    assert [list(row.l) for side in pair.sides for row in side.execute("SELECT l FROM %s.t" % keyspace)] == [[1, 2, 3]] * 2


def test_a_write_after_another_wins(session, pair, keyspace):
    """Over two connections of two workers, as fast as it goes."""
    other = session.cluster.connect()
    other.use_client_timestamp = False
    for n in range(300):
        (session, other)[n % 2].execute("INSERT INTO %s.t (k, v) VALUES (1, '%d')" % (keyspace, n))
    assert pair.rows("SELECT k, v FROM %s.t" % keyspace) == [(1, "299")]


@pytest.mark.parametrize("version", VERSIONS)
def test_consistency_levels(pair, start_ferry, connect, keyspace, version):
    """THREE cannot be had on one node: the level that the error names is the one that the cluster was asked at."""
    pair.execute("CREATE TABLE %s.t (k int PRIMARY KEY, v text)" % keyspace)
    session = connect_with(pair, start_ferry, connect, version,
                           target={"write_consistency": "ONE:THREE, QUORUM:LOCAL_ONE", "read_consistency": "TWO"})
    insert = session.prepare("INSERT INTO %s.t (k, v) VALUES (?, 'x')" % keyspace)
    for statement in ("INSERT INTO %s.t (k, v) VALUES (1, 'x')" % keyspace, insert.bind((1,))):
        if isinstance(statement, str):
            statement = SimpleStatement(statement)
        statement.consistency_level = ConsistencyLevel.ONE
        with pytest.raises(Exception) as raised:
            session.execute(statement)
        assert "THREE" in str(raised.value), raised.value
        statement.consistency_level = ConsistencyLevel.QUORUM
        session.execute(statement)
    session.execute(SimpleStatement("SELECT * FROM %s.t" % keyspace, consistency_level=ConsistencyLevel.ONE))
    assert pair.rows("SELECT k, v FROM %s.t" % keyspace) == [(1, "x")]


def test_a_read_at_another_level(pair, start_ferry, connect, keyspace):
    pair.execute("CREATE TABLE %s.t (k int PRIMARY KEY, v text)" % keyspace)
    session = connect_with(pair, start_ferry, connect, 4, origin={"read_consistency": "ONE:TWO"})
    with pytest.raises(Unavailable) as raised:
        session.execute(SimpleStatement("SELECT * FROM %s.t" % keyspace, consistency_level=ConsistencyLevel.ONE))
    assert raised.value.consistency == ConsistencyLevel.TWO
    session.execute(SimpleStatement("SELECT * FROM %s.t" % keyspace, consistency_level=ConsistencyLevel.LOCAL_ONE))
    assert clients.rows(session.execute("SELECT role FROM system_auth.roles WHERE role = 'nobody'")) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_request_ids(pair, start_ferry, connect, keyspace, version):
    """Nodes take the payload; a v3 driver is served without one."""
    pair.execute("CREATE TABLE %s.t (k int PRIMARY KEY, v text)" % keyspace)
    ferry = start_ferry(ini=pair.ini(proxy={"tracing_enabled": "true"}))
    session = connect(ferry, protocol_version=version)
    insert = session.prepare("INSERT INTO %s.t (k, v) VALUES (?, ?)" % keyspace)
    session.execute(insert, (1, "a"))
    if version > 3:
        session.execute(insert, (2, "b"), custom_payload={"other": b"1"})
        session.execute(insert, (3, "c"), custom_payload={"request-id": b"\xca\xfe"})
    batch = BatchStatement()
    batch.add(insert, (4, "d"))
    session.execute(batch)
    session.execute("SELECT * FROM %s.t WHERE k = 1" % keyspace)
    wanted = {1: "a", 2: "b", 3: "c", 4: "d"} if version > 3 else {1: "a", 4: "d"}
    assert dict(pair.rows("SELECT k, v FROM %s.t" % keyspace)) == wanted
    assert ("request id cafe: EXECUTE on stream" in ferry.log()) == (version > 3)
    assert ("request id " in ferry.log()) == (version > 3)
