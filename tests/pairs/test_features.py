"""What the proxy changes in requests when it is told to: on real nodes, with every option that does so in one proxy."""

import datetime
import time

import pytest
from cassandra.query import BatchStatement, BatchType, SimpleStatement

import ferry as ferry_module

PAIRS = ["3.11-5.0", "4.1-5.0", "5.0-4.1", "5.0-5.0"]

_CALLS = {"now()": "timeuuid", "uuid()": "uuid", "toTimestamp(now())": "timestamp", "toDate(now())": "date"}
# From 4.0 on.
_LATER_CALLS = {"currentTimeUUID()": "timeuuid", "currentTimestamp()": "timestamp", "currentDate()": "date",
                "currentTime()": "time"}
# From 5.0 on.
_SNAKES = {"current_timeuuid()": "timeuuid", "current_timestamp()": "timestamp", "current_date()": "date",
           "current_time()": "time"}


def calls_of(link):
    """The calls that both clusters know, by text."""
    calls = dict(_CALLS)
    if "3.11" not in link.pair:
        calls.update(_LATER_CALLS)
    if link.pair == "5.0-5.0":
        calls.update(_SNAKES)
    return calls


@pytest.fixture(params=["none", "lz4"])
def session(request, link, tmp_path):
    """Behind a proxy that replaces calls, adds time stamps, mirrors reads, and compresses each leg in another way."""
    points = [{"contact_points": side.node.address, "port": side.node.port} for side in link.sides]
    points[0]["compression"] = "lz4"
    points[1]["compression"] = "snappy" if link.version < 5 else "none"
    routing = {"primary": "origin", "replace_cql_functions": "true", "timestamps": "add",
               "read_mode": "dual_async_on_secondary"}
    proxy = ferry_module.Ferry(tmp_path, ini={"origin": points[0], "target": points[1], "routing": routing}).start()
    try:
        yield link.new_session_of(proxy, link.keyspace, schema_metadata_enabled=False, token_metadata_enabled=False,
                                  compression=False if request.param == "none" else request.param)
    finally:
        link.close()
        proxy.stop()
    assert proxy.status == 0 and proxy.reports() == [], proxy.log()


def test_calls_get_one_value(link, session, key):
    calls = calls_of(link)
    for n, (call, kind) in enumerate(calls.items()):
        session.execute("INSERT INTO primitives (id, v_%s) VALUES (%d, %s)" % (kind, key + n * 1000, call))
        prepared = session.prepare("INSERT INTO primitives (id, v_text, v_%s) VALUES (?, ?, %s)" % (kind, call))
        assert [column.name for column in prepared.column_metadata] == ["id", "v_text"]
        session.execute(prepared, (key + n * 1000 + 100, call))
        session.execute(prepared, (key + n * 1000 + 200, call))
        made = [link.rows("SELECT v_%s FROM {ks}.primitives WHERE id = %d" % (kind, key + n * 1000 + more))
                for more in (0, 100, 200)]
        assert all(len(rows) == 1 and rows[0][0] is not None for rows in made)
        if kind in ("timeuuid", "uuid"):
            assert len({rows[0] for rows in made}) == 3
            assert {rows[0][0].version for rows in made} == {1 if kind == "timeuuid" else 4}
        if kind == "timestamp":
            assert abs(made[1][0][0] - datetime.datetime.utcnow()) < datetime.timedelta(minutes=5)


