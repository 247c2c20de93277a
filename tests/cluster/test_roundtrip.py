"""The whole of CQL as applications use it, through the proxy in every protocol version and compression; what arrived is
read from both nodes themselves."""

import datetime
import decimal
import uuid

import pytest
from cassandra import AlreadyExists, InvalidRequest
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.protocol import SyntaxException
from cassandra.query import BatchStatement, BatchType, SimpleStatement

import clients
from ferry import eventually

pytestmark = pytest.mark.pair("migration")

COMBINATIONS = [(3, False), (3, "lz4"), (4, False), (4, "lz4"), (4, "snappy"), (5, False), (5, "lz4")]


@pytest.fixture(scope="module", params=COMBINATIONS, ids=lambda c: "v%d-%s" % (c[0], c[1] or "plain"))
def session(request, pair, ferry):
    version, compression = request.param
    with clients.connected(ferry.address, ferry.port, pair.client_login, protocol_version=version,
                           compression=compression) as session:
        yield session


def test_negotiated(session, request):
    version, compression = request.node.callspec.params["session"]
    assert session.cluster.protocol_version == version
    connections = [c for pool in session.get_pools() for c in pool.get_connections()]
    assert connections
    for connection in connections:
        assert connection._compression_type == (compression or None)


def test_simple_statements(session, pair, keyspace):
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, name text, tags set<text>)" % keyspace)
    for key in range(4):
        session.execute("INSERT INTO " + keyspace + ".t (id, name, tags) VALUES (%s, %s, %s)",
                        (key, "näme %d" % key, {"a", "b%d" % key}))
    session.execute("UPDATE %s.t SET name = 'changed' WHERE id = 1" % keyspace)
    session.execute("DELETE FROM %s.t WHERE id = 2" % keyspace)
    wanted = [(0, "näme 0"), (1, "changed"), (3, "näme 3")]
    assert clients.rows(session.execute("SELECT id, name FROM %s.t" % keyspace)) == wanted
    assert pair.rows("SELECT id, name FROM %s.t" % keyspace) == wanted
    # Both clusters took the driver's time stamps, not their own.
    assert len(pair.rows("SELECT id, writetime(name) FROM %s.t" % keyspace)) == 3
    session.execute("TRUNCATE %s.t" % keyspace)
    assert pair.rows("SELECT id FROM %s.t" % keyspace) == []


def test_prepared_with_all_kinds_of_types(session, pair, keyspace):
    session.execute("CREATE TYPE %s.place (street text, number int)" % keyspace)
    session.execute("CREATE TABLE %s.t (id uuid PRIMARY KEY, i int, b bigint, v varint, d double, m decimal, f boolean,"
                    " x blob, t timestamp, a inet, l list<int>, h map<text, int>, u frozen<place>, n text)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id, i, b, v, d, m, f, x, t, a, l, h, u, n) VALUES "
                             "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" % keyspace)
    key = uuid.uuid4()
    values = (key, -7, 1 << 40, 1 << 80, 0.25, decimal.Decimal("12.50"), True, bytes(range(256)),
              datetime.datetime(2024, 2, 29, 12, 30), "192.0.2.1", [3, 1, 2], {"k": 9}, ("Main", 5), None)
    session.execute(insert, values)
    select = session.prepare("SELECT id, i, b, v, d, m, f, x, t, a, l, h, u.street, n FROM %s.t WHERE id = ?" % keyspace)
    wanted = values[:12] + ("Main", None)
    assert [tuple(row) for row in session.execute(select, (key,))] == [wanted]
    assert pair.rows("SELECT id, i, b, v, d, m, f, x, t, a, l, h, u.street, n FROM %s.t" % keyspace) == [wanted]


def test_batches(session, pair, keyspace):
    session.execute("CREATE TABLE %s.t (p int, c int, v text, PRIMARY KEY (p, c))" % keyspace)
    session.execute("CREATE TABLE %s.hits (id int PRIMARY KEY, n counter)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (p, c, v) VALUES (?, ?, ?)" % keyspace)
    for kind in (BatchType.LOGGED, BatchType.UNLOGGED):
        batch = BatchStatement(batch_type=kind)
        for key in range(3):
            batch.add(insert, (kind.value, key, "prepared"))
        batch.add(SimpleStatement("INSERT INTO %s.t (p, c, v) VALUES (%d, 3, 'text')" % (keyspace, kind.value)))
        batch.add(SimpleStatement("DELETE FROM " + keyspace + ".t WHERE p = %s AND c = %s"), (kind.value, 0))
        session.execute(batch)
    counters = BatchStatement(batch_type=BatchType.COUNTER)
    counters.add(SimpleStatement("UPDATE %s.hits SET n = n + 2 WHERE id = 1" % keyspace))
    session.execute(counters)
    session.execute("BEGIN BATCH INSERT INTO %s.t (p, c, v) VALUES (9, 9, 'in text'); APPLY BATCH" % keyspace)
    rows = pair.rows("SELECT p, c, v FROM %s.t" % keyspace)
    # A row that one batch inserts and deletes is gone: a deletion wins over an insertion of the same time.
    assert rows == [(p, c, v) for p in (0, 1) for c, v in ((1, "prepared"), (2, "prepared"), (3, "text"))] + \
        [(9, 9, "in text")]
    assert pair.rows("SELECT n FROM %s.hits" % keyspace) == [(2,)]


def test_lightweight_transactions(session, pair, keyspace):
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v int)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?) IF NOT EXISTS" % keyspace)
    assert session.execute(insert, (1, 10)).was_applied is True
    refused = session.execute(insert, (1, 20))
    assert refused.was_applied is False and refused.one().v == 10
    assert session.execute("UPDATE %s.t SET v = 11 WHERE id = 1 IF v = 10" % keyspace).was_applied is True
    assert pair.rows("SELECT id, v FROM %s.t" % keyspace) == [(1, 11)]


