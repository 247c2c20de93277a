"""What belongs to connections and frames: keyspaces, schema changes, tracing, warnings, payloads, versions."""

import time
import uuid

import pytest
from cassandra import AlreadyExists, InvalidRequest
from cassandra.protocol import SyntaxException
from cassandra.query import BatchStatement, BatchType, SimpleStatement

import clients
from cqlwire import FrameFlag, Kind, Op, requests
from stand import SPEAKS, lines_of


def test_the_version_that_both_speak(link, primary):
    """A driver that is told nothing begins with the highest it knows."""
    proxy = link.proxy(primary)
    cluster = clients.new_cluster(proxy.address, proxy.port)
    try:
        session = cluster.connect()
        assert cluster.protocol_version == min(SPEAKS[line] for line in lines_of(link.pair))
        assert session.execute("SELECT key FROM system.local").one().key == "local"
    finally:
        cluster.shutdown()


def test_the_versions_that_are_offered(link, primary):
    """The drafts that nodes list as betas (v5 in 3.11, v6 in 4.1) are not among them."""
    async def conversation(c):
        return (await c.options()).options["PROTOCOL_VERSIONS"]

    highest = min(SPEAKS[line] for line in lines_of(link.pair))
    assert link.raw(conversation, primary) == ["%d/v%d" % (v, v) for v in range(3, highest + 1)]


@pytest.mark.checklist(90)
def test_use(link, primary, key):
    session = link.new_session(primary)
    with pytest.raises(InvalidRequest, match="(?i)keyspace"):
        session.execute("INSERT INTO simple (id, v) VALUES (1, 1)")
    session.execute("USE " + link.keyspace)
    session.execute("INSERT INTO simple (id, v) VALUES (%d, 1)" % key)
    insert = session.prepare("INSERT INTO simple (id, v) VALUES (?, ?)")
    session.execute("USE system_auth")
    with pytest.raises(InvalidRequest):
        session.execute("INSERT INTO simple (id, v) VALUES (%d, 2)" % key)
    # A prepared statement keeps the keyspace it was prepared in.
    session.execute(insert, (key, 3))
    session.execute('USE "%s"' % link.keyspace)
    session.execute("UPDATE simple SET s = 'back' WHERE id = %d" % key)
    with pytest.raises(InvalidRequest, match="nowhere"):
        session.execute("USE nowhere")
    assert session.execute("SELECT v FROM simple WHERE id = %d" % key).one().v == 3
    assert link.rows("SELECT v, s FROM {ks}.simple WHERE id = %d" % key) == [(3, "back")]


@pytest.mark.checklist(201)
def test_a_keyspace_for_one_request(link, primary, key):
    async def conversation(c):
        await c.use("system_auth")
        elsewhere = {"keyspace": link.keyspace} if c.version >= 5 else {}
        text = "INSERT INTO simple (id, v) VALUES (%d, 1)" % key
        answer = await c.query(text, **elsewhere)
        if c.version < 5:
            assert answer.is_error()
            await c.use(link.keyspace)
            answer = await c.query(text)
        assert answer.kind == Kind.VOID, answer
        prepared = await c.prepare("SELECT v FROM simple WHERE id = ?", **elsewhere)
        answer = await c.execute(prepared, values=[key.to_bytes(4, "big")])
        assert len(answer.rows) == 1
        answer = await c.batch([("UPDATE simple SET s = 'batch' WHERE id = %d" % key, [])], **elsewhere)
        assert answer.kind == Kind.VOID, answer

    link.raw(conversation, primary)
    assert link.rows("SELECT v, s FROM {ks}.simple WHERE id = %d" % key) == [(1, "batch")]