def test_calls_in_batches_and_nested(link, session, key):
    prepared = session.prepare("UPDATE primitives SET v_uuid = uuid(), v_timestamp = toTimestamp(now()) WHERE id = ?")
    batch = BatchStatement(batch_type=BatchType.UNLOGGED)
    batch.add(prepared, (key,))
    batch.add(SimpleStatement("INSERT INTO primitives (id, v_timeuuid) VALUES (%d, now())" % (key + 1000)))
    batch.add(prepared, (key + 2000,))
    session.execute(batch)
    session.execute("BEGIN BATCH UPDATE primitives SET v_timeuuid = now() WHERE id = %d;"
                    " INSERT INTO nested (id, m) VALUES (%d, {'now()': 1}); APPLY BATCH" % (key, key))
    made = [link.rows("SELECT v_uuid, v_timestamp, v_timeuuid FROM {ks}.primitives WHERE id = %d" % (key + n))
            for n in (0, 1000, 2000)]
    assert [[value is None for value in row] for (row,) in made] == [[False] * 3, [True, True, False],
                                                                     [False, False, True]]
    assert made[0][0][0] != made[2][0][0] and made[0][0][2] != made[1][0][2]
    assert link.rows("SELECT JSON m FROM {ks}.nested WHERE id = %d" % key) == [('{"m": {"now()": 1}}',)]


def test_interleaved_with_a_statement_of_the_same_text(link, session, key):
    """The replaced text of the first is the text of the second."""
    replaced = session.prepare("INSERT INTO primitives (id, v_timeuuid) VALUES (?, now())")
    bound = session.prepare("INSERT INTO primitives (id, v_timeuuid) VALUES (?, ?)")
    assert replaced.query_id != bound.query_id
    session.execute(replaced, (key,))
    (made,), = link.rows("SELECT v_timeuuid FROM {ks}.primitives WHERE id = %d" % key)
    session.execute(bound, (key + 1000, made))
    session.execute(replaced, (key + 2000,))
    (other,), = link.rows("SELECT v_timeuuid FROM {ks}.primitives WHERE id = %d" % (key + 2000))
    assert link.rows("SELECT v_timeuuid FROM {ks}.primitives WHERE id = %d" % (key + 1000)) == [(made,)]
    assert other != made


def test_conditional_and_calls(link, session, key):
    insert = session.prepare("INSERT INTO primitives (id, v_timeuuid) VALUES (?, now()) IF NOT EXISTS")
    assert session.execute(insert, (key,)).was_applied is True
    refused = session.execute(insert, (key,))
    (made,), = link.rows("SELECT v_timeuuid FROM {ks}.primitives WHERE id = %d" % key)
    assert refused.was_applied is False and refused.one().v_timeuuid == made


def test_large_answers_between_compressions(link, session, key):
    text = "".join(chr(97 + n % 26) for n in range(300_000))
    session.execute(session.prepare("INSERT INTO simple (id, s) VALUES (?, ?)"), (key, text))
    select = session.prepare("SELECT s FROM simple WHERE id = ?")
    for _ in range(3):
        assert session.execute(select, (key,)).one().s == text
    assert link.rows("SELECT s FROM {ks}.simple WHERE id = %d" % key) == [(text,)]


def test_pages_between_compressions(link, session, key):
    insert = session.prepare("INSERT INTO series (p, c, v) VALUES (?, ?, ?)")
    for c in range(45):
        session.execute(insert, (key, c, "v" * 500))
    statement = SimpleStatement("SELECT c, v FROM series WHERE p = %d" % key, fetch_size=10)
    assert [row.c for row in session.execute(statement)] == list(range(45))
    assert len(link.rows("SELECT c, writetime(v) FROM {ks}.series WHERE p = %d" % key)) == 45


def test_mirrored_reads_disturb_nothing(link, session, key):
    """Reads that the secondary cannot answer, one after another, and then a write."""
    table = "origin_only_v%d" % link.version
    link.origin.execute("CREATE TABLE IF NOT EXISTS %s.%s (id int PRIMARY KEY)" % (link.keyspace, table))
    started = time.monotonic()
    for n in range(20):
        assert list(session.execute("SELECT id FROM %s WHERE id = %d" % (table, n))) == []
    session.execute("INSERT INTO simple (id, v) VALUES (%d, 1)" % key)
    assert time.monotonic() - started < 5
    assert link.rows("SELECT v FROM {ks}.simple WHERE id = %d" % key) == [(1,)]