def test_paging(session, pair, keyspace):
    session.execute("CREATE TABLE %s.t (p int, c int, PRIMARY KEY (p, c))" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (p, c) VALUES (?, ?)" % keyspace)
    execute_concurrent_with_args(session, insert, [(c % 5, c) for c in range(503)])
    statement = SimpleStatement("SELECT p, c FROM %s.t" % keyspace, fetch_size=50)
    prepared = session.prepare("SELECT p, c FROM %s.t" % keyspace)
    prepared.fetch_size = 50
    for query in (statement, prepared.bind(())):
        result = session.execute(query)
        assert result.has_more_pages and len(result.current_rows) == 50
        assert clients.rows(result) == sorted((c % 5, c) for c in range(503))
    assert len(pair.rows("SELECT p, c FROM %s.t" % keyspace)) == 503


def test_keyspaces(session, pair, keyspace):
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    assert session.keyspace is None
    with pytest.raises(InvalidRequest, match="(?i)keyspace"):
        session.execute("INSERT INTO t (id, v) VALUES (0, 'nowhere')")
    cluster = session.cluster
    if cluster.protocol_version >= 5:
        session.execute(SimpleStatement("INSERT INTO t (id, v) VALUES (5, 'per request')", keyspace=keyspace))
        assert pair.rows("SELECT id, v FROM %s.t" % keyspace) == [(5, "per request")]
    inside = cluster.connect(keyspace)
    try:
        inside.execute("INSERT INTO t (id, v) VALUES (1, 'connected with')")
        insert = inside.prepare("INSERT INTO t (id, v) VALUES (?, ?)")
        inside.execute(insert, (2, "prepared"))
        inside.set_keyspace("system_auth")
        inside.execute('USE "%s"' % keyspace)
        inside.execute(insert, (3, "after another USE"))
        inside.execute("DELETE FROM t WHERE id = 5")
    finally:
        inside.shutdown()
    assert pair.rows("SELECT id, v FROM %s.t" % keyspace) == [(1, "connected with"), (2, "prepared"),
                                                              (3, "after another USE")]


def test_large_frames(session, pair, keyspace):
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, x blob)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id, x) VALUES (?, ?)" % keyspace)
    # Above one v5 segment (128 KiB), just below and just above; the bytes do not compress to nothing.
    pattern = b"".join(i.to_bytes(4, "big") for i in range(300_000))
    sizes = [131_000, 131_100, 1_000_000]
    for key, size in enumerate(sizes):
        session.execute(insert, (key, pattern[:size]))
    rows = clients.rows(session.execute("SELECT id, x FROM %s.t" % keyspace))
    assert rows == [(key, pattern[:size]) for key, size in enumerate(sizes)]
    assert pair.rows("SELECT id, x FROM %s.t" % keyspace) == rows


def test_schema_changes(session, pair, keyspace):
    """The driver waits for schema agreement after each of these: it must see it at once."""
    keyspaces = session.cluster.metadata.keyspaces
    eventually("the keyspace in the driver's metadata", lambda: keyspace in keyspaces)
    for text in ("CREATE TABLE %s.t (id int PRIMARY KEY)", "ALTER TABLE %s.t ADD v int", "CREATE INDEX ON %s.t (v)"):
        future = session.execute_async(text % keyspace)
        future.result()
        assert future.is_schema_agreed, text
    columns = keyspaces[keyspace].tables["t"].columns
    assert sorted(columns) == ["id", "v"]
    session.execute("INSERT INTO %s.t (id, v) VALUES (1, 2)" % keyspace)
    assert [row.id for row in session.execute("SELECT id FROM %s.t WHERE v = 2" % keyspace)] == [1]
    session.execute("DROP TABLE %s.t" % keyspace)
    for side in pair.sides:
        assert side.rows("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '%s'" % keyspace) == []


def test_errors_keep_their_kind(session, keyspace):
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v int)" % keyspace)
    with pytest.raises(SyntaxException):
        session.execute("SELEKT 1")
    with pytest.raises(InvalidRequest, match="nope"):
        session.execute("SELECT nope FROM %s.t" % keyspace)
    with pytest.raises(InvalidRequest):
        session.prepare("INSERT INTO %s.t (id, nope) VALUES (?, ?)" % keyspace)
    with pytest.raises(AlreadyExists) as raised:
        session.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    assert (raised.value.keyspace, raised.value.table) == (keyspace, "t")
    # The connection lives on.
    assert clients.rows(session.execute("SELECT * FROM %s.t" % keyspace)) == []


def test_many_at_once(session, pair, keyspace):
    """Answers belong to their requests however they overtake each other."""
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    insert = session.prepare("INSERT INTO %s.t (id, v) VALUES (?, ?)" % keyspace)
    select = session.prepare("SELECT id, v FROM %s.t WHERE id = ?" % keyspace)
    keys = range(600)
    written = execute_concurrent_with_args(session, insert, [(k, "value %d" % k) for k in keys], concurrency=150)
    assert all(ok for ok, _ in written)
    read = execute_concurrent_with_args(session, select, [(k,) for k in keys], concurrency=150)
    assert [tuple(result.one()) for _, result in read] == [(k, "value %d" % k) for k in keys]
    assert len(pair.rows("SELECT id, v FROM %s.t" % keyspace)) == 600


def test_tracing(session, keyspace):
    session.execute("CREATE TABLE %s.t (id int PRIMARY KEY)" % keyspace)
    traced = session.execute("SELECT * FROM %s.t" % keyspace, trace=True)
    trace = traced.get_query_trace(max_wait_sec=60)
    assert trace.coordinator is not None and trace.events