@pytest.mark.checklist(87)
def test_schema_changes(link, primary):
    """The driver waits until all nodes it knows agree, after each of these: it must find that they do at once."""
    session = link.new_session(primary, link.keyspace)
    table = "made_%d_%s" % (link.version, primary)
    started = time.monotonic()
    for text in ("CREATE TABLE %s (id int PRIMARY KEY, v int)", "ALTER TABLE %s ADD w text", "CREATE INDEX ON %s (v)",
                 "CREATE TYPE type_%s (a int)", "ALTER TABLE %s WITH comment = 'made by a test'"):
        session.execute(text % table)
    assert time.monotonic() - started < 15
    assert session.cluster.control_connection.wait_for_schema_agreement(wait_time=5)
    columns = session.cluster.metadata.keyspaces[link.keyspace].tables[table].columns
    assert sorted(columns) == ["id", "v", "w"]
    wanted = [("id", "int"), ("v", "int"), ("w", "text")]
    assert link.rows("SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = '{ks}'"
                     " AND table_name = '%s'" % table) == wanted
    with pytest.raises(AlreadyExists):
        session.execute("CREATE TABLE %s (id int PRIMARY KEY)" % table)
    session.execute("CREATE TABLE IF NOT EXISTS %s (id int PRIMARY KEY)" % table)
    session.execute("DROP TYPE type_%s" % table)
    session.execute("DROP TABLE %s" % table)
    assert link.rows("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{ks}' AND table_name = '%s'"
                     % table) == []


def test_a_statement_outlives_a_change_of_its_table(link, primary, key):
    session = link.new_session(primary, link.keyspace)
    table = "grows_%d_%s" % (link.version, primary)
    session.execute("CREATE TABLE %s (id int PRIMARY KEY, a text)" % table)
    session.execute("INSERT INTO %s (id, a) VALUES (1, 'a')" % table)
    select = session.prepare("SELECT * FROM %s WHERE id = ?" % table)
    assert tuple(session.execute(select, (1,)).one()) == (1, "a")
    session.execute("ALTER TABLE %s ADD b int" % table)
    session.execute("UPDATE %s SET b = 2 WHERE id = 1" % table)
    if link.version >= 5:
        # The metadata has a new id, which the answer tells.
        assert [tuple(session.execute(select, (1,)).one()) for _ in range(2)] == [(1, "a", 2)] * 2
    assert tuple(session.execute("SELECT * FROM %s WHERE id = 1" % table).one()) == (1, "a", 2)
    assert link.rows("SELECT a, b FROM {ks}.%s" % table) == [("a", 2)]


@pytest.mark.checklist(120)
def test_errors(link, primary):
    session = link.session(primary)
    with pytest.raises(SyntaxException):
        session.execute("SELEKT 1")
    with pytest.raises(SyntaxException):
        session.prepare("SELECT FROM")
    with pytest.raises(InvalidRequest, match="nope"):
        session.execute("SELECT nope FROM simple")
    with pytest.raises(InvalidRequest, match="nope"):
        session.prepare("INSERT INTO simple (id, nope) VALUES (?, ?)")
    with pytest.raises(InvalidRequest):
        session.execute("INSERT INTO simple (v) VALUES (1)")
    assert session.execute("SELECT key FROM system.local").one().key == "local"


def _traced(session, statement):
    trace = session.execute(statement, trace=True).get_query_trace(max_wait_sec=15)
    assert trace.coordinator is not None and trace.events
    return trace


@pytest.mark.checklist(130)
def test_tracing(link, primary, key):
    """The session of a trace is read from the cluster that made its id."""
    session = link.session(primary)
    made = ["SELECT v FROM simple WHERE id = %d" % key, "INSERT INTO simple (id, v) VALUES (%d, 1)" % key]
    for statement in made:
        trace = _traced(session, statement)
        text = "SELECT session_id FROM system_traces.sessions WHERE session_id = %s" % trace.trace_id
        found = [side.line for side in link.sides if side.rows(text)]
        assert found == [link.side(primary).line]
        assert str(trace.coordinator) == link.side(primary).node.address
        # Prepared, and on another connection.
        other = link.new_session(primary, schema_metadata_enabled=False)
        prepared = other.prepare("SELECT coordinator FROM system_traces.sessions WHERE session_id = ?")
        assert other.execute(prepared, (trace.trace_id,)).one().coordinator == trace.coordinator
    batch = BatchStatement(batch_type=BatchType.UNLOGGED)
    batch.add(SimpleStatement("INSERT INTO simple (id, v) VALUES (%d, 2)" % key))
    assert _traced(session, batch).trace_id
    assert link.rows("SELECT v FROM {ks}.simple WHERE id = %d" % key) == [(2,)]


def test_warnings(link, primary, key):
    """A batch above 5 KiB."""
    session = link.session(primary)
    batch = BatchStatement(batch_type=BatchType.LOGGED)
    for n in range(2):
        batch.add(SimpleStatement("INSERT INTO simple (id, s) VALUES (%s, %s)"), (key + n * 500000, "x" * 4000))
    future = session.execute_async(batch)
    future.result()
    if link.version >= 4:
        assert future.warnings and "exceed" in future.warnings[0], future.warnings
    else:
        assert not future.warnings
    assert len(link.rows("SELECT id FROM {ks}.simple WHERE id IN (%d, %d)" % (key, key + 500000))) == 2


def test_custom_payload(link, primary, key):
    """The nodes answer with the payload they got; version 3 has none."""
    payload = {"note": b"\0\1\xff", "": b"", "ä": b"x" * 3000}

    async def conversation(c):
        prepared = await c.prepare("INSERT INTO simple (id, v) VALUES (?, ?)", payload=payload)
        number = key.to_bytes(4, "big")
        answers = [prepared, await c.answer(c.send_query("SELECT v FROM simple WHERE id = %d" % key, payload=payload)),
                   await c.answer(c.send_execute(prepared, values=[number, number], payload=payload)),
                   await c.answer(c.send_batch([(prepared.prepared_id, [number, number])], payload=payload))]
        return [answer.payload for answer in answers]

    if link.version >= 4:
        for sent in link.raw(conversation, primary):
            assert {name: sent[name] for name in payload} == payload
        assert link.rows("SELECT v FROM {ks}.simple WHERE id = %d" % key) == [(key,)]


def test_everything_in_one_answer(link, primary, key):
    """Tracing id, warning and payload before the same body."""
    async def conversation(c):
        text = "INSERT INTO simple (id, s) VALUES (%d, '%s')"
        body = requests.batch(c.version, [(text % (key + n * 500000, "x" * 4000), []) for n in range(2)])
        payload = {"k": b"v"} if c.version >= 4 else None
        return await c.answer(c.send(Op.BATCH, body, flags=FrameFlag.TRACING, payload=payload))

    answer = link.raw(conversation, primary)
    assert answer.kind == Kind.VOID and uuid.UUID(bytes=answer.tracing_id).version == 1
    if link.version >= 4:
        assert answer.warnings and answer.payload["k"] == b"v"


def test_large_values(link, primary, key):
    """More than one segment of v5, and answers of some pages' size."""
    session = link.session(primary)
    text = "".join(chr(97 + n % 26) for n in range(400_000))
    session.execute(session.prepare("INSERT INTO simple (id, s) VALUES (?, ?)"), (key, text))
    assert session.execute("SELECT s FROM simple WHERE id = %d" % key).one().s == text
    assert link.rows("SELECT s FROM {ks}.simple WHERE id = %d" % key) == [(text,)]


@pytest.mark.parametrize("compression", ["lz4", "snappy"])
def test_compression(link, primary, key, compression):
    if link.version >= 5 and compression == "snappy":
        compression = "lz4"  # all that v5 has
    session = link.new_session(primary, link.keyspace, compression=compression, schema_metadata_enabled=False)
    session.execute(session.prepare("INSERT INTO simple (id, s) VALUES (?, ?)"), (key, "ab" * 5000))
    assert session.execute("SELECT s FROM simple WHERE id = %d" % key).one().s == "ab" * 5000
    assert link.rows("SELECT s FROM {ks}.simple WHERE id = %d" % key) == [("ab" * 5000,)]
